#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent in the guest as an operator meets it: there or not, what it did, what is said when it doesn't answer, and
that a guest which waits for it is nobody's to lose (I8, I12)."""

import os
import signal
import time

from rig import alive, wait_for
from rig.agent import VERSION, FakeAgent
from rig.case import SystemTest
from rig.fake import FakeGuest
from rig.main import main


class Agent(SystemTest):
    claims = 1

    def setUp(self):
        super().setUp()
        self.agents = []
        self.addCleanup(lambda: [agent.close() for agent in self.agents if os.path.exists(agent.path)])

    def agent(self, control, **kw):
        self.agents.append(FakeAgent(control, **kw))
        return self.agents[-1]

    def with_agent(self, *options, **kw):
        """A protected pair whose guest has an agent on either host; the backup's is returned with them."""
        a, b = self.host("a"), self.host("b")
        guest, sink = FakeGuest.start(self), self.sink()
        self.agent(guest.path)
        done = a.protect(guest, b, "--egress", sink.uri, *options)
        self.assertEqual(done.status, 0, done)
        wait_for("the agent to be known on both hosts",
                 lambda: all(h.status().get("agent", {}).get("present") for h in (a, b)), 5)
        return a, b, guest, sink, self.agent(b.status()["domain"][len("fake:"):], **kw)

    def tearDown(self):
        for agent in self.agents:
            agent.close()
        super().tearDown()

    def lost(self, b, guest):
        """The primary's guest is killed and the backup runs it."""
        guest.process.kill()
        b.wait_state("active", "renewing")
        runs = self.survivor(b)
        guest.clear()
        return runs

    def test_present(self):
        a, b, guest, _, _ = self.with_agent()
        for host in a, b:
            agent = host.status()["agent"]
            self.assertEqual((agent["present"], agent["version"], agent["why"]), (True, VERSION, ""))
            self.assertNotIn("not_guaranteed", agent)
            self.assertNotIn("last", agent)
            self.assertIn(f"present, version {VERSION}", host.ctl("status", "vm1").out)
        self.assertIn("agent", a.kinds())
        self.assertEqual(a.ctl("unprotect", "vm1").status, 0)
        guest.check_untouched()
        self.claims = 0

    def test_absent(self):
        """Nothing waits, and what isn't guaranteed is said before it matters and when it does."""
        a, b, guest, sink = self.protected_pair()
        for host in a, b:
            agent = host.status()["agent"]
            self.assertFalse(agent["present"])
            self.assertIn("agent", agent["why"])
            self.assert_says(agent["not_guaranteed"], "random numbers", "clock")
            self.assert_says(host.ctl("status", "vm1").out, "none", "random numbers")
        runs = self.lost(b, guest)
        runs.check_runs()
        self.assertEqual([k for k in b.kinds() if k in ("activated", "renewed", "not-renewed")],
                         ["activated", "not-renewed"])
        sink.drain()
        wait_for("frames of the survivor", sink.drain, 3)

    def test_renewed(self):
        _, b, guest, sink, agent = self.with_agent("--renew-wait", "10000", times=3)
        runs = self.lost(b, guest)
        b.wait_state("active")
        wait_for("the end of the hooks", lambda: "hooks" in b.status()["agent"].get("last", {}), 5)
        last = b.status()["agent"]["last"]
        self.assertEqual({k: last[k] for k in ("renewed", "reseeded", "bits", "clock", "offset_ms", "step_ms", "error_ms")},
                         {"renewed": True, "reseeded": True, "bits": 512, "clock": "stepped", "offset_ms": 1.5,
                          "step_ms": 1.5, "error_ms": 0.25})
        self.assertEqual(last["hooks"], {"ran": 2, "failed": 1, "first_failed": "10-some"})
        self.assertEqual(len(set(agent.seeds)), 1)
        self.assertEqual(agent.heard.count("time"), 3)
        kinds = b.kinds()
        self.assertLess(kinds.index("activated"), kinds.index("renewed"))
        self.assertNotIn("not-renewed", kinds)
        self.assert_says(b.ctl("status", "vm1").out, "random numbers reseeded", "2 programs run in the guest, 1 failed")
        runs.check_runs()
        wait_for("frames of the survivor", sink.drain, 3)

    def test_silent(self):
        """It is there and doesn't answer: the network opens at the deadline; later it does."""
        _, b, guest, sink, agent = self.with_agent("--renew-wait", "300", renews=False)
        self.lost(b, guest).check_runs()
        b.wait_state("active")
        self.assertIn("not-renewed", b.kinds())
        self.assertEqual(b.status()["agent"]["last"], {"renewed": False})
        sink.drain()
        wait_for("frames of the survivor", sink.drain, 3)
        agent.renews = True
        wait_for("the late answer", lambda: b.status()["agent"]["last"]["renewed"], 5)
        self.assertIn("renewed", b.kinds())

    def renewing(self):
        """The guest runs on the backup and waits for an agent that says nothing."""
        _, b, guest, sink, _ = self.with_agent("--renew-wait", "10000", renews=False)
        runs = self.lost(b, guest)
        b.wait_state("renewing")
        wait_for("the network to be empty", lambda: not sink.drain() and not time.sleep(0.2) and not sink.drain(), 3)
        runs.check_runs()
        self.assertEqual(sink.drain(), [], "a frame left before the renewal (I12)")
        return b, runs, sink

    def test_receiver_killed_while_it_waits(self):
        b, runs, sink = self.renewing()
        os.kill(b.child("backup"), signal.SIGKILL)
        b.wait_state("relay", "active", "renewing")
        wait_for("frames of the survivor", sink.drain, 5)
        self.assertTrue(alive(runs.pid))
        runs.check_runs()

    def test_remusd_killed_while_it_waits(self):
        b, runs, sink = self.renewing()
        b.kill()
        b.start("--arbiter", "file:" + self.arbiter())
        wait_for("frames of the survivor", sink.drain, 5)
        runs.check_runs()

    def test_remusd_stopped_while_it_waits(self):
        b, runs, sink = self.renewing()
        self.assertEqual(b.stop(), 0)
        runs.check_runs()
        self.assertEqual(sink.drain(), [], "a frame left though nobody renewed the guest (I12)")
        b.start("--arbiter", "file:" + self.arbiter())
        wait_for("frames of the survivor", sink.drain, 5)

    def test_guest_ends_while_it_waits(self):
        b, runs, _ = self.renewing()
        runs.power_off()
        wait_for("the receiver to end", lambda: not b.children(), 5)
        self.assertIn("guest-shutdown", b.kinds())


if __name__ == "__main__":
    main()
