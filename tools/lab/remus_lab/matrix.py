# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab matrix`: what becomes of a protected guest when something is killed, cut or ended, case by case (cases.py) on
the same two hosts. Every case is walked the same way:

    the guest runs on host a, unprotected - protect it - epochs, and a client that talks over TCP - strike
    - one side goes on (or none) - what was killed is started again, what was cut is mended - unprotect if it stays
    protected - exactly one guest, running, heard from one host only - nothing is left on either host

A case that fails does not spoil the next: whatever then is not as it must be is ended, and a new guest is started.
The hosts count as dead after DEAD_MS of silence, not after the default: an emulated host on a loaded machine is
silent for longer than that now and then, and a false alarm would look like a failure of the case.
"""

import os
import time

from remus_drill import DrillError
from remus_drill.client import Client
from remus_drill.observer import Sniffer
from remus_drill.topology import ADDRESS, GUEST_IP4, GUEST_MAC
from remus_drill.waiting import wait_for

from . import LabError, cases, facts
from . import guest as guests
from .probe import ask
from .steps import Steps
from .xenhost import XenHost

DEAD_MS, HEARTBEAT_MS = 2000, 100
NOTICE_SLACK = 2.0     # s beyond DEAD_MS: for a busy emulator to get round to it
PROTECT_SECONDS = 90
STEADY_EPOCHS = 5
CONNECTIONS = 2
TALK_SECONDS = 3.0     # of traffic, before the strike and after it
SETTLE_SECONDS = 90    # for one side to go on
CLEAN_SECONDS = 25     # for what is under way to be cleared up
ROLE = {"a": "primary", "b": "backup"}
UNDER_WAY = ("starting", "connecting", "hello", "syncing", "protected", "claiming", "handing-over", "unprotecting",
             "preparing", "standby", "activating")


class MatrixHost(XenHost):
    """One whose facts can be asked for."""

    def facts(self):
        return facts.read(self.agent.must(facts.SCRIPT, 60))


class Matrix:
    """See above."""

    def __init__(self, lab, opts, machines, say):
        self.lab, self.opts, self.machines, self.say = lab, opts, machines, say
        self.plan = guests.plan_of(opts)
        self.guest = self.plan["type"] + "1"
        self.steps = Steps(say)
        self.hosts = {name: MatrixHost(machine) for name, machine in machines.items()}
        self.a, self.b = self.hosts["a"], self.hosts["b"]
        self.ailing, self.cut, self.polling = [], False, False
        self.struck, self.heard, self.rounds, self.seen, self.number = 0.0, 0.0, 0, None, None
        self.result = {}
        self.client, self.sniffers, self.arbiter = None, {}, None

    # ---- what strikes ask for ----
    def now(self, text):
        self.struck = time.monotonic()
        self.steps.note("  " + text)

    def wait(self, what, seconds, condition, every=0.3):
        return wait_for(what, seconds, condition, every)

    def domain(self, host):
        """The status of the guest on a host: of the session that lives, else the newest."""
        found = [d for d in host.domains() if d.get("name") == self.guest]
        return next((d for d in found if d.get("pid")), found[0] if found else {})

    def epochs_go_on(self):
        """Three more epochs since the strike, by what the host says now."""
        domain = self.domain(self.a)
        if domain.get("state") != "protected":
            raise LabError(f"host a says \"{domain.get('state')}\": {domain.get('reason')}")
        committed = domain["epochs"]["committed"]
        self.seen = self.seen or committed
        return committed >= self.seen + 3

    # ---- before a case ----
    def start_remusd(self, host, environment=""):
        host.start_remusd(environment)
        host.read_clock()

    def booted(self):
        from .inside import boot  # pylint: disable=import-outside-toplevel,cyclic-import
        dead = [host for host in self.hosts.values() if not host.machine.pid()]
        boot(self.lab, self.say)
        for host in dead:
            host.read_clock()

    def daemons(self, poll=False):
        """Both run; @poll: without the suspend event channel."""
        for host in self.hosts.values():
            if host.status_or_none():
                if poll == self.polling:
                    continue
                host.stop_remusd()
            self.start_remusd(host, "REMUS_XEN_SUSPEND=poll" if poll else "")
        self.polling = poll

    def where(self):
        """The hosts on which the guest is, "" = nowhere."""
        return "".join(name for name, host in self.hosts.items() if host.machine.pid() and
                       any(name == self.guest for name, *_ in guests.running(host.machine)))

    def bring_home(self):
        """The guest runs on host b: protected from there to a, then handed over."""
        with self.steps.step("  protected from b to a, and handed over to a", 200):
            self.protect("b", "a")
            self.b.ctl("failover", self.guest, timeout=60)
            self.wait("the guest to run on host a alone", 60, lambda: self.where() == "a")
        return self.dirt("a")

    def start_over(self):
        """Whatever is there, is ended."""
        cases.mend(self)
        for host in self.hosts.values():
            host.end_remusd()
            host.kill_named("remus-primary|remus-backup|remus-relay|remus-xen-keep*|libxl-save-help*")
            host.agent.run("""for d in $(xl list | awk 'NR > 2 {print $2}'); do xl destroy $d; done
                for i in $(ls /sys/class/net | grep ^remus); do ip link del $i; done
                rm -rf /run/remus/*""", 90)
            self.start_remusd(host)
        guests.start(self.steps, self.machines["a"], self.plan)

    def standby(self):
        """The standby's domain on host b, None."""
        found = self.b.facts().named(self.guest + "--incoming")
        return found[0].number if found else None

    def prepare(self, case):
        """Both hosts, both daemons, the guest on host a and nothing else. Returns what was wrong with its way there."""
        wrong = []
        self.booted()
        self.daemons(self.polling)
        at = self.where()
        if at == "b":
            wrong = self.bring_home()
        elif at != "a":
            if at:
                self.start_over()
            else:
                guests.start(self.steps, self.machines["a"], self.plan)
        self.daemons("poll" in case.options)
        return wrong

    def protect(self, source, target):
        self.rounds += 1
        self.arbiter = os.path.join(self.lab.share, f"arbiter-{self.rounds}")
        os.makedirs(self.arbiter)
        host = self.hosts[source]
        host.ctl("protect", self.guest, "--to", ADDRESS[target], "--interval", str(self.opts.interval), "--arbiter",
                 f"file:/lab/arbiter-{self.rounds}", "--dead", str(DEAD_MS), "--heartbeat", str(HEARTBEAT_MS),
                 timeout=PROTECT_SECONDS)

        def steady():
            domain = self.domain(host)
            if domain.get("state") in ("solo", "ended", "failed", "discarded"):
                raise LabError(f"protection from {source} to {target} ended: {domain.get('reason')}")
            return domain.get("protected") and domain["epochs"]["committed"] >= STEADY_EPOCHS
        self.wait(f"{STEADY_EPOCHS} epochs", PROTECT_SECONDS, steady)

    def talk(self):
        for name in "ab":
            self.sniffers[name] = Sniffer(f"lan-{name}", GUEST_MAC)
            self.sniffers[name].start()
        self.client = Client(CONNECTIONS, f"{self.opts.seed}/{self.rounds}")
        self.client.connect(30)
        self.client.start()
        time.sleep(TALK_SECONDS)
        self.wait("answers under protection", 20,
                  lambda since=time.monotonic() - 1: self.client.all_answered_since(since))

    # ---- after the strike ----
    def settled(self, case):
        """Does the client hear from one side, has every session come to its end?"""
        at = self.where()
        if case.survivors and len(at) != 1 or not case.survivors and at:
            return False
        if "stays" in case.options:
            return True
        return all(self.domain(host).get("state", "none") not in UNDER_WAY
                   for host in self.hosts.values() if host.machine.pid() and host not in self.ailing)

    def settle(self, case):
        if "reboot" in case.options:
            old = self.number
            self.wait("the rebooted guest to answer", SETTLE_SECONDS, lambda: self.number_now() not in (old, None)
                      and ask(GUEST_IP4, guests.ECHO_UDP))
        elif case.survivors:
            self.wait("every connection to get an answer after the strike", SETTLE_SECONDS,
                      lambda: self.client.all_answered_since(self.struck), 0.05)
            self.heard = time.monotonic()
        self.wait("one side to go on and the other to give up" if case.survivors else "the guest to be gone",
                  SETTLE_SECONDS, lambda: self.settled(case), 0.5)

    def number_now(self):
        return next((n for name, n, _ in guests.running(self.machines["a"]) if name == self.guest), None)

    def mend(self, case):
        """What the strike took away is given back; whoever starts again clears up."""
        if self.cut:
            cases.mend(self)
            self.cut = False
        for host in self.ailing:
            self.start_remusd(host)
        self.ailing = []
        if "stays" in case.options:
            self.a.ctl("unprotect", self.guest, timeout=40)

    def dirt(self, at):
        """What is left, once everything has had its time."""
        found = []

        def clean():
            found[:] = [f"host {name}: {line}" for name, host in self.hosts.items() if host.machine.pid()
                        for line in facts.left(host.facts(), self.guest, name == at)]
            return not found
        try:
            self.wait("nothing to be left", CLEAN_SECONDS, clean, 1)
        except DrillError:
            pass
        return found

    def heard_from(self, seconds=TALK_SECONDS):
        """The hosts that the guest's frames come from, as the world sees them."""
        since = time.monotonic()
        until = since + seconds
        while time.monotonic() < until:
            ask(GUEST_IP4, guests.ECHO_UDP, 0.5)
            time.sleep(0.1)
        return "".join(n for n, s in self.sniffers.items() if any(t > since * 1e6 for t in s.frames))

    def first_notice(self, host):
        """When a host said that it misses the other one; None."""
        return min((e["mono_us"] / 1e6 for e in host.events() if e.get("kind") in ("primary-lost", "backup-lost")
                    and e["mono_us"] / 1e6 > self.struck - 0.5), default=None)

    def judge_notice(self, case):
        first, other = (self.hosts[n] for n in (case.noticed_by, "b" if case.noticed_by == "a" else "a"))
        seen, later = self.first_notice(first), self.first_notice(other)
        self.result["noticed_ms"] = seen and round((seen - self.struck) * 1000)
        if seen is None:
            yield f"host {first.name} never said that it misses the other"
        elif seen - self.struck > DEAD_MS / 1000 + NOTICE_SLACK:
            yield f"host {first.name} missed the other only {seen - self.struck:.1f} s after the cut"
        elif later is not None and later < seen - 0.05:
            yield f"host {other.name} noticed {seen - later:.2f} s before host {first.name}, which hears nothing"

    def judge_record(self, case, at):
        records = os.listdir(self.arbiter)
        won = [r for r in records if r.endswith("." + ROLE.get(at, "?"))]
        if case.record == "none" and records:
            yield f"the arbiter's folder keeps {', '.join(records)}"
        if case.record == "one" and (len(records) != 1 or len(won) != 1):
            yield f"the arbiter's folder has {', '.join(records) or 'no record'}, expected one of the {ROLE.get(at)}"

    def judge_client(self, case):
        tally = self.client.tally
        self.result.update(replies=tally.replies, rolled_back=tally.rolled_back)
        if tally.rolled_back:
            yield f"the client's counter was rolled back {tally.rolled_back} times: {'; '.join(tally.notes)}"
        if tally.corrupt:
            yield f"{tally.corrupt} replies were corrupt"
        if case.survivors and "reboot" not in case.options and tally.resets:
            yield f"{tally.resets} connections were reset: {'; '.join(tally.notes)}"

    def judge(self, case):
        at = self.where()
        self.result["survivor"] = at
        if case.survivors and (len(at) != 1 or at not in case.survivors):
            yield f"the guest is on host \"{at}\", expected was one of \"{case.survivors}\""
        heard = self.heard_from()
        if heard != (at if case.survivors else ""):
            yield f"the guest is heard from host \"{heard}\", and is on \"{at}\""
        if case.survivors and "reboot" not in case.options:
            moment = time.monotonic() - TALK_SECONDS
            try:
                self.wait("the connections to go on", 20, lambda: self.client.all_answered_since(moment))
            except DrillError as e:
                yield str(e)
            self.result["stall_ms"] = round(self.client.stall(self.struck, self.heard) * 1000)
        if case.noticed_by:
            yield from self.judge_notice(case)
        yield from (f"left: {line}" for line in self.dirt(at))
        yield from self.judge_record(case, at)
        yield from self.judge_client(case)

    # ---- one case ----
    def walk(self, case):
        self.seen = None
        self.result["failures"] += self.prepare(case)
        with self.steps.step(f"{case.name}: protected, steady, the client talks", 2 * PROTECT_SECONDS):
            self.protect("a", "b")
            self.number = self.number_now()
            if ("polled" in self.domain(self.a).get("tracking_note", "")) != ("poll" in case.options):
                raise LabError(f"how suspends are waited for: \"{self.domain(self.a).get('tracking_note')}\"")
            self.talk()
        if not case.survivors or "reboot" in case.options:
            self.client.stop()
        case.strike(self)
        if "mend" in case.options:
            time.sleep(TALK_SECONDS)
            self.mend(case)
        self.settle(case)
        self.mend(case)
        self.result["failures"] += list(self.judge(case))
        if "back" in case.options:
            self.booted()
            self.daemons()
            self.result["failures"] += self.bring_home()
            self.wait("the connections to go on at host a", 30,
                      lambda since=time.monotonic(): self.client.all_answered_since(since))
            self.result["failures"] += list(self.judge_client(case))

    def end_talk(self):
        if self.client:
            self.client.stop()
        for sniffer in self.sniffers.values():
            sniffer.stop()
        self.client, self.sniffers = None, {}

    def one(self, case):
        began = time.monotonic()
        self.result = {"case": case.name, "text": case.text, "survivor": "", "stall_ms": None, "failures": []}
        try:
            self.walk(case)
        except DrillError as e:
            self.result["failures"].append(str(e))
        finally:
            self.end_talk()
        self.result["seconds"] = round(time.monotonic() - began, 1)
        self.result["result"] = "fail" if self.result["failures"] else "pass"
        self.steps.note(f"{case.name}: {self.result['result']}")
        if self.result["failures"]:
            self.say("\n".join("        " + line for line in self.result["failures"]))
            self.recover()
        return self.result

    def recover(self):
        try:
            self.booted()
            self.ailing, self.cut = [], False
            self.start_over()
        except DrillError as e:
            self.say(f"        starting over: {e}")
            for host in self.hosts.values():
                host.machine.kill()


def lines(result):
    """The table."""
    text = [f"{'case':13} {'':58} {'result':6} {'at':2} {'stall':>8} {'s':>6}"]
    for one in result["cases"]:
        stall = "" if one["stall_ms"] is None else f"{one['stall_ms']} ms"
        text.append(f"{one['case']:13} {one['text']:58} {one['result']:6} {one['survivor'] or '-':2} {stall:>8} "
                    f"{one['seconds']:6.0f}")
        text += [f"              {failure}" for failure in one["failures"]]
    return text + [f"{result['passed']} passed, {result['failed']} failed"]


def hold(lab, opts, machines, say):
    """The JSON object."""
    chosen = [case for case in cases.CASES if not opts.only or case.name in opts.only]
    matrix = Matrix(lab, opts, machines, say)
    done = [matrix.one(case) for case in chosen]
    for host in matrix.hosts.values():
        if host.machine.pid():
            host.end_remusd()
    failed = sum(one["result"] == "fail" for one in done)
    return {"interval_ms": opts.interval, "dead_ms": DEAD_MS, "cases": done, "passed": len(done) - failed,
            "failed": failed, "result": "fail" if failed else "pass"}
