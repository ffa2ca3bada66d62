/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The outer end of a fake guest's control socket. Every call has a deadline; an answer that comes after its
 * deadline is recognised by its id and dropped by the next call.
 */
#include "fake.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <jansson.h>
#include "remus/util.h"

#define HEAD 8u /* id, verb or status */

int remus_fake_connect(struct remus_fake_client *client, const char *path, struct remus_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	client->fd = -1;
	client->id = 0;
	if (strlen(path) >= sizeof address.sun_path)
		return remus_fail(err, -ENAMETOOLONG, "fake:%s: a socket's path has at most %zu bytes", path,
				  sizeof address.sun_path - 1);
	snprintf(client->path, sizeof client->path, "%s", path);
	memcpy(address.sun_path, client->path, sizeof address.sun_path);
	client->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (client->fd < 0)
		return remus_fail_errno(err, "socket");
	if (!connect(client->fd, (struct sockaddr *)&address, sizeof address))
		return 0;
	int code = remus_fail_errno(err, "fake:%s: connect", path);
	remus_fake_disconnect(client);
	return code;
}

void remus_fake_disconnect(struct remus_fake_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
}

static int lost(struct remus_fake_client *client, struct remus_error *err)
{
	return remus_fail(err, -ESRCH, "fake:%s: the guest is gone", client->path);
}

/* One packet with at most one descriptor. Returns its length, 0 = end, or -errno. */
static ssize_t receive(int fd, void *head, void *body, int *passed)
{
	struct iovec parts[2] = {{head, HEAD}, {body, REMUS_FAKE_BODY_MAX}};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} ancillary;
	struct msghdr message = {.msg_iov = parts,
				 .msg_iovlen = 2,
				 .msg_control = ancillary.bytes,
				 .msg_controllen = sizeof ancillary.bytes};
	ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	*passed = -1;
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(passed, CMSG_DATA(c), sizeof(int));
	return n;
}

int remus_fake_call(struct remus_fake_client *client, enum remus_fake_verb verb, const void *body, size_t n,
		    uint8_t *reply, size_t *bytes, int *passed, int ms, struct remus_error *err)
{
	uint8_t head[HEAD], scratch[REMUS_FAKE_BODY_MAX + 1];
	uint64_t deadline = remus_now_us() + (uint64_t)ms * 1000;
	struct iovec parts[2] = {{head, HEAD}, {(void *)(uintptr_t)body, n}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	uint32_t id = ++client->id;

	if (client->fd < 0)
		return lost(client, err);
	remus_put_le32(head, id);
	remus_put_le32(head + 4, verb);
	if (sendmsg(client->fd, &message, MSG_NOSIGNAL) < 0)
		return errno == EPIPE || errno == ECONNRESET
			       ? lost(client, err)
			       : remus_fail_errno(err, "fake:%s: send", client->path);
	for (;;) {
		struct pollfd ask = {.fd = client->fd, .events = POLLIN};
		uint64_t now = remus_now_us();
		if (now >= deadline)
			return remus_fail(err, -ETIMEDOUT, "fake:%s: no answer within %d ms: the guest hangs",
					  client->path, ms);
		if (poll(&ask, 1, (int)((deadline - now + 999) / 1000)) <= 0)
			continue;
		int fd;
		ssize_t got = receive(client->fd, head, scratch, &fd);
		if (got == 0)
			return lost(client, err);
		if (fd >= 0 && (!passed || got < (ssize_t)HEAD || remus_get_le32(head) != id)) {
			close(fd);
			fd = -1;
		}
		if (got < (ssize_t)HEAD || remus_get_le32(head) != id)
			continue; /* an answer whose asker gave up */
		size_t length = (size_t)got - HEAD;
		int status = (int32_t)remus_get_le32(head + 4);
		if (passed)
			*passed = fd;
		scratch[length] = 0;
		if (status < 0)
			return remus_fail(err, status, "fake:%s: %s", client->path, (char *)scratch);
		if (reply)
			memcpy(reply, scratch, length);
		if (bytes)
			*bytes = length;
		return 0;
	}
}

/* Fill @guest from the JSON of HELLO. */
static int understand(struct remus_fake_guest *guest, const uint8_t *text, size_t bytes,
		      struct remus_error *err)
{
	json_error_t where;
	json_t *hello = json_loadb((const char *)text, bytes, 0, &where);
	struct remus_fake_params *p = &guest->params;
	const char *name = "", *mac = "", *guest_path = "", *host_path = "";
	json_int_t address, pages, seed, words, hot, rate, frame_every;
	unsigned m[6];

	if (json_unpack(hello, "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s}", "name", &name,
			"address", &address, "pages", &pages, "seed", &seed, "words", &words, "hot", &hot,
			"rate", &rate, "frame_every", &frame_every, "mac", &mac, "guest_path", &guest_path,
			"host_path", &host_path)) {
		json_decref(hello);
		return remus_fail(err, -EPROTO, "fake:%s: this is no fake guest's greeting",
				  guest->control.path);
	}
	guest->address = (uint64_t)address;
	*p = (struct remus_fake_params){.pages = (uint64_t)pages,
					.seed = (uint64_t)seed,
					.words = (uint64_t)words,
					.hot = (uint64_t)hot,
					.rate = (uint64_t)rate,
					.frame_every = (uint64_t)frame_every};
	snprintf(guest->name, sizeof guest->name, "%s", name);
	if (sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x", m, m + 1, m + 2, m + 3, m + 4, m + 5) == 6 &&
	    strlen(guest_path) < sizeof guest->nic.guest_path &&
	    strlen(host_path) < sizeof guest->nic.host_path) {
		guest->nics = 1;
		guest->nic.kind = REMUS_NIC_DGRAM;
		for (int i = 0; i < 6; i++)
			guest->nic.mac[i] = (uint8_t)m[i];
		snprintf(guest->nic.guest_path, sizeof guest->nic.guest_path, "%s", guest_path);
		snprintf(guest->nic.host_path, sizeof guest->nic.host_path, "%s", host_path);
	}
	json_decref(hello);
	return remus_fake_params_check(p, err);
}

static int map_memory(struct remus_fake_guest *guest, int fd, struct remus_error *err)
{
	size_t bytes = guest->params.pages * REMUS_FAKE_PAGE;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || (uint64_t)st.st_size < bytes)
		return remus_fail(err, -EPROTO, "fake:%s: no memory came with the greeting",
				  guest->control.path);
	guest->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (guest->memory != MAP_FAILED)
		return 0;
	guest->memory = NULL;
	return remus_fail_errno(err, "fake:%s: mmap of its memory", guest->control.path);
}

int remus_fake_guest_open(struct remus_fake_guest *guest, const char *path, struct remus_error *err)
{
	uint8_t reply[REMUS_FAKE_BODY_MAX];
	struct ucred peer;
	socklen_t length = sizeof peer;
	size_t bytes = 0;
	int fd = -1;

	*guest = (struct remus_fake_guest){.control = {.fd = -1}, .events = {.fd = -1}, .pidfd = -1};
	int code = remus_fake_connect(&guest->control, path, err);
	if (!code && getsockopt(guest->control.fd, SOL_SOCKET, SO_PEERCRED, &peer, &length))
		code = remus_fail_errno(err, "fake:%s: SO_PEERCRED", path);
	if (!code) {
		guest->pid = peer.pid;
		guest->pidfd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
		if (guest->pidfd < 0)
			code = remus_fail_errno(err, "fake:%s: pidfd_open of process %d", path,
						(int)peer.pid);
	}
	if (!code)
		code = remus_fake_call(&guest->control, REMUS_FAKE_HELLO, NULL, 0, reply, &bytes, &fd,
				       REMUS_FAKE_CALL_MS, err);
	if (!code)
		code = understand(guest, reply, bytes, err);
	if (!code)
		code = map_memory(guest, fd, err);
	if (fd >= 0)
		close(fd);
	if (!code)
		code = remus_fake_connect(&guest->events, path, err);
	if (!code)
		code = remus_fake_call(&guest->events, REMUS_FAKE_SUBSCRIBE, NULL, 0, NULL, NULL, NULL,
				       REMUS_FAKE_CALL_MS, err);
	if (code)
		remus_fake_guest_close(guest);
	return code;
}

void remus_fake_guest_close(struct remus_fake_guest *guest)
{
	remus_socket_channel_close(&guest->agent);
	remus_fake_disconnect(&guest->control);
	remus_fake_disconnect(&guest->events);
	if (guest->pidfd >= 0)
		close(guest->pidfd);
	if (guest->memory)
		munmap(guest->memory, guest->params.pages * REMUS_FAKE_PAGE);
	guest->pidfd = -1;
	guest->memory = NULL;
}

int remus_fake_guest_kill(struct remus_fake_guest *guest, struct remus_error *err)
{
	struct pollfd end = {.fd = guest->pidfd, .events = POLLIN};

	if (syscall(SYS_pidfd_send_signal, guest->pidfd, SIGKILL, NULL, 0) && errno != ESRCH)
		return remus_fail_errno(err, "fake:%s: kill process %d", guest->control.path,
					(int)guest->pid);
	if (poll(&end, 1, REMUS_FAKE_CALL_MS) != 1)
		return remus_fail(err, -ETIMEDOUT, "fake:%s: process %d did not die within %d ms",
				  guest->control.path, (int)guest->pid, REMUS_FAKE_CALL_MS);
	unlink(guest->control.path);
	if (guest->nics)
		unlink(guest->nic.guest_path);
	return 0;
}

struct remus_channel *remus_fake_guest_agent(struct remus_fake_guest *guest, char why[REMUS_TEXT_MAX])
{
	char path[sizeof guest->agent.path];

	if (snprintf(path, sizeof path, "%s.agent", guest->control.path) < (int)sizeof path &&
	    access(path, F_OK) == 0) {
		if (!guest->agent.base.ops)
			remus_socket_channel_open(&guest->agent, path);
		return &guest->agent.base;
	}
	snprintf(why, REMUS_TEXT_MAX, "it is a fake guest without %.200s.agent", guest->control.path);
	return NULL;
}

enum remus_domain_event remus_fake_guest_event(struct remus_fake_guest *guest, char why[REMUS_TEXT_MAX])
{
	uint8_t head[HEAD], body[REMUS_FAKE_BODY_MAX];
	int passed;

	if (guest->ended)
		return REMUS_DOMAIN_NONE;
	ssize_t n = receive(guest->events.fd, head, body, &passed);
	if (n < 0)
		return REMUS_DOMAIN_NONE;
	guest->ended = true;
	if (n >= (ssize_t)HEAD && remus_get_le32(head + 4) == REMUS_FAKE_SHUTDOWN) {
		snprintf(why, REMUS_TEXT_MAX, "the guest shut down");
		return REMUS_DOMAIN_SHUTDOWN;
	}
	snprintf(why, REMUS_TEXT_MAX, "process %d of the fake guest is gone", (int)guest->pid);
	return REMUS_DOMAIN_LOST;
}
