/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the agent's own words go: to stderr, and in the background to the kernel's log, which is there in an initramfs too. */
#ifndef REMUS_AGENT_SAY_H
#define REMUS_AGENT_SAY_H

void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void say_to_kernel_log(void);

#endif
