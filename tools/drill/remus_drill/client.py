# SPDX-License-Identifier: GPL-2.0-or-later
"""The world outside: several TCP connections to the guest, opened once and never again.

Each keeps two requests under way, at a modest rate. Of every reply each byte is checked. The counter in it is
one for the whole guest and tells a rollback: a request sent after *anybody* has seen n must be answered with
more than n, and no value may come twice (two guests answering would show there).

Conversation is pure (bytes in, bytes out, time as an argument) and is what the unit tests exercise; Client is
the thread with the sockets.
"""

import collections
import random
import selectors
import socket
import struct
import threading
import time
import zlib

from . import DrillError
from .topology import GUEST_IP4, GUEST_IP6

PORT = 7000
REQUEST = struct.Struct("<4sIQII")  # magic, connection, number, length, crc
REPLY = struct.Struct("<4sIQQII")   # magic, connection, number, counter, length, crc
WINDOW = 2
GAP_NOTED = 0.1  # seconds

Sent = collections.namedtuple("Sent", "number payload floor time")
Gap = collections.namedtuple("Gap", "start length connection")


class Tally:
    """What all connections share: the highest counter anybody saw, and what went wrong."""

    def __init__(self):
        self.highest = 0
        self.seen = set()
        self.bytes = self.replies = 0
        self.corrupt = self.rolled_back = self.resets = 0
        self.notes = []
        self.gaps = []

    def note(self, kind, text):
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.notes) < 20:
            self.notes.append(f"{kind}: {text}")


class Conversation:
    """One connection's half of the protocol of guest/echo.c."""

    def __init__(self, connection, tally, seed):
        self.connection = connection
        self.tally = tally
        self.random = random.Random(seed)
        self.number = 0
        self.outstanding = collections.deque()
        self.last_counter = 0
        self.buffer = bytearray()
        self.mark = None       # since when an answer is awaited
        self.answered_sent = 0  # when the newest answered request was sent
        self.broken = False

    def request(self, now):
        """The bytes of the next request."""
        big = self.random.random() < 0.05
        payload = self.random.randbytes(self.random.randint(1, 20000 if big else 1500))
        self.number += 1
        if not self.outstanding:
            self.mark = now
        self.outstanding.append(Sent(self.number, payload, self.tally.highest, now))
        head = REQUEST.pack(b"RREQ", self.connection, self.number, len(payload), zlib.crc32(payload))
        return head + payload

    def feed(self, data, now):
        """Take received bytes: checks every reply that is complete."""
        if self.mark is not None and now - self.mark > GAP_NOTED:
            self.tally.gaps.append(Gap(self.mark, now - self.mark, self.connection))
        self.mark = now
        self.buffer += data
        while not self.broken and len(self.buffer) >= REPLY.size:
            magic, connection, number, counter, length, crc = REPLY.unpack_from(self.buffer)
            if magic != b"RREP" or not self.outstanding or length != len(self.outstanding[0].payload):
                self._corrupt("a reply's header makes no sense, the stream cannot be followed any further")
                self.broken = True
                return
            if len(self.buffer) < REPLY.size + length:
                return
            payload = bytes(self.buffer[REPLY.size:REPLY.size + length])
            computed = zlib.crc32(payload, zlib.crc32(bytes(self.buffer[:28])))
            del self.buffer[:REPLY.size + length]
            self._check(connection, number, counter, payload, crc == computed)

    def _corrupt(self, text):
        self.tally.note("corrupt", f"connection {self.connection}: {text}")

    def _check(self, connection, number, counter, payload, crc_right):
        sent = self.outstanding.popleft()
        tally = self.tally
        if (connection, number) != (self.connection, sent.number):
            self._corrupt(f"request {sent.number} got the answer to {number} of connection {connection}")
        elif payload != sent.payload:
            self._corrupt(f"the payload of request {number} came back changed")
        elif not crc_right:
            self._corrupt(f"checksum of reply {number}")
        if counter in tally.seen:
            tally.note("rolled_back", f"counter {counter} was given twice")
        elif counter <= max(sent.floor, self.last_counter):
            tally.note("rolled_back", f"counter {counter} after {max(sent.floor, self.last_counter)} was seen")
        tally.seen.add(counter)
        tally.highest = max(tally.highest, counter)
        tally.bytes += len(payload)
        tally.replies += 1
        self.last_counter = max(self.last_counter, counter)
        self.answered_sent = sent.time


class Client(threading.Thread):
    """The thread that holds the connections."""

    def __init__(self, connections, seed):
        super().__init__(name="client", daemon=True)
        self.tally = Tally()
        self.talks = [Conversation(i, self.tally, f"{seed}/{i}") for i in range(1, connections + 1)]
        self.pace = random.Random(seed)
        self.selector = selectors.DefaultSelector()
        self.stopping = False
        self.failure = None

    def connect(self, seconds=10):
        """Open every connection, half of them over IPv6. Then start()."""
        for i, talk in enumerate(self.talks):
            address = GUEST_IP6 if i % 2 else GUEST_IP4
            try:
                link = socket.create_connection((address, PORT), timeout=seconds)
            except OSError as e:
                raise DrillError(f"the client cannot connect to the guest at {address}: {e}") from e
            link.setblocking(False)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(link, selectors.EVENT_READ, [talk, bytearray(), 0.0])

    def run(self):
        try:
            while not self.stopping:
                self._turn()
        except Exception as e:  # a bug in the drill must not look like a pass
            self.failure = f"the drill's client failed: {e!r}"
            raise
        finally:
            for key in list(self.selector.get_map().values()):
                key.fileobj.close()

    def _turn(self):
        now = time.monotonic()
        due = now + 0.2
        for key in list(self.selector.get_map().values()):
            state = key.data
            talk, out, next_time = state
            if len(talk.outstanding) < WINDOW and not out and not talk.broken:
                if now >= next_time:
                    out += talk.request(now)
                    state[2] = now + self.pace.uniform(0.002, 0.02)
                    self._send(key)
                due = min(due, state[2])
        for key, events in self.selector.select(max(0.001, due - now)):
            if events & selectors.EVENT_READ:
                self._receive(key)
            if events & selectors.EVENT_WRITE and key.fileobj.fileno() >= 0:
                self._send(key)

    def _send(self, key):
        out = key.data[1]
        try:
            del out[:key.fileobj.send(out)]
        except BlockingIOError:
            pass
        except OSError as e:
            self._lost(key, str(e))
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if out else 0)
        if self.selector.get_key(key.fileobj).events != wanted:
            self.selector.modify(key.fileobj, wanted, key.data)

    def _receive(self, key):
        try:
            data = key.fileobj.recv(65536)
        except BlockingIOError:
            return
        except OSError as e:
            self._lost(key, str(e))
            return
        if data:
            key.data[0].feed(data, time.monotonic())
        else:
            self._lost(key, "the guest closed it")

    def _lost(self, key, why):
        self.tally.note("resets", f"connection {key.data[0].connection}: {why}")
        self.selector.unregister(key.fileobj)
        key.fileobj.close()

    def stop(self):
        self.stopping = True
        self.join(5)

    # ---- questions of the scenario ----
    def all_answered_since(self, moment):
        """Has every connection got an answer to a request that it sent after @moment?"""
        self.check()
        return all(talk.answered_sent > moment for talk in self.talks)

    def check(self):
        """Fail at once when waiting any longer is pointless."""
        if self.failure:
            raise DrillError(self.failure)
        if self.tally.resets or self.tally.corrupt:
            raise DrillError("a connection failed: " + "; ".join(self.tally.notes))

    def stall(self, since, until):
        """The longest silence (s) that overlaps the time from @since to @until, open ones included."""
        now = time.monotonic()
        gaps = list(self.tally.gaps)
        gaps += [Gap(t.mark, now - t.mark, t.connection) for t in self.talks if t.outstanding and t.mark]
        return max((g.length for g in gaps if g.start < until and g.start + g.length > since), default=0.0)
