# SPDX-License-Identifier: GPL-2.0-or-later
"""What the system tests stand on: two hosts on loopback, guests, and the rules that hold after every test.

    case.py      a test: its folder, its processes, what must be true when it is over
    host.py      one host: a remusd with folders of its own, and what an operator does there
    fake.py      a guest without a hypervisor (replicator/domain/fake)
    qemu.py      a guest in a real QEMU, without an operating system: 40 bytes of firmware that count
    peer.py      frames made by hand, and somebody who doesn't speak the protocol
    strangers.py a protected guest and whoever else comes to its backup
    seccomp.py   a kernel that lacks something, or forbids it

Nothing here waits without a deadline, and a wait that fails says what it waited for.
"""

import os
import shutil
import time

SKIP = 77  # automake: the machine lacks something, and the reason was printed


class Late(AssertionError):
    """Something didn't come in time."""


def wait_for(what, condition, seconds=10, every=0.02):
    """Poll @condition until it is true; return what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise Late(f"waited {seconds:g} s for {what}, in vain")
        time.sleep(every)


def program(name):
    """A program of this build ($REMUS_BUILD, set by run.sh)."""
    top = os.environ.get("REMUS_BUILD", os.getcwd())
    for path in (os.path.join(top, name), os.path.join(top, "tools", name, name)):
        if os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(f"{name} is not in {top}: run make there, or set REMUS_BUILD")


def installed(name):
    """The path of a program of this machine, or None."""
    return shutil.which(name)


def userfaultfds(pid):
    """How many userfaultfds @pid holds: none when nobody tracks it (I13)."""
    folder, found = f"/proc/{pid}/fd", 0
    for fd in os.listdir(folder):
        try:
            found += "userfaultfd" in os.readlink(os.path.join(folder, fd))
        except OSError:
            pass
    return found


def tracked(pid):
    """Is a range of @pid's memory registered with a userfaultfd? (VmFlags "uw"; the fd lives in the engine.)"""
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as f:
        return any(line.startswith("VmFlags:") and " uw" in line for line in f)


def status_of(pid, key):
    """A line of /proc/PID/status, or None when the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
            return next((line.split(":", 1)[1].strip() for line in f if line.startswith(key + ":")), None)
    except OSError:
        return None


def alive(pid):
    return (status_of(pid, "State") or "Z")[0] not in "ZX"


def processes_marked(mark):
    """{pid: name} of the live processes that have @mark in their environment, however they came to be."""
    found, mark = {}, mark.encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as f:
                marked = mark in f.read().split(b"\0")
        except OSError:
            continue
        if marked and alive(int(entry)):
            found[int(entry)] = status_of(int(entry), "Name")
    return found
