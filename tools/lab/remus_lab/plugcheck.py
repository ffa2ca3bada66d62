# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab plug-check`: the kernel buffer's own test (tests/lab/plug-check.c) in a dom0, whose kernel has sch_plug."""

import os

from remus_drill.hosts import find_program

from . import LabError

SECONDS = 300


def find():
    """The program; a build tree has it after `make check` or `make tests/lab/plug-check`."""
    build = os.environ.get("REMUS_BUILD")
    path = os.path.join(build or os.path.dirname(os.path.dirname(os.path.dirname(find_program("remusd")))),
                        "tests/lab/plug-check")
    if not os.access(path, os.X_OK):
        raise LabError(f"{path} is not there: run \"make tests/lab/plug-check\" in the build tree")
    return path


def run(machine):
    """(passed, what it printed). Skipped is not passed: a dom0 of the lab has all that it needs."""
    machine.agent.push(find(), "/tmp/plug-check")
    done = machine.agent.run("/tmp/plug-check", SECONDS)
    return done.status == 0, (done.out + done.err).strip()
