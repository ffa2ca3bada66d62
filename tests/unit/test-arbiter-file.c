// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The file arbiter: at most one WON per key (I5) in every order of claims and retirements, by processes that
 * race each other too; and UNKNOWN, with a message, for everything that isn't certain.
 */
#include "config.h"
#include "remus/arbiter.h"
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[64];

static struct remus_arbiter *arbiter_at(const char *path)
{
	char uri[512];
	struct remus_arbiter *a = NULL;
	snprintf(uri, sizeof uri, "file:%s", path);
	CU_ASSERT_EQUAL_FATAL(remus_arbiter_create(uri, &a, NULL), 0);
	return a;
}

static struct remus_key fresh_key(void)
{
	static uint64_t count;
	struct remus_key key = {.session = {0xab}, .generation = ++count};
	return key;
}

static void entry_path(const struct remus_key *key, const char *suffix, char out[256])
{
	char text[REMUS_KEY_TEXT];
	remus_key_text(key, text);
	snprintf(out, 256, "%s/%s.%s", dir, text, suffix);
}

static bool exists(const struct remus_key *key, const char *suffix)
{
	char path[256];
	struct stat st;
	entry_path(key, suffix, path);
	return !lstat(path, &st);
}

static void touch(const struct remus_key *key, const char *suffix)
{
	char path[256];
	entry_path(key, suffix, path);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

/* Claim, and assert the contract: a message if and only if UNKNOWN. */
static enum remus_claim ask(struct remus_arbiter *a, const struct remus_key *key, enum remus_holder holder)
{
	struct remus_error err = REMUS_ERROR_INIT;
	enum remus_claim answer = a->ops->claim(a, key, holder, &err);
	CU_ASSERT_EQUAL(answer == REMUS_CLAIM_UNKNOWN, err.message[0] != 0);
	if (answer == REMUS_CLAIM_UNKNOWN)
		UNIT_ASSERT_MESSAGE(err, "arbiter ");
	return answer;
}

static void first_claim_wins(void)
{
	struct remus_arbiter *p = arbiter_at(dir), *b = arbiter_at(dir);

	for (int turn = 0; turn < 2; turn++) {
		struct remus_key key = fresh_key();
		struct remus_error err = REMUS_ERROR_INIT;
		enum remus_holder first = turn ? REMUS_HOLDER_PRIMARY : REMUS_HOLDER_BACKUP;
		enum remus_holder second = turn ? REMUS_HOLDER_BACKUP : REMUS_HOLDER_PRIMARY;

		CU_ASSERT_EQUAL(p->ops->open(p, &key, &err), 0);
		CU_ASSERT_EQUAL(b->ops->check(b, &key, &err), 0);
		CU_ASSERT_EQUAL(ask(p, &key, first), REMUS_CLAIM_WON);
		CU_ASSERT_EQUAL(ask(b, &key, second), REMUS_CLAIM_LOST);
		CU_ASSERT_EQUAL(ask(p, &key, first), REMUS_CLAIM_WON); /* the answer was lost, say */
		CU_ASSERT_EQUAL(ask(b, &key, second), REMUS_CLAIM_LOST);
		CU_ASSERT_EQUAL(b->ops->check(b, &key, &err), -EALREADY);
		UNIT_ASSERT_MESSAGE(err, turn ? "primary" : "backup");
		CU_ASSERT_EQUAL(p->ops->open(p, &key, &err), -EEXIST);
		/* a claimed key stays */
		CU_ASSERT_EQUAL(p->ops->retire(p, &key, &err), 0);
		CU_ASSERT_EQUAL(ask(p, &key, first), REMUS_CLAIM_WON);
		CU_ASSERT_EQUAL(ask(b, &key, second), REMUS_CLAIM_LOST);
	}
	p->ops->close(p);
	b->ops->close(b);
}

static void keys_are_apart(void)
{
	struct remus_arbiter *a = arbiter_at(dir);
	struct remus_key one = fresh_key(), two = fresh_key();

	CU_ASSERT_EQUAL(a->ops->open(a, &one, NULL), 0);
	CU_ASSERT_EQUAL(a->ops->open(a, &two, NULL), 0);
	CU_ASSERT_EQUAL(ask(a, &one, REMUS_HOLDER_PRIMARY), REMUS_CLAIM_WON);
	CU_ASSERT_EQUAL(ask(a, &two, REMUS_HOLDER_BACKUP), REMUS_CLAIM_WON);
	two.session[15] = 1;
	CU_ASSERT_EQUAL(ask(a, &two, REMUS_HOLDER_BACKUP), REMUS_CLAIM_UNKNOWN);
	a->ops->close(a);
}

static void unknown_without_a_key(void)
{
	struct remus_arbiter *a = arbiter_at(dir);
	struct remus_key key = fresh_key();
	struct remus_error err = REMUS_ERROR_INIT;

	CU_ASSERT_EQUAL(ask(a, &key, REMUS_HOLDER_PRIMARY), REMUS_CLAIM_UNKNOWN);
	CU_ASSERT_EQUAL(ask(a, &key, REMUS_HOLDER_BACKUP), REMUS_CLAIM_UNKNOWN);
	CU_ASSERT_EQUAL(a->ops->check(a, &key, &err), -ENOENT);
	UNIT_ASSERT_MESSAGE(err, "same shared directory");
	CU_ASSERT(!exists(&key, "open") && !exists(&key, "primary") && !exists(&key, "backup"));
	a->ops->close(a);
}

static void open_is_exclusive(void)
{
	struct remus_arbiter *a = arbiter_at(dir);
	struct remus_key key = fresh_key();
	struct remus_error err = REMUS_ERROR_INIT;

	CU_ASSERT_EQUAL(a->ops->open(a, &key, &err), 0);
	CU_ASSERT_EQUAL(a->ops->open(a, &key, &err), -EEXIST);
	UNIT_ASSERT_MESSAGE(err, dir);
	CU_ASSERT(exists(&key, "open"));
	a->ops->close(a);
}

static void retired_is_never_won(void)
{
	struct remus_arbiter *a = arbiter_at(dir);
	struct remus_key key = fresh_key();

	CU_ASSERT_EQUAL(a->ops->open(a, &key, NULL), 0);
	CU_ASSERT_EQUAL(a->ops->retire(a, &key, NULL), 0);
	CU_ASSERT_EQUAL(ask(a, &key, REMUS_HOLDER_BACKUP), REMUS_CLAIM_UNKNOWN);
	CU_ASSERT_EQUAL(ask(a, &key, REMUS_HOLDER_PRIMARY), REMUS_CLAIM_UNKNOWN);
	CU_ASSERT_EQUAL(a->ops->retire(a, &key, NULL), 0); /* again: nothing to do */
	CU_ASSERT(!exists(&key, "open") && !exists(&key, "primary") && !exists(&key, "backup"));
	a->ops->close(a);
}

/* What crashes, full disks and restored backups may leave: empty files, both records, record and key. */
static void torn_remains(void)
{
	struct remus_arbiter *a = arbiter_at(dir);
	struct remus_key key = fresh_key();

	touch(&key, "open"); /* created, text never written */
	CU_ASSERT_EQUAL(a->ops->check(a, &key, NULL), 0);
	CU_ASSERT_EQUAL(ask(a, &key, REMUS_HOLDER_BACKUP), REMUS_CLAIM_WON);

	key = fresh_key();
	touch(&key, "primary");
	touch(&key, "open"); /* restored beside the record */
	CU_ASSERT_EQUAL(ask(a, &key, REMUS_HOLDER_BACKUP), REMUS_CLAIM_LOST);
	CU_ASSERT_EQUAL(ask(a, &key, REMUS_HOLDER_PRIMARY), REMUS_CLAIM_WON);

	key = fresh_key();
	touch(&key, "primary");
	touch(&key, "backup");
	CU_ASSERT_EQUAL(ask(a, &key, REMUS_HOLDER_BACKUP), REMUS_CLAIM_UNKNOWN);
	CU_ASSERT_EQUAL(ask(a, &key, REMUS_HOLDER_PRIMARY), REMUS_CLAIM_UNKNOWN);
	CU_ASSERT(a->ops->open(a, &key, NULL) < 0);
	a->ops->close(a);
}

static void bad_directories(void)
{
	char plain[128], missing[128];
	struct remus_key key = fresh_key();

	snprintf(plain, sizeof plain, "%s/plain", dir);
	snprintf(missing, sizeof missing, "%s/missing", dir);
	close(open(plain, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	const struct {
		const char *path;
		int code;
	} bad[] = {{plain, -ENOTDIR}, {missing, -ENOENT}};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++) {
		struct remus_arbiter *a = arbiter_at(bad[i].path);
		struct remus_error err = REMUS_ERROR_INIT;
		CU_ASSERT_EQUAL(a->ops->open(a, &key, &err), bad[i].code);
		UNIT_ASSERT_MESSAGE(err, bad[i].path);
		CU_ASSERT_EQUAL(a->ops->check(a, &key, &err), bad[i].code);
		CU_ASSERT_EQUAL(a->ops->retire(a, &key, &err), bad[i].code);
		CU_ASSERT_EQUAL(ask(a, &key, REMUS_HOLDER_PRIMARY), REMUS_CLAIM_UNKNOWN);
		a->ops->close(a);
	}
	unlink(plain);
}

/* Permission bits don't bind root, a read-only mount does. Returns the number of failed expectations. */
static int in_read_only_mount(const struct remus_key *there, const struct remus_key *new)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_arbiter *a = NULL;
	char uri[128];

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount(dir, dir, NULL, MS_BIND, NULL) ||
	    mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL))
		return UNIT_SKIP;
	snprintf(uri, sizeof uri, "file:%s", dir);
	int failed = remus_arbiter_create(uri, &a, NULL) != 0;
	if (failed)
		return 1;
	failed += a->ops->claim(a, there, REMUS_HOLDER_BACKUP, &err) != REMUS_CLAIM_UNKNOWN;
	failed += !strstr(err.message, "Read-only");
	failed += a->ops->check(a, there, &err) != -EROFS;
	failed += a->ops->retire(a, there, &err) != -EROFS;
	failed += a->ops->open(a, new, &err) != -EROFS;
	a->ops->close(a);
	return failed;
}

static void read_only_directory(void)
{
	struct remus_arbiter *a = arbiter_at(dir);
	struct remus_key there = fresh_key(), new = fresh_key();
	int status = 0;

	CU_ASSERT_EQUAL(a->ops->open(a, &there, NULL), 0);
	fflush(stdout);
	pid_t child = fork();
	if (!child)
		_exit(in_read_only_mount(&there, &new));
	waitpid(child, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == UNIT_SKIP)
		printf("\n    not tested: may not make mount namespaces here\n");
	else
		CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(ask(a, &there, REMUS_HOLDER_BACKUP), REMUS_CLAIM_WON);
	a->ops->close(a);
}

/* ---- races ---- */

#define RACES 200
enum racer { PRIMARY, BACKUP, RETIRER, RACERS };

struct course {
	_Atomic int ready[RACES];
	_Atomic int answer[RACES][RACERS];
};

static int run_racer(enum racer who, int racers, const struct remus_key *first, struct course *course)
{
	char uri[128];
	struct remus_arbiter *a = NULL;

	snprintf(uri, sizeof uri, "file:%s", dir);
	if (remus_arbiter_create(uri, &a, NULL))
		return 1;
	for (int i = 0; i < RACES; i++) {
		struct remus_key key = *first;
		key.generation += (uint64_t)i;
		course->ready[i]++;
		while (course->ready[i] < racers)
			sched_yield();
		/* a retirement is the shortest way to the entry: handicapped, so that each gets to win */
		for (int laps = i % 4; who == RETIRER && laps; laps--)
			a->ops->check(a, &key, NULL);
		if (who == RETIRER)
			course->answer[i][who] = a->ops->retire(a, &key, NULL);
		else
			course->answer[i][who] = (int)a->ops->claim(
				a, &key, who == PRIMARY ? REMUS_HOLDER_PRIMARY : REMUS_HOLDER_BACKUP, NULL);
	}
	a->ops->close(a);
	return 0;
}

static void race(int racers)
{
	struct remus_key first = {.session = {0xcd, (uint8_t)racers}, .generation = 1};
	struct remus_arbiter *a = arbiter_at(dir);
	struct course *course =
		mmap(NULL, sizeof *course, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child[RACERS];
	int won[RACERS] = {0}, undecided = 0;

	CU_ASSERT_FATAL(course != MAP_FAILED);
	for (int i = 0; i < RACES; i++) {
		struct remus_key key = first;
		key.generation += (uint64_t)i;
		CU_ASSERT_EQUAL_FATAL(a->ops->open(a, &key, NULL), 0);
	}
	fflush(stdout);
	for (int who = 0; who < racers; who++)
		if (!(child[who] = fork()))
			_exit(run_racer((enum racer)who, racers, &first, course));
	for (int who = 0; who < racers; who++) {
		int status = -1;
		waitpid(child[who], &status, 0);
		CU_ASSERT_EQUAL(status, 0);
	}
	for (int i = 0; i < RACES; i++) {
		int p = course->answer[i][PRIMARY], b = course->answer[i][BACKUP];
		CU_ASSERT(!(p == REMUS_CLAIM_WON && b == REMUS_CLAIM_WON));
		if (p == REMUS_CLAIM_WON || b == REMUS_CLAIM_WON) {
			CU_ASSERT_EQUAL(p == REMUS_CLAIM_WON ? b : p, REMUS_CLAIM_LOST);
			won[p == REMUS_CLAIM_WON ? PRIMARY : BACKUP]++;
		} else {
			CU_ASSERT(p == REMUS_CLAIM_UNKNOWN && b == REMUS_CLAIM_UNKNOWN);
			undecided++;
		}
		if (racers > RETIRER)
			CU_ASSERT_EQUAL(course->answer[i][RETIRER], 0);
	}
	if (racers <= RETIRER)
		CU_ASSERT_EQUAL(undecided, 0);
	printf("(primary %d, backup %d, retired %d) ", won[PRIMARY], won[BACKUP], undecided);
	munmap(course, sizeof *course);
	a->ops->close(a);
}

static void two_claims_race(void)
{
	race(2);
}

static void two_claims_and_a_retirement_race(void)
{
	race(3);
}

static void nothing_else_is_left(void)
{
	DIR *d = opendir(dir);
	int strange = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	for (struct dirent *e; (e = readdir(d));) {
		const char *dot = strrchr(e->d_name, '.');
		if (e->d_name[0] != '.' &&
		    (!dot || (strcmp(dot, ".open") && strcmp(dot, ".primary") && strcmp(dot, ".backup"))))
			strange++;
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
	CU_ASSERT_EQUAL(strange, 0);
	CU_ASSERT_EQUAL(rmdir(dir), 0);
}

static const struct unit_case cases[] = {
	{"first claim wins, and again", first_claim_wins},
	{"keys are apart", keys_are_apart},
	{"unknown without a key", unknown_without_a_key},
	{"open is exclusive", open_is_exclusive},
	{"retired is never won", retired_is_never_won},
	{"torn remains", torn_remains},
	{"bad directories", bad_directories},
	{"read-only directory", read_only_directory},
	{"two claims race", two_claims_race},
	{"two claims and a retirement race", two_claims_and_a_retirement_race},
	{"nothing else is left in the directory", nothing_else_is_left},
};

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(dir, sizeof dir, "%s/remus-arbiter-XXXXXX", tmp && strlen(tmp) < 32 ? tmp : "/tmp");
	if (!mkdtemp(dir)) {
		printf("no temporary directory: %s\n", dir);
		return 99;
	}
	return unit_main("arbiter-file", cases, REMUS_ARRAY_SIZE(cases));
}
