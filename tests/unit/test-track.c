/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remus/track.h, with each method that this kernel has: what is clean, what is dirty, that nothing is lost
 * (I9) and nothing is left behind (I13). A method that the kernel lacks must say so, and why.
 */
#include "target.h"
#include "replicator/domain/track/pagemap.h"

static uint64_t dirty[TARGET_PAGES / 64];

/* Start @method on @t. NULL when this machine can't; the refusal must then name what is missing. */
static struct remus_track *start(const struct target *t, enum remus_track_method method)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_track_target range = target_range(t);
	struct remus_track *track = NULL;

	memset(dirty, 0, sizeof dirty);
	int code = remus_track_start(&range, method, &track, &err);
	if (!code)
		return track;
	printf("\n    not here: %s\n    ", err.message);
	CU_ASSERT_EQUAL(err.code, code);
	if (method == REMUS_TRACK_SOFT_DIRTY) {
		UNIT_ASSERT_MESSAGE(err, "soft-dirty: ");
		UNIT_ASSERT_MESSAGE(err, "CONFIG_MEM_SOFT_DIRTY");
	} else if (method == REMUS_TRACK_UFFD) {
		UNIT_ASSERT_MESSAGE(err, "uffd-wp: ");
		CU_ASSERT(strstr(err.message, "6.7") || strstr(err.message, "USERFAULTFD") ||
			  strstr(err.message, "seccomp") || strstr(err.message, "ptrace"));
	} else {
		CU_FAIL("compare works everywhere");
	}
	return NULL;
}

static uint64_t fetch(struct remus_track *track)
{
	struct remus_error err = REMUS_ERROR_INIT;
	uint64_t count = 0;
	int code = remus_track_fetch(track, dirty, &count, &err);
	if (code)
		printf("\n    fetch: %s\n", err.message);
	CU_ASSERT_EQUAL(code, 0);
	return count;
}

static void exact(enum remus_track_method method)
{
	static const uint64_t pages[] = {0, 1, 63, 64, 511, 512, 1000, TARGET_PAGES - 1};
	struct target t = target_start();
	for (uint64_t p = 0; p < TARGET_PAGES; p += 2)
		target_call(&t, DO_WRITE, p); /* present and written before the start: must not show */
	struct remus_track *track = start(&t, method);
	if (!track)
		goto out;

	CU_ASSERT_EQUAL(fetch(track), 0);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(pages); i++) {
		target_call(&t, DO_WRITE, pages[i]);
		target_call(&t, DO_READ, pages[i] ^ 8);
	}
	remus_bitmap_set(dirty, 5); /* bits that are set stay, and aren't counted */
	CU_ASSERT_EQUAL(fetch(track), REMUS_ARRAY_SIZE(pages));
	CU_ASSERT_EQUAL(remus_bitmap_count(dirty, TARGET_PAGES), REMUS_ARRAY_SIZE(pages) + 1);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(pages); i++)
		CU_ASSERT(remus_bitmap_test(dirty, pages[i]));

	memset(dirty, 0, sizeof dirty); /* the fetch cleared: a second write shows again, alone */
	CU_ASSERT_EQUAL(fetch(track), 0);
	target_call(&t, DO_WRITE, 512);
	CU_ASSERT_EQUAL(target_call(&t, DO_KERNEL_WRITE, 700).result, 8); /* as a disk's read() does */
	CU_ASSERT_EQUAL(fetch(track), 2);
	CU_ASSERT(remus_bitmap_test(dirty, 512) && remus_bitmap_test(dirty, 700));

	memset(dirty, 0,
	       sizeof dirty); /* written and then unmapped: the write must not go with the mapping */
	target_call(&t, DO_WRITE, 900);
	CU_ASSERT_EQUAL(target_call(&t, DO_PUNCH, 900).result, 0);
	CU_ASSERT(fetch(track) >= 1);
	CU_ASSERT(remus_bitmap_test(dirty, 900));

	for (uint64_t p = 0; p < TARGET_PAGES; p++) /* every other page: more regions than one call takes */
		if (p % 2)
			target_call(&t, DO_WRITE, p);
	memset(dirty, 0, sizeof dirty);
	CU_ASSERT_EQUAL(fetch(track), TARGET_PAGES / 2);
	CU_ASSERT_EQUAL(dirty[3], UINT64_C(0xaaaaaaaaaaaaaaaa));
	remus_track_stop(track);
out:
	target_end(&t);
}
static void exact_uffd(void)
{
	exact(REMUS_TRACK_UFFD);
}
static void exact_soft_dirty(void)
{
	exact(REMUS_TRACK_SOFT_DIRTY);
}
static void exact_compare(void)
{
	exact(REMUS_TRACK_COMPARE);
}

/* The model: an image that is told only what fetch tells. Writers that never pause; in the end the image must
 * be the memory, or a write was lost. */
static void no_write_is_lost(enum remus_track_method method)
{
	struct target t = target_start();
	uint8_t *image = malloc(TARGET_PAGES * 4096);
	uint64_t total = 0;
	CU_ASSERT_EQUAL(target_call(&t, DO_START_WRITERS, 0).result, 0);
	struct remus_track *track = start(&t, method);
	if (!track || !image)
		goto out;

	memcpy(image, t.memory, TARGET_PAGES * 4096);
	for (int epoch = 0; epoch <= 200; epoch++) {
		if (epoch == 200)
			CU_ASSERT_EQUAL(target_call(&t, DO_STOP_WRITERS, 0).result, 0);
		total += fetch(track);
		for (uint64_t p = 0; p < TARGET_PAGES; p++)
			if (remus_bitmap_test(dirty, p))
				memcpy(image + p * 4096, t.memory + p * 4096, 4096);
		memset(dirty, 0, sizeof dirty);
		nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
	}
	CU_ASSERT(total > 200);
	CU_ASSERT_EQUAL(memcmp(image, t.memory, TARGET_PAGES * 4096), 0);
	CU_ASSERT_EQUAL(fetch(track), 0);
	remus_track_stop(track);
out:
	free(image);
	target_end(&t);
}
static void no_write_is_lost_uffd(void)
{
	no_write_is_lost(REMUS_TRACK_UFFD);
}
static void no_write_is_lost_compare(void)
{
	no_write_is_lost(REMUS_TRACK_COMPARE);
}

/* Not registered: a scan that insists on asynchronous write-protection fails with EPERM. And then all pages
 * count as cleared (I9). */
static void assert_unregistered(const struct target *t)
{
	struct remus_error err = REMUS_ERROR_INIT;
	char path[64];
	uint64_t found = 0;

	snprintf(path, sizeof path, "/proc/%d/pagemap", (int)t->pid);
	REMUS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	memset(dirty, 0, sizeof dirty);
	CU_ASSERT_EQUAL(
		remus_pagemap_fetch(fd, (uintptr_t)t->memory, TARGET_PAGES * 4096, dirty, &found, &err),
		-EPERM);
	CU_ASSERT_EQUAL(remus_bitmap_count(dirty, TARGET_PAGES), TARGET_PAGES);
	CU_ASSERT_EQUAL(found, TARGET_PAGES);
	UNIT_ASSERT_MESSAGE(err, "PAGEMAP_SCAN");
	CU_ASSERT_EQUAL(target_uffds(t), 0);
}

static void stop_removes_all(void)
{
	struct target t = target_start();
	for (int round = 0; round < 3; round++) {
		struct remus_track *track = start(&t, REMUS_TRACK_UFFD);
		if (!track)
			goto out;
		CU_ASSERT_STRING_EQUAL(remus_track_name(track), "uffd-wp");
		CU_ASSERT_STRING_EQUAL(remus_track_note(track), "");
		CU_ASSERT_EQUAL(target_uffds(&t), 0); /* not even while tracking */
		target_call(&t, DO_WRITE, 3);
		CU_ASSERT_EQUAL(fetch(track), 1);
		remus_track_stop(track);
		assert_unregistered(&t);
	}
out:
	target_end(&t);
}

static void two_trackers_are_refused(void)
{
	struct target t = target_start();
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_track_target range = target_range(&t);
	struct remus_track *track = start(&t, REMUS_TRACK_UFFD), *second = NULL;
	if (!track)
		goto out;
	CU_ASSERT_EQUAL(remus_track_start(&range, REMUS_TRACK_UFFD, &second, &err), -EBUSY);
	UNIT_ASSERT_MESSAGE(err, "another remus");
	target_call(&t, DO_WRITE, 9);
	CU_ASSERT_EQUAL(fetch(track), 1); /* the first is not disturbed */
	remus_track_stop(track);
	assert_unregistered(&t);
out:
	target_end(&t);
}

static void killed_tracker_leaves_nothing(void)
{
	struct target t = target_start();
	struct remus_track *track = start(&t, REMUS_TRACK_UFFD);
	int ready[2];
	char byte;
	if (!track)
		goto out;
	remus_track_stop(track);
	if (pipe(ready))
		abort();
	fflush(NULL);
	pid_t tracker = fork();
	if (!tracker) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		byte = start(&t, REMUS_TRACK_UFFD) ? 'y' : 'n';
		if (write(ready[1], &byte, 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	CU_ASSERT_FATAL(read(ready[0], &byte, 1) == 1);
	CU_ASSERT_EQUAL(byte, 'y');
	close(ready[0]);
	kill(tracker, SIGKILL);
	waitpid(tracker, NULL, 0);
	assert_unregistered(&t);
	track = start(&t, REMUS_TRACK_UFFD); /* and a new one starts */
	CU_ASSERT_PTR_NOT_NULL_FATAL(track);
	CU_ASSERT_EQUAL(fetch(track), 0);
	target_call(&t, DO_WRITE, 77);
	CU_ASSERT_EQUAL(fetch(track), 1);
	remus_track_stop(track);
out:
	target_end(&t);
}

static void sweep_closes_only_ours(void)
{
	struct target t = target_start();
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_track_target range = target_range(&t);
	struct answer own = target_call(&t, DO_UFFD, 1);
	if (own.result < 0) {
		printf("\n    not here: userfaultfd: %s\n    ", strerror((int)own.error));
		goto out;
	}
	CU_ASSERT_EQUAL(remus_track_sweep(&range, &err), 0);
	CU_ASSERT_EQUAL(target_uffds(&t), 1);
	CU_ASSERT(target_call(&t, DO_UFFD, 0).result >= 0); /* as a tracker killed half-way leaves it */
	CU_ASSERT(target_call(&t, DO_UFFD, 0).result >= 0);
	CU_ASSERT_EQUAL(target_uffds(&t), 3);
	CU_ASSERT_EQUAL(remus_track_sweep(&range, &err), 0);
	CU_ASSERT_EQUAL(target_uffds(&t), 1); /* the hypervisor's own is left alone */
	CU_ASSERT(target_call(&t, DO_UFFD, 0).result >= 0);
	struct remus_track *track = start(&t, REMUS_TRACK_UFFD); /* start sweeps, too */
	CU_ASSERT_EQUAL(target_uffds(&t), 1);
	remus_track_stop(track);
	CU_ASSERT_STRING_EQUAL(err.message, "");
out:
	target_end(&t);
}

static void dead_target(void)
{
	static const enum remus_track_method methods[] = {REMUS_TRACK_UFFD, REMUS_TRACK_SOFT_DIRTY,
							  REMUS_TRACK_COMPARE};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(methods); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct target t = target_start();
		struct remus_track_target range = target_range(&t);
		struct remus_track *track = start(&t, methods[i]), *again = NULL;
		target_call(&t, DO_WRITE, 1);
		kill(t.pid, SIGKILL);
		waitid(P_PID, (id_t)t.pid, NULL, WEXITED | WNOWAIT); /* a zombie first */
		uint64_t count = 0;
		for (int reaped = 0; track && reaped < 2; reaped++) {
			memset(dirty, 0, sizeof dirty);
			CU_ASSERT_EQUAL(remus_track_fetch(track, dirty, &count, &err), -ESRCH);
			CU_ASSERT_EQUAL(remus_bitmap_count(dirty, TARGET_PAGES), TARGET_PAGES);
			if (!reaped)
				waitpid(t.pid, NULL, 0);
		}
		if (!track)
			waitpid(t.pid, NULL, 0);
		CU_ASSERT_EQUAL(remus_track_start(&range, methods[i], &again, &err), -ESRCH);
		UNIT_ASSERT_MESSAGE(err, "gone");
		CU_ASSERT_EQUAL(remus_track_sweep(&range, NULL), 0);
		remus_track_stop(track);
		t.pid = -1;
		target_end(&t);
	}
}

static void refusals(void)
{
	struct target t = target_start();
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_track_target good = target_range(&t), bad = good;
	struct remus_track *track = NULL;
	enum remus_track_method method;

	bad.address = 0x10000;
	CU_ASSERT_EQUAL(remus_track_start(&bad, REMUS_TRACK_AUTO, &track, &err), -EFAULT);
	UNIT_ASSERT_MESSAGE(err, "0x10000");
	UNIT_ASSERT_MESSAGE(err, "not mapped");
	bad = good;
	bad.bytes = UINT64_C(1) << 46;
	CU_ASSERT_EQUAL(remus_track_start(&bad, REMUS_TRACK_AUTO, &track, &err), -EFAULT);
	bad.bytes = 4095;
	CU_ASSERT_EQUAL(remus_track_start(&bad, REMUS_TRACK_AUTO, &track, &err), -EINVAL);
	bad = good;
	bad.mapping = NULL;
	CU_ASSERT_EQUAL(remus_track_start(&bad, REMUS_TRACK_COMPARE, &track, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "compare: ");

	CU_ASSERT_EQUAL(remus_track_method_parse("soft-dirty", &method, &err), 0);
	CU_ASSERT_EQUAL(method, REMUS_TRACK_SOFT_DIRTY);
	CU_ASSERT_EQUAL(remus_track_method_parse("kvm", &method, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "uffd-wp");
	target_end(&t);
}

static void auto_takes_the_best(void)
{
	struct target t = target_start();
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_track_target range = target_range(&t);
	struct remus_track *track = NULL;

	CU_ASSERT_EQUAL_FATAL(remus_track_start(&range, REMUS_TRACK_AUTO, &track, &err), 0);
	printf("%s %s ", remus_track_name(track), remus_track_note(track));
	if (strcmp(remus_track_name(track), "uffd-wp"))
		CU_ASSERT(strstr(remus_track_note(track), "uffd-wp: ") == remus_track_note(track));
	remus_track_stop(track);
	target_end(&t);
}

static const struct unit_case cases[] = {
	{"uffd-wp: the dirty set is exact", exact_uffd},
	{"soft-dirty: the dirty set is exact", exact_soft_dirty},
	{"compare: the dirty set is exact", exact_compare},
	{"uffd-wp: no write is lost", no_write_is_lost_uffd},
	{"compare: no write is lost", no_write_is_lost_compare},
	{"stop removes everything", stop_removes_all},
	{"a second tracker is refused", two_trackers_are_refused},
	{"a killed tracker leaves nothing", killed_tracker_leaves_nothing},
	{"sweep closes only ours", sweep_closes_only_ours},
	{"dead target", dead_target},
	{"refusals name their cause", refusals},
	{"auto takes the best method", auto_takes_the_best},
};
UNIT_MAIN("track", cases)
