# SPDX-License-Identifier: GPL-2.0-or-later
"""What is left when all is over (I13). Nothing should be, but logs, traces and the arbiter's record of a claim."""

import os
import stat


def in_folder(folder, allowed=(".log",)):
    """Every file, socket and folder below @folder, but those whose names end in one of @allowed."""
    found = []
    for place, folders, files in os.walk(folder):
        found += [os.path.join(place, d) + "/" for d in folders]
        found += [os.path.join(place, f) for f in files if not f.endswith(tuple(allowed))]
    return sorted(found)


def sockets_in(folder):
    """The sockets directly in @folder."""
    return sorted(e.path for e in os.scandir(folder) if stat.S_ISSOCK(e.stat(follow_symlinks=False).st_mode))


def report(hosts, claims, claims_allowed, engine_sockets=()):
    """A sentence for each thing found. @claims: the arbiter's records. @engine_sockets: those that remusd made outside its run folder."""
    found = []
    for host in hosts:
        found += [f"host {host.name}: process {pid} ({name}) still runs" for pid, name in host.processes().items()]
        found += [f"host {host.name}: {path} was left" for path in in_folder(host.run)]
    found += [f"{path} was left" for path in engine_sockets if os.path.lexists(path)]
    if len(claims) > claims_allowed:
        found.append(f"the arbiter keeps {len(claims)} records, at most {claims_allowed} were expected: "
                     + ", ".join(os.path.basename(c) for c in claims))
    return found
