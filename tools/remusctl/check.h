/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an operator's word must look like before it is worth asking remusd. */
#ifndef REMUSCTL_CHECK_H
#define REMUSCTL_CHECK_H

#include <stdbool.h>
#include "remus/error.h"

int ctl_check_text(const char *text, struct remus_error *err);	  /* printable UTF-8 of at most 1023 bytes */
int ctl_check_address(const char *text, struct remus_error *err); /* HOST[:PORT], [V6][:PORT] */
int ctl_check_arbiter(const char *text, struct remus_error *err); /* file:/DIR, manual */
int ctl_check_egress(const char *text,
		     struct remus_error *err); /* packet:IF, tap:IF, unix:/PATH[,bind=/PATH] */
int ctl_check_name(const char *text, struct remus_error *err); /* goes into file names */

/*
 * The domain that @text means, malloc'ed: "SCHEME:..." as it is, with the path of "qemu:PATH" made absolute
 * (remusd has another working directory); a path becomes "qemu:PATH"; anything else is a name. With @locator,
 * for a guest that may be new to remusd, a word is a path if it is that of a socket, else it must be a valid
 * name (that of a guest which remusd runs or forwards already).
 */
int ctl_domain(const char *text, bool locator, char **out, struct remus_error *err);

#endif
