# SPDX-License-Identifier: GPL-2.0-or-later
"""The etcd arbiter with a real etcd: one claim wins and stays won, whatever happens to the cluster meanwhile, and a
call never takes longer than the contract says (include/remus/arbiter.h)."""

import concurrent.futures
import os
import signal
import subprocess
import threading
import time

from rig import installed, program, wait_for
from rig.case import SystemTest
from rig.etcd import Endpoint, Etcd, Proxy, missing
from rig.main import main

DEADLINE_MS = 5000
SLACK_MS = 3000  # of a busy machine


class Asking(SystemTest):
    """Skips where there is no etcd, or no etcd arbiter."""

    def setUp(self):
        super().setUp()
        if why := missing():
            self.skipTest(why)

    def run_ask(self, uri, what, generation, calls=1):
        return subprocess.run([program("tests/system/arbiter-ask"), uri, what, str(generation), str(calls)],
                              capture_output=True, text=True, check=False, timeout=60, env=self.environment())

    def ask(self, uri, what, generation):
        """(answer, ms)."""
        done = self.run_ask(uri, what, generation)
        self.assertEqual(done.returncode, 0, done.stderr)
        ms, answer = done.stdout.rstrip("\n").split(" ", 1)
        self.assertLess(int(ms), DEADLINE_MS + SLACK_MS, f"{what}: {answer}")
        return answer, int(ms)

    def says(self, uri, what, generation, answer):
        got, _ = self.ask(uri, what, generation)
        self.assertTrue(got.startswith(answer) if answer == "unknown" else got == answer, f"{what}: {got}")
        return got

    def ask_all(self, uris, what, generation):
        """The answers of several arbiters, asked at the same time."""
        with concurrent.futures.ThreadPoolExecutor(len(uris)) as pool:
            return [answer for answer, _ in pool.map(lambda uri: self.ask(uri, what, generation), uris)]

    def race(self, uris, generation):
        """Both sides claim at once, by @uris; retried until each is decided. {side: answer}."""
        answers = {}

        def side(name, uri):
            for _ in range(8):
                answers[name] = self.ask(uri, name, generation)[0]
                if not answers[name].startswith("unknown"):
                    return

        threads = [threading.Thread(target=side, args=(n, u)) for n, u in zip(("primary", "backup"), uris)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return answers

    def assert_one_won(self, answers):
        self.assertEqual(sorted(answers.values()), ["lost", "won"], answers)

    def endpoint(self, answer):
        e = Endpoint(answer)
        self.addCleanup(e.close)
        return e


class OneMember(Asking):
    def setUp(self):
        super().setUp()
        self.etcd = Etcd(self)
        self.uri = self.etcd.uri()

    def tearDown(self):
        self.etcd.stop()
        super().tearDown()

    def test_contract(self):
        uri = self.uri
        for side in ("primary", "backup", "check"):
            self.says(uri, side, 1, "unknown")  # nobody opened it
        self.says(uri, "open", 1, "ok")
        self.assertIn("opened already", self.says(uri, "open", 1, "unknown"))
        for _ in range(2):
            self.says(uri, "check", 1, "ok")
        for _ in range(2):
            self.says(uri, "backup", 1, "won")
            self.says(uri, "primary", 1, "lost")
        self.assertIn("claimed by the backup", self.says(uri, "check", 1, "unknown"))
        self.says(uri, "retire", 1, "ok")  # a record stays
        self.says(uri, "backup", 1, "won")
        self.assertIn("claimed already", self.says(uri, "open", 1, "unknown"))
        self.says(uri, "open", 2, "ok")
        for _ in range(2):
            self.says(uri, "retire", 2, "ok")
        for side in ("primary", "backup"):
            self.says(uri, side, 2, "unknown")
        self.assertEqual(list(self.etcd.records().values()), ["backup"])

    def test_races(self):
        for generation in range(1, 11):
            self.says(self.uri, "open", generation, "ok")
            self.assert_one_won(self.race((self.uri, self.uri), generation))
        self.assertEqual(len(self.etcd.records()), 10)

    def test_another_prefix_is_another_arbiter(self):
        self.says(self.uri + "/one", "open", 1, "ok")
        self.assertIn("another cluster or prefix", self.says(self.uri + "/two", "check", 1, "unknown"))
        self.says(self.uri + "/one", "check", 1, "ok")

    def test_restarted_etcd_remembers(self):
        self.says(self.uri, "open", 1, "ok")
        self.says(self.uri, "backup", 1, "won")
        self.etcd.kill(0)
        answer, ms = self.ask(self.uri, "primary", 1)
        self.assertTrue(answer.startswith("unknown"), answer)
        self.assertIn("127.0.0.1", answer)
        self.assertGreater(ms, 1000)  # it was asked again and again: the cluster may be coming back
        self.etcd.start(0)
        wait_for("a restarted etcd", lambda: self.etcd.leader() is not None, 20)
        self.says(self.uri, "primary", 1, "lost")
        self.says(self.uri, "backup", 1, "won")

    def test_lost_answer_is_asked_for_again(self):
        """The claim was made, its answer lost: UNKNOWN, then the same holder; the other side has lost."""
        self.says(self.uri, "open", 1, "ok")
        proxy = Proxy(self.etcd.client[0])
        self.addCleanup(proxy.close)
        proxy.answers = False
        self.says("etcd:" + proxy.url, "backup", 1, "unknown")
        self.assertGreater(proxy.lost, 0)
        self.assertEqual(list(self.etcd.records().values()), ["backup"])
        self.says(self.uri, "primary", 1, "lost")
        proxy.answers = True
        self.says("etcd:" + proxy.url, "backup", 1, "won")
        # The same for open: the repetition in the next question finds its own key.
        proxy.answers = False
        timer = threading.Timer(1, lambda: setattr(proxy, "answers", True))
        timer.start()
        self.says("etcd:" + proxy.url, "open", 2, "ok")
        timer.join()

    def test_paused_etcd(self):
        """It hangs with the question in hand. The late claim counts, for the one who made it."""
        self.says(self.uri, "open", 1, "ok")
        self.etcd.signal(0, signal.SIGSTOP)
        answer, ms = self.ask(self.uri, "primary", 1)
        self.assertTrue(answer.startswith("unknown"), answer)
        self.assertGreater(ms, 3000)
        self.etcd.signal(0, signal.SIGCONT)
        answers = self.race((self.uri, self.uri), 1)
        self.assert_one_won(answers)
        for side, answer in answers.items():
            self.says(self.uri, side, 1, answer)

    def test_claims_that_are_late_do_not_outlive_a_retirement(self):
        self.says(self.uri, "open", 1, "ok")
        self.etcd.signal(0, signal.SIGSTOP)
        self.says(self.uri, "backup", 1, "unknown")
        self.says(self.uri, "retire", 1, "unknown")
        self.etcd.signal(0, signal.SIGCONT)
        self.says(self.uri, "retire", 1, "ok")
        self.assertLessEqual(set(self.etcd.records().values()), {"backup"})
        self.says(self.uri, "primary", 1, "lost" if self.etcd.records() else "unknown")

    def test_bad_endpoints_beside_a_good_one(self):
        """Silence costs a moment, the rest nothing."""
        self.says(self.uri, "open", 1, "ok")
        silent = self.endpoint(None)
        garbage = self.endpoint(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x00\xff{]")
        refused = self.endpoint(None)
        refused.close()
        gone = self.endpoint(b"")
        html = self.endpoint(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>")
        flood = self.endpoint(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (1 << 20))
        forged = self.endpoint(b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"succeeded":true}')
        redirect = self.endpoint(b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        bad = [silent, garbage, refused, gone, html, flood, forged, redirect]
        uri = self.etcd.uri(*[e.url for e in bad], 0)
        self.says(uri, "primary", 1, "won")
        self.says(uri, "backup", 1, "lost")
        self.says(self.uri, "open", 2, "ok")
        self.says(uri, "check", 2, "ok")
        for alone, answer in zip(bad, self.ask_all(["etcd:" + e.url for e in bad], "backup", 1)):
            self.assertTrue(answer.startswith("unknown"), answer)
            self.assertIn(alone.url, answer)

    def test_endpoints_of_two_clusters(self):
        """The mistake is found when protection begins, and no claim is decided by the wrong one."""
        other = Etcd(self, name="other")
        both = self.etcd.uri(0, f"http://127.0.0.1:{other.client[0]}")
        self.assertIn("another cluster", self.says(both, "open", 1, "unknown"))
        self.says(self.uri, "open", 2, "ok")
        self.assertIn("another cluster", self.says(both, "check", 2, "unknown"))
        self.says(other.uri(), "backup", 2, "unknown")
        self.says(self.uri, "backup", 2, "won")
        other.stop()

    def test_user_and_password(self):
        secret = os.path.join(self.folder, "secret.log")  # .log: it may be left
        with open(secret, "w", encoding="ascii") as f:
            f.write("pass \"word\n")
        os.chmod(secret, 0o600)
        for command in (("user", "add", "root:rootpw"), ("user", "grant-role", "root", "root"),
                        ("role", "add", "remus"), ("role", "grant-permission", "remus", "--prefix=true", "readwrite", "/remus/"),
                        ("role", "add", "reader"), ("role", "grant-permission", "reader", "--prefix=true", "read", "/remus/"),
                        ("user", "add", "remus:pass \"word"), ("user", "grant-role", "remus", "remus"),
                        ("user", "add", "looker:pass \"word"), ("user", "grant-role", "looker", "reader"),
                        ("auth", "enable")):
            self.assertIsNotNone(self.etcd.ctl(*command), command)
        good = f"{self.uri}?user=remus&password-file={secret}"
        self.says(good, "open", 1, "ok")
        self.says(good, "check", 1, "ok")
        self.assertIn("user name is empty", self.says(self.uri, "check", 1, "unknown"))
        answer, ms = self.ask(f"{self.uri}?user=nobody&password-file={secret}", "check", 1)
        self.assertIn("authentication failed", answer)
        self.assertLess(ms, 3000)  # asking on is of no use
        self.assertIn("permission denied", self.says(f"{self.uri}?user=looker&password-file={secret}", "check", 1, "unknown"))
        self.says(good, "backup", 1, "won")
        os.chmod(secret, 0o644)
        self.assertIn("chmod 600", self.says(good, "primary", 1, "unknown"))
        os.unlink(secret)
        self.assertIn("No such file", self.says(good, "primary", 1, "unknown"))


class Tls(Asking):
    """Certificates on both sides."""

    def setUp(self):
        super().setUp()
        if not installed("openssl"):
            self.skipTest("openssl is not installed")
        self.tls = self.make_folder("tls.log")
        for name in ("ca", "other"):
            self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                         f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
        for name, ca in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
            with open(f"{self.tls}/{name}.ext", "w", encoding="ascii") as f:
                f.write("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
            self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout",
                         f"{name}.key", "-out", f"{name}.csr")
            self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial",
                         "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        self.props += [f"tls.log/{f}" for f in os.listdir(self.tls)]
        self.etcd = Etcd(self, tls=self.tls)

    def openssl(self, *arguments):
        subprocess.run([installed("openssl"), *arguments], cwd=self.tls, check=True, capture_output=True, timeout=20)

    def tearDown(self):
        self.etcd.stop()
        super().tearDown()

    def test_certificates(self):
        def uri(ca="ca", me="client"):
            files = [f"ca={self.tls}/{ca}.pem"] if ca else []
            files += [f"cert={self.tls}/{me}.pem&key={self.tls}/{me}.key"] if me else []
            return self.etcd.uri(options="?" + "&".join(files) if files else "")

        self.says(uri(), "open", 1, "ok")
        self.says(uri(), "check", 1, "ok")
        bad = (uri(ca="other"), uri(ca=None), uri(ca="missing"), uri(me=None), uri(me="stranger"),
               uri().replace("https", "http").partition("?")[0])
        for answer in self.ask_all(bad, "backup", 1):
            self.assertTrue(answer.startswith("unknown"), answer)
        _, ms = self.ask(uri(ca="other"), "backup", 1)
        self.assertLess(ms, 3000)  # nobody mends that in time
        self.says(uri(), "backup", 1, "won")


class ThreeMembers(Asking):
    def setUp(self):
        super().setUp()
        self.etcd = Etcd(self, members=3)

    def tearDown(self):
        self.etcd.stop()
        super().tearDown()

    def rotated(self, by):
        return self.etcd.uri(*[(i + by) % 3 for i in range(3)])

    def test_a_member_is_killed_during_claims(self):
        """Whichever it is, also the leader; each race has one winner."""
        generation = 0
        for victim in (self.etcd.leader(), (self.etcd.leader() + 1) % 3):
            for delay in (0, 0.01):
                generation += 1
                self.says(self.rotated(victim), "open", generation, "ok")
                timer = threading.Timer(delay, self.etcd.kill, (victim,))
                timer.start()
                answers = self.race((self.rotated(victim), self.rotated(victim + 1)), generation)
                timer.join()
                self.assert_one_won(answers)
                self.etcd.start(victim)
                wait_for("the member to be back", lambda v=victim: self.etcd.ctl("endpoint", "health", member=v) is not None, 20)
                for side, answer in answers.items():
                    self.says(self.etcd.uri(victim), side, generation, answer)

    def test_paused_leader(self):
        """The others elect a new one while the claim is under way; the old one, awake again, knows of it."""
        leader = self.etcd.leader()
        self.says(self.rotated(leader), "open", 1, "ok")
        self.etcd.signal(leader, signal.SIGSTOP)
        began = time.monotonic()
        answers = self.race((self.rotated(leader), self.rotated(leader + 1)), 1)
        self.assert_one_won(answers)
        print(f"    decided {time.monotonic() - began:.1f} s after the leader was paused")
        self.etcd.signal(leader, signal.SIGCONT)
        for side, answer in answers.items():
            self.says(self.etcd.uri(leader), side, 1, answer)

    def test_without_a_majority_nobody_wins(self):
        self.says(self.etcd.uri(), "open", 1, "ok")
        leader = self.etcd.leader()
        self.etcd.kill((leader + 1) % 3, (leader + 2) % 3)
        for answer in self.ask_all([self.etcd.uri()] * 2, "primary", 1):
            self.assertTrue(answer.startswith("unknown"), answer)
        self.etcd.start((leader + 1) % 3)
        self.assert_one_won(self.race((self.etcd.uri(), self.rotated(1)), 1))


if __name__ == "__main__":
    main(alone=False)
