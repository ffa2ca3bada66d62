# SPDX-License-Identifier: GPL-2.0-or-later
"""The outer process: gets what the guest boots from, then holds each drill in an inner process of its own, inside
new network, mount and process namespaces (and a user namespace, when not root). Two drills never meet, and
when the inner process ends, for whatever reason, the kernel kills everything that it started.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from . import DrillError, assets, continuity, matrix, options, ordeal, report, scenario, wire
from .hosts import find_program

INNER = "--inner"  # then: the plan, the folder
WIRE = "--wire"    # then: two interfaces, a seed
RUN_LIMIT = 300    # s on top of --seconds: above all deadlines inside
PASS, FAIL, IMPOSSIBLE = 0, 1, 2


def say(text):
    print(text, file=sys.stderr, flush=True)


def isolation():
    """The command prefix that makes the namespaces, tried out; DrillError when the system allows none."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", *user, "--net", "--mount", "--ipc", "--pid", "--fork",
               "--kill-child", "--mount-proc"]
    done = subprocess.run([*command, "ip", "link", "add", "probe", "type", "veth"], capture_output=True, text=True,
                          timeout=20, check=False)
    if done.returncode:
        raise DrillError(
            f"cannot make namespaces for the drill: {done.stderr.strip()}. An ordinary user needs user namespaces "
            "(sysctl kernel.unprivileged_userns_clone=1 and user.max_user_namespaces>0); in a container, root with "
            "CAP_SYS_ADMIN and CAP_NET_ADMIN; the kernel needs veth")
    return command


def needs_etcd(opts):
    if not opts.matrix:
        return opts.arbiter == "etcd"
    return any(cell.arbiter == "etcd" and not cell.why_not() for cell in matrix.choose(opts.only, opts.sample, opts.seed))


def prepare(opts, folder):
    """What every run needs: the plan's constant part."""
    if not shutil.which("qemu-system-x86_64"):
        raise DrillError("qemu-system-x86_64 was not found (Debian: apt-get install qemu-system-x86)")
    if needs_etcd(opts) and not (shutil.which("etcd") and shutil.which("etcdctl")):
        raise DrillError("etcd was not found (Debian: apt-get install etcd-server etcd-client)")
    guest, *_ = (find_program(name) for name in ("remus-drill-guest", "remusd", "remusctl"))
    return {**boot(opts, folder), "tsc_khz": assets.tsc_khz(guest), "memory": opts.memory,
            "interval": opts.interval, "seconds": opts.seconds, "dirty": opts.dirty, "region": opts.region,
            "connections": opts.connections, "kill": opts.kill, "link": opts.link, "arbiter": opts.arbiter,
            "agent": opts.agent}


def boot(opts, folder, name="initramfs", **which):
    """What a guest boots from; @which: another kernel than the usual (assets.kernel)."""
    guest, agent = find_program("remus-drill-guest"), find_program("remus-agent")
    kernel, modules = assets.kernel(opts, say, **which)
    initramfs = os.path.join(folder, name)
    with open(initramfs, "wb") as f:
        f.write(assets.initramfs(guest, modules, agent))
    return {"kernel": kernel, "initramfs": initramfs}


def all_plans(opts, plan, folder):
    """[(what it is called, its plan)]"""
    if not opts.continuity:
        return [(f"kill {opts.kill}", plan)] * opts.runs
    plans = []
    for name, what in continuity.VARIANTS.items():
        if opts.continuity not in ("all", what["renewal"]):
            continue
        mine = {**plan, **what, "variant": name, "arbiter": "manual", "sample_ms": continuity.SAMPLE_MS}
        if what.get("machine") == "q35":
            mine.update(boot(opts, folder, "initramfs-general",
                             package=assets.GENERAL_PACKAGE, wanted=assets.PCI_MODULES))
        plans.append((name, mine))
    return plans * opts.runs


def inner(arguments):
    """Inside the namespaces: one drill; the result on stdout."""
    plan, folder = json.loads(arguments[0]), arguments[1]
    if "variant" in plan:
        result, lines = continuity.hold(continuity.ContinuityDrill(plan, folder, say))
    else:
        drill = ordeal.Ordeal if "cell" in plan else scenario.Drill
        result, lines = scenario.hold(drill(plan, folder, say))
    json.dump({"result": result, "text": lines}, sys.stdout)
    return PASS


def one_run(command, plan, folder):
    """Start the inner process and take its result."""
    os.mkdir(folder)
    script = os.path.realpath(sys.argv[0])
    child = subprocess.Popen([*command, sys.executable, "-B", script, INNER, json.dumps(plan), folder],
                             stdout=subprocess.PIPE, text=True)
    try:
        out, _ = child.communicate(timeout=plan["seconds"] + RUN_LIMIT)
        return json.loads(out)
    except subprocess.TimeoutExpired as e:
        raise DrillError(f"the drill did not end within {plan['seconds'] + RUN_LIMIT} s and was killed") from e
    except ValueError as e:
        raise DrillError(f"the drill broke down (status {child.returncode}), see above") from e
    finally:
        child.kill()  # unshare; --kill-child takes all the rest with it
        child.wait()


def hold_all(opts, folder):
    """All runs; the exit status."""
    began = time.monotonic()
    plan = prepare(opts, folder)
    if opts.prepare:
        say(f"ready: {plan['kernel']}")
        return PASS
    command = isolation()
    if opts.matrix:
        held = matrix.hold(opts, folder, lambda more, place: one_run(command, {**plan, **more}, place), say)
        return PASS if held else FAIL
    seed = opts.seed if opts.seed is not None else random.randrange(1, 10**6)
    passed, times, results = 0, [], []
    plans = all_plans(opts, plan, folder)
    for run, (called, plan) in enumerate(plans, 1):
        plan["seed"] = seed + run - 1
        place = os.path.join(folder, f"run-{run}")
        say(f"drill {run} of {len(plans)}: {called}, seed {plan['seed']}")
        answer = one_run(command, plan, place)
        result = answer["result"]
        if opts.json:
            print(json.dumps(result), flush=True)
        if opts.runs == 1 or result["failures"]:
            say("\n".join(answer["text"]))
        say(report.one_line(run, len(plans), result))
        results.append(result)
        times.append(result["seconds"])
        if result["result"] == "pass":
            passed += 1
            if not opts.keep:
                shutil.rmtree(place)
        else:
            report.tails(place, say)
    if opts.continuity:
        say("\n".join(continuity.table(results)))
    if len(plans) > 1:
        say(f"{passed} of {len(plans)} drills passed in {time.monotonic() - began:.0f} s; "
            f"a drill took {min(times):.1f} to {max(times):.1f} s")
    return PASS if passed == len(plans) else FAIL


def work_folder():
    """Short, because the paths of sockets are limited to 107 bytes."""
    base = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="remus-drill-", dir=base if len(base) <= 20 else "/tmp")


def main(arguments):
    if arguments[:1] == [INNER]:
        return inner(arguments[1:])
    if arguments[:1] == [WIRE]:
        wire.relay(arguments[1:3], arguments[3])
        return PASS
    opts = options.parse(arguments)
    if opts.matrix and opts.list:
        print("\n".join(matrix.listing()))
        return PASS
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up as for Ctrl-C
    folder = work_folder()
    status = IMPOSSIBLE
    try:
        status = hold_all(opts, folder)
    except DrillError as e:
        say(f"remus-drill: {e}")
        report.tails(folder, say)
    except KeyboardInterrupt:
        say("remus-drill: interrupted")
        status = 130
    finally:
        if status == PASS and not opts.keep or not any(f.startswith("run-") for f in os.listdir(folder)):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"logs and traces are kept in {folder}")
    return status
