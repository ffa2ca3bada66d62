# SPDX-License-Identifier: GPL-2.0-or-later
"""The continuity drill: what a guest that wakes up on the backup draws and reads (I12).

The arbiter is manual, so that the backup stands still at its last committed epoch when host a is dead. Then that one
checkpoint is woken up three times: twice as a copy cut off from everything (remusctl drill), at last as the guest itself
(remusctl failover --force). The three consoles are compared. Host b's wall clock is wrong on purpose.

Variants: renewed by its agent, by its generation id, by nobody. The last shows that the drill can tell: there the
copies draw the same numbers, and the guest's clock stays behind.
"""

import datetime
import glob
import json
import os
import time

from . import DrillError, control, copies, report, scenario
from .hosts import find_program
from .waiting import wait_for

REHEARSALS = 2
SAMPLE_MS = 25
DRIFT = 500e-6          # what two clocks drift apart: REMUS_CLOCK_DRIFT_PPM
READING_MS = 0.5        # the guest's own reading, between two of its instructions on a busy host
BEHIND_MS = 1000        # a clock that nobody corrected is behind by more than this after a failover of seconds
JUMP_BACK_MS = 1.0      # a reading of two clocks that was interrupted between them looks like a jump

VARIANTS = {
    # name: what differs from an ordinary drill
    "agent, host b's clock 5 s fast": {"renewal": "agent", "agent": True, "shift_s": 5.0},
    "agent, host b's clock 5 s slow": {"renewal": "agent", "agent": True, "shift_s": -5.0},
    "generation id": {"renewal": "vmgenid", "agent": False, "shift_s": 0.0, "machine": "q35", "generation": True},
    "nobody renews": {"renewal": "none", "agent": False, "shift_s": 0.0},
}


class Console:
    """Where the consoles of the copies and of the activated guest are. Another backend has others (tools/lab)."""

    def __init__(self, host):
        self.host = host

    def activated(self):
        text = ""
        for path in glob.glob(os.path.join(self.host.run, "backup-*", "serial0.log")):
            with open(path, encoding="utf-8", errors="replace") as f:
                text += f.read()
        return text


class ContinuityDrill(scenario.Drill):
    """See above."""

    survivor_talks = 60  # after seconds without an answer TCP's own patience has grown
    undecided_within = 10
    rehearsal_s = 3      # on a busy emulated host the agent's hook speaks a second after the renewal
    console = Console

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        plan = self.plan
        self.consoles = {}
        self.drifted_ms = self.ahead_ms = 0.0  # ahead: of the true time, what remus has to take for the right one
        self.clock = {"before": [], "after": []}
        self.facts["continuity"] = {"variant": plan["variant"], "renewal": plan["renewal"], "shift_s": plan["shift_s"]}

    def prepare(self, host):
        super().prepare(host)
        self.set_clock(host)

    def set_clock(self, host):
        """Host b's, wrong."""
        if host.name == "b" and self.plan["shift_s"]:
            host.environment = {"LD_PRELOAD": find_program("remus-drill-shift.so"),
                                "REMUS_DRILL_SHIFT_NS": str(int(self.plan["shift_s"] * 1e9))}

    # ---- clocks ----
    def read_clock(self):
        """(guest minus right, half of the round trip, both ms, what it showed): the best of a few."""
        best = None
        for _ in range(5):
            before = time.time_ns()
            real = control.guest("clock")["realtime_ns"]
            after = time.time_ns()
            half = (after - before) / 2e6
            if best is None or half < best[1]:
                best = ((real - before) / 1e6 - half - self.ahead_ms, half, real)
        return best

    def _clock_or_none(self):
        try:
            return self.read_clock()
        except DrillError:
            return None

    def _check_shift(self):
        """Is host b's clock as wrong as it should be?"""
        event = next((e for e in self.b.events() if e.get("mono_us")), None)
        if not event:
            return
        shown = datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()
        true = time.time() - time.monotonic() + event["mono_us"] / 1e6
        if abs(shown - true - self.plan["shift_s"]) > 0.5:
            self.facts["wrong"].append(f"host b's clock is off by {shown - true:.3f} s, not by {self.plan['shift_s']} s: "
                                       "the drill could not make it wrong")

    # ---- the scenario ----
    def run(self):
        super().run()
        self.clock["before"] = self.read_clock()

    def strike(self):
        super().strike()
        wait_for("host b to wait for its operator", self.undecided_within, lambda: self.domain(self.b).get("state") == "claiming")
        for i in range(1, REHEARSALS + 1):
            self._rehearse(f"copy {i}")
        self.b.ctl("failover", self.name, "--force", "--yes", timeout=30)
        self.activated_time = time.monotonic()
        self.step("the operator had host b activate the guest itself")

    def drill(self, name):
        """(what is worth a report, the copy's console)"""
        try:
            answer = json.loads(self.b.ctl("drill", self.name, "--seconds", str(self.rehearsal_s), "--json", timeout=90))
        except ValueError as e:
            raise DrillError(f"remusctl drill answered no JSON: {e}") from e
        self.step(f"{name}: {answer['what']}")
        return ({k: answer.get(k) for k in ("passed", "epoch", "build_ms", "copy_ms", "activate_ms", "ran_ms", "seed")},
                answer.get("console", ""))

    def _rehearse(self, name):
        held, self.consoles[name] = self.drill(name)
        self.facts["continuity"].setdefault("drills", []).append(held)

    def settle(self):
        # At once: what a clock drifts later on is not the failover's doing.
        self.clock["after"] = wait_for("the activated guest to tell its time", self.survivor_talks, self._clock_or_none, 0.1)
        self.drifted_ms = (time.monotonic() - self.activated_time) * DRIFT * 1e3
        super().settle()
        self.facts["continuity"]["samples"] = control.guest("samples")
        self.consoles["the guest"] = self.console(self.b).activated()
        self._check_shift()
        self._judge()

    # ---- the verdict ----
    def _judge(self):
        renewal, mine = self.plan["renewal"], self.facts["continuity"]
        seen = [copies.Copy(name, text, renewal) for name, text in self.consoles.items()]
        self.facts["wrong"] += copies.failures(seen, renewal)
        mine["same_draws"] = {f"{a.name} and {b.name}": copies.same_draws(a, b) for a, b in copies.pairs(seen)}
        mine["draws"] = {c.name: [len(c.before), len(c.after)] for c in seen}
        seeds = [d["seed"] for d in mine.get("drills", [])]
        if len(set(seeds)) != len(seeds) or not all(seeds):
            self.facts["wrong"].append(f"the copies' seeds have the fingerprints {seeds}: each must have one of its own")
        epochs = {d["epoch"] for d in mine.get("drills", [])}
        if len(epochs) != 1:
            self.facts["wrong"].append(f"the copies are of the epochs {sorted(epochs)}, not of one")
        if "mixed of both hosts' randomness" not in self.b.log():
            self.facts["wrong"].append("no seed was mixed of both hosts' randomness: the primary's never arrived")
        self._judge_clock(seen)

    def _judge_clock(self, seen):
        mine, samples = self.facts["continuity"], self.facts["continuity"]["samples"]
        error, half, real = self.clock["after"]
        renewed = self.domain(self.b).get("agent", {}).get("last", {})
        bound = renewed.get("error_ms", 0) + half + READING_MS + self.drifted_ms
        mine.update(clock_error_ms=round(error, 3), clock_bound_ms=round(bound, 3),
                    clock_error_before_ms=round(self.clock["before"][0], 3), clock=renewed.get("clock"))
        back = max([samples["backwards_ns"], *(c.backwards_ns for c in seen)])
        mine["clock_backwards_ms"] = round(back / 1e6, 3)
        if samples["backwards"] or back or samples["jump_back_ns"] > JUMP_BACK_MS * 1e6 or real < self.clock["before"][2]:
            self.facts["wrong"].append(f"the guest's wall clock went backwards, by up to {back / 1e6:.3f} ms "
                                       f"({samples}) (I12)")
        if self.plan["agent"] and abs(error) > bound:
            self.facts["wrong"].append(f"the guest's clock is off by {error:.3f} ms after its renewal, the bound is "
                                       f"{bound:.3f} ms (I12)")
        if not self.plan["agent"]:
            self.facts["wrong"] += self.judge_uncorrected(error, bound)

    def judge_uncorrected(self, error, _bound):
        """A clock that nobody has set."""
        if error > -BEHIND_MS:
            yield (f"the guest's clock, which nobody corrected, is off by {error:.3f} ms only: this drill could not tell")


def lines(result):
    """The report's part for people."""
    c = result["continuity"]
    same = ", ".join(f"{names}: {equal} of {of}" for names, (equal, of) in c.get("same_draws", {}).items())
    yield f"renewed by {c['renewal']}; host b's clock {c['shift_s']:+g} s"
    for d in c.get("drills", []):
        yield (f"           copy of epoch {d['epoch']}: built in {d['build_ms']:.0f} ms, copied in {d['copy_ms']:.0f} ms, running "
               f"{d['activate_ms']:.0f} ms later, seed {d['seed']}")
    yield f"random     draws that both made: {same or 'not compared'}"
    if "clock_error_ms" in c:
        yield (f"clock      off by {c['clock_error_ms']:.3f} ms after it ({c['clock'] or 'nobody'}), bound "
               f"{c['clock_bound_ms']:.3f} ms; before the fault {c['clock_error_before_ms']:.3f} ms; backwards "
               f"{c['clock_backwards_ms']:.3f} ms in {c['samples']['readings']} readings")


def hold(drill):
    """As scenario.hold()."""
    facts = drill.hold()
    result = report.to_json(facts)
    result["continuity"] = facts["continuity"]
    return result, [*lines(result), *report.text(result)]


def table(results):
    """All variants, for people."""
    yield f"{'variant':32} {'random numbers':26} {'clock after it':>16} {'bound':>10} {'backwards':>10}  result"
    for result in results:
        c = result["continuity"]
        same = [equal for equal, _ in c.get("same_draws", {}).values()]
        drawn = "?" if not same else f"{min(same)} draws or more equal" if c["renewal"] == "none" else \
            f"{max(same)} equal, none renewed"
        error, bound = c.get("clock_error_ms"), c.get("clock_bound_ms")
        yield (f"{c['variant']:32} {drawn:26} {'?' if error is None else f'{error:.2f} ms':>16} "
               f"{'?' if bound is None else f'{bound:.2f} ms':>10} {c.get('clock_backwards_ms', '?'):>10}  {result['result']}")
