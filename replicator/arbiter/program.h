/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program that is run to its end, or to a deadline, with its output kept. */
#ifndef REMUS_ARBITER_PROGRAM_H
#define REMUS_ARBITER_PROGRAM_H

#include <stddef.h>
#include "remus/error.h"

#define PROGRAM_INPUT_MAX  16384 /* bytes; fits into a pipe */
#define PROGRAM_OUTPUT_MAX 4096	 /* bytes that are kept, the NUL included; more is read and dropped */

/*
 * Run @program (absolute path, no arguments) in / with @environment, @input on its standard input. Its standard output
 * and error go to @output, NUL-terminated. Returns its exit status; -ETIMEDOUT when it hadn't ended after @deadline_ms
 * (it and its process group were killed), -EINTR when a signal ended it, else why it could not be run. It is always
 * reaped. It is killed when the calling thread ends, with the whole process or alone.
 */
int program_run(const char *program, char *const *environment, const char *input, size_t length,
		unsigned deadline_ms, char output[PROGRAM_OUTPUT_MAX], struct remus_error *err);

#endif
