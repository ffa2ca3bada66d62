/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clients of the control socket (docs/control.md): one request each, then answers until it is done. A client
 * that doesn't read is dropped; it can hold up nothing.
 */
#include "remusd.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "client.h"
#include "remus/log.h"
#include "remus/util.h"

#define CLIENTS_MAX	   64
#define REQUEST_TIMEOUT_US 5000000u
#define REFUSED_PERIOD_US  10000000u /* between two lines in the log about those who may not */

int control_open(struct daemon *d, struct remus_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = d->options.control;

	if (strlen(path) >= sizeof address.sun_path)
		return remus_fail(err, -ENAMETOOLONG, "control socket %s: the path is longer than %zu bytes",
				  path, sizeof address.sun_path - 1);
	strcpy(address.sun_path, path);
	d->control_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->control_fd < 0)
		return remus_fail_errno(err, "control socket");
	/* A socket nobody listens on is a killed daemon's: take its place. */
	if (connect(d->control_fd, (struct sockaddr *)&address, sizeof address) == 0)
		return remus_fail(err, -EADDRINUSE, "control socket %s: another remusd is running there",
				  path);
	close(d->control_fd);
	unlink(path);
	d->control_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t old = umask(0177);
	int rc = bind(d->control_fd, (struct sockaddr *)&address, sizeof address);
	int saved = errno;
	umask(old);
	errno = saved;
	d->control_made = rc == 0;
	if (rc < 0 || listen(d->control_fd, 16) < 0)
		return remus_fail_errno(err, "control socket %s", path);
	if (d->options.group) {
		struct group *group = getgrnam(d->options.group);
		if (!group)
			return remus_fail(err, -ENOENT, "--control-group %s: no such group",
					  d->options.group);
		if (chown(path, (uid_t)-1, group->gr_gid) < 0 || chmod(path, 0660) < 0)
			return remus_fail_errno(err, "control socket %s: giving it to group %s", path,
						d->options.group);
		d->control_gid = group->gr_gid;
	}
	return 0;
}

/* ---- answers ---- */

static void drop(struct daemon *d, struct client *c)
{
	for (struct client **at = &d->clients; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	close(c->fd);
	remus_lines_clear(&c->lines);
	free(c);
}

bool client_send(struct client *c, json_t *line)
{
	REMUS_AUTO_FREE char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

	json_decref(line);
	if (!text || c->dead)
		return false;
	struct iovec parts[2] = {{text, strlen(text)}, {"\n", 1}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	ssize_t want = (ssize_t)(parts[0].iov_len + 1);
	if (sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) != want)
		c->dead = true; /* gone, or not reading */
	return !c->dead;
}

void client_ok(struct client *c, json_t *result)
{
	client_send(c, json_pack("{s:o}", "ok", result));
	c->done = true;
}

void client_error(struct client *c, int code, const char *message)
{
	client_send(c, json_pack("{s:{s:i, s:s}}", "error", "code", code, "message", message));
	c->done = true;
}

/* ---- waiting clients ---- */

static bool in_state(const struct session *s, const char *word)
{
	const char *state = json_string_value(json_object_get(s->status, "state"));
	return state && !strcmp(state, word);
}

static const char *reason_of(const struct session *s, const json_t *failure)
{
	const char *text = json_string_value(json_object_get(failure, "message"));

	if (!text)
		text = json_string_value(json_object_get(failure, "reason"));
	if (!text)
		text = json_string_value(json_object_get(s->status, "reason"));
	return text && *text ? text : "the session ended";
}

static void tell(struct client *c, struct session *s, const json_t *end)
{
	int code = (int)json_integer_value(json_object_get(end, "code"));

	if (code >= 0)
		code = -EIO;
	switch (c->wait) {
	case WAIT_PROTECT:
		if (!end && in_state(s, "protected"))
			client_ok(c, session_json(s));
		else if (end)
			client_error(c, code, reason_of(s, end));
		else
			client_send(c, json_pack("{s:o}", "progress", session_json(s)));
		return;
	case WAIT_UNPROTECT:
		if (end)
			client_ok(c, session_json(s));
		return;
	case WAIT_FAILOVER:
		if (in_state(s, "active") || in_state(s, "discarded"))
			client_ok(c, session_json(s));
		else if (end)
			client_error(c, code, reason_of(s, end));
		else if (in_state(s, "protected") && remus_now_us() > c->deadline_us)
			client_error(c, -ETIMEDOUT,
				     "the guest was not handed over in time; it is still protected here");
		return;
	case WAIT_ATTACH:
		if (end)
			client_error(c, code, reason_of(s, end));
		else if (in_state(s, "relay"))
			client_ok(c, session_json(s));
		return;
	case WAIT_DRILL: /* drill_over() answers */
		if (end)
			client_error(c, code, reason_of(s, end));
		else if (remus_now_us() > c->deadline_us)
			client_error(c, -ETIMEDOUT, "the drill did not end in time; see remusd's log");
		return;
	case WAIT_CHECK: /* control_check_done() answers */
	case WAIT_NONE:
	case WAIT_EVENTS:
		return;
	}
}

void control_check_done(struct daemon *d, struct session *s, json_t *result, int code, const char *why)
{
	for (struct client *c = d->clients; c; c = c->next) {
		if (c->wait != WAIT_CHECK || c->session_id != s->id || c->done)
			continue;
		if (result)
			client_ok(c, json_incref(result));
		else
			client_error(c, code, why);
	}
	json_decref(result);
}

void control_session_changed(struct daemon *d, struct session *s, const json_t *end)
{
	for (struct client *c = d->clients; c; c = c->next)
		if (c->wait != WAIT_NONE && c->session_id == s->id && !c->done)
			tell(c, s, end);
}

void control_session_over(struct daemon *d, struct session *s)
{
	json_t *end = json_object();

	control_session_changed(d, s, end);
	json_decref(end);
}

void control_tell_events(struct daemon *d)
{
	for (struct client *c = d->clients; c; c = c->next) {
		if (c->wait != WAIT_EVENTS || c->seen == events_last())
			continue;
		json_t *all = events_since(c->seen), *event;
		size_t i;
		c->seen = events_last();
		json_array_foreach(all, i, event) client_send(c, json_pack("{s:O}", "event", event));
		json_decref(all);
	}
}

/* ---- connections ---- */

static bool in_group(int fd, gid_t gid)
{
	gid_t groups[NGROUPS_MAX / 64]; /* with more the kernel says ERANGE: nobody needs a thousand */
	socklen_t size = sizeof groups;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size))
		return false;
	for (size_t i = 0; i < size / sizeof *groups; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

/*
 * By who connected, not only by the mode of a file that may lie in a folder of anybody's: root, our own user, and the
 * group that was named. What they were when they connected counts.
 */
static bool may_use(const struct daemon *d, int fd, struct ucred *who)
{
	socklen_t size = sizeof *who;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, who, &size))
		return false;
	if (who->uid == 0 || who->uid == geteuid())
		return true;
	return d->control_gid != (gid_t)-1 && (who->gid == d->control_gid || in_group(fd, d->control_gid));
}

/* Its one answer fits the socket's empty buffer. */
static void turn_away(int fd, const struct ucred *who)
{
	static uint64_t told_us;
	struct remus_error ignored;
	json_t *line = json_pack("{s:{s:i, s:s}}", "error", "code", -EACCES, "message",
				 "this remusd takes orders from root, its own user and the group of "
				 "--control-group only");

	remus_control_send(fd, line, 0, &ignored);
	json_decref(line);
	if (told_us && remus_now_us() - told_us < REFUSED_PERIOD_US)
		return;
	told_us = remus_now_us();
	remus_warn("control socket: uid %u (pid %d) may not use it and is turned away", (unsigned)who->uid,
		   (int)who->pid);
}

void control_accept(struct daemon *d)
{
	int fd = accept4(d->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred who = {.uid = (uid_t)-1};
	unsigned count = 0;

	if (fd < 0)
		return;
	if (!may_use(d, fd, &who)) {
		turn_away(fd, &who);
		close(fd);
		return;
	}
	for (struct client *c = d->clients; c; c = c->next)
		count++;
	struct client *c = count < CLIENTS_MAX ? calloc(1, sizeof *c) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	c->fd = fd;
	remus_lines_init(&c->lines, fd, REMUS_CONTROL_REQUEST_MAX);
	c->deadline_us = remus_now_us() + REQUEST_TIMEOUT_US;
	c->next = d->clients;
	d->clients = c;
}

static void read_request(struct daemon *d, struct client *c)
{
	struct remus_error err = REMUS_ERROR_INIT;
	json_error_t why;
	size_t length;
	char *line;

	if (c->asked) { /* nothing more is expected of it: data or EOF, it has gone */
		c->dead = true;
		return;
	}
	int rc = remus_lines_next(&c->lines, 0, &line, &length, &err);
	if (rc == -EAGAIN)
		return;
	if (rc == 0) {
		c->dead = true;
		return;
	}
	c->asked = true;
	json_t *request = rc > 0 ? json_loadb(line, length, 0, &why) : NULL;
	if (rc < 0)
		client_error(c, rc, err.message);
	else if (!json_is_object(request))
		client_error(c, -EBADMSG, "a request is one JSON object on one line");
	else if (request_check(request, &err) < 0)
		client_error(c, err.code, err.message);
	else
		verb_run(d, c, request);
	json_decref(request);
}

int control_poll_count(const struct daemon *d)
{
	int n = 0;

	for (const struct client *c = d->clients; c; c = c->next)
		n++;
	return n;
}

int control_poll_fill(const struct daemon *d, struct pollfd *fds)
{
	int n = 0;

	for (const struct client *c = d->clients; c; c = c->next)
		fds[n++] = (struct pollfd){.fd = c->fd, .events = POLLIN};
	return n;
}

void control_poll_done(struct daemon *d, const struct pollfd *fds, int count)
{
	uint64_t now = remus_now_us();

	for (struct client *c = d->clients, *next; c; c = next) {
		next = c->next;
		for (int i = 0; i < count; i++)
			if (fds[i].fd == c->fd && fds[i].revents)
				read_request(d, c);
		if (!c->asked && now > c->deadline_us)
			c->dead = true;
		if (c->dead || c->done)
			drop(d, c);
	}
}

void control_close(struct daemon *d)
{
	while (d->clients)
		drop(d, d->clients);
	if (d->control_fd >= 0)
		close(d->control_fd);
	d->control_fd = -1;
}
