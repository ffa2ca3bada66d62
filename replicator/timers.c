/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A shell's timers: the machines ask for few, so a table is all it takes. */
#include "shell.h"

int shell_timers_wait(const struct shell_timers *timers, uint64_t now_us, int max_ms)
{
	int wait = max_ms;

	for (int i = 0; i < REMUS_TIMERS; i++) {
		if (!timers->at_us[i])
			continue;
		if (timers->at_us[i] <= now_us)
			return 0;
		uint64_t ms = (timers->at_us[i] - now_us + 999) / 1000;
		if (wait < 0 || ms < (uint64_t)wait)
			wait = (int)ms;
	}
	return wait;
}

int shell_timers_due(struct shell_timers *timers, uint64_t now_us)
{
	for (int i = 0; i < REMUS_TIMERS; i++)
		if (timers->at_us[i] && timers->at_us[i] <= now_us) {
			timers->at_us[i] = 0;
			return i;
		}
	return -1;
}
