/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making children. The daemon is single-threaded, so a plain fork is safe: the child closes what isn't its own
 * and runs one session.
 */
#include "remusd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "remus/domain.h"
#include "remus/fault.h"
#include "remus/log.h"
#include "remus/netbuf.h"
#include "remus/util.h"

#define SWEEP_PATIENCE_MS 12000 /* a keeper that lost its receiver needs less to end its domain */
#define STANDBY_LINE	  1024	/* bytes: a program and a directory */
#define GATE_ROUNDS	  4
#define GATE_ROUND_MS	  1000

static void close_daemon_side(struct daemon *d, const struct session *mine)
{
	for (struct session *s = d->sessions; s; s = s->next)
		if (s != mine && s->fd >= 0)
			close(s->fd);
	if (d->listen_fd >= 0)
		close(d->listen_fd);
	close(d->signal_fd);
	control_close(d);
}

/* 0 in the child, its pid in the daemon. */
static pid_t make_child(struct daemon *d, struct session *s, struct child *child, struct remus_error *err)
{
	int pair[2];
	int room = 4 * MESSAGE_MAX;
	int rc = REMUS_FAULT(remusd_spawn, err);

	if (rc < 0)
		return rc;
	if (mkdir(s->dir, 0700) < 0 && errno != EEXIST)
		return remus_fail_errno(err, "directory %s", s->dir);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return remus_fail_errno(err, "socketpair");
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	pid_t pid = fork();
	if (pid < 0) {
		remus_fail_errno(err, "fork");
		close(pair[0]);
		close(pair[1]);
		return err ? err->code : -EAGAIN;
	}
	if (pid > 0) {
		close(pair[1]);
		s->pid = pid;
		s->fd = pair[0];
		s->since_us = s->heard_us = remus_now_us();
		s->outcome = false;
		record_write(&d->options, s);
		return pid;
	}
	char title[16];
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C is the daemon's business */
	close(pair[0]);
	close_daemon_side(d, s);
	snprintf(title, sizeof title, "remus-%s", role_name(s->role));
	prctl(PR_SET_NAME, title);
	remus_log_identity(s->name);
	memset(child, 0, sizeof *child);
	child->fd = pair[1];
	child->options = &d->options;
	child->session = s;
	snprintf(child->dir, sizeof child->dir, "%s", s->dir);
	return 0;
}

/* What hypervisors' libraries do is nothing for the daemon itself: they fork, take SIGCHLD, may exit. */
static void sweep(struct daemon *d, const char *dir, const char *below)
{
	struct remus_error err = REMUS_ERROR_INIT;
	char path[PATH_MAX + 32], line[STANDBY_LINE] = "";

	snprintf(path, sizeof path, "%s/%s" REMUS_STANDBY_MARK, dir, below);
	FILE *file = fopen(path, "re");
	if (!file)
		return;
	bool marked = fgets(line, sizeof line, file);
	fclose(file);
	pid_t pid = marked ? fork() : -1;
	if (pid < 0 && marked)
		remus_error_log("a killed standby's domain can't be looked for (%s): %m", line);
	if (pid)
		return;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close_daemon_side(d, NULL);
	prctl(PR_SET_NAME, "remus-sweep");
	int rc = remus_standby_sweep(line, SWEEP_PATIENCE_MS, &err);
	if (rc < 0)
		remus_error_log("what a killed standby left: %s", err.message);
	/* a Xen domain's gates' interfaces go a moment after it */
	for (int i = 0; i < GATE_ROUNDS && !strncmp(line, "xen ", 4); i++) {
		poll(NULL, 0, GATE_ROUND_MS);
		if (remus_netbuf_plug_sweep(NULL, &err) < 0)
			remus_warn("gates of interfaces that are gone: %s", err.message);
	}
	_exit(rc < 0);
}

void spawn_sweep(struct daemon *d, const char *dir)
{
	sweep(d, dir, "");
	sweep(d, dir, "drill/"); /* a copy's mark is where the copy was (replicator/drill.h) */
}

int spawn_engine(struct daemon *d, struct session *s, bool recover, struct remus_error *err)
{
	struct child child;

	s->role = ROLE_ENGINE;
	/* Without it nobody would see to the guest after a crash. One that is there already must be seen to now. */
	int rc = recover ? 0 : record_write(&d->options, s);
	if (rc < 0)
		return remus_fail(err, rc,
				  "the session can't be recorded in %s: %s. Should remusd be killed, nobody "
				  "would know of "
				  "it: make room there. The guest is untouched",
				  d->options.run_dir, strerror(-rc));
	pid_t pid = make_child(d, s, &child, err);
	if (pid == 0)
		_exit(engine_main(&child, recover));
	if (pid < 0 && !recover)
		record_remove(&d->options, s);
	return pid < 0 ? (int)pid : 0;
}

int spawn_relay(struct daemon *d, struct session *s, struct remus_error *err)
{
	struct child child;

	s->role = ROLE_RELAY;
	pid_t pid = make_child(d, s, &child, err);
	if (pid == 0)
		_exit(relay_main(&child));
	return pid < 0 ? (int)pid : 0;
}

int spawn_check(struct daemon *d, struct session *s, struct remus_error *err)
{
	struct child child;

	s->role = ROLE_CHECK;
	pid_t pid = make_child(d, s, &child, err);
	if (pid == 0) {
		child.check.id = s->check.id;
		memcpy(child.check.key, s->check.key, sizeof child.check.key);
		child.check.request = json_incref(s->request);
		_exit(check_main(&child));
	}
	return pid < 0 ? (int)pid : 0;
}

int spawn_receiver(struct daemon *d, struct session *s, int socket, struct remus_error *err)
{
	struct child child;

	s->role = ROLE_RECEIVER;
	pid_t pid = make_child(d, s, &child, err);
	if (pid == 0)
		_exit(child_exit(&child, receiver_main(&child, socket)));
	return pid < 0 ? (int)pid : 0;
}
