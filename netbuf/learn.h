/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks at what a guest sends through an interface of this host, for its addresses: see learn.c. */
#ifndef REMUS_NETBUF_LEARN_H
#define REMUS_NETBUF_LEARN_H

#include "remus/netbuf.h"

/* A packet socket that is shown some of the frames that come from @mac in interface @index; -errno. */
int learn_open(int index, const uint8_t mac[6]);
/* Note what has come since. Never blocks, takes a bounded number. */
void learn_take(int fd, const uint8_t mac[6], struct remus_addresses *table);

#endif
