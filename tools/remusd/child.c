/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The child's end of the socket pair. Messages are JSON objects, one per SOCK_SEQPACKET record, so that a dead
 * child's last words ("armed") are read whole or not at all.
 *
 * When the daemon dies the pair shows EOF: a session under way is ended in order (nobody could steer it any
 * more), and the guest's network is forwarded by an orphan until the guest ends or a new daemon takes over. A receiver that
 * waits for its arbiter goes on with that (orphan.c).
 */
#include "remusd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "remus/log.h"
#include "remus/util.h"

#define ADMIT_DEADLINE_MS 5000

int message_send(int fd, json_t *message)
{
	REMUS_AUTO_FREE char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;

	json_decref(message);
	if (!text)
		return -ENOMEM;
	size_t length = strlen(text);
	if (length > MESSAGE_MAX)
		return -EMSGSIZE;
	return send(fd, text, length, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

json_t *message_receive(int fd, int *error)
{
	static char buffer[MESSAGE_MAX + 1];
	ssize_t n = recv(fd, buffer, MESSAGE_MAX, MSG_DONTWAIT);

	*error = 0;
	if (n <= 0) {
		*error = n < 0 ? -errno : 0;
		return NULL;
	}
	json_t *message = json_loadb(buffer, (size_t)n, 0, NULL);
	if (!message)
		*error = -EBADMSG;
	return message;
}

static void put_in_place(struct child *c, int fd)
{
	if (fd < 0)
		return;
	dup2(fd, c->fd);
	fcntl(c->fd, F_SETFD, FD_CLOEXEC);
	close(fd);
}

static bool undecided(const struct child *c)
{
	return c->session->role == ROLE_RECEIVER &&
	       (!strcmp(c->state, "claiming") || !strcmp(c->state, "activating"));
}

/* What the next daemon must know is in the record, which is ours now. */
static void record_orphan(struct child *c)
{
	c->session->pid = getpid();
	record_amend(c->options, c->session, c->state);
}

static void daemon_is_gone(struct child *c)
{
	int quiet = undecided(c) ? orphan_listen(c->dir) : -1;

	c->orphan = true;
	c->waits_for_another = quiet >= 0;
	if (c->waits_for_another) {
		remus_warn("the daemon is gone: asking the arbiter on, this host may have all that is left "
			   "of the "
			   "guest");
		record_orphan(c);
	} else {
		remus_warn("the daemon is gone: ending protection, forwarding the guest's network on");
		quiet = eventfd(0, EFD_CLOEXEC); /* so that poll(2) doesn't spin on the EOF */
	}
	put_in_place(c, quiet);
}

static void look_for_another(struct child *c)
{
	int fd = c->waits_for_another ? orphan_adopted(c->fd, c->dir) : -1;

	if (fd < 0)
		return;
	put_in_place(c, fd);
	c->orphan = c->waits_for_another = false;
	remus_info("a new daemon has taken this process over");
}

static enum remus_command next_command(void *context)
{
	struct child *c = context;
	int error;

	if (c->orphan) {
		look_for_another(c);
		return REMUS_COMMAND_NONE;
	}
	json_t *message = message_receive(c->fd, &error);
	if (!message && error == 0) {
		daemon_is_gone(c);
		return c->waits_for_another ? REMUS_COMMAND_NONE : REMUS_COMMAND_QUIT;
	}
	if (!message)
		return REMUS_COMMAND_NONE;
	static const struct {
		const char *word;
		enum remus_command command;
	} commands[] = {
		{"unprotect", REMUS_COMMAND_UNPROTECT}, {"failover", REMUS_COMMAND_FAILOVER},
		{"drill", REMUS_COMMAND_DRILL},		{"force", REMUS_COMMAND_FORCE},
		{"quit", REMUS_COMMAND_QUIT},
	};
	const char *word = json_string_value(json_object_get(message, "cmd"));
	if (word && !strcmp(word, "check") && !c->check.request &&
	    key_parse(json_string_value(json_object_get(message, "key")), c->check.key) == 0) {
		c->check.id = (unsigned)json_integer_value(json_object_get(message, "id"));
		c->check.request = json_incref(json_object_get(message, "request"));
		json_decref(message);
		return REMUS_COMMAND_CHECK;
	}
	enum remus_command found = REMUS_COMMAND_NONE;
	for (size_t i = 0; word && i < REMUS_ARRAY_SIZE(commands); i++)
		if (!strcmp(word, commands[i].word))
			found = commands[i].command;
	if (found == REMUS_COMMAND_DRILL)
		c->drill_ms = drill_ms(message);
	json_decref(message);
	if (found == REMUS_COMMAND_QUIT)
		c->quit = true;
	return found;
}

static void send_status(void *context, const struct remus_status *status)
{
	struct child *c = context;

	/* An orphan writes the record itself. */
	if (status->guest_pid)
		c->session->guest_pid = status->guest_pid;
	if (status->locator[0])
		snprintf(c->session->locator, sizeof c->session->locator, "%s", status->locator);
	bool changed = strcmp(c->state, status->state) != 0;
	snprintf(c->state, sizeof c->state, "%s", status->state);
	if (c->waits_for_another && changed)
		record_orphan(c);
	message_send(c->fd, json_pack("{s:s, s:o}", "t", "status", "status", status_json(status)));
}

static void send_event(void *context, enum remus_level level, const char *kind, const char *text)
{
	static const char *const words[] = {"info", "warning", "error"};
	struct child *c = context;

	if (message_send(c->fd, json_pack("{s:s, s:s, s:s, s:s}", "t", "event", "level", words[level], "kind",
					  kind, "text", text)) < 0)
		remus_warn("%s: %s", kind, text); /* no daemon to tell: at least the log has it */
}

static void send_armed(void *context)
{
	struct child *c = context;

	c->session->armed = true;
	message_send(c->fd, json_pack("{s:s}", "t", "armed"));
}

static int admit(void *context, const struct remus_hello *hello, struct remus_error *err)
{
	struct child *c = context;
	struct remus_key key = {.generation = hello->generation};
	char hex[2 * REMUS_SESSION_SIZE + 1];
	int error;

	memcpy(key.session, hello->session, sizeof key.session);
	key_hex(&key, hex);
	message_send(c->fd, json_pack("{s:s, s:b, s:s, s:I, s:s, s:s, s:s, s:I}", "t", "admit", "check",
				      (hello->features_required & REMUS_FEATURE_CHECK) != 0, "session", hex,
				      "generation", (json_int_t)hello->generation, "name", hello->domain,
				      "arbiter", hello->arbiter, "egress", hello->egress, "interval_ms",
				      (json_int_t)hello->interval_ms));
	struct pollfd pfd = {.fd = c->fd, .events = POLLIN};
	if (poll(&pfd, 1, ADMIT_DEADLINE_MS) <= 0)
		return remus_fail(err, -ETIMEDOUT, "the backup's daemon does not answer its receiver");
	json_t *reply = message_receive(c->fd, &error);
	if (!reply)
		return remus_fail(err, -EPIPE, "the backup's daemon is gone");
	const char *dir = json_string_value(json_object_get(reply, "dir"));
	const char *refused = json_string_value(json_object_get(reply, "refused"));
	int rc = 0;
	if (dir)
		snprintf(c->dir, sizeof c->dir, "%s", dir);
	else
		rc = remus_fail(err, (int)json_integer_value(json_object_get(reply, "code")), "%s",
				refused ? refused : "refused by the backup's daemon");
	if (rc > 0)
		rc = -EPROTO;
	json_decref(reply);
	return rc;
}

static const char *standby_dir(void *context)
{
	return ((struct child *)context)->dir;
}

static uint64_t how_long(void *context)
{
	return ((struct child *)context)->drill_ms;
}

static void drilled(void *context, const struct remus_drill *drill)
{
	message_send(((struct child *)context)->fd,
		     json_pack("{s:s, s:o}", "t", "drilled", "result", drill_json(drill)));
}

void child_supervisor(struct child *child, struct remus_supervisor *out)
{
	*out = (struct remus_supervisor){
		.context = child,
		.command_fd = child->fd,
		.next_command = next_command,
		.status = send_status,
		.event = send_event,
		.armed = send_armed,
		.admit = admit,
		.standby_dir = standby_dir,
		.drill_ms = how_long,
		.drilled = drilled,
	};
}

/* What a killed child would leave where the guest's sockets are. */
void child_sockets(struct child *child, const struct remus_nic *nic, int nics)
{
	json_t *paths = json_array();

	for (int i = 0; i < nics; i++)
		json_array_append_new(paths, json_string(nic[i].host_path));
	message_send(child->fd, json_pack("{s:s, s:o}", "t", "sockets", "paths", paths));
}

void child_failed(struct child *child, const struct remus_error *err)
{
	message_send(child->fd,
		     json_pack("{s:s, s:i, s:s}", "t", "failed", "code", err->code, "message", err->message));
}

int child_exit(struct child *child, int status)
{
	message_send(child->fd, json_pack("{s:s, s:i}", "t", "exit", "status", status));
	return status;
}

void child_outcome(struct child *child, const struct remus_outcome *out)
{
	if (child->orphan) { /* no daemon to keep the record */
		child->session->armed = false;
		child->session->outcome = true;
		child->session->pid = getpid();
		child->session->active |= out->guest_here && child->session->role == ROLE_RECEIVER;
		record_amend(child->options, child->session, out->word);
		return;
	}
	message_send(child->fd,
		     json_pack("{s:s, s:s, s:s, s:i, s:b}", "t", "outcome", "word", out->word, "reason",
			       out->reason, "code", out->code, "guest_here", out->guest_here));
}
