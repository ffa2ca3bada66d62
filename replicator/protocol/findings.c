/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FINDINGS: a report from the backup, the answer to a HELLO that asks for a check. It comes from a peer that
 * nothing is known of and ends on an operator's screen: every length is bounded by its own cap and by what is
 * left before a byte is copied (I11), and only printable ASCII gets through. Nothing is allocated for it.
 */
#include "remus/findings.h"

#include <inttypes.h>
#include "remus/util.h"
#include "remus/wire.h"

#define HEAD 8u /* u32 count, u32 lost */
#define EACH 8u /* u8 severity, 3 zero bytes, u32 errno value */

_Static_assert(HEAD + 4 + REMUS_FINDINGS_RELEASE_MAX +
			       REMUS_FINDINGS_MAX * (EACH + 3 * 4 + REMUS_FINDING_SUBJECT_MAX +
						     REMUS_FINDING_WHAT_MAX + REMUS_FINDING_REMEDY_MAX) <=
		       REMUS_FINDINGS_ENCODED_MAX,
	       "a report whose texts are all at their caps fits a frame");
_Static_assert(REMUS_FINDINGS_ENCODED_MAX == REMUS_FINDINGS_PAYLOAD_MAX, "and the frame's bound is that");

static uint8_t *put_text(uint8_t *p, const char *text)
{
	size_t n = strlen(text);

	remus_put_le32(p, (uint32_t)n);
	memcpy(p + 4, text, n);
	return p + 4 + n;
}

int remus_findings_encode(const struct remus_report *report, uint8_t **out, size_t *length,
			  struct remus_error *err)
{
	uint8_t *p = malloc(REMUS_FINDINGS_ENCODED_MAX);

	if (!p)
		return remus_fail(err, -ENOMEM, "findings: no memory");
	*out = p;
	remus_put_le32(p, report->count);
	remus_put_le32(p + 4, report->lost);
	p = put_text(p + HEAD, report->release);
	for (uint32_t i = 0; i < report->count; i++) {
		const struct remus_finding *f = &report->list[i];
		remus_put_le32(p, (uint32_t)f->severity); /* the severity, and three zero bytes */
		remus_put_le32(p + 4, (uint32_t)(f->code < 0 ? -f->code : 0));
		p = put_text(p + EACH, f->subject);
		p = put_text(p, f->what);
		p = put_text(p, f->remedy);
	}
	*length = (size_t)(p - *out);
	return 0;
}

struct reader {
	const uint8_t *p;
	size_t left;
};

static int take_text(struct reader *r, const char *name, char *out, size_t size, struct remus_error *err)
{
	if (r->left < 4)
		return remus_fail(err, -EBADMSG, "findings: end before the length of a %s", name);
	uint32_t n = remus_get_le32(r->p);
	r->p += 4;
	r->left -= 4;
	if (n > r->left || n >= size)
		return remus_fail(err, -EBADMSG,
				  "findings: a %s of %" PRIu32 " bytes; %zu are left, at most %zu allowed",
				  name, n, r->left, size - 1);
	for (uint32_t i = 0; i < n; i++)
		out[i] = r->p[i] >= 0x20 && r->p[i] < 0x7f ? (char)r->p[i] : '?';
	out[n] = 0;
	r->p += n;
	r->left -= n;
	return 0;
}

static int take_finding(struct reader *r, struct remus_finding *f, struct remus_error *err)
{
	if (r->left < EACH)
		return remus_fail(err, -EBADMSG, "findings: end in the middle of one");
	uint32_t severity = remus_get_le32(r->p), code = remus_get_le32(r->p + 4);
	if (severity > REMUS_FINDING_FATAL || code > 4095 || (severity == REMUS_FINDING_FATAL) != (code != 0))
		return remus_fail(err, -EBADMSG,
				  "findings: one of severity 0x%" PRIx32 " with the errno value %" PRIu32,
				  severity, code);
	f->severity = (enum remus_severity)severity;
	f->code = -(int)code;
	r->p += EACH;
	r->left -= EACH;
	int rc = take_text(r, "subject", f->subject, sizeof f->subject, err);
	if (!rc)
		rc = take_text(r, "finding", f->what, sizeof f->what, err);
	if (!rc)
		rc = take_text(r, "remedy", f->remedy, sizeof f->remedy, err);
	return rc;
}

int remus_findings_decode(const void *payload, size_t length, struct remus_report *out,
			  struct remus_error *err)
{
	struct reader r = {payload, length};
	int rc;

	memset(out, 0, sizeof *out);
	if (length < HEAD)
		return remus_fail(err, -EBADMSG, "findings: %zu bytes, at least %u are needed", length, HEAD);
	uint32_t count = remus_get_le32(r.p);
	if (count > REMUS_FINDINGS_MAX)
		return remus_fail(err, -EBADMSG, "findings: %" PRIu32 " of them, at most %u are allowed",
				  count, REMUS_FINDINGS_MAX);
	out->lost = remus_get_le32(r.p + 4);
	r.p += HEAD;
	r.left -= HEAD;
	rc = take_text(&r, "release", out->release, sizeof out->release, err);
	for (; !rc && out->count < count; out->count++)
		rc = take_finding(&r, &out->list[out->count], err);
	if (!rc && r.left)
		rc = remus_fail(err, -EBADMSG, "findings: %zu bytes follow their end", r.left);
	if (rc)
		memset(out, 0, sizeof *out);
	return rc;
}
