/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The share of the last minute that something took: a bucket a second, so that no sum grows for ever. */
#include "shell.h"

#include <string.h>

#define SECOND 1000000u

/* Forget the buckets of the seconds that have passed. */
static void move_on(struct shell_share *s, uint64_t now_us)
{
	uint64_t second = now_us / SECOND;

	if (!s->began_us) {
		s->began_us = now_us ? now_us : 1;
		s->second = second;
	}
	if (second >= s->second + SHARE_SECONDS) {
		memset(s->took_us, 0, sizeof s->took_us);
		s->second = second;
	}
	while (s->second < second)
		s->took_us[++s->second % SHARE_SECONDS] = 0;
}

void shell_share_add(struct shell_share *s, uint64_t from_us, uint64_t to_us)
{
	move_on(s, to_us);
	while (from_us < to_us) {
		uint64_t second = from_us / SECOND, end = (second + 1) * SECOND;
		if (end > to_us)
			end = to_us;
		if (second + SHARE_SECONDS > s->second)
			s->took_us[second % SHARE_SECONDS] += (uint32_t)(end - from_us);
		from_us = end;
	}
}

double shell_share_percent(struct shell_share *s, uint64_t now_us)
{
	uint64_t took = 0, window;

	move_on(s, now_us);
	for (unsigned i = 0; i < SHARE_SECONDS; i++)
		took += s->took_us[i];
	window = (SHARE_SECONDS - 1) * (uint64_t)SECOND + now_us % SECOND; /* the current second isn't over */
	if (now_us - s->began_us < window)
		window = now_us - s->began_us;
	return window ? 100.0 * (double)took / (double)window : 0.0;
}
