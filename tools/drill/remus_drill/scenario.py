# SPDX-License-Identifier: GPL-2.0-or-later
"""One drill, from an empty network to the verdict. Runs inside namespaces of its own (launch.py).

    build the network - start both daemons - boot the guest - protect it - connect the client - run
    - the fault - wait until the client talks to the survivor - check the guest's memory - power the guest off
    - stop the daemons in order - look for litter - compare what was seen with the traces

Nothing is asserted on the way: each step records what it saw in `facts`, and report.py decides.
"""

import glob
import os
import random
import signal
import time

from . import DrillError, arbiter, control, litter, observer, report
from .client import Client
from .hosts import Host, kill_pid
from .topology import ADDRESS, GUEST_MAC, Topology, link_set
from .waiting import wait_for


class Drill:
    """See above. Times in s; a host that is emulated needs more of them (tools/lab)."""

    backend = "qemu"
    protected_within = 10
    survivor_talks = 15  # until every connection has an answer from the survivor
    keep_talking = 2.0   # how long the survivor must go on serving
    settled_within = 5   # until the other side has given its guest up
    powered_off_within = 8
    frozen_for = 5       # that a host stands still
    silent_start = True  # no frame had left host a when its egress buffer began to count

    def __init__(self, plan, folder, say):
        self.plan, self.folder, self.say = plan, folder, say
        self.fault = plan["kill"]
        self.began = time.monotonic()
        self.client = self.topology = None
        self.sniffers = {}
        self.decider = arbiter.make(plan.get("arbiter", "file"), folder)
        self.arbiter = getattr(self.decider, "folder", None)
        self.hosts = {}
        self.fault_time = self.decided_time = self.thaw_time = None
        self.claims_allowed = 1
        self.name = None
        self.facts = {
            "backend": self.backend, "fault": self.fault, "memory": plan["memory"], "interval": plan["interval"], "seed": plan["seed"],
            "seconds": 0.0, "before": {}, "survivor_status": {}, "guests": {"a": 0, "b": 0}, "guest_check": {},
            "client": {"connections": plan["connections"], "bytes": 0, "replies": 0, "corrupt": 0, "resets": 0,
                       "rolled_back": 0, "survived": False, "stall": 0.0, "notes": []},
            "egress": {"early": [], "checked": 0, "missing": 0, "sniffer_lost": 0, "standby_frames": 0},
            "struck": False, "events_missing": [], "wrong": [], "litter": [], "errors": []}

    def step(self, text):
        self.say(f"{time.monotonic() - self.began:6.2f}  {text}")

    # ---- the way to protection ----
    def build(self):
        self.topology = Topology(arbiter=self.decider.away > 0)
        self.decider.start()
        for name in "ab":
            self.hosts[name] = Host(self.topology.hosts[name], os.path.join(self.folder, name))
            self.sniffers[name] = observer.Sniffer(f"lan-{name}", GUEST_MAC)
            self.sniffers[name].start()
            self.prepare_host(self.hosts[name])
        self.a, self.b = self.hosts["a"], self.hosts["b"]
        for host in self.hosts.values():
            host.make_keys(self.plan["link"], os.path.join(self.folder, "keys"))
            host.start_remusd()
        self.step("two hosts are up, each runs remusd")
        seconds = self.a.start_guest(self.plan)
        self.step(f"the guest runs on host a (booted in {seconds:.1f} s)")

    def prepare_host(self, host):
        """For scenarios that change something about it before anything runs on it."""

    def protect(self):
        self.a.ctl("protect", "qemu:" + self.a.qmp, "--to", ADDRESS["b"], "--interval", str(self.plan["interval"]),
                   "--arbiter", self.decider.uri, "--egress", "packet:lan",
                   *(["--insecure"] if self.plan["link"] == "plaintext" else []), timeout=60)
        wait_for("host a to say that the guest is protected", self.protected_within, lambda: self.domain(self.a).get("protected"))
        self.name = self.domain(self.a).get("name")
        security = self.domain(self.a).get("link", {}).get("security", "")
        if not security.startswith({"psk": "tls1.3 psk", "x509": "tls1.3 x509 host-b"}.get(self.plan["link"], "plaintext")):
            self.facts["wrong"].append(f"the link is said to be \"{security}\", not {self.plan['link']}")
        self.step(f"the guest is protected by host b, link: {security}")

    def domain(self, host):
        domains = host.domains()
        return domains[-1] if domains else {}

    def run(self):
        self.client = Client(self.plan["connections"], self.plan["seed"])
        self.client.connect()
        self.client.start()
        chance = random.Random(self.plan["seed"])
        until = time.monotonic() + self.plan["seconds"] + chance.uniform(0, 20 * self.plan["interval"] / 1000)
        self.step(f"{self.plan['connections']} connections are open and talk; the fault comes in "
                  f"{until - time.monotonic():.2f} s")
        while (rest := until - time.monotonic()) > 0:
            time.sleep(min(0.25, rest))
            self.client.check()
            if rest > 0.05:
                self.note_status()
        if not self.facts["before"]:
            self.note_status()

    def note_status(self):
        status = self.domain(self.a)
        if status.get("state") == "protected":
            self.facts["before"] = status
        elif not self.facts["before"]:
            raise DrillError(f"host a says the guest is {status.get('state', 'unknown')}, not protected: "
                             f"{status.get('reason', '')}")

    # ---- the faults ----
    def strike(self):
        status = self.domain(self.a)
        self.decider.kill()
        getattr(self, "_fault_" + self.fault)(status)
        if self.decider.away:
            self.wait_undecided()

    def wait_undecided(self):
        """The arbiter died with the fault: until it is back nobody may go on."""
        self.step(f"and the arbiter with it, for {self.decider.away:g} s")
        self.facts["wrong"] += arbiter.watch(self.decider.away, self._who_went_on)
        self.facts["wrong"] += [f"host {name} raised no claim-unknown while the arbiter was away"
                                for name, host in self.hosts.items() if host.processes() and
                                "claim-unknown" not in {e.get("kind") for e in host.events()}]
        self.decided_time = time.monotonic()
        self.decider.start()
        self.step("the arbiter is back")

    def _who_went_on(self):
        states = {name: self.domain(host).get("state") for name, host in self.hosts.items() if host.processes()}
        return [f"host {name} was {state} while the arbiter was away (I5, I6)" for name, state in states.items()
                if state in ("active", "activating", "solo", "held", "discarded", "dropped")]

    def _now(self, text):
        self.fault_time = time.monotonic()
        self.facts["struck"] = True
        self.step(text)

    def _dead_host(self, host):
        """A dead host sends nothing more, not even a FIN: its links go first, its processes within the same ms."""
        doomed = host.processes()
        link_set(self.topology.host_ports(host.name), False)
        host.kill_everything(doomed)

    def _fault_host(self, _):
        self._now("FAULT: host a dies")
        self._dead_host(self.a)

    def _fault_backup(self, _):
        self._now("FAULT: host b dies")
        self._dead_host(self.b)

    def _fault_engine(self, status):
        if not status.get("pid"):
            raise DrillError("host a's status names no engine process")
        self._now(f"FAULT: the engine on host a is killed (pid {status['pid']})")
        kill_pid(status["pid"])

    def _fault_qemu(self, _):
        guests = self.a.guests()
        self._now(f"FAULT: the guest's QEMU on host a is killed (pid {guests})")
        for pid in guests:
            kill_pid(pid)

    def _fault_freeze(self, _):
        """Suspend and resume of a host. The backup takes over meanwhile; who wakes up must notice that it has been
        overtaken, and show nothing more than what had been acknowledged before (I1, I5)."""
        frozen = self.a.processes()
        self._now(f"FAULT: host a stands still (SIGSTOP to {len(frozen)} processes)")
        for pid in frozen:
            kill_pid(pid, signal.SIGSTOP)
        try:
            wait_for("every connection to get an answer while host a stands still", self.frozen_for,
                     lambda: self.client.all_answered_since(self.fault_time))
        except DrillError as e:
            self.facts["wrong"].append(str(e))
        if self.domain(self.b).get("state") != "active":
            self.facts["wrong"].append("host b had not taken over when host a woke up")
        time.sleep(max(0.0, self.fault_time + self.frozen_for - time.monotonic()))
        self.thaw_time = time.monotonic()
        for pid in frozen:
            kill_pid(pid, signal.SIGCONT)
        self.step(f"host a goes on, after {self.frozen_for:g} s")

    def _fault_link(self, _):
        self._now("FAULT: the replication link is cut")
        link_set(self.topology.replication_ports(), False)

    def _fault_none(self, _):
        self._now("the guest is handed over in order")
        self.a.ctl("failover", self.name, timeout=20)

    def _fault_shutdown(self, _):
        self.check_guest()
        self.client.stop()
        self._now("the guest powers itself off")
        control.guest("poweroff")

    # ---- and after ----
    def guests(self):
        return {name: len(host.guests()) for name, host in self.hosts.items()}

    def settle(self):
        """Until one guest is left and every connection has heard of it; then a while longer."""
        if self.fault == "shutdown":
            self._wait_all_guests_gone()
            return
        wait_for("every connection to get an answer from the survivor", self.survivor_talks + 2 * self.decider.away,
                 lambda: self.client.all_answered_since(self.fault_time))
        heard = time.monotonic()
        self.step(f"every connection talks to the survivor, {(heard - self.fault_time) * 1000:.0f} ms "
                  "after the fault")
        try:
            wait_for("the other side to give its guest up", self.settled_within, lambda: sum(self.guests().values()) == 1)
        except DrillError:
            pass  # report.py says it better
        while time.monotonic() < heard + self.keep_talking:
            time.sleep(0.1)
            self.client.check()
        last = time.monotonic() - 0.5
        wait_for("every connection to be alive at the end", self.settled_within, lambda: self.client.all_answered_since(last))
        self.facts["client"]["survived"] = True
        self.facts["guests"] = self.guests()
        self.facts["client"]["stall"] = self.client.stall(self.fault_time, heard)
        self._note_survivor()

    def _wait_all_guests_gone(self):
        try:
            wait_for("the guests to end", self.settled_within, lambda: not sum(self.guests().values()))
        except DrillError:
            pass
        time.sleep(0.5)  # time for a resurrection that must not happen
        self.facts["guests"] = self.guests()
        self.expect_events(self.a, {"guest-shutdown"})
        self.expect_events(self.b, {"standby-dropped"})

    def _note_survivor(self):
        survivor = next((n for n in "ab" if self.facts["guests"][n]), None)
        if not survivor:
            return
        status = self.domain(self.hosts[survivor])
        self.facts["survivor_status"] = status
        self.step(f"host {survivor} runs the guest, state \"{status.get('state')}\"")
        if status.get("protected"):
            self.facts["wrong"].append(f"host {survivor} calls the guest protected though it is alone")
        if survivor == "b":
            kinds = {"activated", "handed-over"} if self.fault == "none" else {"activated"}
            self.expect_events(self.b, kinds, any_of=True)
            if self.backend == "qemu":
                self._note_renewal(status)
        if self.fault == "backup":
            self.expect_events(self.a, {"backup-lost", "unprotected", "solo"}, any_of=True)

    def _note_renewal(self, status):
        """I12: with its agent the guest was renewed before its network was opened; without, that was said."""
        expected = "renewed" if self.plan["agent"] else "not-renewed"
        self.expect_events(self.b, {expected})
        last = status.get("agent", {}).get("last", {})
        self.facts["renewal"] = last
        if not self.plan["agent"]:
            return
        if not last.get("reseeded") or last.get("bits", 0) < 256 or last.get("clock") not in ("stepped", "kept", "slewing"):
            self.facts["wrong"].append(f"the guest's renewal is said to be {last} (I12)")
        hooks = last.get("hooks", {})
        if hooks.get("ran") != 1 or hooks.get("failed") != 0:
            self.facts["wrong"].append(f"the guest's hooks are said to be {hooks}, not one that ran well")
        self.step(f"the guest was renewed {last.get('took_ms', 0):.1f} ms after its activation, its clock "
                  f"{last.get('clock')} by {last.get('step_ms', 0):.1f} ms")

    def expect_events(self, host, kinds, any_of=False):
        raised = {e.get("kind") for e in host.events()}
        if any_of and kinds & raised:
            return
        missing = [" or ".join(sorted(kinds))] if any_of else sorted(kinds - raised)
        self.facts["events_missing"] += [f"{kind} (host {host.name})" for kind in missing]

    def check_guest(self):
        began = time.monotonic()
        self.facts["guest_check"] = control.guest("verify")
        self.step(f"the guest checked its memory: {self.facts['guest_check']['pages']} pages, "
                  f"{self.facts['guest_check']['bad']} bad ({time.monotonic() - began:.1f} s)")

    def protect_again(self):
        """Host b comes back; nothing is restarted on host a."""
        pids = self.a.processes()
        link_set(self.topology.host_ports("b"), True)
        self.b.start_remusd()
        self.protect()
        self.claims_allowed += 1
        moment = time.monotonic()
        time.sleep(1)
        wait_for("the connections to go on under the new protection", 5,
                 lambda: self.client.all_answered_since(moment))
        guest = self.a.guests()
        if not guest or guest[0] not in pids or self.a.remusd.pid not in pids:
            self.facts["wrong"].append("protecting again restarted something on host a")
        self.step("protected again")

    # ---- the end ----
    def finish_client(self):
        if self.client is None:
            return
        self.client.stop()
        tally, mine = self.client.tally, self.facts["client"]
        for name in ("bytes", "replies", "corrupt", "resets", "rolled_back"):
            mine[name] = getattr(tally, name)
        mine["notes"] = tally.notes
        if self.client.failure:
            self.facts["errors"].append(self.client.failure)

    def power_off(self):
        if self.fault != "shutdown":
            control.guest("poweroff")
            wait_for("the guest to power off", self.powered_off_within, lambda: not sum(self.guests().values()))
            self.step("the guest powered off")

    def stop_daemons(self):
        """SIGTERM. A host that died is switched on again first: a new remusd must clear what the old one left."""
        if self.fault == "host":
            link_set(self.topology.host_ports("a"), True)
            self.a.start_remusd()
        if self.fault == "link":
            link_set(self.topology.replication_ports(), True)
        for host in self.hosts.values():
            wrong = host.stop_remusd()
            if wrong:
                self.facts["wrong"].append(wrong)
        engine_sockets = [os.path.join(self.a.guest, "switch")] if self.fault != "host" else []
        if self.fault == "shutdown":
            self.claims_allowed = 0  # whoever else took the guest over has claimed it, a planned hand-over too
        try:  # children may take a moment longer than their daemon
            wait_for("processes to end", 2, lambda: not any(h.processes() for h in self.hosts.values()))
        except DrillError:
            pass
        self.facts["litter"] = litter.report(self.hosts.values(), self.decider.records(), self.claims_allowed,
                                             engine_sockets)
        self.decider.stop()

    def compare(self):
        for sniffer in self.sniffers.values():
            sniffer.stop()
            self.facts["egress"]["sniffer_lost"] += sniffer.lost
        trace = {role: self.trace(host, role) for role, host in (("primary", self.a), ("backup", self.b))}
        free_from = None
        if self.fault == "engine" and self.facts["guests"]["a"]:
            free_from = min((e["mono_us"] for e in self.events_a if e["kind"] in ("claim-won", "solo", "unprotected")
                             and e["mono_us"] >= self.fault_time * 1e6), default=None)
        if not self.sniffers:
            return
        result = observer.compare(self.sniffers["a"].frames, trace["primary"], trace["backup"], free_from,
                                  self.silent_start)
        if self.decided_time:
            self._check_silence()
        if self.thaw_time:
            self._check_overtaken(trace["primary"])
        early_b = [t for t in self.sniffers["b"].frames if self.fault_time and t < self.fault_time * 1e6]
        self.facts["egress"].update(early=result.early, checked=result.checked, missing=result.missing,
                                    standby_frames=len(early_b))
        self._check_loudness(trace["primary"])

    def trace(self, host, role):
        """Every event of a daemon's traces, in order."""
        files = glob.glob(f"{host.trace}/*.{role}.trace")
        return sorted(sum((observer.read_trace(p) for p in files), []), key=lambda e: e["t"])

    def _check_silence(self):
        """I6: while nobody has decided, no frame. What was released before the fault may still be on its way."""
        quiet = (self.fault_time + 0.5) * 1e6, self.decided_time * 1e6
        for name, sniffer in self.sniffers.items():
            frames = [t for t in sniffer.frames if quiet[0] < t < quiet[1]]
            if frames:
                self.facts["wrong"].append(f"{len(frames)} frames left host {name} while the arbiter was away (I6)")

    def _check_overtaken(self, primary):
        """I5: of a host that woke up too late no frame is seen, but of an epoch whose ack had come before; and it says so."""
        moment = self.thaw_time * 1e6
        frames = [t for t in self.sniffers["a"].frames if t > moment]
        if frames and not any(e["ev"] == "release" and e["t"] > moment for e in primary):
            self.facts["wrong"].append(f"{len(frames)} frames left host a after it woke up, though nothing was released (I5)")
        if any(e["ev"] == "pass" and e["t"] > moment for e in primary):
            self.facts["wrong"].append("host a opened its egress after it woke up (I6)")
        if "claim-lost" not in {e.get("kind") for e in self.events_a}:
            self.facts["events_missing"].append("claim-lost (host a)")

    def _check_loudness(self, primary):
        """I7: the event comes before any ungated output."""
        opened = [e["t"] for e in primary if e["ev"] == "pass" and self.fault_time and e["t"] > self.fault_time * 1e6]
        told = [e["mono_us"] for e in self.events_a if e.get("kind") in ("backup-lost", "unprotected", "solo")]
        if self.fault == "backup" and opened and (not told or min(told) > opened[0]):
            self.facts["wrong"].append("the egress was opened before an event told that protection is lost (I7)")

    def hold(self):
        """All of it; returns the facts. Never raises for what the system under test does wrong."""
        self.events_a = []
        try:
            for action in (self.build, self.protect, self.run, self.strike, self.settle):
                action()
            if self.fault == "backup":
                self.protect_again()
            if self.fault != "shutdown":
                self.check_guest()
            self.finish_client()
            self.events_a = self.a.events()
            self.power_off()
            self.stop_daemons()
            self.compare()
        except DrillError as e:
            self.facts["errors"].append(str(e))
            self._salvage()
        finally:
            self.abandon()
        self.facts["seconds"] = time.monotonic() - self.began
        return self.facts

    def _salvage(self):
        """The drill broke off: what was seen until then still says something."""
        self.facts["guests"] = self.guests() if self.hosts else self.facts["guests"]
        if self.client and self.fault_time:
            self.facts["client"]["stall"] = self.client.stall(self.fault_time, time.monotonic())
        self.finish_client()
        try:
            self.events_a = self.a.events() if self.hosts else []
            self.compare()
        except DrillError as e:
            self.facts["errors"].append(str(e))

    def abandon(self):
        """Whatever happened, leave no process."""
        for host in self.hosts.values():
            host.kill_everything()
        self.decider.stop()


def hold(plan, folder, say):
    """(the JSON object, the report's lines)."""
    facts = Drill(plan, folder, say).hold()
    result = report.to_json(facts)
    return result, report.text(result)
