/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the two shells share: timers, the claim worker, samples for quantiles, the trace file. Private to
 * the sources of this folder.
 */
#ifndef REMUS_SHELL_H
#define REMUS_SHELL_H

#include <stdbool.h>
#include <stdint.h>
#include "remus/engine.h"

/* ---- feeding a machine: one event, its actions, and whatever events these raise, in order ---- */
#define SHELL_QUEUE 8 /* events that the actions of a step may raise; at most 2 today */
struct shell_feed {
	void *machine, *shell;
	void (*step)(void *machine, const struct remus_event *event, struct remus_actions *out);
	/* Negative = failed: the rest of the step is dropped and the machine gets REMUS_EV_FAILED. */
	int (*carry_out)(void *shell, const struct remus_action *action, struct remus_error *err);
	struct remus_event queue[SHELL_QUEUE];
	char text[SHELL_QUEUE][REMUS_REASON_MAX];
	unsigned queued;
};
void shell_feed(struct shell_feed *feed, const struct remus_event *event);
/* An event without members but its text (copied; may be NULL). */
void shell_feed_simple(struct shell_feed *feed, enum remus_event_type type, const char *text);
/* From within carry_out: queue an event for after this step; fill in its members. */
struct remus_event *shell_raise(struct shell_feed *feed, enum remus_event_type type, const char *text);

/* ---- timers: one due time per enum remus_timer, 0 = not set ---- */
struct shell_timers {
	uint64_t at_us[REMUS_TIMERS];
};
/* Milliseconds until the next one is due, rounded up, for poll(2); -1 = none, 0 = due. At most @max_ms. */
int shell_timers_wait(const struct shell_timers *timers, uint64_t now_us, int max_ms);
/* A timer that is due: clears and returns it; -1 = none. */
int shell_timers_due(struct shell_timers *timers, uint64_t now_us);

/* ---- claims, in a worker thread: an arbiter's medium may hang, a shell may not ---- */
#define CLAIM_DEADLINE_US 5000000u
struct shell_claimer;
int shell_claimer_create(struct remus_arbiter *arbiter, const struct remus_key *key, enum remus_holder holder,
			 struct shell_claimer **out, struct remus_error *err);
int shell_claimer_fd(const struct shell_claimer *claimer);
/* Ask. While an older question hangs, the new one is answered UNKNOWN at its deadline too. */
void shell_claimer_ask(struct shell_claimer *claimer, uint64_t now_us);
/* true: *claim (and @err for UNKNOWN) answers the last ask(). Also when its deadline has passed. */
bool shell_claimer_answer(struct shell_claimer *claimer, uint64_t now_us, enum remus_claim *claim,
			  struct remus_error *err);
/* When the outstanding question's deadline is, 0 = none. */
uint64_t shell_claimer_deadline(const struct shell_claimer *claimer);
/* Never waits. A worker that hangs in the arbiter is left behind and frees the rest when it comes back: false, and the
 * arbiter must not be closed, since the worker still uses it. Else true, all is freed. */
bool shell_claimer_destroy(struct shell_claimer *claimer);

/* ---- samples ---- */
#define SAMPLES 1024
struct shell_samples {
	uint32_t ring[SAMPLES];
	uint64_t count;
};
void shell_samples_add(struct shell_samples *samples, uint64_t value);
void shell_samples_quantiles(const struct shell_samples *samples, struct remus_quantiles *out);

/* ---- shares of the last minute ---- */
#define SHARE_SECONDS 60
struct shell_share { /* begins all zero */
	uint64_t began_us, second;
	uint32_t took_us[SHARE_SECONDS];
};
/* Count the time from @from_us to @to_us, CLOCK_MONOTONIC. Calls come in order of time. */
void shell_share_add(struct shell_share *share, uint64_t from_us, uint64_t to_us);
/* Percent of the last minute, or of the time since the first call if that is shorter. */
double shell_share_percent(struct shell_share *share, uint64_t now_us);

/* ---- the clocks (clock_watch.c) ---- */
struct shell_voice { /* where events go: as in struct remus_supervisor */
	void *context;
	void (*event)(void *context, enum remus_level level, const char *kind, const char *text);
};
struct shell_clock {	 /* begins all zero */
	uint64_t raw_ns; /* of the last look */
	int64_t wall_ns; /* CLOCK_REALTIME minus CLOCK_MONOTONIC_RAW then */
	struct remus_report *report;
};
/* Look, once a second at most, however often it is called; fill what is known of @out. @link may be NULL. */
void shell_clock_look(struct shell_clock *clock, struct remus_link *link, struct remus_clock_status *out,
		      const struct shell_voice *voice);
void shell_clock_end(struct shell_clock *clock);

/* ---- trace (docs/control.md, Trace files): no-ops when not open ---- */
#define SHELL_TRACE_MAX (256u << 20) /* bytes of a file; there is it and the one before */
struct shell_trace {
	int fd;
	char path[4096];
	uint64_t bytes;
};
int shell_trace_open(struct shell_trace *trace, const char *path, struct remus_error *err);
static inline bool shell_trace_on(const struct shell_trace *trace)
{
	return trace->fd >= 0;
}
void shell_trace_epoch(struct shell_trace *trace, const char *what, uint64_t epoch);
/* @what, which was at @time_us, with the number of frames that each buffer had accepted at the last
 * remus_guest_egress_stats(). */
void shell_trace_accepted(struct shell_trace *trace, const char *what, uint64_t time_us, uint64_t epoch,
			  const struct remus_guest *guest);
void shell_trace_close(struct shell_trace *trace);

#endif
