# SPDX-License-Identifier: GPL-2.0-or-later
"""The client's end of the VLAN, in raw frames: not every kernel that a lab may run on has VLAN devices. It can do
two things: ask the guest's counting echo by UDP, and answer the ARP request that the guest sends before it replies.
"""

import select
import socket
import struct
import time

from remus_drill.topology import BRIDGE_MAC, GUEST_MAC

ETH_P_ALL, ETH_P_8021Q, ETH_P_IP, ETH_P_ARP = 3, 0x8100, 0x0800, 0x0806
SOL_PACKET, PACKET_AUXDATA = 263, 8
AUXDATA = struct.Struct("IIIHHHH")  # status, len, snaplen, mac, net, vlan_tci, vlan_tpid
VLAN_VALID = 0x10


def _mac(text):
    return bytes.fromhex(text.replace(":", ""))


def _checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def frame(target, source, tag, kind, payload):
    return target + source + struct.pack("!HHH", ETH_P_8021Q, tag, kind) + payload


def udp(source, target, source_port, target_port, payload):
    """An IPv4 packet. No UDP checksum: IPv4 allows that."""
    datagram = struct.pack("!HHHH", source_port, target_port, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0, socket.inet_aton(source),
                       socket.inet_aton(target))
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + datagram


def arp_answer(request, address, mac):
    """The answer to an ARP request (without its Ethernet header) for @address, or None."""
    if len(request) < 28 or request[6:8] != b"\0\1" or request[24:28] != socket.inet_aton(address):
        return None
    return request[:6] + b"\0\2" + mac + request[24:28] + request[8:18]


def udp_payload(packet, address, port):
    """What @packet (IPv4) brings to @address and @port by UDP, or None."""
    size = (packet[0] & 15) * 4 if packet else 0
    if len(packet) < size + 8 or size < 20 or packet[9] != 17 or packet[16:20] != socket.inet_aton(address):
        return None
    target, length = struct.unpack_from("!HH", packet, size + 2)
    return packet[size + 8:size + length] if target == port else None


def untag(data, ancillary):
    """(tag, EtherType, what follows) of a received frame, whether the kernel took the tag out or left it in; the tag is
    None for a frame that has none."""
    kind, = struct.unpack_from("!H", data, 12)
    if kind == ETH_P_8021Q and len(data) >= 18:
        tag, kind = struct.unpack_from("!HH", data, 14)
        return tag & 0xfff, kind, data[18:]
    for level, what, aux in ancillary:
        if (level, what) == (SOL_PACKET, PACKET_AUXDATA) and len(aux) >= AUXDATA.size:
            fields = AUXDATA.unpack(aux[:AUXDATA.size])
            if fields[0] & VLAN_VALID:
                return fields[5] & 0xfff, kind, data[14:]
    return None, kind, data[14:]


def ask(interface, tag, source, target, port, timeout=1.0):
    """One request over the VLAN: the counter in the answer, or None."""
    ours, theirs = _mac(BRIDGE_MAC[interface]), _mac(GUEST_MAC)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as s:
        s.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        s.bind((interface, ETH_P_ALL))
        s.send(frame(theirs, ours, tag, ETH_P_IP, udp(source, target, 7100, port, b"0")))
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([s], [], [], left)[0]:
                break
            data, ancillary, *_ = s.recvmsg(2048, 256)
            if len(data) < 14 or data[6:12] != theirs:
                continue
            seen, kind, rest = untag(data, ancillary)
            if seen != tag:
                continue
            if kind == ETH_P_ARP and (answer := arp_answer(rest, source, ours)):
                s.send(frame(theirs, ours, tag, ETH_P_ARP, answer))
            elif kind == ETH_P_IP and (payload := udp_payload(rest, source, 7100)):
                return int(payload.split()[1])
    return None
