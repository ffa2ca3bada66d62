/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The client's end of the control socket. Never waits without a deadline, except for a follower that asked to;
 * never trusts a line's length or content.
 */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "human.h"
#include "remus/control.h"
#include "remus/util.h"

enum ctl_exit ctl_exit_of(int code)
{
	switch (code) {
	case 0:
		return CTL_OK;
	case -ENOENT:
	case -ESRCH:
		return CTL_NO_DOMAIN;
	case -EOPNOTSUPP:
	case -EPROTONOSUPPORT:
		return CTL_REFUSED;
	case -ETIMEDOUT:
		return CTL_TIMEOUT;
	default:
		return CTL_FAILED;
	}
}

void ctl_complain(const char *message, const char *hint)
{
	fputs("remusctl: ", stderr);
	ctl_print_clean(stderr, message);
	if (hint)
		fprintf(stderr, "\nremusctl: hint: %s", hint);
	fputc('\n', stderr);
}

static int connect_failed(const char *path, int code, struct remus_error *err)
{
	switch (code) {
	case ENOENT:
	case ENOTDIR:
		return remus_fail(
			err, -code,
			"no remusd here: %s does not exist. Start remusd (systemctl start remusd), or name "
			"its socket with --control or $REMUS_CONTROL",
			path);
	case ECONNREFUSED:
		return remus_fail(
			err, -code,
			"remusd is not running: nobody listens on %s. Start it (systemctl start remusd); "
			"guests run on without it, unprotected",
			path);
	case EACCES:
	case EPERM:
		return remus_fail(err, -code,
				  "not permitted to use %s: become the user that runs remusd, or one of the "
				  "group it was given with --control-group",
				  path);
	case EAGAIN:
		return remus_fail(err, -ETIMEDOUT,
				  "remusd does not accept connections on %s: it is stuck, or asked "
				  "by too many at once",
				  path);
	default:
		return remus_fail(err, -code, "cannot connect to remusd on %s: %s", path, strerror(code));
	}
}

/* A path in /tmp that was guessed, not named, could be anybody's. */
static int check_owner(int fd, const char *path, struct remus_error *err)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return remus_fail_errno(err, "cannot tell who serves %s: SO_PEERCRED", path);
	if (peer.uid != 0 && peer.uid != geteuid())
		return remus_fail(err, -EPERM,
				  "%s is served by user %u, neither root nor you: if you trust it, "
				  "name it with --control",
				  path, (unsigned)peer.uid);
	return 0;
}

int ctl_connect(const char *path, unsigned timeout_ms, bool own, struct remus_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	uint64_t deadline = remus_now_us() + (uint64_t)timeout_ms * 1000u;
	REMUS_AUTO_CLOSE int fd = -1;

	if (strlen(path) >= sizeof address.sun_path)
		return remus_fail(err, -ENAMETOOLONG, "%s is longer than a socket's path may be (%zu)", path,
				  sizeof address.sun_path - 1);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return remus_fail_errno(err, "socket");
	/* A full backlog says EAGAIN at once; there is nothing to poll for. */
	while (connect(fd, (struct sockaddr *)&address, sizeof address)) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || remus_now_us() >= deadline)
			return connect_failed(path, errno, err);
		poll(NULL, 0, 10);
	}
	int rc = own ? check_owner(fd, path, err) : 0;
	if (rc)
		return rc;
	int connected = fd;
	fd = -1;
	return connected;
}

/* An error that remusd answered: {"code":-1,"message":"..."}. */
static int refused(const json_t *error, struct remus_error *err)
{
	json_int_t code = json_integer_value(json_object_get(error, "code"));
	const char *message = json_string_value(json_object_get(error, "message"));

	if (code >= 0 || code < -4095)
		code = -EIO;
	return remus_fail(err, (int)code, "%s",
			  message && message[0] ? message : "remusd refuses and doesn't say why");
}

/* One line: 1 = go on, 0 = the answer, negative = an error. */
static int take_line(const json_t *line, ctl_on_line *on_line, void *context, json_t **answer,
		     struct remus_error *err)
{
	static const char *const before[] = {"progress", "event"};
	json_t *ok = json_object_get(line, "ok"), *error = json_object_get(line, "error");

	if (error)
		return refused(error, err);
	if (ok) {
		*answer = json_incref(ok);
		return 0;
	}
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(before); i++) {
		const json_t *body = json_object_get(line, before[i]);
		if (body && on_line)
			on_line(context, before[i], body);
	}
	return 1;
}

static int talk_failed(int code, unsigned timeout_ms, struct remus_error *err)
{
	if (code == -ETIMEDOUT)
		return remus_fail(err, code,
				  "no answer from remusd for %u s; what was asked for may still happen",
				  timeout_ms / 1000u);
	if (code == -EPIPE || code == -ECONNRESET || code == 0)
		return remus_fail(err, -ECONNRESET,
				  "remusd closed the connection before it answered: it ended or crashed");
	return remus_error_prefix(err, "remusd's answer makes no sense");
}

int ctl_talk(int fd, const json_t *request, unsigned timeout_ms, ctl_on_line *on_line, void *context,
	     json_t **answer, struct remus_error *err)
{
	struct remus_error why = REMUS_ERROR_INIT;
	struct remus_lines lines;
	uint64_t wait = (uint64_t)timeout_ms * 1000u;

	if (!err)
		err = &why;
	int rc = remus_control_send(fd, request, remus_now_us() + (wait ? wait : 10000000u), err);
	/* A daemon that closes early may have said why: read on after a broken pipe. */
	if (rc && rc != -EPIPE)
		return talk_failed(rc, timeout_ms, err);
	remus_lines_init(&lines, fd, REMUS_CONTROL_ANSWER_MAX);
	for (;;) {
		json_t *line = NULL;
		rc = remus_control_receive(&lines, wait ? remus_now_us() + wait : REMUS_CONTROL_FOREVER,
					   &line, err);
		if (rc <= 0) {
			rc = talk_failed(rc, timeout_ms, err);
			break;
		}
		rc = take_line(line, on_line, context, answer, err);
		json_decref(line);
		if (rc <= 0)
			break;
	}
	remus_lines_clear(&lines);
	return rc;
}

static const char *hint_for(const struct ctl_call *call, enum ctl_exit status)
{
	if (status == CTL_NO_DOMAIN && json_object_get(call->request, "domain") && !call->verb->locator)
		return "`remusctl list` shows the domains of this host";
	if (status == CTL_TIMEOUT && strcmp(call->verb->request, "status"))
		return "`remusctl status` shows how things stand; --timeout waits longer";
	return NULL;
}

enum ctl_exit ctl_ask(const struct ctl_call *call, ctl_on_line *on_line, void *context, json_t **answer)
{
	struct remus_error err = REMUS_ERROR_INIT;
	char fallback[REMUS_CONTROL_PATH_MAX];
	const char *path = ctl_text(call, "control");
	bool named = path != NULL, follow = json_is_true(json_object_get(call->request, "follow"));
	unsigned timeout_ms = (unsigned)ctl_number(call, "timeout", call->verb->timeout_s) * 1000u;

	if (!path && remus_control_default_path(fallback, &named, &err)) {
		ctl_complain(err.message, NULL);
		return CTL_USAGE;
	}
	REMUS_AUTO_CLOSE int fd = ctl_connect(path ? path : fallback, timeout_ms, !named, &err);
	if (fd < 0) {
		ctl_complain(err.message, NULL);
		return CTL_NO_DAEMON;
	}
	int rc = ctl_talk(fd, call->request, follow ? 0 : timeout_ms, on_line, context, answer, &err);
	if (on_line)
		on_line(context, NULL, NULL);
	if (!rc)
		return CTL_OK;
	enum ctl_exit status = ctl_exit_of(rc);
	ctl_complain(err.message, hint_for(call, status));
	return status;
}

enum ctl_exit ctl_ask_and_say(const struct ctl_call *call, const char *outcome)
{
	json_t *answer = NULL;
	enum ctl_exit status = ctl_ask(call, NULL, NULL, &answer);

	if (status)
		return status;
	ctl_print_clean(stdout, json_string_value(json_object_get(call->request, "domain")));
	printf(": %s\n", outcome);
	json_decref(answer);
	return CTL_OK;
}
