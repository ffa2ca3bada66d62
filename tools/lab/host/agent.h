/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of remus-lab-agent share; see agent.c. */
#ifndef REMUS_LAB_AGENT_H
#define REMUS_LAB_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- agent.c ---- */
void agent_fail(const char *what) __attribute__((noreturn)); /* says errno's text, exits with 1 */
uint64_t agent_now_ns(void);				     /* CLOCK_MONOTONIC */
int agent_write_all(int fd, const void *data, size_t bytes); /* 0 or -1 */
int agent_listen(uint16_t port);

/* ---- relay.c: each is a whole program and returns its exit status ---- */
int relay_connect(const char *address, uint16_t port);
int relay_accept(uint16_t port, char **command);
int relay_stamp(void);

/* ---- capture.c ---- */
int capture_run(const char *interface);

#endif
