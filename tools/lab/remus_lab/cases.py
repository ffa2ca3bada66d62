# SPDX-License-Identifier: GPL-2.0-or-later
"""The cases of `lab matrix`: what is done to a protected guest, and where it may be afterwards. How a case is walked
is in matrix.py; a strike here gets the Matrix and does one thing.

The two hosts' arbiter is a folder that both see; `record` says what must be in it: the winner's record where the
arbiter had to decide, nothing where both sides agreed. Of a link that is cut either host may win: the one that hears
nothing must be the first to notice, but it closes the connection then, so that the other asks a moment later.
"""

import collections

from remus_drill import control
from remus_drill.topology import ADDRESS

from . import LabError

# name; what is done; "ab": the hosts that the guest may go on at ("" = none); record: "one", "none"; noticed_by: the
# host that must be the first to miss the other; options: "reboot": the guest starts anew; "stays": it stays protected,
# and is unprotected afterwards; "mend": what was killed must be started again for that; "poll": remusd runs without the
# suspend event channel; "back": afterwards it is protected from b to a and handed back.
Case = collections.namedtuple("Case", "name text survivors record noticed_by options strike")

NOWHERE = "02:00:00:00:00:01"  # an address that no card has


def _kill(m, host, pid, what):
    if not pid:
        raise LabError(f"{what} on host {host.name} has no process")
    m.now(f"kill -9 of {what} on host {host.name} (pid {pid})")
    host.agent.must(f"kill -9 {pid}", 10)


def _remusd(m, host):
    pid = int(host.agent.must("cat /run/remusd.pid", 10))
    m.ailing.append(host)
    _kill(m, host, pid, "remusd")


def _all(m, host):
    """Nobody is left who could clean up but the next remusd."""
    m.ailing.append(host)
    m.now(f"kill -9 of every process of remus on host {host.name}")
    host.kill_named("remusd|remus-primary|remus-backup|remus-xen-keep*|libxl-save-help*")


# Stopped at random, it is mostly caught elsewhere: look, let it go on, stop it again.
ENGINE_PAUSED = """for i in $(seq 200); do
	kill -STOP %d
	remus-lab-xen | grep -q ' suspended ' && kill -9 %d && exit 0
	kill -CONT %d
	usleep $((RANDOM * 5))
done
exit 1"""


def _engine_paused(m):
    pid = m.domain(m.a).get("pid")
    m.now(f"kill -9 of the engine on host a (pid {pid}) while the guest is suspended")
    m.a.agent.must(ENGINE_PAUSED % (pid, pid, pid), 90)


def _rebuilt(m, old):
    m.wait("epochs to go on without the standby's domain", 90, m.epochs_go_on)
    m.wait("another domain of the standby", 30, lambda: m.standby() not in (old, None))


def _keeper(m):
    old, pids = m.standby(), [pid for pid, _, name in m.b.facts().processes if name.startswith("remus-xen-keep")]
    _kill(m, m.b, pids[0] if len(pids) == 1 else 0, "remus-xen-keeper")
    _rebuilt(m, old)


def cut(m, sources):
    """What host "a" or "b" sends to the other one goes to an address that nobody has: it leaves the host and arrives
    nowhere, and only in that direction. The lab's own way to the hosts is not touched."""
    for name in sources:
        other = "b" if name == "a" else "a"
        m.hosts[name].agent.must(f"ip neigh replace {ADDRESS[other]} lladdr {NOWHERE} nud permanent dev repl", 10)


def mend(m):
    for name, host in m.hosts.items():
        if host.machine.pid():
            host.agent.run(f"ip neigh del {ADDRESS['b' if name == 'a' else 'a']} dev repl 2>/dev/null", 10)


def _cut(sources, text):
    def strike(m):
        for host in m.hosts.values():
            host.read_clock()
        m.now("the link is cut " + text)
        m.cut = True
        cut(m, sources)
    return strike


def _destroy(m):
    m.now("xl destroy on host a")
    m.a.agent.must(f"xl destroy {m.guest}", 60)


def _shutdown(m):
    m.now("the guest powers itself off")
    control.guest("poweroff")


def _reboot(m):
    m.now("xl reboot on host a")
    m.a.agent.must(f"xl reboot {m.guest}", 30)


def _unprotect(m):
    m.now("unprotect")
    m.a.ctl("unprotect", m.guest, timeout=30)


def _saved(m):
    """What protection leaves must not stand in the way of Xen's own tools."""
    _unprotect(m)
    m.a.agent.must(f"timeout 100 xl save -c {m.guest} /dev/null", 110)


def _handover(m):
    m.now("the guest is handed over in order")
    m.a.ctl("failover", m.guest, timeout=60)


def _dead_host(m):
    m.now("host a loses its power")
    m.a.machine.kill()


def _standby_destroyed(m):
    old = m.standby()
    m.now("xl destroy of the standby on host b")
    m.b.agent.must(f"xl destroy {m.guest}--incoming", 60)
    _rebuilt(m, old)
    _dead_host(m)


CASES = (
    Case("unprotect", "unprotect in order", "a", "none", "", set(), _unprotect),
    Case("reboot", "the guest reboots", "a", "none", "", {"reboot"}, _reboot),
    Case("remusd-a", "kill -9 of remusd on a", "a", "none", "", set(), lambda m: _remusd(m, m.a)),
    Case("remusd-b", "kill -9 of remusd on b", "a", "one", "", set(), lambda m: _remusd(m, m.b)),
    Case("receiver", "kill -9 of the receiver on b", "a", "one", "", set(),
         lambda m: _kill(m, m.b, m.domain(m.b).get("pid"), "the receiver")),
    Case("keeper", "kill -9 of the standby's keeper on b", "a", "none", "", {"stays"}, _keeper),
    Case("engine", "kill -9 of the engine on a", "ab", "one", "", set(),
         lambda m: _kill(m, m.a, m.domain(m.a).get("pid"), "the engine")),
    Case("engine-paused", "the same while the guest is suspended", "ab", "one", "", set(), _engine_paused),
    Case("all-a", "kill -9 of all of remus on a, remusd started again", "ab", "one", "", {"mend"},
         lambda m: _all(m, m.a)),
    Case("all-b", "kill -9 of all of remus on b, remusd started again", "a", "one", "", {"mend"},
         lambda m: _all(m, m.b)),
    Case("cut-ba", "link cut, b to a only", "ab", "one", "a", set(), _cut("b", "from b to a")),
    Case("cut-ab", "link cut, a to b only", "ab", "one", "b", set(), _cut("a", "from a to b")),
    Case("cut-both", "link cut both ways", "ab", "one", "", set(), _cut("ab", "both ways")),
    Case("failover", "planned hand-over", "b", "one", "", set(), _handover),
    Case("poll", "suspends polled for, then unprotect", "a", "none", "", {"poll"}, _unprotect),
    Case("save", "unprotect, then xl save -c", "a", "none", "", set(), _saved),
    Case("destroy", "xl destroy of the guest on a", "", "none", "", set(), _destroy),
    Case("shutdown", "the guest shuts down", "", "none", "", set(), _shutdown),
    Case("rebuild", "xl destroy of the standby, then host a dies", "b", "one", "", set(), _standby_destroyed),
    Case("host", "host a dies; then protected from b to a, and handed back", "b", "one", "", {"back"}, _dead_host),
)
NAMES = tuple(case.name for case in CASES)
