# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix: all cells of cells.py, or some of them, each a drill of its own on a real guest; and the table.

With --results FILE each cell's outcome is a line of JSON in FILE, and cells that have passed there with the same seed are
not held again: a matrix that was interrupted goes on where it was. The table is made of all that is known.
"""

import collections
import fnmatch
import json
import os
import random
import shutil
import time

from . import DrillError, cells, report

Outcome = collections.namedtuple("Outcome", "cell result survivor goes_on seed seconds failures")


def choose(only, sample, seed):
    """The cells that are asked for, in order. @only: patterns; @sample: so many of them, by chance."""
    chosen = cells.all_cells()
    if only:
        for pattern in only:
            if not any(fnmatch.fnmatchcase(cell.name, pattern) for cell in chosen):
                raise DrillError(f"no cell is called {pattern}; --matrix --list shows them, FAULT.PHASE.SIDE")
        chosen = [cell for cell in chosen if any(fnmatch.fnmatchcase(cell.name, pattern) for pattern in only)]
    if sample:
        possible = [cell for cell in chosen if cell.why_not() is None]
        picked = set(random.Random(seed).sample(range(len(possible)), min(sample, len(possible))))
        chosen = [cell for i, cell in enumerate(possible) if i in picked]
    return chosen


def listing():
    """A line for each cell: its name, and what is done or why nothing is."""
    for cell in cells.all_cells():
        trigger = cell.trigger(0)
        yield f"{cell.name:32} {cell.why_not() or f'at {trigger.point}' if trigger else 'at once'}"


def read_results(path):
    """{name: Outcome} of an earlier run's file; the last word on each counts."""
    known = {}
    try:
        with open(path, encoding="utf-8") as f:
            for line in f:
                fields = json.loads(line)
                known[fields["cell"]] = Outcome(**{name: fields[name] for name in Outcome._fields})
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError) as e:
        raise DrillError(f"--results {path} holds something else than results: {e!r}") from e
    return known


def outcome_of(cell, seed, result):
    return Outcome(cell.name, result["result"], result["survivor"], result["goes_on"], seed, result["seconds"],
                   result["failures"])


def one_line(at, count, outcome):
    runs = {"a": "host a", "b": "host b", "": "nobody"}.get(outcome.survivor, "both hosts")
    what = f"{runs} runs the guest" + (", still protected" if outcome.goes_on else "")
    return (f"cell {at}/{count}  {outcome.result}  {outcome.cell}: {what}  ({outcome.seconds:.1f} s, seed {outcome.seed})")


# ---- the table ----

def _mark(outcome):
    if outcome.result != "pass":
        return "**FAIL**"
    return outcome.survivor + ("+" if outcome.goes_on else "")


def table(known):
    """Markdown lines: a row for each fault and side, a column for each phase."""
    reasons = []
    lines = ["| fault | side | " + " | ".join(cells.PHASES) + " |", "| --- | --- |" + " :-: |" * len(cells.PHASES)]
    for fault in cells.FAULTS:
        for side in cells.SIDES:
            row = []
            for phase in cells.PHASES:
                cell = cells.Cell(fault, phase, side)
                why = cell.why_not()
                if why:
                    if why not in reasons:
                        reasons.append(why)
                    row.append(f"n/a {reasons.index(why) + 1}")
                else:
                    row.append(_mark(known[cell.name]) if cell.name in known else "")
            lines.append(f"| {fault} | {side} | " + " | ".join(row) + " |")
    lines += ["", "a, b: the host that runs the guest afterwards; +: protection went on by itself; **FAIL**: a condition did "
              "not hold; empty: not held. Not applicable:", ""]
    return lines + [f"{i}. {why}" for i, why in enumerate(reasons, 1)]


def summary(known, chosen):
    """The last line: of the cells that were asked for."""
    results = [known[cell.name].result for cell in chosen if cell.name in known]
    passed = results.count("pass")
    skipped = sum(cell.why_not() is not None for cell in chosen)
    missing = len(chosen) - skipped - len(results)
    return (f"{passed} passed, {len(results) - passed} failed, {skipped} not applicable"
            + (f", {missing} not held" if missing else ""))


# ---- holding them ----

def hold(opts, folder, one_run, say):
    """All that is asked for. @one_run: (plan, folder) to the inner process's answer. True: every cell passed."""
    chosen = choose(opts.only, opts.sample, opts.seed)
    to_hold = [cell for cell in chosen if cell.why_not() is None]
    known = read_results(opts.results) if opts.results else {}
    began = time.monotonic()
    for at, cell in enumerate(to_hold, 1):
        seed = cell.seed(opts.seed)
        before = known.get(cell.name)
        if before and before.result == "pass" and before.seed == seed:
            continue
        place = os.path.join(folder, f"run-{at}")
        say(f"cell {at} of {len(to_hold)}: {cell.name}, seed {seed}")
        try:
            answer = one_run({"cell": cell.name, "seed": seed}, place)
            known[cell.name] = outcome_of(cell, seed, answer["result"])
            lines = answer["text"]
        except DrillError as e:
            known[cell.name] = Outcome(cell.name, "fail", "", None, seed, 0.0, [str(e)])
            lines = [f"FAILED     {e}"]
        outcome = known[cell.name]
        if opts.results:
            with open(opts.results, "a", encoding="utf-8") as f:
                f.write(json.dumps(outcome._asdict()) + "\n")
        if opts.json:
            print(json.dumps(outcome._asdict()), flush=True)
        say("\n".join([one_line(at, len(to_hold), outcome), *(lines if outcome.failures else [])]))
        if outcome.result == "pass" and not opts.keep:
            shutil.rmtree(place)
        elif outcome.result != "pass":
            report.tails(place, say)
            say(f"again: remus-drill --matrix --only {cell.name} --seed {opts.seed}")
    for cell in chosen:
        if cell.why_not():
            say(f"not applicable: {cell.name}: {cell.why_not()}")
    if len(chosen) > 1 and not opts.json:
        print("\n".join(table(known)))
    say(f"{time.monotonic() - began:.0f} s")
    print(summary(known, chosen), flush=True) if not opts.json else say(summary(known, chosen))
    return all(cell.name in known and known[cell.name].result == "pass" for cell in to_hold)
