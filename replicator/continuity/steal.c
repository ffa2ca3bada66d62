/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The share of a guest's time that its kernel found stolen (renewal.h): its own word, once in a while, against this
 * host's clock. A guest may say what it likes: what comes of it is a number between 0 and 100, or none.
 */
#include <string.h>

#include "remus/renewal.h"

#define VCPUS_MAX 65536u

static const uint64_t minute = UINT64_C(60500000000); /* and the half second that an answer may be late by */

void remus_steal_note(struct remus_steal_watch *w, const struct remus_steal *s, uint64_t now)
{
	unsigned last = (w->next + REMUS_STEAL_SAMPLES - 1) % REMUS_STEAL_SAMPLES;

	if (!s->vcpus || s->vcpus > VCPUS_MAX)
		return;
	/* Less than before, or with other vCPUs: the guest was started anew, or has been given some. */
	if (w->count && (s->stolen_us < w->sample[last].stolen_us || s->vcpus != w->vcpus))
		memset(w, 0, sizeof *w);
	w->vcpus = s->vcpus;
	w->sample[w->next].at = now;
	w->sample[w->next].stolen_us = s->stolen_us;
	w->next = (w->next + 1) % REMUS_STEAL_SAMPLES;
	if (w->count < REMUS_STEAL_SAMPLES)
		w->count++;
}

double remus_steal_percent(const struct remus_steal_watch *w)
{
	if (w->count < 2)
		return -1;
	unsigned last = (w->next + REMUS_STEAL_SAMPLES - 1) % REMUS_STEAL_SAMPLES;
	uint64_t now = w->sample[last].at;
	for (unsigned back = w->count - 1; back > 0; back--) {
		unsigned i = (last + REMUS_STEAL_SAMPLES - back) % REMUS_STEAL_SAMPLES;
		uint64_t passed = now - w->sample[i].at;
		if ((passed > minute && back > 1) || !passed)
			continue;
		double share = 100e3 * (double)(w->sample[last].stolen_us - w->sample[i].stolen_us) /
			       ((double)passed * w->vcpus);
		return share < 100 ? share : 100;
	}
	return -1;
}
