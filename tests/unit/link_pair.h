/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two ends for the tests of a link: two links on a socketpair, or one link and a raw descriptor that misbehaves. */
#ifndef REMUS_TEST_LINK_PAIR_H
#define REMUS_TEST_LINK_PAIR_H

#include <poll.h>
#include <sys/socket.h>
#include "remus/link.h"
#include "unit.h"

#define PATIENCE_MS 20000 /* how long a test waits for what must come; generous, since nothing is timed */

static const uint8_t pair_session[REMUS_SESSION_SIZE] = {5, 5, 5};

static inline struct remus_link *pair_link(int fd, const struct remus_link_config *config)
{
	struct remus_transport *t = NULL;
	struct remus_link *link = NULL;
	struct remus_error err = REMUS_ERROR_INIT;

	if (remus_transport_tcp(fd, &t, &err) || remus_link_start(t, config, &link, &err))
		printf("\n    %s\n", err.message);
	CU_ASSERT_PTR_NOT_NULL_FATAL(link);
	return link;
}

static inline void pair_sockets(int fd[2])
{
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
}

#ifdef LINK_PAIR_TLS
#include "tls_pair.h"

/* The same tests over TLS: two links on what a handshake made of a socketpair. */
static inline void pair_start(int fd[2], const struct remus_link_config *ca,
			      const struct remus_link_config *cb, struct remus_link **a,
			      struct remus_link **b)
{
	struct remus_transport *client, *server;
	struct remus_error err = REMUS_ERROR_INIT;

	tls_pair_psk(fd, &client, &server);
	if (remus_link_start(client, ca, a, &err) || remus_link_start(server, cb, b, &err))
		CU_FAIL_FATAL(err.message);
}
#else
static inline void pair_start(int fd[2], const struct remus_link_config *ca,
			      const struct remus_link_config *cb, struct remus_link **a,
			      struct remus_link **b)
{
	*a = pair_link(fd[0], ca);
	*b = pair_link(fd[1], cb);
}
#endif

static inline void pair_links(const struct remus_link_config *ca, const struct remus_link_config *cb,
			      struct remus_link **a, struct remus_link **b)
{
	int fd[2];

	pair_sockets(fd);
	pair_start(fd, ca, cb, a, b);
}

/* As remus_link_next(), but waits; 0 = nothing came. */
static inline int pair_await(struct remus_link *link, struct remus_frame *out, struct remus_error *err)
{
	for (uint64_t until = remus_now_us() + PATIENCE_MS * 1000u; remus_now_us() < until;) {
		int rc = remus_link_next(link, out, err);
		struct pollfd p = {.fd = remus_link_event_fd(link), .events = POLLIN};
		if (rc)
			return rc;
		poll(&p, 1, PATIENCE_MS);
	}
	return 0;
}

/* The link must get lost, with @word in the reason; frames that come before are dropped. */
static inline void pair_expect_lost(struct remus_link *link, const char *word)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_frame frame;
	int rc;

	while ((rc = pair_await(link, &frame, &err)) == 1)
		free(frame.payload);
	CU_ASSERT_EQUAL(rc, -EPIPE);
	CU_ASSERT_EQUAL(err.code, -EPIPE);
	UNIT_ASSERT_MESSAGE(err, word);
	CU_ASSERT_EQUAL(remus_link_next(link, &frame, NULL), -EPIPE); /* and stays so */
}

static inline int pair_send(struct remus_link *link, uint16_t type, uint64_t epoch, const void *payload,
			    size_t n, struct remus_error *err)
{
	struct iovec part = {(void *)(uintptr_t)payload, n};

	return remus_link_send(link, type, 0, epoch, &part, 1, NULL, err);
}

/* A frame as bytes in @out; the number of bytes. */
static inline size_t pair_frame(uint8_t *out, uint16_t version, uint16_t type, uint32_t flags,
				uint64_t sequence, const void *payload, uint32_t n)
{
	struct remus_frame_header h = {
		.version = version, .type = type, .flags = flags, .length = n, .sequence = sequence};
	struct iovec part = {(void *)(uintptr_t)payload, n};

	remus_frame_pack(out, &h, &part, payload ? 1 : 0);
	if (payload)
		memcpy(out + REMUS_FRAME_HEADER, payload, n);
	return REMUS_FRAME_HEADER + (payload ? n : 0);
}

#endif
