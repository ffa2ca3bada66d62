/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * main() of replay-NAME: give a target inputs without a fuzzer.
 *
 *   replay-NAME                  its seeds, then the files under tests/fuzz/found/NAME: the test of `make check`
 *   replay-NAME FILE|DIR...      these, to look into a crash or to measure coverage
 *   replay-NAME --write DIR      write the seeds there, as a corpus to fuzz from
 *
 * Each input is given in memory of exactly its size, so that a sanitizer sees the first byte read beyond it.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#define INPUT_MAX (4u << 20) /* bytes */

static const char *write_to; /* NULL: run the seeds */
static unsigned count;

static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size);

	FUZZ_CHECK(copy || !size);
	if (size)
		memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
	count++;
}

static void fail(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	exit(2);
}

void fuzz_seed(const char *name, const void *data, size_t size)
{
	char path[4096];

	if (!write_to) {
		run(data, size);
		return;
	}
	snprintf(path, sizeof path, "%s/%s", write_to, name);
	FILE *f = fopen(path, "wbx"); /* x: two seeds of one name would hide one of them */
	if (!f || fwrite(data, 1, size, f) != size || fclose(f))
		fail(path);
	count++;
}

static void run_file(const char *path, size_t size)
{
	uint8_t *data = malloc(size + 1);
	FILE *f = fopen(path, "rb");

	if (!f || !data || size > INPUT_MAX || fread(data, 1, size, f) != size)
		fail(path);
	fclose(f);
	run(data, size);
	free(data);
}

static void run_path(const char *path)
{
	struct dirent **entry;
	struct stat st;
	char inner[4096];

	if (stat(path, &st))
		fail(path);
	if (S_ISREG(st.st_mode)) {
		run_file(path, (size_t)st.st_size);
		return;
	}
	int n = scandir(path, &entry, NULL, alphasort);
	if (n < 0)
		fail(path);
	for (int i = 0; i < n; i++) {
		snprintf(inner, sizeof inner, "%s/%s", path, entry[i]->d_name);
		if (entry[i]->d_name[0] != '.')
			run_path(inner);
		free(entry[i]);
	}
	free(entry);
}

/* Inputs that once broke the target: found/NAME, NAME being what stands after "replay-" in @program. */
static void run_found(const char *program)
{
	const char *dash = strstr(program, "replay-"), *next;
	char path[4096];
	struct stat st;

	while (dash && (next = strstr(dash + 1, "replay-")))
		dash = next;
	if (!dash)
		return;
	snprintf(path, sizeof path, "%s/%s", FUZZ_FOUND, dash + strlen("replay-"));
	if (!stat(path, &st))
		run_path(path);
}

int main(int argc, char **argv)
{
	LLVMFuzzerInitialize(&argc, &argv);
	if (argc == 3 && !strcmp(argv[1], "--write")) {
		write_to = argv[2];
		fuzz_seeds();
	} else if (argc > 1) {
		for (int i = 1; i < argc; i++)
			run_path(argv[i]);
	} else {
		run(NULL, 0);
		fuzz_seeds();
		run_found(argv[0]);
	}
	printf("%u inputs %s\n", count, write_to ? "written" : "replayed");
	return count ? 0 : 1;
}
