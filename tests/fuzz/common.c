/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Before the first input, under either main: what would make two runs over the same input differ. */
#include "fuzz.h"

#include <jansson.h>
#include <signal.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	json_object_seed(1); /* the order of a hash table is random otherwise */
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

/* libFuzzer has no use for seeds; under replay.c's main its own definition stands. */
__attribute__((weak)) void fuzz_seed(const char *name, const void *data, size_t size)
{
}
