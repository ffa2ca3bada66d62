/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fake guest's monitor: one thread, one poll loop over the listening socket, its clients, the network card,
 * the signals and the lifeline. What a verb does is in fake.h.
 */
#include "guest.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <jansson.h>
#include "remus/util.h"

#define CLIENTS 8
#define HEAD	8u

enum { SLOT_LISTEN, SLOT_SIGNALS, SLOT_LIFELINE, SLOT_NIC, SLOT_CLIENT };

struct server {
	struct guest *guest;
	struct pollfd slot[SLOT_CLIENT + CLIENTS];
	bool subscribed[CLIENTS];
	bool ending; /* in good order */
	bool cut;    /* the lifeline: no events, as if killed */
};

static void answer(int fd, uint32_t id, int status, const void *body, size_t bytes, int pass)
{
	uint8_t head[HEAD];
	struct iovec parts[2] = {{head, HEAD}, {(void *)(uintptr_t)body, bytes}};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} ancillary = {.bytes = {0}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	remus_put_le32(head, id);
	remus_put_le32(head + 4, (uint32_t)status);
	if (pass >= 0) {
		message.msg_control = ancillary.bytes;
		message.msg_controllen = sizeof ancillary.bytes;
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pass, sizeof(int));
	}
	/* A client that doesn't read its answers loses them. */
	sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void hello(struct guest *guest, int fd, uint32_t id)
{
	const struct remus_fake_params *p = &guest->params;
	char mac[18] = "";

	if (guest->has_nic)
		snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", guest->mac[0], guest->mac[1],
			 guest->mac[2], guest->mac[3], guest->mac[4], guest->mac[5]);
	json_t *object = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s}", "name",
				   guest->name, "address", (json_int_t)(uintptr_t)guest->memory, "pages",
				   (json_int_t)p->pages, "seed", (json_int_t)p->seed, "words",
				   (json_int_t)p->words, "hot", (json_int_t)p->hot, "rate",
				   (json_int_t)p->rate, "frame_every", (json_int_t)p->frame_every, "mac", mac,
				   "guest_path", guest->guest_path, "host_path", guest->host_path);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	if (text)
		answer(fd, id, 0, text, strlen(text), guest->memfd);
	free(text);
	json_decref(object);
}

static int activate(struct guest *guest, const uint8_t *body, size_t bytes, struct remus_error *err)
{
	struct remus_fake_state state;
	int code = remus_fake_state_decode(body, bytes, &state, err);

	if (code || !guest->waiting) /* asked again: the first answer was lost */
		return code;
	guest->state = state;
	guest->waiting = guest->paused = false;
	guest->tied &= guest->mortal;
	return 0;
}

/* Carry out a request; the lock is held. What goes into the answer's body is put into @out. */
static int obey(struct guest *guest, uint32_t verb, const uint8_t *body, size_t bytes, uint8_t *out,
		size_t *out_bytes, struct remus_error *err)
{
	switch (verb) {
	case REMUS_FAKE_PAUSE:
		guest->paused = true;
		return 0;
	case REMUS_FAKE_RESUME:
		if (guest->waiting)
			return remus_fail(err, -EPERM, "a standby is run by activation only");
		guest->paused = false;
		return 0;
	case REMUS_FAKE_ACTIVATE:
		return activate(guest, body, bytes, err);
	case REMUS_FAKE_SAVE:
		if (!guest->paused)
			return remus_fail(err, -EBUSY,
					  "the guest runs: its state is another by the time it is read");
		/* fallthrough */
	case REMUS_FAKE_STATUS:
		remus_fake_state_encode(&guest->state, out);
		*out_bytes = REMUS_FAKE_STATE;
		return 0;
	case REMUS_FAKE_WRITE:
		if (guest->paused || bytes != 8)
			return remus_fail(err, -EBUSY, "the guest is paused");
		guest_write(guest, remus_get_le64(body));
		return 0;
	case REMUS_FAKE_VERIFY:
		return remus_fake_verify(&guest->params, guest->memory, guest->state.writes, err);
	default:
		return remus_fail(err, -EINVAL, "unknown verb %u", verb);
	}
}

/* false: the client is gone. */
static bool serve_client(struct server *server, int client, int fd)
{
	struct guest *guest = server->guest;
	struct remus_error err = REMUS_ERROR_INIT;
	uint8_t in[HEAD + REMUS_FAKE_BODY_MAX], out[REMUS_FAKE_STATE];
	size_t out_bytes = 0;
	ssize_t n = recv(fd, in, sizeof in, MSG_DONTWAIT);

	if (n < (ssize_t)HEAD)
		return n < 0 && errno == EAGAIN;
	uint32_t id = remus_get_le32(in), verb = remus_get_le32(in + 4);
	if (verb == REMUS_FAKE_HELLO) {
		hello(guest, fd, id);
		return true;
	}
	if (verb == REMUS_FAKE_SUBSCRIBE || verb == REMUS_FAKE_SHUTDOWN) {
		answer(fd, id, 0, NULL, 0, -1);
		server->subscribed[client] |= verb == REMUS_FAKE_SUBSCRIBE;
		server->ending |= verb == REMUS_FAKE_SHUTDOWN;
		return true;
	}
	pthread_mutex_lock(&guest->lock);
	int code = obey(guest, verb, in + HEAD, (size_t)n - HEAD, out, &out_bytes, &err);
	pthread_cond_signal(&guest->resumed);
	pthread_mutex_unlock(&guest->lock);
	if (code)
		answer(fd, id, code, err.message, strlen(err.message), -1);
	else
		answer(fd, id, 0, out, out_bytes, -1);
	return true;
}

static void accept_client(struct server *server)
{
	int fd = accept4(server->slot[SLOT_LISTEN].fd, NULL, NULL, SOCK_CLOEXEC);

	for (int i = 0; fd >= 0 && i < CLIENTS; i++)
		if (server->slot[SLOT_CLIENT + i].fd < 0) {
			server->slot[SLOT_CLIENT + i] = (struct pollfd){.fd = fd, .events = POLLIN};
			server->subscribed[i] = false;
			return;
		}
	if (fd >= 0)
		close(fd);
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, CLIENTS))
		return -1;
	return fd;
}

/* One round of the loop. */
static void serve(struct server *server)
{
	struct guest *guest = server->guest;
	struct pollfd *slot = server->slot;

	pthread_mutex_lock(&guest->lock);
	bool paused = guest->paused;
	slot[SLOT_LIFELINE].fd = guest->tied ? guest->lifeline : -1;
	pthread_mutex_unlock(&guest->lock);
	slot[SLOT_NIC].fd = paused ? -1 : guest->nic;
	if (poll(slot, SLOT_CLIENT + CLIENTS, -1) < 0)
		return;
	for (int i = 0; i < CLIENTS; i++) {
		struct pollfd *client = &slot[SLOT_CLIENT + i];
		if (client->fd >= 0 && client->revents && !serve_client(server, i, client->fd)) {
			close(client->fd);
			client->fd = -1;
		}
	}
	if (slot[SLOT_LIFELINE].revents) {
		pthread_mutex_lock(&guest->lock);
		server->cut = guest->tied; /* unless it was activated in this very round */
		pthread_mutex_unlock(&guest->lock);
	}
	if (slot[SLOT_LISTEN].revents)
		accept_client(server);
	if (slot[SLOT_SIGNALS].revents)
		server->ending = true;
	pthread_mutex_lock(&guest->lock);
	if (slot[SLOT_NIC].fd >= 0 && slot[SLOT_NIC].revents && !guest->paused)
		guest_receive(guest);
	pthread_mutex_unlock(&guest->lock);
}

int guest_serve(struct guest *guest)
{
	struct server server = {.guest = guest};
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	for (int i = 0; i < SLOT_CLIENT + CLIENTS; i++)
		server.slot[i] = (struct pollfd){.fd = -1, .events = POLLIN};
	server.slot[SLOT_LISTEN].fd = listen_at(guest->control);
	server.slot[SLOT_SIGNALS].fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
	server.slot[SLOT_LIFELINE].fd = guest->lifeline;
	if (server.slot[SLOT_LISTEN].fd < 0 || server.slot[SLOT_SIGNALS].fd < 0) {
		fprintf(stderr, "remus-fake-guest: %s: %s\n", guest->control, strerror(errno));
		return 1;
	}
	if (guest->lifeline >= 0 && write(guest->lifeline, "r", 1) != 1)
		return 1;
	while (!server.ending && !server.cut)
		serve(&server);
	for (int i = 0; i < CLIENTS; i++)
		if (server.ending && server.subscribed[i] && server.slot[SLOT_CLIENT + i].fd >= 0)
			answer(server.slot[SLOT_CLIENT + i].fd, 0, REMUS_FAKE_SHUTDOWN, NULL, 0, -1);
	unlink(guest->control);
	if (guest->nic >= 0)
		unlink(guest->guest_path);
	return 0;
}
