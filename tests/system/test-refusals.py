# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operator can get wrong, host by host: each case has an exit status, a message that names the thing, the
cause and the remedy, and a guest that runs on untouched. (What is wrong with a QEMU is in test-qemu.py.)
"""

import os
import socket
import stat

from rig import wait_for
from rig.case import SystemTest
from rig.fake import FakeGuest
from rig.main import main
from rig.peer import Peer, header
from rig.seccomp import NO_PACKET_SOCKETS, NO_PAGEMAP_SCAN, NO_PTRACE, forbid


class Refusals(SystemTest):
    def check(self, a, guest, done, status, *words):
        """Refused, the guest untouched, and nothing left once its network is let go of."""
        self.assert_refused(done, status, *words)
        guest.check_runs()
        if a.state():
            self.assertFalse(a.status()["protected"])
            self.assertEqual(a.state(), "failed")
            self.assert_says(a.status()["reason"], words[0])
            self.assertEqual(a.ctl("status", "vm1", "--check").status, 6)
            self.assertEqual(a.ctl("detach", "vm1").status, 0)
        wait_for("the engine to end", lambda: not a.children(), 5)
        guest.check_untouched()
        wait_for("the run folder to be empty", lambda: a.files() == ["arbiter", "control"], 3)
        self.assertEqual(os.listdir(self.arbiter()), [], "a key is left with the arbiter")


class TheOtherHost(Refusals):
    def try_peer(self, to, status, *words, options=()):
        a, guest, sink = self.host("a"), FakeGuest.start(self), self.sink()
        done = a.protect(guest, to, "--egress", sink.uri, *options)
        self.check(a, guest, done, status, *words)

    def test_nobody_listens(self):
        self.try_peer("127.0.0.1:9", 1, "cannot connect to 127.0.0.1 port 9", "refused", "is remusd running there")

    def test_name_does_not_resolve(self):
        self.try_peer("no-such-host.invalid", 1, "cannot resolve host name", "no-such-host.invalid", "DNS")

    def elsewhere(self):
        return f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.99"

    def test_another_version_of_the_protocol(self):
        with Peer(self.elsewhere(), header(version=2)):
            self.try_peer(self.elsewhere(), 1, "cannot be understood", "version 2", "speaks 1", "same release")

    def test_not_a_remusd(self):
        with Peer(self.elsewhere(), b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n" * 4):
            self.try_peer(self.elsewhere(), 1, "garbage", self.elsewhere(), "not a remus")

    def test_peer_says_nothing(self):
        """The port is open, nobody answers: the heartbeats' deadline, which is longer while a session is set up."""
        with Peer(self.elsewhere(), b""):
            self.try_peer(self.elsewhere(), 1, "no sign of life", self.elsewhere(), "for 3000 ms")

    def test_protect_to_itself(self):
        a, guest, sink = self.host("a"), FakeGuest.start(self), self.sink()
        done = a.protect(guest, a, "--egress", sink.uri)
        self.assertEqual(done.status, 5, done)
        self.assert_says(done.err, "vm1", "same host")
        guest.check_runs()


class Arbiters(Refusals):
    def test_unreachable_from_the_primary(self):
        a, b, guest, sink = self.host("a"), self.host("b"), FakeGuest.start(self), self.sink()
        done = a.protect(guest, b, "--egress", sink.uri, "--arbiter", "file:/nowhere/claims")
        self.check(a, guest, done, 1, "file:/nowhere/claims", "No such file", "shared directory")

    def test_unreachable_from_the_backup(self):
        a, guest, sink = self.host("a"), FakeGuest.start(self), self.sink()
        self.hosts["b"] = None
        del self.hosts["b"]
        b = self.host("b", "--arbiter", "file:/nowhere/claims")
        done = a.protect(guest, b, "--egress", sink.uri)
        self.check(a, guest, done, 5, "arbiter file:/nowhere/claims as seen from the backup", "No such file")

    def test_not_the_same_directory(self):
        """Each host's own: the backup could never take over."""
        a, guest, sink = self.host("a"), FakeGuest.start(self), self.sink()
        b = self.host("b", "--arbiter", "file:" + self.make_folder("other"))
        done = a.protect(guest, b, "--egress", sink.uri)
        self.check(a, guest, done, 5, "as seen from the backup", "not there", "same shared directory on both hosts",
                   "mounted")

    def test_not_writable(self):
        if os.geteuid() == 0:
            self.skipTest("root may write everywhere")
        a, b, guest, sink = self.host("a"), self.host("b"), FakeGuest.start(self), self.sink()
        os.chmod(self.arbiter(), 0o500)
        done = a.protect(guest, b, "--egress", sink.uri)
        os.chmod(self.arbiter(), 0o700)
        self.check(a, guest, done, 1, self.arbiter(), "denied")

    def test_bad_uri(self):
        a, guest = self.host("a"), FakeGuest.start(self)
        for uri, *words in (("etcd", "no arbiter", "file:DIRECTORY"), ("file:claims", "absolute"), ("", "empty")):
            done = a.protect(guest, "127.0.0.1", "--arbiter", uri)
            self.assert_refused(done, 2, "--arbiter", *words)
        done = a.protect(guest, "127.0.0.1", "--arbiter", "zookeeper:1", "--egress", self.sink().uri)
        self.check(a, guest, done, 1, "zookeeper:1", "no such scheme", "file:DIR")


class Egress(Refusals):
    def try_egress(self, status, words, *options, preexec=None):
        a, guest = self.host("a", preexec=preexec), FakeGuest.start(self)
        done = a.protect(guest, "127.0.0.1:9", *options)
        self.check(a, guest, done, status, *words)

    def test_none(self):
        self.try_egress(1, ("1 network interface", "0 egress", "--egress once per interface", "52:54:00:12:34:56"))

    def test_too_many(self):
        self.try_egress(1, ("2 egress", "1 network interface"), "--egress", "unix:/x/1", "--egress", "unix:/x/2")

    def test_missing_interface(self):
        self.try_egress(1, ("network interface 1", "packet:nosuchif0", "no interface nosuchif0", "ip link"),
                        "--egress", "packet:nosuchif0")

    def test_no_ethernet(self):
        self.try_egress(1, ("packet:lo", "no Ethernet interface"), "--egress", "packet:lo")

    def test_path_too_long(self):
        path = "/tmp/" + "x" * 120
        self.try_egress(1, ("unix:" + path, "107"), "--egress", "unix:" + path)

    def test_unknown_kind(self):
        self.try_egress(1, ("bridge:br0", "no such kind", "packet:IFNAME"), "--egress", "bridge:br0")

    def test_no_permission_for_packets(self):
        up = [name for _, name in socket.if_nameindex() if _ethernet_up(name)]
        if not up:
            self.skipTest("no Ethernet interface is up here")
        self.try_egress(1, ("packet:" + up[0], "not permitted", "CAP_NET_RAW"), "--egress", "packet:" + up[0],
                        preexec=forbid(NO_PACKET_SOCKETS))

    def test_wrong_on_the_backup_only(self):
        a, b, guest, sink = self.host("a"), self.host("b"), FakeGuest.start(self), self.sink()
        done = a.protect(guest, b, "--egress", sink.uri, "--standby-egress", "packet:nosuchif0")
        self.check(a, guest, done, 5, "backup refuses", "nosuchif0", "ip link")
        wait_for("the receiver to end", lambda: not b.children(), 5)


def _ethernet_up(name):
    try:
        with open(f"/sys/class/net/{name}/type", encoding="ascii") as f:
            ethernet = f.read().strip() == "1"
        with open(f"/sys/class/net/{name}/flags", encoding="ascii") as f:
            return ethernet and int(f.read(), 16) & 1
    except OSError:
        return False


class Kernel(Refusals):
    """What the kernel lacks, or a container forbids."""

    def pair(self, *rules):
        quiet = {"ASAN_OPTIONS": "detect_leaks=0"}  # the leak sanitizer traces, too
        a = self.host("a", preexec=forbid(*rules), environment=quiet)
        return a, self.host("b"), FakeGuest.start(self), self.sink()

    def test_no_ptrace(self):
        a, b, guest, sink = self.pair(NO_PTRACE)
        done = a.protect(guest, b, "--egress", sink.uri, "--tracking", "uffd-wp")
        self.check(a, guest, done, 1, "cannot track dirty pages", "ptrace", "CAP_SYS_PTRACE")
        # Left to itself remus takes what works, and says why not better.
        done = a.protect(guest, b, "--egress", sink.uri)
        self.assertEqual(done.status, 0, done)
        status = a.status()
        self.assertIn(status["tracking"], ("soft-dirty", "compare"))
        self.assert_says(status["tracking_note"], "uffd-wp", "ptrace")
        self.assert_says(a.ctl("status", "vm1").out, status["tracking"], "ptrace")
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)

    def test_no_pagemap_scan(self):
        a, b, guest, sink = self.pair(NO_PAGEMAP_SCAN)
        done = a.protect(guest, b, "--egress", sink.uri, "--tracking", "uffd-wp")
        self.check(a, guest, done, 5, "PAGEMAP_SCAN", "Linux 6.7")
        done = a.protect(guest, b, "--egress", sink.uri)
        self.assertEqual(done.status, 0, done)
        self.assert_says(a.status()["tracking_note"], "uffd-wp", "PAGEMAP_SCAN")
        guest.check_runs()
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)

    def test_no_soft_dirty(self):
        a, b, guest, sink = self.host("a"), self.host("b"), FakeGuest.start(self), self.sink()
        done = a.protect(guest, b, "--egress", sink.uri, "--tracking", "soft-dirty")
        if done.status == 0:
            self.assertEqual(a.status()["tracking"], "soft-dirty")
            self.skipTest("this kernel has soft-dirty bits")
        self.check(a, guest, done, 5, "soft-dirty", "CONFIG_MEM_SOFT_DIRTY")


class Starting(SystemTest):
    """remusd itself."""

    def fails(self, host, status, *words, **kw):
        options = kw.pop("options", ())
        code, text = host.fails_to_start(*options, **kw)
        self.assertEqual(code, status, text)
        self.assert_says(text, *words)
        self.assertEqual(len(text.strip().splitlines()), 1 if status == 1 else 2, text)

    def test_port_taken(self):
        a = self.host("a")
        b = self.host("b")
        self.assertEqual(b.stop(), 0)
        b.address = a.address
        self.fails(b, 1, a.address, "7368", "port taken", str(a.remusd.pid))
        self.assertEqual([f for f in b.files() if f != "arbiter"], [], "a daemon that did not start leaves nothing")

    def test_run_folder(self):
        a = self.host("a")
        self.assertEqual(a.stop(), 0)
        with open(a.run + ".log", "w", encoding="ascii"):
            pass
        a.run += ".log"  # a file
        self.fails(a, 1, "--run-dir", a.run)
        a.run = "/nowhere/at/all"
        self.fails(a, 1, "--run-dir /nowhere/at/all", "No such file")
        a.run = os.path.join(self.folder, "open")
        os.mkdir(a.run)
        os.chmod(a.run, 0o777)
        self.fails(a, 1, "--run-dir", a.run, "writable by it alone", "chmod")
        self.assertEqual(stat.S_IMODE(os.stat(a.run).st_mode), 0o777)
        if os.geteuid() == 0:
            os.chmod(a.run, 0o700)
            os.chown(a.run, 65534, 65534)
            self.fails(a, 1, "--run-dir", a.run, "must belong to uid 0")
        self.assertEqual(os.listdir(a.run), [])
        a.run = os.path.join(self.folder, "host-a", "run")

    def test_run_folder_in_use(self):
        a, b = self.host("a"), self.host("b")
        b.stop()
        b.run = a.run
        self.fails(b, 1, a.control, "another remusd is running")
        self.assertTrue(a.request({"verb": "status"}), "the first one must go on")
        b.run = os.path.join(b.folder, "run")

    def test_usage(self):
        a = self.host("a")
        a.stop()
        for options, *words in ((("--listen", "1.2.3.4:99999"), "--listen", "99999"),
                                (("--arbiter", "nonsense"), "--arbiter", "no such scheme", "file:DIR"),
                                (("--log-level", "loud"), "loud", "error, warning, info or debug"),
                                (("stray",), "stray")):
            self.fails(a, 2, *words, "--help", options=options)

    def test_control_group(self):
        a = self.host("a")
        a.stop()
        self.fails(a, 1, "--control-group", "no-such-group", options=("--control-group", "no-such-group"))
        self.assertEqual([f for f in a.files() if f != "arbiter"], [])


class Ctl(SystemTest):
    """remusctl without, or with a strange, remusd."""

    def test_no_remusd(self):
        a = self.host("a")
        done = a.ctl("status", control="/nowhere/control")
        self.assert_refused(done, 3, "/nowhere/control", "does not exist", "Start remusd", "--control")
        a.kill()
        done = a.ctl("status")
        self.assert_refused(done, 3, a.control, "not running", "systemctl start remusd")
        plain = os.path.join(self.folder, "plain.log")
        with open(plain, "w", encoding="ascii"):
            pass
        self.assert_refused(a.ctl("status", control=plain), 3, plain)
        os.unlink(a.control)

    def test_mute_remusd(self):
        path = os.path.join(self.folder, "mute")
        a = self.host("a")
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path)
            s.listen()
            done = a.ctl("status", "--timeout", "1", control=path)
        self.assert_refused(done, 7, "no answer", "1 s")
        os.unlink(path)

    def test_arguments(self):
        a = self.host("a")
        for arguments, *words in (
                (["protect"], "DOMAIN"), (["protect", "vm1"], "--to"),
                (["protect", "vm1", "--to", "h:0"], "--to", "1 to 65535"),
                (["protect", "vm1", "--to", "h", "--interval", "0"], "--interval", "1", "10000"),
                (["protect", "vm1", "--to", "h", "--interval", "9999999999999999999999"], "--interval"),
                (["protect", "vm1", "--to", "h", "--interval", "1e3"], "--interval"),
                (["protect", "vm1", "--to", "h", "--on-backup-loss", "panic"], "--on-backup-loss", "solo"),
                (["protect", "vm1", "--to", "h", "--tracking", "magic"], "--tracking", "uffd-wp"),
                (["protect", "vm1", "--to", "h", "--name", "../x"], "--name", "letters"),
                (["protect", "vm1", "--to", "h", "--egress", "br0"], "--egress", "packet:INTERFACE"),
                (["protect", "vm1", "--to", "h", "--dead", "60", "--heartbeat", "50"], "--dead", "two heartbeats"),
                (["protect", "/no/such/socket", "--to", "h"], "/no/such/socket", "no socket"),
                (["protect", "vm\n1", "--to", "h"], "unprintable"),
                (["status", "--bogus"], "--bogus"), (["status", "a", "b"], "one too many"), (["explode"], "explode"),
                (["events", "--since", "-1"], "--since"), ([], "no verb", "help")):
            done = a.ctl(*arguments)
            self.assert_refused(done, 2, *words)
            self.assertNotIn("vm\n1", done.err)
        self.assertEqual(a.request({"verb": "status"})[0]["ok"]["domains"], [])


if __name__ == "__main__":
    main()
