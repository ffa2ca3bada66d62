/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See saver.h. */
#include "saver.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "remus/util.h"

#define PROGRAM	   "remus-xen-saver"
#define PIPE_BYTES (1u << 20) /* what a pipe may have without more ado */
#define READ_BYTES (256u << 10)
#define HEAR_MS	   200 /* for the last words of one whose stream has ended */

int remus_xen_saver_start(struct remus_xen_saver *s, uint32_t domid, struct remus_xen_records *records,
			  const char *log_path, struct remus_error *err)
{
	char id[16];
	const char *argv[] = {PROGRAM, "--domain", id, NULL};
	int stream[2];

	*s = (struct remus_xen_saver)REMUS_XEN_SAVER_INIT;
	snprintf(id, sizeof id, "%u", domid);
	s->buffer = malloc(READ_BYTES);
	if (!s->buffer)
		return remus_fail(err, -ENOMEM, "domain %u: no memory to read its state", domid);
	if (pipe2(stream, O_CLOEXEC)) {
		int rc = remus_fail_errno(err, "a channel to %s", PROGRAM);
		remus_xen_saver_stop(s, 0);
		return rc;
	}
	fcntl(stream[0], F_SETPIPE_SZ, PIPE_BYTES);
	fcntl(stream[0], F_SETFL,
	      O_NONBLOCK); /* the write end is another description: libxenguest's blocks */
	s->stream = stream[0];
	s->records = records;
	int rc = remus_xen_helper_start(&s->helper, PROGRAM, "REMUS_XEN_SAVER",
					(char *const *)(uintptr_t)argv, &stream[1], 1, log_path, err);
	s->started = rc == 0;
	if (rc < 0)
		remus_xen_saver_stop(s, 0);
	return rc;
}

int remus_xen_saver_tell(struct remus_xen_saver *s, const char *word, struct remus_error *err)
{
	if (!strcmp(word, "suspended"))
		s->ready = false;
	return remus_xen_helper_tell(&s->helper, word, err);
}

static void hear(struct remus_xen_saver *s, int timeout_ms)
{
	char text[REMUS_XEN_HELPER_MESSAGE];
	int heard = remus_xen_helper_hear(&s->helper, timeout_ms, text);

	if (heard == 1 && !strcmp(text, "ready"))
		s->ready = true;
	else if (heard == 1 && !strncmp(text, "ended ", 6))
		snprintf(s->last_words, sizeof s->last_words, "%s", text + 6);
	else if (heard < 0)
		remus_xen_close_fd(&s->helper.talk);
}

static int ended(struct remus_xen_saver *s, struct remus_error *err)
{
	while (!s->last_words[0] && s->helper.talk >= 0) {
		struct pollfd pfd = {.fd = s->helper.talk, .events = POLLIN};
		if (poll(&pfd, 1, HEAR_MS) <= 0)
			break;
		hear(s, 0);
	}
	return remus_fail(err, -EPIPE, "libxenguest has ended: %s",
			  s->last_words[0] ? s->last_words : "its process died; its words are in xen.log");
}

/* One read. 1 = there may be more. */
static int take(struct remus_xen_saver *s, struct remus_error *err)
{
	ssize_t n = read(s->stream, s->buffer, READ_BYTES);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		remus_xen_close_fd(&s->stream);
		return 0;
	}
	int rc = remus_xen_records_feed(s->records, s->buffer, (size_t)n, err);
	return rc < 0 ? rc : 1;
}

int remus_xen_saver_pump(struct remus_xen_saver *s, bool (*done)(const void *context), const void *context,
			 int timeout_ms, struct remus_error *err)
{
	uint64_t until = remus_now_us() + (uint64_t)timeout_ms * 1000;

	while (!done(context)) {
		struct pollfd fds[2] = {
			{.fd = s->stream, .events = POLLIN},
			{.fd = s->helper.talk, .events = POLLIN},
		};
		uint64_t now = remus_now_us();
		if (s->stream < 0)
			return ended(s, err);
		if (now >= until)
			return remus_fail(err, -ETIMEDOUT, "libxenguest did not get on within %d ms",
					  timeout_ms);
		if (poll(fds, 2, (int)((until - now) / 1000) + 1) <= 0)
			continue;
		if (fds[1].revents)
			hear(s, 0);
		int rc = fds[0].revents ? take(s, err) : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

void remus_xen_saver_stop(struct remus_xen_saver *s, int timeout_ms)
{
	if (s->started)
		remus_xen_helper_tell(&s->helper, "end", NULL);
	remus_xen_close_fd(&s->stream); /* a write that goes on fails */
	if (s->started)
		remus_xen_helper_stop(&s->helper, timeout_ms);
	s->started = s->ready = false;
	free(s->buffer);
	s->buffer = NULL;
}
