/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sections of an epoch's state: never outside of the stream, and one state has one encoding. */
#include "fuzz.h"

#include "remus/wire.h"

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

void fuzz_seeds(void)
{
	seed("whole", (uint16_t[]){1, 2, 3}, (uint16_t[]){1, 0, 1}, (uint32_t[]){100, 14, 40}, 3);
	seed("empty-body", (uint16_t[]){1, 3}, (uint16_t[]){0, 0}, (uint32_t[]){0, 1}, 2);
	seed("unknown", (uint16_t[]){9, 0}, (uint16_t[]){0, 0}, (uint32_t[]){5, 8}, 2);
	seed("unknown-mandatory", (uint16_t[]){9}, (uint16_t[]){1}, (uint32_t[]){5}, 1);
	fuzz_seed("hostile-length", "\1\0\1\0\xff\xff\xff\xff", 8);
	fuzz_seed("cut-padding", "\1\0\1\0\1\0\0\0x", 9);
	fuzz_seed("dirty-padding", "\1\0\1\0\1\0\0\0xyyyyyyy", 16);
	fuzz_seed("cut-head", "\1\0\1", 3);
}
