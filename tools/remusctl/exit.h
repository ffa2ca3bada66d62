/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exit statuses: scripts lean on them, so a number never changes its meaning. remusctl(1) lists them. */
#ifndef REMUSCTL_EXIT_H
#define REMUSCTL_EXIT_H

enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	CTL_NO_DAEMON = 3,   /* remusd can't be reached: nothing was asked of it */
	CTL_NO_DOMAIN = 4,   /* it knows no such domain */
	CTL_REFUSED = 5,     /* the guest or the peer doesn't fit */
	CTL_UNPROTECTED = 6, /* status --check: a domain that should be protected isn't */
	CTL_TIMEOUT = 7,     /* no answer in time: what was asked for may still happen */
	CTL_OVERLOADED = 8,  /* status --check: all are protected, but the link can't keep up with one */
};

/* The exit status for a negative errno code that an answer carries. */
enum ctl_exit ctl_exit_of(int code);

#endif
