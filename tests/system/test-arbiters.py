# SPDX-License-Identifier: GPL-2.0-or-later
"""Sessions whose arbiter is a cluster or a command: one that hangs, is away, or comes back late never stops a guest, never
keeps one paused, and never has anybody go on who must not (I5, I6, I8).
"""

import os
import signal
import stat
import threading
import time

from rig import alive, installed, processes_marked, wait_for
from rig.case import SystemTest
from rig.etcd import Etcd, missing
from rig.fake import FakeGuest
from rig.main import main

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "examples")


class Sessions(SystemTest):
    def pair(self, uri, uri_b=None):
        return self.protected_pair("--arbiter", uri, b=("--arbiter", uri_b or uri))

    def cut(self, a, b):
        """Cut the link: both sides live and hear nothing. A stopped receiver is a silent one."""
        receiver = b.child("backup")
        os.kill(receiver, signal.SIGSTOP)
        a.wait_state("claiming", "solo")
        os.kill(receiver, signal.SIGCONT)
        b.wait_state("claiming", "dropped", "active")

    def decided(self, a, b, seconds=15):
        """Exactly one goes on: (its host, its guest)."""
        wait_for("both sides to have decided", lambda: a.state() in ("solo", "discarded") and
                 b.state() in ("active", "dropped", None), seconds)
        if b.state() == "active":
            self.assertEqual(a.state(), "discarded")
            return b, self.survivor(b)
        self.assertEqual(a.state(), "solo")
        return a, self.guests[0]

    def nobody_goes_on(self, a, b, sink, guest):
        """Until both have had no answer and for a while after it: output stays held and nothing is activated, while the
        guest itself runs."""
        wait_for("what was released before to have come", lambda: not (sink.drain() or time.sleep(0.2) or sink.drain()), 5)

        def still_claiming():
            self.assertEqual((a.state(), b.state()), ("claiming", "claiming"))
            guest.check_runs()

        def both_unknown():
            still_claiming()
            return all("claim-unknown" in host.kinds() for host in (a, b))

        wait_for("both hosts to say that nobody answers", both_unknown, 20, every=0.1)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            still_claiming()
            time.sleep(0.1)
        self.assertEqual(sink.drain(), [], "output left though nobody has decided (I6)")
        self.assertNotIn("activated", b.kinds())

    def goes_on(self, host, runs, sink):
        runs.check_runs()
        sink.drain()
        wait_for(f"frames from host {host.name}", sink.drain, 3)

    def epochs_go_on(self, a):
        before = a.status()["epochs"]["committed"]
        wait_for("epochs to be committed", lambda: a.status()["epochs"]["committed"] > before + 20, 10)


class Cluster(Sessions):
    def setUp(self):
        super().setUp()
        if why := missing():
            self.skipTest(why)
        self.etcd = Etcd(self)
        self.uri = self.etcd.uri()

    def tearDown(self):
        if "etcd" in vars(self):
            self.etcd.stop()
        super().tearDown()

    def test_away_during_the_claims(self):
        a, b, guest, sink = self.pair(self.uri)
        self.etcd.kill(0)
        self.epochs_go_on(a)  # it is never asked on the epoch path
        self.cut(a, b)
        self.nobody_goes_on(a, b, sink, guest)
        self.etcd.start(0)
        host, runs = self.decided(a, b, 30)
        self.goes_on(host, runs, sink)
        self.assertEqual(len(self.etcd.records()), 1)

    def test_hangs_during_the_claims(self):
        a, b, guest, sink = self.pair(self.uri)
        self.etcd.signal(0, signal.SIGSTOP)
        self.epochs_go_on(a)
        self.cut(a, b)
        self.nobody_goes_on(a, b, sink, guest)
        self.etcd.signal(0, signal.SIGCONT)
        host, runs = self.decided(a, b, 30)
        self.goes_on(host, runs, sink)
        self.assertEqual(len(self.etcd.records()), 1)

    def test_hangs_when_protection_begins(self):
        """Refused in time, and meanwhile the guest has its network."""
        a, b, guest, sink = self.host("a"), self.host("b", "--arbiter", self.uri), FakeGuest.start(self), self.sink()
        self.etcd.signal(0, signal.SIGSTOP)
        done = a.protect(guest, b, "--egress", sink.uri, "--arbiter", self.uri, "--no-wait")
        self.assertEqual(done.status, 0, done)
        wait_for("frames of the guest while the arbiter hangs", sink.drain, 3)
        a.wait_state("failed")
        self.assert_says(a.status()["reason"], "arbiter etcd:", "127.0.0.1")
        guest.check_runs()
        self.etcd.signal(0, signal.SIGCONT)
        done = a.protect(guest, b, "--egress", sink.uri, "--arbiter", self.uri)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)

    def test_the_backup_reaches_another_cluster(self):
        other = Etcd(self, name="other")
        a, guest, sink = self.host("a"), FakeGuest.start(self), self.sink()
        b = self.host("b", "--arbiter", other.uri())
        done = a.protect(guest, b, "--egress", sink.uri, "--arbiter", self.uri)
        self.assert_refused(done, 5, "as seen from the backup", "not there", "another cluster or prefix")
        guest.check_runs()
        self.assertEqual(self.etcd.records(), {}, "a key is left with the arbiter")
        other.stop()

    def test_hangs_when_protection_ends(self):
        """The key cannot be put away. The guest doesn't notice."""
        a, b, guest, sink = self.pair(self.uri)
        self.etcd.signal(0, signal.SIGSTOP)
        sink.drain()
        done = a.ctl("unprotect", "vm1")
        self.assertEqual(done.status, 0, done)
        wait_for("frames of the guest", sink.drain, 3)
        guest.check_untouched()
        self.etcd.signal(0, signal.SIGCONT)
        wait_for("the standby to be dropped", lambda: not b.children(), 5)

    def test_hand_over(self):
        a, b, _, sink = self.pair(self.uri)
        self.assertEqual(a.ctl("failover", "vm1").status, 0)
        b.wait_state("active")
        self.goes_on(b, self.survivor(b), sink)
        self.assertEqual(list(self.etcd.records().values()), ["backup"])

    def test_hangs_during_a_hand_over(self):
        """The guest stands still for it, but not for long; who has it is decided when the arbiter is back."""
        a, b, guest, sink = self.pair(self.uri)
        self.etcd.signal(0, signal.SIGSTOP)
        before = guest.writes()
        asking = threading.Thread(target=a.ctl, args=("failover", "vm1"))
        asking.start()
        wait_for("the guest to go on", lambda: guest.writes() > before + 400, 12)
        self.nobody_goes_on(a, b, sink, guest)
        self.etcd.signal(0, signal.SIGCONT)
        host, runs = self.decided(a, b)
        asking.join()
        self.goes_on(host, runs, sink)


class Command(Sessions):
    def script(self, name, body):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\n" + body)
        os.chmod(path, 0o700)
        self.props.append(name)
        return path

    def lock(self):
        folder = self.make_folder("locks")
        self.props += ["locks/lock"]
        return f"command:{EXAMPLES}/arbiter-lock?kind=lock&dir={folder}&timeout=10", folder

    def records(self, folder):
        found = {}
        for name in os.listdir(folder):
            if name != "lock":
                with open(os.path.join(folder, name), encoding="ascii") as f:
                    found[name] = f.read().strip()
                self.props.append(f"locks/{name}")
        return found

    def test_example_with_a_lock(self):
        uri, folder = self.lock()
        a, b, _, sink = self.pair(uri)
        self.cut(a, b)
        host, runs = self.decided(a, b)
        self.goes_on(host, runs, sink)
        self.assertEqual(list(self.records(folder).values()), ["primary" if host is a else "backup"])

    def test_example_with_a_lock_retires_and_hands_over(self):
        uri, folder = self.lock()
        a, b, guest, sink = self.pair(uri)
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
        wait_for("the key to be put away", lambda: not self.records(folder), 5)
        done = a.protect("vm1", b, "--egress", sink.uri, "--arbiter", uri)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(a.ctl("failover", "vm1").status, 0)
        b.wait_state("active")
        self.goes_on(b, self.survivor(b), sink)
        self.assertEqual(list(self.records(folder).values()), ["backup"])

    def test_example_with_a_fence_agent(self):
        """The switch is fence_dummy's file; host a is off as soon as it says so."""
        agent = installed("fence_dummy") or (os.path.exists("/usr/sbin/fence_dummy") and "/usr/sbin/fence_dummy")
        if not agent:
            self.skipTest("fence_dummy is not installed (Debian: fence-agents)")
        uri = {}
        for name in "ab":
            switch = os.path.join(self.folder, f"switch-{name}")
            with open(switch, "w", encoding="ascii") as f:
                f.write("on")
            with open(f"{switch}.conf", "w", encoding="ascii") as f:
                f.write(f"type=file\nstatus_file={switch}\n")
            self.props += [f"switch-{name}", f"switch-{name}.conf"]
            peer = "a" if name == "b" else "b"
            uri[name] = (f"command:{EXAMPLES}/arbiter-fence?agent={agent}&conf={self.folder}/switch-{peer}.conf"
                         "&timeout=60")
        a, b, guest, sink = self.pair(uri["a"], uri["b"])
        done = a.ctl("failover", "vm1")
        self.assert_refused(done, 5, "vm1", "switching the other host off", "kind=lock")
        done = b.ctl("failover", "vm1")
        self.assert_refused(done, 5, "vm1", "switching the other host off")
        self.assertEqual((a.state(), b.state()), ("protected", "standby"))
        a_engine, = self.engines()
        for pid in (a_engine, guest.pid):  # host a hangs as a whole
            os.kill(pid, signal.SIGSTOP)
        a.kill()
        b.wait_state("active", seconds=30)
        with open(f"{self.folder}/switch-a", encoding="ascii") as f:
            self.assertEqual(f.read().strip(), "off")
        for pid in (a_engine, guest.pid):
            os.kill(pid, signal.SIGKILL)
        guest.process.wait(5)
        guest.clear()
        self.goes_on(b, self.survivor(b), sink)

    def engines(self):
        """Engines, whether their remusd lives or not."""
        return [pid for pid, name in processes_marked(self.mark).items() if name == "remus-primary"]

    def test_hanging_program(self):
        """Nobody goes on; the program dies at its deadline, is run again, and decides when it can."""
        gate = os.path.join(self.folder, "gate.log")
        _, folder = self.lock()
        wrapper = self.script("hang", f"""
if [ "$REMUS_ACTION" = claim ] && [ ! -e {gate} ]; then
    echo waiting for the gate
    sleep 1000
fi
exec {EXAMPLES}/arbiter-lock
""")
        uri = f"command:{wrapper}?kind=lock&dir={folder}&timeout=2"
        a, b, guest, sink = self.pair(uri)
        self.epochs_go_on(a)
        self.cut(a, b)
        wait_for("host a to say that nobody answers", lambda: "claim-unknown" in a.kinds() and "claim-unknown" in b.kinds(), 15)
        text = next(e["message"] for e in a.events() if e["kind"] == "claim-unknown")
        self.assert_says(text, "waiting for the gate", "had not ended after 2 s and was killed")
        self.nobody_goes_on(a, b, sink, guest)
        self.no_zombies(a, b)
        with open(gate, "w", encoding="ascii"):
            pass
        host, runs = self.decided(a, b)
        self.goes_on(host, runs, sink)
        self.assertEqual(len(self.records(folder)), 1)
        self.no_zombies(a, b)

    def no_zombies(self, *hosts):
        for host in hosts:
            for pid in host.children():
                with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
                    for child in f.read().split():
                        self.assertTrue(alive(int(child)), f"host {host.name}'s child {pid} keeps a zombie, {child}")

    def test_a_peer_names_no_program(self):
        """The backup's own operator has to."""
        ran = os.path.join(self.folder, "ran.log")
        program = self.script("program", f"echo >>{ran}.$REMUS_ME.log\n")
        a, b, guest, sink = self.host("a"), self.host("b"), FakeGuest.start(self), self.sink()
        done = a.protect(guest, b, "--egress", sink.uri, "--arbiter", f"command:{program}?kind=lock")
        self.assert_refused(done, 5, "one host's arbiter is a command and the other's isn't", "--arbiter command:")
        self.assertFalse(os.path.exists(f"{ran}.backup.log"), "the backup ran a program at its peer's word")
        guest.check_runs()
        self.assertTrue(stat.S_ISREG(os.stat(f"{ran}.primary.log").st_mode))


if __name__ == "__main__":
    main()
