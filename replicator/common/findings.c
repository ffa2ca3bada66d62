/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Collecting findings. Never fails: a report that is full still says whether something is fatal. */
#include "remus/findings.h"

#include <stdio.h>
#include <string.h>

/* Where the next finding goes; NULL = there is no room for one of its kind. */
static struct remus_finding *room(struct remus_report *report, enum remus_severity severity)
{
	if (report->count < REMUS_FINDINGS_MAX)
		return &report->list[report->count++];
	report->lost++;
	for (uint32_t i = report->count; severity == REMUS_FINDING_FATAL && i-- > 0;)
		if (report->list[i].severity != REMUS_FINDING_FATAL)
			return &report->list[i];
	return NULL;
}

static void add(struct remus_report *report, enum remus_severity severity, int code, const char *subject,
		const char *remedy, const char *fmt, va_list ap)
{
	struct remus_finding *f = room(report, severity);

	if (!f)
		return;
	f->severity = severity;
	f->code = severity == REMUS_FINDING_FATAL && (code >= 0 || code < -4095) ? -EIO : code;
	snprintf(f->subject, sizeof f->subject, "%s", subject);
	snprintf(f->remedy, sizeof f->remedy, "%s", remedy ? remedy : "");
	vsnprintf(f->what, sizeof f->what, fmt, ap);
}

void remus_report_ok(struct remus_report *report, const char *subject, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(report, REMUS_FINDING_OK, 0, subject, NULL, fmt, ap);
	va_end(ap);
}

void remus_report_warn(struct remus_report *report, const char *subject, const char *remedy, const char *fmt,
		       ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(report, REMUS_FINDING_WARNING, 0, subject, remedy, fmt, ap);
	va_end(ap);
}

int remus_report_fatal(struct remus_report *report, int code, const char *subject, const char *remedy,
		       const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(report, REMUS_FINDING_FATAL, code, subject, remedy, fmt, ap);
	va_end(ap);
	return code;
}

int remus_report_error(struct remus_report *report, const char *subject, const char *remedy,
		       const struct remus_error *err)
{
	return remus_report_fatal(report, err->code, subject, remedy, "%s", err->message);
}

int remus_report_first(const struct remus_report *report, struct remus_error *err)
{
	for (uint32_t i = 0; i < report->count; i++) {
		const struct remus_finding *f = &report->list[i];
		if (f->severity == REMUS_FINDING_FATAL)
			return remus_fail(err, f->code, "%s%s%s", f->what, f->remedy[0] ? "; " : "",
					  f->remedy);
	}
	return 0;
}

uint32_t remus_report_count(const struct remus_report *report, enum remus_severity severity)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < report->count; i++)
		n += report->list[i].severity == severity;
	return n;
}

const char *remus_severity_name(enum remus_severity severity)
{
	switch (severity) {
	case REMUS_FINDING_OK:
		return "ok";
	case REMUS_FINDING_WARNING:
		return "warning";
	case REMUS_FINDING_FATAL:
		break;
	}
	return "fatal";
}
