/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See agent.h. The guest owns both nodes: what stands in them is bounded by xenstore (4096 bytes), and by nothing else. */
#include "config.h"

#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "remus/renewal.h"

static struct remus_xen_agent *of(struct remus_channel *base)
{
	return (struct remus_xen_agent *)base;
}

static int channel_fd(struct remus_channel *base)
{
	return xs_fileno(of(base)->xs);
}

/*
 * What is in the box, which is emptied in the same step: a guest that has lost its patience puts the next letter over
 * this one, and that must not be thrown away unread. It then stays, and the watch has fired for it.
 */
static char *take_out(struct remus_xen_agent *a, unsigned *bytes)
{
	*bytes = 0;
	xs_transaction_t t = xs_transaction_start(a->xs);
	if (t == XBT_NULL)
		return NULL;
	a->look = false;
	char *letter = xs_read(a->xs, t, a->reply, bytes);
	bool empty = !letter || !*bytes;
	bool emptied = !empty && xs_write(a->xs, t, a->reply, "", 0);
	/* What was written, by us or over this letter, fires the watch. */
	xs_transaction_end(a->xs, t, !emptied);
	if (empty) {
		free(letter);
		return NULL;
	}
	return letter;
}

static size_t channel_receive(struct remus_channel *base, void *buffer, size_t size)
{
	struct remus_xen_agent *a = of(base);
	unsigned bytes;
	char **fired;

	while ((fired = xs_check_watch(a->xs))) {
		free(fired);
		a->look = true;
	}
	char *letter = a->look ? take_out(a, &bytes) : NULL;
	if (!letter)
		return 0;
	if (bytes > size - 1)
		bytes = (unsigned)size - 1; /* no message is as long */
	memcpy(buffer, letter, bytes);
	((char *)buffer)[bytes] = '\n';
	free(letter);
	return bytes + 1;
}

/* What stands there still is an older question, or the same one. */
static void channel_send(struct remus_channel *base, const char *line, size_t bytes)
{
	struct remus_xen_agent *a = of(base);

	xs_write(a->xs, XBT_NULL, a->request, line, (unsigned)(bytes - (bytes && line[bytes - 1] == '\n')));
}

static const struct remus_channel_ops ops = {
	.fd = channel_fd,
	.receive = channel_receive,
	.send = channel_send,
};

struct remus_channel *remus_xen_agent_open(struct remus_xen_agent *a, uint32_t domid,
					   char why[REMUS_TEXT_MAX])
{
	if (a->base.ops)
		return &a->base;
	snprintf(a->domain, sizeof a->domain, "/local/domain/%u", domid);
	snprintf(a->request, sizeof a->request, "/local/domain/%u/" REMUS_AGENT_REQUEST, domid);
	snprintf(a->reply, sizeof a->reply, "/local/domain/%u/" REMUS_AGENT_REPLY, domid);
	a->xs = xs_open(0);
	if (!a->xs || !xs_watch(a->xs, a->reply, "agent")) {
		snprintf(why, REMUS_TEXT_MAX, "xenstore can't be watched: %s", strerror(errno));
		if (a->xs)
			xs_close(a->xs);
		a->xs = NULL;
		return NULL;
	}
	a->base.ops = &ops;
	return &a->base;
}

/* Whoever destroys a domain removes its nodes first, and a letter that is put down after that makes them anew. */
static bool is_gone(struct remus_xen_agent *a)
{
	char path[sizeof a->domain + 8];
	unsigned bytes;

	snprintf(path, sizeof path, "%s/name", a->domain);
	char *name = xs_read(a->xs, XBT_NULL, path, &bytes);
	bool gone = !name && errno == ENOENT;
	free(name);
	return gone;
}

void remus_xen_agent_close(struct remus_xen_agent *a)
{
	if (!a->base.ops)
		return;
	xs_rm(a->xs, XBT_NULL, is_gone(a) ? a->domain : a->request);
	xs_close(a->xs);
	memset(a, 0, sizeof *a);
}
