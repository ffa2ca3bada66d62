/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The QMP client. Bytes are cut into messages by counting braces outside of strings, so that a pretty-printing
 * monitor (-qmp-pretty) is as good as a plain one; the buffer is bounded (I11) and every wait has a deadline
 * (I8). Each command carries an id: a reply that comes after its caller gave up is skipped by the next one
 * instead of being taken for its answer.
 */
#include "config.h" /* struct ucred */

#include "qmp.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "remus/util.h"

struct remus_qmp {
	int fd;
	int dead; /* sticky -errno, 0 = alive */
	char *name;
	char version[128];
	uint64_t last_id, resumes;
	json_t *events; /* array, oldest first */
	char *buffer;
	size_t have, scanned, room;
	int depth; /* braces open at @scanned */
	bool in_string, escaped;
};

static int left_ms(uint64_t end_us)
{
	uint64_t now = remus_now_us();
	return now >= end_us ? 0 : (int)((end_us - now + 999) / 1000);
}

static int fail_dead(struct remus_qmp *q, struct remus_error *err)
{
	if (q->dead == -ECONNRESET)
		return remus_fail(err, q->dead, "QMP %s: QEMU closed the connection", q->name);
	return remus_fail(err, q->dead,
			  "QMP %s: what answers there doesn't speak QMP, or a message of it is "
			  "longer than %u bytes",
			  q->name, REMUS_QMP_MESSAGE_MAX);
}

/* Read once. 1 = got bytes, 0 = none now, negative = dead. */
static int receive(struct remus_qmp *q)
{
	if (q->have == q->room) {
		if (q->room >= REMUS_QMP_MESSAGE_MAX)
			return q->dead = -EPROTO;
		size_t room = q->room ? q->room * 2 : 4096;
		char *bigger = realloc(q->buffer, room);
		if (!bigger)
			return q->dead = -ENOMEM;
		q->buffer = bigger;
		q->room = room;
	}
	ssize_t n = recv(q->fd, q->buffer + q->have, q->room - q->have, MSG_DONTWAIT);
	if (n > 0) {
		q->have += (size_t)n;
		return 1;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return q->dead = -ECONNRESET;
}

/* The length of the first whole message in the buffer, 0 = none yet, negative = garbage. */
static ssize_t message_end(struct remus_qmp *q)
{
	for (; q->scanned < q->have; q->scanned++) {
		char c = q->buffer[q->scanned];
		if (q->depth == 0) {
			if (c == '{')
				q->depth = 1;
			else if (c != ' ' && c != '\r' && c != '\n' && c != '\t')
				return -EPROTO;
		} else if (q->escaped) {
			q->escaped = false;
		} else if (q->in_string) {
			q->escaped = c == '\\';
			q->in_string = c != '"';
		} else if (c == '"') {
			q->in_string = true;
		} else if (c == '{' || c == '[') {
			q->depth++;
		} else if ((c == '}' || c == ']') && --q->depth == 0) {
			return (ssize_t)++q->scanned;
		}
	}
	return 0;
}

/* The next whole message of the buffer or NULL; q->dead is set for garbage. */
static json_t *next_message(struct remus_qmp *q)
{
	ssize_t n = message_end(q);
	if (n == 0)
		return NULL;
	json_t *message = n > 0 ? json_loadb(q->buffer, (size_t)n, 0, NULL) : NULL;
	if (!message) {
		q->dead = -EPROTO;
		return NULL;
	}
	q->have -= (size_t)n;
	memmove(q->buffer, q->buffer + n, q->have);
	q->scanned = 0;
	return message;
}

static void queue_event(struct remus_qmp *q, json_t *message, const char *event)
{
	if (!strcmp(event, "RESUME"))
		q->resumes++;
	bool each_epoch = !strcmp(event, "RESUME") || !strcmp(event, "STOP");
	/* The place beyond the last is a SHUTDOWN's, so whoever finds it taken says nothing new. */
	size_t room = REMUS_QMP_EVENTS_MAX + !strcmp(event, "SHUTDOWN");
	if (each_epoch || json_array_size(q->events) >= room)
		json_decref(message);
	else
		json_array_append_new(q->events, message);
}

/* The next message that isn't an event, or NULL when there is none in the buffer. */
static json_t *next_answer(struct remus_qmp *q)
{
	json_t *message;
	while ((message = next_message(q))) {
		const char *event = json_string_value(json_object_get(message, "event"));
		if (!event)
			return message;
		queue_event(q, message, event);
	}
	return NULL;
}

/* Take in what the peer said before it closed: its last events count. */
static int hear_out(struct remus_qmp *q)
{
	json_t *late;
	while (!q->dead && receive(q) > 0)
		;
	while ((late = next_answer(q)))
		json_decref(late);
	return q->dead = -ECONNRESET;
}

/* Wait for the next message that isn't an event. */
static int wait_answer(struct remus_qmp *q, uint64_t end_us, json_t **out)
{
	for (;;) {
		*out = next_answer(q);
		if (*out)
			return 0;
		if (q->dead)
			return q->dead;
		int got = receive(q);
		if (got < 0)
			return got;
		if (got)
			continue;
		struct pollfd p = {.fd = q->fd, .events = POLLIN};
		int left = left_ms(end_us);
		if (!left || poll(&p, 1, left) == 0)
			return -ETIMEDOUT;
	}
}

static int send_all(struct remus_qmp *q, const char *text, int fd, uint64_t end_us)
{
	size_t length = strlen(text), done = 0;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;

	while (done < length) {
		struct iovec iov = {(void *)(uintptr_t)(text + done), length - done};
		struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
		if (fd >= 0 && done == 0) {
			memset(&control, 0, sizeof control);
			m.msg_control = &control;
			m.msg_controllen = sizeof control.bytes;
			struct cmsghdr *c = CMSG_FIRSTHDR(&m);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(sizeof(int));
			memcpy(CMSG_DATA(c), &fd, sizeof fd);
		}
		ssize_t n = sendmsg(q->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return hear_out(q);
		struct pollfd p = {.fd = q->fd, .events = POLLOUT};
		int left = left_ms(end_us);
		if (!left || poll(&p, 1, left) == 0) {
			if (done) /* half a command: the stream is of no more use */
				q->dead = -ECONNRESET;
			return -ETIMEDOUT;
		}
	}
	return 0;
}

int remus_qmp_execute(struct remus_qmp *q, const char *command, json_t *arguments, int fd, int deadline_ms,
		      json_t **reply, struct remus_error *err)
{
	uint64_t end = remus_now_us() + (uint64_t)deadline_ms * 1000u;
	json_int_t id = (json_int_t)++q->last_id;
	json_t *request = json_pack("{s:s, s:I, s:o*}", "execute", command, "id", id, "arguments", arguments);
	REMUS_AUTO_FREE char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;

	json_decref(request);
	if (!text)
		return remus_fail(err, -ENOMEM, "QMP %s: %s: out of memory", q->name, command);
	if (q->dead)
		return fail_dead(q, err);
	int rc = send_all(q, text, fd, end);
	while (rc == 0) {
		json_t *answer;
		rc = wait_answer(q, end, &answer);
		if (rc)
			break;
		json_t *value = json_object_get(answer, "return"), *error = json_object_get(answer, "error");
		if (json_integer_value(json_object_get(answer, "id")) != id) {
			json_decref(answer); /* of a command whose caller gave up */
			continue;
		}
		if (value && reply)
			*reply = json_incref(value);
		if (!value) {
			const char *why = json_string_value(json_object_get(error, "desc"));
			rc = remus_fail(err, -EREMOTEIO, "QMP %s: QEMU refuses %s: %s", q->name, command,
					why ? why : "(no reason given)");
		}
		json_decref(answer);
		return rc;
	}
	if (rc == -ETIMEDOUT)
		return remus_fail(err, rc,
				  "QMP %s: QEMU doesn't answer %s within %d ms: it hangs or its host is "
				  "overloaded",
				  q->name, command, deadline_ms);
	return fail_dead(q, err);
}

int remus_qmp_pump(struct remus_qmp *q, struct remus_error *err)
{
	int got = 1;
	while (got > 0 && !q->dead) {
		json_decref(next_answer(q)); /* an answer now is a late one */
		got = q->dead ? q->dead : receive(q);
	}
	if (q->dead == -ECONNRESET)
		hear_out(q);
	return q->dead ? fail_dead(q, err) : 0;
}

json_t *remus_qmp_next_event(struct remus_qmp *q)
{
	json_t *event = json_incref(json_array_get(q->events, 0));
	if (event)
		json_array_remove(q->events, 0);
	return event;
}

int remus_qmp_has_events(const struct remus_qmp *q)
{
	return json_array_size(q->events) > 0;
}

uint64_t remus_qmp_resumes(const struct remus_qmp *q)
{
	return q->resumes;
}

int remus_qmp_fd(const struct remus_qmp *q)
{
	return q->fd;
}

const char *remus_qmp_version(const struct remus_qmp *q)
{
	return q->version;
}

pid_t remus_qmp_peer(const struct remus_qmp *q)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	return getsockopt(q->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) ? 0 : peer.pid;
}

static int greet(struct remus_qmp *q, int deadline_ms, struct remus_error *err)
{
	json_t *greeting = NULL;
	int rc = wait_answer(q, remus_now_us() + (uint64_t)deadline_ms * 1000u, &greeting);
	if (rc == -ETIMEDOUT)
		return remus_fail(err, -EBUSY,
				  "QMP %s: no greeting within %d ms: another QMP client is "
				  "connected (a QMP socket serves one at a time), or QEMU hangs. "
				  "Close the other client or give QEMU a second -qmp socket",
				  q->name, deadline_ms);
	if (rc)
		return fail_dead(q, err);

	int major, minor, micro;
	const char *package;
	rc = json_unpack(greeting, "{s:{s:{s:{s:i, s:i, s:i}, s:s}}}", "QMP", "version", "qemu", "major",
			 &major, "minor", &minor, "micro", &micro, "package", &package);
	if (rc) {
		q->dead = -EPROTO;
	} else {
		const char *open = *package ? " (" : "", *close_ = *package ? ")" : "";
		snprintf(q->version, sizeof q->version, "%d.%d.%d%s%s%s", major, minor, micro, open, package,
			 close_);
	}
	json_decref(greeting);
	if (rc)
		return fail_dead(q, err);
	return remus_qmp_execute(q, "qmp_capabilities", NULL, -1, deadline_ms, NULL, err);
}

int remus_qmp_attach(int fd, const char *name, int deadline_ms, struct remus_qmp **out,
		     struct remus_error *err)
{
	struct remus_qmp *q = calloc(1, sizeof *q);
	if (q) {
		q->fd = fd;
		q->name = strdup(name);
		q->events = json_array();
	}
	if (!q || !q->name || !q->events) {
		if (q)
			remus_qmp_close(q);
		else
			close(fd);
		return remus_fail(err, -ENOMEM, "QMP %s: out of memory", name);
	}
	int rc = greet(q, deadline_ms, err);
	if (rc) {
		remus_qmp_close(q);
		return rc;
	}
	*out = q;
	return 0;
}

int remus_qmp_connect(const char *path, int deadline_ms, struct remus_qmp **out, struct remus_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat st;

	if (strlen(path) >= sizeof address.sun_path)
		return remus_fail(err, -ENAMETOOLONG,
				  "QMP %s: the path has more than %zu bytes, the limit of a "
				  "unix socket",
				  path, sizeof address.sun_path - 1);
	strcpy(address.sun_path, path);
	if (stat(path, &st)) {
		if (errno == ENOENT)
			return remus_fail(err, -ENOENT,
					  "QMP %s: no such socket: is that guest running here, with "
					  "-qmp unix:%s,server=on,wait=off?",
					  path, path);
		return remus_fail_errno(err, "QMP %s: stat", path);
	}
	if (!S_ISSOCK(st.st_mode))
		return remus_fail(err, -ENOTSOCK,
				  "QMP %s: not a socket: give the path of the guest's -qmp unix:", path);

	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return remus_fail_errno(err, "QMP %s: socket", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return remus_qmp_attach(fd, path, deadline_ms, out, err);
	int code = errno;
	close(fd);
	errno = code;
	if (code == ECONNREFUSED)
		return remus_fail(err, -ECONNREFUSED,
				  "QMP %s: connection refused: the QEMU that made this "
				  "socket is dead",
				  path);
	if (code == EAGAIN)
		return remus_fail(err, -EBUSY, "QMP %s: other QMP clients are connected and waiting", path);
	return remus_fail_errno(err, "QMP %s: connect", path);
}

void remus_qmp_close(struct remus_qmp *q)
{
	if (!q)
		return;
	close(q->fd);
	json_decref(q->events);
	free(q->buffer);
	free(q->name);
	free(q);
}
