/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding a `syscall` instruction (0f 05) in another process. We run one that is there already and write no
 * code into the guest's hypervisor. Bytes that happen to be 0f 05 inside a longer instruction serve as well:
 * jumped to, they are a system call.
 */
#include "inject.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "remus/util.h"

#define SEARCH_MAX (16u << 20) /* bytes of program text that are looked through before giving up */

static uint64_t search(int mem, uint64_t start, uint64_t end)
{
	uint8_t block[16384];

	while (start + 1 < end) {
		size_t want = end - start < sizeof block ? (size_t)(end - start) : sizeof block;
		ssize_t got = pread(mem, block, want, (off_t)start);
		if (got < 2)
			return 0;
		for (ssize_t i = 0; i + 1 < got; i++)
			if (block[i] == 0x0f && block[i + 1] == 0x05)
				return start + (uint64_t)i;
		start += (uint64_t)got - 1; /* the two bytes may straddle blocks */
	}
	return 0;
}

uint64_t remus_inject_find_syscall(pid_t pid, uint64_t rip)
{
	char path[64], line[512];
	uint64_t left = SEARCH_MAX, found = 0;

	snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
	REMUS_AUTO_CLOSE int mem = open(path, O_RDONLY | O_CLOEXEC);
	if (mem < 0)
		return 0;
	found = search(mem, rip - 2, rip);
	if (found)
		return found;

	/* The vDSO always has one (its clocks fall back to the kernel) and stands last in the list: two passes. */
	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	for (int pass = 0; pass < 2 && !found; pass++) {
		FILE *maps = fopen(path, "re");
		if (!maps)
			return 0;
		while (!found && left && fgets(line, sizeof line, maps)) {
			uint64_t start, end;
			char rights[8];
			if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &start, &end, rights) != 3 ||
			    strncmp(rights, "r-x", 3) || (pass == 0 && !strstr(line, "[vdso]")))
				continue;
			if (end - start > left)
				end = start + left;
			left -= end - start;
			found = search(mem, start, end);
		}
		fclose(maps);
	}
	return found;
}
