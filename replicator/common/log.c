/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One line per event, one write(2) per line. Level and identity are set at start, before threads exist;
 * afterwards they are only read.
 */
#include "remus/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char identity[64] = "remus";
static _Atomic int threshold = REMUS_LOG_INFO;

static const struct {
	const char *word;
	int priority; /* syslog's */
} levels[] = {
	[REMUS_LOG_ERROR] = {"error", 3},
	[REMUS_LOG_WARNING] = {"warning", 4},
	[REMUS_LOG_INFO] = {"info", 6},
	[REMUS_LOG_DEBUG] = {"debug", 7},
};

void remus_log_identity(const char *name)
{
	snprintf(identity, sizeof identity, "%s", name);
}

void remus_log_level(enum remus_log_level level)
{
	threshold = (int)level;
}

int remus_log_level_parse(const char *word, enum remus_log_level *out)
{
	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
		if (!strcmp(word, levels[i].word)) {
			*out = (enum remus_log_level)i;
			return 0;
		}
	return -EINVAL;
}

/* systemd sets JOURNAL_STREAM where stderr goes to the journal, which stamps the time itself. */
static int line_head(char *out, size_t size, enum remus_log_level level)
{
	if (getenv("JOURNAL_STREAM"))
		return snprintf(out, size, "<%d>%s: ", levels[level].priority, identity);

	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	return snprintf(out, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s: %s: ", tm.tm_year + 1900,
			tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000,
			identity, levels[level].word);
}

void remus_log(enum remus_log_level level, const char *fmt, ...)
{
	char line[2048];

	if ((int)level > threshold)
		return;
	int saved = errno;
	int head = line_head(line, sizeof line - 1, level);
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line + head, sizeof line - 1 - (size_t)head, fmt, ap);
	va_end(ap);
	size_t length = (size_t)head + (n > 0 ? (size_t)n : 0);
	if (length > sizeof line - 2)
		length = sizeof line - 2;
	line[length++] = '\n';
	ssize_t done = write(STDERR_FILENO, line, length);
	(void)done; /* nowhere to complain */
	errno = saved;
}
