/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a hostile guest writes to the host in its agent's place: the same messages however it is cut, each with one
 * encoding; and a host that owes at most one answer of each kind, and whose own lines are messages.
 * The first byte: bit 0, each line gets the checksum that it lacks, or the search would never get past it; bits 1 to 3,
 * the size of the pieces.
 */
#define XXH_INLINE_ALL
#include "fuzz.h"

#include <xxhash.h>
#include "remus/renewal.h"

#define ID   UINT64_C(0x0123456789abcdef)
#define PART 600u /* of the text that is fed between two looks at what the host says */

/* The lines of @data with a checksum each; malloc'ed. */
static char *sum_up(const uint8_t *data, size_t size, size_t *bytes)
{
	char *out = malloc(size * 11 + 16), *to = out;

	FUZZ_CHECK(out);
	for (size_t at = 0; at < size;) {
		const uint8_t *end = memchr(data + at, '\n', size - at);
		size_t n = end ? (size_t)(end - data) - at : size - at;
		memcpy(to, data + at, n);
		to += n;
		to += sprintf(to, " *%08x\n", (unsigned)(XXH3_64bits(data + at, n) & 0xffffffff));
		at += n + 1;
	}
	*bytes = (size_t)(to - out);
	return out;
}

/* The messages in @text, counted and hashed, fed in pieces of @piece bytes. */
static uint64_t messages(const char *text, size_t size, size_t piece, uint64_t *garbage)
{
	struct remus_message_stream stream = {0};
	struct remus_message m;
	uint64_t hash = 0;

	for (size_t at = 0; at < size;) {
		size_t left = size - at < piece ? size - at : piece;
		bool got;
		size_t n = remus_message_feed(&stream, text + at, left, &m, &got);
		FUZZ_CHECK(n > 0 && n <= left && stream.used < sizeof stream.line);
		at += n;
		if (!got)
			continue;
		char line[REMUS_MESSAGE_MAX];
		int bytes = remus_message_encode(&m, line);
		FUZZ_CHECK(bytes > 0 && (size_t)bytes <= at &&
			   !memcmp(line, text + at - (size_t)bytes, (size_t)bytes));
		hash = XXH3_64bits_withSeed(line, (size_t)bytes, hash + 1);
	}
	*garbage = stream.garbage;
	return hash;
}

static void answer(struct remus_renewal *host, uint64_t now)
{
	char line[REMUS_MESSAGE_MAX];
	unsigned said[REMUS_MESSAGE_VERBS] = {0};
	struct remus_message m;

	for (size_t n; (n = remus_renewal_output(host, line, now));) {
		FUZZ_CHECK(remus_message_decode(line, n - 1, &m, NULL) == 0 && line[n - 1] == '\n');
		FUZZ_CHECK(m.verb == REMUS_MESSAGE_ASK_HELLO || m.verb == REMUS_MESSAGE_RENEW ||
			   m.verb == REMUS_MESSAGE_TIME || m.verb == REMUS_MESSAGE_ASK_STEAL);
		FUZZ_CHECK(++said[m.verb] == 1);
	}
	FUZZ_CHECK(remus_renewal_due(host) > now);
}

static void talk_to_host(const char *text, size_t size)
{
	static const uint8_t seed[REMUS_SEED_SIZE] = {1}, none[REMUS_SEED_SIZE];
	static const struct remus_truth truth = {.raw_ns = 1, .realtime_ns = 1700000000000000000};
	struct remus_renewal host;
	uint64_t now = 1000000000;

	remus_renewal_init(&host);
	remus_renewal_probe(&host, 7, now);
	answer(&host, now);
	for (size_t at = 0; at < size; at += PART, now += 50000000) {
		if (at >= size / 2 && host.phase == REMUS_RENEWAL_NONE)
			remus_renewal_begin(&host, ID, seed, &truth, now);
		remus_renewal_receive(&host, text + at, size - at < PART ? size - at : PART, now);
		answer(&host, now);
		FUZZ_CHECK(remus_steal_percent(&host.steal) <= 100);
		FUZZ_CHECK(!host.present || remus_message_word(host.version, sizeof host.version) ||
			   !host.version[0]);
		FUZZ_CHECK((host.phase == REMUS_RENEWAL_ASKED) ==
			   (memcmp(host.seed, none, sizeof none) != 0));
	}
	if (host.phase == REMUS_RENEWAL_DONE) {
		char words[300];
		remus_renewed_text(&host.renewed, words, sizeof words);
		FUZZ_CHECK(words[0]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t garbage[2];
	size_t bytes = 0;

	if (!size)
		return 0;
	char *text = data[0] & 1 ? sum_up(data + 1, size - 1, &bytes) : fuzz_text(data + 1, size - 1);
	if (!(data[0] & 1))
		bytes = size - 1;
	FUZZ_CHECK(messages(text, bytes, bytes + 1, &garbage[0]) ==
		   messages(text, bytes, 1u + (data[0] >> 1 & 7) * 37u, &garbage[1]));
	FUZZ_CHECK(garbage[0] == garbage[1]);
	talk_to_host(text, bytes);
	free(text);
	return 0;
}

void fuzz_seeds(void)
{
	static const char whole[] = "\2"
				    "remus1 hello 0000000000000000 version=0.1.0\n"
				    "remus1 time? 0123456789abcdef n=1\n";
	static const char stolen[] = "\1"
				     "remus1 hello 0000000000000008 version=0.1.0\n"
				     "remus1 steal 0000000000000008 stolen=18446744073709551615 vcpus=1\n"
				     "remus1 steal 0000000000000008 stolen=5 vcpus=2\n"
				     "remus1 steal 0000000000000008 stolen=70000 vcpus=2\n";

	fuzz_seed("steals", stolen, sizeof stolen - 1);

	fuzz_seed("asks", "\1remus1 time? 0123456789abcdef n=1\n", 35);
	fuzz_seed_text("talks",
		       "\1remus1 hello 0000000000000000 version=0.1.0\n"
		       "remus1 hello 0123456789abcdef version=0.1.0\nremus1 time? 0123456789abcdef n=1\n"
		       "remus1 renewed 0123456789abcdef reseed=0 bits=512 clock=stepped offset=5 step=5 "
		       "slew=0 error=1\n"
		       "remus1 hooks 0123456789abcdef ran=2 failed=1 first=10-chrony\n");
	fuzz_seed_text(
		"says-what-hosts-say",
		"\1remus1 hello? 0123456789abcdef\nremus1 time 0123456789abcdef n=1 real=-1 error=0 floor=9\n"
		"remus1 renew 0123456789abcdef policy=step seed="
		"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
		"000000000000"
		"000000000000000000000000\n");
	fuzz_seed_text("largest",
		       "\1remus1 renewed 0123456789abcdef reseed=4294967295 bits=4294967295 clock=slewing "
		       "offset=-9223372036854775808 step=9223372036854775807 slew=-9223372036854775808 "
		       "error=18446744073709551615\n");
	fuzz_seed("without-sums", whole, sizeof whole - 1);
	fuzz_seed_text("too-long", "\1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				   "aaaaaaaaaaaaaaaaaaaaaaaaaaa"
				   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				   "aaaaaaaaaaaaaaaaaaaaaaaaa"
				   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				   "aaaaaaaaaaaaaaaaaaaaaaaaa"
				   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				   "aaaaaaaaaaaaaaaaaaaaaaaaa"
				   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				   "aaaaaaaaaaaaaaaaaaaaaaaaa"
				   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nremus1 time? 0123456789abcdef n=1\n");
}
