# SPDX-License-Identifier: GPL-2.0-or-later
"""A wire between two interfaces that can be hurt, each way by itself: frames are lost, late, or have a bit turned over.

A process of its own (the client and the observers must not feel it) takes every frame that comes in at one interface
and sends it out of the other. With PACKET_VNET_HDR the frames of a TCP that leaves segmentation and checksums to its
interface pass as they are. A damaged frame gets a right TCP checksum: what the kernel drops, nobody above it could
miss, and it is those above that are tried here.

Commands, a line each on standard input: WAY WORD [NUMBER], WAY being 0 (from the first interface) or 1:
    pass        whole again
    drop        all is lost
    delay MS    comes so much later, in order
    corrupt N   one bit in the TCP payload of each of the next N segments
"""

import collections
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

from . import DrillError

ETH_P_ALL, PACKET_OUTGOING = 3, 4
SOL_PACKET, PACKET_VNET_HDR = 263, 15
VNET_HEADER = 10  # bytes: struct virtio_net_hdr
NEEDS_CSUM = 1
FRAME_MAX = 70000


def tcp_payload(frame):
    """(offset of the TCP header, offset of its payload, end of it) in an IPv4 frame; None: no TCP, or no payload."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00" or frame[23] != 6:
        return None
    tcp = 14 + (frame[14] & 15) * 4
    end = min(len(frame), 14 + struct.unpack_from(">H", frame, 16)[0])
    if len(frame) < tcp + 20:
        return None
    payload = tcp + (frame[tcp + 12] >> 4) * 4
    return (tcp, payload, end) if payload < end else None


def damage(frame, chance, partial):
    """Turn over one bit of @frame's (bytearray) TCP payload. @partial: the checksum is still to be made by whoever sends
    it on. False: it has none."""
    found = tcp_payload(frame)
    if not found:
        return False
    tcp, payload, end = found
    at = chance.randrange(payload, end)
    before = after = frame[at]
    after ^= 1 << chance.randrange(8)
    frame[at] = after
    if not partial:  # RFC 1624: ~(~sum + ~old + new), of the 16-bit word that the byte is in
        shift = 0 if (at - tcp) % 2 else 8
        total = (~struct.unpack_from(">H", frame, tcp + 16)[0] & 0xffff) + (~(before << shift) & 0xffff) + (after << shift)
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        struct.pack_into(">H", frame, tcp + 16, ~total & 0xffff)
    return True


class Way:
    """One direction. send() is called with each frame, vnet header in front, when it is due."""

    def __init__(self, send, seed, note=lambda text: None):
        self.send, self.note = send, note
        self.chance = random.Random(seed)
        self.waiting = collections.deque()  # (due, data)
        self.lost = False
        self.delay = 0.0
        self.to_damage = 0

    def command(self, word, number):
        if word == "pass":
            self.lost, self.delay, self.to_damage = False, 0.0, 0
        elif word == "drop":
            self.lost = True
        elif word == "delay":
            self.delay = number / 1000
        elif word == "corrupt":
            self.to_damage = number
        else:
            raise ValueError(f"a wire knows no \"{word}\"")

    def take(self, data, now):
        if self.lost:
            return
        if self.to_damage:
            frame = bytearray(data[VNET_HEADER:])
            if damage(frame, self.chance, data[0] & NEEDS_CSUM):
                self.to_damage -= 1
                self.note(f"damaged a frame of {len(frame)} bytes")
                data = data[:VNET_HEADER] + bytes(frame)
        if self.delay or self.waiting:
            last = self.waiting[-1][0] if self.waiting else now
            self.waiting.append((max(now + self.delay, last), data))
        else:
            self.send(data)

    def due(self, now):
        """Send what is; seconds until the next, None = nothing waits."""
        while self.waiting and self.waiting[0][0] <= now:
            self.send(self.waiting.popleft()[1])
        return self.waiting[0][0] - now if self.waiting else None


def _open(interface):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
    s.bind((interface, ETH_P_ALL))
    s.setblocking(False)
    return s


def _sender(s):
    def send(data):
        try:
            s.send(data)
        except OSError:
            pass  # a link that is down, a queue that is full: a wire loses frames
    return send


def relay(interfaces, seed):
    """The wire's process: until standard input ends."""
    sockets = [_open(name) for name in interfaces]
    ways = [Way(_sender(sockets[1 - i]), f"{seed}/{i}", lambda text, i=i: print(f"way {i}: {text}", file=sys.stderr, flush=True))
            for i in range(2)]
    commands = os.fdopen(sys.stdin.fileno(), "rb", buffering=0)
    print("ready", flush=True)
    pending = b""
    while True:
        now = time.monotonic()
        waits = [w for w in (way.due(now) for way in ways) if w is not None]
        ready = select.select([*sockets, commands], [], [], min(waits, default=1.0))[0]
        if commands in ready:
            more = commands.read(4096)
            if not more:
                return
            *lines, pending = (pending + more).split(b"\n")
            for line in lines:
                way, word, *number = line.decode().split()
                ways[int(way)].command(word, int(number[0]) if number else 0)
            print("done", flush=True)
        for i, s in enumerate(sockets):
            for _ in range(64 if s in ready else 0):
                try:
                    data, address = s.recvfrom(FRAME_MAX)
                except OSError:
                    break
                if address[2] != PACKET_OUTGOING:
                    ways[i].take(data, time.monotonic())


class Wire:
    """The drill's end of that process."""

    def __init__(self, first, second, seed, log):
        with open(log, "ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-B", os.path.realpath(sys.argv[0]), "--wire", first, second, str(seed)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err)
        self._answer("ready")

    def _answer(self, word):
        if not select.select([self.process.stdout], [], [], 10)[0] or self.process.stdout.readline().decode().strip() != word:
            raise DrillError("the wire between the hosts broke down, see wire.log")

    def command(self, *lines):
        """Returns when it is in force."""
        self.process.stdin.write("".join(line + "\n" for line in lines).encode())
        self.process.stdin.flush()
        self._answer("done")

    def stop(self):
        self.process.kill()
        self.process.wait()
