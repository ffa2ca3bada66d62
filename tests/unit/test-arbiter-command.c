// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The command arbiter: what the program is told, what its exit status means, what becomes of one that hangs, and that
 * nothing of it is left. The programs are shell scripts in a folder of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "remus/arbiter.h"
#include "replicator/arbiter/program.h"
#include "unit.h"

static char folder[] = "/tmp/remus-command-XXXXXX";
static const struct remus_key key = {.session = {0xab, 0xcd}, .generation = 7};
#define SESSION "abcd0000000000000000000000000000"

static void write_script(const char *name, const char *body)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fprintf(f, "#!/bin/sh\ncd %s || exit 9\n%s\n", folder, body);
	fclose(f);
	chmod(path, 0700);
}

/* An arbiter whose program is @body. */
static struct remus_arbiter *arbiter_of(const char *body, const char *options)
{
	struct remus_arbiter *a = NULL;
	char uri[512];

	write_script("program", body);
	snprintf(uri, sizeof uri, "command:%s/program%s", folder, options);
	CU_ASSERT_EQUAL_FATAL(remus_arbiter_create(uri, &a, NULL), 0);
	return a;
}

static char *slurp(const char *name, char out[4096])
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, out, 4095);
	out[n < 0 ? 0 : n] = 0;
	if (fd >= 0)
		close(fd);
	unlink(path);
	return out;
}

static bool no_child_is_left(void)
{
	return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}

static void statuses(void)
{
	static const struct {
		const char *body;
		enum remus_claim claim;
		const char *says;
		int open; /* the same program as an answer to open */
	} all[] = {
		{"exit 0", REMUS_CLAIM_WON, NULL, 0},
		{"echo words; exit 0", REMUS_CLAIM_WON, NULL, 0},
		{"exit 100", REMUS_CLAIM_LOST, NULL, -EEXIST},
		{"exit 1", REMUS_CLAIM_UNKNOWN, "exit status 1, neither 0 (won) nor 100 (lost)", -EIO},
		{"echo no route to the switch >&2; exit 1", REMUS_CLAIM_UNKNOWN, "no route to the switch",
		 -EIO},
		{"echo a; echo 'b\033[1m'; echo; exit 2", REMUS_CLAIM_UNKNOWN, "(lost): b [1m", -EIO},
		{"exit 99", REMUS_CLAIM_UNKNOWN, "exit status 99", -EIO},
		{"exit 101", REMUS_CLAIM_UNKNOWN, "exit status 101", -EIO},
		{"exit 127", REMUS_CLAIM_UNKNOWN, "exit status 127", -EIO},
		{"exit 255", REMUS_CLAIM_UNKNOWN, "exit status 255", -EIO},
		{"kill -KILL $$", REMUS_CLAIM_UNKNOWN, "ended by signal 9", -EINTR},
		{"kill -TERM $$", REMUS_CLAIM_UNKNOWN, "ended by signal 15", -EINTR},
		{"exec 0<&- 1>&- 2>&-; exit 0", REMUS_CLAIM_WON, NULL, 0},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(all); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_arbiter *a = arbiter_of(all[i].body, "");
		CU_ASSERT_EQUAL(a->ops->claim(a, &key, REMUS_HOLDER_BACKUP, &err), all[i].claim);
		if (all[i].says)
			UNIT_ASSERT_MESSAGE(err, all[i].says);
		else
			CU_ASSERT_STRING_EQUAL(err.message, "");
		CU_ASSERT_EQUAL(a->ops->open(a, &key, NULL), all[i].open);
		CU_ASSERT_EQUAL(a->ops->check(a, &key, NULL), all[i].open);
		CU_ASSERT_EQUAL(a->ops->retire(a, &key, NULL), all[i].open);
		CU_ASSERT(no_child_is_left());
		a->ops->close(a);
	}
}

static void missing_program(void)
{
	struct remus_arbiter *a = NULL;
	struct remus_error err = REMUS_ERROR_INIT;

	CU_ASSERT_EQUAL_FATAL(remus_arbiter_create("command:/does/not/exist", &a, &err), 0);
	CU_ASSERT_EQUAL(a->ops->claim(a, &key, REMUS_HOLDER_BACKUP, &err), REMUS_CLAIM_UNKNOWN);
	UNIT_ASSERT_MESSAGE(err, "/does/not/exist: exec: No such file or directory");
	CU_ASSERT_EQUAL(a->ops->check(a, &key, &err), -ENOENT);
	CU_ASSERT(no_child_is_left());
	a->ops->close(a);
}

static void what_it_is_told(void)
{
	char text[4096];
	struct remus_arbiter *a =
		arbiter_of("cat >stdin; env | grep ^REMUS_ | sort >env; ls /proc/self/fd >fds",
			   "?timeout=9&plug=host%20a&ip=::1");

	setenv("REMUS_ACTION", "stale", 1);
	CU_ASSERT_EQUAL(a->ops->claim(a, &key, REMUS_HOLDER_BACKUP, NULL), REMUS_CLAIM_WON);
	CU_ASSERT_STRING_EQUAL(slurp("stdin", text),
			       "action=claim\nkey=" SESSION ".7\nsession=" SESSION
			       "\ngeneration=7\nme=backup\npeer=primary\ntimeout=9\nplug=host a\nip=::1\n");
	CU_ASSERT_STRING_EQUAL(slurp("env", text),
			       "REMUS_ACTION=claim\nREMUS_GENERATION=7\nREMUS_KEY=" SESSION
			       ".7\nREMUS_ME=backup\nREMUS_PEER=primary\nREMUS_SESSION=" SESSION
			       "\nREMUS_TIMEOUT=9\n");
	CU_ASSERT_STRING_EQUAL(slurp("fds", text), "0\n1\n2\n3\n"); /* 3 is ls's own */
	CU_ASSERT_EQUAL(a->ops->claim(a, &key, REMUS_HOLDER_PRIMARY, NULL), REMUS_CLAIM_WON);
	CU_ASSERT_PTR_NOT_NULL(strstr(slurp("stdin", text), "me=primary\npeer=backup\n"));
	const struct {
		int (*call)(struct remus_arbiter *, const struct remus_key *, struct remus_error *);
		const char *begins;
	} calls[] = {{a->ops->open, "action=open\n"},
		     {a->ops->check, "action=check\n"},
		     {a->ops->retire, "action=retire\n"}};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(calls); i++) {
		CU_ASSERT_EQUAL(calls[i].call(a, &key, NULL), 0);
		CU_ASSERT_EQUAL(strncmp(slurp("stdin", text), calls[i].begins, strlen(calls[i].begins)), 0);
	}
	slurp("env", text);
	slurp("fds", text);
	a->ops->close(a);
}

/* A program that hangs dies at its deadline, and what it has started with it. */
static void hanging_program_is_killed_with_its_group(void)
{
	char text[4096];
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_arbiter *a = arbiter_of("sleep 600 & echo $! >child; echo waiting; wait", "?timeout=1");

	CU_ASSERT_EQUAL(a->ops->claim(a, &key, REMUS_HOLDER_BACKUP, &err), REMUS_CLAIM_UNKNOWN);
	CU_ASSERT_EQUAL(err.code, -ETIMEDOUT);
	UNIT_ASSERT_MESSAGE(err, "had not ended after 1 s and was killed");
	UNIT_ASSERT_MESSAGE(err, "\"waiting\"");
	CU_ASSERT(no_child_is_left());
	pid_t child = atoi(slurp("child", text));
	CU_ASSERT_FATAL(child > 0);
	bool dead = false;
	for (int i = 0; i < 2000 && !dead; i++) { /* whoever adopted it reaps it */
		char path[64], line[512] = "";
		snprintf(path, sizeof path, "/proc/%d/stat", (int)child);
		FILE *f = fopen(path, "r");
		dead = !f || !fgets(line, sizeof line, f) || strstr(line, ") Z ");
		if (f)
			fclose(f);
		usleep(dead ? 0 : 10000);
	}
	CU_ASSERT(dead);
	a->ops->close(a);
}

/* What a program leaves running holds its output open, and is not waited for. */
static void output_held_open_is_no_hang(void)
{
	char output[PROGRAM_OUTPUT_MAX], text[4096], path[256];
	char *environment[] = {NULL};

	write_script("program", "sleep 600 & echo $! >child; echo done");
	snprintf(path, sizeof path, "%s/program", folder);
	CU_ASSERT_EQUAL(program_run(path, environment, "", 0, 60000, output, NULL), 0);
	CU_ASSERT_STRING_EQUAL(output, "done\n");
	kill(atoi(slurp("child", text)), SIGKILL);
}

static void output_is_bounded(void)
{
	char output[PROGRAM_OUTPUT_MAX], path[256];
	char *environment[] = {NULL};

	write_script("program",
		     "/bin/dd if=/dev/zero bs=4096 count=1024 2>/dev/null | /usr/bin/tr '\\0' x; exit 5");
	snprintf(path, sizeof path, "%s/program", folder);
	CU_ASSERT_EQUAL(program_run(path, environment, "", 0, 60000, output, NULL), 5);
	CU_ASSERT_EQUAL(strlen(output), PROGRAM_OUTPUT_MAX - 1);
	write_script("program", "while :; do echo flood; done");
	struct remus_error err = REMUS_ERROR_INIT;
	CU_ASSERT_EQUAL(program_run(path, environment, "", 0, 300, output, &err), -ETIMEDOUT);
	CU_ASSERT_EQUAL(strlen(output), PROGRAM_OUTPUT_MAX - 1);
	CU_ASSERT(no_child_is_left());
}

static void remove_folder(void)
{
	char path[256];
	snprintf(path, sizeof path, "%s/program", folder);
	unlink(path);
	rmdir(folder);
	CU_ASSERT(access(folder, F_OK) < 0);
}

static void make_folder(void)
{
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
}

static const struct unit_case cases[] = {
	{"a folder", make_folder},
	{"exit statuses", statuses},
	{"a program that is missing", missing_program},
	{"what it is told", what_it_is_told},
	{"one that hangs is killed with its group", hanging_program_is_killed_with_its_group},
	{"output that is held open is no hang", output_held_open_is_no_hang},
	{"output is bounded", output_is_bounded},
	{"nothing is left", remove_folder},
};
UNIT_MAIN("arbiter-command", cases)
