/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Findings: what a check has to say, all of it and not just the first. One list serves two callers: protect, for
 * which the first fatal finding is the error that ends it, and `remusctl check`, which shows everything. So a
 * condition is written once, and a check can't promise what protect then refuses.
 *
 * A finding names a subject ("memory", "bridge"), says what was found and, unless all is well, what to do: an
 * imperative without a capital, so that "what; remedy" is a sentence. The remedy may be "" where what already ends
 * in it.
 */
#ifndef REMUS_FINDINGS_H
#define REMUS_FINDINGS_H

#include <stddef.h>
#include <stdint.h>
#include "remus/error.h"

#define REMUS_FINDINGS_MAX	   40u /* so that a report at all its caps fits a frame (wire.h) */
#define REMUS_FINDING_SUBJECT_MAX  24u /* bytes, the NUL included, as the next two */
#define REMUS_FINDING_WHAT_MAX	   REMUS_ERROR_MAX
#define REMUS_FINDING_REMEDY_MAX   384u
#define REMUS_FINDINGS_RELEASE_MAX 64u
#define REMUS_FINDINGS_ENCODED_MAX (64u * 1024u)

enum remus_severity {
	REMUS_FINDING_OK = 0,	   /* looked at, and good */
	REMUS_FINDING_WARNING = 1, /* works, but somebody should know */
	REMUS_FINDING_FATAL = 2,   /* would stop protection or a failover */
};

struct remus_finding {
	enum remus_severity severity;
	int code; /* negative errno of a fatal one, else 0 */
	char subject[REMUS_FINDING_SUBJECT_MAX];
	char what[REMUS_FINDING_WHAT_MAX];
	char remedy[REMUS_FINDING_REMEDY_MAX];
};

/* Some 58 KiB: not for a small thread's stack. All zero is an empty report. */
struct remus_report {
	uint32_t count;
	uint32_t
		lost; /* findings that found no room; a fatal one takes the place of another before it is lost */
	char release[REMUS_FINDINGS_RELEASE_MAX]; /* of the remus that made it, or "" */
	struct remus_finding list[REMUS_FINDINGS_MAX];
};

void remus_report_ok(struct remus_report *report, const char *subject, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void remus_report_warn(struct remus_report *report, const char *subject, const char *remedy, const char *fmt,
		       ...) __attribute__((format(printf, 4, 5)));
/* Returns @code, which must be negative. */
int remus_report_fatal(struct remus_report *report, int code, const char *subject, const char *remedy,
		       const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* What a function that can fail says of its failure, as a fatal finding. Returns err->code. */
int remus_report_error(struct remus_report *report, const char *subject, const char *remedy,
		       const struct remus_error *err);

/* 0, or the code of the first fatal finding, with "what; remedy" in @err. */
int remus_report_first(const struct remus_report *report, struct remus_error *err);
uint32_t remus_report_count(const struct remus_report *report, enum remus_severity severity);
const char *remus_severity_name(enum remus_severity severity); /* "ok", "warning", "fatal" */

/*
 * A report on the wire (REMUS_FRAME_FINDINGS; docs/protocol.md). The encoder cuts nothing: its caps are those of
 * the structures. *@out is malloc'ed. The decoder is given a peer's bytes: -EBADMSG for whatever isn't in bounds,
 * @out is all zero then, and text comes out as printable ASCII.
 */
int remus_findings_encode(const struct remus_report *report, uint8_t **out, size_t *length,
			  struct remus_error *err);
int remus_findings_decode(const void *payload, size_t length, struct remus_report *out,
			  struct remus_error *err);

#endif
