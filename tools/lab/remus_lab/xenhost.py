# SPDX-License-Identifier: GPL-2.0-or-later
"""A Xen host as the drill sees one (remus_drill/hosts.py): remusd in its dom0, asked by remusctl there, and the guests
that xl lists. Everything goes through the host's agent, so that it works, or fails, as it would for an operator.
"""

import json
import os

from remus_drill import DrillError
from remus_drill.topology import ADDRESS
from remus_drill.waiting import wait_for

from . import guest as guests

RUN = "/run/remus"
KEYS = "/etc/remus/tls"
LEFT = """ip -br link | grep -v '^ifb[01] ' | grep -E '^(ifb|remus|vif)' | sed 's/ .*//; s/^/interface /'
tc qdisc show | grep -E 'plug|ingress|clsact' | sed 's/^/queueing discipline /'
find %s -mindepth 1 ! -name '*.log' | sed 's/^/file /'
grep -lx 'remus[-a-z]*' /proc/[0-9]*/comm 2>/dev/null | xargs -r cat 2>/dev/null | grep -v '^remus-lab-' | sed 's/^/process /'
xl list | tail -n +3 | sed 's/^/domain /'""" % RUN


class XenHost:
    """See above. What it may take is the emulated processor's time."""

    def __init__(self, machine):
        self.machine, self.agent, self.name = machine, machine.agent, machine.name
        self.trace = os.path.join(machine.folder, "trace")
        self.children = []
        self.offset_us = self.uncertain_us = 0  # of the host's clock: what to add to have ours, how wrong that may be

    # ---- remusd ----
    def _make_keys(self):
        """The first host makes the key and leaves a copy in the lab's shared folder for the other."""
        self.agent.must(f"test -s {KEYS}/psk || if test -s /lab/tls/psk; then mkdir -p -m 700 {KEYS} && "
                        f"cp /lab/tls/psk {KEYS} && chown 0:0 {KEYS}/psk && chmod 600 {KEYS}/psk; else "
                        f"remusctl keys psk >/dev/null && mkdir -p /lab/tls && cp {KEYS}/psk /lab/tls; fi", 20)

    def start_remusd(self, environment="", plaintext=False, trace=True):
        if not plaintext:
            self._make_keys()
        trace = f"--trace /lab/{self.name}/trace" if trace else ""  # it outlives the host, and costs it time
        self.agent.must(f"mkdir -p {RUN} && ({environment} setsid remusd --run-dir {RUN} --listen {ADDRESS[self.name]} "
                        f"{'--insecure ' if plaintext else ''}--control {RUN}/control {trace} --log-level info "
                        f"</dev/null >>/lab/{self.name}/remusd.log 2>&1 & echo $! >/run/remusd.pid)", 20)
        wait_for(f"remusd on host {self.name} to answer", 15, lambda: bool(self.status_or_none()), 0.2)

    def stop_remusd(self):
        """In order; returns what was wrong, or None."""
        done = self.agent.run("p=$(cat /run/remusd.pid); kill $p || exit 3; for i in $(seq 120); do "
                              "kill -0 $p 2>/dev/null || exit 0; sleep 0.1; done; kill -9 $p; exit 4", 40)
        return {0: None, 3: f"remusd on host {self.name} was not running any more",
                4: f"remusd on host {self.name} did not end within 12 s of SIGTERM"}.get(
                    done.status, f"stopping remusd on host {self.name}: {done.err.strip()}")

    def end_remusd(self):
        """Whatever state it is in."""
        try:
            self.agent.run("kill $(cat /run/remusd.pid) && sleep 2", 20)
            self.kill_named("remusd")
        except DrillError:
            pass  # the host is in no state to care

    def kill_named(self, patterns):
        """kill -9 of every process whose name is one of @patterns (the shell's, divided by "|"), all at once."""
        self.agent.must("doomed=\n" "for p in /proc/[0-9]*; do read -r name <$p/comm || continue\n"
                        f"case $name in {patterns}) doomed+=\" ${{p#/proc/}}\" ;; esac; done 2>/dev/null\n"
                        "[ -z \"$doomed\" ] || kill -9 $doomed", 20)

    def ctl(self, *arguments, timeout):
        words = " ".join("'" + a.replace("'", "'\\''") + "'" for a in arguments)
        done = self.agent.run(f"remusctl --control {RUN}/control {words}", timeout)
        if done.status:
            raise DrillError(f"remusctl {' '.join(arguments)} on host {self.name} failed ({done.status}): "
                             f"{(done.err or done.out).strip()[-800:]}")
        return done.out

    def status(self):
        try:
            return json.loads(self.ctl("status", "--json", timeout=10))
        except ValueError as e:
            raise DrillError(f"remusctl status --json on host {self.name} printed no JSON: {e}") from e

    def status_or_none(self):
        try:
            return self.status()
        except DrillError:
            return None

    def domains(self):
        return (self.status_or_none() or {}).get("domains", [])

    def log(self):
        """All that remusd has said."""
        try:
            with open(os.path.join(self.machine.folder, "remusd.log"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def events(self):
        try:
            out = self.ctl("events", "--json", timeout=10)
            found = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        except (DrillError, ValueError):
            return []
        found = [event.get("event", event) for event in found]
        return [dict(event, mono_us=event.get("mono_us", 0) + self.offset_us) for event in found]

    def read_clock(self):
        """Its times become comparable with ours."""
        offset, round_trip = self.agent.clock_offset()
        self.offset_us, self.uncertain_us = offset // 1000, round_trip // 2000 + 1

    # ---- the rest of the host ----
    def processes(self):
        return {self.machine.pid(): "qemu"} if self.machine.pid() else {}

    def kill_everything(self, _pids=None):
        self.machine.kill()

    def guests(self):
        """The guests that run: a standby that waits for its failover is none, and neither is a drill's copy of one."""
        if not self.machine.pid():
            return []
        return [number for name, number, _ in guests.running(self.machine) if not name.endswith(("--incoming", "--drill"))]

    def left(self):
        """What should not be there after all has ended (I13)."""
        if not self.machine.pid():
            return []
        return [f"host {self.name}: {line}" for line in self.agent.run(LEFT, 20).out.splitlines() if line.strip()]
