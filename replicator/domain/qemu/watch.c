/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Telling a guest that ended by its own will (never to be resurrected) from one whose hypervisor was lost (the
 * backup's to take over). QEMU announces the former by SHUTDOWN before it closes anything; so the connection is
 * read to its end before a death is believed.
 */
#include "watch.h"

#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "remus/util.h"

int remus_qemu_watch_open(struct remus_qemu_watch *w, struct remus_qmp *qmp, int pidfd,
			  struct remus_error *err)
{
	struct epoll_event event = {.events = EPOLLIN};

	w->pidfd = pidfd;
	w->qmp = qmp;
	w->over = false;
	if (w->epoll < 0) {
		w->epoll = epoll_create1(EPOLL_CLOEXEC);
		w->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (w->epoll >= 0 && w->kick >= 0)
			epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->kick, &event);
	}
	if (w->epoll < 0 || w->kick < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, pidfd, &event) ||
	    epoll_ctl(w->epoll, EPOLL_CTL_ADD, remus_qmp_fd(qmp), &event)) {
		int rc = remus_fail_errno(err, "watching QEMU: epoll");
		remus_qemu_watch_close(w);
		return rc;
	}
	return 0;
}

void remus_qemu_watch_kick(struct remus_qemu_watch *w)
{
	if (!w->over && remus_qmp_has_events(w->qmp))
		eventfd_write(w->kick, 1);
}

void remus_qemu_watch_end(struct remus_qemu_watch *w)
{
	if (w->epoll < 0 || w->over)
		return;
	w->over = true;
	epoll_ctl(w->epoll, EPOLL_CTL_DEL, w->pidfd, NULL);
	epoll_ctl(w->epoll, EPOLL_CTL_DEL, remus_qmp_fd(w->qmp), NULL);
}

void remus_qemu_watch_close(struct remus_qemu_watch *w)
{
	if (w->epoll >= 0)
		close(w->epoll);
	if (w->kick >= 0)
		close(w->kick);
	*w = REMUS_QEMU_WATCH_INIT;
}

static enum remus_domain_event judge(json_t *event, char why[REMUS_TEXT_MAX])
{
	static const struct {
		const char *reason, *text;
		enum remus_domain_event verdict;
	} reasons[] = {
		{"guest-shutdown", "the guest powered itself off", REMUS_DOMAIN_SHUTDOWN},
		{"guest-reset", "the guest rebooted, and its QEMU has -no-reboot", REMUS_DOMAIN_SHUTDOWN},
		{"guest-panic", "the guest's kernel panicked", REMUS_DOMAIN_SHUTDOWN},
		{"host-qmp-quit", "QEMU was told to quit", REMUS_DOMAIN_SHUTDOWN},
		{"host-signal", "QEMU was ended by a signal", REMUS_DOMAIN_SHUTDOWN},
		{"host-error", "QEMU stopped because of an error of its host", REMUS_DOMAIN_LOST},
	};
	if (strcmp(json_string_value(json_object_get(event, "event")), "SHUTDOWN"))
		return REMUS_DOMAIN_NONE; /* RESET, GUEST_PANICKED, ...: QEMU goes on, or SHUTDOWN follows */
	const char *reason = json_string_value(json_object_get(json_object_get(event, "data"), "reason"));
	if (!reason)
		reason = "unknown";
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(reasons); i++)
		if (!strcmp(reason, reasons[i].reason)) {
			snprintf(why, REMUS_TEXT_MAX, "%s", reasons[i].text);
			return reasons[i].verdict;
		}
	snprintf(why, REMUS_TEXT_MAX, "the guest was shut down (%s)", reason);
	return REMUS_DOMAIN_SHUTDOWN;
}

enum remus_domain_event remus_qemu_watch_next(struct remus_qemu_watch *w, char why[REMUS_TEXT_MAX])
{
	enum remus_domain_event verdict = REMUS_DOMAIN_NONE;
	struct remus_error err = REMUS_ERROR_INIT;
	eventfd_t kicks;

	if (w->epoll < 0)
		return REMUS_DOMAIN_NONE;
	eventfd_read(w->kick, &kicks);
	if (w->over)
		return REMUS_DOMAIN_NONE;
	/* First the process, then the connection: what it said before it died is then in. */
	struct pollfd ended = {.fd = w->pidfd, .events = POLLIN};
	bool dead = poll(&ended, 1, 0) > 0;
	bool closed = remus_qmp_pump(w->qmp, &err) < 0;
	json_t *event;
	while (verdict == REMUS_DOMAIN_NONE && (event = remus_qmp_next_event(w->qmp))) {
		verdict = judge(event, why);
		json_decref(event);
	}
	if (verdict == REMUS_DOMAIN_NONE && (dead || closed)) {
		verdict = REMUS_DOMAIN_LOST;
		snprintf(why, REMUS_TEXT_MAX, "%s",
			 dead ? "QEMU died without shutting the guest down" : err.message);
	}
	if (verdict != REMUS_DOMAIN_NONE)
		remus_qemu_watch_end(w);
	return verdict;
}
