/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HELLO: what the primary says about the guest and itself. Five strings of unknown length from an unknown
 * sender, so this is where a hostile length would strike: each is bounded by its own cap and by what is left
 * of the payload before a byte is allocated (I11). Text that ends in logs and status lines may hold no control
 * character; the description (JSON) may, but no NUL.
 */
#include <inttypes.h>
#include "remus/pages.h"
#include "remus/util.h"
#include "remus/wire.h"

#define FIXED	  60u	   /* bytes before the first string */
#define TIMING_MS 3600000u /* an hour: keeps sums of times far from overflow, nobody waits longer */

/* The strings in wire order. The caps are generous for what they hold; the sum stays below the payload's. */
static const struct text {
	const char *name;
	size_t offset; /* in struct remus_hello */
	uint32_t max;  /* bytes, without NUL */
	bool line;     /* no control characters */
} texts[] = {
	{"backend", offsetof(struct remus_hello, backend), 31, true},
	{"domain", offsetof(struct remus_hello, domain), 255, true},
	{"arbiter", offsetof(struct remus_hello, arbiter), 1023, true},
	{"egress", offsetof(struct remus_hello, egress), 4095, true},
	{"description", offsetof(struct remus_hello, description), 58 * 1024, false},
};
_Static_assert(FIXED + REMUS_ARRAY_SIZE(texts) * 4 + 31 + 255 + 1023 + 4095 + 58 * 1024 <=
		       REMUS_HELLO_PAYLOAD_MAX,
	       "a hello whose strings are all at their caps fits a frame");

static char **member(struct remus_hello *hello, const struct text *t)
{
	return (char **)(void *)((char *)hello + t->offset);
}

/* @text has @length bytes. */
static int check_text(const struct text *t, const void *text, size_t length, int too_long, int bad,
		      struct remus_error *err)
{
	const uint8_t *p = text;

	if (length > t->max)
		return remus_fail(err, too_long, "hello: %s of %zu bytes, at most %" PRIu32 " are allowed",
				  t->name, length, t->max);
	for (size_t i = 0; i < length; i++)
		if (!p[i] || (t->line && (p[i] < 0x20 || p[i] == 0x7f)))
			return remus_fail(err, bad,
					  "hello: %s holds a control character (0x%02x) at byte %zu", t->name,
					  p[i], i);
	return 0;
}

int remus_hello_encode(const struct remus_hello *hello, uint8_t **out, size_t *length,
		       struct remus_error *err)
{
	const char *text[REMUS_ARRAY_SIZE(texts)];
	size_t bytes[REMUS_ARRAY_SIZE(texts)], total = FIXED;

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(texts); i++) {
		text[i] = *(char *const *)(const void *)((const char *)hello + texts[i].offset);
		if (!text[i])
			text[i] = "";
		bytes[i] = strlen(text[i]);
		int rc = check_text(&texts[i], text[i], bytes[i], -EMSGSIZE, -EINVAL, err);
		if (rc)
			return rc;
		total += 4 + bytes[i];
	}
	uint8_t *p = malloc(total);
	if (!p)
		return remus_fail(err, -ENOMEM, "hello: no memory for %zu bytes", total);
	*out = p;
	*length = total;
	memcpy(p, hello->session, REMUS_SESSION_SIZE);
	remus_put_le64(p + 16, hello->generation);
	remus_put_le64(p + 24, hello->features_offered);
	remus_put_le64(p + 32, hello->features_required);
	remus_put_le64(p + 40, hello->guest_pages);
	remus_put_le32(p + 48, hello->interval_ms);
	remus_put_le32(p + 52, hello->heartbeat_ms);
	remus_put_le32(p + 56, hello->dead_ms);
	p += FIXED;
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(texts); i++) {
		remus_put_le32(p, (uint32_t)bytes[i]);
		memcpy(p + 4, text[i], bytes[i]);
		p += 4 + bytes[i];
	}
	return 0;
}

static int decode_texts(const uint8_t *p, size_t left, struct remus_hello *h, struct remus_error *err)
{
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(texts); i++) {
		const struct text *t = &texts[i];
		if (left < 4)
			return remus_fail(err, -EBADMSG, "hello: ends before the length of %s", t->name);
		uint32_t n = remus_get_le32(p);
		p += 4;
		left -= 4;
		if (n > left)
			return remus_fail(err, -EBADMSG, "hello: %s claims %" PRIu32 " bytes, %zu are left",
					  t->name, n, left);
		int rc = check_text(t, p, n, -EBADMSG, -EBADMSG, err);
		if (rc)
			return rc;
		char **text = member(h, t);
		*text = malloc((size_t)n + 1);
		if (!*text)
			return remus_fail(err, -ENOMEM, "hello: no memory for %" PRIu32 " bytes", n);
		memcpy(*text, p, n);
		(*text)[n] = 0;
		p += n;
		left -= n;
	}
	if (left)
		return remus_fail(err, -EBADMSG, "hello: %zu bytes follow its end", left);
	return 0;
}

static int check_numbers(const struct remus_hello *h, struct remus_error *err)
{
	static const uint8_t none[REMUS_SESSION_SIZE];

	if (!memcmp(h->session, none, sizeof none))
		return remus_fail(err, -EBADMSG, "hello: the session id is all zero");
	if (!h->generation)
		return remus_fail(err, -EBADMSG, "hello: generation 0, the first is 1");
	if (h->features_required & ~h->features_offered)
		return remus_fail(err, -EBADMSG,
				  "hello: requires features that it does not offer (0x%" PRIx64 ")",
				  h->features_required & ~h->features_offered);
	if (!h->guest_pages || h->guest_pages > REMUS_PFN_MAX + 1)
		return remus_fail(err, -EBADMSG, "hello: a guest of %" PRIu64 " pages", h->guest_pages);
	if (h->interval_ms > TIMING_MS || h->dead_ms > TIMING_MS || !h->heartbeat_ms ||
	    h->heartbeat_ms > h->dead_ms / 2)
		return remus_fail(err, -EBADMSG,
				  "hello: timing makes no sense (interval %" PRIu32 " ms, heartbeat %" PRIu32
				  " ms, dead after %" PRIu32 " ms; dead must be at least 2 heartbeats)",
				  h->interval_ms, h->heartbeat_ms, h->dead_ms);
	return 0;
}

int remus_hello_decode(const void *payload, size_t length, struct remus_hello *out, struct remus_error *err)
{
	const uint8_t *p = payload;

	memset(out, 0, sizeof *out);
	if (length < FIXED)
		return remus_fail(err, -EBADMSG, "hello: %zu bytes, at least %u are needed", length, FIXED);
	memcpy(out->session, p, REMUS_SESSION_SIZE);
	out->generation = remus_get_le64(p + 16);
	out->features_offered = remus_get_le64(p + 24);
	out->features_required = remus_get_le64(p + 32);
	out->guest_pages = remus_get_le64(p + 40);
	out->interval_ms = remus_get_le32(p + 48);
	out->heartbeat_ms = remus_get_le32(p + 52);
	out->dead_ms = remus_get_le32(p + 56);
	int rc = check_numbers(out, err);
	if (!rc)
		rc = decode_texts(p + FIXED, length - FIXED, out, err);
	if (rc)
		remus_hello_clear(out);
	return rc;
}

void remus_hello_clear(struct remus_hello *hello)
{
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(texts); i++)
		free(*member(hello, &texts[i]));
	memset(hello, 0, sizeof *hello);
}
