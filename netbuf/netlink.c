// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel behind netlink.h, by a libnl socket. Answers are read here and not by libnl's callbacks, since
 * those turn an errno into a code of their own, and the difference between ENOENT and EOPNOTSUPP is what tells
 * a missing module from a missing interface.
 *
 * The kernel answers while it handles the sendmsg; only its lock (rtnl) can keep us waiting there. A missing
 * answer is given up after ANSWER_SECONDS.
 */
#include "config.h"
#include "netlink.h"
#include "remus/util.h"

#include <linux/netlink.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#define ANSWER_SECONDS 5
#define ANSWER_MAX     32768 /* bytes; the kernel cuts dumps to what the reader offers, at most this */

struct kernel {
	struct netlink base;
	struct nl_sock *socket;
	uint8_t answer[ANSWER_MAX];
};

/* The kernel's words come as an attribute behind the error and, unless capped, the request that it repeats. */
static void kernel_words(const struct nlmsghdr *h, char why[NETLINK_WHY_MAX])
{
	const struct nlmsgerr *e = nlmsg_data(h);
	int skip = (int)sizeof *e;

	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(h->nlmsg_flags & NLM_F_CAPPED))
		skip += NLMSG_ALIGN(e->msg.nlmsg_len) - (int)sizeof e->msg;
	struct nlattr *words = nlmsg_find_attr((struct nlmsghdr *)h, skip, NLMSGERR_ATTR_MSG);
	if (words)
		snprintf(why, NETLINK_WHY_MAX, "%.*s", nla_len(words), (const char *)nla_data(words));
}

/* 1 = more to come, else the result. */
static int take_answer(struct kernel *k, int bytes, uint32_t sequence, netlink_see *see, void *context,
		       char why[NETLINK_WHY_MAX])
{
	for (struct nlmsghdr *h = (struct nlmsghdr *)k->answer; nlmsg_ok(h, bytes);
	     h = nlmsg_next(h, &bytes)) {
		if (h->nlmsg_seq != sequence)
			continue; /* late answer to a question that was given up */
		if (h->nlmsg_type == NLMSG_ERROR) {
			if (nlmsg_datalen(h) < (int)sizeof(struct nlmsgerr))
				return -EBADMSG;
			kernel_words(h, why);
			return ((struct nlmsgerr *)nlmsg_data(h))->error;
		}
		if (h->nlmsg_type == NLMSG_DONE)
			return nlmsg_datalen(h) >= (int)sizeof(int) ? *(int *)nlmsg_data(h) : 0;
		if (!see)
			continue;
		see(h, context);
		if (!(h->nlmsg_flags & NLM_F_MULTI))
			return 0; /* the one answer to a question; an ack would have to be asked for */
	}
	return 1;
}

static int kernel_ask(struct netlink *base, struct nl_msg *request, netlink_see *see, void *context,
		      char why[NETLINK_WHY_MAX])
{
	struct kernel *k = (struct kernel *)base;
	struct nlmsghdr *h = nlmsg_hdr(request);
	int fd = nl_socket_get_fd(k->socket), rc;

	why[0] = 0;
	if (!see) /* a question is answered by what it asks for, or by an error */
		h->nlmsg_flags |= NLM_F_ACK;
	nl_complete_msg(k->socket, request);
	do
		rc = (int)send(fd, h, h->nlmsg_len, 0);
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return -errno;
	do {
		do
			rc = (int)recv(fd, k->answer, sizeof k->answer, MSG_TRUNC);
		while (rc < 0 && errno == EINTR);
		if (rc < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (rc > (int)sizeof k->answer)
			return -EMSGSIZE;
		rc = take_answer(k, rc, h->nlmsg_seq, see, context, why);
	} while (rc == 1);
	return rc;
}

static void kernel_close(struct netlink *base)
{
	nl_socket_free(((struct kernel *)base)->socket);
	free(base);
}

static const struct netlink_ops kernel_ops = {.ask = kernel_ask, .close = kernel_close};

int netlink_open(struct netlink **out, struct remus_error *err)
{
	struct timeval patience = {ANSWER_SECONDS, 0};
	int on = 1;
	struct kernel *k = calloc(1, sizeof *k);

	if (!k || !(k->socket = nl_socket_alloc())) {
		free(k);
		return remus_fail(err, -ENOMEM, "netlink: out of memory");
	}
	int rc = nl_connect(k->socket, NETLINK_ROUTE);
	if (rc < 0) {
		kernel_close(&k->base);
		return remus_fail(err, -EIO, "netlink: cannot open a route socket: %s", nl_geterror(rc));
	}
	int fd = nl_socket_get_fd(k->socket);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on); /* else errors come without words */
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
	k->base.ops = &kernel_ops;
	*out = &k->base;
	return 0;
}

static int explain(int rc, const char *what, const char *why, const char *modules, struct remus_error *err)
{
	const char *open = why[0] ? " (" : "", *shut = why[0] ? ")" : "";

	if (rc == -EPERM)
		return remus_fail(err, rc,
				  "%s: not permitted. Holding packets in the kernel needs "
				  "CAP_NET_ADMIN: " NETLINK_GIVE_ADMIN,
				  what);
	if (modules && (rc == -ENOENT || rc == -EOPNOTSUPP || rc == -EPROTONOSUPPORT))
		return remus_fail(err, rc,
				  "%s: this kernel lacks %s%s%s%s. Load it (modprobe -a %s)" NETLINK_OR_BOOT,
				  what, modules, open, why, shut, modules);
	return remus_fail(err, rc, "%s: %s%s%s%s", what, strerror(-rc), open, why, shut);
}

int netlink_ask(struct netlink *netlink, struct nl_msg *request, netlink_see *see, void *context,
		const char *modules, struct remus_error *err, const char *fmt, ...)
{
	char why[NETLINK_WHY_MAX] = "", what[256];
	va_list args;
	int rc = -ENOMEM;

	if (request) {
		rc = netlink->ops->ask(netlink, request, see, context, why);
		nlmsg_free(request);
	}
	if (rc >= 0)
		return 0;
	va_start(args, fmt);
	vsnprintf(what, sizeof what, fmt, args);
	va_end(args);
	return explain(rc, what, why, modules, err);
}
