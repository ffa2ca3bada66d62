/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See engine-rig.h: the supervisor of a shell under test. */
#include "engine-rig.h"

#include <stdio.h>
#include <sys/eventfd.h>

static enum remus_command next_command(void *context)
{
	struct rig_up *up = context;
	eventfd_t ignored;

	pthread_mutex_lock(&up->lock);
	enum remus_command command = atomic_load(&up->quit) ? REMUS_COMMAND_QUIT : up->command;
	up->command = REMUS_COMMAND_NONE;
	eventfd_read(up->command_fd, &ignored);
	pthread_mutex_unlock(&up->lock);
	return command;
}

static void status(void *context, const struct remus_status *s)
{
	struct rig_up *up = context;

	pthread_mutex_lock(&up->lock);
	struct remus_clock_status clock = up->status.clock;
	up->status = *s;
	if (s->role[0] == 'r') /* a relay knows nothing of it: the session's stays, as in remusd */
		up->status.clock = clock;
	pthread_cond_broadcast(&up->changed);
	pthread_mutex_unlock(&up->lock);
	if (up->echo && s->protected_now && s->epochs_committed >= 3)
		dprintf(STDOUT_FILENO, "running\n");
}

static void event(void *context, enum remus_level level, const char *kind, const char *text)
{
	struct rig_up *up = context;

	pthread_mutex_lock(&up->lock);
	unsigned i = up->events < RIG_EVENTS ? up->events++ : RIG_EVENTS - 1;
	up->event[i].level = level;
	snprintf(up->event[i].kind, sizeof up->event[i].kind, "%s", kind);
	snprintf(up->event[i].text, sizeof up->event[i].text, "%s", text);
	pthread_cond_broadcast(&up->changed);
	pthread_mutex_unlock(&up->lock);
	if (getenv("RIG_VERBOSE"))
		fprintf(stderr, "[%s] %s: %s\n", up->side, kind, text);
	if (up->echo)
		dprintf(STDOUT_FILENO, "%s\n", kind);
}

static int armed(void *context, struct remus_error *err)
{
	struct rig_up *up = context;

	pthread_mutex_lock(&up->lock);
	up->armed++;
	bool refused = up->refuse_to_arm;
	pthread_mutex_unlock(&up->lock);
	return refused ? remus_fail(err, -ENOSPC, "the record can't be written") : 0;
}

static int admit(void *context, const struct remus_hello *hello, struct remus_error *err)
{
	struct rig_up *up = context;

	pthread_mutex_lock(&up->lock);
	up->admitted++;
	pthread_mutex_unlock(&up->lock);
	return 0;
}

static const char *standby_dir(void *context)
{
	return ((struct rig_up *)context)->standby_dir;
}

void up_init(struct rig_up *up, const char *side, const char *dir)
{
	pthread_condattr_t monotonic;

	memset(up, 0, sizeof *up);
	up->side = side;
	up->standby_dir = dir;
	up->command_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&up->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&up->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

void up_clear(struct rig_up *up)
{
	close(up->command_fd);
	pthread_cond_destroy(&up->changed);
	pthread_mutex_destroy(&up->lock);
}

struct remus_supervisor up_supervisor(struct rig_up *up)
{
	return (struct remus_supervisor){
		.context = up,
		.command_fd = up->command_fd,
		.next_command = next_command,
		.status = status,
		.event = event,
		.armed = armed,
		.admit = admit,
		.standby_dir = standby_dir,
	};
}

void up_command(struct rig_up *up, enum remus_command command)
{
	pthread_mutex_lock(&up->lock);
	up->command = command;
	eventfd_write(up->command_fd, 1);
	pthread_mutex_unlock(&up->lock);
}

void up_quit(struct rig_up *up)
{
	atomic_store(&up->quit, true);
	eventfd_write(up->command_fd, 1);
}

void up_returned(struct rig_up *up, int rc, const struct remus_outcome *out, const struct remus_error *err)
{
	pthread_mutex_lock(&up->lock);
	up->returned = true;
	up->rc = rc;
	up->out = *out;
	up->err = *err;
	pthread_cond_broadcast(&up->changed);
	pthread_mutex_unlock(&up->lock);
	if (getenv("RIG_VERBOSE"))
		fprintf(stderr, "[%s] returned %d, %s, guest %s: %s%s\n", up->side, rc, out->word,
			out->guest_here ? "here" : "not here", out->reason, err->message);
}

/* ---- waiting ---- */

static unsigned count_locked(const struct rig_up *up, const char *kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < up->events; i++)
		n += !strcmp(up->event[i].kind, kind);
	return n;
}

static bool reached_locked(const struct rig_up *up, const char *kind, uint64_t epochs)
{
	if (kind)
		return count_locked(up, kind) > 0;
	if (epochs)
		return up->status.epochs_committed >= epochs;
	return up->returned;
}

static bool await(struct rig_up *up, const char *kind, uint64_t epochs)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += RIG_PATIENCE_MS / 1000;
	pthread_mutex_lock(&up->lock);
	bool come;
	while (!(come = reached_locked(up, kind, epochs)) && !up->returned)
		if (pthread_cond_timedwait(&up->changed, &up->lock, &until))
			break;
	if (!come)
		printf("\n    %s: waited in vain for %s%llu; state %s, %s\n", up->side,
		       kind ? kind : (epochs ? "epoch " : "its return "), (unsigned long long)epochs,
		       up->status.state ? up->status.state : "?", up->returned ? up->out.reason : "runs");
	pthread_mutex_unlock(&up->lock);
	return come;
}

bool up_wait_event(struct rig_up *up, const char *kind)
{
	return await(up, kind, 0);
}

bool up_wait_committed(struct rig_up *up, uint64_t epochs)
{
	return await(up, NULL, epochs);
}

bool up_wait_return(struct rig_up *up)
{
	return await(up, NULL, 0);
}

struct remus_status up_status(struct rig_up *up)
{
	pthread_mutex_lock(&up->lock);
	struct remus_status s = up->status;
	pthread_mutex_unlock(&up->lock);
	return s;
}

bool up_is_over(struct rig_up *up)
{
	pthread_mutex_lock(&up->lock);
	bool over = up->returned;
	pthread_mutex_unlock(&up->lock);
	return over;
}

/* ---- looking back ---- */

const char *up_kinds(struct rig_up *up)
{
	static char text[2][RIG_EVENTS * 24];
	static unsigned turn;
	char *out = text[turn++ % 2];
	size_t n = 0;

	out[0] = 0;
	pthread_mutex_lock(&up->lock);
	for (unsigned i = 0; i < up->events; i++)
		if (strcmp(up->event[i].kind, "failed") && strcmp(up->event[i].kind, "clock"))
			n += (size_t)snprintf(out + n, sizeof text[0] - n, "%s%s", n ? " " : "",
					      up->event[i].kind);
	pthread_mutex_unlock(&up->lock);
	return out;
}

unsigned up_count(struct rig_up *up, const char *kind)
{
	pthread_mutex_lock(&up->lock);
	unsigned n = count_locked(up, kind);
	pthread_mutex_unlock(&up->lock);
	return n;
}

const char *up_text(struct rig_up *up, const char *kind)
{
	static char text[REMUS_REASON_MAX];

	text[0] = 0;
	pthread_mutex_lock(&up->lock);
	for (unsigned i = 0; i < up->events; i++)
		if (!strcmp(up->event[i].kind, kind))
			memcpy(text, up->event[i].text, sizeof text);
	pthread_mutex_unlock(&up->lock);
	return text;
}
