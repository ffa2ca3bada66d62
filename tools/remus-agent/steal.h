/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the guest's kernel counts as stolen: time in which a vCPU could have run and the host gave it none. */
#ifndef REMUS_AGENT_STEAL_H
#define REMUS_AGENT_STEAL_H

#include "remus/renewal.h"

/* Of the first line of @file, in the format of proc(5)'s /proc/stat. -ENOENT, or -EPROTO: it tells no such thing. */
int steal_read(const char *file, struct remus_steal *out);

#endif
