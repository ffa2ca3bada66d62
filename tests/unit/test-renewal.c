/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The conversation with a guest's agent: its lines, byte by byte and out of shape; the host's end; the agent's end in a
 * world of its own; and both of them over a wire that loses, repeats and cuts.
 */
#include "tools/remus-agent/agent.h"

#define XXH_INLINE_ALL
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xxhash.h>
#include "remus/util.h"
#include "tools/remus-agent/clock.h"
#include "tools/remus-agent/steal.h"
#include "unit.h"

#define MS INT64_C(1000000)
#define ID UINT64_C(0x0123456789abcdef)

static const char seed_hex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
			       "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";

static void fill_seed(uint8_t seed[REMUS_SEED_SIZE])
{
	for (unsigned i = 0; i < REMUS_SEED_SIZE; i++)
		seed[i] = (uint8_t)i;
}

/* ---- lines ---- */

static struct remus_message example(enum remus_message_verb verb)
{
	struct remus_message m = {.verb = verb, .id = ID};

	switch (verb) {
	case REMUS_MESSAGE_HELLO:
		strcpy(m.version, "0.1.0");
		break;
	case REMUS_MESSAGE_RENEW:
		m.policy = REMUS_CLOCK_SLEW;
		fill_seed(m.seed);
		break;
	case REMUS_MESSAGE_TIME:
		m.realtime_ns = 1700000000123456789;
		m.floor_ns = 1699999999000000000;
		m.error_ns = 250000;
		m.number = UINT64_MAX;
		break;
	case REMUS_MESSAGE_RENEWED:
		m.renewed = (struct remus_renewed){.reseed = 1,
						   .bits = UINT32_MAX,
						   .clock = REMUS_CLOCK_STEPPED,
						   .offset_ns = INT64_MIN,
						   .step_ns = INT64_MAX,
						   .slew_ns = -1,
						   .error_ns = 7};
		break;
	case REMUS_MESSAGE_HOOKS:
		m.hooks = (struct remus_hooks){.ran = 3, .failed = 1, .first = "10-chrony"};
		break;
	case REMUS_MESSAGE_STEAL:
		m.steal = (struct remus_steal){.stolen_us = UINT64_MAX, .vcpus = 4};
		break;
	default:
		m.number = verb == REMUS_MESSAGE_ASK_TIME ? 1 : 0;
	}
	return m;
}

static void lines_round_trip(void)
{
	char line[REMUS_MESSAGE_MAX];
	struct remus_message back;

	for (enum remus_message_verb verb = 0; verb < REMUS_MESSAGE_VERBS; verb++) {
		struct remus_message m = example(verb);
		int n = remus_message_encode(&m, line);
		CU_ASSERT_FATAL(n > 0 && line[n - 1] == '\n');
		CU_ASSERT_EQUAL(remus_message_decode(line, (size_t)n - 1, &back, NULL), 0);
		CU_ASSERT(!memcmp(&m, &back, sizeof m));
	}
}

/* The bytes of docs/continuity.md. */
static void lines_are_these(void)
{
	char line[REMUS_MESSAGE_MAX], expected[REMUS_MESSAGE_MAX];
	struct remus_message m = example(REMUS_MESSAGE_ASK_TIME);

	int n = remus_message_encode(&m, line);
	CU_ASSERT_EQUAL(n, (int)strlen("remus1 time? 0123456789abcdef n=1 *00000000\n"));
	CU_ASSERT(!strncmp(line, "remus1 time? 0123456789abcdef n=1 *", 35));
	m = example(REMUS_MESSAGE_RENEW);
	n = remus_message_encode(&m, line);
	int head = snprintf(expected, sizeof expected, "remus1 renew 0123456789abcdef policy=slew seed=%s *",
			    seed_hex);
	CU_ASSERT(!strncmp(line, expected, (size_t)head));
	CU_ASSERT_EQUAL(n, head + 9);
}

/* As the format says, of any text. */
static unsigned message_sum(const char *text)
{
	return (unsigned)(XXH3_64bits(text, strlen(text)) & 0xffffffff);
}

static int decodes(const char *line)
{
	struct remus_message m;
	return remus_message_decode(line, strlen(line), &m, NULL);
}

/* Every byte of every line changed, every prefix, every suffix: none is a message. */
static void lines_out_of_shape(void)
{
	char line[REMUS_MESSAGE_MAX];
	struct remus_message m, zero = {0};

	for (enum remus_message_verb verb = 0; verb < REMUS_MESSAGE_VERBS; verb++) {
		m = example(verb);
		size_t n = (size_t)remus_message_encode(&m, line) - 1;
		for (size_t i = 0; i < n; i++) {
			char kept = line[i];
			line[i] ^= 1 << (i % 7);
			CU_ASSERT_EQUAL(remus_message_decode(line, n, &m, NULL), -EBADMSG);
			CU_ASSERT(!memcmp(&m, &zero, sizeof m));
			line[i] = 0;
			CU_ASSERT_EQUAL(remus_message_decode(line, n, &m, NULL), -EBADMSG);
			line[i] = kept;
			CU_ASSERT_EQUAL(remus_message_decode(line, i, &m, NULL), -EBADMSG);
			if (i)
				CU_ASSERT_EQUAL(remus_message_decode(line + i, n - i, &m, NULL), -EBADMSG);
		}
	}
}

/* With a right checksum, but spelt in another way or with what doesn't belong there. */
static void lines_have_one_spelling(void)
{
	static const char *const wrong[] = {
		"",
		"remus1",
		"remus2 hello? 0123456789abcdef",
		"remus1 hello! 0123456789abcdef",
		"remus1 hello? 0123456789ABCDEF",
		"remus1 hello? 123456789abcdef",
		"remus1 hello? 0x123456789abcde",
		"remus1  hello? 0123456789abcdef",
		"remus1 hello? 0123456789abcdef n=1",
		"remus1 time? 0123456789abcdef",
		"remus1 time? 0123456789abcdef n=",
		"remus1 time? 0123456789abcdef n=01",
		"remus1 time? 0123456789abcdef n=+1",
		"remus1 time? 0123456789abcdef n=-1",
		"remus1 time? 0123456789abcdef n=18446744073709551616",
		"remus1 time? 0123456789abcdef n=1 n=1",
		"remus1 time? 0123456789abcdef m=1",
		"remus1 time 0123456789abcdef n=1 error=1 real=1 floor=1",
		"remus1 time 0123456789abcdef n=1 real=-0 error=1 floor=1",
		"remus1 time 0123456789abcdef n=1 real=9223372036854775808 error=1 floor=1",
		"remus1 hello 0123456789abcdef version=",
		"remus1 hello 0123456789abcdef version=a/b",
		"remus1 hello 0123456789abcdef version=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"remus1 hooks 0123456789abcdef ran=4294967296 failed=0 first=-",
		"remus1 renew 0123456789abcdef policy=jump seed=00",
		"remus1 renewed 0123456789abcdef reseed=0 bits=1 clock=right offset=0 step=0 slew=0 error=0",
	};
	char line[REMUS_MESSAGE_MAX + 64];
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(wrong); i++) {
		snprintf(line, sizeof line, "%s *%08x", wrong[i], message_sum(wrong[i]));
		CU_ASSERT_EQUAL(decodes(line), -EBADMSG);
	}
	const char *right = "remus1 time 0123456789abcdef n=1 real=1 error=1 floor=-1";
	snprintf(line, sizeof line, "%s *%08x", right, message_sum(right));
	CU_ASSERT_EQUAL(decodes(line), 0);
}

static void nothing_without_an_encoding(void)
{
	char line[REMUS_MESSAGE_MAX];
	struct remus_message m = example(REMUS_MESSAGE_HELLO);

	m.version[0] = 0;
	CU_ASSERT_EQUAL(remus_message_encode(&m, line), -EINVAL);
	strcpy(m.version, "a b");
	CU_ASSERT_EQUAL(remus_message_encode(&m, line), -EINVAL);
	memset(m.version, 'a', sizeof m.version); /* without its NUL */
	CU_ASSERT_EQUAL(remus_message_encode(&m, line), -EINVAL);
	m = example(REMUS_MESSAGE_RENEW);
	m.policy = REMUS_CLOCK_SLEW + 1;
	CU_ASSERT_EQUAL(remus_message_encode(&m, line), -EINVAL);
	m.verb = REMUS_MESSAGE_VERBS;
	CU_ASSERT_EQUAL(remus_message_encode(&m, line), -EINVAL);
}

/* ---- the stream ---- */

/* However it is cut, the same messages come out, and garbage in between costs no message after it. */
static void streams_in_pieces(void)
{
	char text[4 * REMUS_MESSAGE_MAX + 1024], line[REMUS_MESSAGE_MAX];
	size_t size = 0;
	struct remus_message m = example(REMUS_MESSAGE_TIME);

	int n = remus_message_encode(&m, line);
	memcpy(text, line + 20, (size_t)n - 20); /* the end of one that was sent before */
	size = (size_t)n - 20;
	memcpy(text + size, line, (size_t)n);
	size += (size_t)n;
	text[size++] = '\n';
	memset(text + size, 'x', 2 * REMUS_MESSAGE_MAX); /* too long for a line */
	size += 2 * REMUS_MESSAGE_MAX;
	memcpy(text + size, line, (size_t)n); /* swallowed by it */
	size += (size_t)n;
	memcpy(text + size, "\0\377\n", 3);
	size += 3;
	memcpy(text + size, line, (size_t)n);
	size += (size_t)n;
	for (size_t piece = 1; piece <= size; piece += piece < 40 ? 1 : 97) {
		struct remus_message_stream stream = {0};
		unsigned found = 0;
		for (size_t at = 0; at < size;) {
			bool got;
			size_t left = size - at < piece ? size - at : piece;
			size_t took = remus_message_feed(&stream, text + at, left, &m, &got);
			CU_ASSERT_FATAL(took > 0 && took <= left);
			at += took;
			found += got;
		}
		CU_ASSERT_EQUAL(found, 2);
		CU_ASSERT_EQUAL(stream.garbage, 3);
	}
}

/* ---- the host's end ---- */

static struct remus_message next_of(struct remus_renewal *r, uint64_t now)
{
	char line[REMUS_MESSAGE_MAX];
	struct remus_message m = {.verb = REMUS_MESSAGE_VERBS};
	size_t n = remus_renewal_output(r, line, now);

	if (n)
		CU_ASSERT_EQUAL(remus_message_decode(line, n - 1, &m, NULL), 0);
	return m;
}

static void tell(struct remus_renewal *r, const struct remus_message *m, uint64_t now)
{
	char line[REMUS_MESSAGE_MAX];
	int n = remus_message_encode(m, line);

	CU_ASSERT_FATAL(n > 0);
	remus_renewal_receive(r, line, (size_t)n, now);
}

static struct remus_renewal host;
static const struct remus_truth truth = {.raw_ns = 1000 * MS,
					 .realtime_ns = 1700000000000 * MS,
					 .error_ns = 100000,
					 .floor_ns = 1699999999000 * MS};

static void begin_host(uint64_t now)
{
	uint8_t seed[REMUS_SEED_SIZE];

	fill_seed(seed);
	remus_renewal_init(&host);
	remus_renewal_begin(&host, ID, seed, &truth, now);
}

static void host_says_renew_until_heard(void)
{
	uint64_t now = 5000 * MS;

	begin_host(now);
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(next_of(&host, now).verb, REMUS_MESSAGE_RENEW);
		CU_ASSERT_EQUAL(next_of(&host, now).verb, REMUS_MESSAGE_VERBS);
		CU_ASSERT_EQUAL(remus_renewal_due(&host), now + REMUS_RENEWAL_AGAIN_NS);
		now += REMUS_RENEWAL_AGAIN_NS;
	}
	/* Heard: less often, and the time as of its leaving. */
	struct remus_message ask = example(REMUS_MESSAGE_ASK_TIME);
	tell(&host, &ask, now - 1);
	struct remus_message time = next_of(&host, now);
	CU_ASSERT_EQUAL(time.verb, REMUS_MESSAGE_TIME);
	CU_ASSERT_EQUAL(time.number, 1);
	CU_ASSERT_EQUAL(time.realtime_ns, truth.realtime_ns + (int64_t)(now - truth.raw_ns));
	CU_ASSERT_EQUAL(time.error_ns, truth.error_ns + (now - truth.raw_ns) / 1000000 * 500);
	CU_ASSERT_EQUAL(time.floor_ns, truth.floor_ns);
	CU_ASSERT_EQUAL(remus_renewal_due(&host), now - 1 + REMUS_RENEWAL_LATER_NS);
	/* For ever it doesn't go on, and the seed doesn't stay. */
	for (uint64_t end = now + 2 * REMUS_RENEWAL_LIMIT_NS; now < end && host.phase == REMUS_RENEWAL_ASKED;
	     now += 10 * MS)
		next_of(&host, now);
	CU_ASSERT_EQUAL(host.phase, REMUS_RENEWAL_OVER);
	CU_ASSERT_EQUAL(remus_renewal_due(&host), UINT64_MAX);
	uint8_t none[REMUS_SEED_SIZE] = {0};
	CU_ASSERT(!memcmp(host.seed, none, sizeof none));
}

static void host_takes_one_answer(void)
{
	uint64_t now = 5000 * MS;
	struct remus_message done = example(REMUS_MESSAGE_RENEWED), hooks = example(REMUS_MESSAGE_HOOKS);

	begin_host(now);
	next_of(&host, now);
	struct remus_message stale = done;
	stale.id++;
	tell(&host, &stale, now); /* of another activation */
	CU_ASSERT_EQUAL(host.phase, REMUS_RENEWAL_ASKED);
	tell(&host, &hooks, now); /* before its renewed */
	CU_ASSERT(!host.hooks_known);
	for (enum remus_message_verb verb = 0; verb < REMUS_MESSAGE_VERBS; verb++) {
		struct remus_message other = example(verb);
		if (verb == REMUS_MESSAGE_ASK_HELLO || verb == REMUS_MESSAGE_RENEW ||
		    verb == REMUS_MESSAGE_TIME)
			tell(&host, &other, now); /* said by hosts */
	}
	CU_ASSERT_EQUAL(host.phase, REMUS_RENEWAL_ASKED);
	CU_ASSERT_EQUAL(next_of(&host, now).verb, REMUS_MESSAGE_VERBS);
	tell(&host, &done, now + 3 * MS);
	CU_ASSERT_EQUAL(host.phase, REMUS_RENEWAL_DONE);
	CU_ASSERT_EQUAL(host.took, 3 * MS);
	done.renewed.bits = 1;
	tell(&host, &done, now + 4 * MS);
	CU_ASSERT_EQUAL(host.renewed.bits, UINT32_MAX);
	CU_ASSERT_EQUAL(host.took, 3 * MS);
	tell(&host, &hooks, now);
	CU_ASSERT(host.hooks_known);
	CU_ASSERT_STRING_EQUAL(host.hooks.first, "10-chrony");
	struct remus_message ask = example(REMUS_MESSAGE_ASK_TIME);
	tell(&host, &ask, now); /* it has the time already */
	CU_ASSERT_EQUAL(next_of(&host, now + 10 * REMUS_RENEWAL_LATER_NS).verb, REMUS_MESSAGE_VERBS);
}

/* A guest that asks without end is owed one answer. */
static void host_owes_little(void)
{
	struct remus_message ask = example(REMUS_MESSAGE_ASK_TIME);
	unsigned answers = 0;

	begin_host(MS);
	next_of(&host, MS);
	for (ask.number = 1; ask.number <= 1000; ask.number++)
		tell(&host, &ask, 2 * MS);
	for (struct remus_message m; (m = next_of(&host, 2 * MS)).verb != REMUS_MESSAGE_VERBS; answers++)
		CU_ASSERT_EQUAL(m.number, 1000);
	CU_ASSERT_EQUAL(answers, 1);
}

static void host_knows_who_is_there(void)
{
	struct remus_message hello = example(REMUS_MESSAGE_HELLO);
	uint64_t now = MS;

	remus_renewal_init(&host);
	CU_ASSERT_EQUAL(next_of(&host, now).verb, REMUS_MESSAGE_VERBS); /* nothing was asked for */
	remus_renewal_probe(&host, 7, now);
	CU_ASSERT_EQUAL(next_of(&host, now).verb, REMUS_MESSAGE_ASK_HELLO);
	CU_ASSERT(!host.present);
	tell(&host, &hello, now);
	CU_ASSERT(host.present);
	CU_ASSERT_STRING_EQUAL(host.version, "0.1.0");
	for (unsigned i = 0; i < REMUS_RENEWAL_PROBES; i++) {
		now += REMUS_RENEWAL_PROBE_NS;
		CU_ASSERT_EQUAL(next_of(&host, now).verb, REMUS_MESSAGE_ASK_HELLO);
		CU_ASSERT(host.present);
	}
	now += REMUS_RENEWAL_PROBE_NS;
	next_of(&host, now);
	CU_ASSERT(!host.present);
	tell(&host, &hello, now);
	CU_ASSERT(host.present);
	/* One that starts anew in the middle is told at once. */
	begin_host(now);
	next_of(&host, now);
	hello.id = 0;
	tell(&host, &hello, now + 1);
	CU_ASSERT_EQUAL(next_of(&host, now + 1).verb, REMUS_MESSAGE_RENEW);
}

/* ---- the rule of the clock ---- */

static void clock_rule(void)
{
	static const struct {
		int64_t offset;
		uint64_t error;
		int64_t below_floor;
		enum remus_clock_policy policy;
		enum remus_clock_word word;
		int64_t step, slew;
	} rows[] = {
		{300 * MS, MS, -MS, REMUS_CLOCK_STEP, REMUS_CLOCK_STEPPED, 300 * MS, 0},
		{300 * MS, MS, 200 * MS, REMUS_CLOCK_STEP, REMUS_CLOCK_STEPPED, 300 * MS, 0},
		{300 * MS, MS, -MS, REMUS_CLOCK_SLEW, REMUS_CLOCK_STEPPED, 300 * MS, 0},
		{REMUS_SLEW_MAX_NS, MS, -MS, REMUS_CLOCK_SLEW, REMUS_CLOCK_SLEWING, 0, REMUS_SLEW_MAX_NS},
		{REMUS_SLEW_MAX_NS + 1, MS, -MS, REMUS_CLOCK_SLEW, REMUS_CLOCK_STEPPED, REMUS_SLEW_MAX_NS + 1,
		 0},
		/* to the floor at once, the rest slowly */
		{100 * MS, MS, 60 * MS, REMUS_CLOCK_SLEW, REMUS_CLOCK_STEPPED, 60 * MS, 40 * MS},
		/* ahead: never back */
		{-300 * MS, MS, -400 * MS, REMUS_CLOCK_STEP, REMUS_CLOCK_SLEWING, 0, -300 * MS},
		{-300 * MS, MS, -400 * MS, REMUS_CLOCK_SLEW, REMUS_CLOCK_SLEWING, 0, -300 * MS},
		{INT64_MIN, MS, -MS, REMUS_CLOCK_STEP, REMUS_CLOCK_SLEWING, 0, INT64_MIN},
		/* nobody can say that it is wrong */
		{MS, MS, -MS, REMUS_CLOCK_STEP, REMUS_CLOCK_KEPT, 0, 0},
		{-MS, MS, -2 * MS, REMUS_CLOCK_STEP, REMUS_CLOCK_KEPT, 0, 0},
		{MS + 1, MS, -MS, REMUS_CLOCK_STEP, REMUS_CLOCK_STEPPED, MS + 1, 0},
		/* ... but for the floor */
		{MS, 2 * MS, MS / 2, REMUS_CLOCK_STEP, REMUS_CLOCK_STEPPED, MS / 2, 0},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(rows); i++) {
		struct remus_renewed r = {0};
		clock_decide(rows[i].offset, rows[i].error, rows[i].below_floor, rows[i].policy, &r);
		CU_ASSERT_EQUAL(r.clock, rows[i].word);
		CU_ASSERT_EQUAL(r.step_ns, rows[i].step);
		CU_ASSERT_EQUAL(r.slew_ns, rows[i].slew);
		CU_ASSERT(r.step_ns >= 0);
		CU_ASSERT_EQUAL(r.offset_ns, rows[i].offset);
		CU_ASSERT_EQUAL(r.error_ns, rows[i].error);
	}
}

/* ---- the agent's end ---- */

static struct {
	uint64_t now;
	int64_t wall; /* the guest's wall clock minus `now` */
	unsigned reseeds, adjustments, hook_runs, sent;
	uint8_t seed[REMUS_SEED_SIZE];
	int reseed_code, stolen_code, adjust_code;
	int64_t step, slew;
	struct remus_message last;
	enum remus_message_verb order[64];
	unsigned reseeds_when_sent[64];
} guest;

static struct agent agent;

static uint64_t guest_monotonic(void *context)
{
	return guest.now;
}
static int64_t guest_realtime(void *context)
{
	return (int64_t)guest.now + guest.wall;
}
static void guest_send(void *context, const struct remus_message *m)
{
	guest.order[guest.sent % 64] = m->verb;
	guest.reseeds_when_sent[guest.sent++ % 64] = guest.reseeds;
	guest.last = *m;
}
static int guest_reseed(void *context, const uint8_t seed[REMUS_SEED_SIZE])
{
	guest.reseeds++;
	memcpy(guest.seed, seed, sizeof guest.seed);
	return guest.reseed_code;
}
static int guest_adjust(void *context, int64_t step, int64_t slew)
{
	guest.adjustments++;
	guest.step = step;
	guest.slew = slew;
	if (guest.adjust_code == 0)
		guest.wall += step;
	return guest.adjust_code;
}
static void guest_hooks(void *context, uint64_t id, const struct remus_renewed *renewed)
{
	guest.hook_runs++;
}

static int guest_stolen(void *context, struct remus_steal *out)
{
	*out = (struct remus_steal){.stolen_us = 77, .vcpus = 2};
	return guest.stolen_code;
}

static const struct agent_world world = {
	.monotonic_ns = guest_monotonic,
	.realtime_ns = guest_realtime,
	.send = guest_send,
	.reseed = guest_reseed,
	.adjust = guest_adjust,
	.stolen = guest_stolen,
	.hooks = guest_hooks,
};

#define RIGHT INT64_C(1700000000000000000) /* the right time minus the guest's monotonic clock */

static void boot(int64_t behind)
{
	memset(&guest, 0, sizeof guest);
	guest.now = 100000 * MS;
	guest.wall = RIGHT - behind;
	agent_init(&agent, &world);
}

static void say_to_agent(struct remus_message m)
{
	agent_message(&agent, &m);
}

static struct remus_message renew(uint64_t id)
{
	struct remus_message m = example(REMUS_MESSAGE_RENEW);

	m.id = id;
	m.policy = REMUS_CLOCK_STEP;
	return m;
}

/* The host's answer to the question that is open, which took so long there and back. */
static void answer_time(uint64_t there, uint64_t back, uint64_t error)
{
	struct remus_message m = {.verb = REMUS_MESSAGE_TIME, .id = agent.id, .number = agent.number};

	guest.now += there;
	m.realtime_ns = (int64_t)guest.now + RIGHT;
	m.error_ns = error;
	m.floor_ns = m.realtime_ns - 1000 * MS;
	guest.now += back;
	agent_message(&agent, &m);
}

static void agent_renews(void)
{
	boot(312 * MS);
	say_to_agent(renew(ID));
	/* I12: the seed is used before a word is said. */
	CU_ASSERT_EQUAL(guest.reseeds, 1);
	CU_ASSERT_EQUAL(guest.order[0], REMUS_MESSAGE_ASK_TIME);
	CU_ASSERT_EQUAL(guest.reseeds_when_sent[0], 1);
	CU_ASSERT_EQUAL(guest.seed[63], 63);
	answer_time(9 * MS, MS, 0);
	answer_time(MS, MS, 0);
	while (agent.state == AGENT_MEASURING)
		answer_time(2 * MS, 8 * MS, 0);
	/* The shortest exchange counts: it was symmetric, so the result is exact. */
	CU_ASSERT_EQUAL(guest.last.verb, REMUS_MESSAGE_RENEWED);
	CU_ASSERT_EQUAL(guest.last.id, ID);
	CU_ASSERT_EQUAL(guest.last.renewed.reseed, 0);
	CU_ASSERT_EQUAL(guest.last.renewed.bits, 512);
	CU_ASSERT_EQUAL(guest.last.renewed.clock, REMUS_CLOCK_STEPPED);
	CU_ASSERT_EQUAL(guest.step, 312 * MS);
	CU_ASSERT_EQUAL(guest.slew, 0);
	CU_ASSERT_EQUAL(guest.last.renewed.error_ns, (uint64_t)MS);
	CU_ASSERT_EQUAL(guest.hook_runs, 1);
	struct remus_hooks hooks = {.ran = 2, .first = "-"};
	agent_hooks_ended(&agent, ID, &hooks);
	CU_ASSERT_EQUAL(guest.last.verb, REMUS_MESSAGE_HOOKS);
	CU_ASSERT_EQUAL(guest.last.hooks.ran, 2);
}

/* Whatever the asymmetry, the right time lies within the error that is told. */
static void agent_tells_its_error(void)
{
	for (uint64_t there = 0; there <= 20; there++) {
		boot(500 * MS);
		say_to_agent(renew(ID));
		while (agent.state == AGENT_MEASURING)
			answer_time(there * MS, (20 - there) * MS, 3);
		int64_t wrong = guest.wall - RIGHT;
		CU_ASSERT(guest.last.renewed.error_ns == 10 * MS + 3);
		CU_ASSERT((wrong < 0 ? -wrong : wrong) <= 10 * MS);
	}
}

/* A host whose own time is vague isn't asked eight times: the network waits. */
static void agent_asks_no_more_than_helps(void)
{
	boot(500 * MS);
	say_to_agent(renew(ID));
	answer_time(MS, MS, 4 * MS);
	CU_ASSERT_EQUAL(agent.state, AGENT_DONE);
	boot(500 * MS);
	say_to_agent(renew(ID));
	answer_time(30 * MS, 30 * MS, 0);
	CU_ASSERT_EQUAL(agent.state, AGENT_DONE);
}

static void agent_does_each_once(void)
{
	boot(0);
	say_to_agent(renew(ID));
	say_to_agent(renew(ID)); /* while it measures */
	CU_ASSERT_EQUAL(guest.reseeds, 1);
	CU_ASSERT_EQUAL(guest.sent, 1);
	while (agent.state == AGENT_MEASURING)
		answer_time(MS, MS, MS);
	CU_ASSERT_EQUAL(guest.adjustments, 1);
	unsigned sent = guest.sent;
	say_to_agent(renew(ID)); /* the answer was lost: said again, nothing done again */
	CU_ASSERT_EQUAL(guest.sent, sent + 1);
	CU_ASSERT_EQUAL(guest.last.verb, REMUS_MESSAGE_RENEWED);
	CU_ASSERT_EQUAL(guest.reseeds, 1);
	CU_ASSERT_EQUAL(guest.hook_runs, 1);
	struct remus_hooks hooks = {.first = "-"};
	agent_hooks_ended(&agent, ID, &hooks);
	say_to_agent(renew(ID));
	CU_ASSERT_EQUAL(guest.last.verb, REMUS_MESSAGE_HOOKS);
	/* Another activation, and then what is left in a queue of the first. */
	say_to_agent(renew(ID + 1));
	CU_ASSERT_EQUAL(guest.reseeds, 2);
	say_to_agent(renew(ID));
	CU_ASSERT_EQUAL(guest.reseeds, 2);
	CU_ASSERT_EQUAL(agent.id, ID + 1);
	agent_hooks_ended(&agent, ID, &hooks); /* of the first, late */
	CU_ASSERT_EQUAL(guest.last.verb, REMUS_MESSAGE_ASK_TIME);
}

/* The way takes longer than a question is waited for: the answer to the first comes while the fourth is open. */
static void agent_hears_late_answers(void)
{
	boot(312 * MS);
	say_to_agent(renew(ID));
	struct remus_message m = {.verb = REMUS_MESSAGE_TIME, .id = ID, .number = agent.number};
	guest.now += 200 * MS; /* there */
	m.realtime_ns = (int64_t)guest.now + RIGHT;
	m.floor_ns = m.realtime_ns - 1000 * MS;
	for (int i = 0; i < 4; i++) { /* back */
		guest.now += 50 * MS;
		agent_tick(&agent);
	}
	CU_ASSERT(agent.number > m.number);
	say_to_agent(m);
	CU_ASSERT_EQUAL(agent.answers, 1);
	say_to_agent(m); /* once more */
	CU_ASSERT(agent.answers <= 1);
	CU_ASSERT_EQUAL(agent.state, AGENT_DONE); /* enough: the network waits */
	CU_ASSERT_EQUAL(guest.last.renewed.clock, REMUS_CLOCK_STEPPED);
	CU_ASSERT_EQUAL(guest.step, 312 * MS);
	CU_ASSERT_EQUAL(guest.last.renewed.error_ns, (uint64_t)(200 * MS));
}

static void agent_without_the_time(void)
{
	boot(300 * MS);
	guest.reseed_code = -EPERM;
	say_to_agent(renew(ID));
	struct remus_message m = {.verb = REMUS_MESSAGE_TIME, .id = ID + 1, .number = agent.number};
	say_to_agent(m); /* of another activation */
	m.id = ID;
	m.number = 77;
	say_to_agent(m); /* to another question */
	m.number = agent.number;
	m.realtime_ns = INT64_MAX;
	say_to_agent(m); /* no clock shows that */
	CU_ASSERT_EQUAL(agent.state, AGENT_MEASURING);
	for (int i = 0; agent.state == AGENT_MEASURING && i < 1000; i++) {
		guest.now += 10 * MS;
		if (guest.now >= agent_due(&agent))
			agent_tick(&agent);
	}
	CU_ASSERT_EQUAL(agent.state, AGENT_DONE);
	CU_ASSERT_EQUAL(guest.adjustments, 0);
	CU_ASSERT_EQUAL(guest.last.renewed.clock, REMUS_CLOCK_UNKNOWN);
	CU_ASSERT_EQUAL(guest.last.renewed.reseed, EPERM);
	CU_ASSERT_EQUAL(guest.last.renewed.bits, 0);
	CU_ASSERT_EQUAL(agent_due(&agent), UINT64_MAX);
	boot(300 * MS);
	guest.adjust_code = -EPERM;
	say_to_agent(renew(ID));
	while (agent.state == AGENT_MEASURING)
		answer_time(MS, MS, 0);
	CU_ASSERT_EQUAL(guest.last.renewed.clock, REMUS_CLOCK_FAILED);
	CU_ASSERT_EQUAL(guest.last.renewed.step_ns, 0);
}

static void agent_greets(void)
{
	boot(0);
	agent_greet(&agent);
	CU_ASSERT_EQUAL(guest.last.verb, REMUS_MESSAGE_HELLO);
	CU_ASSERT_EQUAL(guest.last.id, 0);
	struct remus_message m = example(REMUS_MESSAGE_ASK_HELLO);
	say_to_agent(m);
	CU_ASSERT_EQUAL(guest.last.id, ID);
	CU_ASSERT(remus_message_word(guest.last.version, sizeof guest.last.version));
	unsigned sent = guest.sent;
	say_to_agent(example(REMUS_MESSAGE_HELLO)); /* what agents say, said to one */
	say_to_agent(example(REMUS_MESSAGE_RENEWED));
	say_to_agent(example(REMUS_MESSAGE_HOOKS));
	say_to_agent(example(REMUS_MESSAGE_ASK_TIME));
	CU_ASSERT_EQUAL(guest.sent, sent);
}

/* ---- both, over a bad wire ---- */

static uint64_t dice;
static uint32_t roll(uint32_t below)
{
	dice = dice * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(dice >> 33) % below;
}

/* What is sent is lost, cut, doubled or arrives: both sides. */
static void over_the_wire(uint64_t seed)
{
	static struct remus_message_stream in;
	struct remus_message m;
	char line[REMUS_MESSAGE_MAX];
	uint8_t bytes[REMUS_SEED_SIZE];
	bool got;

	dice = seed;
	boot((int64_t)roll(2000) * MS);
	int64_t before = guest_realtime(NULL);
	memset(&in, 0, sizeof in);
	fill_seed(bytes);
	struct remus_truth right = {
		.raw_ns = guest.now, .realtime_ns = (int64_t)guest.now + RIGHT, .error_ns = 1000};
	remus_renewal_init(&host);
	remus_renewal_begin(&host, ID, bytes, &right, guest.now);
	unsigned heard = 0;
	for (int turn = 0; turn < 20000 && host.phase == REMUS_RENEWAL_ASKED; turn++) {
		for (size_t n; (n = remus_renewal_output(&host, line, guest.now));) {
			if (roll(3) == 0)
				n = roll((uint32_t)n + 1);
			for (uint32_t copies = 1 + (roll(5) == 0); copies; copies--)
				for (size_t at = 0; at < n;) {
					at += remus_message_feed(&in, line + at, n - at, &m, &got);
					if (got)
						agent_message(&agent, &m);
				}
			if (roll(2))
				remus_message_feed(&in, "\n", 1, &m, &got);
		}
		for (; heard < guest.sent; heard++) {
			int n = heard + 1 == guest.sent ? remus_message_encode(&guest.last, line) : 0;
			if (n > 0 && roll(4))
				remus_renewal_receive(&host, line, (size_t)n, guest.now);
		}
		guest.now += roll(3) * MS;
		if (guest.now >= agent_due(&agent))
			agent_tick(&agent);
	}
	CU_ASSERT_EQUAL(host.phase, REMUS_RENEWAL_DONE);
	CU_ASSERT_EQUAL(guest.reseeds, 1);
	CU_ASSERT_EQUAL(guest.hook_runs, 1);
	CU_ASSERT(guest_realtime(NULL) >= before);
	if (host.renewed.clock == REMUS_CLOCK_STEPPED) {
		int64_t wrong = guest.wall - RIGHT;
		CU_ASSERT((uint64_t)(wrong < 0 ? -wrong : wrong) <= host.renewed.error_ns);
	}
}

static void wires(void)
{
	for (uint64_t seed = 1; seed <= 300; seed++)
		over_the_wire(seed);
}

/* ---- stolen time ---- */

static void steal_is_asked_for(void)
{
	struct remus_message hello = example(REMUS_MESSAGE_HELLO), steal = example(REMUS_MESSAGE_STEAL);
	uint64_t now = 1000 * MS;

	remus_renewal_init(&host);
	remus_renewal_probe(&host, 7, now);
	for (unsigned i = 0; i < 3; i++, now += REMUS_RENEWAL_PROBE_NS) {
		hello.id = next_of(&host, now).id;
		CU_ASSERT_EQUAL(next_of(&host, now).verb, REMUS_MESSAGE_VERBS); /* not before it is heard */
		tell(&host, &hello, now);
		CU_ASSERT_EQUAL(remus_renewal_due(&host), 0);
		struct remus_message ask = next_of(&host, now);
		CU_ASSERT(ask.verb == REMUS_MESSAGE_ASK_STEAL && ask.id == hello.id);
		CU_ASSERT_EQUAL(next_of(&host, now).verb, REMUS_MESSAGE_VERBS);
		steal.steal = (struct remus_steal){.stolen_us = 1000 + i * 500000, .vcpus = 2};
		steal.id = 6; /* of another question */
		tell(&host, &steal, now);
		steal.id = ask.id;
		tell(&host, &steal, now);
		CU_ASSERT_EQUAL(host.steal.count, i + 1);
	}
	CU_ASSERT_DOUBLE_EQUAL(remus_steal_percent(&host.steal), 5, 1e-9); /* 1 s of 10 s of two vCPUs */
	/* One that only greets is asked nothing; one that is gone has said nothing. */
	hello.id = 0;
	next_of(&host, now);
	tell(&host, &hello, now);
	CU_ASSERT_EQUAL(next_of(&host, now).verb, REMUS_MESSAGE_VERBS);
	for (unsigned i = 0; i < 5; i++)
		next_of(&host, now += REMUS_RENEWAL_PROBE_NS);
	CU_ASSERT(!host.present && remus_steal_percent(&host.steal) < 0);
}

static void steal_of_a_minute(void)
{
	static const struct {
		unsigned samples;
		uint64_t step_us; /* stolen in each 5 s */
		uint32_t vcpus;
		double percent;
	} table[] = {{0, 0, 1, -1},	   {1, 9, 1, -1},	  {2, 0, 1, 0},	    {2, 500000, 1, 10},
		     {60, 500000, 4, 2.5}, {3, 99000000, 1, 100}, {5, 1000, 0, -1}, {5, 1000, 65537, -1}};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_steal_watch w = {0};
		for (unsigned n = 0; n < table[i].samples; n++)
			remus_steal_note(&w, &(struct remus_steal){n * table[i].step_us, table[i].vcpus},
					 n * REMUS_RENEWAL_PROBE_NS);
		CU_ASSERT_DOUBLE_EQUAL(remus_steal_percent(&w), table[i].percent, 1e-9);
	}
	/* Only the last minute; and a guest that was started anew begins anew. */
	struct remus_steal_watch w = {0};
	for (uint64_t n = 0; n < 40; n++)
		remus_steal_note(&w, &(struct remus_steal){n < 20 ? n * 5000000 : 95000000, 1},
				 n * REMUS_RENEWAL_PROBE_NS);
	CU_ASSERT_DOUBLE_EQUAL(remus_steal_percent(&w), 0, 1e-9);
	remus_steal_note(&w, &(struct remus_steal){10, 1}, 41 * REMUS_RENEWAL_PROBE_NS);
	CU_ASSERT(remus_steal_percent(&w) < 0);
	/* An answer that was long in coming is better than none. */
	remus_steal_note(&w, &(struct remus_steal){20000010, 1}, 61 * REMUS_RENEWAL_PROBE_NS);
	CU_ASSERT_DOUBLE_EQUAL(remus_steal_percent(&w), 20, 1e-9);
}

static void agent_tells_steal(void)
{
	struct remus_message ask = example(REMUS_MESSAGE_ASK_STEAL);

	boot(0);
	say_to_agent(ask);
	CU_ASSERT(guest.last.verb == REMUS_MESSAGE_STEAL && guest.last.id == ask.id);
	CU_ASSERT(guest.last.steal.stolen_us == 77 && guest.last.steal.vcpus == 2);
	boot(0);
	guest.last.verb = REMUS_MESSAGE_VERBS;
	guest.stolen_code = -ENOENT;
	say_to_agent(ask);
	CU_ASSERT_EQUAL(guest.last.verb, REMUS_MESSAGE_VERBS);
}

static void steal_is_read(void)
{
	static const struct {
		const char *text;
		int code;
		uint64_t ticks;
	} table[] = {
		{"cpu  1 2 3 4 5 6 7 123 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n", 0, 123},
		{"cpu  1 2 3 4 5 6 7\n", -EPROTO, 0},
		{"cpu0 1 2 3 4 5 6 7 8\n", -EPROTO, 0},
		{"", -EPROTO, 0},
	};
	char path[] = "/tmp/test-renewal-XXXXXX";
	struct remus_steal steal;

	close(mkstemp(path));
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		FILE *file = fopen(path, "w");
		fputs(table[i].text, file);
		fclose(file);
		CU_ASSERT_EQUAL(steal_read(path, &steal), table[i].code);
		if (!table[i].code)
			CU_ASSERT(steal.vcpus && steal.stolen_us == table[i].ticks * 1000000 /
									    (uint64_t)sysconf(_SC_CLK_TCK));
	}
	unlink(path);
	CU_ASSERT_EQUAL(steal_read(path, &steal), -ENOENT);
}

static void sentences(void)
{
	struct remus_renewed r = {
		.bits = 512, .clock = REMUS_CLOCK_STEPPED, .step_ns = 312456000, .error_ns = 200000};
	char text[300];

	remus_renewed_text(&r, text, sizeof text);
	CU_ASSERT_STRING_EQUAL(
		text,
		"512 bits of randomness credited, its clock was set forward by 312.456 ms (within 0.200 ms)");
	r = (struct remus_renewed){.reseed = EPERM, .clock = REMUS_CLOCK_UNKNOWN};
	remus_renewed_text(&r, text, sizeof text);
	CU_ASSERT(strstr(text, "NOT renewed") && strstr(text, "NOT corrected"));
}

static const struct unit_case cases[] = {
	{"lines: there and back", lines_round_trip},
	{"lines: the bytes", lines_are_these},
	{"lines: out of shape", lines_out_of_shape},
	{"lines: one spelling", lines_have_one_spelling},
	{"lines: nothing without an encoding", nothing_without_an_encoding},
	{"a stream in pieces", streams_in_pieces},
	{"host: renew until heard", host_says_renew_until_heard},
	{"host: one answer", host_takes_one_answer},
	{"host: owes little", host_owes_little},
	{"host: who is there", host_knows_who_is_there},
	{"the rule of the clock (I12)", clock_rule},
	{"agent: renews (I12)", agent_renews},
	{"agent: its error", agent_tells_its_error},
	{"agent: asks no more than helps", agent_asks_no_more_than_helps},
	{"agent: each activation once", agent_does_each_once},
	{"the agent hears late answers", agent_hears_late_answers},
	{"agent: without the time", agent_without_the_time},
	{"agent: greets", agent_greets},
	{"both over a bad wire", wires},
	{"steal: asked for", steal_is_asked_for},
	{"steal: of a minute", steal_of_a_minute},
	{"steal: told", agent_tells_steal},
	{"steal: read", steal_is_read},
	{"sentences", sentences},
};
UNIT_MAIN("renewal", cases)
