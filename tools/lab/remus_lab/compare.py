# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab compare`: xl remus and remus, one after the other, on the same two hosts, with a guest that is started in the
same way, under the same load, with the same run time between checkpoints, looked at by the same client.

With --rounds each is measured several times, in turns, and the medians are given: the machine's own speed may change by
half within minutes.

For each: start the guest on host a - protect it - let it settle - measure for a while - cut host a's power - see
when the client hears again, and whether the guest was rolled back behind what it had shown.

All times of a side are in its own log's or status's clock; what is compared are differences and rates.
"""

import os
import statistics
import time

from remus_drill.topology import GUEST_IP4

from . import LabError, network
from . import guest as guests
from . import remus_side, xlremus
from .probe import Probe, percentile
from .steps import Steps

SETTLE = 3          # checkpoints before anything is measured
PROTECT_SECONDS = 240  # xl's first copy: 10 s on an idle machine, 80 on one with four other busy emulators
HEAR_SECONDS = 60   # for the survivor to answer
LISTEN_SECONDS = 3  # after that, for rollbacks


def quantiles(values):
    """{"p50", "p99", "max"}, whole numbers."""
    return {"p50": round(percentile(values, 50)), "p99": round(percentile(values, 99)),
            "max": round(max(values, default=0))}


def xl_figures(checkpoints, seconds):
    """What a list of xl's checkpoints says."""
    pauses = [c.resumed - c.ack for c in checkpoints]
    split = [xlremus.parts(c) for c in checkpoints]
    return {"checkpoints": len(checkpoints), "checkpoints_per_s": round(len(checkpoints) / seconds, 2),
            "pause_us": quantiles(pauses),
            "pause_parts_us": {k: round(percentile([s[k] for s in split], 50)) for k in ("suspend", "copy", "resume")},
            "outside_suspend_us": quantiles([c.resumed - c.suspended for c in checkpoints]),
            "pages_sent": sum(c.dirty for c in checkpoints), "dirty_pages": sum(c.dirty for c in checkpoints)}


class XlSide:
    """Measures xl remus."""

    name = "xl remus"

    def __init__(self, hosts, guest, interval, _):
        self.hosts = hosts
        self.xl = xlremus.XlRemus(hosts, guest, interval)

    def protect(self, step):
        self.xl.start()
        step.wait(f"{SETTLE} checkpoints of xl remus", lambda: len(self.xl.checkpoints()) >= SETTLE, 0.2)

    def begin(self):
        return len(self.xl.checkpoints())

    def figures(self, since, seconds):
        return xl_figures(self.xl.checkpoints()[since:], seconds)

    def survivor(self):
        return self.xl.survivor()

    def end(self):
        pass


SIDES = {"xl": XlSide, "remus": remus_side.RemusSide}


class Comparison:
    """Both sides, the one after the other."""

    def __init__(self, lab, opts, hosts, say):
        self.lab, self.opts, self.hosts = lab, opts, hosts
        self.steps = Steps(say)
        self.say = say

    def clean(self):
        """Two fresh hosts: what ran on them is gone for certain, and both sides find the same."""
        from .inside import boot  # pylint: disable=import-outside-toplevel,cyclic-import
        if any(guests.running(host) for host in self.hosts.values() if host.pid()):
            for host in self.hosts.values():
                host.kill()
        boot(self.lab, self.say)

    def measure(self, side, probe):
        """The steady state."""
        seconds = self.opts.seconds
        since, start = side.begin(), time.monotonic()
        wire = network.octets("repl-a", "receive")
        time.sleep(seconds)
        took = time.monotonic() - start
        result = side.figures(since, took)
        result["wire_bytes"] = network.octets("repl-a", "receive") - wire
        for what in ("wire_bytes", "pages_sent"):
            result[what + "_per_checkpoint"] = round(result[what] / max(1, result["checkpoints"]), 1)
        result["load"] = round(os.getloadavg()[0], 1)  # of this machine: above its processors, trust no figure
        rtts = probe.record.between(start, start + took)
        result["rtt_ms"] = {"p50": round(percentile(rtts, 50), 1), "p99": round(percentile(rtts, 99), 1),
                            "answers": len(rtts)}
        result["rollbacks_before"] = len(probe.record.rollbacks)
        return result

    def fail_over(self, side, probe):
        """Host a's power is cut."""
        record = probe.record
        rollbacks = len(record.rollbacks)
        with self.steps.step(f"host a dies; the guest of {side.name} answers from host b", HEAR_SECONDS) as step:
            killed = time.monotonic()
            self.hosts["a"].kill()
            step.wait("an answer from the survivor", lambda: record.last > killed + 0.1, 0.02)
            time.sleep(LISTEN_SECONDS)
        rolled = record.rollbacks[rollbacks:]
        return {"stall_ms": round(record.silence_from(killed, time.monotonic()) * 1000),
                "rollbacks": len(rolled), "rolled_back_by": max((was - got + 1 for _, was, got in rolled), default=0),
                "survivor": side.survivor()}

    def one(self, which):
        plan = guests.plan_of(self.opts)
        self.clean()
        guest = guests.start(self.steps, self.hosts["a"], plan)
        side = SIDES[which](self.hosts, guest, self.opts.interval, self.lab)
        probe = Probe(GUEST_IP4, guests.ECHO_UDP)
        try:
            with self.steps.step(f"{side.name} protects it", PROTECT_SECONDS) as step:
                side.protect(step)
            probe.start()
            with self.steps.step(f"{side.name} is measured", self.opts.seconds + 30):
                time.sleep(1)
                result = self.measure(side, probe)
            if not result["checkpoints"]:
                raise LabError(f"{side.name} made no checkpoint within {self.opts.seconds:g} s")
            result["failover"] = self.fail_over(side, probe)
        finally:
            if probe.is_alive():
                probe.stop()
            side.end()
        return result


def per_dirty_page(sides):
    """Bytes on the wire per dirty page, added to each side. How many pages are dirty Xen's log tells, which xl reads and
    clears at each checkpoint; remus leaves pages in it and sends what has changed of them. The guest and its load are
    the same: what xl finds in a checkpoint holds for both."""
    xl = sides.get("xl", {})
    dirty = xl.get("dirty_pages", 0) / max(1, xl.get("checkpoints", 0))
    for side in sides.values():
        if dirty and "wire_bytes_per_checkpoint" in side:
            side["wire_bytes_per_dirty_page"] = round(side["wire_bytes_per_checkpoint"] / dirty, 1)


def judge(result):
    """What was not as it must be; a sentence each. xl remus may roll back, remus may not."""
    failures = []
    for which, side in result["sides"].items():
        if "error" in side:
            failures.append(f"{which}: {side['error']}")
        elif not side["failover"]["survivor"]:
            failures.append(f"{which}: the guest does not run on host b after the failover")
    remus = result["sides"].get("remus", {})
    if remus.get("failover", {}).get("rollbacks") or remus.get("rollbacks_before"):
        failures.append("remus: the guest's counter was rolled back")
    return failures


def order(names, count):
    """Who is measured when: this way round, then the other, so that a machine whose speed drifts favours nobody."""
    return [names if i % 2 == 0 else names[::-1] for i in range(count)]


def middle(measured):
    """One side's figures of several rounds: the median of each number; true if it was so each time."""
    first = measured[0]
    if isinstance(first, dict):
        return {key: middle([m[key] for m in measured]) for key in first if all(key in m for m in measured)}
    if isinstance(first, bool):
        return all(measured)
    found = statistics.median(measured)
    return round(found) if all(isinstance(m, int) for m in measured) else round(found, 2)


def summary(rounds):
    """The sides' figures of all rounds; one that could not be measured each time has an error instead."""
    sides = {}
    for which in rounds[0]:
        broken = [r[which] for r in rounds if "error" in r[which]]
        sides[which] = broken[0] if broken else middle([r[which] for r in rounds])
    return sides


def hold(lab, opts, hosts, say):
    """The result, as --json prints it."""
    result = {"guest": {"type": opts.guest_type, "memory_mib": opts.guest_memory, "dirty_pages_per_s": opts.dirty},
              "interval_ms": opts.interval, "seconds": opts.seconds, "rounds": []}
    comparison = Comparison(lab, opts, hosts, say)
    names = [opts.only] if opts.only else ["xl", "remus"]
    for turn in order(names, opts.rounds):
        measured = {}
        for which in turn:
            try:
                measured[which] = comparison.one(which)
            except LabError as e:
                say(f"{which}: {e}")
                measured[which] = {"error": str(e)}
        per_dirty_page(measured)
        result["rounds"].append({which: measured[which] for which in names})
    result["sides"] = summary(result["rounds"])
    result["failures"] = [failure for r in result["rounds"] for failure in judge({"sides": r})]
    result["result"] = "fail" if result["failures"] else "pass"
    return result
