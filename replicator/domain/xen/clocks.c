/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See clocks.h. */
#include <errno.h>
#include <stdlib.h>
#include <jansson.h>
#include <time.h>

#include "clocks.h"

enum { TSC_DEFAULT = 0, TSC_ALWAYS_EMULATE = 1, TSC_NEVER_EMULATE = 2 };

static int64_t configured(const char *text, time_t now)
{
	json_t *config = json_loads(text ? text : "", 0, NULL);
	const json_t *build = json_object_get(config, "b_info");
	/* An unsigned number there, of which Xen takes the bits. */
	int64_t offset = (int32_t)json_integer_value(json_object_get(build, "rtc_timeoffset"));
	struct tm local;

	if (json_is_true(json_object_get(build, "localtime")) && localtime_r(&now, &local))
		offset += local.tm_gmtoff;
	json_decref(config);
	return offset;
}

int64_t remus_xen_time_offset(const char *config, const char *key, time_t now)
{
	char *end;

	if (key && *key) {
		errno = 0;
		long long kept = strtoll(key, &end, 10);
		if (!errno && !*end && kept >= INT32_MIN && kept <= INT32_MAX)
			return kept;
	}
	return configured(config, now);
}

void remus_xen_check_tsc(const struct remus_xen_description *d, uint32_t host_khz,
			 struct remus_report *report)
{
	if (!d->tsc_khz)
		return; /* a primary of release 0.1 */
	if (d->tsc_mode == TSC_ALWAYS_EMULATE)
		remus_report_ok(report, "tsc", "the TSC of %s is emulated, here as there", d->name);
	else if (!host_khz)
		remus_report_warn(report, "tsc", "", "this host doesn't tell how fast its TSC runs");
	else if (d->tsc_khz == host_khz)
		remus_report_ok(report, "tsc", "this host's TSC runs at the %u kHz of %s", host_khz, d->name);
	else if (d->tsc_mode == TSC_DEFAULT)
		remus_report_warn(
			report, "tsc",
			"use hosts with equal processors, or a guest whose clocksource isn't the TSC",
			"%s counts on a TSC of %u kHz, this host's runs at %u: unless its processors can "
			"scale it, each reading of the TSC is emulated after a failover, and slow",
			d->name, d->tsc_khz, host_khz);
	else
		remus_report_warn(
			report, "tsc", "take tsc_mode=\"native\" out of the guest's configuration",
			"%s counts on a TSC of %u kHz, which is not to be emulated; this host's runs at "
			"%u: after a failover the guest's clock runs at a wrong rate",
			d->name, d->tsc_khz, host_khz);
}
