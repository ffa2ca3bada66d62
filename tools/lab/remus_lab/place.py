# SPDX-License-Identifier: GPL-2.0-or-later
"""One lab: its folder, and the namespaces that hold all of it (network, processes, mounts).

A keeper, the first process of the process namespace, holds them open. When it ends, for whatever reason, the
kernel kills every QEMU and takes the network away, so that `down` is one signal and a lab that was started for one
command cannot outlive it: its keeper reads a pipe whose other end that command holds.

    /tmp/remus-lab-UID-NAME/lock     held while the lab is brought up or down
                            keeper   process id and start time, as seen from outside
                            plan     JSON: how the hosts are booted
                            share/   what both dom0s see as /lab; the hosts' folders are in it (machine.py)
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from remus_drill.hosts import kill_pid
from remus_drill.waiting import wait_for

from . import LabError
from .machine import start_time

KEEPER, INSIDE = "--keeper", "--inside"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")


class Place:
    """See above."""

    def __init__(self, name):
        if not NAME.fullmatch(name):
            raise LabError(f"\"{name}\" cannot name a lab: letters, digits, and _.- within")
        self.name = name
        self.folder = os.path.join(tempfile.gettempdir(), f"remus-lab-{os.getuid()}-{name}")
        self.share = os.path.join(self.folder, "share")
        self._lock = None
        self._pipe = None

    def file(self, name):
        return os.path.join(self.folder, name)

    def make(self):
        """The folder and the lock on it. Who comes second is told so."""
        try:
            os.makedirs(self.share, mode=0o700, exist_ok=True)
            self._lock = open(self.file("lock"), "w", encoding="ascii")  # pylint: disable=consider-using-with
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise LabError(f"the lab \"{self.name}\" is being brought up or down by somebody else; wait, or use "
                           "--name for a lab of your own") from e
        except OSError as e:
            raise LabError(f"cannot make {self.folder}: {e.strerror}") from e

    def unlock(self):
        if self._lock:
            self._lock.close()
            self._lock = None

    # ---- the plan ----
    def plan(self):
        try:
            with open(self.file("plan"), encoding="utf-8") as f:
                return json.load(f)
        except (OSError, ValueError):
            return None

    def set_plan(self, plan):
        with open(self.file("plan"), "w", encoding="utf-8") as f:
            json.dump(plan, f, indent=1)

    # ---- the keeper ----
    def keeper(self):
        """Its process id, if the lab is up."""
        try:
            with open(self.file("keeper"), encoding="ascii") as f:
                pid, started = map(int, f.read().split())
        except (OSError, ValueError):
            return None
        return pid if start_time(pid) == started else None

    def start_keeper(self, tied):
        """@tied: the lab ends with this process."""
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        ours, theirs = os.pipe()
        os.set_inheritable(ours, True)
        command = ["unshare", *user, "--net", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc",
                   sys.executable, "-B", os.path.realpath(sys.argv[0]), KEEPER, str(ours if tied else -1)]
        with open(self.file("keeper.log"), "wb") as log:
            outer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[ours],
                                     start_new_session=True)
        os.close(ours)
        self._pipe = theirs

        def inner():
            if outer.poll() is not None:
                with open(self.file("keeper.log"), encoding="utf-8", errors="replace") as f:
                    raise LabError(
                        f"cannot make namespaces for the lab: {f.read().strip()}. An ordinary user needs user "
                        "namespaces; in a container, root with CAP_SYS_ADMIN and CAP_NET_ADMIN")
            try:
                with open(f"/proc/{outer.pid}/task/{outer.pid}/children", encoding="ascii") as f:
                    children = f.read().split()
                with open(self.file("keeper.log"), encoding="utf-8") as f:
                    return children and "keeping" in f.read() and int(children[0])
            except OSError:
                return None
        pid = wait_for("the lab's namespaces", 10, inner)
        with open(self.file("keeper"), "w", encoding="ascii") as f:
            f.write(f"{pid} {start_time(pid)}\n")

    def enter(self, arguments):
        """Run this program inside; its exit status."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        child = subprocess.Popen(["nsenter", "--target", str(self.keeper()), *user, "--root", "--net", "--mount", "--ipc",
                                  "--pid", "--", sys.executable, "-B", os.path.realpath(sys.argv[0]), INSIDE,
                                  self.name, os.getcwd(), *arguments])  # nsenter leaves us in /
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                child.send_signal(signal.SIGINT)  # it tidies up; a second one does no harm

    def down(self, keep_logs=False):
        """Everything of the lab ends. The folder goes too, unless @keep_logs."""
        pid = self.keeper()
        if pid:
            kill_pid(pid)
            wait_for(f"the lab's keeper {pid} to end", 20, lambda: start_time(pid) is None)
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        if keep_logs:
            for place, _, files in os.walk(self.share):
                for file in files:
                    if file in ("vmlinux", "xen") or file.endswith(".cpio"):
                        os.unlink(os.path.join(place, file))
            return
        self.unlock()
        shutil.rmtree(self.folder, ignore_errors=True)
        if os.path.isdir(self.folder):
            raise LabError(f"{self.folder} cannot be removed entirely")


def keep(pipe):
    """The keeper's whole life."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans of this namespace are reaped by the kernel
    print("keeping", flush=True)
    if pipe < 0:
        while True:
            time.sleep(3600)
    while os.read(pipe, 1):
        pass
    return 0


def known():
    """The names of this user's labs, running or not."""
    prefix = f"remus-lab-{os.getuid()}-"
    return sorted(f[len(prefix):] for f in os.listdir(tempfile.gettempdir()) if f.startswith(prefix))
