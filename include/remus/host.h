/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a check asks of a host whatever the hypervisor: release, kernel, clock, memory. Reads, changes nothing. */
#ifndef REMUS_HOST_H
#define REMUS_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include "remus/clock.h"
#include "remus/findings.h"

/* Skew between two hosts above which a check warns, µs. The guest's wall clock doesn't move by it, but a host whose clock
 * is wrong is a host that nobody looks after; hosts with NTP are within a few ms on a LAN. */
#define REMUS_CLOCK_SKEW_MAX_US 100000u

/* Fills report->release, and says which release and kernel this is and whether its clock is synchronised. */
void remus_host_check(struct remus_report *report);

/* Is the wall clock synchronised, the @peers or this host's? Subjects "peer-clock" and "clock". */
void remus_host_check_clock(const struct remus_clock_sync *sync, bool peers, struct remus_report *report);

/* KiB that this kernel can still give to programs (MemAvailable), 0 = it doesn't say. */
uint64_t remus_host_memory_kib(void);
/* Is there room for @bytes? @severity: what it is if not. */
void remus_host_check_memory(uint64_t bytes, const char *what_for, enum remus_severity severity,
			     struct remus_report *report);

/* The other host's clock minus ours is @offset_us, give or take @error_us. */
void remus_host_check_skew(int64_t offset_us, uint64_t error_us, struct remus_report *report);

#endif
