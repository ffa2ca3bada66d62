# SPDX-License-Identifier: GPL-2.0-or-later
"""The client in the VLAN: frames out, frames in."""

import struct
import unittest

from remus_lab import vlan

OURS, THEIRS = bytes(range(6)), bytes(range(6, 12))


class Frames(unittest.TestCase):
    def test_a_request_can_be_read_back(self):
        packet = vlan.udp("10.79.0.1", "10.79.0.10", 7100, 7002, b"17")
        self.assertEqual(vlan._checksum(packet[:20]), 0)
        self.assertEqual(vlan.udp_payload(packet, "10.79.0.10", 7002), b"17")
        self.assertIsNone(vlan.udp_payload(packet, "10.79.0.10", 7003))
        self.assertIsNone(vlan.udp_payload(packet, "10.79.0.1", 7002))
        for size in range(len(packet) - 2):
            vlan.udp_payload(packet[:size], "10.79.0.10", 7002)  # no exception

    def test_the_tag_in_the_frame(self):
        frame = vlan.frame(THEIRS, OURS, 10, vlan.ETH_P_IP, b"rest")
        self.assertEqual(vlan.untag(frame, []), (10, vlan.ETH_P_IP, b"rest"))

    def test_the_tag_beside_the_frame(self):
        aux = vlan.AUXDATA.pack(vlan.VLAN_VALID, 0, 0, 0, 0, 0xe00a, vlan.ETH_P_8021Q)
        frame = THEIRS + OURS + b"\x08\x06rest"
        self.assertEqual(vlan.untag(frame, [(vlan.SOL_PACKET, vlan.PACKET_AUXDATA, aux)]),
                         (10, vlan.ETH_P_ARP, b"rest"))

    def test_no_tag(self):
        aux = vlan.AUXDATA.pack(0, 0, 0, 0, 0, 0, 0)
        frame = THEIRS + OURS + b"\x08\x00rest"
        self.assertEqual(vlan.untag(frame, [(vlan.SOL_PACKET, vlan.PACKET_AUXDATA, aux)]),
                         (None, vlan.ETH_P_IP, b"rest"))

    def test_arp(self):
        who_has = (struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + THEIRS + bytes([10, 79, 0, 10]) + bytes(6)
                   + bytes([10, 79, 0, 1]))
        self.assertEqual(vlan.arp_answer(who_has, "10.79.0.1", OURS),
                         struct.pack("!HHBBH", 1, 0x800, 6, 4, 2) + OURS + bytes([10, 79, 0, 1]) + THEIRS
                         + bytes([10, 79, 0, 10]))
        self.assertIsNone(vlan.arp_answer(who_has, "10.79.0.2", OURS))
        self.assertIsNone(vlan.arp_answer(who_has[:27], "10.79.0.1", OURS))


if __name__ == "__main__":
    unittest.main()
