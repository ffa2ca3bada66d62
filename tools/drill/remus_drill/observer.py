# SPDX-License-Identifier: GPL-2.0-or-later
"""Watches what leaves a host for the guest's network, and checks I1 against the traces of both daemons.

The sniffer notes the moment of every frame with the guest's address that comes out of a host, whatever its
EtherType. The k-th frame that host a let out is the k-th that the egress buffer accepted; the primary's trace
says which epoch that belongs to (docs/control.md), the backup's trace when that epoch was acknowledged. A frame
seen before that moment was *released before its ack*. The kernel's receive time stamp is used, not the time
at which this program got to run: lateness here must not excuse a frame that was early.

compare() is pure. It fails closed: a frame that belongs to no sealed epoch, or to one that was never
acknowledged, was early, unless the buffer had been opened by a decision ("pass") before.
"""

import bisect
import collections
import errno
import json
import select
import socket
import struct
import threading
import time

from . import DrillError

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("qq")

Early = collections.namedtuple("Early", "frame seen_us epoch acked_us")


class Comparison:
    """early: the frames that left too early; checked: how many were compared; missing: frames that the trace
    says were released but nobody saw (more than none: the observation proves nothing)."""

    def __init__(self):
        self.early = []
        self.checked = self.missing = self.epochs = 0


def monotonic_offset():
    """CLOCK_MONOTONIC minus CLOCK_REALTIME, ns. Of several readings the one taken in the shortest time counts: two
    plain calls with a preemption between them would be off by as much, and make a frame look early."""
    def reading():
        before, real, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        return after - before, (before + after) // 2 - real
    return min(reading() for _ in range(8))[1]


class Sniffer(threading.Thread):
    """Notes the time (µs, CLOCK_MONOTONIC) of each frame from @mac that comes in at @interface."""

    room = 64  # bytes of each frame that are looked at

    def __init__(self, interface, mac):
        super().__init__(name="observer " + interface, daemon=True)
        self.mac = bytes.fromhex(mac.replace(":", ""))
        self.frames = []
        self.lost = 0
        self.stopping = False
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind((interface, ETH_P_ALL))

    def run(self):
        while not self.stopping:
            if select.select([self.socket], [], [], 0.2)[0]:
                try:
                    self._receive(*self.socket.recvmsg(self.room, 256))
                except OSError as e:
                    if e.errno != errno.ENETDOWN:  # the host died: its link went down, once
                        raise

    def _receive(self, data, ancillary, _flags, address):
        if address[2] == PACKET_OUTGOING or data[6:12] != self.mac:
            return
        offset = monotonic_offset()
        for level, kind, stamp in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanoseconds = TIMESPEC.unpack(stamp[:TIMESPEC.size])
                self.note((seconds * 10**9 + nanoseconds + offset) // 1000, data)

    def note(self, moment, _data):
        """One frame; what a subclass keeps of it."""
        self.frames.append(moment)

    def stop(self):
        """Idempotent. `lost` is then the number of frames that the kernel could not hand over."""
        if self.stopping:
            return
        self.stopping = True
        self.join(5)
        self.lost = struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        self.socket.close()


def read_trace(path):
    """A trace file's events. A host that was killed may leave a last line cut short; any other is an error."""
    with open(path, encoding="utf-8", errors="replace") as f:
        lines = f.read().split("\n")
    events = []
    for i, line in enumerate(lines):
        try:
            if line:
                events.append(json.loads(line))
        except ValueError as e:
            if i != len(lines) - 1:
                raise DrillError(f"{path}, line {i + 1} is no JSON: {line[:80]!r}") from e
    return events


def _sessions(primary):
    """Split a primary's trace at each "hold": a domain that is protected again begins anew."""
    sessions = []
    for event in primary:
        if event["ev"] == "hold":
            sessions.append([])
        if sessions:
            sessions[-1].append(event)
    return sessions


def _compare_session(result, frames, base, events, acks, free_from):
    """@frames of this session only; @base is the index that its buffer counted as its first frame."""
    before_hold = events[0]["accepted"][0]
    seals = [(e["accepted"][0], e["epoch"]) for e in events if e["ev"] == "seal"]
    passes = [e["t"] for e in events if e["ev"] == "pass"] + ([free_from] if free_from else [])
    free = min(passes, default=None)
    bounds = [accepted for accepted, _ in seals]
    acked = {}
    for event in acks:
        acked.setdefault(event["epoch"], event["t"])
    result.epochs += len(seals)

    for index, seen in frames:
        k = index + 1 - base
        if k <= before_hold or (free is not None and seen >= free):
            continue
        result.checked += 1
        at = bisect.bisect_left(bounds, k)
        epoch = seals[at][1] if at < len(seals) else None
        moment = acked.get(epoch)
        if moment is None or seen < moment:
            result.early.append(Early(k, seen, epoch, moment))

    # Of the last release the host may have been killed half way: the one before it must have been seen whole.
    released = [e["epoch"] for e in events if e["ev"] == "release"][:-1]
    expected = dict((epoch, accepted) for accepted, epoch in seals).get(released[-1], 0) if released else 0
    last_seen = frames[-1][0] + 1 - base if frames else before_hold
    result.missing += max(0, expected - last_seen)


def compare(frames, primary, backup, free_from=None, silent_start=True):
    """@frames: moments in µs, in order. @primary, @backup: trace events. @free_from: when a decision that is not
    in the trace (a supervisor's, after its engine died) allowed ungated output. @silent_start: nothing had been seen
    when the first session's buffer was opened."""
    result = Comparison()
    sessions = _sessions(primary)
    for i, events in enumerate(sessions):
        start, end = events[0]["t"], sessions[i + 1][0]["t"] if i + 1 < len(sessions) else float("inf")
        # The first session's buffer may have been opened on a silent network. Another's count began somewhere before
        # its hold; what it had accepted until then it had passed on at once.
        first = i == 0 and silent_start
        base = 0 if first else bisect.bisect_left(frames, start) - events[0]["accepted"][0]
        previous = sessions[i - 1][-1]["t"] if i else 0
        acks = [e for e in backup if e["ev"] == "ack" and previous <= e["t"] < end]
        mine = [(index, t) for index, t in enumerate(frames) if (0 if first else start) <= t < end]
        # A decision frees what it is about: not a session that begins later.
        free = free_from if free_from is not None and start <= free_from < end else None
        _compare_session(result, mine, base, events, acks, free)
    return result
