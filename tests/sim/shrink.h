/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a failing run to a short one. */
#ifndef SIM_SHRINK_H
#define SIM_SHRINK_H

#include "world.h"

/* Leave out faults of @options as long as the same kind of failure remains. */
void shrink(struct world *w, struct run_options *options);
/* The faults of the run that @w has just made, and the command that replays it. */
void print_faults(const struct world *w);
void print_replay(const struct run_options *options);

#endif
