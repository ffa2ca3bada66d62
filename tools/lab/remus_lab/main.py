# SPDX-License-Identifier: GPL-2.0-or-later
"""The outer process: which verb, which lab; goes inside for the rest. Only what happens here sees the system as it
is outside the lab: the downloads, the images, the keeper, the end.
"""

import os
import shutil
import signal
import sys

from remus_drill.hosts import find_program

from . import LabError, images, inside, options, packages, place

OK, FAIL, IMPOSSIBLE, INTERRUPTED = 0, 1, 2, 130


def say(text):
    print(text, file=sys.stderr, flush=True)


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def prepare(lab, opts):
    """What the hosts boot, in the lab's folder."""
    for tool, package in (("qemu-system-x86_64", "qemu-system-x86"), ("nsenter", "util-linux"), ("ip", "iproute2")):
        if not shutil.which(tool):
            raise LabError(f"{tool} was not found (Debian: apt-get install {package})")
    for program in ("remus-lab-agent", "remus-drill-guest"):
        find_program(program)
    base = packages.base(say)
    dom0, modules = images.dom0(base, opts.extra, say)
    write(lab.file("dom0.cpio"), dom0)
    write(os.path.join(lab.share, "guest.cpio"), images.guest(base))
    shutil.copyfile(base.vmlinux, os.path.join(lab.share, "vmlinux"))
    if opts.xen and not os.access(opts.xen, os.R_OK):
        raise LabError(f"--xen {opts.xen} cannot be read")
    lab.set_plan({"memory": opts.memory, "dom0_memory": opts.dom0_memory, "vcpus": opts.vcpus,
                  "xen": os.path.abspath(opts.xen) if opts.xen else base.xen, "xen_arguments": opts.xen_arguments,
                  "vmlinux": base.vmlinux, "dom0": lab.file("dom0.cpio"), "dom0_modules": ",".join(modules),
                  "packages": base.manifest["packages"]})


def bring_up(lab, opts, tied):
    """Both hosts run when this returns OK."""
    lab.make()
    try:
        if not lab.keeper():
            shutil.rmtree(lab.share, ignore_errors=True)
            os.mkdir(lab.share, 0o700)
            prepare(lab, opts)
            lab.start_keeper(tied)
        return lab.enter(["boot"])
    finally:
        lab.unlock()


def up(lab, opts):
    fresh = not lab.keeper()
    status = IMPOSSIBLE
    try:
        status = bring_up(lab, opts, tied=False)
    finally:
        if status and fresh:
            lab.down(keep_logs=True)
            say(f"the lab is down again; its logs are in {lab.share}")
    return status


def with_lab(lab, opts, arguments):
    """drill, compare, matrix, leak, plug-check: in the lab that is up, or in one for this purpose."""
    fresh = not lab.keeper()
    status = IMPOSSIBLE
    try:
        status = bring_up(lab, opts, tied=True)
        if status == OK:
            status = lab.enter(arguments)
    finally:
        if fresh:
            keep = getattr(opts, "keep", False) or status not in (OK, INTERRUPTED)
            lab.down(keep_logs=keep)
            if keep:
                say(f"logs and traces are kept in {lab.share}")
        elif status:
            say(f"the lab \"{lab.name}\" is still up; its logs are in {lab.share}")
    return status


def carry_out(opts, arguments):
    if opts.verb == "prepare":
        say(f"ready: {packages.base(say, opts.refresh).folder}")
        return OK
    lab = place.Place(opts.name or f"{opts.verb}-{os.getpid()}")
    if opts.verb == "up":
        return up(lab, opts)
    if opts.verb in ("drill", "compare", "matrix", "leak", "plug-check"):
        return with_lab(lab, opts, arguments)
    if opts.verb == "down":
        if not os.path.isdir(lab.folder):
            say(f"there is no lab \"{lab.name}\"")
            return OK
        lab.make()
        lab.down()
        return OK
    if not lab.keeper():
        others = [n for n in place.known() if place.Place(n).keeper()]
        raise LabError(f"the lab \"{lab.name}\" is not up; \"lab up\" boots it"
                       + (f" (up are: {', '.join(others)})" if others else ""))
    return lab.enter(arguments)


def main(arguments):
    if arguments[:1] == [place.KEEPER]:
        return place.keep(int(arguments[1]))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up as for Ctrl-C
    try:
        if arguments[:1] == [place.INSIDE]:
            lab = place.Place(arguments[1])
            os.chdir(arguments[2])
            return inside.boot(lab, say) if arguments[3] == "boot" else \
                inside.carry_out(lab, options.parse(arguments[3:]), say)
        return carry_out(options.parse(arguments), arguments)
    except LabError as e:
        say(f"lab: {e}")
        return IMPOSSIBLE
    except KeyboardInterrupt:
        say("lab: interrupted")
        return INTERRUPTED
