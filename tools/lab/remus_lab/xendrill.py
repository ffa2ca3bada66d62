# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab drill`: the drill (remus_drill/scenario.py) on Xen. The same steps, the same client, the same verdict; what
differs is how a host is killed and asked, and that there are three clocks: the observer's and one in each dom0. The
dom0s' are read by question and answer, and an ack counts from the earliest moment that it can have had: a frame
that was released right after its ack is not called early because a clock was read badly.
"""

import os
import random
import tempfile
import time

from remus_drill import DrillError, observer, report, scenario
from remus_drill.client import Client
from remus_drill.topology import ADDRESS, GUEST_MAC
from remus_drill.waiting import wait_for

from . import guest as guests
from . import network
from .steps import Steps
from .xenhost import XenHost

ASK_EVERY = 2.0  # s: each question costs dom0 a good part of a second


class Taps:
    """The links of the hosts, as the scenario asks for them."""

    @staticmethod
    def host_ports(name):
        return [f"lan-{name}", f"repl-{name}"]

    @staticmethod
    def replication_ports():
        return ["repl-a", "repl-b"]


class XenDrill(scenario.Drill):
    """See above."""

    backend = "xen"
    protected_within = 30
    survivor_talks = 60
    keep_talking = 3.0
    settled_within = 30
    powered_off_within = 30
    silent_start = False
    more_options = ()  # of protect
    protect_seconds = 60

    def __init__(self, lab, opts, machines, say, **more):
        seed = opts.seed if opts.seed is not None else random.randrange(1, 10**6)
        plan = {"kill": opts.kill, "memory": opts.guest_memory, "interval": opts.interval, "seed": seed,
                "seconds": opts.seconds, "connections": opts.connections, "agent": opts.agent, **more}
        folder = tempfile.mkdtemp(prefix="drill-", dir=lab.share)
        super().__init__(plan, folder, say)
        self.lab, self.machines = lab, machines
        self.guest_plan = {**guests.plan_of(opts), "agent": self.plan["agent"], "sample_ms": self.plan.get("sample_ms", 0)}
        self.arbiter_uri = f"file:/lab/{os.path.basename(folder)}/arbiter" if self.arbiter else self.decider.uri
        self.steps = Steps(say)
        self.asked = 0.0

    # ---- the way to protection ----
    def prepare(self, host):
        host.read_clock()
        host.agent.must(f"rm -f /lab/{host.name}/trace/*", 10)  # of an earlier drill in this lab

    def build(self):
        self.topology = Taps()
        self.hosts = {name: XenHost(machine) for name, machine in self.machines.items()}
        self.a, self.b = self.hosts["a"], self.hosts["b"]
        for name, host in self.hosts.items():
            self.prepare(host)
            host.start_remusd()
            self.sniffers[name] = observer.Sniffer(f"lan-{name}", GUEST_MAC)
            self.sniffers[name].start()
        self.step("each host runs remusd")
        self.name = self.guest_plan["type"] + "1"
        if not any(n == self.name for n, *_ in guests.running(self.machines["a"])):
            guests.start(self.steps, self.machines["a"], self.guest_plan)

    def protect(self):
        self.a.ctl("protect", self.name, "--to", ADDRESS["b"], "--interval", str(self.plan["interval"]), "--arbiter",
                   self.arbiter_uri, *self.more_options, timeout=self.protect_seconds)
        wait_for("host a to say that the guest is protected", self.protected_within,
                 lambda: self.domain(self.a).get("protected"), 0.5)
        self.step("the guest is protected by host b")

    def run(self):
        self.client = Client(self.plan["connections"], self.plan["seed"])
        self.client.connect(30)
        self.client.start()
        until = time.monotonic() + self.plan["seconds"] + random.Random(self.plan["seed"]).uniform(0, 1)
        self.step(f"{self.plan['connections']} connections are open and talk")
        self.note_status()
        while (rest := until - time.monotonic()) > 0:
            time.sleep(min(0.25, rest))
            self.client.check()
            if time.monotonic() - self.asked > ASK_EVERY and rest > ASK_EVERY:
                self.note_status()

    def note_status(self):
        super().note_status()
        self.asked = time.monotonic()

    # ---- the faults ----
    def _fault_engine(self, status):
        pid = int(status.get("pid") or 0)
        if not pid:
            raise DrillError("host a's status names no engine process")
        self._now(f"FAULT: the engine on host a is killed (pid {pid})")
        self.a.agent.must(f"kill -9 {pid}", 10)

    def protect_again(self):
        """Host b is switched on again; nothing is restarted on host a."""
        from .inside import boot  # pylint: disable=import-outside-toplevel,cyclic-import
        scenario.link_set(self.topology.host_ports("b"), True)
        boot(self.lab, self.say)
        self.b.read_clock()
        self.b.start_remusd()
        self.protect()
        self.claims_allowed += 1
        moment = time.monotonic()
        wait_for("the connections to go on under the new protection", self.settled_within,
                 lambda: self.client.all_answered_since(moment))
        self.step("protected again")

    # ---- the end ----
    def stop_daemons(self):
        if self.fault == "link":
            scenario.link_set(self.topology.replication_ports(), True)
        alive = [host for host in self.hosts.values() if host.machine.pid()]
        self.facts["wrong"] += filter(None, (host.stop_remusd() for host in alive))
        if self.fault in ("none", "shutdown"):
            self.claims_allowed = 0
        claims = self.decider.records()
        self.facts["litter"] = sum((host.left() for host in alive), [])
        if len(claims) > self.claims_allowed:
            self.facts["litter"].append(f"the arbiter's folder keeps {len(claims)} records: {', '.join(claims)}")

    def trace(self, host, role):
        early = host.uncertain_us if role == "backup" else 0
        return [dict(event, t=event["t"] + host.offset_us - early) for event in super().trace(host, role)]

    def abandon(self):
        """The lab's own end takes care of every process; a lab that stays up is left fit for the next drill."""
        scenario.link_set(network.TAPS, True)
        for host in self.hosts.values():
            if host.machine.pid():
                host.end_remusd()


def hold(lab, opts, machines, say):
    """(the JSON object, the report's lines)."""
    result = report.to_json(XenDrill(lab, opts, machines, say).hold())
    return result, report.text(result)
