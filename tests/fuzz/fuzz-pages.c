/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page payloads. Byte 0, bit 0: the rest is
 *   0  a payload: what the check accepts must apply, page for page (I2, I3); what it does not must not write
 *      outside of the guest, should it ever be applied
 *   1  a page, made from the bytes, and its base: what the encoder makes of it must decode to that page
 */
#include "fuzz.h"

#include "replicator/pages/codec.h"

#define PAGES 16u

static uint8_t guest[PAGES][REMUS_PAGE_SIZE];

static uint8_t *locate(void *context, uint64_t pfn)
{
	FUZZ_CHECK(pfn < PAGES);
	return guest[pfn];
}

static void decode(const uint8_t *payload, size_t bytes)
{
	struct remus_error err = REMUS_ERROR_INIT;

	memset(guest, 0x11, sizeof guest);
	memset(guest[2], 0, sizeof guest[2]);
	int64_t checked = remus_pages_check(payload, bytes, PAGES, &err);
	fuzz_check_error(checked, &err);
	int64_t applied = remus_pages_apply(payload, bytes, PAGES, locate, NULL, &err);
	fuzz_check_error(applied, &err);
	FUZZ_CHECK(checked == applied);
}

/* @page: the bytes again and again. @base: the same page with every byte that is 0xff in the text changed. */
static void encode(const uint8_t *text, size_t size, bool known, bool compress)
{
	static struct remus_codec codec;
	uint8_t page[REMUS_PAGE_SIZE], base[REMUS_PAGE_SIZE], old[REMUS_PAGE_SIZE],
		out[REMUS_PAGE_RECORD_MAX];

	for (size_t i = 0; i < sizeof page; i++) {
		page[i] = size ? text[i % size] : 0;
		old[i] = page[i] == 0xff || i % 509 == 3 ? (uint8_t)i : page[i];
	}
	memcpy(base, old, sizeof base);
	memset(guest, 0, sizeof guest);
	memcpy(guest[5], old, sizeof old);
	size_t n = remus_codec_page(&codec, 5, page, base, known, compress, out);
	FUZZ_CHECK(n >= REMUS_PAGE_RECORD && n <= sizeof out);
	FUZZ_CHECK(remus_page_is_zero(page) ? n == REMUS_PAGE_RECORD : !memcmp(base, page, sizeof page));
	FUZZ_CHECK(remus_pages_check(out, n, PAGES, NULL) == 1);
	FUZZ_CHECK(remus_pages_apply(out, n, PAGES, locate, NULL, NULL) == 1);
	FUZZ_CHECK(!memcmp(guest[5], page, sizeof page));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 1)
		encode(data + 1, size - 1, data[0] & 2, data[0] & 4);
	else
		decode(data + 1, size - 1);
	return 0;
}

/* ---- seeds ---- */

static uint8_t text[1 + 4 * REMUS_PAGE_RECORD_MAX];

static size_t record(size_t at, uint64_t pfn, const uint8_t *page, uint8_t *base, bool compress)
{
	static struct remus_codec codec;

	return at + remus_codec_page(&codec, pfn, page, base, base, compress, text + at);
}

void fuzz_seeds(void)
{
	uint8_t page[REMUS_PAGE_SIZE] = {0}, base[REMUS_PAGE_SIZE];
	uint32_t noise = 1;

	text[0] = 0;
	fuzz_seed("zero", text, record(record(1, 2, page, NULL, true), 3, page, NULL, true));
	memset(page, 'a', sizeof page);
	fuzz_seed("lz4", text, record(1, 0, page, NULL, true));
	memcpy(base, page, sizeof base);
	for (size_t i = 5; i < sizeof page; i += 700)
		page[i] = 'b';
	fuzz_seed("delta", text, record(1, 15, page, base, true));
	fuzz_seed("delta-empty", text, record(1, 15, page, base, false));
	size_t n = record(record(1, 1, page, NULL, true), 1, page, base, false);
	fuzz_seed("twice", text, n);
	fuzz_seed("cut", text, n - 3);
	fuzz_seed("cut-by-one", text, n - 1);
	fuzz_seed("delta-masks", "\0\1\0\0\0\0\3\x8\0\xff\0\0\0\0\0\0\0", 17);
	fuzz_seed("delta-mask-zero", "\0\1\0\0\0\0\3\x9\0\1\0\0\0\0\0\0\0\0", 18);
	fuzz_seed("delta-values", "\0\1\0\0\0\0\3\x9\0\1\0\0\0\0\0\0\0\1", 18);
	for (size_t i = 0; i < sizeof page; i++)
		page[i] = (uint8_t)((noise = noise * 1103515245 + 12345) >> 16);
	fuzz_seed("raw", text, record(1, 7, page, NULL, true));
	fuzz_seed("outside", text, record(1, PAGES, page, NULL, true));
	fuzz_seed("head-cut", "\0\1\0\0", 4);
	fuzz_seed("zero-body", "\0\1\0\0\0\0\0\1\0x", 10);
	fuzz_seed("raw-short", "\0\1\0\0\0\0\1\1\0x", 10);
	fuzz_seed("lz4-bad", "\0\1\0\0\0\0\2\3\0xyz", 12);
	fuzz_seed("lz4-empty", "\0\1\0\0\0\0\2\0\0", 9);
	fuzz_seed("delta-short", "\0\1\0\0\0\0\3\3\0xyz", 12);
	fuzz_seed("unknown", "\0\1\0\0\0\0\4\0\0", 9);
	for (uint8_t mode = 1; mode < 8; mode += 2) {
		char name[16];
		snprintf(name, sizeof name, "encode-%u", mode);
		fuzz_seed(name, (uint8_t[]){mode, 'a', 0xff, 0, 0, 'b', 0xff, 'c'}, 8);
		snprintf(name, sizeof name, "encode-zero-%u", mode);
		fuzz_seed(name, &mode, 1);
	}
}
