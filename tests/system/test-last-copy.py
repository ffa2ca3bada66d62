# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests of which one copy is left, and hosts that come back to find that theirs is gone: what may not be lost isn't, and
what belongs to the other side isn't started (I5).
"""

import glob
import json
import os
import signal
import subprocess
import time

from rig import alive, wait_for
from rig.case import SystemTest
from rig.main import main


class LastCopy(SystemTest):
    """Host a is dead, and the arbiter can't be reached: what the backup has is all that is left of the guest. It must
    outlive any remusd, and go on as soon as the arbiter says so."""

    claims = 1

    def waiting(self):
        """Host b, its receiver and its standby; the network."""
        a, b, guest, sink = self.protected_pair()
        self.away = self.arbiter() + ".away"
        os.rename(self.arbiter(), self.away)
        engine = a.child("primary")
        os.kill(engine, signal.SIGSTOP)  # all of host a with one blow: nothing of it may tell the backup anything
        a.kill()
        os.kill(engine, signal.SIGKILL)
        guest.process.kill()
        guest.process.wait()
        b.wait_state("claiming")
        wait_for("the arbiter's silence to be told", lambda: "claim-unknown" in b.kinds())
        self.sink_, self.a = sink, a
        return b, b.child("backup"), b.status()["guest_pid"]

    def arbiter_returns(self):
        os.rename(self.away, self.arbiter())

    def check_survives(self, b):
        self.survivor(b).check_runs()
        self.sink_.drain()
        wait_for("frames of the survivor", self.sink_.drain, 3)
        self.clear_a()

    def clear_a(self):
        """Host a comes back: it finds that its guest is gone, and starts nothing."""
        self.guests[0].clear()
        self.a.start("--arbiter", "file:" + self.arbiter())
        wait_for("host a to have seen to what it was", lambda: not self.a.children(), 10)

    def again(self, b):
        b.start("--arbiter", "file:" + self.arbiter())

    def test_killed_and_restarted(self):
        b, receiver, standby = self.waiting()
        b.kill()
        time.sleep(0.3)
        self.assertTrue(alive(receiver) and alive(standby), "the last copy of the guest must outlive remusd")
        self.again(b)
        b.wait_state("claiming")
        self.assertIn("adopted", b.kinds())
        self.assertEqual((b.status()["pid"], b.status()["guest_pid"]), (receiver, standby))
        self.arbiter_returns()
        b.wait_state("active")
        self.assertTrue(alive(receiver))
        self.check_survives(b)

    def test_killed_again_and_again(self):
        b, receiver, _ = self.waiting()
        for _ in range(3):
            b.kill()
            self.again(b)
            b.wait_state("claiming")
            self.assertEqual(b.status()["pid"], receiver)
        self.arbiter_returns()
        b.wait_state("active")
        self.check_survives(b)

    def test_decided_without_a_remusd(self):
        """It activates and forwards on its own; the next remusd takes both up."""
        b, _, standby = self.waiting()
        b.kill()
        self.sink_.drain()
        self.arbiter_returns()
        wait_for("frames of the survivor", self.sink_.drain, 10)
        self.again(b)
        b.wait_state("relay", "active")
        self.assertEqual(b.status()["guest_pid"], standby)
        self.check_survives(b)

    def test_terminated_and_restarted(self):
        b, receiver, standby = self.waiting()
        self.assertEqual(b.stop(), 0)
        self.assertTrue(alive(receiver) and alive(standby))
        self.again(b)
        b.wait_state("claiming")
        self.arbiter_returns()
        b.wait_state("active")
        self.check_survives(b)

    def test_forced_after_the_restart(self):
        """The operator's word reaches it as before."""
        b, _, _ = self.waiting()
        b.kill()
        self.again(b)
        b.wait_state("claiming")
        done = b.ctl("failover", "vm1", "--force", "--yes")
        self.assertEqual(done.status, 0, done)
        b.wait_state("active")
        self.survivor(b).check_runs()
        self.arbiter_returns()
        self.clear_a()

    def test_dropped_after_the_restart(self):
        b, receiver, standby = self.waiting()
        b.kill()
        self.again(b)
        b.wait_state("claiming")
        self.assert_refused(b.ctl("unprotect", "vm1"), 1, "all that is left", "--force")
        done = b.ctl("unprotect", "vm1", "--force", "--yes")
        self.assertEqual(done.status, 0, done)
        wait_for("the standby to be gone", lambda: not alive(receiver) and not alive(standby), 5)
        self.assertEqual([f for f in b.files() if "session" in f or "backup" in f], [])
        self.arbiter_returns()
        self.clear_a()


class Rebooted(SystemTest):
    """Host a comes back, its run folder with it: what it protected is the other side's now. Nothing is started or
    signalled, and the operator is told who has the guest."""

    def crashed(self):
        a, b, guest, sink = self.protected_pair()
        engine = a.child("primary")
        os.kill(engine, signal.SIGSTOP)
        a.kill()
        os.kill(engine, signal.SIGKILL)
        guest.process.kill()
        guest.process.wait()
        guest.clear()
        return a, b, sink

    def check_told(self, a, *words):
        a.wait_state("discarded", None)
        told = [e for e in a.events() if e["kind"] == "discarded"]
        self.assertEqual(len(told), 1, a.events())
        self.assert_says(told[0]["message"], "nothing is started", *words)
        self.assertEqual(a.children(), {})

    def test_the_backup_has_it(self):
        self.claims = 1
        a, b, sink = self.crashed()
        b.wait_state("active")
        bystander = subprocess.Popen(["sleep", "60"])
        try:
            record, = glob.glob(os.path.join(a.run, "*.session"))
            with open(record, encoding="ascii") as f:
                entry = json.load(f)
            with open(f"/proc/{bystander.pid}/stat", encoding="ascii") as f:
                began = int(f.read().rsplit(")", 1)[1].split()[19])
            # another boot, in which the pids and even their start times are somebody else's
            entry.update(boot="another", pid=bystander.pid, started=began, guest_pid=bystander.pid, guest_started=began)
            with open(record, "w", encoding="ascii") as f:
                json.dump(entry, f)
            a.start("--arbiter", "file:" + self.arbiter())
            self.check_told(a, "won the claim", "by the backup")
            self.assertIsNone(bystander.poll(), "a process that only has the pid of one before the reboot was killed")
        finally:
            bystander.kill()
            bystander.wait()
        self.survivor(b).check_runs()
        sink.drain()
        wait_for("frames of the survivor", sink.drain, 3)

    def test_nobody_has_it_yet(self):
        """The backup is down, too: it must still be able to win when it comes back, so nothing is claimed here."""
        self.claims = 1
        a, b, guest, _ = self.protected_pair()
        receiver = b.child("backup")
        for host, child in ((a, "primary"), (b, "backup")):
            os.kill(host.child(child), signal.SIGSTOP)
        engine = a.child("primary")
        a.kill()
        os.kill(engine, signal.SIGKILL)
        guest.process.kill()
        guest.process.wait()
        guest.clear()
        a.start("--arbiter", "file:" + self.arbiter())
        self.check_told(a, "has not claimed it yet")
        os.kill(receiver, signal.SIGCONT)
        b.wait_state("active")
        self.survivor(b).check_runs()


if __name__ == "__main__":
    main()
