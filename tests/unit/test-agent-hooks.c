/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The programs of resume.d: which are run, in what order, with what in their environment, and what becomes of those that
 * fail, hang or leave something behind. */
#include "tools/remus-agent/hooks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include "tools/remus-agent/clock.h"
#include "unit.h"

static char dir[64], out[96];
static struct hooks hooks;

static void begin(void)
{
	strcpy(dir, "/tmp/remus-hooks-XXXXXX");
	CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
	snprintf(out, sizeof out, "%s/.out", dir);
	setenv("HOOKS_OUT", out, 1);
	hooks_init(&hooks, dir, 20);
}

static void put(const char *name, const char *body, mode_t mode)
{
	char path[160];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "we");
	CU_ASSERT_FATAL(f != NULL);
	fprintf(f, "#!/bin/sh\n%s\n", body);
	fclose(f);
	CU_ASSERT_EQUAL(chmod(path, mode), 0);
}

static void end(void)
{
	DIR *d = opendir(dir);

	for (struct dirent *e; (e = readdir(d));)
		unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	CU_ASSERT_EQUAL(rmdir(dir), 0);
}

/* Until all are over. */
static void run(void)
{
	struct remus_renewed renewed = {.clock = REMUS_CLOCK_STEPPED, .step_ns = 12, .offset_ns = -34};

	if (!hooks_begin(&hooks, 0xabc, &renewed))
		return;
	do {
		struct pollfd p = {.fd = hooks_fd(&hooks), .events = POLLIN};
		CU_ASSERT(p.fd >= 0);
		poll(&p, 1, 50);
	} while (!hooks_turn(&hooks));
	CU_ASSERT_EQUAL(hooks_fd(&hooks), -1);
	CU_ASSERT_EQUAL(hooks_due(&hooks), UINT64_MAX);
}

static void wrote(const char *expected)
{
	char text[512] = "";
	int fd = open(out, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, text, sizeof text - 1) < 0)
		CU_FAIL("read");
	if (fd >= 0)
		close(fd);
	CU_ASSERT_STRING_EQUAL(text, expected);
}

static void names(void)
{
	static const char *const good[] = {"a", "10-chrony", "20_tls.sh", "Z"};
	static const char *const bad[] = {
		".hidden",    "a b",
		"a~",	      "x.dpkg-old",
		"x.dpkg-new", "x.bak",
		"x.disabled", "a/b",
		"\303\244",   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(good); i++)
		CU_ASSERT(hooks_name_ok(good[i]));
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++)
		CU_ASSERT(!hooks_name_ok(bad[i]));
}

static void in_order_with_environment(void)
{
	begin();
	put("20-second", "echo second $REMUS_RESEEDED $REMUS_CLOCK_OFFSET_NS >>$HOOKS_OUT", 0700);
	put("10-first", "echo first $REMUS_ACTIVATION $REMUS_CLOCK $REMUS_CLOCK_STEP_NS >>$HOOKS_OUT", 0700);
	put("15-not-executable", "echo no >>$HOOKS_OUT", 0600);
	put("16-of-everybody", "echo no >>$HOOKS_OUT", 0777);
	put("17-old.dpkg-old", "echo no >>$HOOKS_OUT", 0700);
	run();
	wrote("first 0000000000000abc stepped 12\nsecond 1 -34\n");
	CU_ASSERT_EQUAL(hooks.result.ran, 2);
	CU_ASSERT_EQUAL(hooks.result.failed, 0);
	CU_ASSERT_STRING_EQUAL(hooks.result.first, "-");
	end();
}

static void none(void)
{
	struct remus_renewed renewed = {0};

	begin();
	CU_ASSERT(!hooks_begin(&hooks, 1, &renewed));
	CU_ASSERT_EQUAL(hooks.result.ran, 0);
	end();
	hooks_init(&hooks, "/nonexistent/resume.d", 1);
	CU_ASSERT(!hooks_begin(&hooks, 1, &renewed));
}

static void failures_are_counted(void)
{
	begin();
	put("1", "exit 0", 0700);
	put("2-fails", "exit 3", 0700);
	put("3-dies", "kill -9 $$", 0700);
	put("4", "echo after >>$HOOKS_OUT", 0700);
	run();
	wrote("after\n");
	CU_ASSERT_EQUAL(hooks.result.ran, 4);
	CU_ASSERT_EQUAL(hooks.result.failed, 2);
	CU_ASSERT_STRING_EQUAL(hooks.result.first, "2-fails");
	end();
}

/* One that hangs is killed with its children, and the next is run. */
static void a_deadline_each(void)
{
	begin();
	hooks_init(&hooks, dir, 1);
	put("1-hangs", "sleep 1000 & echo $! >>$HOOKS_OUT.pid; wait", 0700);
	put("2", "echo after >>$HOOKS_OUT", 0700);
	run();
	wrote("after\n");
	CU_ASSERT_EQUAL(hooks.result.failed, 1);
	CU_ASSERT_STRING_EQUAL(hooks.result.first, "1-hangs");
	char path[128], text[32] = "";
	snprintf(path, sizeof path, "%s.pid", out);
	FILE *f = fopen(path, "re");
	CU_ASSERT_FATAL(f && fgets(text, sizeof text, f));
	fclose(f);
	/* Killed: gone, or a zombie that nobody has collected yet. */
	bool gone = false;
	for (int i = 0; i < 500 && !gone; i++) {
		char stat[64], line[256] = "";
		snprintf(stat, sizeof stat, "/proc/%d/stat", atoi(text));
		FILE *s = fopen(stat, "re");
		gone = !s || !fgets(line, sizeof line, s) || strstr(line, ") Z");
		if (s)
			fclose(s);
		if (!gone)
			usleep(10000);
	}
	CU_ASSERT(gone);
	end();
}

/* Another activation: the programs of the one before are of no use any more. */
static void a_new_activation(void)
{
	struct remus_renewed renewed = {0};

	begin();
	put("1",
	    "echo $REMUS_ACTIVATION >>$HOOKS_OUT; [ $REMUS_ACTIVATION = 0000000000000abc ] || sleep 1000",
	    0700);
	CU_ASSERT(hooks_begin(&hooks, 1, &renewed));
	pid_t before = hooks.pid;
	run();
	CU_ASSERT(hooks.pid != before);
	CU_ASSERT_EQUAL(hooks.result.ran, 1);
	CU_ASSERT_EQUAL(hooks.result.failed, 0);
	hooks_stop(&hooks); /* of nothing */
	end();
}

static const struct unit_case cases[] = {
	{"names", names},
	{"in order, with their environment", in_order_with_environment},
	{"none", none},
	{"failures are counted", failures_are_counted},
	{"a deadline each (I8)", a_deadline_each},
	{"a new activation", a_new_activation},
};
UNIT_MAIN("agent hooks", cases)
