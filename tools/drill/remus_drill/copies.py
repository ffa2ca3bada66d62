# SPDX-License-Identifier: GPL-2.0-or-later
"""What several copies of one guest wrote on their consoles after they had been woken up from the same checkpoint: who drew
the same random numbers as whom, and when a copy was renewed. Pure: texts in, facts out.

A guest that finds a page of its memory not to be what it wrote there says so, too (guest/stamp.c).

A sample is a line "SAMPLE number realtime_ns monotonic_ns 32-bytes" (guest/samples.c). The number goes on from the
checkpoint. Two copies draw the same bytes as long as nobody renews their generator; not always for the same number, since
their kernels draw from it too, each when it needs to.
"""

import re

SAMPLE = re.compile(r"SAMPLE (\d+) (\d+) (\d+) ([0-9a-f]{64})$")
# Who says that the generator was renewed: the agent, through its hook; the kernel, which found another generation id.
RENEWED = {"agent": "DRILL-HOOK", "vmgenid": "crng reseeded due to virtual machine fork"}


class Copy:
    """One copy's console since it woke up. @renewal: "agent", "vmgenid" or "none"."""

    def __init__(self, name, console, renewal):
        self.name = name
        self.before, self.after = {}, {}  # number: bytes, before and after it was renewed
        self.backwards_ns = 0             # the most that its wall clock went back from one sample to the next
        self.renewed = False
        self.bad = next((line.strip() for line in console.split("\n") if "DRILL-BAD" in line), None)
        drawn_before = True  # a line may have been drawn before the renewal, and come out after the word of it
        last = None
        for line in console.replace("\r", "").split("\n"):
            self.renewed |= RENEWED.get(renewal, "\0") in line
            found = SAMPLE.search(line.rstrip())
            if not found:
                continue
            number, real = int(found[1]), int(found[2])
            (self.before if drawn_before else self.after)[number] = found[4]
            drawn_before = not self.renewed
            if last is not None:
                self.backwards_ns = max(self.backwards_ns, last - real)
            last = real

    def draws(self):
        return {**self.before, **self.after}


def same_draws(one, other):
    """How many draws both made, at whatever number; and how many that could have been."""
    mine, theirs = set(one.draws().values()), set(other.draws().values())
    return len(mine & theirs), min(len(mine), len(theirs))


def shared_after(one, other):
    """Bytes that a renewed copy drew and another copy drew at any time: there must be none."""
    return set(one.after.values()) & set(other.draws().values()) | set(other.after.values()) & set(one.draws().values())


def pairs(copies):
    return [(a, b) for i, a in enumerate(copies) for b in copies[i + 1:]]


MUST_BE_EQUAL = 3  # draws of copies that nobody renewed, at least


def failures(copies, renewal):
    """A sentence for each thing that is not as it must be."""
    found = [f"{c.name} wrote no samples on its console" for c in copies if not c.draws()]
    found += [f"{c.name} found its own memory bad (I3): {c.bad}" for c in copies if c.bad]
    if found:
        return found
    if renewal == "none":
        for a, b in pairs(copies):
            equal, of = same_draws(a, b)
            if equal < min(MUST_BE_EQUAL, of) or not of:
                found.append(f"{a.name} and {b.name}, which nobody renewed, drew {equal} equal numbers of {of}: without "
                             "renewal they must be equal, so this drill could not tell")
        return found
    for c in copies:
        if not c.renewed:
            found.append(f"{c.name} was not renewed by {renewal}")
        elif not c.after:
            found.append(f"{c.name} drew nothing after it was renewed")
    for a, b in pairs(copies):
        shared = shared_after(a, b)
        if shared:
            found.append(f"{a.name} and {b.name} drew {len(shared)} equal numbers after they were renewed by {renewal} (I12)")
    return found
