/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lines of the conversation with a guest's agent (renewal.h): one table says which members a verb has and in which
 * order they stand, and both directions walk it. Reading is: split, read each value, write the message again, and see
 * whether that is the line; so there is one spelling of everything, and one place that knows the checksum.
 */
#include "remus/renewal.h"

#define XXH_INLINE_ALL /* the agent is linked without libraries */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "remus/util.h"

#define MAGIC "remus1"

enum kind { UNSIGNED32, UNSIGNED, SIGNED, WORD, SEED, POLICY, CLOCK };

static const char *const policies[] = {
	[REMUS_CLOCK_STEP] = "step",
	[REMUS_CLOCK_SLEW] = "slew",
};
static const char *const clocks[REMUS_CLOCK_WORDS] = {
	[REMUS_CLOCK_KEPT] = "kept",	   [REMUS_CLOCK_STEPPED] = "stepped",
	[REMUS_CLOCK_SLEWING] = "slewing", [REMUS_CLOCK_UNKNOWN] = "unknown",
	[REMUS_CLOCK_FAILED] = "failed",
};

#define AT(member) offsetof(struct remus_message, member)
struct field {
	const char *key;
	enum kind kind;
	size_t at, size; /* size: of a WORD's array */
};
static const struct field hello[] = {{"version", WORD, AT(version), REMUS_AGENT_VERSION}, {0}},
			  renew[] = {{"policy", POLICY, AT(policy), 0}, {"seed", SEED, AT(seed), 0}, {0}},
			  ask_time[] = {{"n", UNSIGNED, AT(number), 0}, {0}},
			  tell_time[] = {{"n", UNSIGNED, AT(number), 0},
					 {"real", SIGNED, AT(realtime_ns), 0},
					 {"error", UNSIGNED, AT(error_ns), 0},
					 {"floor", SIGNED, AT(floor_ns), 0},
					 {0}},
			  renewed[] = {{"reseed", UNSIGNED32, AT(renewed.reseed), 0},
				       {"bits", UNSIGNED32, AT(renewed.bits), 0},
				       {"clock", CLOCK, AT(renewed.clock), 0},
				       {"offset", SIGNED, AT(renewed.offset_ns), 0},
				       {"step", SIGNED, AT(renewed.step_ns), 0},
				       {"slew", SIGNED, AT(renewed.slew_ns), 0},
				       {"error", UNSIGNED, AT(renewed.error_ns), 0},
				       {0}},
			  hooks[] = {{"ran", UNSIGNED32, AT(hooks.ran), 0},
				     {"failed", UNSIGNED32, AT(hooks.failed), 0},
				     {"first", WORD, AT(hooks.first), REMUS_HOOK_NAME},
				     {0}},
			  steal[] = {{"stolen", UNSIGNED, AT(steal.stolen_us), 0},
				     {"vcpus", UNSIGNED32, AT(steal.vcpus), 0},
				     {0}},
			  none[] = {{0}};

static const struct {
	const char *name;
	const struct field *fields;
} verbs[REMUS_MESSAGE_VERBS] = {
	[REMUS_MESSAGE_ASK_HELLO] = {"hello?", none}, [REMUS_MESSAGE_HELLO] = {"hello", hello},
	[REMUS_MESSAGE_RENEW] = {"renew", renew},     [REMUS_MESSAGE_ASK_TIME] = {"time?", ask_time},
	[REMUS_MESSAGE_TIME] = {"time", tell_time},   [REMUS_MESSAGE_RENEWED] = {"renewed", renewed},
	[REMUS_MESSAGE_HOOKS] = {"hooks", hooks},     [REMUS_MESSAGE_ASK_STEAL] = {"steal?", none},
	[REMUS_MESSAGE_STEAL] = {"steal", steal},
};

const char *remus_clock_word(enum remus_clock_word word)
{
	return word < REMUS_CLOCK_WORDS ? clocks[word] : "?";
}

bool remus_message_word(const char *text, size_t size)
{
	size_t n = strnlen(text, size);

	return n > 0 && n < size &&
	       n == strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._+~-");
}

/* ---- writing ---- */

struct writer {
	char *line;
	size_t used;
	bool failed;
};

static void put(struct writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct writer *w, const char *fmt, ...)
{
	size_t room = REMUS_MESSAGE_MAX - w->used;
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(w->line + w->used, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room)
		w->failed = true;
	else
		w->used += (size_t)n;
}

static void put_choice(struct writer *w, const char *const *words, unsigned count, unsigned which)
{
	if (which < count)
		put(w, "%s", words[which]);
	else
		w->failed = true;
}

static void put_field(struct writer *w, const struct field *f, const struct remus_message *m)
{
	const char *at = (const char *)m + f->at;

	put(w, " %s=", f->key);
	switch (f->kind) {
	case UNSIGNED32:
		put(w, "%" PRIu32, *(const uint32_t *)at);
		return;
	case UNSIGNED:
		put(w, "%" PRIu64, *(const uint64_t *)at);
		return;
	case SIGNED:
		put(w, "%" PRId64, *(const int64_t *)at);
		return;
	case WORD:
		w->failed |= !remus_message_word(at, f->size);
		if (!w->failed)
			put(w, "%s", at);
		return;
	case SEED:
		for (size_t i = 0; i < REMUS_SEED_SIZE; i++)
			put(w, "%02x", (uint8_t)at[i]);
		return;
	case POLICY:
		put_choice(w, policies, REMUS_ARRAY_SIZE(policies), *(const enum remus_clock_policy *)at);
		return;
	case CLOCK:
		put_choice(w, clocks, REMUS_CLOCK_WORDS, *(const enum remus_clock_word *)at);
		return;
	}
}

int remus_message_encode(const struct remus_message *m, char line[REMUS_MESSAGE_MAX])
{
	struct writer w = {.line = line};

	if (m->verb >= REMUS_MESSAGE_VERBS)
		return -EINVAL;
	put(&w, MAGIC " %s %016" PRIx64, verbs[m->verb].name, m->id);
	for (const struct field *f = verbs[m->verb].fields; f->key && !w.failed; f++)
		put_field(&w, f, m);
	put(&w, " *%08" PRIx32 "\n", (uint32_t)XXH3_64bits(line, w.used));
	return w.failed ? -EINVAL : (int)w.used;
}

/* ---- reading ---- */

/* The next word, cut out of @at; NULL at the end. */
static char *next_word(char **at)
{
	char *word = *at;

	if (!word)
		return NULL;
	*at = strchr(word, ' ');
	if (*at)
		*(*at)++ = 0;
	return word;
}

static bool read_choice(const char *text, const char *const *words, unsigned count, unsigned *out)
{
	for (unsigned i = 0; i < count; i++)
		if (!strcmp(text, words[i])) {
			*out = i;
			return true;
		}
	return false;
}

static bool read_seed(const char *text, uint8_t *out)
{
	if (strlen(text) != 2 * REMUS_SEED_SIZE)
		return false;
	for (size_t i = 0; i < REMUS_SEED_SIZE; i++)
		if (sscanf(text + 2 * i, "%2hhx", &out[i]) != 1)
			return false;
	return true;
}

/* Only digits, with one sign at most: what strto*() would forgive besides has another spelling. */
static bool is_number(const char *text)
{
	text += *text == '-';
	return *text && !text[strspn(text, "0123456789")];
}

static bool read_field(const char *text, const struct field *f, struct remus_message *m)
{
	char *at = (char *)m + f->at;
	unsigned choice = 0;
	bool ok;

	errno = 0;
	switch (f->kind) {
	case UNSIGNED32: {
		unsigned long long n = is_number(text) ? strtoull(text, NULL, 10) : UINT64_MAX;
		*(uint32_t *)at = (uint32_t)n;
		return n <= UINT32_MAX;
	}
	case UNSIGNED:
		*(uint64_t *)at = strtoull(text, NULL, 10);
		return is_number(text) && !errno;
	case SIGNED:
		*(int64_t *)at = strtoll(text, NULL, 10);
		return is_number(text) && !errno;
	case WORD:
		ok = remus_message_word(text, f->size);
		if (ok)
			strcpy(at, text);
		return ok;
	case SEED:
		return read_seed(text, (uint8_t *)at);
	case POLICY:
		ok = read_choice(text, policies, REMUS_ARRAY_SIZE(policies), &choice);
		*(enum remus_clock_policy *)at = (enum remus_clock_policy)choice;
		return ok;
	case CLOCK:
		ok = read_choice(text, clocks, REMUS_CLOCK_WORDS, &choice);
		*(enum remus_clock_word *)at = (enum remus_clock_word)choice;
		return ok;
	}
	return false;
}

/* What stands in the line, roughly; whether it was spelt so is seen by writing it again. */
static bool read_line(char *line, struct remus_message *m)
{
	const char *magic = next_word(&line), *name = next_word(&line), *id = next_word(&line);

	if (!id || strcmp(magic, MAGIC))
		return false;
	unsigned verb = 0;
	while (verb < REMUS_MESSAGE_VERBS && strcmp(name, verbs[verb].name))
		verb++;
	if (verb == REMUS_MESSAGE_VERBS || sscanf(id, "%" SCNx64, &m->id) != 1)
		return false;
	m->verb = (enum remus_message_verb)verb;
	for (const struct field *f = verbs[verb].fields; f->key; f++) {
		const char *word = next_word(&line);
		size_t n = strlen(f->key);
		if (!word || strncmp(word, f->key, n) || word[n] != '=' || !read_field(word + n + 1, f, m))
			return false;
	}
	return true;
}

int remus_message_decode(const char *line, size_t length, struct remus_message *out, struct remus_error *err)
{
	char copy[REMUS_MESSAGE_MAX], again[REMUS_MESSAGE_MAX];

	memset(out, 0, sizeof *out);
	bool ok = length < sizeof copy && !memchr(line, 0, length);
	if (ok) {
		memcpy(copy, line, length);
		copy[length] = 0;
		ok = read_line(copy, out);
	}
	if (ok) {
		int n = remus_message_encode(out, again);
		ok = n == (int)length + 1 && !memcmp(again, line, length);
		explicit_bzero(again, sizeof again);
	}
	explicit_bzero(copy, sizeof copy);
	if (ok)
		return 0;
	explicit_bzero(out, sizeof *out);
	return remus_fail(err, -EBADMSG, "a line of %zu bytes that is no message of an agent's conversation",
			  length);
}

/* ---- out of a stream ---- */

static void end_line(struct remus_message_stream *s, struct remus_message *out, bool *got)
{
	if (s->skipping)
		s->garbage++;
	else if (s->used) {
		*got = remus_message_decode(s->line, s->used, out, NULL) == 0;
		s->garbage += !*got;
	}
	explicit_bzero(s->line, s->used);
	s->used = 0;
	s->skipping = false;
}

size_t remus_message_feed(struct remus_message_stream *s, const void *bytes, size_t count,
			  struct remus_message *out, bool *got)
{
	const char *from = bytes, *end = memchr(bytes, '\n', count);
	size_t piece = end ? (size_t)(end - from) : count;

	*got = false;
	if (s->skipping || piece >= sizeof s->line - s->used) {
		s->skipping = true;
		explicit_bzero(s->line, s->used);
		s->used = 0;
	} else {
		memcpy(s->line + s->used, from, piece);
		s->used += piece;
	}
	if (!end)
		return count;
	end_line(s, out, got);
	return piece + 1;
}
