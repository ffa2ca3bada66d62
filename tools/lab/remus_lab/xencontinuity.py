# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab drill --continuity`: the continuity drill (remus_drill/continuity.py) on Xen. What differs: a clock is made wrong
where Xen takes its own from, in dom0; the right time is that of host a's dom0, which is set right before the guest boots
and measured until it dies; Xen itself sets a guest's clock in whole seconds, so that one without an agent comes out late by
1.1 s at most and not by the whole failover; and before anything is killed a copy is made of the guest while it works, which
says on its console if it finds a page that is not of the copied epoch.
"""

import glob
import os

from remus_drill import DrillError, continuity
from remus_drill.waiting import wait_for

from . import LabError
from . import guest as guests
from .xendrill import XenDrill

SAMPLE_MS = 100   # each is a line on an emulated console
COARSE_MS = 1100  # whole seconds, and 0.1 s for what Xen's clock may differ from dom0's (remus_clock_coarse())
XEN_CLOCK_MS = 100
SHIFT_SLACK_S = 0.5

VARIANTS = {
    "agent, host b's clock 5 s fast": {"renewal": "agent", "agent": True, "shift_s": 5.0},
    "agent, host b's clock 5 s slow": {"renewal": "agent", "agent": True, "shift_s": -5.0},
    "nobody renews, host b 5 s fast": {"renewal": "none", "agent": False, "shift_s": 5.0},
}


class XenConsole(continuity.Console):
    """xenconsoled keeps them by the name that a domain had when it was made."""

    def activated(self):
        text = ""
        for path in sorted(glob.glob(os.path.join(self.host.machine.folder, "guest-console", "guest-*--incoming.log"))):
            with open(path, encoding="utf-8", errors="replace") as f:
                text += f.read()
        return text


class XenContinuity(continuity.ContinuityDrill, XenDrill):
    """See above."""

    survivor_talks = 180  # TCP waits twice as long after each try, and two copies were built meanwhile
    undecided_within = 30
    rehearsal_s = 12  # with one emulated processor for all, and a light copy
    protect_seconds = 180
    protected_within = 60
    powered_off_within = 60
    console = XenConsole
    more_options = ("--dead", "3000")  # a copy is built and run by the one emulated processor that answers heartbeats, too

    def set_clock(self, host):
        host.agent.set_wall(self.plan["shift_s"] if host.name == "b" else 0)
        host.agent.must(f"rm -f /lab/{host.name}/guest-console/*--*.log", 10)  # of an earlier variant

    def run(self):
        super().run()
        before = self.domain(self.a)["epochs"]["committed"]
        held, console = self.drill("a copy of the guest at work")
        after = self.domain(self.a)
        self.facts["continuity"]["at_work"] = {**held, "committed_meanwhile": after["epochs"]["committed"] - before}
        if "DRILL-BAD" in console or "SAMPLE" not in console:
            self.facts["wrong"].append("the copy of the guest at work " + (
                "found a page of its memory bad (I3)" if "DRILL-BAD" in console else "wrote no samples on its console"))
        if not after.get("protected") or after["epochs"]["committed"] <= before:
            self.facts["wrong"].append(f"the guest was {after.get('state')} at epoch {after['epochs']['committed']} after a copy "
                                       f"was made of it at {before}: protection must go on meanwhile")

    def strike(self):
        error, round_trip = self.a.agent.wall_error()
        self.ahead_ms = error / 1e6
        self.facts["continuity"]["primary"] = {"ahead_ms": round(error / 1e6, 3), "within_ms": round(round_trip / 2e6, 3)}
        super().strike()

    def settle(self):
        super().settle()
        clock, mine = self.domain(self.b).get("clock", {}), self.facts["continuity"]
        mine["gap_ms"] = clock.get("gap_ms")
        number = next((n for name, n, _ in guests.running(self.b.machine) if name == self.name), None)
        offset = self.b.agent.run(f"xenstore-read /local/domain/{number}/remus-time-offset", 10).out.strip()
        mine["time_offset_s"] = int(offset) if offset.lstrip("-").isdigit() else None
        if mine["time_offset_s"] is None or not -COARSE_MS / 1e3 - SHIFT_SLACK_S <= \
                mine["time_offset_s"] + self.plan["shift_s"] <= SHIFT_SLACK_S:
            self.facts["wrong"].append(f"Xen's time offset of the guest is {offset or 'not told'} s, with a clock that is "
                                       f"{self.plan['shift_s']:+g} s wrong")

    def judge_uncorrected(self, error, bound):
        slack = bound + XEN_CLOCK_MS  # a reading under protection says little of before: its answer was held
        if not -COARSE_MS - slack <= error <= slack:
            yield (f"the guest's clock is off by {error:.3f} ms, Xen alone must leave it at most {COARSE_MS} ms late and never "
                   f"early, give or take {slack:.3f} ms (I12)")

    def left_in_domains(self):
        """A copy that is still there (I13)."""
        return [name for name, *_ in guests.running(self.b.machine) if name.endswith("--drill")]

    def power_off(self):
        try:
            wait_for("the copies to be gone", 20, lambda: not self.left_in_domains(), 1)
        except DrillError:
            self.facts["litter"].append(f"host b: domain {', '.join(self.left_in_domains())}")
        super().power_off()


def hold(lab, opts, machines, say):
    """(the JSON object, the report's lines): every variant that was chosen, each on a host a that was booted for it."""
    from .inside import boot  # pylint: disable=import-outside-toplevel,cyclic-import
    results, lines = [], []
    for variant, what in VARIANTS.items():
        if opts.continuity not in ("all", what["renewal"]):
            continue
        say(f"continuity: {variant}")
        for host in machines.values():
            if host.pid() and guests.running(host):
                if not results:
                    raise LabError(f"host {host.name} runs guests: their clocks and consoles are of something else; end them")
                host.kill()  # what a variant that failed has left
        if boot(lab, say):
            raise LabError("a host could not be booted again")
        result, text = continuity.hold(XenContinuity(lab, opts, machines, say, **what, variant=variant, arbiter="manual",
                                                     sample_ms=SAMPLE_MS))
        results.append(result)
        lines += [f"--- {variant}", *more(result), *text]
        say("\n".join(lines[-len(text) - 3:]))
    failed = sum(result["result"] == "fail" for result in results)
    return ({"result": "fail" if failed else "pass", "variants": results, "passed": len(results) - failed, "failed": failed},
            list(continuity.table(results)))


def more(result):
    """What only Xen has to tell, for people."""
    c = result["continuity"]
    work = c.get("at_work", {})
    yield (f"at work    copied in {work.get('copy_ms', 0):.1f} ms and run while {work.get('committed_meanwhile', 0)} epochs were "
           "committed")
    yield (f"xen        time offset {c.get('time_offset_s')} s, gap {c.get('gap_ms')} ms, host a's clock {c.get('primary')}")
