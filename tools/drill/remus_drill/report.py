# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict: which conditions held, the JSON object, and the text for people. Pure: facts in, words out."""

SURVIVORS = {"host": "b", "freeze": "b", "qemu": "b", "none": "b", "backup": "a", "engine": "ab", "link": "ab", "shutdown": ""}


def _client_failures(client, fault):
    if client["resets"]:
        yield f"{client['resets']} of the client's connections were reset or closed"
    if client["corrupt"]:
        yield f"{client['corrupt']} replies were corrupt"
    if client["rolled_back"]:
        yield f"the guest's counter was rolled back {client['rolled_back']} times"
    if not client["replies"]:
        yield "the client got no reply at all"
    if fault != "shutdown" and not client["survived"]:
        yield "not every connection exchanged data with the survivor"
    yield from client["notes"]


def _guest_failures(facts):
    check = facts["guest_check"]
    if not check.get("pages"):
        yield "the guest's memory was not checked"
    if check.get("bad") or check.get("checked_bad"):
        yield (f"{check.get('bad', 0)} bad guest pages in the last pass (torn {check.get('torn')}, stale "
               f"{check.get('stale')}), {check.get('checked_bad')} bad checks since boot; first "
               f"[page, expected, found]: {check.get('first_bad')}")
    if check.get("requests_bad"):
        yield f"{check['requests_bad']} requests reached the guest corrupt"


def _egress_failures(egress):
    for early in egress["early"][:5]:
        acked = f"acknowledged {early.acked_us - early.seen_us} us later" if early.acked_us else "never acknowledged"
        yield f"frame {early.frame} left host a before its ack (epoch {early.epoch}, {acked})"
    if len(egress["early"]) > 5:
        yield f"... and {len(egress['early']) - 5} more frames"
    if not egress["checked"]:
        yield "no frame was compared with the traces: the output commit was not tested"
    if egress["missing"]:
        yield f"{egress['missing']} released frames were not seen: the observation is incomplete"
    if egress["sniffer_lost"]:
        yield f"the observer lost {egress['sniffer_lost']} frames"
    if egress["standby_frames"]:
        yield f"{egress['standby_frames']} frames left host b before anything had happened"


def _outcome_failures(facts):
    fault, guests = facts["fault"], facts["guests"]
    allowed = SURVIVORS[fault]
    alive = "".join(name for name in "ab" if guests[name])
    if fault == "shutdown":
        if alive:
            yield f"the guest shut down, but a guest runs on host {alive}"
    elif sum(guests.values()) != 1:
        yield f"exactly one guest must go on, but host a has {guests['a']} and host b has {guests['b']}"
    elif alive not in allowed:
        yield f"the guest goes on on host {alive}, expected was host {allowed}"
    for event in facts["events_missing"]:
        yield f"no event \"{event}\" was raised"
    yield from facts["wrong"]


def failures(facts):
    """A sentence for each condition that did not hold; [] is a pass."""
    found = list(facts["errors"])
    if found and not facts["struck"]:
        return found  # it never came to the fault: the rest would only repeat that
    found += _outcome_failures(facts)
    found += _client_failures(facts["client"], facts["fault"])
    found += _guest_failures(facts)
    found += _egress_failures(facts["egress"])
    found += [f"litter: {thing}" for thing in facts["litter"]]
    return found


# What remusd's names for the parts of a pause mean on each backend.
PAUSE_PARTS = {"qemu": {name: name for name in ("stop", "save", "scan", "copy", "resume")},
               "xen": {"suspend": "stop", "dirty": "scan", "copy": "copy", "state": "save", "resume": "resume"}}


def pause_parts(backend, pause):
    return {name: pause.get(source, 0) for name, source in PAUSE_PARTS[backend].items()}


def _pick(source, *names):
    return {name: (source or {}).get(name, 0) for name in names}


def to_json(facts):
    """The object that --json prints."""
    before, survivor = facts["before"], facts["survivor_status"]
    client, egress, failed = facts["client"], facts["egress"], failures(facts)
    sender = before.get("egress", {})
    return {
        "result": "fail" if failed else "pass",
        "backend": facts.get("backend", "qemu"),
        "guest": {"memory_mib": facts["memory"], "vcpus": before.get("vcpus", 1)},
        "interval_ms": facts["interval"],
        "epochs": _pick(before.get("epochs"), "committed", "aborted"),
        "pause_us": _pick(before.get("pause_us"), "p50", "p99", "max"),
        "commit_us": _pick(before.get("commit_us"), "p50", "p99", "max"),
        "dirty_pages": _pick(before.get("dirty_pages"), "mean"),
        "wire": _pick(before.get("wire"), "bytes", "raw_bytes", "ratio"),
        "egress": {"held_packets": sender.get("held_total", sender.get("held_packets", 0)),
                   "dropped": sender.get("dropped", 0), "released_before_ack": len(egress["early"]),
                   "compared": egress["checked"]},
        "failover": {**_pick((survivor or {}).get("failover"), "detect_ms", "claim_ms", "activate_ms"),
                     "client_stall_ms": round(client["stall"] * 1000, 1)},
        "renewal": facts.get("renewal", {}),
        "client": _pick(client, "connections", "bytes", "corrupt", "resets", "rolled_back", "replies"),
        "guest_check": _pick(facts["guest_check"], "pages", "bad", "checked"),
        "pause_parts_us": pause_parts(facts.get("backend", "qemu"), before.get("pause_us", {})),
        "kill": facts["fault"],
        "survivor": "".join(n for n in "ab" if facts["guests"][n]),
        "tracking": before.get("tracking", ""),
        "seed": facts["seed"],
        "seconds": round(facts["seconds"], 1),
        "litter": facts["litter"],
        "failures": failed,
    }


def one_line(run, runs, result):
    failover = result["failover"]
    return (f"run {run}/{runs}  {result['result']}  kill {result['kill']}  survivor {result['survivor'] or '-'}  "
            f"stall {failover['client_stall_ms']:.0f} ms  pause p50 {result['pause_us']['p50']} us  "
            f"{result['seconds']:.1f} s  seed {result['seed']}")


def _renewal_lines(renewal):
    if renewal.get("renewed"):
        yield (f"renewal    answered {renewal['took_ms']:.1f} ms after activation: {renewal['bits']} bits credited, clock "
               f"{renewal['clock']} by {renewal['step_ms']:.1f} ms (within {renewal['error_ms']:.2f} ms)")


def text(result):
    """The report for people, a list of lines."""
    if not result["epochs"]["committed"] and not result["client"]["replies"]:
        return [f"FAILED     {failure}" for failure in result["failures"]]
    pause, parts, commit = result["pause_us"], result["pause_parts_us"], result["commit_us"]
    failover, client, wire = result["failover"], result["client"], result["wire"]
    lines = [
        f"guest      {result['guest']['memory_mib']} MiB, {result['guest']['vcpus']} vCPU, epochs of "
        f"{result['interval_ms']} ms, tracking {result['tracking'] or '?'}",
        f"epochs     {result['epochs']['committed']} committed, {result['epochs']['aborted']} aborted, "
        f"{result['dirty_pages']['mean']:.0f} dirty pages each",
        f"pause      p50 {pause['p50']} us, p99 {pause['p99']} us, max {pause['max']} us",
        "           of which " + ", ".join(f"{name} {value}" for name, value in parts.items()) + " us",
        f"commit     p50 {commit['p50']} us, p99 {commit['p99']} us (from the pause to the ack)",
        f"wire       {wire['bytes'] / 1e6:.1f} MB for {wire['raw_bytes'] / 1e6:.1f} MB of pages "
        f"({wire['ratio']:.1f} to 1)",
        f"egress     {result['egress']['held_packets']} frames held, {result['egress']['dropped']} dropped, "
        f"{result['egress']['released_before_ack']} of {result['egress']['compared']} released before their ack",
        f"failover   detected in {failover['detect_ms']:.0f} ms, claimed in {failover['claim_ms']:.0f} ms, "
        f"guest running {failover['activate_ms']:.0f} ms later",
        *_renewal_lines(result["renewal"]),
        f"client     {client['connections']} connections, {client['replies']} replies, {client['bytes']} bytes, "
        f"longest silence {failover['client_stall_ms']:.0f} ms, {client['resets']} resets, "
        f"{client['corrupt']} corrupt, {client['rolled_back']} rolled back",
        f"memory     {result['guest_check']['pages']} pages checked after it, {result['guest_check']['bad']} bad",
    ]
    lines += [f"FAILED     {failure}" for failure in result["failures"]]
    return lines
