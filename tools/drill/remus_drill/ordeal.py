# SPDX-License-Identifier: GPL-2.0-or-later
"""One cell of the matrix on a real guest: a drill whose fault comes at a named point of remusd.

    build - (before protection: forward, connect the client, begin to protect; after: protect, connect the client)
    - wait until the process is at its fault point - strike - let go - wait until it is decided who runs the guest
    - heal - protect again, if protection has ended and the guest is on host a - all that a drill checks at its end

A process is held at its point by the point itself (action stop), so the blow comes exactly then, however busy the
machine is.
"""

import os
import random
import re
import signal
import subprocess
import threading
import time

from . import DrillError, blows, cells
from .hosts import kill_pid
from .scenario import Drill
from .topology import Topology, link_set
from .waiting import wait_for
from .wire import Wire

DEAD_MS = 2000  # of silence; the default of 300 would be reached by a busy machine alone
FIRED = re.compile(r"fault point (\S+), time \d+, at (\d+) us: pid (\d+)")
BOOTS, BOOT_S = 3, 40
LINK_UP_S = 2  # until a link that was down has been noticed to be up again
ALONE = ("solo", "failed", "relay", "ended", "unprotected")


class Asking(threading.Thread):
    """A command of the operator's that takes as long as the ordeal lets it."""

    def __init__(self, host, *arguments):
        super().__init__(daemon=True)
        self.host, self.arguments = host, arguments
        self.error = None
        self.start()

    def run(self):
        try:
            self.host.ctl(*self.arguments, timeout=90)
        except DrillError as e:
            self.error = str(e)


class Ordeal(Drill):
    """See above."""

    survivor_talks = 40
    keep_talking = 1.0
    powered_off_within = 30

    def __init__(self, plan, folder, say):
        self.cell = cells.find(plan["cell"])
        cell = self.cell
        super().__init__({**plan, "kill": "cell", "arbiter": cell.arbiter, "link": cell.link}, folder, say)
        self.trigger = cell.trigger(plan["seed"])
        self.wire = self.asking = self.at_point = None
        self.keep_stopped = set()
        self.healed = self.goes_on = False
        self.silent_start = not cell.early
        self.claims_allowed = 1
        self.facts.update(fault="cell", cell=cell.name, allowed=cell.survivors(), goes_on=None)
        self.blow = blows.make(self)

    # ---- the stage ----
    def make_topology(self):
        self.topology = Topology(arbiter=self.cell.arbiter == "etcd", wired=self.cell.wired)
        self.decider.prefix = self.topology.arbiter_prefix()
        if self.topology.wire_ends:
            self.wire = Wire(*self.topology.wire_ends, self.plan["seed"], os.path.join(self.folder, "wire.log"))
        if self.cell.fault == "enospc" and not self.cell.host:
            small_file_system(self.decider.folder)

    def prepare(self, host):
        super().prepare(host)
        if self.trigger and self.trigger.host == host.name:
            t = self.trigger
            host.environment = {"REMUS_FAULT": f"{t.point}:{t.nth}:{t.action}"}
        if self.cell.fault == "enospc" and self.cell.host == host.name:
            small_file_system(host.run)

    def boot(self):
        """A kernel that loses a timer's interrupt on a busy host is booted again: it isn't what is tried here."""
        for attempt in range(1, BOOTS + 1):
            try:
                seconds = self.a.start_guest(self.plan, BOOT_S)
                break
            except DrillError as e:
                if attempt == BOOTS:
                    raise
                self.step(f"{e}: again")
        self.step(f"the guest runs on host a (booted in {seconds:.1f} s)")

    @property
    def side(self):
        """The struck host, None for the arbiter."""
        return self.hosts.get(self.cell.host)

    def protect_command(self):
        return [*super().protect_command(), "--dead", str(DEAD_MS)]

    # ---- up to the blow ----
    def begin(self):
        if self.cell.early:
            self.a.ctl("attach", "qemu:" + self.a.qmp, "--egress", "packet:lan", timeout=20)
            self.open_client()
            self.asking = Asking(self.a, *self.protect_command())
            return
        self.protect()
        self.open_client()
        if self.cell.failover:
            self.run_for(2 + random.Random(self.plan["seed"]).random())
            self.first_time = time.monotonic()
        if self.cell.by_handover:
            self.asking = Asking(self.a, "failover", self.name)
        elif self.cell.failover and self.trigger:
            self.step("first fault: the link is lost")
            link_set(self.topology.replication_ports(), False)

    def open_client(self):
        super().open_client()
        self.step(f"{self.plan['connections']} connections are open and talk")

    def run_for(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.1)
            self.look()

    def look(self):
        self.client.check()
        status = self.domain(self.a)
        if status.get("state") == "protected":
            self.facts["before"] = status

    def await_point(self):
        host = self.hosts[self.trigger.host]
        deadline = time.monotonic() + 30
        while True:
            found = FIRED.search(host.log())
            if found:
                break
            if time.monotonic() > deadline:
                raise DrillError(f"host {host.name} did not come to {self.trigger.point} within 30 s")
            if self.cell.phase not in ("failover", "setup"):
                self.look()
            time.sleep(0.01)
        self.at_point = int(found[3])
        self._now(f"FAULT: {self.cell.name}; host {host.name} is at {self.trigger.point}, {self.trigger.action}")
        self.fault_time = int(found[2]) / 1e6
        self.first_time = min(self.first_time, self.fault_time)
        host.environment = {}

    def strike(self):
        if self.trigger:
            self.await_point()
            self.blow.strike()
            if self.trigger.action == "stop" and self.at_point not in self.keep_stopped:
                kill_pid(self.at_point, signal.SIGCONT)
        else:
            self._now(f"FAULT: {self.cell.name}")
            self.blow.strike()
            link_set(self.topology.replication_ports(), False)
        self.struck = time.monotonic()

    def kill_host(self, host):
        self._dead_host(host)

    # ---- until it is decided ----
    def heal(self):
        if not self.healed:
            self.healed = True
            self.blow.heal()
            self.step("healed")

    def last(self):
        """Let the fault last as long as it is to."""
        silent_arbiter = self.cell.failover and not self.cell.host and self.blow.silent
        while time.monotonic() < self.struck + self.blow.hold:
            self.client.check()
            if silent_arbiter:
                self.facts["wrong"] += [w for w in self._who_went_on() if w not in self.facts["wrong"]]
            time.sleep(0.05)
        if self.blow.until_decided and not self.cell.early:
            other = self.b if self.side is self.a else self.a
            wait_for(f"host {other.name} to go on alone", 20,
                     lambda: self.domain(other).get("state") in ("active", "solo"), 0.05)
        if silent_arbiter:
            self.decided_time = time.monotonic()

    def settle(self):
        self.last()
        if not self.blow.at_end:
            self.heal()
        if self.asking:
            self.asking.join(80)
            self.step(f"remusctl {self.asking.arguments[0]}: {self.asking.error or 'done'}")
            if self.asking.is_alive():
                raise DrillError(f"remusctl {self.asking.arguments[0]} does not come back")
        wait_for("it to be decided who runs the guest", self.survivor_talks, self.is_decided, 0.05)
        self.talk_on()
        self.heal()
        self.note_outcome()

    def is_decided(self):
        """One guest, and nobody stands by; or protection goes on, well after the blow."""
        self.client.check()
        count, a, b = self.guests(), self.domain(self.a), self.domain(self.b)
        if sum(count.values()) == 1:
            self.goes_on = False
            return b.get("state") == "active" if count["b"] else a.get("state") in ALONE
        self.goes_on = bool(a.get("protected") and b.get("protected"))
        return self.goes_on and time.monotonic() > self.struck + self.blow.hold + DEAD_MS / 1000 + 1

    def talk_on(self):
        """Every connection hears of whoever runs the guest now, and goes on for a while."""
        moment = time.monotonic()
        wait_for("every connection to get an answer from the survivor", self.survivor_talks,
                 lambda: self.client.all_answered_since(moment))
        heard = time.monotonic()
        self.step(f"every connection talks to the survivor, {(heard - self.fault_time) * 1000:.0f} ms after the fault")
        self.run_for(self.keep_talking)
        wait_for("every connection to be alive at the end", self.settled_within,
                 lambda: self.client.all_answered_since(heard))
        if not self.is_decided():
            raise DrillError(f"what was decided did not last: {self.guests()} guests, a is {self.domain(self.a).get('state')}, "
                             f"b is {self.domain(self.b).get('state')}")
        self.facts["client"]["survived"] = True
        self.facts["client"]["stall"] = self.client.stall(self.fault_time, heard)

    def note_outcome(self):
        count = self.guests()
        if self.goes_on:
            count["b"] -= 1  # the standby
        self.facts["guests"] = count
        self.facts["goes_on"] = self.goes_on
        wanted = self.cell.goes_on()
        if wanted is not None and wanted != self.goes_on:
            self.facts["wrong"].append("protection ended, which nothing called for" if wanted else
                                       "protection is said to go on, over a fault that must end it")
        survivor = self.hosts["a" if count["a"] else "b"]
        self.facts["survivor_status"] = self.domain(survivor)
        self.step(f"host {survivor.name} runs the guest, state \"{self.domain(survivor).get('state')}\"")
        if not self.goes_on and self.domain(survivor).get("protected"):
            self.facts["wrong"].append(f"host {survivor.name} calls the guest protected though it is alone")
        if survivor is self.b:
            self.expect_events(self.b, {"activated"})
        elif not self.goes_on and not self.cell.early:
            self.expect_events(self.a, {"solo", "unprotected"}, any_of=True)
        elif not self.goes_on:
            self.expect_events(self.a, {"failed", "engine-died"}, any_of=True)

    # ---- and after ----
    def protect_once_more(self):
        """What has ended can begin again, with nothing restarted but what was killed: nothing is stuck."""
        link_set(self.topology.replication_ports(), True)
        if self.goes_on or not self.facts["guests"]["a"]:
            return
        if self.cell.failover or self.cell.fault in ("kill-host", "cut-both", "cut-one-way"):
            time.sleep(LINK_UP_S)
        self.protect()
        moment = time.monotonic()
        self.run_for(0.5)
        wait_for("the connections to go on under the new protection", 10,
                 lambda: self.client.all_answered_since(moment))

    def power_off(self):
        """Protection that has gone on ends in order first."""
        if self.goes_on:
            self.a.ctl("unprotect", self.name or self.domain(self.a).get("name"), timeout=30)
            self.step("protection was ended in order")
        super().power_off()

    def bring_back(self):
        """All was healed before."""

    def engine_sockets(self):
        return [] if (self.cell.fault, self.cell.side) == ("kill-host", "primary") else super().engine_sockets()

    def free_from(self):
        """A supervisor's decision after its engine died is not in the trace."""
        if self.cell.fault != "kill" or self.cell.side != "primary" or not self.facts["guests"]["a"]:
            return None
        return min((e["mono_us"] for e in self.events_a if e["kind"] in ("claim-won", "solo", "unprotected")
                    and e["mono_us"] >= self.fault_time * 1e6), default=None)

    def must_be_loud(self):
        return self.facts["guests"]["a"] and not self.goes_on and not self.cell.early

    def act(self):
        for action in (self.build, self.begin, self.strike, self.settle, self.protect_once_more, self.check_guest,
                       self.finish_client):
            action()
        self.events_a = self.a.events()
        self.power_off()
        self.stop_daemons()
        self.compare()

    def abandon(self):
        super().abandon()
        if self.wire:
            self.wire.stop()


def small_file_system(folder):
    """A file system of its own for @folder, which can be full; it goes with the drill's mount namespace."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=200,mode=700", "none", folder],
                          capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise DrillError(f"cannot mount a small file system on {folder}: {done.stderr.strip()}")
