/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See hooks.h. */
#include "hooks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "say.h"

void hooks_init(struct hooks *h, const char *dir, unsigned limit_s)
{
	memset(h, 0, sizeof *h);
	h->dir = dir;
	h->limit_s = limit_s;
	h->pidfd = -1;
}

bool hooks_name_ok(const char *name)
{
	static const char *const left_behind[] = {".dpkg-old", ".dpkg-dist", ".dpkg-new", ".dpkg-tmp",
						  ".rpmsave",  ".rpmnew",    ".bak",	  ".swp",
						  ".disabled", NULL};
	size_t n = strlen(name);

	if (name[0] == '.' || n >= REMUS_HOOK_NAME ||
	    n != strspn(name, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-"))
		return false;
	for (const char *const *end = left_behind; *end; end++)
		if (n > strlen(*end) && !strcmp(name + n - strlen(*end), *end))
			return false;
	return true;
}

/* Nobody but root (or who runs us, in a test) may decide what root runs. */
static bool trusted(int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, 0) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return false;
	if ((st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & 0022))
		return true;
	say("hook %s isn't run: others than root can write it", name);
	return false;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void list(struct hooks *h)
{
	DIR *dir = opendir(h->dir);
	struct dirent *entry;

	h->names = h->next = 0;
	while (dir && (entry = readdir(dir))) {
		if (!hooks_name_ok(entry->d_name) || !trusted(dirfd(dir), entry->d_name))
			continue;
		if (h->names == HOOKS_MAX) {
			say("%s has more than %d hooks: the others aren't run", h->dir, HOOKS_MAX);
			break;
		}
		strcpy(h->name[h->names++], entry->d_name);
	}
	if (dir)
		closedir(dir);
	qsort(h->name, h->names, sizeof h->name[0], by_name);
}

static void run(const struct hooks *h, const char *name)
{
	char path[4096];
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	setpgid(0, 0);
	/* the agent's privileges before the scheduler and the OOM killer are not for what a hook starts */
	setpriority(PRIO_PROCESS, 0, 0);
	int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (oom >= 0 && write(oom, "0", 1) < 0)
		say("oom_score_adj: %s", strerror(errno));
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (null >= 0)
		dup2(null, 0); /* what it prints goes where the agent's words go */
	if (snprintf(path, sizeof path, "%s/%s", h->dir, name) < (int)sizeof path && chdir("/") == 0)
		execl(path, path, (char *)NULL);
	_exit(127);
}

static void failed(struct hooks *h)
{
	if (!h->result.failed++)
		snprintf(h->result.first, sizeof h->result.first, "%s", h->name[h->next - 1]);
}

/* Start the next one that can be started; false when there is none. */
static bool start_next(struct hooks *h)
{
	while (h->next < h->names) {
		const char *name = h->name[h->next++];

		h->result.ran++;
		h->pid = fork();
		if (h->pid == 0)
			run(h, name);
		h->pidfd = h->pid > 0 ? (int)syscall(SYS_pidfd_open, h->pid, 0) : -1;
		if (h->pid > 0)
			setpgid(h->pid, h->pid); /* whichever of us is first */
		h->deadline_ns = clock_monotonic_ns() + (uint64_t)h->limit_s * 1000000000u;
		if (h->pid > 0)
			return true;
		h->pid = 0;
		say("hook %s can't be started: %s", name, strerror(errno));
		failed(h);
	}
	return false;
}

static void set_number(const char *name, int64_t value)
{
	char text[32];

	snprintf(text, sizeof text, "%" PRId64, value);
	setenv(name, text, 1);
}

bool hooks_begin(struct hooks *h, uint64_t id, const struct remus_renewed *renewed)
{
	char text[32];

	hooks_stop(h);
	h->id = id;
	h->result = (struct remus_hooks){.first = "-"};
	snprintf(text, sizeof text, "%016" PRIx64, id);
	setenv("REMUS_ACTIVATION", text, 1);
	setenv("REMUS_RESEEDED", renewed->reseed ? "0" : "1", 1);
	setenv("REMUS_CLOCK", remus_clock_word(renewed->clock), 1);
	set_number("REMUS_CLOCK_STEP_NS", renewed->step_ns);
	set_number("REMUS_CLOCK_OFFSET_NS", renewed->offset_ns);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 0);
	list(h);
	return start_next(h);
}

int hooks_fd(const struct hooks *h)
{
	return h->pid ? h->pidfd : -1;
}

uint64_t hooks_due(const struct hooks *h)
{
	return h->pid ? h->deadline_ns : UINT64_MAX;
}

static void collected(struct hooks *h)
{
	if (h->pidfd >= 0)
		close(h->pidfd);
	h->pidfd = -1;
	h->pid = 0;
	h->late = false;
}

bool hooks_turn(struct hooks *h)
{
	int status;

	if (!h->pid)
		return false;
	if (clock_monotonic_ns() >= h->deadline_ns) {
		kill(-h->pid, SIGKILL);
		h->late = true;
		h->deadline_ns =
			UINT64_MAX; /* one that sleeps in the kernel may take its time all the same */
	}
	if (waitpid(h->pid, &status, WNOHANG) != h->pid)
		return false;
	kill(-h->pid, SIGKILL); /* what it left in its group; daemons have a group of their own */
	const char *name = h->name[h->next - 1];
	if (h->late)
		say("hook %s was killed: it took more than %u s", name, h->limit_s);
	else if (status)
		say("hook %s failed (%s %d)", name, WIFSIGNALED(status) ? "signal" : "status",
		    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	if (h->late || status)
		failed(h);
	collected(h);
	return !start_next(h);
}

void hooks_stop(struct hooks *h)
{
	if (!h->pid)
		return;
	kill(-h->pid, SIGKILL);
	waitpid(h->pid, NULL, WNOHANG);
	collected(h);
}
