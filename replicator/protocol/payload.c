/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The small payloads of fixed layout: WELCOME, COMMIT, HEARTBEAT, CLOCK, and REFUSE, whose text comes from a peer that
 * nothing is known of and ends on an operator's screen: only printable ASCII gets through.
 *
 * Lengths are exact. What a later release wants to add, it adds under a feature bit or as a new type.
 */
#include <inttypes.h>
#include <string.h>
#include "remus/util.h"
#include "remus/wire.h"

static int exact(const char *name, size_t length, size_t want, struct remus_error *err)
{
	if (length == want)
		return 0;
	return remus_fail(err, -EBADMSG, "a %s of %zu bytes, it must have %zu", name, length, want);
}

void remus_welcome_encode(const struct remus_welcome *in, uint8_t out[REMUS_WELCOME_SIZE])
{
	remus_put_le64(out, in->features);
	remus_put_le64(out + 8, in->staging_bytes);
}

int remus_welcome_decode(const void *payload, size_t length, struct remus_welcome *out,
			 struct remus_error *err)
{
	const uint8_t *p = payload;
	int rc = exact("WELCOME", length, REMUS_WELCOME_SIZE, err);

	if (rc)
		return rc;
	*out = (struct remus_welcome){remus_get_le64(p), remus_get_le64(p + 8)};
	return 0;
}

void remus_commit_encode(const struct remus_commit *in, uint8_t out[REMUS_COMMIT_SIZE])
{
	remus_put_le64(out, in->pages);
	remus_put_le64(out + 8, in->page_bytes);
	remus_put_le64(out + 16, in->state_bytes);
	remus_put_le64(out + 24, in->digest);
}

int remus_commit_decode(const void *payload, size_t length, struct remus_commit *out, struct remus_error *err)
{
	const uint8_t *p = payload;
	int rc = exact("COMMIT", length, REMUS_COMMIT_SIZE, err);

	if (rc)
		return rc;
	*out = (struct remus_commit){remus_get_le64(p), remus_get_le64(p + 8), remus_get_le64(p + 16),
				     remus_get_le64(p + 24)};
	return 0;
}

void remus_heartbeat_encode(const struct remus_heartbeat *in, uint8_t out[REMUS_HEARTBEAT_SIZE])
{
	remus_put_le64(out, in->sent);
	remus_put_le64(out + 8, in->peer_sent);
	remus_put_le64(out + 16, in->peer_received);
}

int remus_heartbeat_decode(const void *payload, size_t length, struct remus_heartbeat *out,
			   struct remus_error *err)
{
	const uint8_t *p = payload;
	int rc = exact("HEARTBEAT", length, REMUS_HEARTBEAT_SIZE, err);

	if (rc)
		return rc;
	*out = (struct remus_heartbeat){remus_get_le64(p), remus_get_le64(p + 8), remus_get_le64(p + 16)};
	return 0;
}

#define WALL_MAX_NS  INT64_C(3200000000000000000) /* a century */
#define ERROR_MAX_NS UINT64_C(3600000000000)

void remus_clock_note_encode(const struct remus_clock_note *in, uint8_t out[REMUS_CLOCK_SIZE])
{
	uint64_t error = in->error_ns < ERROR_MAX_NS ? in->error_ns : ERROR_MAX_NS;

	remus_put_le64(out, (uint64_t)in->wall_ns);
	remus_put_le64(out + 8, in->synchronised ? error : 0);
	remus_put_le64(out + 16, in->synchronised);
}

int remus_clock_note_decode(const void *payload, size_t length, struct remus_clock_note *out,
			    struct remus_error *err)
{
	const uint8_t *p = payload;
	int rc = exact("CLOCK", length, REMUS_CLOCK_SIZE, err);

	memset(out, 0, sizeof *out);
	if (rc)
		return rc;
	int64_t wall = (int64_t)remus_get_le64(p);
	uint64_t error = remus_get_le64(p + 8), flags = remus_get_le64(p + 16);
	if (wall > WALL_MAX_NS || wall < -WALL_MAX_NS || flags > 1 || error > (flags ? ERROR_MAX_NS : 0))
		return remus_fail(err, -EBADMSG,
				  "a CLOCK with a difference of %" PRId64 " ns, an error of %" PRIu64
				  " ns and flags 0x%" PRIx64,
				  wall, error, flags);
	*out = (struct remus_clock_note){.wall_ns = wall, .synchronised = flags, .error_ns = error};
	return 0;
}

size_t remus_refuse_encode(uint32_t code, const char *text, uint8_t out[REMUS_SMALL_PAYLOAD_MAX])
{
	size_t n = strnlen(text, 1023);

	remus_put_le32(out, code);
	memcpy(out + 4, text, n);
	return 4 + n;
}

int remus_refuse_decode(const void *payload, size_t length, uint32_t *code, char text[1024],
			struct remus_error *err)
{
	const uint8_t *p = payload;
	size_t n;

	if (length < 4)
		return remus_fail(err, -EBADMSG, "a REFUSE of %zu bytes, at least 4 are needed", length);
	n = length - 4 > 1023 ? 1023 : length - 4;
	*code = remus_get_le32(p);
	for (size_t i = 0; i < n; i++)
		text[i] = p[4 + i] >= 0x20 && p[4 + i] < 0x7f ? (char)p[4 + i] : '?';
	text[n] = 0;
	return 0;
}
