/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a fake guest's memory, state and frames look like. Pure; used on both sides of the control socket. */
#include "fake.h"

#include <inttypes.h>
#include <string.h>
#include "remus/util.h"

#define PAGE_WORDS  (REMUS_FAKE_PAGE / 8)
#define STATE_MAGIC UINT64_C(0x31454b4146535552)
#define FRAME_HEAD  14 /* Ethernet */

/* The finalizer of splitmix64: every input bit reaches every output bit. */
static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static uint64_t page_of(const struct remus_fake_params *p, uint64_t i)
{
	return mix(p->seed ^ mix(i)) % (p->hot ? p->hot : p->pages);
}

/* Word @w of @page after write @i. Each fourth page starts as zeroes, as much of a real guest's memory is. */
static uint64_t word_of(const struct remus_fake_params *p, uint64_t page, uint64_t i, uint64_t w)
{
	if (i == 0 && page % 4 == 3)
		return 0;
	return mix(p->seed + mix(page) + mix(i * PAGE_WORDS + w));
}

int remus_fake_params_check(const struct remus_fake_params *p, struct remus_error *err)
{
	if (!p->pages || p->pages > REMUS_FAKE_PAGES_MAX)
		return remus_fail(err, -EINVAL,
				  "fake guest: %" PRIu64 " pages; 1 to %" PRIu64 " are possible", p->pages,
				  REMUS_FAKE_PAGES_MAX);
	if (!p->words || p->words > PAGE_WORDS || p->hot > p->pages)
		return remus_fail(err, -EINVAL,
				  "fake guest: %" PRIu64 " words per write (1 to %u), %" PRIu64
				  " hot pages (up to all %" PRIu64 ")",
				  p->words, PAGE_WORDS, p->hot, p->pages);
	return 0;
}

void remus_fake_fill(const struct remus_fake_params *p, uint8_t *memory)
{
	uint64_t *word = (uint64_t *)memory;

	for (uint64_t page = 0; page < p->pages; page++)
		for (uint64_t w = 0; w < PAGE_WORDS; w++)
			*word++ = word_of(p, page, 0, w);
}

void remus_fake_write(const struct remus_fake_params *p, uint8_t *memory, uint64_t i)
{
	uint64_t page = page_of(p, i), step = PAGE_WORDS / p->words;
	uint64_t *word = (uint64_t *)(memory + page * REMUS_FAKE_PAGE);

	for (uint64_t k = 0; k < p->words; k++)
		word[k * step] = word_of(p, page, i, k * step);
}

int remus_fake_verify(const struct remus_fake_params *p, const uint8_t *memory, uint64_t writes,
		      struct remus_error *err)
{
	REMUS_AUTO_FREE uint64_t *last = calloc(p->pages, sizeof *last);
	uint64_t wrong = 0, first = 0, step = PAGE_WORDS / p->words;
	const uint64_t *word = (const uint64_t *)memory;

	if (!last)
		return remus_fail(err, -ENOMEM, "fake guest: no memory to verify %" PRIu64 " pages",
				  p->pages);
	for (uint64_t i = 1; i <= writes; i++)
		last[page_of(p, i)] = i;
	for (uint64_t page = 0; page < p->pages; page++) {
		bool good = true;
		for (uint64_t w = 0; w < PAGE_WORDS; w++, word++) {
			bool written = w % step == 0 && w / step < p->words;
			good &= *word == word_of(p, page, written ? last[page] : 0, w);
		}
		if (!good && !wrong++)
			first = page;
	}
	if (!wrong)
		return 0;
	return remus_fail(err, -EUCLEAN,
			  "fake guest: after %" PRIu64 " writes %" PRIu64 " of %" PRIu64
			  " pages are wrong; the first is page %" PRIu64 ", last written by write %" PRIu64,
			  writes, wrong, p->pages, first, last[first]);
}

void remus_fake_state_encode(const struct remus_fake_state *state, uint8_t out[REMUS_FAKE_STATE])
{
	remus_put_le64(out, STATE_MAGIC);
	remus_put_le64(out + 8, state->writes);
	remus_put_le64(out + 16, state->frames);
	remus_put_le64(out + 24, state->received);
}

int remus_fake_state_decode(const void *in, size_t bytes, struct remus_fake_state *out,
			    struct remus_error *err)
{
	const uint8_t *b = in;

	if (bytes != REMUS_FAKE_STATE || remus_get_le64(b) != STATE_MAGIC)
		return remus_fail(err, -EBADMSG, "%zu bytes that are no fake guest's state", bytes);
	out->writes = remus_get_le64(b + 8);
	out->frames = remus_get_le64(b + 16);
	out->received = remus_get_le64(b + 24);
	return 0;
}

void remus_fake_frame_encode(const uint8_t mac[6], uint64_t number, uint64_t writes,
			     uint8_t out[REMUS_FAKE_FRAME])
{
	memset(out, 0, REMUS_FAKE_FRAME);
	memset(out, 0xff, 6);
	memcpy(out + 6, mac, 6);
	out[12] = REMUS_FAKE_ETHERTYPE >> 8;
	out[13] = REMUS_FAKE_ETHERTYPE & 0xff;
	remus_put_le32(out + FRAME_HEAD, REMUS_FAKE_FRAME_MAGIC);
	remus_put_le64(out + FRAME_HEAD + 8, number);
	remus_put_le64(out + FRAME_HEAD + 16, writes);
}

bool remus_fake_frame_decode(const uint8_t *frame, size_t bytes, uint64_t *number, uint64_t *writes)
{
	if (bytes < REMUS_FAKE_FRAME || (frame[12] << 8 | frame[13]) != REMUS_FAKE_ETHERTYPE ||
	    remus_get_le32(frame + FRAME_HEAD) != REMUS_FAKE_FRAME_MAGIC)
		return false;
	*number = remus_get_le64(frame + FRAME_HEAD + 8);
	*writes = remus_get_le64(frame + FRAME_HEAD + 16);
	return true;
}
