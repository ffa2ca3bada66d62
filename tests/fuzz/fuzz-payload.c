/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The small payloads. Byte 0 says which: WELCOME, COMMIT, HEARTBEAT, REFUSE, CLOCK. */
#include "fuzz.h"

#include "remus/wire.h"

static int welcome(const uint8_t *data, size_t size, struct remus_error *err)
{
	struct remus_welcome w;
	uint8_t out[REMUS_WELCOME_SIZE];
	int rc = remus_welcome_decode(data, size, &w, err);

	if (rc == 0) {
		remus_welcome_encode(&w, out);
		FUZZ_CHECK(size == sizeof out && !memcmp(out, data, size));
	}
	return rc;
}

static int commit(const uint8_t *data, size_t size, struct remus_error *err)
{
	struct remus_commit c;
	uint8_t out[REMUS_COMMIT_SIZE];
	int rc = remus_commit_decode(data, size, &c, err);

	if (rc == 0) {
		remus_commit_encode(&c, out);
		FUZZ_CHECK(size == sizeof out && !memcmp(out, data, size));
	}
	return rc;
}

static int heartbeat(const uint8_t *data, size_t size, struct remus_error *err)
{
	struct remus_heartbeat h;
	uint8_t out[REMUS_HEARTBEAT_SIZE];
	int rc = remus_heartbeat_decode(data, size, &h, err);

	if (rc == 0) {
		remus_heartbeat_encode(&h, out);
		FUZZ_CHECK(size == sizeof out && !memcmp(out, data, size));
	}
	return rc;
}

static int refuse(const uint8_t *data, size_t size, struct remus_error *err)
{
	char text[1024];
	uint8_t out[REMUS_SMALL_PAYLOAD_MAX];
	uint32_t code;
	int rc = remus_refuse_decode(data, size, &code, text, err);

	if (rc)
		return rc;
	for (const char *p = text; *p; p++)
		FUZZ_CHECK(*p >= 0x20 && *p < 0x7f);
	size_t n = remus_refuse_encode(code, text, out);
	FUZZ_CHECK(n <= size && !memcmp(out, data, 4) && n == 4 + strlen(text));
	return 0;
}

static int clock_note(const uint8_t *data, size_t size, struct remus_error *err)
{
	struct remus_clock_note c;
	uint8_t out[REMUS_CLOCK_SIZE];
	int rc = remus_clock_note_decode(data, size, &c, err);

	if (rc == 0) {
		remus_clock_note_encode(&c, out);
		FUZZ_CHECK(size == sizeof out && !memcmp(out, data, size));
	}
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int (*const decode[])(const uint8_t *, size_t,
				     struct remus_error *) = {welcome, commit, heartbeat, refuse, clock_note};
	struct remus_error err = REMUS_ERROR_INIT;

	if (size)
		fuzz_check_error(decode[data[0] % 5](data + 1, size - 1, &err), &err);
	return 0;
}

void fuzz_seeds(void)
{
	uint8_t text[1 + REMUS_SMALL_PAYLOAD_MAX] = {0};
	char words[1100];

	remus_welcome_encode(&(struct remus_welcome){REMUS_FEATURES_KNOWN, 1u << 30}, text + 1);
	fuzz_seed("welcome", text, 1 + REMUS_WELCOME_SIZE);
	fuzz_seed("welcome-cut", text, REMUS_WELCOME_SIZE);
	text[0] = 1;
	remus_commit_encode(&(struct remus_commit){100, 4096, 900, 0x1234567890abcdef}, text + 1);
	fuzz_seed("commit", text, 1 + REMUS_COMMIT_SIZE);
	fuzz_seed("commit-long", text, 2 + REMUS_COMMIT_SIZE);
	text[0] = 2;
	remus_heartbeat_encode(&(struct remus_heartbeat){1, 2, 3}, text + 1);
	fuzz_seed("heartbeat", text, 1 + REMUS_HEARTBEAT_SIZE);
	fuzz_seed("heartbeat-cut", text, 3);
	text[0] = 4;
	remus_clock_note_encode(&(struct remus_clock_note){-5000000000, true, 3000000}, text + 1);
	fuzz_seed("clock", text, 1 + REMUS_CLOCK_SIZE);
	text[17] = 2;
	fuzz_seed("clock-flags", text, 1 + REMUS_CLOCK_SIZE);
	text[17] = 0; /* not synchronised, and with an error */
	fuzz_seed("clock-error", text, 1 + REMUS_CLOCK_SIZE);
	text[0] = 3;
	fuzz_seed("refuse", text,
		  1 + remus_refuse_encode(16, "there is a standby\x1b[2J of that name", text + 1));
	fuzz_seed("refuse-cut", text, 4);
	memset(words, 'w', sizeof words);
	words[sizeof words - 1] = 0;
	size_t n = remus_refuse_encode(16, words, text + 1);
	fuzz_seed("refuse-longest", text, 1 + n);
	text[1 + n] = 'w';
	fuzz_seed("refuse-longer", text, 2 + n);
}
