# SPDX-License-Identifier: GPL-2.0-or-later
"""`xl remus` between the lab's hosts, and what its log says about each checkpoint. read_log() is pure.

Its debug log, each line with the time that the agent put before it, shows of a checkpoint:

    issuing ... suspend request     the interval is over, the guest is asked
    guest acknowledged suspend      the guest begins to freeze: it stops serving about here
    guest has suspended             it stands still
    Checkpointed save: N/N          its N dirty pages are written, all while it stands still
    (the guest is resumed, the end of the checkpoint is written, the timer of the next interval is started)
    issuing ... suspend request     of the next one, an interval later

No line tells of the resume. It lies between the pages and the start of the timer, which is one interval before the next
request; the whole of that counts as pause here, and overstates it by what libxl does between the two.
"""

import collections
import re

from remus_drill.topology import ADDRESS

from . import LabError
from .guest import running

PORT = 7102
LOG = "/run/xl-remus.log"
MARKS = (("request", re.compile(r"issuing \S+ suspend request")),
         ("ack", re.compile(r"guest acknowledged suspend request")),
         ("suspended", re.compile(r"guest has suspended")),
         ("pages", re.compile(r"Checkpointed save: (\d+)/\1\s+100%")))

Checkpoint = collections.namedtuple("Checkpoint", "request ack suspended pages resumed dirty")  # times in µs


def read_log(text, interval_us):
    """[Checkpoint] of all that are complete and followed by another one."""
    done, current = [], {}
    for line in text.splitlines():
        head, _, rest = line.partition(" ")
        if not head.isdigit():
            continue
        for name, pattern in MARKS:
            found = pattern.search(rest)
            if not found:
                continue
            now = int(head)
            if name == "request":
                if "pages" in current:
                    done.append(Checkpoint(**current, resumed=max(current["pages"], now - interval_us)))
                current = {"request": now}
            elif name == "pages" and "suspended" in current:
                current.update(pages=now, dirty=int(found.group(1)))
            elif name != "pages" and current:
                current.setdefault(name, now)
            break
    return [c for c in done if c.ack <= c.suspended <= c.pages]


def parts(checkpoint):
    """µs: what the pause is made of. "suspend" is the guest's own."""
    return {"suspend": checkpoint.suspended - checkpoint.ack, "copy": checkpoint.pages - checkpoint.suspended,
            "resume": checkpoint.resumed - checkpoint.pages}


class XlRemus:
    """One protection by xl remus."""

    def __init__(self, hosts, name, interval):
        self.a, self.b, self.name, self.interval = hosts["a"], hosts["b"], name, interval

    def start(self):
        receive = f"remus-lab-agent accept {PORT} xl -vv migrate-receive -r"
        self.b.agent.must(f"(setsid {receive} >/dev/null </dev/null 2>/lab/b/xl-receive.log &); sleep 0.3", 20)
        # An empty -s makes xl run the "host" as a command of its own, instead of ssh.
        send = f"xl -vvv remus -F -n -d -i {self.interval} -s '' {self.name} "
        send += f"'remus-lab-agent connect {ADDRESS['b']} {PORT}' 2>&1 </dev/null | remus-lab-agent stamp"
        self.a.agent.must(f'(setsid bash -c "{send} >{LOG}" >/dev/null 2>&1 &)', 20)

    def said(self):
        """Its log so far; "" of a host that is dead. It lies in dom0's memory: the lab's folder is slower to write to."""
        try:
            return self.a.agent.must(f"cat {LOG} 2>/dev/null || true", 20)
        except LabError:
            return ""

    def checkpoints(self):
        said = self.said()
        if "Remus: Backup failed" in said or "remus failed" in said.lower():
            raise LabError("xl remus gave up: " + said.strip()[-400:])
        return read_log(said, self.interval * 1000)

    def survivor(self):
        """Does the guest run on host b?"""
        return any(name == self.name for name, _, _ in running(self.b))
