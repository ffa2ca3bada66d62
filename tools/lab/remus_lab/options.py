# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of lab."""

import argparse

from . import cases

EPILOG = """
A lab that is not up is brought up for `drill`, `compare`, `matrix`, `leak` and `plug-check` and taken down after them.
A lab that is up is used as it is, and stays up: hosts that have died are booted again.
exit status: that of CMD for run; otherwise 0 all went well, 1 a condition did not hold, 2 the lab could not do it
remusd, remusctl, remus-lab-agent and remus-drill-guest are looked for in $REMUS_BUILD and ./build."""


def _lab(parser, default):
    parser.add_argument("--name", default=default, metavar="NAME", help="which lab (default: %(default)s)")


def _hosts(parser):
    add = parser.add_argument
    add("--memory", type=int, default=1024, metavar="MIB", help="memory of each host (default 1024)")
    add("--dom0-memory", type=int, default=512, metavar="MIB", help="of which for dom0 (default 512)")
    add("--vcpus", type=int, default=1, metavar="N", help="processors of each host (default 1)")
    add("--xen", metavar="FILE", help="another hypervisor (an uncompressed ELF file)")
    add("--xen-arguments", default="", metavar="TEXT", help="more arguments for the hypervisor")
    add("--extra", action="append", default=[], metavar="FILE", help="another program for dom0's /usr/bin")


def _guest(parser):
    add = parser.add_argument
    add("--guest-type", choices=("pvh", "pv"), default="pvh", help="(default pvh)")
    add("--guest-memory", type=int, default=128, metavar="MIB", help="(default 128)")
    add("--dirty", type=int, default=200, metavar="PAGES_PER_S", help="pages the guest rewrites (default 200)")
    add("--region", type=int, default=8, metavar="MIB", help="memory that they are taken from (default 8)")


def _interval(parser):
    add = parser.add_argument
    add("--interval", type=int, default=200, metavar="MS", help="guest run time between checkpoints (default 200)")
    add("--json", action="store_true", help="one JSON object on standard output")
    add("--keep", action="store_true", help="keep the logs though all went well")


def _protection(parser):
    _interval(parser)
    parser.add_argument("--seconds", type=float, default=10, metavar="S",
                        help="time under protection before the fault (default 10)")


def _cases(text):
    names = text.split(",")
    unknown = [name for name in names if name not in cases.NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(f"no case {', '.join(unknown)}; there are {', '.join(cases.NAMES)}")
    return names


def build():
    parser = argparse.ArgumentParser(prog="lab", description="Two real Xen hosts inside QEMU.", epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name, text, *groups, lab="default"):
        one = verbs.add_parser(name, help=text, description=text)
        _lab(one, lab)
        for group in groups:
            group(one)
        return one
    verb("prepare", "fetch and unpack the Debian packages").add_argument(
        "--refresh", action="store_true", help="again, even if they are there")
    verb("up", "boot both hosts", _hosts)
    one = verb("run", "run CMD (bash) in a host's dom0, with its exit status")
    one.add_argument("--timeout", type=float, default=600, metavar="S", help="(default 600; then the status is 124)")
    one.add_argument("host", choices="ab")
    one.add_argument("command", nargs="+", metavar="CMD")
    one = verb("push", "copy FILE to PATH in a host's dom0")
    one.add_argument("host", choices="ab")
    one.add_argument("file")
    one.add_argument("path")
    verb("guest", "start the guest pvh1 (or pv1) on host a and wait until it answers", _guest)
    verb("exec", "run CMD on this machine inside the lab's network").add_argument(
        "command", nargs=argparse.REMAINDER, metavar="CMD")
    verb("status", "which hosts and guests run")
    one = verb("drill", "protect a guest with remus, kill host a, judge", _hosts, _guest, _protection, lab=None)
    one.add_argument("--connections", type=int, default=4, metavar="N", help="TCP connections (default 4)")
    one.add_argument("--kill", choices=("host", "engine", "link", "backup", "none", "shutdown"), default="host",
                     help="what to kill (default host)")
    one.add_argument("--seed", type=int, metavar="N", help="decides the moment of the fault and the payloads")
    one.add_argument("--no-agent", dest="agent", action="store_false",
                     help="without remus-agent in the guest: nobody renews its random numbers and its clock")
    one.add_argument("--continuity", nargs="?", const="all", choices=("all", "agent", "none"),
                     help="wake one checkpoint up three times, once as the guest, and compare random numbers and clocks; with "
                          "an agent and without (or one of these alone); host b's clock is 5 s wrong on purpose")
    one = verb("compare", "xl remus and remus, one after the other", _hosts, _guest, _protection, lab=None)
    one.add_argument("--only", choices=("xl", "remus"), help="measure only this one")
    one.add_argument("--rounds", type=int, default=1, metavar="N",
                     help="measure each N times, in turns, and give the medians (default 1; three minutes each)")
    one = verb("matrix", "kill, cut and end everything that there is, one after the other", _hosts, _guest, lab=None)
    _interval(one)
    one.add_argument("--only", type=_cases, metavar="CASE,...", help="of " + ", ".join(cases.NAMES))
    one.add_argument("--seed", type=int, default=1, metavar="N", help="decides the client's payloads")
    one = verb("leak", "does anything that a protected guest sends get out before it may?", _hosts, _guest, _protection,
               lab=None)
    one.add_argument("--rate", type=int, default=200, metavar="FRAMES_PER_S", help="what the guest sends (default 200)")
    verb("plug-check", "the kernel buffer's own test, in a dom0", _hosts, lab=None).add_argument(
        "--host", choices="ab", default="b", help="(default b)")
    verb("down", "end the lab and remove its folder")
    return parser


RANGES = (("memory", 512, 65536), ("dom0_memory", 256, 65536), ("vcpus", 1, 16), ("guest_memory", 64, 16384),
          ("dirty", 0, 1000000), ("region", 1, 4096), ("interval", 1, 10000), ("seconds", 1, 3600),
          ("connections", 1, 200), ("rate", 20, 2000), ("rounds", 1, 50))


def parse(arguments):
    parser = build()
    options = parser.parse_args(arguments)
    for name, low, high in RANGES:
        value = getattr(options, name, low)
        if not low <= value <= high:
            parser.error(f"--{name.replace('_', '-')} {value} is out of range: {low} to {high}")
    if getattr(options, "continuity", None) and (options.kill != "host" or not options.agent):
        parser.error("--continuity kills the host, and has variants with and without the agent: not with --kill or --no-agent")
    if getattr(options, "region", 0) > getattr(options, "guest_memory", 64) // 4:
        parser.error("--region must be at most a quarter of --guest-memory")
    return options
