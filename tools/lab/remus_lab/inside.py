# SPDX-License-Identifier: GPL-2.0-or-later
"""The verbs, carried out inside the lab's namespaces."""

import json
import os
import subprocess
import sys

from . import LabError, network
from . import guest as guests
from .machine import Machine
from .steps import Steps

BOOT_SECONDS = 180  # 7 to 10 are enough on an idle machine
OK, FAIL, CANNOT = 0, 1, 127


def machines(lab):
    return {name: Machine(name, lab.share) for name in "ab"}


def boot(lab, say):
    """Whatever is not running is booted: the network once, hosts as often as they died."""
    plan, steps, hosts = lab.plan(), Steps(say), machines(lab)
    if not _has_link("lan"):
        network.build()
    missing = [host for host in hosts.values() if not host.pid()]
    if not missing:
        return OK
    names = " and ".join(host.name for host in missing)
    with steps.step(f"Xen boots on host {names}", BOOT_SECONDS) as step:
        for host in missing:
            host.start(plan)
        for host in missing:
            try:
                step.wait("its dom0", host.ready, 0.1)
            except LabError as e:
                raise LabError(f"{e} (host {host.name} was at: {host.stage()}; its console is {host.console})") from e
    return OK


def _has_link(name):
    return subprocess.run(["ip", "link", "show", name], capture_output=True, check=False).returncode == 0


def _alive(host):
    if not host.pid():
        raise LabError(f"host {host.name} is not running; \"lab up\" boots it again")
    return host


def run(lab, opts, _):
    host = _alive(machines(lab)[opts.host])
    stdin = b"" if sys.stdin is None or sys.stdin.isatty() else _stdin()

    def output(kind, data):
        stream = (sys.stdout if kind == "o" else sys.stderr).buffer
        stream.write(data)
        stream.flush()
    return host.agent.run(" ".join(opts.command), opts.timeout, stdin, output).status


def _stdin():
    """What is piped in; nothing when the other end only stays open."""
    mode = os.fstat(0).st_mode
    return sys.stdin.buffer.read() if mode & 0o170000 in (0o100000, 0o010000) and _ready() else b""


def _ready():
    import select  # pylint: disable=import-outside-toplevel
    return bool(select.select([0], [], [], 0.2)[0])


def push(lab, opts, _):
    _alive(machines(lab)[opts.host]).agent.push(opts.file, opts.path)
    return OK


def guest(lab, opts, say):
    hosts = machines(lab)
    plan = guests.plan_of(opts)
    if any(name == plan["type"] + "1" for host in hosts.values() if host.pid()
           for name, *_ in guests.running(host)):
        say(f"{plan['type']}1 is running already")
        return OK
    guests.start(Steps(say), _alive(hosts["a"]), plan)
    return OK


def execute(_, opts, __):
    if not opts.command:
        raise LabError("exec needs a command")
    try:
        return subprocess.run(opts.command, check=False).returncode
    except OSError as e:
        raise LabError(f"{opts.command[0]}: {e.strerror}") from e


def status(lab, _, __):
    for host in machines(lab).values():
        pid = host.pid()
        listed = ", ".join(f"{n} (id {i}, {s})" for n, i, s in guests.running(host)) if pid else ""
        print(f"host {host.name}: " + (f"up, guests: {listed or 'none'}" if pid else "not running"))
    print("packages: " + ", ".join(p for p in lab.plan()["packages"] if p.startswith(("xen-hyp", "linux-"))))
    return OK


def _tell(result, lines, opts, say):
    say("\n".join(lines))
    if opts.json:
        print(json.dumps(result), flush=True)
    return OK if result["result"] == "pass" else FAIL


def drill(lab, opts, say):
    from . import xencontinuity, xendrill  # pylint: disable=import-outside-toplevel
    if opts.continuity:
        return _tell(*xencontinuity.hold(lab, opts, machines(lab), say), opts, say)
    return _tell(*xendrill.hold(lab, opts, machines(lab), say), opts, say)


def compare(lab, opts, say):
    from . import compare as comparison, table  # pylint: disable=import-outside-toplevel
    result = comparison.hold(lab, opts, machines(lab), say)
    return _tell(result, table.lines(result), opts, say)


def matrix(lab, opts, say):
    from . import matrix as walk  # pylint: disable=import-outside-toplevel
    result = walk.hold(lab, opts, machines(lab), say)
    return _tell(result, walk.lines(result), opts, say)


def leak(lab, opts, say):
    from . import leak as leaks  # pylint: disable=import-outside-toplevel
    result = leaks.hold(lab, opts, machines(lab), say)
    if opts.json:
        print(json.dumps(result), flush=True)
    say(f"{result['passed']} passed, {result['failed']} failed")
    return OK if result["result"] == "pass" else FAIL


def plug_check(lab, opts, say):
    from . import plugcheck  # pylint: disable=import-outside-toplevel
    good, said = plugcheck.run(_alive(machines(lab)[opts.host]))
    say(said)
    say(f"{int(good)} passed, {int(not good)} failed")
    return OK if good else FAIL


VERBS = {"run": run, "push": push, "guest": guest, "exec": execute, "status": status, "drill": drill,
         "compare": compare, "matrix": matrix, "leak": leak, "plug-check": plug_check}


def carry_out(lab, opts, say):
    return VERBS[opts.verb](lab, opts, say)
