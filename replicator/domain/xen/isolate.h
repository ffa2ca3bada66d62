/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration of a copy of a guest that must not be met by anybody. What is kept is named here, and nothing else
 * is: what the domain is, how it is built, and its read-only disks. So it has no network interface, no disk that it
 * could write to, no device of the host, and what it does when it ends is to end. Pure: JSON in, JSON out.
 */
#ifndef REMUS_XEN_ISOLATE_H
#define REMUS_XEN_ISOLATE_H

#include <stdint.h>
#include "remus/error.h"

/* @config: libxl's JSON of the guest's. *@out (malloc'ed): the copy's, with a UUID made of @random. */
int remus_xen_isolate(const char *config, const uint8_t random[16], char **out, struct remus_error *err);

#endif
