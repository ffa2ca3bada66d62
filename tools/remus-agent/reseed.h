/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Randomness into the guest's kernel. */
#ifndef REMUS_AGENT_RESEED_H
#define REMUS_AGENT_RESEED_H

#include "remus/continuity.h"

/*
 * Mix @seed into the kernel's pool, credit all of its bits, and have every processor's generator seeded anew before
 * this returns. A plain write to /dev/random would do neither of the latter: the generators would go on as they are for
 * up to a minute. Needs CAP_SYS_ADMIN. Negative errno.
 */
int reseed_kernel(const uint8_t seed[REMUS_SEED_SIZE]);

#endif
