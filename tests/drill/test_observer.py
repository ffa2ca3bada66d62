# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison of frames and traces. The made-up early frames MUST be flagged."""

import os
import tempfile
import unittest
from unittest import mock

from remus_drill import DrillError, observer


def seal(t, epoch, accepted):
    return {"t": t, "ev": "seal", "epoch": epoch, "accepted": [accepted]}


def release(t, epoch):
    return {"t": t, "ev": "release", "epoch": epoch}


def hold(t, accepted=0):
    return {"t": t, "ev": "hold", "accepted": [accepted]}


def ack(t, epoch):
    return {"t": t, "ev": "ack", "epoch": epoch}


# Frames 1..2 before hold; 3..4 in epoch 1, acked at 300; 5 in epoch 2, acked at 500; 6 in epoch 3, never acked.
PRIMARY = [hold(100, 2), seal(200, 1, 4), release(310, 1), seal(400, 2, 5), release(510, 2), seal(600, 3, 6)]
BACKUP = [ack(300, 1), ack(500, 2)]
HONEST = [50, 60, 311, 312, 511]


class Compare(unittest.TestCase):
    def early(self, frames, primary=None, backup=None, **more):
        result = observer.compare(frames, primary or PRIMARY, backup or BACKUP, **more)
        return [(e.frame, e.epoch) for e in result.early]

    def test_honest(self):
        result = observer.compare(HONEST, PRIMARY, BACKUP)
        self.assertEqual((result.early, result.checked, result.missing), ([], 3, 0))

    def test_frame_before_its_ack(self):
        self.assertEqual(self.early([50, 60, 299, 312, 511]), [(3, 1)])
        self.assertEqual(self.early([50, 60, 311, 312, 499]), [(5, 2)])

    def test_frame_at_the_moment_of_the_ack_is_late_enough(self):
        self.assertEqual(self.early([50, 60, 300, 312, 511]), [])

    def test_frame_of_an_epoch_never_acknowledged(self):
        self.assertEqual(self.early(HONEST + [700]), [(6, 3)])

    def test_frame_of_no_sealed_epoch(self):
        self.assertEqual(self.early(HONEST + [700, 701]), [(6, 3), (7, None)])

    def test_one_frame_too_many_in_a_release(self):
        """The classic error: release everything that is queued, not what is sealed."""
        self.assertEqual(self.early([50, 60, 311, 312, 313]), [(5, 2)])

    def test_before_hold_frames_are_free(self):
        self.assertEqual(self.early([50, 60]), [])

    def test_pass_frees_what_comes_after_it_only(self):
        primary = PRIMARY + [{"t": 650, "ev": "pass"}]
        self.assertEqual(self.early(HONEST + [660, 670], primary), [])
        self.assertEqual(self.early(HONEST + [640, 670], primary), [(6, 3)])
        self.assertEqual(self.early(HONEST + [660], free_from=650), [])

    def test_missing_frames_are_noticed(self):
        primary = PRIMARY[:-1] + [seal(600, 3, 6), release(610, 3)]
        self.assertEqual(observer.compare(HONEST[:3], primary, BACKUP + [ack(605, 3)]).missing, 2)
        self.assertEqual(observer.compare(HONEST, primary, BACKUP + [ack(605, 3)]).missing, 0)

    def test_second_session_counts_anew(self):
        first = [*PRIMARY, {"t": 650, "ev": "pass"}]
        # A new buffer was opened after 7 frames; it passed 2 on, then held; epoch 1 again.
        primary = first + [hold(1000, 2), seal(1100, 1, 3), release(1210, 1), seal(1300, 2, 4)]
        backup = BACKUP + [ack(1200, 1), ack(1400, 2)]
        frames = HONEST + [660, 670, 900, 910]
        self.assertEqual(self.early(frames + [1211, 1411], primary, backup), [])
        self.assertEqual(self.early(frames + [1199, 1411], primary, backup), [(3, 1)])
        self.assertEqual(self.early(frames + [1211, 1399], primary, backup), [(4, 2)])

    def test_acks_of_the_first_session_do_not_excuse_the_second(self):
        primary = [*PRIMARY, {"t": 650, "ev": "pass"}, hold(1000, 0), seal(1100, 1, 1)]
        self.assertEqual(self.early(HONEST + [1150], primary), [(1, 1)])

    def test_nothing_held_is_nothing_checked(self):
        self.assertEqual(observer.compare([1, 2, 3], [], []).checked, 0)


class Trace(unittest.TestCase):
    def read(self, text):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.trace")
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            return observer.read_trace(path)

    def test_last_line_may_be_cut(self):
        self.assertEqual(self.read('{"t":1,"ev":"pass"}\n{"t":2,"e'), [{"t": 1, "ev": "pass"}])

    def test_other_garbage_is_an_error(self):
        with self.assertRaisesRegex(DrillError, "line 1"):
            self.read('{"t":1,"e\n{"t":2,"ev":"pass"}\n')


class Offset(unittest.TestCase):
    def test_a_preemption_between_two_clock_readings_does_not_count(self):
        slow = [(base, base + 10**6) for base in range(10**7, 8 * 10**7, 10**7)]
        ticks = iter([tick for pair in slow[:4] + [(2000, 2002)] + slow[4:] for tick in pair])
        with mock.patch.object(observer.time, "time_ns", return_value=0), \
                mock.patch.object(observer.time, "monotonic_ns", side_effect=lambda: next(ticks)):
            self.assertEqual(observer.monotonic_offset(), 2001)


if __name__ == "__main__":
    unittest.main()
