# SPDX-License-Identifier: GPL-2.0-or-later
"""remus, as `lab compare` measures it: from the status that remusd gives (docs/control.md)."""

import os
import time

from remus_drill import report
from remus_drill.topology import ADDRESS

from . import guest as guests
from .xenhost import XenHost

SETTLE = 3  # epochs


def figures(before, after, seconds):
    """What two status objects of one domain say about the time between them."""
    epochs = after["epochs"]["committed"] - before["epochs"]["committed"]
    quantiles = {k: round(after["pause_us"].get(k, 0)) for k in ("p50", "p99", "max")}
    parts = report.pause_parts("xen", after["pause_us"])
    own = {k: round(after["own_us"].get(k, 0)) for k in ("p50", "p99", "max")}
    return {"checkpoints": epochs, "checkpoints_per_s": round(epochs / seconds, 2), "pause_us": quantiles,
            "pause_parts_us": {k: round(v) for k, v in parts.items()}, "outside_suspend_us": own,
            "pages_sent": round(after["dirty_pages"]["mean"] * epochs)}


class RemusSide:
    """Measures remus."""

    name = "remus"

    def __init__(self, hosts, guest, interval, lab):
        self.guest, self.interval = guest, interval
        self.hosts = {name: XenHost(machine) for name, machine in hosts.items()}
        self.a, self.b = self.hosts["a"], self.hosts["b"]
        self.before = None
        os.makedirs(os.path.join(lab.share, "arbiter"), exist_ok=True)

    def domain(self):
        found = self.a.domains()
        return found[-1] if found else {}

    def protect(self, step):
        for host in self.hosts.values():
            host.start_remusd(plaintext=True, trace=False)  # as xl remus here: replication is compared, not ciphers
        self.a.ctl("protect", self.guest, "--to", ADDRESS["b"], "--insecure", "--interval", str(self.interval), "--arbiter",
                   "file:/lab/arbiter", timeout=step.left())
        step.wait(f"{SETTLE} epochs of remus",
                  lambda: self.domain().get("epochs", {}).get("committed", 0) >= SETTLE, 0.3)

    def begin(self):
        """The status; when it was asked, so that its own delay does not count."""
        self.before = self.domain(), time.monotonic()
        return self.before

    def figures(self, since, _):
        status = self.domain()
        return figures(since[0], status, time.monotonic() - since[1])

    def survivor(self):
        return self.guest in [name for name, *_ in guests.running(self.b.machine)]

    def end(self):
        pass  # the next side starts on hosts that were booted anew
