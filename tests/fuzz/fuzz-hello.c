/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HELLO, the first thing that a stranger says: what is understood of it encodes to the very bytes that came. */
#include "fuzz.h"

#include "remus/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct remus_hello none;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_hello hello;
	uint8_t *out;
	size_t n;

	int rc = remus_hello_decode(data, size, &hello, &err);
	fuzz_check_error(rc, &err);
	if (rc) {
		FUZZ_CHECK(!memcmp(&hello, &none, sizeof none));
		return 0;
	}
	FUZZ_CHECK(remus_hello_encode(&hello, &out, &n, &err) == 0);
	FUZZ_CHECK(n == size && !memcmp(out, data, n));
	free(out);
	remus_hello_clear(&hello);
	return 0;
}

static void seed(const char *name, const struct remus_hello *hello, size_t length_less, size_t more)
{
	uint8_t *out;
	size_t n;

	FUZZ_CHECK(remus_hello_encode(hello, &out, &n, NULL) == 0);
	out = realloc(out, n + more + 1);
	FUZZ_CHECK(out);
	memset(out + n, 'x', more);
	fuzz_seed(name, out, n - length_less + more);
	free(out);
}

/* A whole one with the byte at @at another. The first string, its length before it, begins at 60. */
static void seed_wrong(const char *name, const struct remus_hello *hello, size_t at, uint8_t byte)
{
	uint8_t *out;
	size_t n;

	FUZZ_CHECK(remus_hello_encode(hello, &out, &n, NULL) == 0 && at < n);
	out[at] = byte;
	fuzz_seed(name, out, n);
	free(out);
}

void fuzz_seeds(void)
{
	char backend[] = "qemu", domain[] = "web1", arbiter[] = "file:/srv/arbiter",
	     egress[] = "hold:/run/g,/run/h", description[] = "{\"format\":1,\n\"argv\":[]}";
	const struct remus_hello good = {.session = {1},
					 .generation = 1,
					 .features_offered = REMUS_FEATURES_KNOWN,
					 .features_required = REMUS_FEATURE_DELTA,
					 .guest_pages = 65536,
					 .interval_ms = 25,
					 .heartbeat_ms = 100,
					 .dead_ms = 500,
					 .backend = backend,
					 .domain = domain,
					 .arbiter = arbiter,
					 .egress = egress,
					 .description = description};
	struct remus_hello h = good;

	seed("whole", &h, 0, 0);
	for (size_t i = 1; i < 60; i += 7) {
		char name[32];
		snprintf(name, sizeof name, "cut-%zu", i);
		seed(name, &h, i, 0);
	}
	seed("longer", &h, 0, 3);
	h.egress = h.arbiter = h.description = NULL;
	seed("few-texts", &h, 0, 0);
	h.session[0] = 0;
	seed("no-session", &h, 0, 0);
	h = good;
	h.generation = 0;
	seed("no-generation", &h, 0, 0);
	h = good;
	h.features_required = REMUS_FEATURE_CHECK;
	seed("not-offered", &h, 0, 0);
	h = good;
	h.guest_pages = 0;
	seed("no-pages", &h, 0, 0);
	h.guest_pages = UINT64_C(1) << 41;
	seed("many-pages", &h, 0, 0);
	h = good;
	h.dead_ms = 150;
	seed("timing", &h, 0, 0);
	h.dead_ms = 4000000;
	seed("timing-long", &h, 0, 0);
	h.dead_ms = 500;
	h.interval_ms = 4000000;
	seed("timing-interval", &h, 0, 0);
	h.interval_ms = 25;
	h.heartbeat_ms = 0;
	seed("timing-none", &h, 0, 0);
	seed("ends", &good, 4 + strlen(description), 0);
	seed_wrong("text-nul", &good, 65, 0);
	seed_wrong("text-control", &good, 65, '\n');
	seed_wrong("text-delete", &good, 65, 0x7f);
	seed_wrong("text-hostile", &good, 63, 0xff);
	char most[4096];
	memset(most, 'e', sizeof most - 1);
	most[sizeof most - 1] = 0;
	h = good;
	h.egress = most;
	seed("egress-longest", &h, 0, 0);
	h.description = most; /* and a backend's name that takes some of it */
	seed_wrong("text-long", &h, 60, 200);
	fuzz_seed("short", "\1\0\0\0", 4);
}
