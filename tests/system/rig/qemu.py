# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest in a real QEMU without an operating system: firmware of 40 bytes that counts in memory.

It has two QMP sockets: the first is for remus, the second for the test to look through while remus holds the first.
"""

import json
import os
import socket

from . import installed, status_of, tracked, userfaultfds, wait_for

MAC = "52:54:00:00:00:2a"
COUNTER = 0x7000

# Real mode: the counter, and one page in 128 of the first 512 KiB, over and over.
_CODE = bytes.fromhex("fa31c08ed8" "6631c9" "b80010" "8ec0" "6641" "66ff060070" "66890e0470" "2666890e0000"
                      "050001" "3d0090" "75e4" "ebdf")
_RESET = bytes.fromhex("ea000000f0")


def firmware(folder):
    path = os.path.join(folder, "firmware")
    with open(path, "wb") as f:
        f.write(_CODE.ljust(0xfff0, b"\0") + _RESET.ljust(16, b"\0"))
    return path


class Qemu:
    """@change: {option: value} over the usual command line; None leaves the option out. @more: words after it."""

    def __init__(self, case, name="vm1", change=None, more=(), nic=True):
        self.folder = case.make_folder(name)
        self.path, self.probe = (os.path.join(self.folder, name + s) for s in (".qmp", ".probe"))
        self.locator = "qemu:" + self.path
        options = {"-M": "microvm,acpi=on,memory-backend=ram0", "-accel": "tcg", "-m": "32",
                   "-object": "memory-backend-memfd,id=ram0,size=32M,share=on,prealloc=on",
                   "-global": "migration.send-configuration=off", "-display": "none", "-nodefaults": "",
                   "-no-reboot": "", "-serial": f"file:{self.folder}/serial.log", "-bios": firmware(self.folder),
                   **(change or {})}
        command = [installed("qemu-system-x86_64")]
        for option, value in options.items():
            command += [] if value is None else [option, *([value] if value else [])]
        if nic:
            command += ["-netdev", f"dgram,id=n0,local.type=unix,local.path={self.folder}/guest,remote.type=unix,"
                        f"remote.path={self.folder}/host", "-device", f"virtio-net-device,netdev=n0,mac={MAC}"]
        for path in (self.path, self.probe):
            command += ["-qmp", f"unix:{path},server=on,wait=off"]
        case.props += [os.path.relpath(os.path.join(self.folder, f), case.folder) for f in ("firmware",)]
        self.process = case.spawn([*command, *more], name + ".log")
        self.pid = self.process.pid
        case.guests.append(self)
        wait_for(f"{name}'s QEMU to answer", self._answers)

    def _answers(self):
        assert self.process.poll() is None, f"QEMU ended with status {self.process.returncode}"
        try:
            return os.path.exists(self.probe) and self.qmp("query-status")
        except ConnectionRefusedError:
            return False  # bound, not listening yet

    def qmp(self, command, **arguments):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(10)
            s.connect(self.probe)
            lines = s.makefile("rw")
            lines.readline()
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                lines.write(json.dumps(request) + "\n")
                lines.flush()
                answer = json.loads(lines.readline())
                while "event" in answer:
                    answer = json.loads(lines.readline())
            return answer["return"]

    def count(self):
        text = self.qmp("human-monitor-command", **{"command-line": f"xp /1wx {COUNTER}"})
        return int(text.split(":")[1], 16)

    def check_runs(self):
        assert self.qmp("query-status")["status"] == "running", self.qmp("query-status")
        before = self.count()
        wait_for("the guest to count on", lambda: self.count() != before, 5)

    def check_untouched(self, relayed=False):
        """It runs and nothing of remus is left in it, but what belongs to a @relayed guest's QMP connection."""
        self.check_runs()
        assert userfaultfds(self.pid) == 0, "a userfaultfd is left in QEMU"
        assert not tracked(self.pid), "QEMU's memory is still registered with a userfaultfd"
        assert relayed or self.qmp("query-fdsets") == [], "an fd set is left in QEMU"
        assert status_of(self.pid, "TracerPid") == "0", "somebody still traces QEMU"

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
        for path in (self.path, self.probe, os.path.join(self.folder, "guest")):
            if os.path.lexists(path):
                os.unlink(path)
