# SPDX-License-Identifier: GPL-2.0-or-later
"""How each fault of the matrix is struck, and healed again: against a process, a host, the link, its memory or its disk,
and against the arbiter. A blow knows what to break, not when: ordeal.py calls strike() while the process in question
stands at its fault point (or has just failed or died there), and heal() later.
"""

import errno
import os
import resource
import signal

from . import DrillError
from .hosts import kill_pid, process_state
from .topology import link_set

SLOW_MS, SLOW_ARBITER_MS = 150, 1500


class Blow:
    """Strikes by the fault point alone: remusd has killed itself, or its call has failed."""

    hold = 0.0        # s that it is to last at least
    until_decided = False  # ... and until the other side has gone on alone
    at_end = False    # ... and until all is decided
    silent = False    # an arbiter that is struck so answers nobody: nobody may go on

    def __init__(self, ordeal):
        self.o = ordeal

    def strike(self):
        pass

    def heal(self):
        pass

    def own_process(self):
        """The struck side's engine or receiver."""
        trigger = self.o.trigger
        if trigger and trigger.host == self.o.side.name:
            return self.o.at_point
        pid = self.o.domain(self.o.side).get("pid")
        if not pid:
            raise DrillError(f"host {self.o.side.name} names no process of the session")
        return pid


class Kill(Blow):
    def strike(self):
        if self.o.trigger.action != "kill":  # held at another's point
            kill_pid(self.own_process())


class KillHost(Blow):
    at_end = True

    def strike(self):
        self.o.kill_host(self.o.side)

    def heal(self):
        link_set(self.o.topology.host_ports(self.o.side.name), True)
        self.o.side.start_remusd()


class Stop(Blow):
    hold, until_decided = 5.0, True  # longer than a session that is being set up waits (3 s)

    def __init__(self, ordeal):
        super().__init__(ordeal)
        self.pid = None

    def strike(self):
        self.pid = self.own_process()
        kill_pid(self.pid, signal.SIGSTOP)  # it may stand there already
        self.o.keep_stopped.add(self.pid)

    def heal(self):
        if process_state(self.pid) == "T":
            kill_pid(self.pid, signal.SIGCONT)


class CutBoth(Blow):
    at_end = True

    def strike(self):
        link_set(self.o.topology.replication_ports(), False)

    def heal(self):
        link_set(self.o.topology.replication_ports(), True)


class OnWire(Blow):
    """What the struck side sends is hurt on its way."""

    words = ()

    def strike(self):
        way = {"a": 0, "b": 1}[self.o.side.name] if self.o.side else 1  # the arbiter is the wire's second end
        self.o.wire.command(*(f"{way} {word}" for word in self.words))

    def heal(self):
        self.o.wire.command("0 pass", "1 pass")


class CutOneWay(OnWire):
    words, at_end = ("drop",), True


class Slow(OnWire):
    hold, words = 4.0, (f"delay {SLOW_MS}",)


class Corrupt(OnWire):
    words, at_end = ("corrupt 3",), True  # one may be a copy of what has arrived


class NoSpace(Blow):
    """The small file system that the run folder is on is filled to the last byte."""

    hold = 3.0

    def folder(self):
        return self.o.side.run if self.o.side else self.o.decider.folder

    def strike(self):
        fill(self.folder())

    def heal(self):
        clear(self.folder())


class NoMemory(Blow):
    """The process may not grow any more."""

    hold = 3.0

    def __init__(self, ordeal):
        super().__init__(ordeal)
        self.pid = None

    def strike(self):
        self.pid = self.own_process()
        try:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as f:
                size = int(f.read().split()[0]) * resource.getpagesize()
            resource.prlimit(self.pid, resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
        except (OSError, IndexError):
            pass  # the failed call has ended it

    def heal(self):
        try:
            resource.prlimit(self.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except OSError:
            pass


# ---- the arbiter ----

class KillArbiter(Blow):
    hold, silent = 6.0, True  # a question is answered UNKNOWN after 5 s at the latest

    def strike(self):
        self.o.decider.kill()

    def heal(self):
        self.o.decider.start()


class StopArbiter(KillArbiter):
    def strike(self):
        kill_pid(self.o.decider.process.pid, signal.SIGSTOP)

    def heal(self):
        kill_pid(self.o.decider.process.pid, signal.SIGCONT)


class CutArbiter(KillArbiter):
    def strike(self):
        link_set(self.o.topology.arbiter_ports(), False)

    def heal(self):
        link_set(self.o.topology.arbiter_ports(), True)


class CutArbiterOneWay(OnWire):
    hold, words, silent = 6.0, ("drop",), True


class SlowArbiter(OnWire):
    hold, words = 6.0, (f"delay {SLOW_ARBITER_MS}",)


class CorruptArbiter(OnWire):
    hold, words = 3.0, ("corrupt 1000000",)


TO_HOST = {"kill": Kill, "kill-host": KillHost, "stop": Stop, "cut-one-way": CutOneWay, "cut-both": CutBoth, "slow": Slow,
           "corrupt-tls": Corrupt, "corrupt-plain": Corrupt, "enospc": NoSpace, "enomem": NoMemory}
TO_ARBITER = {"kill": KillArbiter, "stop": StopArbiter, "cut-one-way": CutArbiterOneWay, "cut-both": CutArbiter,
              "slow": SlowArbiter, "corrupt-plain": CorruptArbiter, "enospc": NoSpace}


def make(ordeal):
    return (TO_HOST if ordeal.cell.host else TO_ARBITER)[ordeal.cell.fault](ordeal)


# ---- a full disk ----

FILL = ".fill"


def fill(folder):
    """Until not a byte more is taken, then until not a file more is."""
    fd = os.open(os.path.join(folder, FILL), os.O_WRONLY | os.O_CREAT, 0o600)
    for size in (65536, 4096, 1):
        try:
            while True:
                os.write(fd, bytes(size))
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise
    os.close(fd)
    try:
        for i in range(1000):
            os.close(os.open(os.path.join(folder, f"{FILL}-{i}"), os.O_WRONLY | os.O_CREAT, 0o600))
        raise DrillError(f"{folder} is no small file system: it doesn't get full")
    except OSError as e:
        if e.errno != errno.ENOSPC:
            raise


def clear(folder):
    for name in os.listdir(folder):
        if name.startswith(FILL):
            os.unlink(os.path.join(folder, name))
