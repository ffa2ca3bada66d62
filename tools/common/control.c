/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Paths and lines of the control socket; the contract is in include/remus/control.h. Must never wait beyond
 * its deadline (I8) nor keep more of a line than its bound (I11), whoever is at the other end.
 */
#include "remus/control.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include "remus/util.h"

int remus_default_run_dir(char *out, size_t size, struct remus_error *err)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int n;

	if (geteuid() == 0)
		n = snprintf(out, size, "/run/remus");
	else if (runtime && runtime[0] == '/')
		n = snprintf(out, size, "%s/remus", runtime);
	else
		n = snprintf(out, size, "/tmp/remus-%u", (unsigned)geteuid());
	if (n < 0 || (size_t)n >= size)
		return remus_fail(err, -ENAMETOOLONG, "XDG_RUNTIME_DIR=%s is too long for a socket's path",
				  runtime);
	return 0;
}

int remus_control_default_path(char out[REMUS_CONTROL_PATH_MAX], bool *named, struct remus_error *err)
{
	static const char system_path[] = "/run/remus/control";
	char dir[REMUS_CONTROL_PATH_MAX - sizeof "/control" + 1];
	const char *wanted = getenv("REMUS_CONTROL");

	if (named)
		*named = wanted != NULL;
	if (wanted && !wanted[0])
		return remus_fail(err, -EINVAL, "$REMUS_CONTROL is empty: unset it or name remusd's socket");
	if (wanted && strlen(wanted) >= REMUS_CONTROL_PATH_MAX)
		return remus_fail(err, -ENAMETOOLONG,
				  "$REMUS_CONTROL is longer than a socket's path may be (%u)",
				  REMUS_CONTROL_PATH_MAX - 1);
	if (wanted) {
		strcpy(out, wanted);
		return 0;
	}
	int rc = remus_default_run_dir(dir, sizeof dir, err);
	if (rc)
		return rc;
	snprintf(out, REMUS_CONTROL_PATH_MAX, "%s/control", dir);
	if (access(out, F_OK) && !access(system_path, F_OK))
		strcpy(out, system_path);
	return 0;
}

void remus_lines_init(struct remus_lines *lines, int fd, size_t max)
{
	*lines = (struct remus_lines){.fd = fd, .max = max};
}

void remus_lines_clear(struct remus_lines *lines)
{
	free(lines->buffer);
	*lines = (struct remus_lines){.fd = -1};
}

/* poll(2) one descriptor until @deadline; 0 = ready. */
static int wait_for(int fd, short events, uint64_t deadline, struct remus_error *err)
{
	if (!deadline)
		return remus_fail(err, -EAGAIN, "nothing at once");
	for (;;) {
		uint64_t now = remus_now_us();
		if (now >= deadline)
			return remus_fail(err, -ETIMEDOUT, "timed out");
		uint64_t left_ms =
			deadline == REMUS_CONTROL_FOREVER ? 3600000u : (deadline - now) / 1000u + 1;
		struct pollfd p = {.fd = fd, .events = events};
		int n = poll(&p, 1, left_ms > 3600000u ? 3600000 : (int)left_ms);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return remus_fail_errno(err, "poll");
	}
}

/* Move what isn't handed out yet to the front, and make room for more. */
static int make_room(struct remus_lines *l, struct remus_error *err)
{
	if (l->taken) {
		memmove(l->buffer, l->buffer + l->taken, l->used - l->taken);
		l->used -= l->taken;
		l->scanned -= l->taken;
		l->taken = 0;
	}
	if (l->used < l->size)
		return 0;
	if (l->used > l->max)
		return remus_fail(err, -EMSGSIZE, "a line of more than %zu bytes", l->max);
	size_t size = l->size ? 2 * l->size : 4096;
	if (size > l->max + 1)
		size = l->max + 1;
	char *grown = realloc(l->buffer, size);
	if (!grown)
		return remus_fail(err, -ENOMEM, "no memory for a line of %zu bytes", size);
	l->buffer = grown;
	l->size = size;
	return 0;
}

int remus_lines_next(struct remus_lines *l, uint64_t deadline_us, char **line, size_t *length,
		     struct remus_error *err)
{
	for (;;) {
		char *end = l->used > l->scanned ? memchr(l->buffer + l->scanned, '\n', l->used - l->scanned)
						 : NULL;
		if (end) {
			*end = '\0';
			*line = l->buffer + l->taken;
			*length = (size_t)(end - *line);
			l->taken = l->scanned = (size_t)(end - l->buffer) + 1;
			return 1;
		}
		l->scanned = l->used;
		if (l->ended && l->used > l->taken)
			return remus_fail(err, -EBADMSG, "closed in the middle of a line");
		if (l->ended)
			return 0;
		int rc = make_room(l, err);
		if (rc)
			return rc;
		ssize_t n = recv(l->fd, l->buffer + l->used, l->size - l->used, MSG_DONTWAIT);
		if (n > 0)
			l->used += (size_t)n;
		else if (n == 0)
			l->ended = true;
		else if (errno == EAGAIN)
			rc = wait_for(l->fd, POLLIN, deadline_us, err);
		else if (errno != EINTR)
			rc = remus_fail_errno(err, "recv");
		if (rc)
			return rc;
	}
}

int remus_control_receive(struct remus_lines *lines, uint64_t deadline_us, json_t **out,
			  struct remus_error *err)
{
	char *line;
	size_t length;
	json_error_t why;

	int rc = remus_lines_next(lines, deadline_us, &line, &length, err);
	if (rc <= 0)
		return rc;
	json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &why);
	if (!object)
		return remus_fail(err, -EBADMSG, "a line that is no JSON: %s at byte %d", why.text,
				  why.position);
	if (!json_is_object(object)) {
		json_decref(object);
		return remus_fail(err, -EBADMSG, "a line that is no JSON object");
	}
	*out = object;
	return 1;
}

int remus_control_send(int fd, const json_t *object, uint64_t deadline_us, struct remus_error *err)
{
	REMUS_AUTO_FREE char *text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (!text)
		return remus_fail(err, -ENOMEM, "no memory to write a line");
	size_t length = strlen(text), sent = 0;
	text[length++] = '\n'; /* takes the place of the NUL */
	while (sent < length) {
		ssize_t n = send(fd, text + sent, length - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		int rc = 0;
		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN)
			rc = wait_for(fd, POLLOUT, deadline_us, err);
		else if (errno != EINTR)
			rc = remus_fail_errno(err, "send");
		if (rc)
			return rc;
	}
	return 0;
}
