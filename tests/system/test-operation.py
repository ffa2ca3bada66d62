# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operator does on a good day, and on one when the arbiter cannot be asked."""

import json
import os
import signal
import subprocess
import time

from rig import alive, program, wait_for
from rig.case import SystemTest
from rig.fake import FakeGuest
from rig.main import main

# docs/control.md, "Status of a domain": every member, and the members of its objects.
STATUS = {
    "domain": str, "name": str, "role": str, "state": str, "protected": bool, "reason": str, "peer": str,
    "arbiter": str, "session": str, "generation": int, "interval_ms": int, "on_backup_loss": str, "tracking": str,
    "tracking_note": str, "memory_mib": int, "lag_ms": float, "since": str, "pid": int, "guest_pid": int,
    "sync": {"round", "pages_sent", "pages_total"}, "epochs": {"sent", "committed", "aborted"},
    "pause_us": {"p50", "p99", "max", "stop", "save", "scan", "copy", "resume"},
    "own_us": {"p50", "p99", "max"}, "commit_us": {"p50", "p99", "max"},
    "dirty_pages": {"last", "mean"}, "wire": {"bytes", "raw_bytes", "ratio"},
    "egress": {"state", "held_packets", "held_bytes", "held_total", "dropped", "released", "discarded"},
    "memory": {"cache_bytes", "cache_cap", "staging_bytes"},
    "link": {"rtt_us", "clock_offset_us", "silent_ms", "bytes_sent", "bytes_received"},
    "failover": {"detect_ms", "claim_ms", "activate_ms"}, "pause_share": float, "warnings": list,
    "clock": {"policy", "synchronised", "peer_synchronised"},
    "agent": {"present", "version", "why", "not_guaranteed"},
}


class Reading(SystemTest):
    def test_status_members(self):
        a, b, _, _ = self.protected_pair()
        for host, only_there in ((a, set()), (b, {"on_backup_loss"})):
            done = host.ctl("status", "--json")
            self.assertEqual(done.status, 0, done)
            answer = json.loads(done.out)
            self.assertEqual(set(answer), {"host", "domains"})
            self.assertLessEqual({"version", "pid", "listen", "run_dir", "arbiter"}, set(answer["host"]))
            domain, = answer["domains"]
            for member, kind in STATUS.items():
                if member in only_there:
                    continue
                self.assertIn(member, domain, f"status of {domain['role']}")
                if isinstance(kind, set):
                    self.assertLessEqual(kind, set(domain[member]), member)
                else:
                    self.assertIsInstance(domain[member], kind, member)
        self.assertEqual(a.ctl("list", "--json").status, 0)
        self.assertIn("vm1", a.ctl("status").out)
        self.assertIn("vm1", a.ctl("status", "vm1").out)
        self.assertIn("vm1", b.ctl("list").out)

    def test_events_follow(self):
        a, b = self.host("a"), self.host("b")
        path = os.path.join(self.folder, "events.log")
        follower = self.spawn([program("remusctl"), "--control", a.control, "events", "--follow", "--json"], "events.log",
                              preexec=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # also below a shell's "&"

        def told():
            with open(path, encoding="utf-8") as f:
                return f.read().splitlines()

        guest, sink = FakeGuest.start(self), self.sink()
        self.assertEqual(a.protect(guest, b, "--egress", sink.uri).status, 0)
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
        wait_for("the follower to tell both events", lambda: len(told()) >= 2, 5)
        os.kill(follower.pid, signal.SIGINT)
        follower.wait(5)
        events = [json.loads(line) for line in told()]
        self.assertEqual([e["kind"] for e in events], ["protected", "unprotected"])
        self.assertEqual([e["seq"] for e in events], [1, 2])
        self.assertEqual(events, a.events())
        self.assertLessEqual({"seq", "time", "mono_us", "domain", "role", "level", "kind", "message"},
                             set(events[0]))
        later = a.ctl("events", "--since", "1", "--json").out.splitlines()
        self.assertEqual(len(later), 1)

    def test_check(self):
        """0 protected or not meant to be, 4 unknown, 6 unprotected."""
        self.claims = 1
        a, b, guest, sink = self.protected_pair()
        self.assertEqual(a.ctl("status", "--check").status, 0)
        self.assertEqual(a.ctl("status", "vm1", "--check").status, 0)
        self.assertEqual(b.ctl("status", "vm1", "--check").status, 0)
        self.assertEqual(a.ctl("status", "vm2", "--check").status, 4)
        os.kill(b.child("backup"), signal.SIGKILL)
        a.wait_state("solo")
        done = a.ctl("status", "vm1", "--check")
        self.assertEqual(done.status, 6)
        self.assert_says(a.ctl("status").out, "UNPROTECTED")
        # A restart of remusd doesn't make it look as if nobody had wanted protection.
        self.assertEqual(a.stop(), 0)
        a.start("--arbiter", "file:" + self.arbiter())
        a.wait_state("solo")
        self.assertEqual(a.ctl("status", "--check").status, 6)
        self.assertEqual(a.protect("vm1", b).status, 0)
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
        self.assertEqual(a.ctl("status", "vm1", "--check").status, 0)


class Protecting(SystemTest):
    def test_twice(self):
        a, b, guest, sink = self.protected_pair()
        for name in ("vm1", guest.locator):
            done = a.protect(name, b, "--egress", sink.uri)
            self.assert_refused(done, 1, "vm1", "already", "protected")
        done = a.protect(guest, b, "--egress", sink.uri, "--name", "other")
        self.assert_refused(done, 1, "already")
        self.assertEqual(a.state(), "protected")
        guest.check_runs()

    def test_same_name_at_the_backup(self):
        """Two guests of one name from two hosts: the second is refused, the first goes on."""
        a, b, guest, sink = self.protected_pair()
        c, other = self.host("c"), FakeGuest.start(self, name="vm2")
        done = c.protect(other, b, "--egress", sink.uri, "--name", "vm1")
        self.assert_refused(done, 5, "backup refuses", "vm1", "already")
        other.check_untouched()
        self.assertEqual(a.state(), "protected")
        self.assertEqual(c.ctl("status", "vm1", "--check").status, 6)
        done = c.protect(other, b, "--egress", sink.uri, "--name", "vm2")
        self.assertEqual(done.status, 0, done)
        self.assertEqual(c.state("vm2"), "protected")

    def test_two_domains(self):
        a, b, guest, sink = self.protected_pair()
        other, second = FakeGuest.start(self, name="vm2"), self.sink("switch2")
        done = a.protect(other, b, "--egress", second.uri)
        self.assertEqual(done.status, 0, done)
        self.assertEqual((a.state("vm1"), a.state("vm2")), ("protected", "protected"))
        os.kill([p for p in a.children() if p == a.status("vm2")["pid"]][0], signal.SIGKILL)
        wait_for("vm2 to go on on one side", lambda: a.state("vm2") in ("solo", "discarded"))
        self.claims = 1
        self.assertEqual(a.state("vm1"), "protected")
        guest.check_runs()
        if b.state("vm2") == "active":
            self.survivor(b, "vm2").check_runs()

    def test_again(self):
        """Ten times on and off; nothing heaps up."""
        a, b, guest, sink = self.protected_pair()
        for _ in range(10):
            self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
            wait_for("the standby to be dropped", lambda: not b.children(), 5)
            guest.check_untouched()
            done = a.protect("vm1", b)
            self.assertEqual(done.status, 0, done)
        fds = len(os.listdir(f"/proc/{a.remusd.pid}/fd"))
        self.assertLess(fds, 24)
        self.assertEqual(a.status()["generation"], 11)

    def test_unprotect_on_the_backup(self):
        self.claims = 1
        a, b, guest, _ = self.protected_pair()
        self.assertEqual(b.ctl("unprotect", "vm1").status, 0)
        a.wait_state("solo")
        self.assert_says(a.status()["reason"], "backup")
        guest.check_untouched()

    def test_no_such_domain(self):
        a = self.host("a")
        for verb in (["unprotect", "vm9"], ["failover", "vm9"], ["status", "vm9"], ["detach", "vm9"],
                     ["protect", "vm9", "--to", "127.0.0.1"]):
            self.assert_refused(a.ctl(*verb), 4, "vm9")

    def test_client_that_leaves_ends_nothing(self):
        a, b = self.host("a"), self.host("b")
        guest, sink = FakeGuest.start(self, pages=65536), self.sink()
        watcher = subprocess.Popen([program("remusctl"), "--control", a.control, "protect", guest.locator, "--to",
                                    b.address, "--egress", sink.uri], env=self.environment(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("protection to begin", a.status)
        watcher.kill()
        watcher.wait(5)
        a.wait_state("protected")


class Moving(SystemTest):
    """Planned failover, and back."""

    claims = 2

    def there_and_back(self, ask_first, ask_second):
        a, b, guest, sink = self.protected_pair()
        done = {"a": a, "b": b}[ask_first].ctl("failover", "vm1")
        self.assertEqual(done.status, 0, done)
        self.assert_says(done.out, "vm1", "unprotected")
        b.wait_state("active")
        a.wait_state("discarded")
        wait_for("the guest that was handed over to be gone", lambda: not alive(guest.pid) or guest.process.poll() is not None, 5)
        writes = self.survivor(b).writes()
        sink.drain()
        wait_for("frames of the guest on host b", sink.drain, 3)
        self.assertEqual(b.ctl("status", "vm1", "--check").status, 6)
        # Both hosts have one clock here: the guest goes on with the primary's time, and lost what it stood still.
        clock = b.status()["clock"]
        self.assertEqual(clock["source"], "primary")
        self.assertGreater(clock["gap_ms"], 0)
        self.assertAlmostEqual(clock["correction_ms"], clock["gap_ms"], 3)
        self.assertLess(clock["gap_error_ms"], clock["gap_ms"] + 1)
        self.assertIn("clock", [e["kind"] for e in b.events()])
        # Reprotect: nothing but the name has to be said.
        done = b.protect("vm1", a)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(b.ctl("status", "vm1", "--check").status, 0)
        moved = self.guests.pop()
        done = {"a": a, "b": b}[ask_second].ctl("failover", "vm1")
        self.assertEqual(done.status, 0, done)
        a.wait_state("active")
        back = self.survivor(a)
        back.check_runs()
        self.assertGreater(back.writes(), writes)
        sink.drain()
        wait_for("frames of the guest on host a", sink.drain, 3)
        wait_for("the guest that was handed back to be gone", lambda: not alive(moved.pid), 5)

    def test_asked_on_the_primary(self):
        self.there_and_back("a", "b")

    def test_asked_on_the_backup(self):
        self.there_and_back("b", "a")

    def test_refused_when_not_protected(self):
        self.claims = 0
        a, b, guest, sink = self.protected_pair()
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
        self.assert_refused(a.ctl("failover", "vm1"), 1, "vm1", "only a protected guest")
        self.assert_refused(a.ctl("failover", "vm1", "--force"), 2, "--yes")
        self.assert_refused(a.ctl("failover", "vm1", "--force", "--yes"), 1, "backup", "claiming")
        guest.check_untouched()

    def test_after_failover_the_other_way(self):
        """Host a dies, comes back empty, and becomes the backup of what it lost."""
        a, b, guest, sink = self.protected_pair()
        guest.process.kill()
        for pid in a.children():
            os.kill(pid, signal.SIGSTOP)
        children = list(a.children())
        a.kill()
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        guest.clear()
        b.wait_state("active")
        runs = self.survivor(b)
        a.start("--arbiter", "file:" + self.arbiter())
        done = b.protect("vm1", a)
        self.assertEqual(done.status, 0, done)
        runs.check_runs()
        self.assertEqual(b.ctl("unprotect", "vm1").status, 0)
        runs.check_untouched()


class Deciding(SystemTest):
    """Where the decision is a person's."""

    def test_hold(self):
        """--on-backup-loss hold: the guest runs, nothing leaves until the operator says so."""
        self.claims = 1
        a, b, guest, sink = self.protected_pair("--on-backup-loss", "hold")
        wait_for("frames of the guest", sink.drain, 3)
        os.kill(b.child("backup"), signal.SIGKILL)
        a.wait_state("held")
        sink.drain()
        guest.check_runs()
        time.sleep(0.2)
        self.assertEqual(sink.drain(), [])
        self.assertEqual(a.ctl("status", "vm1", "--check").status, 6)
        self.assertIn("unprotected", a.kinds())
        self.assert_refused(a.ctl("unprotect", "vm1", "--force"), 2, "--yes")
        done = a.ctl("unprotect", "vm1", "--force", "--yes")
        self.assertEqual(done.status, 0, done)
        wait_for("frames of the guest", sink.drain, 3)
        guest.check_untouched()

    def cut(self, a, b):
        """Cut the link: both sides live and hear nothing. A stopped receiver is a silent one."""
        receiver = b.child("backup")
        os.kill(receiver, signal.SIGSTOP)
        a.wait_state("claiming")
        os.kill(receiver, signal.SIGCONT)
        b.wait_state("claiming")

    def test_manual_primary_keeps_it(self):
        a, b, guest, sink = self.protected_pair("--arbiter", "manual", b=("--arbiter", "manual"))
        self.cut(a, b)
        time.sleep(1)
        self.assertEqual((a.state(), b.state()), ("claiming", "claiming"))
        for host in (a, b):
            self.assertIn("claim-unknown", host.kinds())
            self.assertEqual(host.ctl("status", "vm1", "--check").status, 6)
        text = next(e["message"] for e in a.events() if e["kind"] == "claim-unknown")
        self.assert_says(text, "operator must decide", "unprotect", "--force", "twice")
        text = next(e["message"] for e in b.events() if e["kind"] == "claim-unknown")
        self.assert_says(text, "operator must decide", "failover", "--force", "twice")
        sink.drain()
        guest.check_runs()
        time.sleep(0.2)
        self.assertEqual(sink.drain(), [], "output left though nobody has decided (I6)")
        self.assert_refused(a.ctl("unprotect", "vm1"), 1, "--force")
        self.assert_refused(b.ctl("failover", "vm1"), 1, "vm1", "claiming")
        done = a.ctl("unprotect", "vm1", "--force", "--yes")
        self.assertEqual(done.status, 0, done)
        wait_for("frames of the guest", sink.drain, 3)
        guest.check_untouched()
        done = b.ctl("unprotect", "vm1", "--force", "--yes")
        self.assertEqual(done.status, 0, done)
        wait_for("the standby to be dropped", lambda: not b.children(), 5)
        self.assertNotIn("activated", b.kinds())

    def test_manual_backup_takes_over(self):
        a, b, guest, sink = self.protected_pair("--arbiter", "manual", b=("--arbiter", "manual"))
        os.kill(guest.pid, signal.SIGSTOP)  # host a hangs as a whole
        engine = a.child("primary")
        os.kill(engine, signal.SIGSTOP)
        b.wait_state("claiming")
        os.kill(engine, signal.SIGKILL)
        guest.process.kill()
        guest.clear()
        self.assert_refused(b.ctl("failover", "vm1", "--force"), 2, "--yes")
        self.assertEqual(b.state(), "claiming")
        done = b.ctl("failover", "vm1", "--force", "--yes")
        self.assertEqual(done.status, 0, done)
        b.wait_state("active")
        self.survivor(b).check_runs()
        sink.drain()
        wait_for("frames of the survivor", sink.drain, 3)


if __name__ == "__main__":
    main()
