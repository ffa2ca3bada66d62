/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The history of events: the last 1000, each also in the log. */
#include "remusd.h"

#include <stdio.h>
#include <time.h>
#include "remus/log.h"
#include "remus/util.h"

#define HISTORY 1000

static json_t *ring[HISTORY];
static uint64_t last;

void time_stamp(char out[TIME_STAMP])
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t n = strftime(out, TIME_STAMP, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, TIME_STAMP - n, ".%03ldZ", now.tv_nsec / 1000000);
}

void events_add(const char *domain, const char *role, const char *level, const char *kind, const char *text,
		uint64_t mono_us)
{
	char stamp[TIME_STAMP];
	enum remus_log_level log_level = REMUS_LOG_INFO;

	time_stamp(stamp);
	remus_log_level_parse(level, &log_level);
	remus_log(log_level, "%s (%s): %s: %s", domain, role, kind, text);

	json_t *event = json_pack("{s:I, s:s, s:I, s:s, s:s, s:s, s:s, s:s}", "seq", (json_int_t)++last,
				  "time", stamp, "mono_us", (json_int_t)mono_us, "domain", domain, "role",
				  role, "level", level, "kind", kind, "message", text);
	json_decref(ring[last % HISTORY]);
	ring[last % HISTORY] = event;
}

uint64_t events_last(void)
{
	return last;
}

json_t *events_since(uint64_t sequence)
{
	json_t *all = json_array();
	uint64_t first = last > HISTORY ? last - HISTORY + 1 : 1;

	for (uint64_t i = sequence + 1 > first ? sequence + 1 : first; i <= last; i++)
		if (ring[i % HISTORY])
			json_array_append(all, ring[i % HISTORY]);
	return all;
}
