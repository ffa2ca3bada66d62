# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest as Xen's tools see it: its configuration, `xl create`, and whether it answers."""

import os
import re

from remus_drill.topology import GUEST_IP4, GUEST_IP6, GUEST_MAC

from . import LabError, vlan
from .network import VLAN, VLAN_CLIENT, VLAN_GUEST
from .probe import ask

ECHO_UDP = 7002
# Xen emulates the TSC where the processor doesn't say that it runs at one rate, as those of QEMU don't: each look at a
# clock would trap, tens of thousands a second, and the guest's suspend take half as long again.
TSC = 'tsc_mode="native"\n'
TICK_MS = 25  # of what the guest does by itself; 200 wakeups a second would take half of an emulated processor


def config(plan):
    """An xl configuration."""
    arguments = (f"console=hvc0 mitigations=off loglevel=4 raid=noautodetect remus.ip={GUEST_IP4}/24 "
                 f"remus.ip6={GUEST_IP6}/64 remus.vlan={VLAN} remus.vlan_ip={VLAN_GUEST}/24 "
                 f"remus.tick_ms={TICK_MS} remus.dirty={plan['dirty']} remus.region_mib={plan['region']} remus.frames={plan.get('frames', 0)} "
                 f"remus.agent={int(plan.get('agent', False))} remus.sample_ms={plan.get('sample_ms', 0)}")
    return (f'name="{plan["type"]}1"\ntype="{plan["type"]}"\nkernel="/lab/vmlinux"\nramdisk="/lab/guest.cpio"\n'
            f'extra="{arguments}"\nmemory={plan["memory"]}\nvcpus=1\n{TSC}vif=["mac={GUEST_MAC},bridge=xenbr0"]\n'
            'on_poweroff="destroy"\non_reboot="restart"\non_crash="destroy"\n')


def plan_of(opts):
    return {"type": opts.guest_type, "memory": opts.guest_memory, "dirty": opts.dirty, "region": opts.region,
            "agent": getattr(opts, "agent", False)}


def domains(listing):
    """[(name, id, state)] from what `xl list` prints, dom0 left out."""
    found = []
    for line in listing.splitlines()[1:]:
        fields = re.fullmatch(r"(\S+)\s+(\d+)\s+\d+\s+\d+\s+(\S+)\s+\S+", line.strip())
        if fields and fields.group(1) != "Domain-0":
            found.append((fields.group(1), int(fields.group(2)), fields.group(3)))
    return found


def running(machine, timeout=20):
    """The domains of a host, [] when the host does not answer."""
    try:
        return domains(machine.agent.must("xl list", timeout))
    except LabError:
        return []


def console(machine, name):
    """What the guest has said on its console."""
    path = os.path.join(machine.folder, "guest-console", f"guest-{name}.log")
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def start(steps, machine, plan):
    """Create the guest and wait until it answers on every network it has."""
    name = plan["type"] + "1"
    path = os.path.join(machine.lab, name + ".cfg")
    with open(path, "w", encoding="utf-8") as f:
        f.write(config(plan))
    with steps.step(f"xl create {name} on host {machine.name}", 120) as step:
        machine.agent.must(f"xl create /lab/{name}.cfg", step.left())

    def booted():
        said = console(machine, name)
        if "DRILL-FAILED" in said or "Kernel panic" in said:
            raise LabError("the guest could not start: " + said.strip()[-300:])
        return "DRILL-READY" in said
    with steps.step("the guest boots", 180) as step:
        step.wait("DRILL-READY on the guest's console", booted, 0.1)
    with steps.step("the guest answers over IPv4, IPv6 and the VLAN", 60) as step:
        step.wait(f"an answer from {GUEST_IP4}", lambda: ask(GUEST_IP4, ECHO_UDP))
        step.wait(f"an answer from {GUEST_IP6}", lambda: ask(GUEST_IP6, ECHO_UDP))
        step.wait(f"an answer from {VLAN_GUEST} in VLAN {VLAN}",
                  lambda: vlan.ask("lan", VLAN, VLAN_CLIENT, VLAN_GUEST, ECHO_UDP))
    return name
