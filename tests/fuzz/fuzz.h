/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a fuzz target is made of. A target is one file with LLVMFuzzerTestOneInput(), which gives a parser bytes
 * that a hostile or broken peer may have sent, and fuzz_seeds(), which makes the inputs that the search starts
 * from, with the project's own encoders where there are any. The same file is linked twice: with libFuzzer's main
 * (fuzz-NAME, ./configure --enable-fuzzing) and with replay.c's (replay-NAME, a plain test of `make check`).
 *
 * A crash is found by the sanitizers; a wrong answer by FUZZ_CHECK(), which a target uses for what must be true of
 * any input: what was decoded encodes to the same bytes, a stream in pieces is the stream in one.
 */
#ifndef REMUS_FUZZ_H
#define REMUS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "remus/error.h"
#include "remus/util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv); /* common.c: what must not differ between two runs */

/* The seeds of this target, each handed to fuzz_seed(); the same ones in every run. */
void fuzz_seeds(void);
/* replay.c. @name: letters, digits and dashes. */
void fuzz_seed(const char *name, const void *data, size_t size);
static inline void fuzz_seed_text(const char *name, const char *text)
{
	fuzz_seed(name, text, strlen(text));
}

/* Abort, which libFuzzer and the test harness both count as a finding. */
#define FUZZ_CHECK(what)                                                                     \
	do {                                                                                 \
		if (!(what)) {                                                               \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #what); \
			abort();                                                             \
		}                                                                            \
	} while (0)

/* A failure has a negative code, the same one in the error, and says something. */
static inline void fuzz_check_error(int64_t rc, const struct remus_error *err)
{
	FUZZ_CHECK(rc >= 0 || (err->code == rc && err->message[0]));
}

/* @size bytes and a NUL in memory of their own: what a parser of texts is given. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	FUZZ_CHECK(text);
	if (size)
		memcpy(text, data, size);
	text[size] = 0;
	return text;
}

#endif
