/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See agent.h. */
#include "agent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define TAKEN_PER_SECOND (64u * 1024u) /* bytes; a renewal takes about two thousand */
#define SECOND_NS	 UINT64_C(1000000000)

struct shell_agent {
	struct remus_channel *channel; /* the domain's or standby's; NULL = there is none, @why says why */
	char why[REMUS_TEXT_MAX];
	struct remus_renewal renewal;
	uint64_t second; /* in which `taken` bytes came */
	size_t taken;
	/* what was told already */
	bool told_present, told_hooks;
	enum remus_renewal_phase told;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

static uint64_t random_id(void)
{
	uint64_t id = 0;

	while (id == 0) /* 0 is who greets unasked */
		if (getrandom(&id, sizeof id, 0) != sizeof id)
			id = 0;
	return id;
}

void shell_agent_open(struct remus_guest *guest)
{
	struct shell_agent *a = guest->agent;

	if (!a) {
		a = guest->agent = calloc(1, sizeof *a);
		if (!a)
			return;
		remus_renewal_init(&a->renewal);
	}
	a->channel = NULL;
	snprintf(a->why, sizeof a->why, "its hypervisor offers no way to one");
	if (guest->standby && guest->standby->ops->agent)
		a->channel = guest->standby->ops->agent(guest->standby, a->why);
	else if (guest->domain && guest->domain->ops->agent)
		a->channel = guest->domain->ops->agent(guest->domain, a->why);
}

void shell_agent_close(struct remus_guest *guest)
{
	if (guest->agent)
		remus_renewal_clear(&guest->agent->renewal);
	free(guest->agent);
	guest->agent = NULL;
}

void shell_agent_probe(struct shell_agent *a)
{
	if (a && a->channel)
		remus_renewal_probe(&a->renewal, random_id(), now_ns());
}

void shell_agent_rest(struct shell_agent *a)
{
	if (a)
		a->renewal.probing = a->renewal.hello_wanted = a->renewal.steal_wanted = false;
}

void shell_agent_known(struct shell_agent *a, const char *version)
{
	if (!a)
		return;
	a->renewal.present = *version;
	snprintf(a->renewal.version, sizeof a->renewal.version, "%s", version);
}

bool shell_agent_renew(struct shell_agent *a, const uint8_t seed[REMUS_SEED_SIZE],
		       const struct remus_truth *truth)
{
	if (!a || !a->channel)
		return false;
	a->told = REMUS_RENEWAL_ASKED;
	a->told_hooks = false;
	remus_renewal_begin(&a->renewal, random_id(), seed, truth, now_ns());
	return true;
}

bool shell_agent_present(const struct shell_agent *a, char version[REMUS_AGENT_VERSION])
{
	if (!a || !a->renewal.present)
		return false;
	memcpy(version, a->renewal.version, REMUS_AGENT_VERSION);
	return true;
}

const char *shell_agent_why(const struct shell_agent *a)
{
	return a ? a->why : "there is no memory";
}

/* ---- the loop's ---- */

static bool expects(const struct shell_agent *a)
{
	return a && a->channel && (a->renewal.probing || a->renewal.phase != REMUS_RENEWAL_NONE);
}

/* Has it said enough for this second? */
static bool is_full(const struct shell_agent *a)
{
	return a->taken >= TAKEN_PER_SECOND && now_ns() / SECOND_NS == a->second;
}

int shell_agent_fd(struct shell_agent *a)
{
	return expects(a) && !is_full(a) ? a->channel->ops->fd(a->channel) : -1;
}

int shell_agent_wait(const struct shell_agent *a, int wait_ms)
{
	if (!expects(a))
		return wait_ms;
	uint64_t now = now_ns(), due = remus_renewal_due(&a->renewal);
	if (due <= now)
		return 0;
	uint64_t ms = (due - now) / 1000000u + 1;
	return ms < (uint64_t)wait_ms ? (int)ms : wait_ms;
}

static void hear(struct shell_agent *a)
{
	uint8_t buffer[4096];
	uint64_t now = now_ns();

	if (now / SECOND_NS != a->second) {
		a->second = now / SECOND_NS;
		a->taken = 0;
	}
	if (a->taken >= TAKEN_PER_SECOND)
		return;
	size_t n = a->channel->ops->receive(a->channel, buffer, sizeof buffer);
	a->taken += n;
	remus_renewal_receive(&a->renewal, buffer, n, now_ns());
}

static void speak(struct shell_agent *a)
{
	char line[REMUS_MESSAGE_MAX];
	size_t n;

	while ((n = remus_renewal_output(&a->renewal, line, now_ns())))
		a->channel->ops->send(a->channel, line, n);
	explicit_bzero(line, sizeof line);
}

static enum shell_agent_news presence(struct shell_agent *a, char text[REMUS_REASON_MAX])
{
	const struct remus_renewal *r = &a->renewal;

	if (!r->probing || a->told_present == r->present)
		return SHELL_AGENT_NOTHING;
	a->told_present = r->present;
	if (r->present)
		snprintf(text, REMUS_REASON_MAX, "the guest's agent, version %s, answers", r->version);
	else
		snprintf(text, REMUS_REASON_MAX,
			 "the guest's agent doesn't answer any more; were the guest activated now, %s",
			 SHELL_AGENT_NOT_GUARANTEED);
	return r->present ? SHELL_AGENT_CAME : SHELL_AGENT_LEFT;
}

static enum shell_agent_news answered(struct shell_agent *a, char text[REMUS_REASON_MAX])
{
	const struct remus_renewed *done = &a->renewal.renewed;
	char what[300];

	remus_renewed_text(done, what, sizeof what);
	snprintf(text, REMUS_REASON_MAX, "the guest's agent, %.1f ms after the activation: %s",
		 (double)a->renewal.took / 1e6, what);
	return done->reseed || done->clock > REMUS_CLOCK_SLEWING ? SHELL_AGENT_PARTLY : SHELL_AGENT_RENEWED;
}

static enum shell_agent_news hooks(struct shell_agent *a, char text[REMUS_REASON_MAX])
{
	const struct remus_hooks *done = &a->renewal.hooks;

	a->told_hooks = true;
	if (!done->ran)
		return SHELL_AGENT_NOTHING;
	if (done->failed)
		snprintf(text, REMUS_REASON_MAX,
			 "in the guest %u of %u programs of resume.d failed, %s the first", done->failed,
			 done->ran, done->first);
	else
		snprintf(text, REMUS_REASON_MAX, "in the guest all %u programs of resume.d are through",
			 done->ran);
	return done->failed ? SHELL_AGENT_HOOKS_FAILED : SHELL_AGENT_HOOKS;
}

static enum shell_agent_news next_news(struct shell_agent *a, char text[REMUS_REASON_MAX])
{
	const struct remus_renewal *r = &a->renewal;

	if (r->phase == REMUS_RENEWAL_DONE && a->told == REMUS_RENEWAL_ASKED) {
		a->told = r->phase;
		return answered(a, text);
	}
	if (r->phase == REMUS_RENEWAL_OVER && a->told == REMUS_RENEWAL_ASKED) {
		a->told = r->phase;
		snprintf(text, REMUS_REASON_MAX, "no agent has answered in the guest: %s",
			 SHELL_AGENT_NOT_GUARANTEED);
		return SHELL_AGENT_SILENT;
	}
	if (r->hooks_known && !a->told_hooks)
		return hooks(a, text);
	return presence(a, text);
}

enum shell_agent_news shell_agent_turn(struct shell_agent *a, char text[REMUS_REASON_MAX])
{
	if (!expects(a))
		return SHELL_AGENT_NOTHING;
	hear(a);
	speak(a);
	return next_news(a, text);
}

void shell_agent_tell(const struct remus_supervisor *up, enum shell_agent_news news, const char *text)
{
	static const struct {
		enum remus_level level;
		const char *kind;
	} as[] = {
		[SHELL_AGENT_CAME] = {REMUS_LEVEL_INFO, "agent"},
		[SHELL_AGENT_LEFT] = {REMUS_LEVEL_WARNING, "agent"},
		[SHELL_AGENT_RENEWED] = {REMUS_LEVEL_INFO, "renewed"},
		[SHELL_AGENT_PARTLY] = {REMUS_LEVEL_WARNING, "not-renewed"},
		[SHELL_AGENT_HOOKS] = {REMUS_LEVEL_INFO, "renewed"},
		[SHELL_AGENT_HOOKS_FAILED] = {REMUS_LEVEL_WARNING, "renewed"},
		[SHELL_AGENT_SILENT] = {REMUS_LEVEL_WARNING, "not-renewed"},
	};

	if (news != SHELL_AGENT_NOTHING)
		up->event(up->context, as[news].level, as[news].kind, text);
}

void shell_agent_status(const struct shell_agent *a, struct remus_agent_status *out)
{
	memset(out, 0, sizeof *out);
	out->steal_share = -1;
	if (!a)
		return;
	out->steal_share = remus_steal_percent(&a->renewal.steal);
	out->known = true;
	out->present = a->renewal.present;
	snprintf(out->version, sizeof out->version, "%s", a->renewal.version);
	if (!a->channel && !a->renewal.present)
		snprintf(out->why, sizeof out->why, "%s", a->why);
	out->phase = a->renewal.phase;
	out->took_ns = a->renewal.took;
	out->renewed = a->renewal.renewed;
	out->hooks_known = a->renewal.hooks_known;
	out->hooks = a->renewal.hooks;
}
