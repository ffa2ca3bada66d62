/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What both shells stand on: timers, quantiles, and the feed's rule for failing actions. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replicator/shell.h"
#include "unit.h"

/* ---- timers, samples, shares ---- */

static void timers_come_in_time(void)
{
	struct shell_timers timers = {0};

	CU_ASSERT_EQUAL(shell_timers_wait(&timers, 1000, 100), 100);
	CU_ASSERT_EQUAL(shell_timers_wait(&timers, 1000, -1), -1);
	timers.at_us[REMUS_TIMER_EPOCH] = 3500;
	timers.at_us[REMUS_TIMER_ACK] = 99000;
	CU_ASSERT_EQUAL(shell_timers_wait(&timers, 1000, 100), 3); /* 2.5 ms, rounded up: never early */
	CU_ASSERT_EQUAL(shell_timers_due(&timers, 3499), -1);
	CU_ASSERT_EQUAL(shell_timers_wait(&timers, 3500, 100), 0);
	CU_ASSERT_EQUAL(shell_timers_due(&timers, 3500), REMUS_TIMER_EPOCH);
	CU_ASSERT_EQUAL(shell_timers_due(&timers, 3500), -1); /* once */
}

static bool about(double value, double wanted)
{
	return value > wanted - 1e-6 && value < wanted + 1e-6;
}

static void shares_are_of_the_last_minute(void)
{
	const uint64_t second = 1000000, t = 5000 * second;
	struct shell_share share = {0};

	CU_ASSERT(about(shell_share_percent(&share, t), 0));
	shell_share_add(&share, t + 900000, t + 1100000);		   /* over a second's end */
	CU_ASSERT(about(shell_share_percent(&share, t + 2 * second), 10)); /* 0.2 of the 2 s there were */
	CU_ASSERT(about(shell_share_percent(&share, t + 4 * second), 5));
	for (uint64_t i = 10; i < 200; i++)
		shell_share_add(&share, t + i * second, t + i * second + 50000);
	/* 59 seconds that are over and half of the one that isn't, each with its 50 ms */
	CU_ASSERT(about(shell_share_percent(&share, t + 199 * second + 500000), 100 * 3.0 / 59.5));
	CU_ASSERT(about(shell_share_percent(&share, t + 229 * second),
			100 * 30 * 0.05 / 59)); /* unpaused since */
	CU_ASSERT(about(shell_share_percent(&share, t + 260 * second), 0));
	shell_share_add(&share, t + 1000 * second, t + 1002 * second); /* after a long silence */
	CU_ASSERT(about(shell_share_percent(&share, t + 1002 * second), 200 / 59.0));
	shell_share_add(&share, t + 1010 * second, t + 1500 * second); /* longer than the window */
	CU_ASSERT(about(shell_share_percent(&share, t + 1500 * second), 100));
}

static char heard[256];

static void hear(void *context, enum remus_level level, const char *kind, const char *text)
{
	CU_ASSERT(context == heard && level == REMUS_LEVEL_WARNING && !strcmp(kind, "clock"));
	snprintf(heard, sizeof heard, "%s", text);
}

/* As if the last look had been two seconds ago, when the wall clock stood @ms less ahead of the raw one. */
static void look(int64_t ms)
{
	const struct shell_voice voice = {heard, hear};
	struct remus_clock_status status = {0};
	struct remus_clock_reading now;
	struct shell_clock clock = {0};

	remus_clock_read(&now);
	clock.raw_ns = now.raw_ns - 2000000000;
	clock.wall_ns = now.realtime_ns - (int64_t)now.raw_ns - ms * 1000000;
	heard[0] = 0;
	shell_clock_look(&clock, NULL, &status, &voice);
	CU_ASSERT(clock.raw_ns >= now.raw_ns && !status.known && !status.peer_known);
	shell_clock_end(&clock);
}

static void a_clock_that_is_set_is_told_of(void)
{
	look(5000);
	CU_ASSERT(strstr(heard, "set forward by 5000 ms") || strstr(heard, "set forward by 4999 ms"));
	look(-5000);
	CU_ASSERT(strstr(heard, "set back by 5000 ms") || strstr(heard, "set back by 4999 ms"));
	look(160); /* 8 % of two seconds: slewed */
	CU_ASSERT_STRING_EQUAL(heard, "");
	look(0);
	CU_ASSERT_STRING_EQUAL(heard, "");
}

static void quantiles_are_of_the_last_values(void)
{
	static struct shell_samples samples;
	struct remus_quantiles q;

	shell_samples_quantiles(&samples, &q);
	CU_ASSERT(q.p50 == 0 && q.p99 == 0 && q.max == 0);
	for (uint64_t i = 1; i <= 100; i++)
		shell_samples_add(&samples, i);
	shell_samples_quantiles(&samples, &q);
	CU_ASSERT(q.p50 == 51 && q.p99 == 100 && q.max == 100);
	for (int i = 0; i < SAMPLES; i++)
		shell_samples_add(&samples, 7);
	shell_samples_quantiles(&samples, &q);
	CU_ASSERT(q.p50 == 7 && q.max == 7);
	shell_samples_add(&samples, UINT64_MAX);
	shell_samples_quantiles(&samples, &q);
	CU_ASSERT_EQUAL(q.max, UINT32_MAX);
}

/* ---- the feed ---- */

static char log_text[512];

static void step(void *machine, const struct remus_event *event, struct remus_actions *out)
{
	size_t n = strlen(log_text);
	(void)machine;
	snprintf(log_text + n, sizeof log_text - n, "<%s%s%s>", remus_event_name(event->type),
		 event->type == REMUS_EV_FAILED ? " " : "",
		 event->type == REMUS_EV_FAILED ? remus_action_name(event->action) : "");
	memset(out, 0, sizeof *out);
	if (event->type != REMUS_EV_START)
		return;
	static const enum remus_action_type types[] = {REMUS_DO_PAUSE, REMUS_DO_CAPTURE, REMUS_DO_RESUME};
	for (out->count = 0; out->count < 3; out->count++)
		out->list[out->count].type = types[out->count];
}

static int carry_out(void *shell, const struct remus_action *action, struct remus_error *err)
{
	struct shell_feed *feed = shell;
	size_t n = strlen(log_text);

	snprintf(log_text + n, sizeof log_text - n, "%s ", remus_action_name(action->type));
	if (action->type == REMUS_DO_PAUSE)
		shell_raise(feed, REMUS_EV_SENT, NULL);
	return action->type == REMUS_DO_CAPTURE ? remus_fail(err, -EIO, "no") : 0;
}

/* What follows a failed action isn't done; raised events come in order, the failure after them. */
static void a_failing_action_ends_its_step(void)
{
	static struct shell_feed feed;

	feed = (struct shell_feed){.shell = &feed, .step = step, .carry_out = carry_out};
	log_text[0] = 0;
	shell_feed_simple(&feed, REMUS_EV_START, NULL);
	CU_ASSERT_STRING_EQUAL(log_text, "<EV_START>DO_PAUSE DO_CAPTURE <EV_SENT><EV_FAILED DO_CAPTURE>");
}

/* I11: full, it is put aside, and so is the next one, in the older one's place. */
static void a_full_trace_is_put_aside(void)
{
	char dir[] = "/tmp/test-shell-XXXXXX", path[64], older[64];
	static struct shell_trace trace;
	struct stat st;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/trace", dir);
	snprintf(older, sizeof older, "%s.1", path);
	for (int i = 0; i < 2; i++) {
		int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		CU_ASSERT(!ftruncate(fd, SHELL_TRACE_MAX - 100 * (i + 1))); /* a hole: takes no room */
		close(fd);
		CU_ASSERT_EQUAL_FATAL(shell_trace_open(&trace, path, NULL), 0);
		for (int line = 0; line < 20; line++)
			shell_trace_epoch(&trace, "release", 1);
		CU_ASSERT(!stat(path, &st) && st.st_size > 0 && st.st_size < 1000);
		CU_ASSERT(!stat(older, &st) && st.st_size <= SHELL_TRACE_MAX && st.st_size > 1000);
		shell_trace_close(&trace);
	}
	unlink(path);
	unlink(older);
	rmdir(dir);
}

static const struct unit_case cases[] = {
	{"timers come in time", timers_come_in_time},
	{"quantiles are of the last values", quantiles_are_of_the_last_values},
	{"shares are of the last minute", shares_are_of_the_last_minute},
	{"a clock that is set is told of", a_clock_that_is_set_is_told_of},
	{"a failing action ends its step", a_failing_action_ends_its_step},
	{"a full trace is put aside (I11)", a_full_trace_is_put_aside},
};
UNIT_MAIN("shell", cases)
