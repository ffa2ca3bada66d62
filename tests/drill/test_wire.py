# SPDX-License-Identifier: GPL-2.0-or-later
"""A wire that is hurt: what is lost, late or damaged, and that a damaged segment's checksum is right."""

import random
import struct
import unittest

from remus_drill import wire

HEADER = bytes(wire.VNET_HEADER)
PARTIAL = bytes([wire.NEEDS_CSUM]) + bytes(wire.VNET_HEADER - 1)


def ones_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def segment(payload, protocol=6, padding=b""):
    """An Ethernet frame with an IPv4 TCP segment whose checksum is right."""
    tcp = struct.pack(">HHIIBBHHH", 7368, 40000, 1, 2, 5 << 4, 24, 512, 0, 0) + payload
    addresses = bytes([10, 78, 0, 1, 10, 78, 0, 2])
    pseudo = addresses + struct.pack(">BBH", 0, protocol, len(tcp))
    tcp = tcp[:16] + struct.pack(">H", ~ones_sum(pseudo + tcp) & 0xffff) + tcp[18:]
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, protocol, 0) + addresses
    return bytes(12) + b"\x08\x00" + ip + tcp + padding


def checksum_is_right(frame):
    end = 14 + struct.unpack_from(">H", frame, 16)[0]
    tcp = bytes(frame[34:end])
    return ones_sum(bytes(frame[26:34]) + struct.pack(">BBH", 0, 6, len(tcp)) + tcp) == 0xffff


def bits_changed(one, other):
    return sum(bin(x ^ y).count("1") for x, y in zip(one, other))


class Damage(unittest.TestCase):
    def test_one_bit_and_a_right_checksum(self):
        for seed in range(200):
            for length in (1, 2, 3, 100, 1448):
                chance = random.Random(seed * 2000 + length)
                before = segment(chance.randbytes(length), padding=bytes(seed % 3))
                after = bytearray(before)
                self.assertTrue(wire.damage(after, chance, False))
                self.assertEqual(bits_changed(before[54:54 + length], after[54:54 + length]), 1)
                self.assertTrue(checksum_is_right(after))
                self.assertEqual(before[:50], after[:50])
                self.assertEqual(before[54 + length:], after[54 + length:])

    def test_an_unfinished_checksum_is_left(self):
        before = segment(b"payload")
        after = bytearray(before)
        self.assertTrue(wire.damage(after, random.Random(1), True))
        self.assertEqual(before[:54], after[:54])
        self.assertEqual(bits_changed(before, after), 1)

    def test_what_has_nothing_to_damage(self):
        for frame in (segment(b""), segment(b"x", protocol=17), bytes(60), b"", segment(b"abc")[:40]):
            after = bytearray(frame)
            self.assertFalse(wire.damage(after, random.Random(1), False))
            self.assertEqual(bytes(after), frame)


class Ways(unittest.TestCase):
    def setUp(self):
        self.sent = []
        self.way = wire.Way(self.sent.append, 1)

    def test_whole(self):
        self.way.take(HEADER + b"1", 0.0)
        self.assertEqual(self.sent, [HEADER + b"1"])
        self.assertIsNone(self.way.due(0.0))

    def test_lost(self):
        self.way.command("drop", 0)
        self.way.take(HEADER + b"1", 0.0)
        self.way.command("pass", 0)
        self.way.take(HEADER + b"2", 0.0)
        self.assertEqual(self.sent, [HEADER + b"2"])

    def test_late_and_in_order(self):
        self.way.command("delay", 150)
        self.way.take(b"1", 1.0)
        self.assertAlmostEqual(self.way.due(1.0), 0.15)
        self.way.take(b"2", 1.1)
        self.way.command("pass", 0)
        self.way.take(b"3", 1.12)  # behind those that wait
        self.assertEqual(self.sent, [])
        self.assertAlmostEqual(self.way.due(1.16), 0.09)
        self.assertEqual(self.sent, [b"1"])
        self.assertIsNone(self.way.due(1.26))
        self.assertEqual(self.sent, [b"1", b"2", b"3"])
        self.way.take(b"4", 1.3)
        self.assertEqual(self.sent[-1], b"4")

    def test_damaged_are_so_many_segments(self):
        self.way.command("corrupt", 2)
        for frame in (segment(b""), segment(b"one"), segment(b""), segment(b"two"), segment(b"three")):
            self.way.take(PARTIAL + frame, 0.0)
        changed = [bits_changed(data[wire.VNET_HEADER:], frame) for data, frame in
                   zip(self.sent, (segment(b""), segment(b"one"), segment(b""), segment(b"two"), segment(b"three")))]
        self.assertEqual(changed, [0, 1, 0, 1, 0])

    def test_unknown(self):
        with self.assertRaises(ValueError):
            self.way.command("bend", 0)


if __name__ == "__main__":
    unittest.main()
