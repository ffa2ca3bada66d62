# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict of `lab leak`: a frame that is too early is found, one that isn't is not; the ACKs in a TCP stream."""

import struct
import unittest

from remus_lab import leakage, listen

CAPTURE = "kinds ipv4 arp\n" + "".join(f"{t} {n}\n" for n, t in enumerate(range(100, 1000, 50))) + "lost 0\n"
# Number n enters at 100 + 50 n on host a's clock. Host a's clock and the lab's have nothing to do with each other.
TRACE = [{"ev": "hold", "t": 195, "epoch": 0},
         {"ev": "pause", "t": 190, "epoch": 0}, {"ev": "seal", "t": 199, "epoch": 1}, {"ev": "resume", "t": 210, "epoch": 0},
         {"ev": "pause", "t": 290, "epoch": 0}, {"ev": "seal", "t": 320, "epoch": 2}, {"ev": "resume", "t": 360, "epoch": 0},
         {"ev": "pause", "t": 500, "epoch": 0}, {"ev": "seal", "t": 510, "epoch": 3}, {"ev": "resume", "t": 520, "epoch": 0}]
ACKS = {1: 90210, 2: 90350, 3: 90600}


class Verdict(unittest.TestCase):
    def setUp(self):
        self.entries = leakage.Entries(CAPTURE)
        self.judge = leakage.Judge(self.entries, leakage.sessions(TRACE)[0], ACKS)

    def early(self, *seen):
        return [(e.number, e.epoch) for e in self.judge.judge(list(seen), 0, 10**9)[0]]

    def test_the_capture(self):
        self.assertEqual((self.entries.kinds, self.entries.lost, len(self.entries.entered)), (("ipv4", "arp"), 0, 18))
        self.assertEqual(self.entries.kind(7), "arp")

    def test_epochs(self):
        self.assertEqual([self.judge.epoch(n) for n in range(10)], [0, 0, 2, 2, 2, 3, 3, 3, 3, None])

    def test_in_time(self):
        self.assertEqual(self.early((90000, 0), (90100, 1), (90351, 2), (90360, 4), (90601, 5)), [])

    def test_too_early(self):
        self.assertEqual(self.early((90350, 2)), [(2, 2)])   # not even at the same time
        self.assertEqual(self.early((90599, 8)), [(8, 3)])
        self.assertEqual(self.early((99999, 12)), [(12, None)])  # of an epoch that was never sealed

    def test_an_ack_that_never_came(self):
        del ACKS[3]
        try:
            self.assertEqual(self.early((99999, 5)), [(5, 3)])
        finally:
            ACKS[3] = 90600

    def test_only_the_window_counts(self):
        early, checked, strange = self.judge.judge([(90100, 4), (90200, 5), (90300, 99), (90300, None)], 90150, 90301)
        self.assertEqual(([e.number for e in early], dict(checked), strange), ([5], {"arp": 1}, [99]))

    def test_standing_still(self):
        # Frames at 300 and 500 came before their seal, 200 and 350 after it. The stop at 190 was 40 after a frame.
        self.assertEqual(leakage.standing_still(self.entries, TRACE), (2, 2, 40))

    def test_missing_kinds(self):
        self.assertEqual(leakage.missing(("ipv4", "arp"), {"arp": 3}), ["ipv4"])


def frame(kind, epoch, payload=b""):
    return listen.HEADER.pack(b"RMUS", 1, kind, 1, len(payload), bytes(16), 1, epoch, 1, 0) + payload


class AckStream(unittest.TestCase):
    KEY = (bytes(16).hex(), 1)

    def read(self, *segments):
        acks = {}
        stream = listen.AckStream(acks)
        for segment in segments:
            stream.segment(*segment)
        return acks.get(self.KEY, {})

    def test_in_pieces(self):
        data = frame(4, 0, b"beat") + frame(8, 1, b"digest12") + frame(8, 2, b"digest12")
        start = 2**32 - 50  # the sequence numbers wrap
        segments = [(0, start - 1, b"", True)]
        for at in range(0, len(data), 7):
            segments.append((at, (start + at) % 2**32, data[at:at + 7], False))
        whole = self.read(*segments)
        self.assertEqual(list(whole), [1, 2])
        # The moment is that of the segment with the frame's last byte.
        self.assertEqual(whole[1], (68 + 72 - 1) // 7 * 7)

    def test_retransmitted_and_reordered(self):
        one, two = frame(8, 1, b"digest12"), frame(8, 2, b"digest12")
        acks = self.read((0, 9, b"", True), (5, 10 + 72, two, False), (6, 10, one, False), (7, 10, one, False),
                         (9, 10 + 72, two, False), (10, 10 + 40, (one + two)[40:], False))
        self.assertEqual(acks, {1: 6, 2: 6})  # the second could not be read before the first

    def test_another_stream(self):
        self.assertEqual(self.read((0, 0, bytes(200), True), (1, 201, bytes(200), False)), {})

    def test_numbers(self):
        self.assertEqual(listen.number_of(bytes(50) + struct.pack("=IQ", 0x52454d55, 4711)), 4711)
        self.assertIsNone(listen.number_of(bytes(60)))
        self.assertIsNone(listen.number_of(b"short"))


if __name__ == "__main__":
    unittest.main()
