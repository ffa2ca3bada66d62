/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything about one domain, as a block that reads from the most to the least urgent: is it protected, why
 * not, how far is the backup behind; then what it costs; then what it is made of.
 */
#include <inttypes.h>
#include <string.h>
#include "human.h"
#include "remus/util.h"
#include "show.h"

struct block {
	FILE *out;
	struct ctl_screen screen;
	const json_t *domain;
};

/* Numbers of the domain as text; several live in one printf, so each call names its buffer. */
struct number {
	char text[CTL_NUMBER_TEXT];
};
static const char *us(const struct block *b, struct number *n, const char *path)
{
	return ctl_us(n->text, ctl_get_count(b->domain, path));
}
static const char *bytes(const struct block *b, struct number *n, const char *path)
{
	return ctl_bytes(n->text, ctl_get_count(b->domain, path));
}
static uint64_t count(const struct block *b, const char *path)
{
	return ctl_get_count(b->domain, path);
}
static const char *word(const struct block *b, const char *path)
{
	return ctl_get_word(b->domain, path);
}
#define FIELD(b, label, ...) ctl_field((b)->out, (b)->screen, label, __VA_ARGS__)

static void state(const struct block *b)
{
	const char *since = ctl_get_text(b->domain, "since"), *reason = ctl_get_text(b->domain, "reason");
	const char *joint = since[0] ? " since " : "";

	if (ctl_is_protected(b->domain)) {
		FIELD(b, "state", "%s%s%s; this host is the %s", word(b, "state"), joint, since,
		      word(b, "role"));
		return;
	}
	FIELD(b, "state", "UNPROTECTED: %s%s%s; this host's role is %s", word(b, "state"), joint, since,
	      word(b, "role"));
	FIELD(b, "reason", "%s", reason[0] ? reason : "remusd gives none");
}

static void sync_round(const struct block *b)
{
	struct number n;

	if (!strcmp(word(b, "state"), "syncing"))
		FIELD(b, "full copy",
		      "round %" PRIu64 ", %" PRIu64 " pages sent (%s), the guest has %" PRIu64,
		      count(b, "sync.round"), count(b, "sync.pages_sent"),
		      ctl_bytes(n.text, 4096u * count(b, "sync.pages_sent")), count(b, "sync.pages_total"));
}

static void epochs(const struct block *b)
{
	struct number lag;

	if (!strcmp(word(b, "role"), "backup"))
		FIELD(b, "epochs", "%" PRIu64 " held here complete", count(b, "epochs.committed"));
	else
		FIELD(b, "epochs",
		      "%" PRIu64 " committed, %" PRIu64 " sent, %" PRIu64 " aborted; one every %" PRIu64
		      " ms",
		      count(b, "epochs.committed"), count(b, "epochs.sent"), count(b, "epochs.aborted"),
		      count(b, "interval_ms"));
	FIELD(b, "lag", "%s", ctl_us(lag.text, ctl_get_ms(b->domain, "lag_ms")));
}

static void overload(const struct block *b)
{
	if (!ctl_get(b->domain, "overload"))
		return;
	FIELD(b, "overload", "%s: the last epoch took %.1f ms, of %" PRIu64 " that it may; policy %s",
	      ctl_is_overloaded(b->domain) ? "YES" : "no", ctl_get_real(b->domain, "overload.interval_ms"),
	      count(b, "overload.max_interval_ms"), word(b, "overload.policy"));
	if (count(b, "overload.throttle_percent"))
		FIELD(b, "throttled", "the guest stands still for %" PRIu64 " %% of the time",
		      count(b, "overload.throttle_percent"));
}

static void times(const struct block *b)
{
	struct number n[8];

	if (count(b, "pause_us.max"))
		FIELD(b, "pause",
		      "p50 %s, p99 %s, max %s; on average stop %s, save %s, scan %s, copy %s, resume %s",
		      us(b, &n[0], "pause_us.p50"), us(b, &n[1], "pause_us.p99"),
		      us(b, &n[2], "pause_us.max"), us(b, &n[3], "pause_us.stop"),
		      us(b, &n[4], "pause_us.save"), us(b, &n[5], "pause_us.scan"),
		      us(b, &n[6], "pause_us.copy"), us(b, &n[7], "pause_us.resume"));
	if (count(b, "commit_us.max"))
		FIELD(b, "commit", "p50 %s, p99 %s, max %s", us(b, &n[0], "commit_us.p50"),
		      us(b, &n[1], "commit_us.p99"), us(b, &n[2], "commit_us.max"));
}

/* What an operator who sees `st` in the guest's vmstat looks for. */
static void standing(const struct block *b)
{
	if (strcmp(word(b, "role"), "primary") || !ctl_get(b->domain, "pause_share"))
		return;
	FIELD(b, "paused", "%.1f %% of the last minute, to take checkpoints",
	      ctl_get_real(b->domain, "pause_share"));
	if (ctl_get(b->domain, "steal_share"))
		FIELD(b, "steal",
		      "%.1f %% of the last minute by the guest's own count, these pauses included",
		      ctl_get_real(b->domain, "steal_share"));
}

static const char *synchronised(const struct block *b, const char *path)
{
	const json_t *value = ctl_get(b->domain, path);

	return json_is_true(value) ? "synchronised" : json_is_false(value) ? "NOT synchronised" : "not known";
}

static void clocks(const struct block *b)
{
	if (!ctl_get(b->domain, "clock"))
		return;
	if (ctl_get(b->domain, "clock.offset_us"))
		FIELD(b, "clocks",
		      "here %s, there %s; the other host's is %+.3f ms from this one's, give or take %.3f ms",
		      synchronised(b, "clock.synchronised"), synchronised(b, "clock.peer_synchronised"),
		      ctl_get_real(b->domain, "clock.offset_us") / 1000.0,
		      ctl_get_real(b->domain, "clock.error_us") / 1000.0);
	else
		FIELD(b, "clocks", "here %s, there %s; not compared yet",
		      synchronised(b, "clock.synchronised"), synchronised(b, "clock.peer_synchronised"));
	if (ctl_get(b->domain, "clock.gap_ms"))
		FIELD(b, "guest time",
		      "it stood still for %.3f ms, give or take %.3f ms; the right time is that of %s",
		      ctl_get_real(b->domain, "clock.gap_ms"), ctl_get_real(b->domain, "clock.gap_error_ms"),
		      strcmp(word(b, "clock.source"), "here") ? "the primary that was" : "this host");
}

static void warnings(const struct block *b)
{
	const json_t *list = ctl_get(b->domain, "warnings"), *one;
	size_t i;

	json_array_foreach(list, i, one) FIELD(b, "warning", "%s", ctl_get_word(one, "text"));
}

static void traffic(const struct block *b)
{
	struct number n[3];

	if (ctl_get_real(b->domain, "dirty_pages.mean") > 0)
		FIELD(b, "dirty", "%" PRIu64 " pages in the last epoch (%s), %.1f on average",
		      count(b, "dirty_pages.last"),
		      ctl_bytes(n[0].text, 4096u * count(b, "dirty_pages.last")),
		      ctl_get_real(b->domain, "dirty_pages.mean"));
	if (count(b, "wire.bytes"))
		FIELD(b, "wire", "%s for %s of pages, ratio %.1f", bytes(b, &n[0], "wire.bytes"),
		      bytes(b, &n[1], "wire.raw_bytes"), ctl_get_real(b->domain, "wire.ratio"));
	FIELD(b, "egress",
	      "%s: %" PRIu64 " packets (%s) held now, %" PRIu64 " in all; %" PRIu64 " released, %" PRIu64
	      " dropped, %" PRIu64 " discarded",
	      word(b, "egress.state"), count(b, "egress.held_packets"), bytes(b, &n[2], "egress.held_bytes"),
	      count(b, "egress.held_total"), count(b, "egress.released"), count(b, "egress.dropped"),
	      count(b, "egress.discarded"));
}

static void link_and_peer(const struct block *b)
{
	struct number n[4];

	FIELD(b, "peer", "%s", word(b, "peer"));
	if (ctl_get(b->domain, "link"))
		FIELD(b, "link",
		      "%s, round trip %s, last sign of life %" PRIu64
		      " ms ago, clock offset %+.0f us, %s out, "
		      "%s in",
		      word(b, "link.security"), us(b, &n[0], "link.rtt_us"), count(b, "link.silent_ms"),
		      ctl_get_real(b->domain, "link.clock_offset_us"), bytes(b, &n[1], "link.bytes_sent"),
		      bytes(b, &n[2], "link.bytes_received"));
	FIELD(b, "arbiter", "%s", word(b, "arbiter"));
	if (!strcmp(word(b, "role"), "primary"))
		FIELD(b, "backup lost", "%s",
		      strcmp(word(b, "on_backup_loss"), "hold")
			      ? "the guest goes on alone (solo)"
			      : "output is held until an operator decides (hold)");
}

static void tracking(const struct block *b)
{
	const char *note = ctl_get_text(b->domain, "tracking_note");

	if (ctl_get_text(b->domain, "tracking")[0])
		FIELD(b, "tracking", "%s%s%s", word(b, "tracking"), note[0] ? "; " : "", note);
}

static void memory(const struct block *b)
{
	struct number n[4];

	FIELD(b, "guest", "%" PRIu64 " MiB", count(b, "memory_mib"));
	if (count(b, "memory.cache_cap"))
		FIELD(b, "memory", "cache %s of %s, staging %s", bytes(b, &n[0], "memory.cache_bytes"),
		      bytes(b, &n[1], "memory.cache_cap"), bytes(b, &n[2], "memory.staging_bytes"));
	if (count(b, "memory.guest_image_bytes"))
		FIELD(b, "standby", "image of %s", bytes(b, &n[3], "memory.guest_image_bytes"));
}

static void failover(const struct block *b)
{
	if (!strcmp(word(b, "role"), "backup") && ctl_get_real(b->domain, "failover.activate_ms") > 0)
		FIELD(b, "failover", "noticed after %.1f ms, claim %.1f ms, activation %.1f ms",
		      ctl_get_real(b->domain, "failover.detect_ms"),
		      ctl_get_real(b->domain, "failover.claim_ms"),
		      ctl_get_real(b->domain, "failover.activate_ms"));
}

/* The agent in the guest: there or not, and what it did when the guest was activated here. */
static void agent(const struct block *b)
{
	const char *version = ctl_get_text(b->domain, "agent.version"),
		   *why = ctl_get_text(b->domain, "agent.why"),
		   *clock = ctl_get_text(b->domain, "agent.last.clock");

	if (!ctl_get(b->domain, "agent"))
		return;
	if (json_is_true(ctl_get(b->domain, "agent.present")))
		FIELD(b, "agent", "present, version %s", version);
	else if (!clock[0])
		FIELD(b, "agent", "NONE%s%s: %s", why[0] ? ", " : "", why,
		      ctl_get_text(b->domain, "agent.not_guaranteed"));
	if (clock[0])
		FIELD(b, "renewed",
		      "%.1f ms after activation: %s, clock %s (was off by %+.3f ms, within %.3f; set forward "
		      "%.3f, "
		      "slewed %+.3f)",
		      ctl_get_real(b->domain, "agent.last.took_ms"),
		      json_is_true(ctl_get(b->domain, "agent.last.reseeded")) ? "random numbers reseeded"
									      : "random numbers NOT reseeded",
		      clock, -ctl_get_real(b->domain, "agent.last.offset_ms"),
		      ctl_get_real(b->domain, "agent.last.error_ms"),
		      ctl_get_real(b->domain, "agent.last.step_ms"),
		      ctl_get_real(b->domain, "agent.last.slew_ms"));
	else if (ctl_get(b->domain, "agent.last"))
		FIELD(b, "renewed", "NO: the agent has not answered since the activation");
	if (ctl_get(b->domain, "agent.last.hooks"))
		FIELD(b, "resume.d", "%" PRIu64 " programs run in the guest, %" PRIu64 " failed%s%s",
		      count(b, "agent.last.hooks.ran"), count(b, "agent.last.hooks.failed"),
		      count(b, "agent.last.hooks.failed") ? ", first " : "",
		      ctl_get_text(b->domain, "agent.last.hooks.first_failed"));
}

static void identity(const struct block *b)
{
	FIELD(b, "session", "%s, generation %" PRIu64, word(b, "session"), count(b, "generation"));
	FIELD(b, "processes", "engine %" PRIu64 ", guest %" PRIu64, count(b, "pid"), count(b, "guest_pid"));
}

void ctl_show_domain(FILE *out, struct ctl_screen screen, const json_t *domain)
{
	static void (*const parts[])(const struct block *) = {
		state,	       warnings, sync_round, epochs, overload, times,	 standing, traffic,
		link_and_peer, clocks,	 tracking,   memory, agent,    failover, identity,
	};
	const struct block b = {out, screen, domain};
	bool relay = !strcmp(word(&b, "role"), "relay");

	ctl_print_clean(out, word(&b, "name"));
	fputs(" (", out);
	ctl_print_clean(out, word(&b, "domain"));
	fputs(")\n", out);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(parts); i++)
		if (!relay || parts[i] == state || parts[i] == traffic || parts[i] == agent)
			parts[i](&b);
}
