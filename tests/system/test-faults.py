# SPDX-License-Identifier: GPL-2.0-or-later
"""Fault points as an operator meets them, and those of remusd's own: each is passed, and whatever fails or dies there the
guest runs on and can be protected the next time. (The shells' points: tests/unit/test-engine-points.c.)
"""

import os
import re
import signal
import subprocess

from rig import alive, program, wait_for
from rig.case import SystemTest
from rig.fake import FakeGuest
from rig.main import main

FIRED = re.compile(r"fault point (\S+), time \d+")
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")


def listed():
    """{name: process} as remusd --faults prints them."""
    done = subprocess.run([program("remusd"), "--faults"], capture_output=True, text=True, check=True, timeout=10)
    return {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}


def armed(spec):
    return {"REMUS_FAULT": spec}


class Telling(SystemTest):
    def test_list(self):
        points = listed()
        self.assertGreater(len(points), 50)
        self.assertEqual(set(points.values()), {"remusd", "primary", "backup"})

    def test_documentation_names_them_all(self):
        with open(os.path.join(SOURCE, "docs/faults.md"), encoding="utf-8") as f:
            named = re.findall(r"^\| `([a-z-]+)` \| (\w+) \|", f.read(), re.M)
        self.assertEqual(dict(named), listed())
        self.assertEqual([name for name, _ in named], list(listed()))

    def test_nonsense_is_refused(self):
        folder = self.make_folder("host-x")
        for spec, word in (("nowhere", "no fault point"), ("primary-copied:0", "no count"), ("any:1:explode", "no action")):
            done = subprocess.run([program("remusd"), "--run-dir", os.path.join(folder, "run"), "--no-listen", "--insecure"],
                                  capture_output=True, text=True, timeout=10, check=False,
                                  env=self.environment(armed(spec)))
            self.assertEqual(done.returncode, 2, done)
            self.assert_says(done.stderr, word, f"REMUS_FAULT={spec}")
        self.assertFalse(os.path.exists(os.path.join(folder, "run")))

    def test_armed_is_told(self):
        a = self.host("a", environment=armed("primary-copied:3:kill"))
        told = [e for e in a.events() if e["kind"] == "fault-armed"]
        self.assertEqual([e["level"] for e in told], ["error"])
        self.assert_says(told[0]["message"], "REMUS_FAULT=primary-copied:3:kill", "on purpose")
        self.assert_says(a.read_log(), "REMUS_FAULT=primary-copied:3:kill")
        b = self.host("b", environment=armed(""))
        self.assertNotIn("fault-armed", b.kinds())


class Passed(SystemTest):
    """The points that no session's machine leads to."""

    claims = 1

    def passed(self, *hosts):
        return set(FIRED.findall("".join(host.read_log() for host in hosts)))

    def test_each_is_passed(self):
        """A life with a killed daemon, a killed engine and an end in order passes them all."""
        wanted = {name for name in listed() if name.split("-")[0] in ("remusd", "engine", "receiver")}
        at_once = {"environment": armed("any:1:delay=0")}
        a, b = self.host("a", **at_once), self.host("b", **at_once)
        guest, sink = FakeGuest.start(self), self.sink()
        done = a.protect(guest, b, "--egress", sink.uri)
        self.assertEqual(done.status, 0, done)
        os.kill(b.child("backup"), signal.SIGSTOP)  # so that the guest stays here
        stopped = b.child("backup")
        os.kill(a.child("primary"), signal.SIGKILL)
        a.wait_state("solo")
        os.kill(stopped, signal.SIGCONT)
        b.wait_state("dropped")
        a.kill()
        a.start("--arbiter", "file:" + self.arbiter(), **at_once)
        guest.check_runs()
        self.assertEqual(wanted - self.passed(a, b), set())


class Struck(SystemTest):
    """A fault at a point of setup: the guest runs on, and nothing stands in the way of the next try."""

    def try_at(self, side, spec):
        """Protect with the fault armed on @side ("a", "b"); how remusctl ended, and the stage."""
        environment = {side: {"environment": armed(spec)}}
        a, b = (self.host(name, **environment.get(name, {})) for name in "ab")
        guest, sink = FakeGuest.start(self), self.sink()
        done = a.protect(guest, b, "--egress", sink.uri)
        return done, a, b, guest, sink

    def protect_again(self, a, b, guest, sink):
        guest.check_runs()
        def again():
            done = a.protect(guest, b, "--egress", sink.uri)
            return done.status == 0
        wait_for("protection at the next try", again, 10)
        self.assertEqual(a.state(), "protected")
        sink.drain()
        wait_for("frames of the guest", sink.drain, 3)
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
        guest.check_untouched()

    def fails(self, side, point, *words):
        done, *stage = self.try_at(side, point + ":1:fail=ENOSPC")
        self.assertNotEqual(done.status, 0, done)
        self.assert_says(done.err, *words)
        self.protect_again(*stage)

    def test_engine_open_fails(self):
        self.fails("a", "engine-open", "engine-open", "No space")

    def test_engine_nics_fails(self):
        self.fails("a", "engine-nics", "engine-nics", "No space")

    def test_engine_key_fails(self):
        self.fails("a", "engine-key", "engine-key", "No space")

    def test_spawn_fails(self):
        self.fails("a", "remusd-spawn", "remusd-spawn", "No space")

    def test_spawn_of_a_receiver_fails(self):
        self.fails("b", "remusd-spawn")

    def test_receiver_fails(self):
        self.fails("b", "receiver-accept")

    def test_admission_fails(self):
        self.fails("b", "remusd-admit", "remusd-admit")

    def test_record_fails(self):
        """Without a record nobody would see to the guest after a crash."""
        self.fails("a", "remusd-record", "recorded", "no space left")
        self.assert_says(self.hosts["a"].read_log(), "session record", "No space")

    def test_record_fails_at_the_backup(self):
        """Of the connection's record, then of the session's."""
        done, *stage = self.try_at("b", "remusd-record:2:fail=ENOSPC")
        self.assertNotEqual(done.status, 0, done)
        self.assert_says(done.err, "the backup can't record", "no space left")
        self.assertIn("refused", self.hosts["b"].kinds())
        self.protect_again(*stage)

    def dies(self, side, point):
        """A child killed there takes its own session with it, nothing else."""
        done, *stage = self.try_at(side, point + ":1:kill")
        self.assertNotEqual(done.status, 0, done)
        self.protect_again(*stage)

    def test_engine_dies_attached(self):
        self.dies("a", "engine-open")

    def test_engine_dies_with_its_buffers_open(self):
        self.dies("a", "engine-nics")

    def test_engine_dies_before_it_asks_the_arbiter(self):
        self.dies("a", "engine-key")

    def test_receiver_dies(self):
        self.dies("b", "receiver-accept")

    def daemon_dies(self, side, point):
        """The daemon itself: the next one in the same folder takes up."""
        done, a, b, guest, sink = self.try_at(side, point + ":1:kill")
        self.assertNotEqual(done.status, 0, done)
        host = a if side == "a" else b
        self.assertEqual(host.remusd.wait(5), -signal.SIGKILL)
        guest.check_runs()
        host.start("--arbiter", "file:" + self.arbiter())
        self.protect_again(a, b, guest, sink)

    def test_daemon_dies_forking(self):
        self.daemon_dies("a", "remusd-spawn")

    def test_daemon_dies_writing_a_record(self):
        self.daemon_dies("a", "remusd-record")

    def test_backups_daemon_dies_forking(self):
        self.daemon_dies("b", "remusd-spawn")

    def test_backups_daemon_dies_admitting(self):
        self.daemon_dies("b", "remusd-admit")


class Later(SystemTest):
    """Faults in what follows a death: twice in a row, and still exactly one side runs the guest."""

    claims = 1

    def settle(self, a, b):
        wait_for("both sides to have decided", lambda: a.state() in ("solo", "discarded") and
                 b.state() in ("active", "dropped", None), 15)
        if b.state() == "active":
            self.assertEqual(a.state(), "discarded")
            self.survivor(b).check_runs()
            wait_for("the loser's guest to be gone", lambda: not alive(self.guests[0].pid), 5)
        else:
            self.assertEqual(a.state(), "solo")
            self.guests[0].check_untouched()

    def engine_killed_with(self, spec):
        a, b, _, _ = self.armed_pair(spec)
        os.kill(a.child("primary"), signal.SIGKILL)
        self.settle(a, b)
        return a, b

    def armed_pair(self, spec):
        a, b = self.host("a", environment=armed(spec)), self.host("b")
        guest, sink = FakeGuest.start(self), self.sink()
        done = a.protect(guest, b, "--egress", sink.uri)
        self.assertEqual(done.status, 0, done)
        return a, b, guest, sink

    def test_the_next_engine_is_killed_too(self):
        a, _ = self.engine_killed_with("engine-recover:1:kill")
        self.assertEqual(a.kinds().count("engine-died"), 2)

    def test_the_next_engine_fails(self):
        self.engine_killed_with("engine-recover:1:fail")

    def test_the_next_engine_can_not_be_forked(self):
        """The first engine is the first to be forked, its successor the second: it is forked later, and no copy of the
        guest is forgotten here meanwhile."""
        a, b, guest, _ = self.armed_pair("remusd-spawn:2:fail=EAGAIN")
        os.kill(a.child("primary"), signal.SIGKILL)
        wait_for("remusd to notice", lambda: "engine-died" in a.kinds())
        busy = a.protect(guest, b, "--egress", self.sinks[0].uri)  # nobody may open its network meanwhile
        self.assertNotEqual(busy.status, 0, busy)
        self.settle(a, b)

    def test_engines_keep_dying(self):
        """The daemon does not give the guest up, nor does the next one forget it."""
        a, b, guest, _ = self.armed_pair("engine-recover:1+:kill")
        os.kill(a.child("primary"), signal.SIGKILL)
        wait_for("the engines to have died often", lambda: a.kinds().count("engine-died") >= 6)
        b.wait_state("active")
        wait_for("remusd to wait", lambda: "again in" in a.read_log())
        self.assertTrue(alive(guest.pid))
        self.assertEqual(a.status()["protected"], False)
        self.assertEqual(a.stop(), 0)
        self.left_for_the_next(a)
        a.start("--arbiter", "file:" + self.arbiter())
        wait_for("the loser's guest to be gone", lambda: not alive(guest.pid), 5)
        self.survivor(b).check_runs()

    def test_nothing_can_be_recorded_and_all_are_killed(self):
        """The disk is full before the session is armed; then daemon and engine die at once. The next daemon must know
        that it needs a claim, or the guest would run on both hosts."""
        a, b, guest, _ = self.armed_pair("remusd-record:3+:fail=ENOSPC")
        engine = a.child("primary")
        os.kill(a.remusd.pid, signal.SIGSTOP)
        os.kill(engine, signal.SIGKILL)
        a.kill()
        b.wait_state("active")
        a.start("--arbiter", "file:" + self.arbiter())
        wait_for("the loser's guest to be gone", lambda: not alive(guest.pid), 5)
        self.survivor(b).check_runs()

    def test_an_engine_dies_while_the_daemon_stops(self):
        a, b, guest, _ = self.armed_pair("primary-end:1:kill")
        self.assertEqual(a.stop(), 0)
        b.wait_state("active")
        self.left_for_the_next(a)
        a.start("--arbiter", "file:" + self.arbiter())
        wait_for("the loser's guest to be gone", lambda: not alive(guest.pid), 5)
        self.survivor(b).check_runs()

    def test_a_relayed_guest_whose_engine_can_not_be_forked(self):
        self.claims = 0
        a, b = self.host("a", environment=armed("remusd-spawn:2:fail=EAGAIN")), self.host("b")
        guest, sink = FakeGuest.start(self), self.sink()
        self.assertEqual(a.ctl("attach", guest.locator, "--egress", sink.uri).status, 0)
        self.assertNotEqual(a.protect(guest, b, "--egress", sink.uri).status, 0)
        sink.drain()
        wait_for("frames of the guest", sink.drain, 5)
        done = a.protect(guest, b, "--egress", sink.uri)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)

    def test_the_daemon_dies_reaping(self):
        a, b, _, _ = self.armed_pair("remusd-reap:1:kill")
        os.kill(a.child("primary"), signal.SIGKILL)
        self.assertEqual(a.remusd.wait(5), -signal.SIGKILL)
        a.start("--arbiter", "file:" + self.arbiter())
        self.settle(a, b)

    def test_a_relay_fails(self):
        """Of a guest that went on alone: its network is forwarded by the next one."""
        a, b, guest, sink = self.armed_pair("engine-relay:1:fail")
        self.claims = 0
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
        sink.drain()
        wait_for("frames of the guest", sink.drain, 5)
        guest.check_untouched()


if __name__ == "__main__":
    main()
