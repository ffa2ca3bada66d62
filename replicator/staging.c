/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See staging.h. Everything that came from outside is bounded before it is kept (I11). */
#include "staging.h"

#include <stdlib.h>
#include <string.h>
#include "remus/pages.h"
#include "remus/util.h"

#define FRAME_COST (sizeof(struct remus_frame) + 32) /* bytes: its entry, malloc's own */
_Static_assert(FRAME_COST <= REMUS_STAGING_FRAME_COST, "a primary must count no less than its backup");

uint64_t staging_cap(uint64_t guest_pages, uint64_t limit)
{
	uint64_t worst = guest_pages * REMUS_PAGE_RECORD_MAX + REMUS_STATE_TOTAL_MAX;

	return limit && limit < worst ? limit : worst;
}

void staging_init(struct staging *s, uint64_t guest_pages, uint64_t limit)
{
	memset(s, 0, sizeof *s);
	s->guest_pages = guest_pages;
	s->cap = staging_cap(guest_pages, limit);
}

void staging_clear(struct staging *s)
{
	for (size_t i = 0; i < s->frames; i++)
		free(s->frame[i].payload);
	free(s->frame);
	free(s->state);
	staging_init(s, s->guest_pages, s->cap);
}

uint64_t staging_bytes(const struct staging *s)
{
	return s->page_bytes + s->state_room + s->room * sizeof *s->frame;
}

uint8_t *staging_locate(void *context, uint64_t pfn)
{
	struct remus_standby *standby = context;
	return standby->ops->page(standby, pfn);
}

static int add_state(struct staging *s, const struct remus_frame *frame, struct remus_error *err)
{
	size_t need = s->state_bytes + frame->header.length;

	if (need > REMUS_STATE_TOTAL_MAX)
		return remus_fail(err, -E2BIG, "epoch %llu has more than %u bytes of state",
				  (unsigned long long)s->epoch, REMUS_STATE_TOTAL_MAX);
	if (need > s->state_room) {
		uint8_t *larger = realloc(s->state, need * 2);
		if (!larger)
			return remus_fail(err, -ENOMEM, "no memory for %zu bytes of state", need);
		s->state = larger;
		s->state_room = need * 2;
	}
	memcpy(s->state + s->state_bytes, frame->payload, frame->header.length);
	s->state_bytes = need;
	return 0;
}

static int add_pages(struct staging *s, struct remus_frame *frame, struct remus_error *err)
{
	/* With what keeping a frame costs, or a flood of tiny ones would take many times the cap. */
	if (s->page_bytes + s->frames * FRAME_COST + frame->header.length > s->cap)
		return remus_fail(err, -E2BIG,
				  "epoch %llu has more than the %llu bytes that are kept for one of a guest "
				  "of %llu pages",
				  (unsigned long long)s->epoch, (unsigned long long)s->cap,
				  (unsigned long long)s->guest_pages);
	int64_t pages = remus_pages_check(frame->payload, frame->header.length, s->guest_pages, err);
	if (pages < 0)
		return (int)pages;
	if (s->frames == s->room) {
		size_t room = s->room ? s->room * 2 : 64;
		struct remus_frame *larger = realloc(s->frame, room * sizeof *larger);
		if (!larger)
			return remus_fail(err, -ENOMEM, "no memory to stage epoch %llu",
					  (unsigned long long)s->epoch);
		s->frame = larger;
		s->room = room;
	}
	s->frame[s->frames++] = *frame;
	frame->payload = NULL;
	s->pages += (uint64_t)pages;
	s->page_bytes += frame->header.length;
	return 0;
}

int staging_add(struct staging *s, uint64_t epoch, struct remus_frame *frame, struct remus_error *err)
{
	int rc;

	if (s->epoch != epoch) {
		staging_clear(s);
		s->epoch = epoch;
	}
	if (frame->header.type == REMUS_FRAME_STATE)
		rc = add_state(s, frame, err);
	else
		rc = add_pages(s, frame, err);
	if (rc == 0)
		remus_digest_add(&s->digest, &frame->header);
	return rc;
}

static int find_sections(struct staging *s, struct remus_error *err)
{
	struct remus_section section;
	size_t offset = 0;
	int rc;

	s->device = NULL;
	s->addresses.count = 0;
	s->agent = (struct remus_agent_section){0};
	s->clock = (struct remus_clock_facts){0};
	while ((rc = remus_section_next(s->state, s->state_bytes, &offset, &section, err)) > 0) {
		if (section.kind == REMUS_SECTION_DEVICE) {
			s->device = section.body;
			s->device_bytes = section.length;
		} else if (section.kind == REMUS_SECTION_ADDRESSES) {
			rc = remus_addresses_decode(section.body, section.length, &s->addresses, err);
			if (rc < 0)
				return rc;
		} else if (section.kind == REMUS_SECTION_AGENT) {
			rc = remus_agent_section_decode(section.body, section.length, &s->agent, err);
			if (rc < 0)
				return rc;
		} else if (section.kind == REMUS_SECTION_CLOCK) {
			rc = remus_clock_facts_decode(section.body, section.length, &s->clock, err);
			if (rc < 0)
				return rc;
		} else if (section.flags & REMUS_SECTION_MANDATORY) {
			return remus_fail(err, -EBADMSG, "state section %u is mandatory and unknown here",
					  section.kind);
		}
	}
	if (rc == 0 && !s->device)
		return remus_fail(err, -EBADMSG, "epoch %llu has no device state",
				  (unsigned long long)s->epoch);
	return rc;
}

int staging_verify(struct staging *s, uint64_t epoch, const struct remus_commit *commit,
		   struct remus_error *err)
{
	if (s->epoch != epoch)
		return remus_fail(err, -EBADMSG, "COMMIT of epoch %llu, of which nothing came",
				  (unsigned long long)epoch);
	if (s->pages != commit->pages || s->page_bytes != commit->page_bytes ||
	    s->state_bytes != commit->state_bytes)
		return remus_fail(
			err, -EBADMSG,
			"epoch %llu is incomplete: %llu of %llu pages, %llu of %llu page bytes, %zu of %llu "
			"state bytes",
			(unsigned long long)epoch, (unsigned long long)s->pages,
			(unsigned long long)commit->pages, (unsigned long long)s->page_bytes,
			(unsigned long long)commit->page_bytes, s->state_bytes,
			(unsigned long long)commit->state_bytes);
	if (s->digest.value != commit->digest)
		return remus_fail(err, -EBADMSG,
				  "epoch %llu: the digest of what came differs from the primary's",
				  (unsigned long long)epoch);
	return find_sections(s, err);
}

int staging_apply(struct staging *s, struct remus_standby *standby, struct remus_error *err)
{
	for (size_t i = 0; i < s->frames; i++) {
		int64_t n = remus_pages_apply(s->frame[i].payload, s->frame[i].header.length, s->guest_pages,
					      staging_locate, standby, err);
		if (n < 0)
			return (int)n;
	}
	int rc = standby->ops->commit(standby, s->epoch, s->device, s->device_bytes, err);
	if (rc == 0)
		staging_clear(s);
	return rc;
}
