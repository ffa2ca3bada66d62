/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A transport that leaves all to another one; for tests, which put functions of their own in the place of some. */
#ifndef REMUS_TEST_LINK_WRAP_H
#define REMUS_TEST_LINK_WRAP_H

#include "remus/link.h"
#include "unit.h"

struct wrapped {
	struct remus_transport base, *inner;
};

static inline struct remus_transport *inner(const struct remus_transport *t)
{
	return ((struct wrapped *)(uintptr_t)t)->inner;
}

static inline ssize_t wrapped_read(struct remus_transport *t, void *buf, size_t n, struct remus_error *err)
{
	return inner(t)->ops->read(inner(t), buf, n, err);
}

static inline ssize_t wrapped_writev(struct remus_transport *t, const struct iovec *iov, int count, bool more,
				     struct remus_error *err)
{
	return inner(t)->ops->writev(inner(t), iov, count, more, err);
}

static inline void wrapped_shutdown(struct remus_transport *t)
{
	inner(t)->ops->shutdown(inner(t));
}

/* Frees the inner one; the wrapping is its owner's. */
static inline void wrapped_close(struct remus_transport *t)
{
	inner(t)->ops->close(inner(t));
}

static inline int wrapped_fd(const struct remus_transport *t)
{
	return inner(t)->ops->fd(inner(t));
}

/* For a copy of its own, with other functions in the place of some. */
static const struct remus_transport_ops wrapped_ops = {
	.read = wrapped_read,
	.writev = wrapped_writev,
	.shutdown = wrapped_shutdown,
	.close = wrapped_close,
	.fd = wrapped_fd,
};

/* A link on @t, whose ops are set, around the socket @fd. */
static inline struct remus_link *wrapped_link(struct wrapped *t, int fd,
					      const struct remus_link_config *config)
{
	struct remus_link *link = NULL;

	CU_ASSERT_EQUAL_FATAL(remus_transport_tcp(fd, &t->inner, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(remus_link_start(&t->base, config, &link, NULL), 0);
	return link;
}

#endif
