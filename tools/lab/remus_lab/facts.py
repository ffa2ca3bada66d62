# SPDX-License-Identifier: GPL-2.0-or-later
"""What a dom0 holds at a moment, asked in one go, and what of it has no business to be there (I8, I13). read() and
left() are pure.

Log-dirty mode is a fact too: remus-lab-xen (host/xenfacts.c) asks the hypervisor for it.
"""

import collections
import re

Domain = collections.namedtuple("Domain", "number name state logdirty")

SCRIPT = r"""
remus-lab-xen | sed 's/^/domain /'
tc qdisc show | grep -E '^qdisc (plug|ingress|clsact) ' | sed 's/ refcnt.*//'
for d in /sys/class/net/*; do echo "link ${d##*/}"; done
xenstore-ls -f /local/domain | sed 's/^/key /' | grep -E '/(remus[^/ ]*|control/shutdown) = '
for p in /proc/[0-9]*; do
	read -r line <$p/stat || continue
	name=${line#*(} name=${name%)*} rest=${line##*) }
	case $name in remus-lab-*) ;; remus*|libxl*) echo "process ${p#/proc/} ${rest%% *} $name" ;; esac
done 2>/dev/null
ss -Htn | sed 's/^/socket /' | grep -E ':7368( |$)'
find /run/remus -mindepth 1 | sed 's/^/file /'
"""

# The child that stays with a guest whose protection has ended, and what the next remusd needs to find it.
STAYS_FILES = re.compile(r"/run/remus/(\d+\.session|(primary|backup|relay)-\d+(/(domain\.json|xen\.log|entropy))?)")
# Of a guest that runs here: the way to its agent, and where the next failover starts from with its clock.
STAYS_KEYS = re.compile(r"^/local/domain/\d+/(data/remus(/re(quest|ply))?|remus-time-offset)$")
ALWAYS_FILES = ("/run/remus/control", "/run/remus/arbiter")


class Facts:
    """Of one host."""

    def __init__(self):
        self.domains, self.qdiscs, self.links, self.keys = [], [], [], {}
        self.processes, self.sockets, self.files = [], [], []

    def named(self, name):
        return [d for d in self.domains if d.name == name]


def read(text):
    """Facts from what SCRIPT prints."""
    facts = Facts()
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "domain":
            number, name, state, logdirty = rest.split()
            facts.domains.append(Domain(int(number), name, state, logdirty))
        elif kind == "qdisc":
            facts.qdiscs.append(rest)
        elif kind == "link":
            facts.links.append(rest)
        elif kind == "key":
            path, _, value = rest.partition(" = ")
            facts.keys[path] = value.strip().strip('"')
        elif kind == "process":
            pid, state, name = rest.split(None, 2)
            facts.processes.append((int(pid), state, name))
        elif kind == "socket":
            facts.sockets.append(" ".join(rest.split()))
        elif kind == "file":
            facts.files.append(rest)
    return facts


def _domains(facts, guest, here):
    for d in facts.domains:
        if here and d.name == guest:
            if d.state != "running":
                yield f"domain {d.number} ({d.name}) is {d.state}"
            if d.logdirty != "off":
                yield f"domain {d.number} ({d.name}): log-dirty mode is {d.logdirty}"
        else:
            yield f"domain {d.number} ({d.name}) is there, {d.state}"
    if here and len(facts.named(guest)) != 1:
        yield f"there are {len(facts.named(guest))} domains named {guest}"


def _network(facts):
    numbers = {str(d.number) for d in facts.domains}
    for qdisc in facts.qdiscs:
        yield "queueing discipline " + qdisc
    for link in facts.links:
        vif = re.match(r"vif(\d+)\.", link)
        if link.startswith("remus") or (vif and vif.group(1) not in numbers):
            yield "interface " + link


def _keys(facts, here):
    for path, value in facts.keys.items():
        if here and STAYS_KEYS.search(path):
            continue
        if "remus" in path:
            yield f"xenstore key {path} = {value}"
        elif value:
            yield f"{path} still says \"{value}\""


def _processes(facts, here):
    allowed = {"remusd": 1, "remus-xen-keep": 1 if here else 0, "relay": 1 if here else 0}
    for pid, state, name in facts.processes:
        kind = name[:14] if name.startswith("remus-xen-keep") else name
        kind = "relay" if kind in ("remus-primary", "remus-backup", "remus-relay") else kind
        allowed[kind] = allowed.get(kind, 0) - 1
        if state == "Z":
            yield f"zombie process {pid} ({name})"
        elif allowed[kind] < 0:
            yield f"process {pid} ({name})"


def left(facts, guest, here):
    """A sentence for each thing that is too much, or wrong with the guest, on a host that protects nothing and stands
    by for nothing. @here: the guest runs here, unprotected; the child that stays with it does no harm."""
    found = [*_domains(facts, guest, here), *_network(facts), *_keys(facts, here), *_processes(facts, here)]
    # The kernel's own way to close what nobody holds any more takes its time after a cut.
    found += [f"connection {s}" for s in facts.sockets if s.startswith(("ESTAB", "CLOSE-WAIT", "SYN"))]
    found += [f"file {f}" for f in facts.files
              if f not in ALWAYS_FILES and not (here and STAYS_FILES.fullmatch(f))]
    return found
