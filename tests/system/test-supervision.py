# SPDX-License-Identifier: GPL-2.0-or-later
"""What remusd does when something of its own dies (I8, I13): the guest goes on, on one side, and nothing is left."""

import os
import signal
import time

from rig import alive, wait_for
from rig.case import SystemTest
from rig.fake import FakeGuest
from rig.main import main

BIG = {"pages": 32768, "rate": 200}
SLOW = "primary-sync-send:1+:delay=50"  # of each piece of the first full copy: there is time to look, on any machine


class Killed(SystemTest):
    """kill -9 of one process, while the guest is protected."""

    claims = 1

    def settle(self, a, b):
        """Who goes on after a lost link: (host, its guest). Exactly one."""
        wait_for("both sides to have decided", lambda: a.state() in ("solo", "discarded") and
                 b.state() in ("active", "dropped", None))
        if b.state() == "active":
            self.assertEqual(a.state(), "discarded")
            return b, self.survivor(b)
        self.assertEqual(a.state(), "solo")
        return a, self.guests[0]

    def test_engine(self):
        a, b, guest, sink = self.protected_pair()
        os.kill(a.child("primary"), signal.SIGKILL)
        host, runs = self.settle(a, b)
        runs.check_runs()
        if host is a:
            self.assertTrue(alive(guest.pid), "the winner's guest must be alive")
        else:
            wait_for("the loser's guest to be gone", lambda: not alive(guest.pid), 5)
        self.assertIn("engine-died", a.kinds())
        sink.drain()
        wait_for("frames of the survivor", sink.drain, 3)

    def test_engine_while_the_backup_is_lost_too(self):
        """The new engine wins its claim: the guest stays here, its network is open again."""
        a, b, guest, sink = self.protected_pair()
        os.kill(b.child("backup"), signal.SIGSTOP)  # first: it can't claim
        stopped = b.child("backup")
        os.kill(a.child("primary"), signal.SIGKILL)
        a.wait_state("solo")
        self.assertIn("solo", a.kinds())
        os.kill(stopped, signal.SIGCONT)
        b.wait_state("dropped")
        self.assertIn("standby-dropped", b.kinds())
        guest.check_untouched()
        sink.drain()
        wait_for("frames of the guest", sink.drain, 3)

    def test_engine_hangs(self):
        """It lives and does nothing: the backup takes over, and what is left here is not left for ever."""
        a, b, guest, _ = self.protected_pair(a=("--watchdog", "2"))
        os.kill(a.child("primary"), signal.SIGSTOP)
        b.wait_state("active")
        a.wait_state("discarded")
        self.assertIn("hung", a.kinds())
        self.survivor(b).check_runs()
        wait_for("the guest of the engine that hung to be gone", lambda: not alive(guest.pid), 5)

    def test_receiver(self):
        a, b, guest, _ = self.protected_pair()
        standby = b.status()["guest_pid"]
        os.kill(b.child("backup"), signal.SIGKILL)
        a.wait_state("solo")
        self.assertEqual([k for k in a.kinds() if k in ("backup-lost", "claim-won", "solo")],
                         ["backup-lost", "claim-won", "solo"])
        wait_for("the standby to die", lambda: not alive(standby), 3)
        guest.check_untouched()
        self.assertEqual([f for f in b.files() if "backup" in f or "session" in f], [])
        self.assertEqual(a.ctl("status", "vm1", "--check").status, 6)
        # Protected again with nothing restarted.
        done = a.protect("vm1", b)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(a.ctl("status", "vm1", "--check").status, 0)
        guest.check_runs()
        done = a.ctl("unprotect", "vm1")
        self.assertEqual(done.status, 0, done)

    def test_relay(self):
        """attach, then kill what forwards: it is made anew."""
        self.claims = 0
        a, guest, sink = self.host("a"), FakeGuest.start(self), self.sink()
        done = a.ctl("attach", guest.locator, "--egress", sink.uri)
        self.assertEqual(done.status, 0, done)
        wait_for("frames of the guest", sink.drain, 3)
        killed = a.child("relay")
        os.kill(killed, signal.SIGKILL)
        wait_for("another relay", lambda: "remus-relay" in [n for p, n in a.children().items() if p != killed], 3)
        sink.drain()
        wait_for("frames of the guest", sink.drain, 3)
        self.assertEqual(a.ctl("detach", "vm1").status, 0)
        wait_for("the relay to end", lambda: not a.children(), 3)
        guest.check_untouched()

    def test_guest_on_the_primary(self):
        """The hypervisor dies: the backup takes over."""
        a, b, guest, sink = self.protected_pair()
        guest.process.kill()
        b.wait_state("active")
        a.wait_state("discarded")
        self.assertIn("guest-lost", a.kinds())
        self.survivor(b).check_runs()
        sink.drain()
        wait_for("frames of the survivor", sink.drain, 3)
        guest.clear()

    def test_guest_shuts_down(self):
        """Nothing is resurrected."""
        self.claims = 0
        a, b, guest, _ = self.protected_pair()
        guest.power_off()
        a.wait_state("ended")
        wait_for("the standby to be dropped", lambda: not b.children(), 5)
        self.assertIn("guest-shutdown", a.kinds())
        self.assertIn("standby-dropped", b.kinds())
        self.assertNotIn("activated", b.kinds())


class KilledInTheFirstCopy(SystemTest):
    """The same before anything is committed: no claim is needed, the guest goes on where it is."""

    def copying(self):
        a, b = self.host("a", environment={"REMUS_FAULT": SLOW}), self.host("b")
        guest, sink = FakeGuest.start(self, **BIG), self.sink()
        done = a.protect(guest, b, "--egress", sink.uri, "--no-wait")
        self.assertEqual(done.status, 0, done)
        wait_for("the full copy to be on its way", lambda: b.state() == "syncing" and
                 a.status().get("sync", {}).get("pages_sent", 0) < BIG["pages"] and
                 a.status().get("sync", {}).get("pages_total"), 20, 0.005)
        self.assertFalse(a.status()["protected"])
        return a, b, guest, sink

    def check_alone(self, a, b, guest, sink, state="failed"):
        a.wait_state(state)
        wait_for("the standby to be dropped", lambda: not b.children(), 5)
        sink.drain()
        wait_for("frames of the guest", sink.drain, 3)
        guest.check_untouched()
        self.assertNotIn("activated", b.kinds())

    def test_engine(self):
        a, b, guest, sink = self.copying()
        os.kill(a.child("primary"), signal.SIGKILL)
        self.check_alone(a, b, guest, sink)

    def test_receiver(self):
        a, b, guest, sink = self.copying()
        os.kill(b.child("backup"), signal.SIGKILL)
        self.check_alone(a, b, guest, sink)

    def test_remusd_of_the_primary(self):
        a, b, guest, sink = self.copying()
        a.kill()
        a.start("--arbiter", "file:" + self.arbiter())
        self.check_alone(a, b, guest, sink)

    def test_sigterm(self):
        a, b, guest, _ = self.copying()
        self.assertEqual(a.stop(), 0)
        wait_for("the standby to be dropped", lambda: not b.children(), 5)
        guest.check_untouched()
        self.left_for_the_next(a)

    def test_unprotect(self):
        a, b, guest, sink = self.copying()
        done = a.ctl("unprotect", "vm1")
        self.assertEqual(done.status, 0, done)
        self.check_alone(a, b, guest, sink, "ended")
        self.assertEqual(a.ctl("status", "vm1", "--check").status, 0)


class DaemonKilled(SystemTest):
    """kill -9 of remusd alone; then another one in the same run folder."""

    def test_primary(self):
        """Nobody could steer the engine any more: it ends protection in order, and forwards on."""
        a, b, guest, sink = self.protected_pair()
        engine = a.child("primary")
        a.kill()
        wait_for("the standby to be dropped", lambda: b.state() in ("ended", "dropped"), 5)
        guest.check_untouched()
        sink.drain()
        wait_for("frames of the guest without a remusd", sink.drain, 3)
        a.start("--arbiter", "file:" + self.arbiter())
        a.wait_state("failed")
        self.assertFalse(alive(engine))
        sink.drain()
        wait_for("frames of the guest", sink.drain, 3)
        done = a.protect("vm1", b)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)

    def test_primary_restarted_at_once(self):
        a, b, guest, sink = self.protected_pair()
        a.kill()
        a.start("--arbiter", "file:" + self.arbiter())
        a.wait_state("failed")
        sink.drain()
        wait_for("frames of the guest", sink.drain, 3)
        guest.check_untouched()
        self.assertNotIn("activated", b.kinds())

    def test_primary_with_its_engine(self):
        """All of remus dies, the guest lives: the standby and the next remusd ask the arbiter."""
        self.claims = 1
        a, b, guest, sink = self.protected_pair()
        engine = a.child("primary")
        os.kill(engine, signal.SIGSTOP)  # or it would end protection when it sees that remusd is gone
        a.kill()
        os.kill(engine, signal.SIGKILL)
        b.wait_state("active")
        a.start("--arbiter", "file:" + self.arbiter())
        wait_for("the guest on host a to be destroyed: it lost the claim", lambda: guest.process.poll() is not None)
        self.survivor(b).check_runs()
        self.assertIn("claim-lost", a.kinds())

    def test_half_a_record(self):
        """Killed while writing: what was there before counts, and the half is removed."""
        a = self.host("a")
        a.kill()
        with open(os.path.join(a.run, "7.session.new"), "w", encoding="ascii") as f:
            f.write("{\"role\": 0, \"na")
        with open(os.path.join(a.run, "8.session"), "w", encoding="ascii") as f:
            f.write("{\"role\": 0, \"na")
        a.start("--arbiter", "file:" + self.arbiter())
        self.assertEqual(a.files(), ["arbiter", "control"])

    def test_backup(self):
        """An orphaned standby never runs, and is gone after the restart."""
        self.claims = 1
        a, b, guest, _ = self.protected_pair()
        standby = b.status()["guest_pid"]
        b.kill()
        a.wait_state("solo")
        wait_for("the standby to die", lambda: not alive(standby), 5)
        guest.check_untouched()
        b.start("--arbiter", "file:" + self.arbiter())
        self.assertEqual([f for f in b.files() if f.startswith("backup") or "session" in f], [])
        done = a.protect("vm1", b)
        self.assertEqual(done.status, 0, done)

    def test_host_of_an_activated_guest(self):
        """The guest runs on, its network is forwarded again, and it can be protected."""
        self.claims = 1
        a, b, guest, sink = self.protected_pair()
        guest.process.kill()
        b.wait_state("active")
        runs = self.survivor(b)
        b.kill()
        b.start("--arbiter", "file:" + self.arbiter())
        b.wait_state("relay", "active")
        runs.check_runs()
        sink.drain()
        wait_for("frames of the survivor", sink.drain, 3)
        done = b.protect("vm1", a)
        self.assertEqual(done.status, 0, done)
        runs.check_runs()
        guest.clear()


class Terminated(SystemTest):
    """SIGTERM: every session ends in order."""

    def test_primary(self):
        a, b, guest, _ = self.protected_pair()
        began = time.monotonic()
        self.assertEqual(a.stop(), 0)
        self.assertLess(time.monotonic() - began, 10)
        self.left_for_the_next(a)
        wait_for("the standby to be dropped", lambda: b.state() in ("ended", "dropped"), 5)
        guest.check_untouched()
        self.assertNotIn("activated", b.kinds())

    def test_backup(self):
        """It tells the primary, whose guest goes on alone."""
        self.claims = 1
        a, b, guest, sink = self.protected_pair()
        self.assertEqual(b.stop(), 0)
        self.assertEqual(b.files(), [])
        a.wait_state("solo")
        self.assertEqual(a.ctl("status", "vm1", "--check").status, 6)
        sink.drain()
        wait_for("frames of the guest", sink.drain, 3)
        guest.check_untouched()

    def test_host_of_an_activated_guest(self):
        """The guest runs on, and the next remusd can protect it."""
        self.claims = 1
        a, b, guest, sink = self.protected_pair()
        self.assertEqual(a.ctl("failover", "vm1").status, 0)
        runs = self.survivor(b)
        self.assertEqual(b.stop(), 0)
        runs.check_runs()
        b.start("--arbiter", "file:" + self.arbiter())
        b.wait_state("relay", "active")
        sink.drain()
        wait_for("frames of the survivor", sink.drain, 3)
        done = b.protect("vm1", a)
        self.assertEqual(done.status, 0, done)


if __name__ == "__main__":
    main()
