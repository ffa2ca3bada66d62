# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts that are in trouble without being dead: a full disk, a wall clock that jumps, a standstill (suspend and resume)."""

import glob
import json
import os
import signal
import struct
import subprocess
import time

from rig import alive, installed, wait_for
from rig.case import SystemTest
from rig.fake import FakeGuest
from rig.host import Host
from rig.main import main


class StandsStill(SystemTest):
    """All of a host stops for seconds and goes on, as after suspend and resume."""

    claims = 1

    def stop(self, host, guest_pid, seconds=3):
        """Everything of it; it goes on after @seconds, or when the caller is through with what happens meanwhile."""
        pids = [host.remusd.pid, *host.children(), guest_pid]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        self.until = time.monotonic() + seconds
        return pids

    def go_on(self, pids):
        time.sleep(max(0.0, self.until - time.monotonic()))
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def test_the_primary(self):
        """The backup takes over; who wakes up gives up its copy, and shows nothing more (I5)."""
        a, b, guest, sink = self.protected_pair()
        pids = self.stop(a, guest.pid)
        b.wait_state("active")
        runs = self.survivor(b)
        sink.drain()
        wait_for("frames of the survivor", sink.drain, 3)
        self.go_on(pids)
        a.wait_state("discarded")
        self.assertIn("claim-lost", a.kinds())
        self.assertNotIn("solo", a.kinds())
        wait_for("the guest of the host that slept to be gone", lambda: not alive(guest.pid) or guest.process.poll() is not None)
        runs.check_runs()
        numbers = sink.drain()
        self.assertEqual(numbers, sorted(numbers), "the host that slept has sent what the survivor had sent already")

    def test_the_backup(self):
        """The primary goes on alone; who wakes up has no say any more."""
        a, b, guest, sink = self.protected_pair()
        pids = self.stop(b, b.status()["guest_pid"])
        a.wait_state("solo")
        self.go_on(pids)
        b.wait_state("dropped")
        self.assertNotIn("activated", b.kinds())
        guest.check_untouched()
        sink.drain()
        wait_for("frames of the guest", sink.drain, 3)

    def test_both(self):
        """A short one, of everything: nobody is held guilty of the time in which it stood still itself."""
        a, b, guest, sink = self.protected_pair()
        pids = self.stop(a, guest.pid, 1) + self.stop(b, b.status()["guest_pid"], 1)
        self.go_on(pids)
        wait_for("one side to go on", lambda: a.state() in ("protected", "solo", "discarded"))
        time.sleep(1)
        ends = (a.state(), b.state())
        self.assertIn(ends, (("protected", "standby"), ("solo", "dropped"), ("discarded", "active")))
        if ends[0] == "protected":
            self.claims = 0
        if ends[1] == "active":
            self.survivor(b).check_runs()
        else:
            guest.check_runs()
        sink.drain()
        wait_for("frames of the guest", sink.drain, 3)


class FullDisk(SystemTest):
    """No room in the run folder, or in the arbiter's: sessions that run go on, new ones are refused in clear words,
    records stay whole."""

    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("mounting a small tmpfs needs root")

    def small(self, path):
        os.makedirs(path, mode=0o700, exist_ok=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "none", path], capture_output=True,
                              text=True, check=False)
        if done.returncode:
            self.skipTest("a small tmpfs can't be mounted here: " + done.stderr.strip())
        self.addCleanup(subprocess.run, ["umount", "-l", path], check=False)

    def fill(self, path):
        """To the last byte."""
        self.ballast = os.path.join(path, "ballast")
        with open(self.ballast, "wb", buffering=0) as f:
            for size in (65536, 512, 1):
                try:
                    while True:
                        f.write(b"x" * size)
                except OSError:
                    pass

    def room(self):
        os.unlink(self.ballast)

    def check_records(self, host):
        for path in glob.glob(os.path.join(host.run, "*.session")):
            with open(path, encoding="ascii") as f:
                json.load(f)
        self.assertEqual(glob.glob(os.path.join(host.run, "*.new")), [])

    def test_run_folder_of_the_primary(self):
        self.small(os.path.join(self.folder, "host-a", "run"))
        a, b, guest, sink = self.protected_pair()
        self.fill(a.run)
        before = a.status()["epochs"]["committed"]
        wait_for("epochs to go on", lambda: a.status()["epochs"]["committed"] > before + 10)
        self.check_records(a)
        done = a.ctl("unprotect", "vm1")
        self.assertEqual(done.status, 0, done)
        guest.check_untouched()
        done = a.protect("vm1", b)
        self.assertEqual(done.status, 1, done)
        self.assert_says(done.err, "no space left")
        self.check_records(a)
        sink.drain()
        wait_for("frames of the guest, forwarded as before", sink.drain, 3)
        guest.check_untouched()
        self.room()
        done = a.protect("vm1", b)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)

    def test_run_folder_of_the_backup(self):
        self.small(os.path.join(self.folder, "host-b", "run"))
        a, b = self.host("a"), self.host("b")
        guest, sink = FakeGuest.start(self), self.sink()
        self.fill(b.run)
        done = a.protect(guest, b, "--egress", sink.uri)
        self.assertNotEqual(done.status, 0, done)
        self.assert_says(done.err, "space")
        guest.check_untouched()
        self.room()
        done = a.protect(guest, b, "--egress", sink.uri)
        self.assertEqual(done.status, 0, done)
        self.fill(b.run)
        before = a.status()["epochs"]["committed"]
        wait_for("epochs to go on", lambda: a.status()["epochs"]["committed"] > before + 10)
        self.claims = 1
        guest.process.kill()  # and a failover needs no room
        b.wait_state("active")
        self.survivor(b).check_runs()
        self.check_records(b)
        self.room()
        guest.clear()

    def test_folder_of_the_arbiter(self):
        self.claims = 1
        self.small(self.arbiter())
        a, b, guest, sink = self.protected_pair()
        self.fill(self.arbiter())
        guest.process.kill()  # a claim needs no room
        b.wait_state("active")
        survivor = self.survivor(b)
        guest.clear()
        done = b.protect("vm1", a)
        self.assertEqual(done.status, 1, done)
        self.assert_says(done.err, "arbiter", "space")
        survivor.check_runs()
        self.room()


class ClockJumps(SystemTest):
    """The wall clock of a host is set, hours forward and back: nothing that remus waits for is measured by it."""

    def setUp(self):
        super().setUp()
        compiler = installed("cc") or installed("gcc")
        if not compiler:
            self.skipTest("there is no C compiler to make a clock that jumps")
        self.shim, self.shift = os.path.join(self.folder, "shim.so"), os.path.join(self.folder, "shift")
        self.props += ["shim.so", "shift"]
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clock-shift.c")
        subprocess.run([compiler, "-D_GNU_SOURCE", "-O", "-shared", "-fPIC", "-o", self.shim, source], check=True, timeout=60)
        self.jump(0)

    def jump(self, seconds):
        fd = os.open(self.shift, os.O_WRONLY | os.O_CREAT, 0o600)  # in place: a running remusd has it mapped
        os.write(fd, struct.pack("<q", seconds))
        os.close(fd)

    def clocked(self, name):
        host = self.hosts[name] = Host(self, name, len(self.hosts) + 1)
        try:
            return host.start("--arbiter", "file:" + self.arbiter(),
                              environment={"LD_PRELOAD": self.shim, "CLOCK_SHIFT": self.shift})
        except AssertionError:
            if "Sanitizer" in host.read_log() or "ASan" in host.read_log():
                self.skipTest("this build's sanitizer doesn't let itself be preloaded")
            raise

    def go_on(self, a, b):
        for seconds in (7200, -7200, 86400 * 365, 0):
            self.jump(seconds)
            before = a.status()["epochs"]["committed"]
            wait_for("epochs to go on", lambda n=before: a.status()["epochs"]["committed"] > n + 20)
            self.assertEqual((a.state(), b.state()), ("protected", "standby"))
            self.assertLess(a.status()["lag_ms"], 5000)

    def test_on_the_primary(self):
        a, b = self.clocked("a"), self.host("b")
        guest, sink = FakeGuest.start(self), self.sink()
        done = a.protect(guest, b, "--egress", sink.uri)
        self.assertEqual(done.status, 0, done)
        self.go_on(a, b)
        self.jump(3600)
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
        guest.check_untouched()

    def test_on_the_backup(self):
        """And it takes over, with its clock an hour off."""
        a, b = self.host("a"), self.clocked("b")
        guest, sink = FakeGuest.start(self), self.sink()
        done = a.protect(guest, b, "--egress", sink.uri)
        self.assertEqual(done.status, 0, done)
        self.go_on(a, b)
        self.claims = 1
        self.jump(-3600)
        guest.process.kill()
        b.wait_state("active")
        self.survivor(b).check_runs()
        guest.clear()


if __name__ == "__main__":
    main()
