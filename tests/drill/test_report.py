# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict: good facts pass, and each single condition that does not hold makes a fail."""

import copy
import json
import unittest

from remus_drill import report
from remus_drill.observer import Early

GOOD = {
    "fault": "host", "memory": 256, "interval": 25, "seed": 1, "seconds": 11.0,
    "before": {"vcpus": 1, "epochs": {"committed": 100, "aborted": 0}, "pause_us": {"p50": 900, "stop": 300},
               "egress": {"held_total": 500, "dropped": 0}, "tracking": "uffd-wp"},
    "survivor_status": {"failover": {"detect_ms": 300.0, "claim_ms": 1.0, "activate_ms": 5.0}},
    "guests": {"a": 0, "b": 1},
    "guest_check": {"pages": 4096, "bad": 0, "checked_bad": 0, "requests_bad": 0},
    "client": {"connections": 4, "bytes": 1, "replies": 1, "corrupt": 0, "resets": 0, "rolled_back": 0,
               "survived": True, "stall": 0.25, "notes": []},
    "egress": {"early": [], "checked": 10, "missing": 0, "sniffer_lost": 0, "standby_frames": 0},
    "events_missing": [], "wrong": [], "litter": [], "errors": []}


def changed(**paths):
    facts = copy.deepcopy(GOOD)
    for path, value in paths.items():
        *way, last = path.split("__")
        place = facts
        for step in way:
            place = place[step]
        place[last] = value
    return facts


class Verdict(unittest.TestCase):
    def test_good_passes(self):
        self.assertEqual(report.failures(GOOD), [])
        self.assertEqual(report.to_json(GOOD)["result"], "pass")

    def test_every_condition(self):
        for change in ({"client__resets": 1}, {"client__corrupt": 1}, {"client__rolled_back": 1},
                       {"client__replies": 0}, {"client__survived": False}, {"guest_check__bad": 1},
                       {"guest_check__checked_bad": 1}, {"guest_check__requests_bad": 1}, {"guest_check": {}},
                       {"egress__early": [Early(1, 5, 1, 7)]}, {"egress__early": [Early(1, 5, None, None)]},
                       {"egress__checked": 0}, {"egress__missing": 1}, {"egress__sniffer_lost": 1},
                       {"egress__standby_frames": 1}, {"litter": ["a socket"]}, {"errors": ["x"]}, {"wrong": ["x"]},
                       {"events_missing": ["activated (host b)"]}, {"guests": {"a": 1, "b": 1}},
                       {"guests": {"a": 0, "b": 0}}, {"guests": {"a": 1, "b": 0}}):
            with self.subTest(change=change):
                self.assertTrue(report.failures(changed(**change)))
                self.assertEqual(report.to_json(changed(**change))["result"], "fail")

    def test_who_may_survive(self):
        for fault, a, b, right in (("host", 0, 1, True), ("qemu", 1, 0, False), ("backup", 1, 0, True),
                                   ("backup", 0, 1, False), ("link", 1, 0, True), ("link", 0, 1, True),
                                   ("link", 1, 1, False), ("engine", 1, 0, True), ("none", 0, 1, True),
                                   ("shutdown", 0, 0, True), ("shutdown", 0, 1, False)):
            with self.subTest(fault=fault, a=a, b=b):
                self.assertEqual(report.failures(changed(fault=fault, guests={"a": a, "b": b})) == [], right)

    def test_object_has_every_member(self):
        wanted = {"result": 0, "backend": 0, "guest": ("memory_mib", "vcpus"), "interval_ms": 0,
                  "epochs": ("committed", "aborted"), "pause_us": ("p50", "p99", "max"),
                  "commit_us": ("p50", "p99", "max"), "dirty_pages": ("mean",),
                  "wire": ("bytes", "raw_bytes", "ratio"),
                  "egress": ("held_packets", "dropped", "released_before_ack"),
                  "failover": ("detect_ms", "claim_ms", "activate_ms", "client_stall_ms"),
                  "client": ("connections", "bytes", "corrupt", "resets", "rolled_back"),
                  "guest_check": ("pages", "bad")}
        for facts in (GOOD, changed(before={}, survivor_status={}, guest_check={})):
            result = json.loads(json.dumps(report.to_json(facts)))
            for member, inside in wanted.items():
                self.assertIn(member, result)
                for name in inside or ():
                    self.assertIn(name, result[member])
            self.assertTrue(report.text(result))
            self.assertTrue(report.one_line(1, 1, result))
        self.assertEqual(report.to_json(GOOD)["failover"]["client_stall_ms"], 250.0)


if __name__ == "__main__":
    unittest.main()
