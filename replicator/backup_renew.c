/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RENEW: the activated guest gets what memory can't give it, fresh randomness and the right time (I12). Begun here; the
 * answer comes to the loop, or to the relay when it is late. Nothing here waits.
 */
#include "backup.h"

#include <stdio.h>
#include <string.h>

#include "agent.h"

/* A primary that sent no clock: what this host shows, and little faith in it. */
void backup_truth_of_this_host(struct remus_truth *out)
{
	struct remus_clock_reading now;

	remus_clock_read(&now);
	*out = (struct remus_truth){
		.monotonic_ns = now.monotonic_ns,
		.raw_ns = now.raw_ns,
		.realtime_ns = now.realtime_ns,
		.error_ns = 1000000000,
		.source = REMUS_TIME_HERE,
	};
}

static int backup_seed(struct backup *b, uint8_t seed[REMUS_SEED_SIZE], struct remus_error *err)
{
	char fingerprint[REMUS_FINGERPRINT];

	return remus_entropy_take(b->entropy, "activation", seed, fingerprint, err);
}

static void cannot_renew(struct backup *b, const char *why)
{
	char text[REMUS_REASON_MAX];

	snprintf(text, sizeof text, "the guest was not renewed (%.200s): %s", why,
		 SHELL_AGENT_NOT_GUARANTEED);
	if (b->agent.version[0] && !b->agent.wait_ms) /* the machine doesn't wait for it */
		shell_agent_tell(b->up, SHELL_AGENT_SILENT, text);
	else
		shell_raise(&b->feed, REMUS_EV_RENEWED, text);
}

/* Also with a guest whose last epoch knew of no agent: one that has come since answers late, to the relay. */
void backup_renew(struct backup *b)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_truth truth;
	uint8_t seed[REMUS_SEED_SIZE];

	shell_agent_open(b->guest); /* a standby that was built anew has another channel */
	if (backup_truth(b, &truth) < 0)
		backup_truth_of_this_host(&truth);
	int rc = backup_seed(b, seed, &err);
	if (rc < 0)
		cannot_renew(b, err.message);
	else if (!shell_agent_renew(b->guest->agent, seed, &truth))
		cannot_renew(b, shell_agent_why(b->guest->agent));
	else if (!b->agent.version[0])
		cannot_renew(b, "no agent answered on the primary");
	explicit_bzero(seed, sizeof seed);
}
