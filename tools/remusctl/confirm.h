/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A person's word before something that may run a guest twice. */
#ifndef REMUSCTL_CONFIRM_H
#define REMUSCTL_CONFIRM_H

#include "exit.h"
#include "verb.h"

/*
 * May @call go on? CTL_OK without --force or with --yes. Else @warning is shown and the answer read from the
 * terminal: CTL_FAILED if it isn't "yes", CTL_USAGE where there is no terminal. Says on stderr why not.
 */
enum ctl_exit ctl_confirm(const struct ctl_call *call, const char *warning);

#endif
