# SPDX-License-Identifier: GPL-2.0-or-later
"""remusctl keys: what it makes, with which modes, that it overwrites nothing unasked, and what remusd says of keys that
are missing or open to others. And who may use the control socket.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import unittest

from rig import installed, status_of
from rig.case import SystemTest
from rig.fake import FakeGuest
from rig.host import Host
from rig.main import main

NOBODY = 65534
ASK = """import os, socket, sys
gid, uid, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.setgroups([gid] if gid else []); os.setgid(65534); os.setuid(uid)
s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(path)
try:
    s.sendall(b'{"verb":"status"}\\n')
except OSError:
    pass
print(s.recv(65536).decode())
"""


class KeysTest(SystemTest):
    def setUp(self):
        super().setUp()
        self.dir = os.path.join(self.folder, "tls")

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def read(self, *names):
        with open(self.path(*names), encoding="ascii") as f:
            return f.read()

    def mode(self, *names):
        return os.stat(self.path(*names)).st_mode & 0o777

    def psk(self, *options, **kw):
        return self.make_keys("psk", "--dir", self.dir, *options, **kw)


class Making(KeysTest):
    def test_psk(self):
        self.psk()
        first = self.read("psk")
        self.assertRegex(first, r"\Aremus:[0-9a-f]{64}\n\Z")
        self.assertEqual((self.mode(), self.mode("psk")), (0o700, 0o600))
        self.assert_says(self.psk(status=1), "already", "--force", "stays as it is")
        self.assertEqual(self.read("psk"), first)
        self.psk("--name", "third")
        self.assertTrue(self.read("psk").startswith(first), "a key of another name is added")
        self.psk("--force")
        self.assertNotIn(first, self.read("psk"))
        self.assertEqual(sorted(re.findall(r"^(\w+):", self.read("psk"), re.M)), ["remus", "third"])
        shown = self.make_keys("--dir", self.dir)
        self.assert_says(shown, "psk remus, 256 bits", "psk third", "fingerprint")
        for secret in re.findall(r":([0-9a-f]{64})", self.read("psk")):
            self.assertNotIn(secret[:16], shown)
        self.assertEqual(os.listdir(self.dir), ["psk"], "nothing is left half written")

    def test_psk_of_psktool(self):
        if not installed("psktool"):
            self.skipTest("no psktool (Debian: gnutls-bin)")
        os.mkdir(self.dir, mode=0o700)
        subprocess.run(["psktool", "-u", "theirs", "-p", self.path("psk")], check=True, timeout=20, capture_output=True)
        self.assert_says(self.make_keys("--dir", self.dir), "psk theirs")

    def test_many_at_once(self):
        """Each of them is there in the end."""
        names = [f"n{i}" for i in range(8)]
        threads = [threading.Thread(target=self.psk, args=("--name", n)) for n in names]
        for t in threads:
            t.start()
        for t in threads:
            t.join(30)
        self.assertEqual(sorted(re.findall(r"^(\w+):", self.read("psk"), re.M)), names)

    def test_certificates(self):
        self.make_keys("ca", "--dir", self.dir)
        self.assertEqual((self.mode("ca.key"), self.mode("ca.pem")), (0o600, 0o644))
        ca = self.read("ca.key")
        self.assert_says(self.make_keys("ca", "--dir", self.dir, status=1), "already", "--force")
        self.assertEqual(self.read("ca.key"), ca)
        os.unlink(self.path("ca.pem"))  # as after a crash between the two
        self.make_keys("ca", "--dir", self.dir)
        self.assertIn(self.read("ca.pem"), ca)
        host = ["host", "--dir", self.dir, "--out", self.path("a"), "--name", "hosta", "--name", "10.0.0.1"]
        self.make_keys(*host, "--peer", "hostb")
        self.assertEqual([self.mode("a", f) for f in ("host.pem", "ca.pem", "peers")], [0o600, 0o644, 0o644])
        self.assertEqual(sorted(os.listdir(self.path("a"))), ["ca.pem", "host.pem", "peers"], "the CA's key stays")
        before = self.read("a", "host.pem")
        self.assert_says(self.make_keys(*host, "--peer", "hostb", status=1), "already")
        self.assertEqual(self.read("a", "host.pem"), before)
        self.make_keys(*host, "--peer", "hostb", "--force")
        self.assertNotEqual(self.read("a", "host.pem"), before)
        self.assert_says(self.make_keys("show", "--dir", self.path("a")), "x509 hosta", "peers that may connect: hostb")
        if installed("certtool"):
            done = subprocess.run(["certtool", "--verify", "--load-ca-certificate", self.path("ca.pem"), "--infile",
                                   self.path("a", "host.pem")], capture_output=True, text=True, timeout=20, check=False)
            self.assertEqual(done.returncode, 0, done)
            self.assertIn("Verified", done.stdout)

    def test_what_is_wrong(self):
        self.assert_says(self.make_keys("--dir", self.dir, status=1), "no keys in")
        self.assert_says(self.make_keys("host", "--dir", self.dir, "--name", "a", status=1), "ca.key", "keys ca")
        self.assert_says(self.make_keys("host", "--dir", self.dir, status=2), "--name")
        self.assert_says(self.psk("--name", "a b", status=2), "--name")
        self.assert_says(self.make_keys("dance", status=2), "psk, ca, host or show")


class Using(KeysTest):
    def refused(self, *words, options=()):
        host = self.hosts.get("x") or self.bare_host()
        status, text = host.fails_to_start("--tls", self.dir, *options)
        self.assertEqual(status, 1, text)
        self.assert_says(text, "cannot start", *words)

    def bare_host(self):
        self.hosts["x"] = Host(self, "x", 9)
        return self.hosts["x"]

    def test_remusd_without_keys(self):
        self.refused("no keys", self.dir, "remusctl keys psk", "--insecure")
        self.psk()
        os.chmod(self.path("psk"), 0o640)
        self.refused("chmod 600", "read by others")
        with open(self.path("psk"), "w", encoding="ascii") as f:
            f.write("remus:abc\n")
        os.chmod(self.path("psk"), 0o600)
        self.refused("line 1", "NAME:HEXKEY")
        shutil.rmtree(self.dir)

    def test_protect_without_keys(self):
        """--insecure of the daemon is not that of a guest."""
        a = self.host("a", "--insecure", "--tls", self.dir)
        guest = FakeGuest.start(self)
        done = a.ctl("protect", guest.locator, "--to", a.address, "--egress", self.sink().uri)
        self.assert_refused(done, 1, "no keys", self.dir, "--insecure")
        guest.check_untouched()

    def test_plaintext_is_shown(self):
        a, b, _, _ = self.protected_pair(a=("--insecure",), b=("--insecure",))
        self.assertEqual([h.status()["link"]["security"] for h in (a, b)], ["plaintext"] * 2)
        self.assert_says(a.ctl("status", "vm1").out, "plaintext")
        self.assert_says(a.ctl("status").out, "link: plaintext")
        self.assertIn("--insecure", a.read_log())

    def test_new_keys_need_no_restart(self):
        a, b, _, _ = self.protected_pair()
        self.psk("--force")
        other, sink = FakeGuest.start(self, name="vm2"), self.sink("switch2")
        self.assertEqual(a.protect(other, b, "--egress", sink.uri).status, 0)
        self.assertEqual([a.state(), a.state("vm2")], ["protected"] * 2)


class Control(SystemTest):
    def ask(self, host, uid=NOBODY, gid=0):
        done = subprocess.run([sys.executable, "-c", ASK, str(gid), str(uid), host.control], capture_output=True, text=True,
                              check=False, timeout=20)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout

    def open_up(self, host):
        for place in (self.folder, host.folder, host.run):
            os.chmod(place, 0o755)
        os.chmod(host.control, 0o666)

    @unittest.skipIf(os.geteuid(), "only root can be somebody else")
    def test_strangers(self):
        """The mode of the file is not what decides."""
        a = self.host("a")
        self.open_up(a)
        for _ in range(5):
            self.assert_says(self.ask(a), "root, its own user")
        self.assertIn("\"domains\"", self.ask(a, uid=0))
        lines = [line for line in a.read_log().splitlines() if "control socket: uid" in line]
        self.assertEqual(len(lines), 1, "one line, however many come")
        self.assertIn(f"uid {NOBODY}", lines[0])

    @unittest.skipIf(os.geteuid(), "only root can be somebody else")
    def test_group(self):
        a = self.host("a", "--control-group", "daemon")
        gid = os.stat(a.control).st_gid
        self.assertEqual(os.stat(a.control).st_mode & 0o777, 0o660)
        self.open_up(a)
        self.assertIn("\"domains\"", self.ask(a, gid=gid))
        self.assert_says(self.ask(a), "--control-group")

    @unittest.skipIf(os.geteuid(), "only root has something to give up")
    def test_privileges(self):
        a, b, _, _ = self.protected_pair()
        for pid in (a.remusd.pid, a.child("primary"), b.child("backup"), b.status()["guest_pid"]):
            bounded = int(status_of(pid, "CapBnd"), 16)
            for capability in (16, 17, 22, 25):  # SYS_MODULE, SYS_RAWIO, SYS_BOOT, SYS_TIME
                self.assertFalse(bounded >> capability & 1, f"pid {pid} could have capability {capability}")
            self.assertEqual(status_of(pid, "NoNewPrivs"), "1")


if __name__ == "__main__":
    main()
