/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "fake:PATH" as a domain to be protected: PATH is the control socket of a running remus-fake-guest. Its
 * memory is tracked by the same code as a real hypervisor's. Deadlines: REMUS_FAKE_CALL_MS per call.
 */
#include "fake.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <jansson.h>
#include "remus/track.h"
#include "remus/util.h"

struct fake_domain {
	struct remus_domain base;
	struct remus_fake_guest guest;
	enum remus_track_method tracking;
	struct remus_track *track;
	uint8_t state[REMUS_FAKE_BODY_MAX];
};

static struct fake_domain *of(struct remus_domain *domain)
{
	return (struct fake_domain *)domain;
}

static int call(struct remus_domain *domain, enum remus_fake_verb verb, uint8_t *reply, size_t *bytes,
		struct remus_error *err)
{
	return remus_fake_call(&of(domain)->guest.control, verb, NULL, 0, reply, bytes, NULL,
			       REMUS_FAKE_CALL_MS, err);
}

static int fake_open(const char *locator, const struct remus_domain_config *config, struct remus_domain **out,
		     struct remus_error *err)
{
	struct fake_domain *fake = calloc(1, sizeof *fake);
	if (!fake)
		return remus_fail(err, -ENOMEM, "fake:%s: out of memory", locator);
	int code = remus_fake_guest_open(&fake->guest, locator, err);
	if (code) {
		free(fake);
		return code;
	}
	fake->base.ops = &remus_fake_domain_ops;
	fake->tracking = config->tracking;
	*out = &fake->base;
	return 0;
}

static const char *fake_name(struct remus_domain *domain)
{
	return of(domain)->guest.name;
}

static uint64_t fake_pages(struct remus_domain *domain)
{
	return of(domain)->guest.params.pages;
}

static int describe(const struct remus_fake_guest *guest, char **json, struct remus_error *err)
{
	const struct remus_fake_params *p = &guest->params;
	char mac[18] = "";

	if (guest->nics)
		snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", guest->nic.mac[0],
			 guest->nic.mac[1], guest->nic.mac[2], guest->nic.mac[3], guest->nic.mac[4],
			 guest->nic.mac[5]);
	json_t *object =
		json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "fake", 1, "name", guest->name,
			  "pages", (json_int_t)p->pages, "seed", (json_int_t)p->seed, "words",
			  (json_int_t)p->words, "hot", (json_int_t)p->hot, "rate", (json_int_t)p->rate,
			  "frame_every", (json_int_t)p->frame_every, "mac", mac);
	*json = object ? json_dumps(object, JSON_COMPACT) : NULL;
	json_decref(object);
	return *json ? 0 : remus_fail(err, -ENOMEM, "fake:%s: out of memory", guest->control.path);
}

static int fake_describe(struct remus_domain *domain, char **json, struct remus_error *err)
{
	return describe(&of(domain)->guest, json, err);
}

static int list_nics(const struct remus_fake_guest *guest, struct remus_nic *out, int max)
{
	for (int i = 0; i < guest->nics && i < max; i++)
		out[i] = guest->nic;
	return guest->nics < max ? guest->nics : max;
}

/* open() without its effects: it has none but its connections. */
static void fake_check(const char *locator, const struct remus_domain_config *config,
		       const struct remus_held *held, struct remus_domain_view *out,
		       struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_fake_guest guest;

	remus_track_check(config->tracking, report);
	if (remus_fake_guest_open(&guest, locator, &err) < 0) {
		remus_report_error(report, "guest", "name the control socket of a running fake guest", &err);
		return;
	}
	if (describe(&guest, &out->description, &err) < 0)
		remus_report_error(report, "guest", NULL, &err);
	else
		remus_report_ok(report, "guest", "%s is a fake guest of %" PRIu64 " pages", guest.name,
				guest.params.pages);
	out->pages = guest.params.pages;
	out->nics = list_nics(&guest, out->nic, REMUS_NICS_MAX);
	remus_fake_guest_close(&guest);
}

static int fake_nics(struct remus_domain *domain, struct remus_nic *out, int max, struct remus_error *err)
{
	return list_nics(&of(domain)->guest, out, max);
}

static int fake_track_start(struct remus_domain *domain, struct remus_error *err)
{
	struct fake_domain *fake = of(domain);
	struct remus_track_target target = {.pid = fake->guest.pid,
					    .address = fake->guest.address,
					    .bytes = fake->guest.params.pages * REMUS_FAKE_PAGE,
					    .mapping = fake->guest.memory};
	if (fake->track)
		return remus_fail(err, -EALREADY, "fake:%s: tracked already", fake->guest.control.path);
	return remus_track_start(&target, fake->tracking, &fake->track, err);
}

static const char *fake_track_name(struct remus_domain *domain)
{
	return of(domain)->track ? remus_track_name(of(domain)->track) : "none";
}

static const char *fake_track_note(struct remus_domain *domain)
{
	return of(domain)->track ? remus_track_note(of(domain)->track) : "";
}

static int fake_track_fetch(struct remus_domain *domain, uint64_t *dirty, uint64_t *count,
			    struct remus_error *err)
{
	struct fake_domain *fake = of(domain);

	if (!fake->track)
		return remus_fail(err, -EINVAL, "fake:%s: not tracked", fake->guest.control.path);
	return remus_track_fetch(fake->track, dirty, count, err);
}

static void fake_track_stop(struct remus_domain *domain)
{
	remus_track_stop(of(domain)->track);
	of(domain)->track = NULL;
}

static int fake_pause(struct remus_domain *domain, struct remus_error *err)
{
	return call(domain, REMUS_FAKE_PAUSE, NULL, NULL, err);
}

static int fake_resume(struct remus_domain *domain, struct remus_error *err)
{
	return call(domain, REMUS_FAKE_RESUME, NULL, NULL, err);
}

static int fake_save_state(struct remus_domain *domain, const uint8_t **out, size_t *bytes,
			   struct remus_error *err)
{
	struct fake_domain *fake = of(domain);
	int code = call(domain, REMUS_FAKE_SAVE, fake->state, bytes, err);

	if (!code)
		*out = fake->state;
	return code;
}

static int fake_copy(struct remus_domain *domain, const uint64_t *pfn, size_t count, void *dst,
		     struct remus_error *err)
{
	const struct remus_fake_guest *guest = &of(domain)->guest;
	uint8_t *to = dst;

	for (size_t i = 0; i < count; i++, to += REMUS_FAKE_PAGE) {
		if (pfn[i] >= guest->params.pages)
			return remus_fail(err, -EINVAL, "fake:%s: no page %" PRIu64, guest->control.path,
					  pfn[i]);
		memcpy(to, guest->memory + pfn[i] * REMUS_FAKE_PAGE, REMUS_FAKE_PAGE);
	}
	return 0;
}

static int fake_event_fd(struct remus_domain *domain)
{
	return of(domain)->guest.events.fd;
}

static enum remus_domain_event fake_next_event(struct remus_domain *domain, char why[REMUS_TEXT_MAX])
{
	return remus_fake_guest_event(&of(domain)->guest, why);
}

static int fake_destroy(struct remus_domain *domain, struct remus_error *err)
{
	return remus_fake_guest_kill(&of(domain)->guest, err);
}

static void fake_close(struct remus_domain *domain)
{
	fake_track_stop(domain);
	remus_fake_guest_close(&of(domain)->guest);
	free(of(domain));
}

static struct remus_channel *fake_agent(struct remus_domain *domain, char why[REMUS_TEXT_MAX])
{
	return remus_fake_guest_agent(&of(domain)->guest, why);
}

static pid_t fake_pid(struct remus_domain *domain)
{
	return of(domain)->guest.pid;
}

const struct remus_domain_ops remus_fake_domain_ops = {
	.backend = "fake",
	.open = fake_open,
	.check = fake_check,
	.name = fake_name,
	.pages = fake_pages,
	.describe = fake_describe,
	.nics = fake_nics,
	.track_start = fake_track_start,
	.track_name = fake_track_name,
	.track_note = fake_track_note,
	.track_fetch = fake_track_fetch,
	.track_stop = fake_track_stop,
	.pause = fake_pause,
	.resume = fake_resume,
	.save_state = fake_save_state,
	.copy = fake_copy,
	.agent = fake_agent,
	.pid = fake_pid,
	.event_fd = fake_event_fd,
	.next_event = fake_next_event,
	.destroy = fake_destroy,
	.close = fake_close,
};
