/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See keeper.h. */
#include "keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>
#include "remus/util.h"

#define PROGRAM	   "remus-xen-keeper"
#define PIPE_BYTES (1u << 20) /* what an unprivileged pipe may have; an epoch or two */
#define FEED_PARTS 1024	      /* iovecs a writev(2) takes */
#define SLICE_MS   100	      /* within which one that is given up notices */

int remus_xen_keeper_start(struct remus_xen_keeper *k, const char *name, const char *config,
			   const char *log_path, bool copy, struct remus_error *err)
{
	const char *argv[] = {PROGRAM, "--name", name, "--config", config, copy ? "--copy" : NULL, NULL};
	const atomic_bool *given_up = k->given_up;
	int stream[2];

	*k = (struct remus_xen_keeper)REMUS_XEN_KEEPER_INIT;
	k->given_up = given_up;
	if (pipe2(stream, O_CLOEXEC))
		return remus_fail_errno(err, "a channel to %s", PROGRAM);
	fcntl(stream[1], F_SETPIPE_SZ, PIPE_BYTES);
	fcntl(stream[1], F_SETFL, O_NONBLOCK); /* the read end is another description: libxl's blocks */
	int theirs[2] = {stream[0], fcntl(stream[1], F_DUPFD_CLOEXEC, 0)};
	int rc = remus_xen_helper_start(&k->helper, PROGRAM, "REMUS_XEN_KEEPER",
					(char *const *)(uintptr_t)argv, theirs, 2, log_path, err);
	if (rc < 0)
		close(stream[1]);
	else
		k->stream = stream[1];
	return rc;
}

int remus_xen_keeper_hear(struct remus_xen_keeper *k, int timeout_ms, char out[REMUS_XEN_KEEPER_MESSAGE])
{
	return remus_xen_helper_hear(&k->helper, timeout_ms, out);
}

static bool given_up(const struct remus_xen_keeper *k)
{
	return k->given_up && atomic_load(k->given_up);
}

int remus_xen_keeper_await(struct remus_xen_keeper *k, int timeout_ms, char out[REMUS_XEN_KEEPER_MESSAGE])
{
	int rc = 0;

	for (int left = timeout_ms; rc == 0 && left > 0; left -= SLICE_MS) {
		if (given_up(k))
			return -ECANCELED;
		rc = remus_xen_keeper_hear(k, left < SLICE_MS ? left : SLICE_MS, out);
	}
	return rc;
}

int remus_xen_keeper_tell(struct remus_xen_keeper *k, const char *text, struct remus_error *err)
{
	return remus_xen_helper_tell(&k->helper, text, err);
}

int remus_xen_keeper_feed(struct remus_xen_keeper *k, struct iovec *iov, int parts, int timeout_ms,
			  struct remus_error *err)
{
	if (k->stream < 0)
		return remus_fail(err, -EPIPE, "there is no standby domain to feed");
	for (int waited = 0; parts > 0;) {
		struct pollfd fds[2] = {
			{.fd = k->stream, .events = POLLOUT},
			{.fd = k->helper.talk, .events = 0}, /* POLLHUP: the keeper is gone */
		};
		int n = poll(fds, 2, SLICE_MS);
		if (given_up(k))
			return remus_fail(err, -ECANCELED, "the standby domain is not wanted any more");
		if (n == 0 && (waited += SLICE_MS) < timeout_ms)
			continue;
		if (n == 0)
			return remus_fail(
				err, -ETIMEDOUT,
				"libxl did not take an epoch's data for %d ms; its words are in the "
				"standby's xen.log",
				timeout_ms);
		if (fds[1].revents || fds[0].revents & POLLERR)
			return remus_fail(err, -EPIPE,
					  "%s is gone; its last words are in the standby's xen.log", PROGRAM);
		ssize_t w = writev(k->stream, iov, parts < FEED_PARTS ? parts : FEED_PARTS);
		if (w < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (w < 0)
			return remus_fail_errno(err, "feeding the standby domain");
		waited = 0;
		while (parts > 0 && (size_t)w >= iov->iov_len) {
			w -= (ssize_t)iov->iov_len;
			iov++;
			parts--;
		}
		if (parts > 0) {
			iov->iov_base = (uint8_t *)iov->iov_base + w;
			iov->iov_len -= (size_t)w;
		}
	}
	return 0;
}

void remus_xen_keeper_stop(struct remus_xen_keeper *k, int timeout_ms)
{
	remus_xen_helper_stop(&k->helper, timeout_ms); /* hanging up is the order to destroy */
	remus_xen_close_fd(&k->stream); /* only now: nobody is left who would take it for an end */
}

void remus_xen_keeper_release(struct remus_xen_keeper *k)
{
	remus_xen_close_fd(&k->helper.talk);
	remus_xen_close_fd(&k->stream);
	*k = (struct remus_xen_keeper)REMUS_XEN_KEEPER_INIT;
}
