# SPDX-License-Identifier: GPL-2.0-or-later
"""remus-drill: kill a host and see whether anyone outside can tell.

    options.py   the command line
    launch.py    the outer process: assets, isolation, one inner process per run
    scenario.py  the inner process: one drill, from an empty network to the verdict
    matrix.py    many drills: every fault in every phase on every side, and their table
    cells.py     what these are, who may survive     ordeal.py    one of them
    blows.py     how each fault is struck            wire.py      a link that can be hurt one way
    topology.py  namespaces, bridges, links          assets.py    kernel, initramfs
    hosts.py     remusd and QEMU of one host         control.py   remusd's and the guest's control ports
    client.py    the TCP connections                 observer.py  what left host a, and when
    litter.py    what was left behind                report.py    the verdict, JSON and text
"""


class DrillError(Exception):
    """The drill cannot go on. The message names what was done, what went wrong and what to do."""
