# SPDX-License-Identifier: GPL-2.0-or-later
"""What a comparison is made of: xl's log, the probe's record, the figures, the words."""

import unittest

from remus_lab import compare, probe, remus_side, table, xlremus


def epoch(start, dirty):
    """What xl says about one checkpoint; 250 ms to the next."""
    return "\n".join((f"{start} libxl: debug: Domain 1:issuing PVH/HVM suspend request via XenBus control node",
                      f"{start + 10000} libxl: debug: Domain 1:guest acknowledged suspend request",
                      f"{start + 20000} libxl: debug: Domain 1:guest has suspended",
                      f"{start + 20100} xc: progress: Domain now suspended: 0/0    0%",
                      f"{start + 40000} xc: progress: Checkpointed save: {dirty}/{dirty}  100%")) + "\n"


class XlLog(unittest.TestCase):
    def test_checkpoints(self):
        found = xlremus.read_log(epoch(0, 500) + epoch(250000, 510) + epoch(500000, 1), 200000)
        self.assertEqual([c.dirty for c in found], [500, 510])  # nobody knows when the last one ended
        self.assertEqual(found[0], xlremus.Checkpoint(0, 10000, 20000, 40000, 50000, 500))
        self.assertEqual(xlremus.parts(found[0]), {"suspend": 10000, "copy": 20000, "resume": 10000})

    def test_a_resume_is_never_before_the_pages(self):
        found = xlremus.read_log(epoch(0, 5) + epoch(250000, 5), 240000)
        self.assertEqual(found[0].resumed, 40000)

    def test_other_lines(self):
        text = "garbage\n12 xc: progress: Checkpointed save: 3/10   30%\n\n" + epoch(100, 7) + "99\n" + epoch(250100, 7)
        self.assertEqual([c.dirty for c in xlremus.read_log(text, 200000)], [7])

    def test_the_first_copy_is_no_checkpoint(self):
        self.assertEqual(xlremus.read_log("5 xc: progress: Checkpointed save: 9/9  100%\n" + epoch(10, 1), 1), [])


class Record(unittest.TestCase):
    def record(self, *answers):
        record = probe.Record()
        for number, counter, moment in answers:
            record.request(number, moment - 0.01)
            record.answer(number, counter, moment)
        return record

    def test_quiet(self):
        record = self.record((1, 1, 1.0), (2, 2, 1.1), (3, 3, 1.2))
        self.assertEqual((record.rollbacks, record.gaps), ([], []))
        self.assertEqual([round(r) for r in record.between(1.0, 1.2)], [10, 10])

    def test_rollback(self):
        record = self.record((1, 599, 1.0), (2, 591, 9.0), (3, 592, 9.1))
        self.assertEqual(record.rollbacks, [(9.0, 599, 591)])

    def test_silence(self):
        record = self.record((1, 1, 1.0), (2, 2, 9.0))
        self.assertEqual(record.silence_from(2.0, 10.0), 8.0)
        self.assertEqual(record.silence_from(9.5, 12.0), 3.0)
        self.assertEqual(self.record().silence_from(1.0, 2.0), 0.0)

    def test_percentile(self):
        self.assertEqual([probe.percentile(range(1, 101), p) for p in (50, 99, 100)], [50, 99, 100])
        self.assertEqual(probe.percentile([7], 1), 7)
        self.assertEqual(probe.percentile([], 50), 0.0)


def status(committed, **pause):
    return {"epochs": {"committed": committed}, "pause_us": pause, "own_us": {"p50": 11, "p99": 70, "max": 75},
            "dirty_pages": {"mean": 100.0}}


class Figures(unittest.TestCase):
    def test_remus(self):
        after = status(50, p50=30, p99=90, max=95, stop=20, save=1, scan=2, copy=3, resume=4)
        figures = remus_side.figures(status(10), after, 20)
        self.assertEqual(figures["checkpoints_per_s"], 2.0)
        self.assertEqual(figures["pages_sent"], 4000)
        self.assertEqual(figures["outside_suspend_us"], {"p50": 11, "p99": 70, "max": 75})
        self.assertEqual(figures["pause_parts_us"], {"suspend": 20, "dirty": 2, "copy": 3, "state": 1, "resume": 4})

    def test_the_table(self):
        side = dict(compare.xl_figures(xlremus.read_log(epoch(0, 500) + epoch(250000, 1), 200000), 10),
                    failover={"stall_ms": 8000, "rollbacks": 1, "rolled_back_by": 9, "survivor": True})
        ours = dict(side, checkpoints_per_s=0.3, failover=dict(side["failover"], stall_ms=1000, rollbacks=0))
        result = {"guest": {"type": "pvh", "memory_mib": 128, "dirty_pages_per_s": 200}, "interval_ms": 200,
                  "seconds": 10, "sides": {"xl": side, "remus": ours}}
        result["failures"] = compare.judge(result)
        self.assertEqual(result["failures"], [])
        text = "\n".join(table.lines(result))
        self.assertIn("3.0 times better", text)
        self.assertIn("8.0 times better", text)

    def test_bytes_per_dirty_page(self):
        sides = {"xl": {"checkpoints": 10, "dirty_pages": 5000, "wire_bytes_per_checkpoint": 2000000},
                 "remus": {"checkpoints": 30, "wire_bytes_per_checkpoint": 100000}}
        compare.per_dirty_page(sides)
        self.assertEqual([s["wire_bytes_per_dirty_page"] for s in sides.values()], [4000.0, 200.0])
        for alone in ({"remus": {"checkpoints": 30, "wire_bytes_per_checkpoint": 100000}},
                      {"xl": {"error": "no"}, "remus": {"checkpoints": 3, "wire_bytes_per_checkpoint": 1}}):
            compare.per_dirty_page(alone)
            self.assertNotIn("wire_bytes_per_dirty_page", alone["remus"])

    def test_rounds(self):
        self.assertEqual(compare.order(["xl", "remus"], 3), [["xl", "remus"], ["remus", "xl"], ["xl", "remus"]])
        rounds = [{"remus": {"checkpoints_per_s": rate, "pause_us": {"p50": pause},
                             "failover": {"survivor": pause < 30}}}
                  for rate, pause in ((2.5, 10), (9.0, 30), (3.5, 20))]
        self.assertEqual(compare.summary(rounds)["remus"], {
            "checkpoints_per_s": 3.5, "pause_us": {"p50": 20}, "failover": {"survivor": False}})
        rounds[1]["remus"] = {"error": "no"}
        self.assertEqual(compare.summary(rounds)["remus"], {"error": "no"})
        self.assertEqual(compare.summary([{"xl": {"checkpoints": 7}}]), {"xl": {"checkpoints": 7}})

    def test_verdicts(self):
        good = {"failover": {"survivor": True, "rollbacks": 1}, "rollbacks_before": 0}
        self.assertEqual(compare.judge({"sides": {"xl": good}}), [])
        self.assertEqual(len(compare.judge({"sides": {"remus": good}})), 1)
        self.assertEqual(len(compare.judge({"sides": {"xl": {"error": "no"}}})), 1)


if __name__ == "__main__":
    unittest.main()
