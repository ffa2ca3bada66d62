# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict of `lab leak`, pure: from what was seen to what that means for I1 and I6.

A frame's epoch comes from host a's clock alone: the packet socket on the vif saw it enter, the engine's trace says when
each epoch was sealed. Whether it was early comes from the lab's clock alone: when it was seen on the LAN, and when the
ACK of its epoch was seen on the replication link. The two halves meet in the frame's number and the epoch's number, so
no two clocks are ever compared, and none has to be read well.

A frame that enters while the guest stands still was produced before that, so that it belongs to the epoch that is being
sealed. What enters after the seal is counted to the next one all the same, which lets it out later than it might: held
to that here too.
"""

import bisect
import collections

Early = collections.namedtuple("Early", "number kind seen epoch acked entered")


class Entries:
    """What entered the vif: a `remus-lab-agent capture`."""

    def __init__(self, text):
        self.kinds, self.entered, self.lost = (), {}, None
        for line in text.splitlines():
            words = line.split()
            if words[:1] == ["kinds"]:
                self.kinds = tuple(words[1:])
            elif words[:1] == ["lost"]:
                self.lost = int(words[1])
            elif len(words) == 2:
                self.entered.setdefault(int(words[1]), int(words[0]))

    def kind(self, number):
        return self.kinds[number % len(self.kinds)]


def sessions(trace):
    """[(seal times, epochs)] of each protection in a primary's trace."""
    found = []
    for event in trace:
        if event["ev"] == "hold":
            found.append(([], []))
        elif event["ev"] == "seal" and found:
            found[-1][0].append(event["t"])
            found[-1][1].append(event["epoch"])
    return [s for s in found if s[0]]


class Judge:
    """@session: one of sessions(). @acks: {epoch: when its ACK was seen}. Both of one protection."""

    def __init__(self, entries, session, acks):
        self.entries, self.acks = entries, acks
        self.times, self.epochs = session

    def epoch(self, number):
        """The epoch of a frame: 0 = it entered before anything was held, None = after the last seal."""
        entered = self.entries.entered[number]
        at = bisect.bisect_left(self.times, entered)
        if at == 0:
            return 0  # the first seal comes with the hold, while the guest stands still
        return self.epochs[at] if at < len(self.epochs) else None

    def judge(self, seen, start, end):
        """([Early], {kind: frames checked}, frames that never entered) of those seen in [start, end), lab's clock."""
        early, checked, strange = [], collections.Counter(), []
        for moment, number in seen:
            if not start <= moment < end or number is None:
                continue
            if number not in self.entries.entered:
                strange.append(number)
                continue
            epoch, kind = self.epoch(number), self.entries.kind(number)
            if epoch == 0:
                continue
            checked[kind] += 1
            acked = self.acks.get(epoch)
            if acked is None or moment <= acked:
                early.append(Early(number, kind, moment, epoch, acked, self.entries.entered[number]))
        return early, checked, strange


def kinds_seen(entries, seen, start, end):
    """{kind: frames} seen in [start, end)."""
    return collections.Counter(entries.kind(n) for t, n in seen if n is not None and start <= t < end)


def standing_still(entries, trace):
    """(frames that entered while the guest stood still and before the seal, after it; the shortest time (µs) between
    a frame's entering and a stop after it)."""
    moments = sorted(entries.entered.values())
    before = after = 0
    quiet = None
    paused = sealed = None
    for event in trace:
        if event["ev"] == "pause":
            paused, sealed = event["t"], None
        elif event["ev"] == "seal":
            sealed = event["t"]
        elif event["ev"] == "resume" and paused and sealed:
            first, middle, last = (bisect.bisect_left(moments, t) for t in (paused, sealed, event["t"]))
            before, after = before + middle - first, after + last - middle
            if first:
                quiet = min(paused - moments[first - 1], paused if quiet is None else quiet)
            paused = None
    return before, after, quiet


def missing(wanted, counted):
    """Kinds of @wanted that @counted has none of."""
    return [k for k in wanted if not counted.get(k)]
