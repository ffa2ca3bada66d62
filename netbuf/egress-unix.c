// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Egress to a datagram socket: frames go to PATH; those that come to the path of `bind=` go to the guest. For
 * switches in user space (vde, passt's and QEMU's dgram peers), and for tests without privileges.
 *
 * The socket isn't connected: a switch that restarts is found again at its path, and may answer from any
 * socket. The price is that the kernel can't say when a full peer has room again; hold.c asks again in time.
 */
#include "config.h"
#include "egress.h"
#include "dgram.h"
#include "remus/util.h"

struct unix_egress {
	struct egress base;
	int socket;
	struct sockaddr_un peer;
	struct dgram_place bound;
};

/* The peer's address; *@bind is where to bind, NULL = nowhere. */
static int parse(const char *rest, struct sockaddr_un *peer, const char **bind, struct remus_error *err)
{
	const char *comma = strchr(rest, ',');
	char path[sizeof((struct sockaddr_un *)0)->sun_path + 1];
	size_t length = comma ? (size_t)(comma - rest) : strlen(rest);

	if (comma && strncmp(comma, ",bind=", 6) != 0)
		return remus_fail(err, -EINVAL,
				  "unknown option \"%.100s\"; the form is unix:PATH[,bind=PATH]", comma + 1);
	if (length >= sizeof path)
		length = sizeof path - 1; /* still too long for dgram_address() */
	memcpy(path, rest, length);
	path[length] = 0;
	*bind = comma ? comma + 6 : NULL;
	return dgram_address(path, peer, err);
}

static int unix_check(const char *rest, struct remus_error *err)
{
	struct sockaddr_un peer;
	const char *bind;
	int rc = parse(rest, &peer, &bind, err);

	return rc == 0 && bind ? dgram_check(bind, err) : rc;
}

static int unix_open(const char *rest, struct egress **out, struct remus_error *err)
{
	const char *bind;

	struct unix_egress *egress = calloc(1, sizeof *egress);
	if (!egress)
		return remus_fail(err, -ENOMEM, "out of memory");
	egress->base.ops = &egress_unix;
	egress->base.fd = -1;
	int rc = parse(rest, &egress->peer, &bind, err);
	if (!rc && bind)
		rc = egress->base.fd = egress->socket = dgram_bind(bind, &egress->bound, err);
	else if (!rc) {
		rc = egress->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (rc < 0)
			rc = remus_fail_errno(err, "socket");
	}
	if (rc < 0) {
		free(egress);
		return rc;
	}
	*out = &egress->base;
	return 0;
}

static int unix_start(struct egress *base, struct remus_error *err)
{
	return 0;
}

static int unix_receive(struct egress *base, struct frame_batch *batch)
{
	return frame_batch_receive(batch, base->fd);
}

static int unix_send(struct egress *base, const struct iovec *frames, unsigned count)
{
	struct unix_egress *egress = (struct unix_egress *)base;
	struct mmsghdr message[BATCH_FRAMES] = {0};

	for (unsigned i = 0; i < count; i++)
		message[i].msg_hdr = (struct msghdr){.msg_name = &egress->peer,
						     .msg_namelen = sizeof egress->peer,
						     .msg_iov = (struct iovec *)&frames[i],
						     .msg_iovlen = 1};
	int n = sendmmsg(egress->socket, message, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

static void unix_close(struct egress *base)
{
	struct unix_egress *egress = (struct unix_egress *)base;

	dgram_unlink(&egress->bound);
	close(egress->socket);
	free(egress);
}

const struct egress_ops egress_unix = {
	.scheme = "unix",
	.form = "unix:PATH[,bind=PATH]",
	.check = unix_check,
	.open = unix_open,
	.start = unix_start,
	.receive = unix_receive,
	.send = unix_send,
	.close = unix_close,
};
