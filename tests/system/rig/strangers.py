# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that is protected, and whoever else comes to its backup's replication port: the guest must not notice."""

import time

from . import status_of, wait_for
from .case import SystemTest
from .peer import connect, read_to_end

STRANGERS_MAX = 16  # of one source, tools/remusd/strangers.c
HANDSHAKE_S = 5     # include/remus/tls.h; replicator/protocol/backup_machine.c has the same for the hello


def memory_kib(host):
    """What remusd and its children have of their own."""
    pids = [host.remusd.pid, *host.children()]
    return sum(int((status_of(p, "VmRSS") or "0 kB").split()[0]) for p in pids)


class StrangersTest(SystemTest):
    """Hosts a and b, vm1 protected; `options` are b's."""

    options = ()

    def setUp(self):
        super().setUp()
        self.a, self.b, self.guest, self.switch = self.protected_pair(b=self.options)
        self.committed = self.b.status()["epochs"]["committed"]
        self.before = self.b.files()

    def throw(self, data, hold=0.0):
        """Connect, send, read until remusd closes. What it said."""
        with connect(self.b) as s:
            try:
                s.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                return b""
            time.sleep(hold)
            return read_to_end(s)

    def check_undisturbed(self, *logged, log_lines=25):
        self.assertTrue(self.b.runs())
        wait_for("the strangers' children to end", lambda: len(self.b.children()) == 1, HANDSHAKE_S + 3)
        wait_for("the log to say who it was", lambda: all(w in self.b.read_log() for w in logged), 3)
        lines = [line for line in self.b.read_log().splitlines() if "replication port" in line]
        self.assertLessEqual(len(lines), log_lines, "strangers fill the log")
        self.assertEqual(self.a.state(), "protected")
        self.assertEqual(self.a.kinds(), ["protected"])
        self.assertEqual(self.b.kinds(), ["standby"], "strangers are for the log, not for the events")
        wait_for("epochs to go on", lambda: self.b.status()["epochs"]["committed"] > self.committed, 3)
        wait_for("the run folder to be as before", lambda: self.b.files() == self.before, 3)
        self.assertEqual(len(self.b.request({"verb": "status"})[0]["ok"]["domains"]), 1)
        self.guest.check_runs()
