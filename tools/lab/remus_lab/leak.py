# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab leak`: does anything that a protected guest sends reach the LAN before it may (I1, I6)?

The guest sends numbered frames of every kind all the time (tools/common/frame-kinds.h). They are seen when they enter
host a, at its vif, and when they come out of it, on the lab's bridge. leak.md says what is done and why; listen.py
hears, leakage.py judges. In short:

    unprotected, protected - the receiver on host b stands still, twice - control: a filter lets ARP by; control: the
    redirect is gone; the same judgement has to find both - a foreign filter is refused - protected anew, the receiver
    stands still, the engine is killed - plug-check in host b's dom0
"""

import collections
import glob
import os
import time

from remus_drill import DrillError, observer
from remus_drill.topology import ADDRESS, GUEST_MAC

from . import LabError, leakage, plugcheck
from . import guest as guests
from .listen import Acks, GuestFrames
from .steps import Steps
from .xenhost import XenHost

PORT = 7368
PASSING = 3.0     # s unprotected
STALL = 2.0       # s that the receiver stands still
DRAIN = 0.3       # s that frames acknowledged before a stall may take to the LAN
CONTROL = 4.0     # s with a hole
TIMING = ("--heartbeat", "500", "--dead", "30000")  # no stall looks like a dead host
VIF_CAPTURE = "/run/leak.capture"
REPL_MAC_B = "52:54:00:78:01:02"
# Ours (matchall, handle "remu") goes to priority 2, and before it comes one that keeps ARP on its way.
HOLE = """set -e
i=$(cat /sys/class/net/%(vif)s/ifindex)
tc filter add dev %(vif)s ingress prio 2 protocol all handle 0x72656d75 matchall action mirred egress redirect dev remus-$i
tc filter del dev %(vif)s ingress prio 1
tc filter add dev %(vif)s ingress prio 1 protocol arp matchall classid 1:1"""
FOREIGN = "tc qdisc add dev %(vif)s ingress && tc filter add dev %(vif)s ingress prio 5 protocol ip matchall classid 1:1"
NO_INGRESS = "tc qdisc del dev %(vif)s ingress"


def now_us():
    return time.monotonic_ns() // 1000


class Leak:
    """See above."""

    def __init__(self, lab, opts, machines, say):
        self.lab, self.opts, self.machines, self.say = lab, opts, machines, say
        self.steps = Steps(say)
        self.hosts = {name: XenHost(machine) for name, machine in machines.items()}
        self.a, self.b = self.hosts["a"], self.hosts["b"]
        self.arbiter = os.path.join(lab.share, "leak-arbiter")
        self.checks, self.facts, self.stalls = [], {}, []
        self.listeners = []
        self.kinds, self.entries, self.capture_pid, self.vif, self.name = (), None, None, None, None

    def check(self, name, good, detail=""):
        self.checks.append({"check": name, "passed": bool(good), "detail": detail})
        self.say(f"{'ok      ' if good else 'FAILED  '}{name}{': ' + detail if detail else ''}")

    # ---- set up ----
    def set_up(self):
        os.makedirs(self.arbiter, exist_ok=True)
        for host in self.hosts.values():
            host.read_clock()
            host.start_remusd(plaintext=True)  # the ACKs are to be seen on their way
        plan = dict(guests.plan_of(self.opts), frames=self.opts.rate)
        if guests.running(self.machines["a"]) or guests.running(self.machines["b"]):
            raise LabError("a guest runs already; this test starts its own, which sends frames: \"lab down\" first")
        self.name = guests.start(self.steps, self.machines["a"], plan)
        number = next(i for n, i, _ in guests.running(self.machines["a"]) if n == self.name)
        self.vif = f"vif{number}.0"
        self.lan, self.lan_b = GuestFrames("lan-a", GUEST_MAC), GuestFrames("lan-b", GUEST_MAC)
        self.acks = Acks("repl-b", REPL_MAC_B, PORT)
        self.listeners = [self.lan, self.lan_b, self.acks]
        self.capture_pid = self.a.agent.must(
            f"(setsid remus-lab-agent capture {self.vif} >{VIF_CAPTURE} 2>&1 </dev/null & echo $!)", 10).strip()
        with self.steps.step(f"frames are seen at {self.vif}", 10) as step:
            step.wait("the capture", lambda: self.a.agent.run(f"head -2 {VIF_CAPTURE} | wc -l", 5).out.strip() == "2",
                      0.2)
        header = self.a.agent.must(f"head -1 {VIF_CAPTURE}", 5)
        self.kinds = leakage.Entries(header).kinds
        for listener in self.listeners:
            listener.start()

    def kind(self, number):
        return self.kinds[number % len(self.kinds)]

    def flows(self, since):
        """Has every kind been seen on the LAN since then?"""
        return {self.kind(n) for t, n in list(self.lan.frames) if n is not None and t >= since} == set(self.kinds)

    def wait_flow(self, text, since, seconds=30):
        try:
            with self.steps.step(text, seconds) as step:
                step.wait("a frame of every kind on the LAN", lambda: self.flows(since), 0.1)
            return True
        except LabError as e:
            self.say(str(e))
            return False

    def domain(self, host):
        found = sorted(host.domains(), key=lambda d: bool(d.get("protected")))
        return found[-1] if found else {}

    def protect(self):
        with self.steps.step("host b protects it", 90) as step:
            self.a.ctl("protect", self.name, "--to", ADDRESS["b"], "--interval", str(self.opts.interval), "--arbiter",
                       "file:/lab/leak-arbiter", "--insecure", *TIMING, timeout=step.left())
            step.wait("the guest to be protected", lambda: self.domain(self.a).get("protected"), 0.3)

    def signal(self, host, name):
        """A signal to the engine or the receiver; when it had been sent for certain."""
        pid = int(self.domain(host).get("pid") or 0)
        if not pid:
            raise LabError(f"host {host.name}'s status names no process")
        host.agent.must(f"kill -{name} {pid}", 10)
        return pid, now_us()

    # ---- the phases ----
    def passing(self):
        start = now_us()
        time.sleep(PASSING)
        self.facts["passing"] = (start, now_us())

    def protected(self):
        self.protect()
        self.facts["protected"] = now_us()
        with self.steps.step("protected", self.opts.seconds + 5):
            time.sleep(self.opts.seconds)

    def stall(self):
        pid, stopped = self.signal(self.b, "STOP")
        time.sleep(STALL)
        going = now_us()
        self.b.agent.must(f"kill -CONT {pid}", 10)
        again = self.wait_flow("the receiver stood still and goes on", now_us())
        self.stalls.append((stopped, going, again))

    def control(self, which, script):
        self.a.agent.must(script % {"vif": self.vif}, 20)
        start = now_us()
        with self.steps.step(f"control: {which}", CONTROL + 5):
            time.sleep(CONTROL)
        return start, now_us()

    def controls(self):
        self.facts["controlled"] = now_us()
        self.facts["hole"] = self.control("a filter lets ARP by", HOLE)
        self.facts["open"] = self.control("the redirect is gone", NO_INGRESS)
        with open(os.path.join(self.machines["a"].folder, "remusd.log"), encoding="utf-8", errors="replace") as f:
            self.check("the engine noticed that somebody changed the filters",
                       "removed the filter that leads" in f.read())

    def refused(self):
        self.a.ctl("unprotect", self.name, timeout=30)
        self.a.agent.must(FOREIGN % {"vif": self.vif}, 10)
        try:
            self.protect()
            said = "it was not refused"
        except DrillError as e:
            said = str(e)
        self.check("a foreign ingress filter is refused", "isn't of remus" in said, said[-160:].replace("\n", " "))
        self.a.agent.must(NO_INGRESS % {"vif": self.vif}, 10)

    def claim(self):
        """When host a's claim came about (µs), None = not yet. The folder is this machine's, and so is the time."""
        for path in glob.glob(self.arbiter + "/*.primary"):
            return (os.stat(path).st_ctime_ns + observer.monotonic_offset()) // 1000
        return None

    def killed(self):
        self.protect()
        time.sleep(3)
        receiver, stopped = self.signal(self.b, "STOP")
        time.sleep(STALL)
        _, killed = self.signal(self.a, "KILL")
        with self.steps.step("the engine was killed; host a claims", 30) as step:
            step.wait("the claim", lambda: self.claim() is not None, 0.01)
        self.facts["killed"] = (stopped, killed, self.claim())
        self.facts["killed_flow"] = self.wait_flow("every kind flows without protection", self.claim())
        self.b.agent.must(f"kill -CONT {receiver}", 10)
        with self.steps.step("host b drops its standby", 30) as step:
            step.wait("the standby's end", lambda: not guests.running(self.machines["b"]), 0.3)

    # ---- the verdict ----
    def collect(self):
        self.a.agent.must(f"kill {self.capture_pid}; sleep 0.5", 10)
        self.entries = leakage.Entries(self.a.agent.must(f"cat {VIF_CAPTURE}", 60))
        for listener in self.listeners:
            listener.stop()
        self.trace = sum((observer.read_trace(p) for p in glob.glob(f"{self.a.trace}/*.primary.trace")), [])
        lost = [listener.lost for listener in self.listeners] + [self.entries.lost]
        self.check("no observer lost a frame", lost == [0, 0, 0, 0], f"lan-a, lan-b, repl-b, {self.vif}: {lost}")
        sessions = leakage.sessions(self.trace)
        acks = list(self.acks.acks.values())
        if len(sessions) != 2 or len(acks) != 2:
            raise LabError(f"the trace tells of {len(sessions)} sessions, the link of {len(acks)}; there were two")
        self.judges = [leakage.Judge(self.entries, s, a) for s, a in zip(sessions, acks)]

    def silent(self, start, end):
        """What was seen of the guest on the LAN, and how many frames entered meanwhile, by kind (the latter by clocks
        that are only about the same: a count, no verdict)."""
        seen = [t for t, _ in self.lan.frames if start <= t < end]
        offset = self.a.offset_us
        entered = collections.Counter(
            self.kind(n) for n, t in self.entries.entered.items() if start <= t + offset < end)
        return seen, entered

    def check_silence(self, name, start, end):
        seen, entered = self.silent(start, end)
        least = min((entered.get(k, 0) for k in self.kinds), default=0)
        self.check(f"{name}: nothing of the guest on the LAN", not seen and end > start,
                   f"{len(seen)} frames within {(end - start) / 1e6:.2f} s")
        self.check(f"{name}: every kind was sent meanwhile", least > 0,
                   f"{sum(entered.values())} frames, at least {least} of each kind")

    def check_window(self, name, judge, start, end):
        early, checked, strange = judge.judge(self.lan.frames, start, end)
        lacking = leakage.missing(self.kinds, checked)
        self.check(f"{name}: every kind flows", not lacking, f"lacking: {', '.join(lacking)}" if lacking else
                   ", ".join(f"{k} {checked[k]}" for k in self.kinds))
        self.check(f"{name}: no frame before the ACK of its epoch", not early,
                   f"{sum(checked.values())} frames, {len(early)} early" + "".join(
                       f"; {e.kind} {e.number} of epoch {e.epoch} at {e.seen}, ACK at {e.acked}" for e in early[:5]))
        self.check(f"{name}: each was seen at the vif first", not strange, f"{strange[:5]}" if strange else "")
        self.facts[name] = {"checked": dict(checked), "early": len(early)}

    def check_control(self, name, window, expected):
        early, checked, _ = self.judges[0].judge(self.lan.frames, *window)
        found = {e.kind for e in early}
        self.check(f"{name}: the leak is found", found == set(expected),
                   f"{len(early)} of {sum(checked.values())} frames early, kinds: {', '.join(sorted(found)) or 'none'}")

    def judge(self):
        start, end = self.facts["passing"]
        lacking = leakage.missing(self.kinds, leakage.kinds_seen(self.entries, self.lan.frames, start, end))
        self.check("unprotected: every kind flows", not lacking, ", ".join(lacking))
        self.check_window("protected", self.judges[0], start, self.facts["controlled"])
        for i, (stopped, going, again) in enumerate(self.stalls, 1):
            self.check_silence(f"stall {i}", stopped + int(DRAIN * 1e6), going)
            self.check(f"stall {i}: every kind flows again", again)
        self.check_control("control, ARP let by", self.facts["hole"], ["arp"])
        self.check_control("control, no redirect", self.facts["open"], self.kinds)
        self.judge_kill()
        stray = [n for _, n in self.lan_b.frames if n is not None]
        self.check("nothing of the guest came out of host b", not stray, f"{stray[:5]}" if stray else "")
        before, after, quiet = leakage.standing_still(self.entries, self.trace)
        self.facts["standing_still"] = {"before_seal": before, "after_seal": after, "quiet_us": quiet}
        self.say(f"        frames that entered while the guest stood still: {before} before the seal, {after} after it "
                 f"(counted to the next epoch: late, not early); the shortest time from a frame to a stop: {quiet} µs")

    def judge_kill(self):
        stopped, killed, claim = self.facts["killed"]
        self.check_window("before the kill", self.judges[1], self.facts["open"][1], killed)
        self.check_silence("engine killed, until the claim", stopped + int(DRAIN * 1e6), claim)
        first_seen = {}
        for t, n in self.lan.frames:
            first_seen.setdefault(n, t)
        offset, uncertain = self.a.offset_us, self.a.uncertain_us
        held = [n for n, t in self.entries.entered.items()
                if t + offset < killed - uncertain and stopped + DRAIN * 1e6 < t + offset]
        out = [n for n in held if n in first_seen]
        self.check("engine killed: what was held at that moment", held and all(first_seen[n] >= claim for n in out),
                   f"{len(held)} frames: {len(held) - len(out)} dropped, {len(out)} out after the claim; killed to claim "
                   f"{(claim - killed) / 1000:.0f} ms")
        self.check("engine killed: every kind flows after the claim", self.facts["killed_flow"])
        kinds = [e["kind"] for e in self.a.events()]
        order = [kinds.index(k) if k in kinds else -1 for k in ("engine-died", "claim-won")]
        self.check("the events tell: engine-died, then claim-won", -1 < order[0] < order[1], ", ".join(kinds[-6:]))

    def plug_check(self):
        good, said = plugcheck.run(self.machines["b"])
        self.check("plug-check in host b's dom0", good, said.splitlines()[-1] if good else said[-600:])

    def hold(self):
        try:
            for phase in (self.set_up, self.passing, self.protected, self.stall, self.stall, self.controls,
                          self.refused, self.killed, self.collect, self.judge, self.plug_check):
                phase()
        except (DrillError, OSError) as e:
            self.check(f"the test went through ({type(e).__name__})", False, str(e))
        finally:
            for host in self.hosts.values():
                if host.machine.pid():
                    host.end_remusd()
        passed = sum(c["passed"] for c in self.checks)
        failed = len(self.checks) - passed
        facts = {k: v for k, v in self.facts.items() if isinstance(v, dict)}
        return {"checks": self.checks, "passed": passed, "failed": failed, "facts": facts,
                "clock": {"host_a_offset_us": self.a.offset_us, "uncertain_us": self.a.uncertain_us},
                "result": "fail" if failed or not passed else "pass"}


def hold(lab, opts, machines, say):
    return Leak(lab, opts, machines, say).hold()
