# SPDX-License-Identifier: GPL-2.0-or-later
"""The client of a comparison: UDP requests at a steady rate to the guest's counting echo (guest/udp.c).

UDP on purpose. `xl remus` without its network buffer rolls the guest back behind what the world has seen, and a
TCP connection does not survive that; here a rollback is seen, counted and gone on from. Record is pure.
"""

import select
import socket
import threading
import time

GAP_NOTED = 0.3  # s
EVERY = 0.05     # s: an emulated guest that stands still half of the time serves about 40 requests a second


def ask(address, port, timeout=1.0):
    """One request: the counter in the answer, or None."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        try:
            s.connect((address, port))
            s.send(b"0")
            return int(s.recv(64).split()[1])
        except (OSError, ValueError, IndexError):
            return None


def percentile(values, share):
    """The smallest value that is not below @share of them; 0.0 of none."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)] if ordered else 0.0


class Record:
    """What the probe saw. Times in s of CLOCK_MONOTONIC."""

    def __init__(self):
        self.sent = {}
        self.rtts = []      # (moment of the answer, s)
        self.gaps = []      # (start, length)
        self.rollbacks = []  # (moment, highest before, got)
        self.highest = 0
        self.last = None

    def request(self, number, now):
        self.sent[number] = now

    def answer(self, number, counter, now):
        at = self.sent.pop(number, None)
        if at is not None:
            self.rtts.append((now, now - at))
        if self.last is not None and now - self.last > GAP_NOTED:
            self.gaps.append((self.last, now - self.last))
        self.last = now
        if counter <= self.highest:
            self.rollbacks.append((now, self.highest, counter))
            # Went on from a checkpoint: one rollback, however many values come again.
        self.highest = counter

    def between(self, start, end):
        """The round trips (ms) answered in that time."""
        return [rtt * 1000 for moment, rtt in self.rtts if start <= moment < end]

    def silence_from(self, moment, now):
        """How long (s) it was silent around @moment: from the last answer before it to the next."""
        for start, length in self.gaps:
            if start + length > moment:
                return length
        return now - self.last if self.last is not None and self.last < moment else 0.0


class Probe(threading.Thread):
    """Sends, receives, keeps a Record."""

    def __init__(self, address, port, every=EVERY):
        super().__init__(name="probe", daemon=True)
        self.record = Record()
        self.every = every
        self.stopping = False
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((address, port))
        self.socket.setblocking(False)

    def run(self):
        number, due = 0, time.monotonic()
        while not self.stopping:
            now = time.monotonic()
            if now >= due:
                number += 1
                due = max(due + self.every, now - 1)
                self.record.request(number, now)
                try:
                    self.socket.send(b"%d" % number)
                except OSError:
                    pass  # nobody answers ARP for it just now
            if select.select([self.socket], [], [], max(0.0, due - time.monotonic()))[0]:
                self._receive()
        self.socket.close()

    def _receive(self):
        try:
            fields = self.socket.recv(64).split()
            self.record.answer(int(fields[0]), int(fields[1]), time.monotonic())
        except (OSError, ValueError, IndexError):
            pass

    def stop(self):
        self.stopping = True
        self.join(5)
