# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's network: two bridges, a tap for each host in each, and the client's addresses (the one in the VLAN
needs no device: vlan.py). Made inside the lab's network namespace, which takes all of it along when it goes.
"""

from remus_drill.topology import BRIDGE_MAC, ip, offloads_off

VLAN = 10
VLAN_CLIENT, VLAN_GUEST = "10.79.0.1", "10.79.0.10"
REPL_LAB = "10.78.0.254"
TAPS = tuple(f"{bridge}-{host}" for bridge in ("lan", "repl") for host in "ab")


def build():
    ip("link", "set", "lo", "up")
    for bridge in ("lan", "repl"):
        ip("link", "add", bridge, "address", BRIDGE_MAC[bridge], "type", "bridge", "forward_delay", "0",
           "mcast_snooping", "0")
        offloads_off(bridge)
    for tap in TAPS:
        ip("tuntap", "add", tap, "mode", "tap")
        ip("link", "set", tap, "master", tap.split("-")[0], "addrgenmode", "none", "up")
    ip("address", "add", "10.77.0.1/24", "dev", "lan")
    ip("address", "add", REPL_LAB + "/24", "dev", "repl")
    ip("link", "set", "lan", "up")
    ip("link", "set", "repl", "up")
    ip("address", "add", "fd77::1/64", "dev", "lan", "nodad")


def octets(interface, direction):
    """What an interface of this namespace has carried so far: direction is "receive" (from the host) or "transmit"."""
    with open("/proc/net/dev", encoding="ascii") as f:
        for line in f:
            name, _, numbers = line.partition(":")
            if name.strip() == interface:
                return int(numbers.split()[0 if direction == "receive" else 8])
    return 0
