# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands in a dom0, by its agent (host/agent.c): outputs, exit status, a limit in time for each."""

import collections
import os
import socket
import time

from . import LabError

PORT = 7000
TIMED_OUT = 124
GRACE = 10  # s for the answer beyond what the command may take

Done = collections.namedtuple("Done", "status out err")


def _blocks(connection):
    stream = connection.makefile("rb")
    while True:
        head = stream.readline(64).split()
        if not head:
            raise OSError("the connection ended before the command did")
        kind, size = head[0].decode(), int(head[1])
        data = stream.read(size)
        if len(data) != size:
            raise OSError("the connection ended within a block")
        yield kind, data


class Agent:
    """One host's."""

    def __init__(self, host, address):
        self.host, self.address = host, address

    def _connect(self, seconds):
        connection = socket.create_connection((self.address, PORT), timeout=min(seconds, 5))
        connection.settimeout(seconds)
        return connection

    def run(self, script, timeout=30, stdin=b"", output=None):
        """bash runs @script. @output(kind, data) gets what it says as it comes ("o", "e"); Done has all of it."""
        text = script.encode()
        parts = {"o": [], "e": []}
        try:
            with self._connect(timeout + GRACE) as connection:
                head = b"RUN %d %d %d\n" % (max(1, int(timeout + 0.5)), len(text), len(stdin))
                connection.sendall(head + text + stdin)
                for kind, data in _blocks(connection):
                    if kind == "x":
                        return Done(int(data), *(b"".join(parts[k]).decode(errors="replace") for k in "oe"))
                    parts[kind].append(data)
                    if output:
                        output(kind, data)
        except (OSError, ValueError) as e:
            raise LabError(f"host {self.host} does not carry out commands: {e}") from e
        raise LabError(f"host {self.host} ended the conversation")

    def must(self, script, timeout=30, stdin=b""):
        """The output; LabError unless the status is 0."""
        done = self.run(script, timeout, stdin)
        if done.status:
            why = f"no end within {timeout:g} s" if done.status == TIMED_OUT else f"status {done.status}"
            raise LabError(f"host {self.host}: {script.strip().splitlines()[0][:120]}: {why}: "
                           f"{(done.err or done.out).strip()[-500:]}")
        return done.out

    def push(self, path, where, timeout=120):
        """Copy the local file @path to @where, with its mode."""
        try:
            with open(path, "rb") as f:
                data = f.read()
        except OSError as e:
            raise LabError(f"cannot read {path}: {e.strerror}") from e
        quoted = "'" + where.replace("'", "'\\''") + "'"
        mode = os.stat(path).st_mode & 0o777
        self.must(f"cat > {quoted}.part && chmod {mode:o} {quoted}.part && mv -f {quoted}.part {quoted}", timeout, data)

    def answers(self):
        try:
            return bool(self.clock())
        except LabError:
            return False

    def clock(self):
        """The host's CLOCK_MONOTONIC in ns."""
        return self._clocks()[0]

    def _clocks(self):
        """CLOCK_MONOTONIC and CLOCK_REALTIME."""
        try:
            with self._connect(2) as connection:
                connection.sendall(b"CLOCK\n")
                monotonic, wall = map(int, connection.makefile("rb").readline(64).split())
                return monotonic, wall
        except (OSError, ValueError) as e:
            raise LabError(f"host {self.host} does not answer: {e}") from e

    def _behind(self, which, ours, tries):
        """(ns by which the @which of its _clocks() is behind @ours(), how wrong that may be): the quickest answer's."""
        best = None
        for _ in range(tries):
            before = ours()
            theirs = self._clocks()[which]
            after = ours()
            if best is None or after - before < best[1]:
                best = ((before + after) // 2 - theirs, after - before)
        return best

    def clock_offset(self, tries=8):
        """(ns to add to the host's CLOCK_MONOTONIC to get ours, how wrong that may be)."""
        return self._behind(0, time.monotonic_ns, tries)

    def wall_error(self, tries=8):
        """(ns that the host's wall clock is ahead of ours, how wrong that may be)."""
        behind, wrong = self._behind(1, time.time_ns, tries)
        return -behind, wrong

    def set_wall(self, seconds):
        """Set its wall clock @seconds ahead of ours, to within some ten ms."""
        offset, _ = self.clock_offset()
        at_boot = time.time() - time.monotonic() + offset / 1e9 + seconds
        self.must("date -s \"@$(awk -v b=%.6f '{printf \"%%.3f\", b + $1}' /proc/uptime)\"" % at_boot, 10)
