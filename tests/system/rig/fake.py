# SPDX-License-Identifier: GPL-2.0-or-later
"""A fake guest: a process that writes numbered writes to its memory (replicator/domain/fake/fake.h).

Its whole memory follows from the number of writes, so `verify` finds any page that is wrong or old.
"""

import os
import signal
import socket
import struct

from . import alive, program, status_of, tracked, userfaultfds, wait_for

STATUS, VERIFY, SHUTDOWN = 8, 9, 10
MAC = "52:54:00:12:34:56"


class FakeGuest:
    """One guest at the control socket @path, whoever started it."""

    def __init__(self, path):
        self.path = path
        self.locator = "fake:" + path
        self.pid = None
        self.process = None

    @classmethod
    def start(cls, case, name="vm1", pages=2048, rate=400, nic=True):
        """A running guest; with @nic it sends a numbered frame every ten writes."""
        folder = case.make_folder(name)
        guest = cls(os.path.join(folder, name + ".sock"))
        command = [program("remus-fake-guest"), "--control", guest.path, "--name", name, "--pages", str(pages),
                   "--rate", str(rate), "--seed", "7", "--hot", "256"]
        if nic:
            command += ["--nic", f"{MAC},{folder}/nic.guest,{folder}/nic.host", "--frame-every", "10"]
        guest.process = case.spawn(command, name + ".log")
        guest.pid = guest.process.pid
        wait_for(f"the fake guest {name} to listen", lambda: guest.process.poll() is not None or
                 os.path.exists(guest.path))
        guest.writes()
        case.guests.append(guest)
        return guest

    def ask(self, verb, seconds=20):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(seconds)
            s.connect(self.path)
            s.send(struct.pack("<II", 1, verb))
            data = s.recv(65536)
        status = struct.unpack_from("<i", data, 4)[0]
        assert status == 0, f"the guest at {self.path}: {data[8:].decode(errors='replace')}"
        return data[8:]

    def writes(self):
        return struct.unpack_from("<QQ", self.ask(STATUS))[1]

    def verify(self):
        """All its memory is what its writes leave. Fails with the first wrong page."""
        self.ask(VERIFY)

    def check_runs(self):
        """It runs: it writes on, and its memory is right."""
        before = self.writes()
        wait_for(f"the guest at {self.path} to write on (it stands at {before})", lambda: self.writes() > before, 5)
        self.verify()

    def check_untouched(self):
        """It runs and nothing of remus is left in it."""
        self.check_runs()
        assert userfaultfds(self.pid) == 0, "a userfaultfd is left in the guest"
        assert not tracked(self.pid), "the guest's memory is still registered with a userfaultfd"
        assert status_of(self.pid, "TracerPid") == "0", "somebody still traces the guest"

    def power_off(self):
        self.ask(SHUTDOWN)

    def clear(self):
        """Remove what a killed guest leaves."""
        for path in (self.path, os.path.join(os.path.dirname(self.path), "nic.guest")):
            os.unlink(path)

    def stop(self):
        """Whoever started it."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
        elif not self.process and alive(self.pid):
            os.kill(self.pid, signal.SIGTERM)
