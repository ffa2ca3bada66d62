/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See drill.h. What both threads touch is under the lock; the copy itself belongs to one at a time, as `stage` says. */
#include "drill.h"

#include "agent.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "remus/log.h"
#include "remus/util.h"

#define COPY_MS	    30000u /* a shell's thread that doesn't copy for so long hangs, and is killed by its daemon */
#define CONSOLE_MAX 16384u /* bytes of it that a result holds */

enum stage {
	BUILDING, /* the thread's */
	BUILT,	  /* the shell's, to copy */
	COPIED,	  /* the thread's again */
	OVER,
};

struct shell_drill {
	const struct remus_standby_ops *ops;
	char *description, *name;
	char dir[PATH_MAX];
	uint64_t run_ms;
	pthread_t thread;
	pthread_mutex_t lock;
	int to_shell, to_thread; /* eventfd */
	enum stage stage;
	atomic_bool cancelled; /* the copy's backend looks at it, too */
	bool abandoned;
	struct remus_standby *copy;
	struct shell_drill_renewal renewal;
	struct remus_drill result;
	struct remus_error failure; /* code 0 = none */
};

static void free_drill(struct shell_drill *d)
{
	explicit_bzero(&d->renewal, sizeof d->renewal);
	if (d->to_shell >= 0)
		close(d->to_shell);
	if (d->to_thread >= 0)
		close(d->to_thread);
	pthread_mutex_destroy(&d->lock);
	free(d->result.console);
	free(d->description);
	free(d->name);
	free(d);
}

/* ---- the thread's side ---- */

static bool stopped(struct shell_drill *d)
{
	pthread_mutex_lock(&d->lock);
	bool stop = d->cancelled || d->failure.code;
	pthread_mutex_unlock(&d->lock);
	return stop;
}

static void fail(struct shell_drill *d, int code, const char *what, const char *why)
{
	pthread_mutex_lock(&d->lock);
	if (!d->failure.code)
		remus_fail(&d->failure, code, "%s%s%s", what, *why ? ": " : "", why);
	pthread_mutex_unlock(&d->lock);
}

/* Directories aren't nested, and links aren't followed. */
static void remove_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(path);
}

static void build(struct shell_drill *d)
{
	struct remus_error err = REMUS_ERROR_INIT;
	uint64_t began = remus_now_us();
	char name[160];

	snprintf(name, sizeof name, "%.140s-drill", d->name);
	struct remus_standby_config config = {
		.run_dir = d->dir, .name = name, .mortal = true, .given_up = &d->cancelled};
	remove_dir(d->dir);
	if (mkdir(d->dir, 0700)) {
		remus_fail_errno(&err, "mkdir %s", d->dir);
		fail(d, err.code, "the copy", err.message);
		return;
	}
	if (d->ops->create(d->description, &config, &d->copy, &err) < 0)
		fail(d, err.code, "the copy could not be built", err.message);
	d->result.build_us = remus_now_us() - began;
}

/* Let the shell copy, and wait until it has. */
static void await_copy(struct shell_drill *d)
{
	uint64_t end = remus_now_us() + COPY_MS * UINT64_C(1000);
	struct pollfd told = {.fd = d->to_thread, .events = POLLIN};
	enum stage stage = BUILT;
	eventfd_t ignored;

	pthread_mutex_lock(&d->lock);
	d->stage = BUILT;
	pthread_mutex_unlock(&d->lock);
	eventfd_write(d->to_shell, 1);
	while (stage == BUILT && !stopped(d) && remus_now_us() < end) {
		poll(&told, 1, 100);
		eventfd_read(d->to_thread, &ignored);
		pthread_mutex_lock(&d->lock);
		stage = d->stage;
		pthread_mutex_unlock(&d->lock);
	}
	pthread_mutex_lock(&d->lock);
	d->stage = COPIED; /* no copying from here on */
	pthread_mutex_unlock(&d->lock);
	if (stage == BUILT)
		fail(d, -ETIMEDOUT, "the image was not copied in time", "");
}

/* Renew the copy as an activated guest would be, with a seed of its own: @guest is the copy. */
static void renew(struct shell_drill *d, struct remus_guest *guest)
{
	shell_agent_open(guest);
	if (*d->renewal.fingerprint)
		shell_agent_renew(guest->agent, d->renewal.seed, &d->renewal.truth);
	explicit_bzero(d->renewal.seed, sizeof d->renewal.seed);
}

/* An agent that was there must answer in the copy too: it would be asked in a failover. */
static void judge_agent(struct shell_drill *d, const struct remus_guest *guest)
{
	struct remus_agent_status *a = &d->result.agent;

	shell_agent_status(guest->agent, a);
	if (d->renewal.agent_known && a->phase != REMUS_RENEWAL_DONE && !stopped(d))
		fail(d, -ETIMEDOUT, "the copy runs, but the agent in it has not answered", a->why);
}

static void watch(struct shell_drill *d, struct remus_guest *guest)
{
	uint64_t began = remus_now_us(), end = began + d->run_ms * 1000, now = began;
	char why[REMUS_TEXT_MAX] = "", what[64], news[REMUS_REASON_MAX];

	while (now < end && !stopped(d)) {
		struct pollfd fds[3] = {
			{.fd = d->to_thread, .events = POLLIN},
			{.fd = d->ops->event_fd(d->copy), .events = POLLIN},
			{.fd = shell_agent_fd(guest->agent), .events = POLLIN},
		};
		int wait_ms = now + 100000 < end ? 100 : (int)((end - now) / 1000) + 1;
		poll(fds, 3, shell_agent_wait(guest->agent, wait_ms));
		now = remus_now_us();
		shell_agent_turn(guest->agent, news); /* what came of it is in its status */
		if (d->ops->next_event(d->copy, why) == REMUS_DOMAIN_NONE)
			continue;
		snprintf(what, sizeof what, "the copy ended %.1f s after it was activated",
			 (double)(now - began) / 1e6);
		fail(d, -ESRCH, what, why);
	}
	d->result.ran_us = now - began;
}

static void set_time(struct shell_drill *d)
{
	const struct shell_drill_renewal *r = &d->renewal;
	struct remus_error err = REMUS_ERROR_INIT;

	if (r->clock_known && d->ops->set_time &&
	    d->ops->set_time(d->copy, &r->truth, &r->guest_clock, &err) < 0)
		remus_warn("the drill's copy: %s", err.message);
}

static void run(struct shell_drill *d)
{
	struct remus_guest guest = {.standby = d->copy};
	struct remus_error err = REMUS_ERROR_INIT;
	uint64_t began = remus_now_us();

	set_time(d);
	if (d->ops->activate(d->copy, &err) < 0) {
		fail(d, err.code, "the copy could not be activated", err.message);
		return;
	}
	d->result.activate_us = remus_now_us() - began;
	renew(d, &guest);
	watch(d, &guest);
	judge_agent(d, &guest);
	shell_agent_close(&guest);
}

/* What the copy wrote since it woke up, from its beginning: for those who look whether it is the guest they know. */
static void read_console(struct shell_drill *d)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof path, "%s/%s", d->dir, REMUS_STANDBY_CONSOLE);
	REMUS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char *text = fd < 0 ? NULL : malloc(CONSOLE_MAX + 1);
	ssize_t n = text ? read(fd, text, CONSOLE_MAX) : 0;
	if (n < 0)
		n = 0;
	for (ssize_t i = 0; i < n; i++)
		if (text[i] != '\n' && text[i] != '\t' && !isprint((unsigned char)text[i]))
			text[i] = text[i] == '\r' ? ' ' : '?';
	if (text)
		text[n] = 0;
	d->result.console = text;
}

static void say(struct shell_drill *d)
{
	struct remus_drill *r = &d->result;

	pthread_mutex_lock(&d->lock);
	r->passed = !d->failure.code;
	if (r->passed)
		snprintf(r->text, sizeof r->text,
			 "a copy of epoch %llu ran here for %.1f s, cut off from everything, and was "
			 "destroyed; %s",
			 (unsigned long long)r->epoch, (double)r->ran_us / 1e6,
			 r->agent.phase == REMUS_RENEWAL_DONE ? "the agent in it answered"
							      : "nobody in it was asked how it fares");
	else
		snprintf(r->text, sizeof r->text, "the drill failed: %s", d->failure.message);
	d->stage = OVER;
	bool mine = d->abandoned;
	pthread_mutex_unlock(&d->lock);
	if (mine)
		free_drill(d);
	else
		eventfd_write(d->to_shell, 1);
}

static void *worker(void *context)
{
	struct shell_drill *d = context;

	build(d);
	if (!stopped(d))
		await_copy(d);
	if (!stopped(d))
		run(d);
	if (d->copy) {
		d->ops->destroy(d->copy);
		d->ops->close(d->copy);
	}
	read_console(d);
	remove_dir(d->dir);
	say(d);
	return NULL;
}

/* ---- the shell's side ---- */

int shell_drill_start(const struct shell_drill_wanted *wanted, struct shell_drill **out,
		      struct remus_error *err)
{
	if (!wanted->ops->copy_into)
		return remus_fail(err, -EOPNOTSUPP,
				  "%s guests can't be copied in this version: a drill of one is a planned "
				  "failover and back",
				  wanted->ops->backend);
	struct shell_drill *d = calloc(1, sizeof *d);
	if (!d)
		return remus_fail(err, -ENOMEM, "drill: no memory");
	d->ops = wanted->ops;
	d->run_ms = wanted->run_ms;
	d->description = strdup(wanted->description);
	d->name = strdup(wanted->name);
	snprintf(d->dir, sizeof d->dir, "%s/drill", wanted->dir);
	pthread_mutex_init(&d->lock, NULL);
	d->to_shell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	d->to_thread = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = d->to_shell < 0 || d->to_thread < 0 ? errno : 0;
	if (rc == 0 && (!d->description || !d->name))
		rc = ENOMEM;
	if (rc == 0)
		rc = pthread_create(&d->thread, NULL, worker, d);
	if (rc) {
		free_drill(d);
		return remus_fail(err, -rc, "drill: cannot start its thread: %s", strerror(rc));
	}
	*out = d;
	return 0;
}

int shell_drill_fd(const struct shell_drill *d)
{
	return d->to_shell;
}

enum shell_drill_turn shell_drill_turn(struct shell_drill *d)
{
	eventfd_t ignored;

	eventfd_read(d->to_shell, &ignored);
	pthread_mutex_lock(&d->lock);
	enum stage stage = d->stage;
	pthread_mutex_unlock(&d->lock);
	return stage == OVER ? SHELL_DRILL_OVER : stage == BUILT ? SHELL_DRILL_COPY : SHELL_DRILL_WAIT;
}

void shell_drill_copy(struct shell_drill *d, struct remus_standby *from, struct shell_drill_renewal *renewal)
{
	struct remus_error err = REMUS_ERROR_INIT;
	uint64_t began = remus_now_us();

	pthread_mutex_lock(&d->lock); /* also keeps the thread from giving up half-way */
	if (d->stage == BUILT) {
		if (d->ops->copy_into(from, d->copy, &d->result.epoch, &err) < 0 && !d->failure.code)
			remus_fail(&d->failure, err.code, "copying the image: %s", err.message);
		d->renewal = *renewal;
		snprintf(d->result.fingerprint, sizeof d->result.fingerprint, "%s", renewal->fingerprint);
		d->result.copy_us = remus_now_us() - began;
		d->stage = COPIED;
	}
	pthread_mutex_unlock(&d->lock);
	explicit_bzero(renewal, sizeof *renewal);
	eventfd_write(d->to_thread, 1);
}

const struct remus_drill *shell_drill_result(const struct shell_drill *d)
{
	return &d->result;
}

void shell_drill_cancel(struct shell_drill *d, const char *why)
{
	pthread_mutex_lock(&d->lock);
	d->cancelled = true;
	if (!d->failure.code)
		remus_fail(&d->failure, -ECANCELED, "%s", why);
	pthread_mutex_unlock(&d->lock);
	eventfd_write(d->to_thread, 1);
}

void shell_drill_destroy(struct shell_drill *d)
{
	if (!d)
		return;
	shell_drill_cancel(d, "its session is over");
	pthread_mutex_lock(&d->lock);
	bool over = d->stage == OVER;
	d->abandoned = !over;
	pthread_t thread = d->thread;
	if (!over)
		pthread_detach(thread);
	pthread_mutex_unlock(&d->lock);
	if (!over)
		return;
	pthread_join(thread, NULL);
	free_drill(d);
}
