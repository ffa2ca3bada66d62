/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See channel.h. A line that is cut by a full socket is finished by the newline before the next, which makes it garbage
 * to the agent; the same newline ends whatever the connection before left in the guest's queue.
 */
#include "channel.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "remus/util.h"

#define AGAIN_US 1000000u

static struct remus_socket_channel *of(struct remus_channel *base)
{
	return (struct remus_socket_channel *)base;
}

static void lose(struct remus_socket_channel *c)
{
	close(c->fd);
	c->fd = -1;
	c->again_us = remus_now_us() + AGAIN_US;
}

/* Connecting to a unix socket takes no time, or fails. */
static void connect_now(struct remus_socket_channel *c)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	c->again_us = remus_now_us() + AGAIN_US;
	snprintf(address.sun_path, sizeof address.sun_path, "%s", c->path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd >= 0 && connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
		lose(c);
	c->torn = true;
}

static int channel_fd(struct remus_channel *base)
{
	struct remus_socket_channel *c = of(base);

	if (c->fd < 0 && remus_now_us() >= c->again_us)
		connect_now(c);
	return c->fd;
}

static size_t channel_receive(struct remus_channel *base, void *buffer, size_t size)
{
	struct remus_socket_channel *c = of(base);

	if (c->fd < 0)
		return 0;
	ssize_t n = recv(c->fd, buffer, size, MSG_DONTWAIT);
	if (n > 0)
		return (size_t)n;
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		lose(c);
	return 0;
}

static void channel_send(struct remus_channel *base, const char *line, size_t bytes)
{
	struct remus_socket_channel *c = of(base);
	struct iovec part[2] = {{.iov_base = (void *)"\n", .iov_len = c->torn},
				{.iov_base = (void *)line, .iov_len = bytes}};
	struct msghdr message = {.msg_iov = part, .msg_iovlen = 2};

	if (channel_fd(base) < 0)
		return;
	part[0].iov_len = c->torn; /* it may have been opened just now */
	ssize_t n = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n >= 0)
		c->torn = (size_t)n != part[0].iov_len + bytes;
	else if (errno != EAGAIN && errno != EINTR)
		lose(c);
}

static const struct remus_channel_ops ops = {
	.fd = channel_fd,
	.receive = channel_receive,
	.send = channel_send,
};

void remus_socket_channel_open(struct remus_socket_channel *c, const char *path)
{
	remus_socket_channel_close(c);
	c->base.ops = &ops;
	snprintf(c->path, sizeof c->path, "%s", path);
	connect_now(c);
}

void remus_socket_channel_close(struct remus_socket_channel *c)
{
	if (c->base.ops && c->fd >= 0)
		close(c->fd);
	memset(c, 0, sizeof *c);
	c->fd = -1;
}
