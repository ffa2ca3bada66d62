/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sections of an epoch's state: never outside of the stream, and one state has one encoding; so has a clock. */
#include "fuzz.h"

#include "remus/clock.h"
#include "remus/wire.h"

/* What is accepted is sane, and what this release makes is what it reads. */
static void clock_facts(const struct remus_section *s)
{
	static const struct remus_clock_facts none;
	struct remus_error err = REMUS_ERROR_INIT;
	uint8_t out[REMUS_CLOCK_FACTS_SIZE];
	struct remus_clock_facts f;
	int rc = remus_clock_facts_decode(s->body, s->length, &f, &err);

	fuzz_check_error(rc, &err);
	if (rc < 0) {
		FUZZ_CHECK(!memcmp(&f, &none, sizeof f));
		return;
	}
	FUZZ_CHECK(f.realtime_ns > 0 && f.complete == (s->length != 24));
	remus_clock_facts_encode(&f, out);
	if (s->length == sizeof out && s->body[24] == 1 && !s->body[25])
		FUZZ_CHECK(!memcmp(out, s->body, sizeof out));
	/* Whatever it says, the right time can be computed from it. */
	struct remus_clock_known known = {.facts = f, .after_ns = 1000000000, .before_ns = 2000000000};
	struct remus_clock_reading now = {3000000000, 3000000000, 3000000000, 1795000000000000000};
	struct remus_truth truth;
	remus_offset_add(&known.offset, 1000000, f.boottime_ns, f.monotonic_ns, 1001000);
	remus_clock_truth(&known, &now, &truth);
	FUZZ_CHECK(truth.realtime_ns >= truth.floor_ns);
	FUZZ_CHECK(truth.gap_ns >= 1000000000 && truth.gap_ns <= 2000000000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t zero[8];
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_section s;
	size_t at = 0, before = 0;
	int rc;

	while ((rc = remus_section_next(data, size, &at, &s, &err)) > 0) {
		uint8_t head[REMUS_SECTION_HEADER];
		FUZZ_CHECK(at <= size && s.body == data + before + sizeof head && s.length <= size);
		size_t pad = remus_section_head(head, s.kind, s.flags, s.length);
		FUZZ_CHECK(!memcmp(head, data + before, sizeof head));
		FUZZ_CHECK(pad < 8 && at == before + sizeof head + s.length + pad && at % 8 == 0);
		FUZZ_CHECK(!memcmp(s.body + s.length, zero, pad));
		if (s.kind == REMUS_SECTION_CLOCK)
			clock_facts(&s);
		before = at;
	}
	fuzz_check_error(rc, &err);
	FUZZ_CHECK(rc == 0 ? at == size : at == before);
	return 0;
}

/* @n bodies of kinds @kind and lengths @length. */
static void seed(const char *name, const uint16_t *kind, const uint16_t *flags, const uint32_t *length,
		 size_t n)
{
	uint8_t text[1024] = {0};
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++) {
		size_t pad = remus_section_head(text + bytes, kind[i], flags[i], length[i]);
		memset(text + bytes + REMUS_SECTION_HEADER, 0x33, length[i]);
		bytes += REMUS_SECTION_HEADER + length[i] + pad;
	}
	fuzz_seed(name, text, bytes);
}

static void seed_clock(const char *name, size_t length, int at, uint8_t value)
{
	static const struct remus_clock_facts facts = {
		.realtime_ns = 1795000000000000000,
		.monotonic_ns = 77,
		.boottime_ns = 99,
		.link_ns = 1795000000000000123,
		.sync = {true, 3000000},
		.policy = REMUS_CLOCK_SLEW,
		.guest = {true, 1, 2894560, true, -7200},
	};
	uint8_t text[256] = {0};

	remus_section_head(text, REMUS_SECTION_CLOCK, 0, (uint32_t)length);
	remus_clock_facts_encode(&facts, text + REMUS_SECTION_HEADER);
	if (length < REMUS_CLOCK_FACTS_SIZE)
		memset(text + REMUS_SECTION_HEADER + length, 0, REMUS_CLOCK_FACTS_SIZE - length);
	text[REMUS_SECTION_HEADER + at] = value;
	fuzz_seed(name, text, REMUS_SECTION_HEADER + length);
}

void fuzz_seeds(void)
{
	seed_clock("clock", 64, 24, 1);
	seed_clock("clock-0.1", 24, 0, 1);
	seed_clock("clock-later", 72, 24, 2);
	seed_clock("clock-flags", 64, 26, 0x1f);
	seed_clock("clock-error", 64, 47, 0x7f);
	seed_clock("clock-offset", 64, 63, 0x80);
	seed_clock("clock-wall", 64, 7, 0x80);
	seed("whole", (uint16_t[]){1, 2, 3}, (uint16_t[]){1, 0, 1}, (uint32_t[]){100, 14, 40}, 3);
	seed("empty-body", (uint16_t[]){1, 3}, (uint16_t[]){0, 0}, (uint32_t[]){0, 1}, 2);
	seed("unknown", (uint16_t[]){9, 0}, (uint16_t[]){0, 0}, (uint32_t[]){5, 8}, 2);
	seed("unknown-mandatory", (uint16_t[]){9}, (uint16_t[]){1}, (uint32_t[]){5}, 1);
	fuzz_seed("hostile-length", "\1\0\1\0\xff\xff\xff\xff", 8);
	fuzz_seed("cut-padding", "\1\0\1\0\1\0\0\0x", 9);
	fuzz_seed("dirty-padding", "\1\0\1\0\1\0\0\0xyyyyyyy", 16);
	fuzz_seed("cut-head", "\1\0\1", 3);
}
