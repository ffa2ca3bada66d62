# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of remus-drill."""

import argparse

FAULTS = {
    "host": "everything of host a is killed at once, its links go down in the same instant (default)",
    "engine": "only the engine of host a is killed",
    "qemu": "only the guest's QEMU on host a is killed",
    "freeze": "everything of host a stands still (SIGSTOP, its guest too) for 5 s and then goes on, as after a suspend",
    "link": "the replication link is cut, both hosts live on",
    "backup": "everything of host b is killed; then host b comes back and the guest is protected again",
    "none": "no fault: the guest is handed over in order (remusctl failover)",
    "shutdown": "the guest powers itself off: nothing may be resurrected",
}


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="remus-drill",
        description="Protect a real Linux guest, kill its host, and check that no client outside could tell.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="faults for --kill:\n" + "\n".join(f"  {k:9} {v}" for k, v in FAULTS.items())
        + "\n\nexit status: 0 every condition held, 1 one did not, 2 the drill could not be held"
        "\nremusd and remusctl are looked for in $REMUS_BUILD, ./build, next to remus-drill and in PATH.")
    add = parser.add_argument
    add("--memory", type=int, default=256, metavar="MIB", help="guest memory (default 256)")
    add("--interval", type=int, default=25, metavar="MS", help="epoch length (default 25)")
    add("--seconds", type=float, default=3, metavar="S", help="time under protection before the fault (default 3)")
    add("--dirty", type=int, default=4000, metavar="PAGES_PER_S",
        help="pages the guest rewrites each second (default 4000: about 150 an epoch with the kernel's own)")
    add("--region", type=int, default=16, metavar="MIB", help="memory that those pages are taken from (default 16)")
    add("--connections", type=int, default=4, metavar="N", help="TCP connections, half of them IPv6 (default 4)")
    add("--link", choices=("psk", "x509", "plaintext"), default="psk",
        help="how the hosts know each other: TLS by a shared key (default), by certificates, or not at all")
    add("--continuity", nargs="?", const="all", choices=("all", "agent", "vmgenid", "none"),
        help="wake one checkpoint up three times, once as the guest, and compare random numbers and clocks; with an agent, "
             "with a generation id, with neither (or one of these alone); host b's clock is wrong on purpose")
    add("--no-agent", dest="agent", action="store_false",
        help="without remus-agent in the guest: nobody renews its random numbers and its clock after a failover")
    add("--runs", type=int, default=1, metavar="N", help="hold N drills in a row")
    add("--kill", choices=FAULTS, default="host", help="what to kill (below)")
    add("--arbiter", choices=("file", "etcd"), default="file",
        help="who decides (default file: a shared folder). etcd: a throw-away etcd outside both hosts, itself killed in the "
             "moment of the fault; nobody may go on before it is back, then exactly one")
    add("--seed", type=int, default=None, metavar="N", help="decides the moment of the fault and the payloads")
    add("--json", action="store_true", help="print the report as one JSON object per run on stdout")
    add("--kernel", metavar="FILE", help="boot this kernel instead of Debian's cloud kernel")
    add("--modules", metavar="DIR", help="with --kernel: its /lib/modules/VERSION (needed unless virtio is built in)")
    add("--keep", action="store_true", help="keep logs and traces of runs that passed too")
    add("--prepare", action="store_true", help="only fetch and unpack the kernel, then exit")
    options = parser.parse_args(arguments)
    for name, low, high in (("memory", 128, 16384), ("interval", 1, 10000), ("seconds", 0, 3600),
                            ("dirty", 0, 1000000), ("region", 1, options.memory // 4),
                            ("connections", 1, 200), ("runs", 1, 100000)):
        value = getattr(options, name)
        if not low <= value <= high:
            parser.error(f"--{name} {value} is out of range: {low} to {high}")
    if options.continuity and (options.kill != "host" or options.arbiter != "file" or options.kernel):
        parser.error("--continuity kills the host, is decided by its operator and needs kernels of its own: not with --kill, "
                     "--arbiter or --kernel")
    if options.arbiter == "etcd" and options.kill not in ("host", "engine", "link"):
        parser.error(f"--arbiter etcd is killed while it is asked, and with --kill {options.kill} it is not, or a guest stands "
                     "still for it; use host, engine or link")
    return options
