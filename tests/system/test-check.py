# SPDX-License-Identifier: GPL-2.0-or-later
"""`remusctl check`: what it finds on both hosts, that it finds all of it at once, and that neither the guest nor the
other host is any different afterwards.
"""

import json
import os
import struct

from rig import installed, program, wait_for
from rig.case import SystemTest
from rig.fake import FakeGuest
from rig.main import main
from rig.peer import MANDATORY, Peer, connect, header, read_to_end
from rig.qemu import Qemu


class Check(SystemTest):
    def check(self, a, guest, to, *options, status=0):
        """Run it; the answer. The guest is untouched, and nothing is left on host a or with the arbiter."""
        before = sorted(a.files())
        done = a.ctl("check", guest if isinstance(guest, str) else guest.locator, "--to", getattr(to, "address", to),
                     "--json", *options, timeout=60)
        self.assertEqual(done.status, status, done)
        answer = json.loads(done.out)
        self.assertEqual(answer["would_work"], status == 0)
        self.assertEqual(answer["fatal"], sum(f["severity"] == "fatal" for f in answer["findings"]))
        self.assertEqual(answer["warnings"], sum(f["severity"] == "warning" for f in answer["findings"]))
        for finding in answer["findings"]:
            self.assertEqual(sorted(finding), ["host", "remedy", "severity", "subject", "what"])
            self.assertIn(finding["host"], ("primary", "backup"))
            self.assertIn(finding["severity"], ("ok", "warning", "fatal"))
            self.assertTrue(finding["subject"] and finding["what"], finding)
        if not isinstance(guest, str):
            guest.check_untouched()
        wait_for("the run folder to be as before", lambda: sorted(a.files()) == before, 3)
        self.assertEqual(os.listdir(self.arbiter()), [], "a key is left with the arbiter")
        return answer

    def find(self, answer, severity, host, subject, *words):
        """The finding that has all of @words."""
        for f in answer["findings"]:
            if (f["severity"], f["host"], f["subject"]) == (severity, host, subject) and \
                    all(w.lower() in (f["what"] + " " + f["remedy"]).lower() for w in words):
                return f
        self.fail(f"no {severity} finding of {host} on {subject} says {words}:\n"
                  + "\n".join(str(f) for f in answer["findings"]))

    def left_alone(self, b):
        """Host b has no standby, no session, and nothing happened there."""
        wait_for("the receiver to end", lambda: not b.children(), 5)
        wait_for("host b's run folder to be empty", lambda: b.files() == ["arbiter", "control"], 3)
        self.assertEqual(b.request({"verb": "status"})[0]["ok"]["domains"], [])
        self.assertEqual(b.events(), [])


class Fake(Check):
    def stage(self):
        return self.host("a"), self.host("b"), FakeGuest.start(self), self.sink()

    def test_good(self):
        a, b, guest, sink = self.stage()
        answer = self.check(a, guest, b, "--egress", sink.uri)
        self.assertEqual((answer["name"], answer["domain"], answer["to"]), ("vm1", guest.locator, b.address))
        for host in ("primary", "backup"):
            self.find(answer, "ok", host, "remus", "remus", "Linux")
            self.find(answer, "ok", host, "arbiter", self.arbiter())
            self.find(answer, "ok", host, "egress", sink.uri)
        self.find(answer, "ok", "backup", "memory", "8 MiB")
        self.find(answer, "ok", "primary", "clock-skew", "give or take")
        # One clock serves both: the offset is zero as far as it can be told, and that is told truthfully.
        clock = answer["clock"]
        self.assertLessEqual(abs(clock["offset_us"]), clock["error_us"] + 1)
        self.left_alone(b)
        # What it promised holds.
        self.assertEqual(a.protect(guest, b, "--egress", sink.uri).status, 0)
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
        self.assertEqual(a.ctl("detach", "vm1").status, 0)

    def test_for_people(self):
        a, b, guest, sink = self.stage()
        done = a.ctl("check", guest.locator, "--to", b.address, "--egress", sink.uri)
        self.assertEqual(done.status, 0, done)
        self.assertIn(f"vm1 can be protected to {b.address}", done.out.splitlines()[-1])
        done = a.ctl("check", guest.locator, "--to", b.address, "--egress", "packet:nosuchif0")
        self.assertEqual(done.status, 1, done)
        lines = done.out.splitlines()
        self.assertRegex(lines[0], r"^fatal +primary +egress +.*nosuchif0")
        self.assertRegex(lines[1], r"^ +-> ")
        self.assertIn("cannot be protected as things are: 2 findings", lines[-1])

    def test_everything_at_once(self):
        """Wrong here, wrong there, wrong between: all of it in one answer."""
        a, guest, sink = self.host("a"), FakeGuest.start(self), self.sink()
        b = self.host("b", "--arbiter", "file:" + self.make_folder("other"))
        # Somebody else's guest of that name stands by on b.
        c, namesake = self.host("c", "--arbiter", "file:" + os.path.join(self.folder, "other")), \
            FakeGuest.start(self, name="vm2")
        other = self.sink("other-switch")
        self.assertEqual(c.protect(namesake, b, "--egress", other.uri, "--name", "vm1").status, 0)
        before, kinds = b.files(), b.kinds()
        answer = self.check(a, guest, b, "--egress", "packet:nosuchif0", "--standby-egress", "packet:lo", status=1)
        self.find(answer, "fatal", "primary", "egress", "nosuchif0", "ip link")
        self.find(answer, "fatal", "backup", "egress", "lo", "no Ethernet interface")
        self.find(answer, "fatal", "backup", "arbiter", "not there", "same shared directory")
        self.find(answer, "fatal", "backup", "session", "already stands by", "--name")
        self.assertEqual(answer["fatal"], 4)
        # Protection that runs there did not notice.
        self.assertEqual(c.state(), "protected")
        wait_for("the check's receiver to end", lambda: len(b.children()) == 1, 5)
        wait_for("b's files to be as before", lambda: b.files() == before, 3)
        self.assertEqual(b.kinds(), kinds)
        self.assertEqual(c.ctl("unprotect", "vm1").status, 0)
        self.assertEqual(c.ctl("detach", "vm1").status, 0)

    def test_same_host(self):
        a, guest, sink = self.host("a"), FakeGuest.start(self), self.sink()
        answer = self.check(a, guest, a, "--egress", sink.uri, status=1)
        self.find(answer, "fatal", "backup", "session", "same host")
        self.assertEqual(answer["fatal"], 1)

    def test_nobody_there(self):
        """The rest is told all the same."""
        a, guest, sink = self.host("a"), FakeGuest.start(self), self.sink()
        answer = self.check(a, guest, "127.0.0.1:9", "--egress", sink.uri, "--arbiter", "file:/nowhere/claims", status=1)
        self.find(answer, "fatal", "primary", "backup", "cannot connect", "is remusd running there")
        self.find(answer, "fatal", "primary", "arbiter", "/nowhere/claims", "No such file")
        self.find(answer, "ok", "primary", "egress", sink.uri)
        self.assertNotIn("clock", answer)

    def test_no_such_guest(self):
        """The other host is looked at nevertheless."""
        a, b = self.host("a"), self.host("b")
        answer = self.check(a, f"fake:{self.folder}/nosuch", b, status=1)
        self.find(answer, "fatal", "primary", "guest", "nosuch", "No such file")
        self.find(answer, "ok", "backup", "arbiter", "the primary's")
        self.assertEqual(answer["fatal"], 1)
        self.left_alone(b)
        self.assert_refused(a.ctl("check", "nosuch", "--to", b.address), 4, "no domain", "nosuch")

    def test_manual_arbiter_is_told(self):
        a, b, guest, sink = self.stage()
        self.assertEqual(b.stop(), 0)
        b.start()  # takes the arbiter that the primary names
        answer = self.check(a, guest, b, "--egress", sink.uri, "--arbiter", "manual")
        self.find(answer, "warning", "primary", "arbiter", "manual", "operator")

    def test_of_a_relayed_and_of_a_protected_guest(self):
        a, b, guest, sink = self.stage()
        self.assertEqual(a.ctl("attach", guest.locator, "--egress", sink.uri).status, 0)
        relay = a.child("relay")
        answer = self.check(a, "vm1", b)
        self.find(answer, "ok", "primary", "network", "forwards")
        self.find(answer, "ok", "backup", "egress", sink.uri)  # as it is attached
        self.assertEqual(a.child("relay"), relay)
        sink.drain()
        wait_for("frames to pass on", sink.drain, 5)
        self.assertEqual(a.protect("vm1", b).status, 0)
        self.assert_refused(a.ctl("check", "vm1", "--to", b.address), 1, "in a session already", "status")
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
        self.assertEqual(a.ctl("detach", "vm1").status, 0)

    def test_killed(self):
        """Whoever asked is told, and nothing stays."""
        a, guest, sink = self.host("a"), FakeGuest.start(self), self.sink()
        mute = f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.99"
        with Peer(mute, b""):
            ctl = self.spawn([program("remusctl"), "--control", a.control, "check", guest.locator, "--to", mute,
                              "--egress", sink.uri], "ctl.log")
            wait_for("the check to begin", lambda: "remus-check" in a.children().values(), 5)
            os.kill(a.child("check"), 9)
            self.assertEqual(ctl.wait(5), 1)
        with open(os.path.join(self.folder, "ctl.log"), encoding="ascii") as log:
            self.assert_says(log.read(), "the process that checked the guest died")
        wait_for("the run folder to be empty", lambda: a.files() == ["arbiter", "control"], 3)
        guest.check_untouched()
        self.claims = 1  # its key may stay: nobody ever claims it

    def test_requests(self):
        a = self.host("a")
        for request, *words in (({"verb": "check"}, "domain", "to"), ({"verb": "check", "domain": "x"}, "to"),
                                ({"verb": "check", "domain": "x", "to": 5}, "to must be a text"),
                                ({"verb": "check", "domain": "x", "to": "h", "egress": [7]}, "egress")):
            error = a.request(request)[0]["error"]
            self.assertEqual(error["code"], -22)
            self.assert_says(error["message"], *words)
        self.assert_refused(a.ctl("check"), 2, "DOMAIN")
        self.assert_refused(a.ctl("check", "vm1"), 2, "--to")
        self.assert_refused(a.ctl("check", "vm1", "--to", "h", "--interval", "5"), 2, "no option --interval")


class Keys(Check):
    def test_without_keys(self):
        a, guest, sink = self.host("a", "--insecure", "--tls", os.path.join(self.folder, "none")), FakeGuest.start(self), \
            self.sink()
        self.find(self.check(a, guest, a.address, "--egress", sink.uri, status=1), "fatal", "primary", "check", "no keys",
                  "remusctl keys psk")


class OtherSide(Check):
    """Peers that don't know, or abuse, the question."""

    def elsewhere(self):
        return f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.98"

    def ask(self, answer, *words):
        a, guest, sink = self.host("a"), FakeGuest.start(self), self.sink()
        with Peer(self.elsewhere(), answer):
            self.find(self.check(a, guest, self.elsewhere(), "--insecure", "--egress", sink.uri, status=1), "fatal", "primary",
                      "backup", *words)

    def test_another_version(self):
        self.ask(header(version=2), "version 2", "same release")

    def test_not_a_remusd(self):
        self.ask(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n" * 4, "not a remus")

    def test_says_nothing(self):
        self.ask(b"", "no sign of life")

    def test_findings_that_are_too_long(self):
        self.ask(header(type_=15, flags=MANDATORY, length=64 * 1024 + 1), "FINDINGS", "65537")

    def test_damaged_findings(self):
        self.ask(header(type_=15, flags=MANDATORY, length=8) + struct.pack("<II", 1, 0), "damaged")


class RealQemu(Check):
    def setUp(self):
        if not installed("qemu-system-x86_64"):
            self.skipTest("qemu-system-x86_64 is not installed (Debian: qemu-system-x86)")
        super().setUp()

    def test_good_then_relayed(self):
        a, b, sink = self.host("a"), self.host("b"), self.sink()
        guest = Qemu(self)
        answer = self.check(a, guest, b, "--egress", sink.uri)
        self.find(answer, "ok", "primary", "guest", "QEMU", "tcg", "32 MiB")
        self.find(answer, "ok", "backup", "qemu", "qemu-system-x86_64")
        self.find(answer, "ok", "backup", "memory", "32 MiB")
        self.find(answer, "ok", "backup", "file", "firmware", "the same on both hosts")
        self.left_alone(b)
        # Its only QMP connection belongs to the relay now.
        self.assertEqual(a.ctl("attach", guest.locator, "--egress", sink.uri).status, 0)
        done = a.ctl("check", "vm1", "--to", b.address, "--json")
        self.assertEqual(done.status, 0, done)
        self.find(json.loads(done.out), "ok", "primary", "network", "forwards")
        guest.check_untouched(relayed=True)
        self.assertEqual(a.ctl("detach", "vm1").status, 0)
        guest.check_untouched()

    def test_all_that_is_wrong(self):
        a, b, sink = self.host("a"), self.host("b"), self.sink()
        guest = Qemu(self, change={"-global": None}, more=("-device", "virtio-balloon-device", "-usb"))
        answer = self.check(a, guest, b, "--egress", sink.uri, status=1)
        self.find(answer, "fatal", "primary", "option", "virtio-balloon", "balloon")
        self.find(answer, "fatal", "primary", "option", "-usb", "USB")
        self.find(answer, "fatal", "primary", "state", "migration.send-configuration=off")
        self.left_alone(b)
        # protect's refusal is the first of them
        done = a.protect(guest, b, "--egress", sink.uri)
        self.assert_refused(done, 5, "virtio-balloon")

    def test_file_is_gone(self):
        """Of the guest's command line; told, instead of a description that the backup would not understand."""
        a, b, sink = self.host("a"), self.host("b"), self.sink()
        guest = Qemu(self)
        os.rename(os.path.join(guest.folder, "firmware"), os.path.join(guest.folder, "firmware.moved"))
        self.props += [os.path.relpath(os.path.join(guest.folder, "firmware.moved"), self.folder)]
        answer = self.check(a, guest, b, "--egress", sink.uri, status=1)
        self.find(answer, "fatal", "primary", "guest", "firmware")

    def test_of_a_survivor(self):
        """Activated here, and held by its receiver still."""
        self.claims = 1
        a, b, sink = self.host("a"), self.host("b"), self.sink()
        guest = Qemu(self)
        self.assertEqual(a.protect(guest, b, "--egress", sink.uri).status, 0)
        os.kill(guest.pid, 9)
        b.wait_state("active")
        done = b.ctl("check", "vm1", "--to", a.address, "--json")
        self.assertEqual(done.status, 0, done)
        self.find(json.loads(done.out), "ok", "primary", "guest", "QEMU")
        os.kill(b.status()["guest_pid"], 9)
        wait_for("host b to see that the guest is gone", lambda: not b.children(), 5)


class Strangers(SystemTest):
    def test_findings_from_a_stranger(self):
        """A backup is no place to send findings to; what runs there runs on."""
        a, b, guest, _ = self.protected_pair(b=("--insecure",))
        committed = b.status()["epochs"]["committed"]
        with connect(b) as s:
            s.sendall(header(type_=15, flags=MANDATORY, length=0))
            read_to_end(s)
        wait_for("epochs to go on", lambda: b.status()["epochs"]["committed"] > committed, 3)
        self.assertEqual(a.state(), "protected")
        guest.check_runs()


if __name__ == "__main__":
    main()
