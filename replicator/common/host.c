/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See remus/host.h. */
#include "config.h"

#include "remus/host.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#define RUN_NTP "run an NTP client on that host (chrony, systemd-timesyncd) and let it settle"

void remus_host_check_clock(const struct remus_clock_sync *sync, bool peers, struct remus_report *report)
{
	const char *subject = peers ? "peer-clock" : "clock", *whose = peers ? "the other host" : "this host";

	if (sync->synchronised)
		remus_report_ok(report, subject, "the clock of %s is synchronised, to within %" PRIu64 " ms",
				whose, sync->error_ns / 1000000);
	else
		remus_report_warn(
			report, subject, RUN_NTP,
			"the clock of %s is not synchronised: a guest's time is carried from host to host "
			"all the same, but it is only as right as a host's that is",
			whose);
}

void remus_host_check(struct remus_report *report)
{
	struct remus_clock_sync sync;
	struct utsname kernel;

	snprintf(report->release, sizeof report->release, "%s", PACKAGE_VERSION);
	if (!uname(&kernel))
		remus_report_ok(report, "remus", "remus %s on Linux %.64s", PACKAGE_VERSION, kernel.release);
	remus_clock_sync(&sync);
	remus_host_check_clock(&sync, false, report);
}

uint64_t remus_host_memory_kib(void)
{
	unsigned long long kib = 0;
	char line[128];
	FILE *info = fopen("/proc/meminfo", "re");

	while (info && fgets(line, sizeof line, info))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	if (info)
		fclose(info);
	return kib;
}

void remus_host_check_memory(uint64_t bytes, const char *what_for, enum remus_severity severity,
			     struct remus_report *report)
{
	static const char remedy[] = "free memory there, or give that host more";
	uint64_t kib = remus_host_memory_kib();

	if (!kib)
		remus_report_warn(report, "memory", remedy, "this host doesn't tell how much memory is free");
	else if (bytes / 1024 <= kib)
		remus_report_ok(report, "memory",
				"%s needs %" PRIu64 " MiB of memory, %" PRIu64 " MiB are available", what_for,
				bytes >> 20, kib >> 10);
	else if (severity == REMUS_FINDING_FATAL)
		remus_report_fatal(report, -ENOMEM, "memory", remedy,
				   "%s needs %" PRIu64 " MiB of memory, this host has %" PRIu64
				   " MiB available",
				   what_for, bytes >> 20, kib >> 10);
	else
		remus_report_warn(report, "memory", remedy,
				  "%s may need %" PRIu64 " MiB of memory, this host has %" PRIu64
				  " MiB available",
				  what_for, bytes >> 20, kib >> 10);
}

void remus_host_check_skew(int64_t offset_us, uint64_t error_us, struct remus_report *report)
{
	uint64_t offset = (uint64_t)llabs((long long)offset_us);

	if (offset + error_us <= REMUS_CLOCK_SKEW_MAX_US)
		remus_report_ok(report, "clock-skew",
				"the other host's clock is %s%" PRIu64 ".%03" PRIu64
				" ms from this one's, give or take "
				"%" PRIu64 ".%03" PRIu64 " ms",
				offset_us < 0 ? "-" : "+", offset / 1000, offset % 1000, error_us / 1000,
				error_us % 1000);
	else
		remus_report_warn(report, "clock-skew", "synchronise both hosts with the same NTP servers",
				  "the other host's clock is %s%" PRIu64
				  " ms from this one's, give or take %" PRIu64
				  " ms; more than %u ms is too much",
				  offset_us < 0 ? "-" : "+", offset / 1000, (error_us + 999) / 1000,
				  REMUS_CLOCK_SKEW_MAX_US / 1000);
}
