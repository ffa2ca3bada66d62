# SPDX-License-Identifier: GPL-2.0-or-later
"""The cells of the matrix: every fault, in every phase of a protected guest's life, on every side. Pure: it says what
is to be done and who may go on; ordeal.py does it, blows.py knows how.

A phase is a fault point of remusd (`remusd --faults`). Where the side that is struck has none in a phase, the other
side is held at its own point meanwhile, so that the blow comes at that moment all the same.
"""

import collections
import zlib

FAULTS = {
    "kill": "the process (engine, receiver, etcd) is killed",
    "kill-host": "everything on the host is killed, and its links go down in the same instant",
    "stop": "the process stands still, and goes on when the other side has taken over or given up",
    "cut-one-way": "what the side sends on the replication link (the arbiter: its answers) is lost",
    "cut-both": "the link is down",
    "slow": "what the side sends takes 150 ms longer (the arbiter's answers: 1.5 s)",
    "corrupt-tls": "a bit of what the side sends is turned over, with a right TCP checksum, under TLS",
    "corrupt-plain": "the same on a plaintext link (the arbiter: in every answer)",
    "enospc": "the file system of its run folder (the arbiter's folder) is full, and the call fails with ENOSPC",
    "enomem": "the process gets no more memory, and the call fails with ENOMEM",
}
PHASES = {
    "setup": "the sides greet each other and the standby is built",
    "full-copy": "the first copy of the whole memory is on its way",
    "copying": "the guest stands still, its epoch is copied",
    "sending": "the guest runs on, its epoch is on the way",
    "before-ack": "the epoch is at the backup and not acknowledged",
    "after-ack": "it is acknowledged, not yet applied there, its output not yet released here",
    "releasing": "its output is about to leave",
    "failover": "the link is lost and the side is about to ask the arbiter; for faults of the link: a planned hand-over "
                "in which the primary is about to say so, or the backup about to activate",
}
SIDES = {"primary": "a", "backup": "b", "arbiter": None}

EARLY = ("setup", "full-copy")
LINK_FAULTS = ("cut-one-way", "cut-both", "slow", "corrupt-tls", "corrupt-plain")
EPOCHS = 80  # that are committed before the fault, at least: 2 s of 25 ms
STAGED = 2   # frames of an epoch at least: pages, state

# phase: {side: (fault point, its time; None: some epochs later)}
POINTS = {
    "setup": {"primary": ("primary-hello", 1), "backup": ("backup-standby", 1), "arbiter": ("engine-key", 1)},
    "full-copy": {"primary": ("primary-sync-send", 3), "backup": ("backup-sync-apply", 5)},
    "copying": {"primary": ("primary-copied", None)},
    "sending": {"primary": ("primary-pages-sent", None), "backup": ("backup-stage", None)},
    "before-ack": {"primary": ("primary-sent", None), "backup": ("backup-verified", None)},
    "after-ack": {"primary": ("primary-acked", None), "backup": ("backup-acked", None)},
    "releasing": {"primary": ("primary-release", None)},
    "failover": {"primary": ("primary-claim", 1), "backup": ("backup-claim", 1)},
}
HANDOVER_POINTS = {"primary": ("primary-handover", 1), "backup": ("backup-activate", 1)}

Trigger = collections.namedtuple("Trigger", "host point nth action")


class Cell:
    """One fault in one phase on one side."""

    def __init__(self, fault, phase, side):
        self.fault, self.phase, self.side = fault, phase, side
        self.name = f"{fault}.{phase}.{side}"
        self.early = phase in EARLY
        self.failover = phase == "failover"

    def __repr__(self):
        return self.name

    def seed(self, base):
        """What its own run is made from: the same whatever else runs."""
        return (zlib.crc32(self.name.encode()) + base) % 10**6 + 1

    # ---- does it make sense? ----
    def why_not(self):
        """Why there is nothing to drill, or None."""
        if self.side == "arbiter":
            return {
                "kill-host": "the arbiter is one process on a host of its own: see kill",
                "corrupt-tls": "the drill's etcd is spoken to in plaintext: see corrupt-plain",
                "enomem": "a folder needs no memory of its own, and an etcd that gets none is killed: see kill",
            }.get(self.fault)
        if self.fault == "kill-host" and self.side == "primary" and self.early:
            return "nothing is committed anywhere yet: the guest dies with its host, as without protection"
        if self.fault == "cut-both" and self.side == "backup" and self.point_side() == "primary":
            return "the same as for the primary: both ways are cut while it is held there"
        return None

    # ---- what is done ----
    def point_side(self):
        """The side whose process is at the phase's point when the blow comes."""
        if self.side in POINTS[self.phase]:
            return self.side
        return "primary"

    @property
    def host(self):
        """The struck host's name; None for the arbiter."""
        return SIDES[self.side]

    @property
    def by_handover(self):
        """Is the failover a planned hand-over? (A fault of the link needs a link.)"""
        return self.failover and self.fault in LINK_FAULTS and self.side != "arbiter"

    def trigger(self, seed):
        """Which host's remusd gets which REMUS_FAULT; None: the blow is not tied to a point."""
        if self.failover and self.side == "arbiter":
            return None
        at = self.point_side()
        point, nth = (HANDOVER_POINTS if self.by_handover else POINTS[self.phase])[at]
        if nth is None:
            nth = EPOCHS + seed % 20
            if point == "backup-stage":
                nth *= STAGED
        action = "stop"
        if at == self.side and self.host:
            action = {"kill": "kill", "enospc": "fail=ENOSPC", "enomem": "fail=ENOMEM"}.get(self.fault, "stop")
        return Trigger(SIDES[at] or "a", point, nth, action)

    @property
    def arbiter(self):
        """Who decides: a folder is enough where the arbiter isn't hurt, and can be full."""
        return "etcd" if self.side == "arbiter" and self.fault != "enospc" else "file"

    @property
    def link(self):
        return "plaintext" if self.fault == "corrupt-plain" and self.side != "arbiter" else "psk"

    @property
    def wired(self):
        """The network that goes through a wire which can be hurt, or None."""
        if self.fault in LINK_FAULTS and self.fault != "cut-both":
            return "arb" if self.side == "arbiter" else "repl"
        return None

    # ---- what may come of it ----
    def survivors(self):
        """The hosts on which the guest may go on."""
        if self.early:
            return "a"
        if self.side == "arbiter":
            return "ab" if self.failover else "a"
        if self.fault == "slow":
            return "b" if self.failover else "a"
        if self.fault in ("kill-host", "stop"):
            return "b" if self.side == "primary" else "a"
        if self.fault == "kill" and self.side == "backup":
            return "a"
        if self.by_handover and self.side == "backup":
            return "b"  # it has won the claim
        return "ab"

    def goes_on(self):
        """Must protection go on by itself (True), must it not (False), or is either right (None)?"""
        if self.failover:
            return False
        if self.fault == "slow" and self.side != "arbiter":
            return True
        if self.side == "arbiter":
            return None if self.phase == "setup" else True
        return None if self.fault in ("enospc", "enomem") else False


def all_cells():
    return [Cell(fault, phase, side) for fault in FAULTS for side in SIDES for phase in PHASES]


def applicable():
    return [cell for cell in all_cells() if cell.why_not() is None]


def find(name):
    """The cell of that name, or None."""
    return next((cell for cell in all_cells() if cell.name == name), None)
