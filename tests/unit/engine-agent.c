/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See engine-rig.h: an agent of the fake guest, on both hosts. It is the shipping one (tools/remus-agent/agent.c) but for
 * what it does to a kernel: that is counted.
 */
#include "engine-rig.h"

#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "tools/remus-agent/agent.h"
#include "tools/remus-agent/clock.h"

struct talk {
	struct rig_agent *rig;
	int fd;
	struct agent agent;
	struct remus_message_stream in;
};

static uint64_t world_monotonic(void *context)
{
	return clock_monotonic_ns();
}

/* The guest's clock stopped as long as the failover took, and then some. */
static int64_t world_realtime(void *context)
{
	struct talk *t = context;
	return clock_realtime_ns() - atomic_load(&t->rig->behind_ns);
}

static void world_send(void *context, const struct remus_message *m)
{
	struct talk *t = context;
	char line[REMUS_MESSAGE_MAX];
	int n = remus_message_encode(m, line);

	if (m->verb == REMUS_MESSAGE_RENEWED)
		atomic_store(&t->rig->renewed_us, remus_now_us());
	if (n > 0 && send(t->fd, line, (size_t)n, MSG_NOSIGNAL) != n)
		perror("agent");
}

static int world_reseed(void *context, const uint8_t seed[REMUS_SEED_SIZE])
{
	struct talk *t = context;
	atomic_fetch_add(&t->rig->reseeds, 1);
	return 0;
}

static int world_adjust(void *context, int64_t step, int64_t slew)
{
	struct talk *t = context;
	atomic_fetch_sub(&t->rig->behind_ns, step);
	return 0;
}

static int world_stolen(void *context, struct remus_steal *out)
{
	(void)context;
	*out = (struct remus_steal){.stolen_us = 1000, .vcpus = 1};
	return 0;
}

static void world_hooks(void *context, uint64_t id, const struct remus_renewed *renewed)
{
	struct talk *t = context;
	agent_hooks_ended(&t->agent, id, &(struct remus_hooks){.ran = 2, .failed = 1, .first = "10-late"});
}

static void begin_talk(struct talk *t, const struct agent_world *world, int fd)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = fd;
	memset(&t->in, 0, sizeof t->in);
	agent_init(&t->agent, world);
}

static void hear(struct talk *t)
{
	char bytes[4096];
	ssize_t n = recv(t->fd, bytes, sizeof bytes, MSG_DONTWAIT);

	if (n <= 0) {
		close(t->fd);
		t->fd = -1;
	}
	for (ssize_t at = 0; at < n;) {
		struct remus_message m;
		bool got;
		at += (ssize_t)remus_message_feed(&t->in, bytes + at, (size_t)(n - at), &m, &got);
		if (got && !(atomic_load(&t->rig->deaf) && m.verb == REMUS_MESSAGE_RENEW))
			agent_message(&t->agent, &m);
	}
}

static void *agent_main(void *context)
{
	struct rig_agent *r = context;
	struct talk talk[2] = {{.rig = r, .fd = -1}, {.rig = r, .fd = -1}};
	struct agent_world world[2];

	for (int i = 0; i < 2; i++)
		world[i] = (struct agent_world){.context = &talk[i],
						.monotonic_ns = world_monotonic,
						.realtime_ns = world_realtime,
						.send = world_send,
						.reseed = world_reseed,
						.adjust = world_adjust,
						.stolen = world_stolen,
						.hooks = world_hooks};
	for (;;) {
		struct pollfd p[5] = {{.fd = r->wake, .events = POLLIN}};
		for (int i = 0; i < 2; i++) {
			p[1 + i] = (struct pollfd){.fd = r->listener[i], .events = POLLIN};
			p[3 + i] = (struct pollfd){.fd = talk[i].fd, .events = POLLIN};
		}
		poll(p, 5, 10);
		if (p[0].revents)
			break;
		for (int i = 0; i < 2; i++) {
			if (p[1 + i].revents)
				begin_talk(&talk[i], &world[i],
					   accept4(r->listener[i], NULL, NULL, SOCK_CLOEXEC));
			else if (p[3 + i].revents)
				hear(&talk[i]);
			if (talk[i].fd >= 0)
				agent_tick(&talk[i].agent);
		}
	}
	for (int i = 0; i < 2; i++)
		if (talk[i].fd >= 0)
			close(talk[i].fd);
	return NULL;
}

bool rig_agent_start(struct rig_agent *r, const char *const control[2])
{
	memset(r, 0, sizeof *r);
	r->wake = eventfd(0, EFD_CLOEXEC);
	for (int i = 0; i < 2; i++) {
		struct sockaddr_un at = {.sun_family = AF_UNIX};
		snprintf(at.sun_path, sizeof at.sun_path, "%s.agent", control[i]);
		snprintf(r->path[i], sizeof r->path[i], "%s", at.sun_path);
		r->listener[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (r->listener[i] < 0 || bind(r->listener[i], (struct sockaddr *)&at, sizeof at) ||
		    listen(r->listener[i], 4))
			return false;
	}
	return !pthread_create(&r->thread, NULL, agent_main, r);
}

void rig_agent_stop(struct rig_agent *r)
{
	eventfd_write(r->wake, 1);
	pthread_join(r->thread, NULL);
	for (int i = 0; i < 2; i++) {
		close(r->listener[i]);
		unlink(r->path[i]);
	}
	close(r->wake);
}
