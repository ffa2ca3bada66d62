/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The drill's guest: one static program that is the whole user space of the virtual machine. Its parts:
 *   setup.c  what an init must do before anything works (mounts, modules, addresses)
 *   stamp.c  the memory workload that checks itself
 *   echo.c   the network workload: a TCP echo with a rising counter, and the control port
 *   udp.c    the same counter over UDP
 *   frames.c raw frames of every kind, numbered
 *   samples.c random numbers and the wall clock, for who compares two copies of the guest
 *   guest.c  the loop that runs them, and the time stamp counter's frequency (run on the host)
 * The other half of the conversation is remus_drill/client.py.
 */
#ifndef REMUS_DRILL_GUEST_H
#define REMUS_DRILL_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Say why on the console and power off: an init has nobody to return an error to. */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
uint64_t now_ns(void); /* CLOCK_MONOTONIC */

/* ---- setup.c ---- */
void setup_mounts(void);
/* Loads /modules/NAME for each name in /modules/order. */
void setup_modules(void);
/* Start /agent, remus-agent(8). */
void setup_agent(void);
/* eth0: @ip4 as "10.77.0.10/24", @ip6 as "fd77::10/64". */
void setup_network(const char *ip4, const char *ip6);
/* Before the power goes off. */
void setup_network_down(void);
/* VLAN @id on eth0, with @ip4. */
void setup_vlan(int id, const char *ip4);
/* The value of "NAME=VALUE" on the kernel's command line, or NULL (static storage per name: copy it). */
const char *setup_argument(const char *name);

/* ---- stamp.c ---- */
struct stamp_report {
	uint64_t pages, bad, torn, stale; /* of the last full verify pass */
	uint64_t stamped;		  /* pages stamped since the start */
	uint64_t checked, checked_bad;	  /* by the slow check that always runs and by full passes */
	uint64_t first_bad_page, first_bad_expected, first_bad_found;
};
/* Map and stamp @pages pages. @rate: pages to stamp again each second. */
void stamp_start(uint64_t pages, uint64_t rate);
/* Called every few milliseconds: stamps what is due, checks a few pages. */
void stamp_tick(void);
/* Begin a full verify pass, spread over the following ticks. */
void stamp_verify_begin(void);
bool stamp_verify_running(void);
const struct stamp_report *stamp_report(void);

/* ---- echo.c ---- */
/* Listen on the two ports and register with @epoll. */
void echo_start(int epoll);
/* One epoll event; @data is what was registered. */
void echo_event(void *data, uint32_t events);
/* Called at every tick: answers a verify request whose pass has ended. */
void echo_tick(void);
/* The next value of the guest's one counter. */
uint64_t echo_count(void);

/* ---- udp.c ---- */
void udp_start(int epoll);
/* One epoll event; false when it is somebody else's. */
bool udp_event(void *data);

/* ---- samples.c ---- */
struct samples_report {
	uint64_t readings, backwards;  /* of the wall clock; those that were below the one before */
	int64_t backwards_ns;	       /* the most that one was */
	int64_t jump_ns, jump_back_ns; /* the largest jumps against the monotonic clock */
};
/* A line on the console every @every_ms; 0 = none. */
void samples_start(uint64_t every_ms);
/* Called every few milliseconds. */
void samples_tick(void);
const struct samples_report *samples_report(void);

/* ---- frames.c ---- */
/* @rate: frames a second; 0 = none. */
void frames_start(uint64_t rate);
/* Called every few milliseconds: sends what is due. */
void frames_tick(void);

#endif
