# SPDX-License-Identifier: GPL-2.0-or-later
"""An arbiter that is away: the drill must notice whoever goes on meanwhile, and every frame that leaves."""

import tempfile
import unittest
from types import SimpleNamespace

from remus_drill import arbiter, options, scenario


class Host:
    def __init__(self, state, alive=True):
        self.state, self.alive = state, alive

    def processes(self):
        return {1: "x"} if self.alive else {}

    def domains(self):
        return [{"state": self.state}]


def drill(folder, **hosts):
    plan = {"kill": "host", "memory": 1, "interval": 1, "seed": 1, "connections": 1, "arbiter": "etcd"}
    made = scenario.Drill(plan, folder, lambda text: None)
    made.hosts = hosts
    return made


class Away(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def test_who_went_on(self):
        went_on = drill(self.folder, a=Host("solo", alive=False), b=Host("claiming"))._who_went_on
        self.assertEqual(went_on(), [])
        for state in ("active", "activating", "solo", "held", "discarded", "dropped"):
            found = drill(self.folder, a=Host("claiming"), b=Host(state))._who_went_on()
            self.assertEqual(len(found), 1, state)
            self.assertIn(f"host b was {state}", found[0])

    def test_each_is_told_once(self):
        self.assertEqual(arbiter.watch(0.2, lambda: ["x", "y"]), ["x", "y"])
        self.assertEqual(arbiter.watch(0.1, lambda: []), [])

    def test_frames(self):
        d = drill(self.folder)
        d.fault_time, d.decided_time = 10.0, 16.0
        for frames, count in (([9e6, 10.4e6, 16.1e6], 0), ([10.6e6], 1), ([11e6, 15.9e6, 17e6], 2)):
            d.facts["wrong"] = []
            d.sniffers = {"a": SimpleNamespace(frames=frames), "b": SimpleNamespace(frames=[])}
            d._check_silence()
            self.assertEqual([w.split()[0] for w in d.facts["wrong"]], [str(count)] if count else [])

    def test_faults_that_do_not_ask(self):
        for fault in options.FAULTS:
            good = fault in ("host", "engine", "link")
            try:
                options.parse(["--arbiter", "etcd", "--kill", fault])
                self.assertTrue(good, fault)
            except SystemExit:
                self.assertFalse(good, fault)


if __name__ == "__main__":
    unittest.main()
