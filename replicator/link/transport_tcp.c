/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plain transport: a connected stream socket, TCP or, for tests and tools on one host, a unix socket.
 *
 * close() is graceful unless shutdown() came before: it ends our direction with a FIN and reads on until the
 * peer's FIN, for DRAIN_MS at most. Closing with unread bytes would make the kernel send RST, and an RST throws
 * away what we have sent and the peer has not got yet: a REFUSE or an END_ACK would never arrive.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include "remus/link.h"
#include "remus/util.h"

#define DRAIN_MS 100u

/* ms. Who is alive is decided by heartbeats, much sooner; this only keeps the kernel from retransmitting to a
 * dead host for a quarter of an hour after close(). It must stay above the link's stall_ms, since Linux counts
 * a peer's zero window too. */
#define USER_TIMEOUT_MS 60000u

struct tcp {
	struct remus_transport base;
	int fd;
	atomic_bool down;
};

static struct tcp *tcp(const struct remus_transport *t)
{
	return (struct tcp *)(uintptr_t)t;
}

static ssize_t again(ssize_t n, const char *call, struct remus_error *err)
{
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR)
		return -EAGAIN;
	return remus_fail_errno(err, "%s", call);
}

static ssize_t tcp_read(struct remus_transport *t, void *buf, size_t n, struct remus_error *err)
{
	return again(recv(tcp(t)->fd, buf, n, MSG_DONTWAIT), "recv", err);
}

static ssize_t tcp_writev(struct remus_transport *t, const struct iovec *iov, int count, bool more,
			  struct remus_error *err)
{
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};

	return again(sendmsg(tcp(t)->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0)), "sendmsg",
		     err);
}

static void tcp_shutdown(struct remus_transport *t)
{
	atomic_store(&tcp(t)->down, true);
	shutdown(tcp(t)->fd, SHUT_RDWR);
}

static void drain(int fd)
{
	uint64_t now = remus_now_us(), until = now + DRAIN_MS * 1000u;
	char waste[4096];

	if (shutdown(fd, SHUT_WR))
		return;
	for (; now < until; now = remus_now_us()) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (poll(&p, 1, (int)((until - now + 999) / 1000)) < 0 && errno != EINTR)
			return;
		ssize_t n = recv(fd, waste, sizeof waste, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return;
	}
}

static void tcp_close(struct remus_transport *t)
{
	if (!atomic_load(&tcp(t)->down))
		drain(tcp(t)->fd);
	close(tcp(t)->fd);
	free(tcp(t));
}

static int tcp_fd(const struct remus_transport *t)
{
	return tcp(t)->fd;
}

static const char *tcp_security(const struct remus_transport *t)
{
	return "plaintext";
}

static const struct remus_transport_ops tcp_ops = {
	.read = tcp_read,
	.writev = tcp_writev,
	.shutdown = tcp_shutdown,
	.close = tcp_close,
	.fd = tcp_fd,
	.security = tcp_security,
};

static int prepare(int fd, struct remus_error *err)
{
	int type = 0, domain = 0, one = 1, flags;
	unsigned timeout = USER_TIMEOUT_MS;
	socklen_t n = sizeof type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) || (n = sizeof domain, 0) ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n))
		return remus_fail_errno(err, "link: descriptor %d is no socket", fd);
	if (type != SOCK_STREAM)
		return remus_fail(err, -EINVAL, "link: descriptor %d is no stream socket", fd);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return remus_fail_errno(err, "link: fcntl of descriptor %d", fd);
	if (domain != AF_INET && domain != AF_INET6)
		return 0;
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one))
		return remus_fail_errno(err, "link: TCP_NODELAY");
	if (setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout))
		return remus_fail_errno(err, "link: TCP_USER_TIMEOUT");
	return 0;
}

int remus_transport_tcp(int fd, struct remus_transport **out, struct remus_error *err)
{
	struct tcp *t;
	int rc = prepare(fd, err);

	if (!rc && !(t = calloc(1, sizeof *t)))
		rc = remus_fail(err, -ENOMEM, "link: no memory for a transport");
	if (rc) {
		close(fd);
		return rc;
	}
	t->base.ops = &tcp_ops;
	t->fd = fd;
	*out = &t->base;
	return 0;
}
