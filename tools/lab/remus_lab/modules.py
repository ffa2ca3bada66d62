# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel modules for an initramfs: which, in what order, and the tables that modprobe reads (what depmod would
write). The kernel itself asks modprobe for modules: "sch_plug" when tc names that discipline, "rtnl-link-ifb" for a
link's kind, so aliases matter as much as names.
"""

import re

# What remus needs of a dom0 (netbuf's redirect and plug, the vifs, a tap for HVM), what xl needs, what the lab needs.
DOM0_LOADED = ("virtio_pci", "virtio_net", "9pnet_virtio", "9p", "bridge", "xenfs", "xen_privcmd", "xen_evtchn",
               "xen_gntdev", "xen_gntalloc", "xen_netback", "xen_blkback")
DOM0_LOADABLE = ("sch_plug", "sch_prio", "sch_ingress", "ifb", "act_mirred", "cls_matchall", "cls_u32", "sch_netem", "sch_htb",
                 "tun", "8021q", "veth", "nbd", "loop", "br_netfilter")
GUEST = ("xen_netfront", "8021q")


def aliases(data):
    """The patterns in a module's .modinfo section."""
    return [a.decode() for a in re.findall(rb"(?:^|\0)alias=([^\0]+)(?=\0)", data)]


def tables(modules, depends):
    """{"modules.dep": text, "modules.alias": text} of [(name, bytes)], which is in load order; @depends(bytes) names
    what one needs. modprobe loads the modules of a line from its end to its beginning."""
    known = dict(modules)
    order = {name: i for i, (name, _) in enumerate(modules)}
    lines, alias_lines = [], []

    def needs(name, found):
        for other in depends(known[name]):
            if other in known and other not in found:
                found.append(other)
                needs(other, found)
        return found

    for name, data in modules:
        lines.append(f"{name}.ko:" + "".join(
            f" {other}.ko" for other in sorted(needs(name, []), key=order.get, reverse=True)))
        alias_lines += [f"alias {alias} {name}" for alias in aliases(data)]
    return {"modules.dep": "\n".join(lines) + "\n", "modules.alias": "\n".join(alias_lines) + "\n"}
