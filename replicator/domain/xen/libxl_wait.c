/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See libxl_wait.h. */
#include "libxl_wait.h"

#include <poll.h>
#include <sys/time.h>
#include "libxl_log.h"
#include "remus/util.h"

#define FDS 64 /* libxl asks for a handful: xenstore, its self-pipe, a helper's pipes */

bool remus_xen_libxl_turn(libxl_ctx *ctx, int also, int timeout_ms)
{
	struct pollfd fds[FDS + 1];
	int n = FDS, timeout = timeout_ms;
	struct timeval now;

	gettimeofday(&now, NULL);
	if (libxl_osevent_beforepoll(ctx, &n, fds, &timeout, now))
		n = 0; /* more descriptors than room: its timeouts still work */
	fds[n] = (struct pollfd){.fd = also, .events = POLLIN};
	if (timeout < 0 || timeout > timeout_ms)
		timeout = timeout_ms;
	poll(fds, (nfds_t)n + 1, timeout);
	bool readable = also >= 0 && fds[n].revents;
	gettimeofday(&now, NULL);
	libxl_osevent_afterpoll(ctx, n, fds, now);
	return readable;
}

struct wanted {
	uint64_t tag;
};

static int is_wanted(const libxl_event *event, void *user)
{
	const struct wanted *wanted = user;
	return event->type == LIBXL_EVENT_TYPE_OPERATION_COMPLETE && event->for_user == wanted->tag;
}

bool remus_xen_libxl_done(libxl_ctx *ctx, uint64_t tag, int *rc)
{
	struct wanted wanted = {.tag = tag};
	libxl_event *event = NULL;

	if (libxl_event_check(ctx, &event, LIBXL_EVENTMASK_ALL, is_wanted, &wanted))
		return false;
	*rc = event->u.operation_complete.rc;
	libxl_event_free(ctx, event);
	return true;
}

int remus_xen_libxl_destroy(uint32_t domid, int timeout_ms, struct remus_error *err)
{
	const uint64_t tag = 0x64657374; /* any */
	libxl_asyncop_how how = {.callback = NULL, .u = {.for_event = tag}};
	uint64_t until = remus_now_us() + (uint64_t)timeout_ms * 1000;
	libxl_ctx *ctx = NULL;
	int result = 0;

	if (libxl_ctx_alloc(&ctx, LIBXL_VERSION, 0, remus_xen_libxl_log()))
		return remus_fail(err, -EIO, "libxl can't be initialised");
	int rc = libxl_domain_destroy(ctx, domid, &how);
	if (rc == ERROR_DOMAIN_NOTFOUND)
		rc = 0;
	else if (rc)
		rc = remus_fail(err, -EIO, "domain %u can't be destroyed: libxl error %d", domid, rc);
	else
		for (;;) {
			if (remus_xen_libxl_done(ctx, tag, &result)) {
				if (result && result != ERROR_DOMAIN_NOTFOUND)
					rc = remus_fail(err, -EIO,
							"domain %u can't be destroyed: libxl error %d", domid,
							result);
				break;
			}
			if (remus_now_us() >= until)
				return remus_fail(err, -ETIMEDOUT, /* its context can't be freed now */
						  "libxl did not destroy domain %u within %d ms", domid,
						  timeout_ms);
			remus_xen_libxl_turn(ctx, -1, 100);
		}
	libxl_ctx_free(ctx);
	return rc;
}
