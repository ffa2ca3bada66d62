/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libxl's, libxenguest's and their helpers' messages as lines of remus's own log, with its time stamps: so that
 * one file tells which step of an activation took how long.
 */
#include "libxl_log.h"

#include <stdio.h>
#include <string.h>
#include "remus/log.h"

#define LINE_BYTES 1024

static void message(xentoollog_logger *logger, xentoollog_level level, int code, const char *context,
		    const char *format, va_list ap) __attribute__((format(printf, 5, 0)));
static void message(xentoollog_logger *logger, xentoollog_level level, int code, const char *context,
		    const char *format, va_list ap)
{
	char text[LINE_BYTES];

	(void)logger;
	vsnprintf(text, sizeof text, format, ap);
	text[strcspn(text, "\n")] = 0;
	remus_log(level >= XTL_ERROR  ? REMUS_LOG_ERROR
		  : level == XTL_WARN ? REMUS_LOG_WARNING
				      : REMUS_LOG_DEBUG,
		  "%s: %s%s%s", context ? context : "xen", text, code >= 0 ? ": " : "",
		  code >= 0 ? strerror(code) : "");
}

static void no_progress(xentoollog_logger *logger, const char *context, const char *what, int percent,
			unsigned long done, unsigned long total)
{
	(void)logger, (void)context, (void)what, (void)percent, (void)done, (void)total;
}

static void nothing(xentoollog_logger *logger)
{
	(void)logger;
}

xentoollog_logger *remus_xen_libxl_log(void)
{
	static xentoollog_logger logger = {.vmessage = message, .progress = no_progress, .destroy = nothing};
	return &logger;
}
