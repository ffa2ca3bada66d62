# SPDX-License-Identifier: GPL-2.0-or-later
"""A comparison for people: a line for each figure, a column for each side, the ratio where there are two. Pure."""

ROWS = (("checkpoints per second", ("checkpoints_per_s",), "", True),
        ("pause p50", ("pause_us", "p50"), "us", False),
        ("pause p99", ("pause_us", "p99"), "us", False),
        ("  the guest's own suspend", ("pause_parts_us", "suspend"), "us", False),
        ("  outside it, p50", ("outside_suspend_us", "p50"), "us", False),
        ("pages sent per checkpoint", ("pages_sent_per_checkpoint",), "", None),
        ("wire bytes per checkpoint", ("wire_bytes_per_checkpoint",), "", False),
        ("wire bytes per dirty page", ("wire_bytes_per_dirty_page",), "", False),
        ("this machine's load", ("load",), "", None),
        ("client's round trip p50", ("rtt_ms", "p50"), "ms", False),
        ("client's round trip p99", ("rtt_ms", "p99"), "ms", False),
        ("silence at the failover", ("failover", "stall_ms"), "ms", False),
        ("counter rollbacks", ("failover", "rollbacks"), "", None),
        ("  rolled back by", ("failover", "rolled_back_by"), "", None))
NAMES = {"xl": "xl remus", "remus": "remus"}


def pick(side, path):
    for key in path:
        side = side.get(key) if isinstance(side, dict) else None
    return side


def ratio(sides, path, more_is_better):
    """How many times better remus is, or ""."""
    theirs, ours = (pick(sides.get(s, {}), path) for s in ("xl", "remus"))
    if more_is_better is None or not theirs or not ours:
        return ""
    return f"{ours / theirs if more_is_better else theirs / ours:.1f} times better"


def _cell(value, unit):
    if value is None:
        return "-"
    return (f"{value:g}" if isinstance(value, float) else str(value)) + (" " + unit if unit else "")


def lines(result):
    guest, sides = result["guest"], result["sides"]
    text = [f"{guest['type']} guest of {guest['memory_mib']} MiB, {guest['dirty_pages_per_s']} pages rewritten per "
            f"second, {result['interval_ms']} ms between checkpoints, {result['seconds']:g} s measured. Emulated "
            "processors: compare, do not quote." + (f" Medians of {len(result['rounds'])} rounds."
                                                     if len(result.get("rounds", [])) > 1 else "")]
    text.append(" " * 30 + "".join(f"{NAMES[s]:>14}" for s in sides))
    for title, path, unit, better in ROWS:
        values = [pick(side, path) for side in sides.values()]
        if all(v is None for v in values):
            continue
        cells = "".join(f"{_cell(v, unit):>14}" for v in values)
        text.append(f"{title:30}{cells}  {ratio(sides, path, better)}".rstrip())
    return text + [f"FAILED  {failure}" for failure in result["failures"]]
