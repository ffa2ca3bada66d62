# SPDX-License-Identifier: GPL-2.0-or-later
"""The drill's network, in namespaces that nobody else sees.

            world (the drill's own namespace: client, observer)
        10.77.0.1, fd77::1 [lan]                 [repl] (no address)
              lan-a |  | lan-b             repl-a |  | repl-b
      --------------+--+---------------------------+--+-------------------
      host a   [lan]    [repl] 10.78.0.1    host b  [lan]   [repl] 10.78.0.2

`lan` inside a host has no address and the host's kernel does not speak there: it belongs to the guest
(10.77.0.10, fd77::10), whose frames remusd sends and receives as raw packets. That is why checksum and
segmentation offloads are turned off on it: a raw socket would see frames that no wire ever carries.

Where an arbiter runs on a machine of its own, a third network leads there, [arb]: 10.79.0.1 and 10.79.0.2 in the
hosts, 10.79.0.9 in the world.

One network may be wired: [repl] is then no bridge but a wire (wire.py) between its two ports, or [arb] leads through one
to a host c, where the arbiter is.
"""

import array
import ctypes
import fcntl
import os
import socket
import struct
import subprocess

from . import DrillError

GUEST_MAC = "52:54:00:77:00:10"
GUEST_IP4, GUEST_IP6 = "10.77.0.10", "fd77::10"
BRIDGE_MAC = {"lan": "52:54:00:77:00:01", "repl": "52:54:00:78:00:01", "arb": "52:54:00:79:00:01"}
ADDRESS = {"a": "10.78.0.1", "b": "10.78.0.2"}
ARB_ADDRESS = {"a": "10.79.0.1", "b": "10.79.0.2"}
ETCD_ADDRESS = "10.79.0.9"

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCETHTOOL = 0x8913, 0x8914, 0x8946
IFF_UP = 1
# linux/ethtool.h: ETHTOOL_SRXCSUM, STXCSUM, SSG, STSO, SGSO, SGRO
OFFLOADS = (0x15, 0x17, 0x19, 0x1f, 0x24, 0x2c)

_libc = ctypes.CDLL(None, use_errno=True)


def ip(*arguments, prefix=()):
    done = subprocess.run([*prefix, "ip", *arguments], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise DrillError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _check(what, result):
    if result < 0:
        raise DrillError(f"{what}: {os.strerror(ctypes.get_errno())}")


def offloads_off(interface):
    """What `ethtool -K IF rx off tx off sg off tso off gso off gro off` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for command in OFFLOADS:
            value = array.array("B", struct.pack("II", command, 0))
            request = struct.pack("16sQ8x", interface.encode(), value.buffer_info()[0])
            try:
                fcntl.ioctl(s, SIOCETHTOOL, request)
            except OSError:
                pass  # a feature this kernel cannot switch; the others suffice


def link_set(interfaces, up):
    """Switch interfaces of this namespace, within microseconds (no process is started)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for interface in interfaces:
            request = fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("16sH14x", interface.encode(), 0))
            flags = struct.unpack("16sH14x", request)[1]
            flags = flags | IFF_UP if up else flags & ~IFF_UP
            fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", interface.encode(), flags))


class Namespace:
    """A network namespace held open by a descriptor; `prefix` runs a command inside."""

    def __init__(self, name):
        self.name = name
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _check(f"making the network of host {name}", _libc.unshare(CLONE_NEWNET))
        self.fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _check("going back to the drill's own network", _libc.setns(own, CLONE_NEWNET))
        os.close(own)
        self.inode = os.fstat(self.fd).st_ino
        self.prefix = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.fd}", "--"]

    def ip(self, *arguments):
        ip(*arguments, prefix=self.prefix)


class Topology:
    """Everything of the picture above."""

    def __init__(self, arbiter=False, wired=None):
        self.hosts = {name: Namespace(name) for name in "ab"}
        self.wired = wired
        self.wire_ends = ()
        self.apart = None  # the arbiter's own host
        self.bridges = ["lan", "repl"] + (["arb"] if arbiter else [])
        ip("link", "set", "lo", "up")
        for bridge in self.bridges:
            if bridge == wired == "repl":
                for host in self.hosts.values():
                    self._connect(bridge, host)
                self.wire_ends = "repl-a", "repl-b"
                continue
            # A fixed address: a bridge otherwise borrows the lowest of its ports'.
            ip("link", "add", bridge, "address", BRIDGE_MAC[bridge], "type", "bridge",
               "forward_delay", "0", "mcast_snooping", "0")
            offloads_off(bridge)
            for host in self.hosts.values():
                self._connect(bridge, host)
        ip("address", "add", "10.77.0.1/24", "dev", "lan")
        ip("link", "set", "lan", "up")
        ip("address", "add", "fd77::1/64", "dev", "lan", "nodad")
        if wired != "repl":
            ip("link", "set", "repl", "up")
        if arbiter and wired == "arb":
            self._arbiter_by_wire()
        elif arbiter:
            ip("address", "add", ETCD_ADDRESS + "/24", "dev", "arb")
            ip("link", "set", "arb", "up")

    def _connect(self, bridge, host):
        port = f"{bridge}-{host.name}"
        ip("link", "add", port, "type", "veth", "peer", "name", "peer")
        if bridge == "lan":
            offloads_off(port)
            offloads_off("peer")
        ip("link", "set", "peer", "netns", f"/proc/{os.getpid()}/fd/{host.fd}")
        host.ip("link", "set", "lo", "up")
        host.ip("link", "set", "peer", "name", bridge, "addrgenmode", "none")
        if bridge != "lan":
            address = ADDRESS if bridge == "repl" else ARB_ADDRESS
            host.ip("address", "add", address[host.name] + "/24", "dev", bridge)
        host.ip("link", "set", bridge, "up")
        if bridge == self.wired == "repl":
            ip("link", "set", port, "addrgenmode", "none", "up")
        else:
            ip("link", "set", port, "master", bridge, "addrgenmode", "none", "up")

    def _arbiter_by_wire(self):
        """[arb] - arb-x | arb-y ~ wire ~ arb-c | host c"""
        self.apart = Namespace("c")
        ip("link", "add", "arb-x", "type", "veth", "peer", "name", "arb-y")
        ip("link", "add", "arb-c", "type", "veth", "peer", "name", "peer")
        ip("link", "set", "peer", "netns", f"/proc/{os.getpid()}/fd/{self.apart.fd}")
        self.apart.ip("link", "set", "lo", "up")
        self.apart.ip("link", "set", "peer", "name", "arb", "addrgenmode", "none")
        self.apart.ip("address", "add", ETCD_ADDRESS + "/24", "dev", "arb")
        self.apart.ip("link", "set", "arb", "up")
        ip("link", "set", "arb-x", "master", "arb", "addrgenmode", "none", "up")
        for port in ("arb-y", "arb-c"):
            ip("link", "set", port, "addrgenmode", "none", "up")
        ip("link", "set", "arb", "up")
        self.wire_ends = "arb-y", "arb-c"

    def arbiter_prefix(self):
        """What runs a command on the arbiter's host."""
        return self.apart.prefix if self.apart else []

    def arbiter_ports(self):
        return ["arb-a", "arb-b"]

    def host_ports(self, name):
        return [f"{bridge}-{name}" for bridge in self.bridges]

    def replication_ports(self):
        return ["repl-a", "repl-b"]
