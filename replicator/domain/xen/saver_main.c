/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remus-xen-saver: runs libxenguest's xc_domain_save() of one PV guest, live and checkpointed, for as long as the
 * guest is protected, writing to a pipe. Words and descriptors: saver.h.
 *
 * libxenguest turns log-dirty mode on, and off however it ends. What it does not do is to let the guest run again,
 * so should the engine be gone, that is done here (I8). Nothing is suspended here, ever.
 */
#include "config.h"

#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "handles.h"
#include "helper.h"
#include "logdirty.h"
#include "remus/log.h"
#include "remus/util.h"

#include <xen/sched.h>
#include <xenguest.h>

enum { TALK = 3, STREAM = 4 };

#define FEW_PAGES   1024u   /* dirty ones that may be left to the first checkpoint: 4 MiB */
#define LIVE_ROUNDS 5u	    /* and how often they are tried to be made so few... */
#define LIVE_US	    8000000 /* ...and for how long */

struct saver {
	uint32_t domid;
	bool ended;    /* told to end */
	bool orphaned; /* the engine is gone */
	bool stop;
	uint64_t stopped_us; /* when that was told */
	bool suspended, resumed;
};

static void say(const char *text)
{
	send(TALK, text, strlen(text), MSG_NOSIGNAL);
}

/* One word from the engine, waiting for it. No deadline: the engine's end is an answer. */
static void hear(struct saver *s)
{
	char text[REMUS_XEN_HELPER_MESSAGE];
	ssize_t n = recv(TALK, text, sizeof text - 1, 0);

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		s->orphaned = !s->ended;
		s->ended = true;
		return;
	}
	text[n] = 0;
	if (!strcmp(text, "stop"))
		s->stop = true;
	else if (!strcmp(text, "suspended"))
		s->suspended = true;
	else if (!strcmp(text, "resumed"))
		s->resumed = true;
	else if (!strcmp(text, "end"))
		s->ended = true;
	if (s->stop && !s->stopped_us)
		s->stopped_us = remus_now_us();
}

/* Take what is told, once: false when the end is told instead. */
static bool await(struct saver *s, bool *what)
{
	while (!*what && !s->ended)
		hear(s);
	bool told = *what && !s->ended;
	*what = false;
	return told;
}

/*
 * Asked twice per round: before the dirty pages are fetched (their number unknown, -1) and before they are sent.
 * The first round is all of memory. After it the engine says when it has got that out to the backup; rounds from
 * then on go at the pipe's speed and are there to make the first pause short.
 */
static int policy(struct precopy_stats stats, void *data)
{
	struct saver *s = data;

	if (s->ended)
		return XGS_POLICY_ABORT;
	if (stats.iteration == 0)
		return XGS_POLICY_CONTINUE_PRECOPY;
	if (stats.dirty_count < 0) {
		while (!s->stop && !s->ended)
			hear(s);
		return s->ended ? XGS_POLICY_ABORT : XGS_POLICY_CONTINUE_PRECOPY;
	}
	if ((unsigned long)stats.dirty_count <= FEW_PAGES || stats.iteration >= LIVE_ROUNDS ||
	    remus_now_us() - s->stopped_us >= LIVE_US)
		return XGS_POLICY_STOP_AND_COPY;
	return XGS_POLICY_CONTINUE_PRECOPY;
}

/* The engine suspends: wait until it says that it has. 0 ends the save, with an error. */
static int on_suspend(void *data)
{
	struct saver *s = data;

	say("ready");
	return await(s, &s->suspended);
}

/* The checkpoint is written. 0 ends the save, "successfully", the guest standing still. */
static int on_postcopy(void *data)
{
	struct saver *s = data;
	return await(s, &s->resumed);
}

static int on_checkpoint(void *data)
{
	const struct saver *s = data;
	return !s->ended;
}

/* The engine died in a pause: nobody else would let the guest go on. What it sends is held. */
static void let_go(const struct remus_xen_handles *xen, uint32_t domid)
{
	xc_dominfo_t info;

	remus_xen_logdirty_off(xen, domid);
	if (remus_xen_info(xen, domid, &info, NULL) < 0 || !info.shutdown ||
	    info.shutdown_reason != SHUTDOWN_suspend)
		return;
	remus_warn("domain %u: the engine died while it stood still; it is made to go on", domid);
	if (xc_domain_resume(xen->xch, domid, 1))
		remus_error_log("domain %u can't be resumed: %s; it has to be destroyed (`xl destroy %u`)",
				domid, strerror(errno), domid);
	else
		xs_resume_domain(xen->xs, domid);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"domain", required_argument, NULL, 'd'}, {0}};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_xen_handles xen;
	struct saver s = {.domid = 0};
	char text[REMUS_XEN_HELPER_MESSAGE];

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
		if (c == 'd')
			s.domid = (uint32_t)strtoul(optarg, NULL, 10);
	if (!s.domid || fcntl(STREAM, F_GETFD) < 0) {
		fputs("remus-xen-saver is run by remusd, not by hand\n", stderr);
		return 2;
	}
	fcntl(TALK, F_SETFD, FD_CLOEXEC);
	fcntl(STREAM, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	snprintf(text, sizeof text, "domain %u", s.domid);
	remus_log_identity(text);
	if (remus_xen_open(&xen, &err) < 0) {
		snprintf(text, sizeof text, "ended %.480s", err.message);
		say(text);
		return EXIT_FAILURE;
	}
	xtl_stdiostream_set_minlevel((xentoollog_logger_stdiostream *)xen.log, XTL_ERROR);
	struct save_callbacks callbacks = {
		.suspend = on_suspend,
		.precopy_policy = policy,
		.postcopy = on_postcopy,
		.checkpoint = on_checkpoint,
		.data = &s,
	};
	errno = 0;
	int rc = xc_domain_save(xen.xch, STREAM, s.domid, XCFLAGS_LIVE, &callbacks, XC_STREAM_REMUS, -1);
	int code = errno;
	snprintf(text, sizeof text, "ended %s%s",
		 s.ended ? "as it was told"
		 : rc	 ? "xc_domain_save failed (its words are in the session's xen.log): "
			 : "xc_domain_save returned though nobody told it to",
		 rc && !s.ended ? strerror(code) : "");
	remus_info("%s", text);
	close(STREAM);
	say(text);
	while (!s.ended) /* the engine shall end it, or be gone */
		hear(&s);
	if (s.orphaned)
		let_go(&xen, s.domid);
	remus_xen_close(&xen);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
