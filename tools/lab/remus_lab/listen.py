# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lab leak` hears on the lab's own bridges, outside both hosts: the guest's numbered frames on the LAN, and the
backup's ACKs on the replication link. Both are stamped by one kernel with one clock as they come out of a host, so
that "this frame left host a before that ACK had left host b" needs no clock of any host, and no margin: an ACK has to
leave host b, reach host a and be read there before anything may be released because of it.

AckStream is pure.
"""

import struct

from remus_drill.observer import Sniffer

# tools/common/frame-kinds.h
TAIL = struct.Struct("=IQ")
FRAME_MAGIC = 0x52454d55
# include/remus/wire.h
HEADER = struct.Struct("<4sHHII16sQQQQ")
WIRE_MAGIC, FRAME_ACK = b"RMUS", 8


def number_of(data):
    """The number in a frame, or None."""
    if len(data) < 26:
        return None
    magic, number = TAIL.unpack_from(data, len(data) - TAIL.size)
    return number if magic == FRAME_MAGIC else None


class GuestFrames(Sniffer):
    """frames: [(µs, number or None)] of everything that comes out of a host with the guest's address."""

    room = 2048

    def note(self, moment, data):
        self.frames.append((moment, number_of(data)))


class AckStream:
    """The remus frames in one direction of a TCP connection, from its segments. A byte's time is that of the first
    segment that brought it, or brought one before it if that came later: the receiver gets them in order.
    acks: {(session, generation): {epoch: µs}}."""

    def __init__(self, acks):
        self.acks = acks
        self.next = None  # TCP sequence number of the next byte
        self.waiting = {}
        self.data = bytearray()
        self.latest = 0

    def segment(self, moment, sequence, payload, start):
        """@start: it carries a SYN."""
        if start or self.next is None:
            self.next, self.waiting, self.data = (sequence + start) & 0xffffffff, {}, bytearray()
        if payload:
            self.waiting.setdefault(sequence, (moment, bytes(payload)))
        progress = True
        while progress:
            progress = False
            for at in sorted(self.waiting, key=lambda s: (s - self.next + 2**31) % 2**32):
                old = (self.next - at) % 2**32  # how much of it is known already
                if old >= 2**31:
                    continue  # there is a gap before it
                moment, payload = self.waiting.pop(at)
                if len(payload) > old:
                    self._take(moment, payload[old:])
                    progress = True

    def _take(self, moment, payload):
        self.next = (self.next + len(payload)) & 0xffffffff
        self.latest = moment = max(moment, self.latest)
        self.data += payload
        while len(self.data) >= HEADER.size:
            magic, _, kind, _, length, session, generation, epoch, _, _ = HEADER.unpack_from(self.data)
            if magic != WIRE_MAGIC:
                self.data.clear()  # not a remus stream, or an encrypted one
                return
            if len(self.data) < HEADER.size + length:
                return
            if kind == FRAME_ACK:
                self.acks.setdefault((session.hex(), generation), {}).setdefault(epoch, moment)
            del self.data[:HEADER.size + length]


class Acks(Sniffer):
    """The ACKs that come out of a host at @interface."""

    room = 65536

    def __init__(self, interface, mac, port):
        super().__init__(interface, mac)
        self.port = port
        self.streams = {}
        self.acks = {}
        self.heard = 0  # µs: the last time that this host said anything to the other

    def note(self, moment, data):
        if len(data) < 54 or data[12:14] != b"\x08\x00" or data[23] != 6:
            return
        size = (data[14] & 15) * 4
        total, tcp = struct.unpack_from("!H", data, 16)[0], 14 + size
        source, target, sequence = struct.unpack_from("!HHI", data, tcp)
        if source != self.port:
            return
        payload = data[tcp + (data[tcp + 12] >> 4) * 4:14 + total]
        stream = self.streams.setdefault(target, AckStream(self.acks))
        stream.segment(moment, sequence, payload, bool(data[tcp + 13] & 2))
        if payload:
            self.heard = moment
