# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab: two real Xen hosts inside QEMU, on a machine without Xen and without VMX.

    options.py    the command line
    main.py       the outer process: which verb, which lab, from outside to inside
    place.py      one lab's folder, and the namespaces that all of it lives in
    inside.py     the verbs, carried out inside those namespaces
    steps.py      named steps with deadlines
    packages.py   Debian packages, unpacked into a cache    elf.py     the libraries that a program needs
    images.py     the dom0's and the guest's initramfs      modules.py  kernel modules and their tables
    network.py    bridges, taps, addresses                  vlan.py    the client in the VLAN
    machine.py    one Xen host: its QEMU                    agent.py   commands in its dom0
    guest.py      the guest as Xen's tools see it           xenhost.py a Xen host as the drill sees it
    xendrill.py   `lab drill`: the drill on Xen
    compare.py    `lab compare`: what is measured, how      xlremus.py xl remus, its log
    matrix.py     `lab matrix`: what is walked, judged      cases.py   what is killed, cut or ended
    facts.py      what a dom0 holds, what is left
    leak.py       `lab leak`: nothing gets out early     listen.py  what is heard on the lab's bridges
    leakage.py    its verdict, pure                     plugcheck.py  `lab plug-check`
    probe.py      the client of a comparison                table.py   the comparison's words

The client, the observer, the verdict and the waiting are the drill's own (tools/drill/remus_drill).

    lab's namespaces:   10.77.0.1, fd77::1, VLAN 10: 10.79.0.1 [lan]      [repl] 10.78.0.254
                                           lan-a |  | lan-b     repl-a |  | repl-b
    ---------------------------------------------+--+------------------+--+---------------
    QEMU a: Xen, dom0   [xenbr0]     [repl] 10.78.0.1      QEMU b: Xen, dom0   [xenbr0]    [repl] 10.78.0.2
            guest pvh1  [vif] 10.77.0.10, fd77::10, VLAN 10: 10.79.0.10

Both dom0s see one folder of the lab at /lab (9p): what guests boot from, the arbiter's folder, and traces and
logs, which so outlive the host. Nothing outside the lab's namespaces and its folder is touched.
"""

from remus_drill import DrillError as LabError

__all__ = ["LabError"]
