/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * See fault.h. All that is here runs only when somebody has armed a point. What goes off is said in the log first, with
 * the monotonic time: whoever drills must know the moment, and a process that is killed can't say anything later.
 */
#include "remus/fault.h"

#include <ctype.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "remus/log.h"
#include "remus/util.h"

#define ANY	     REMUS_FAULT_COUNT
#define NOTHING	     (-1)
#define NTH_MAX	     1000000000
#define DELAY_MS     100
#define DELAY_MAX_MS 600000
#define ERRNO_NAMES  134 /* Linux has none from there on */

enum action { FAIL, DELAY, STOP, KILL };

/* Shared with children. */
struct counts {
	_Atomic uint64_t reached[REMUS_FAULT_COUNT], fired;
};

struct arming {
	char spec[128];
	int point; /* enum remus_fault_point, ANY or NOTHING */
	uint64_t nth;
	bool onwards; /* "3+" */
	enum action action;
	int code;	   /* of FAIL, positive errno */
	unsigned delay_ms; /* of DELAY */
};
#define ARMING_INIT                                                           \
	{                                                                     \
		.point = NOTHING, .nth = 1, .code = EIO, .delay_ms = DELAY_MS \
	}

static struct arming armed = ARMING_INIT;
static struct counts *counts;
bool remus_fault_on;

static const struct {
	const char *id, *process, *text;
} table[REMUS_FAULT_COUNT] = {
#define ROW(id, process, text) {#id, process, text},
	REMUS_FAULT_POINTS(ROW)
#undef ROW
};

void remus_fault_info(enum remus_fault_point point, struct remus_fault_info *out)
{
	snprintf(out->name, sizeof out->name, "%s", table[point].id);
	for (char *c = out->name; *c; c++)
		if (*c == '_')
			*c = '-';
	out->process = table[point].process;
	out->text = table[point].text;
}

/* ---- arming ---- */

static int find_point(const char *name, struct remus_error *err)
{
	struct remus_fault_info info;

	if (!strcmp(name, "any"))
		return ANY;
	for (int i = 0; i < REMUS_FAULT_COUNT; i++) {
		remus_fault_info((enum remus_fault_point)i, &info);
		if (!strcmp(name, info.name))
			return i;
	}
	return remus_fail(err, -EINVAL, "there is no fault point \"%.40s\"; `remusd --faults` lists them",
			  name);
}

static int parse_nth(char *text, struct arming *out, struct remus_error *err)
{
	char *end = text;

	out->nth = isdigit((unsigned char)*text) ? strtoull(text, &end, 10) : 0;
	out->onwards = *end == '+';
	if (out->onwards)
		end++;
	if (*end || !out->nth || out->nth > NTH_MAX)
		return remus_fail(
			err, -EINVAL,
			"\"%.40s\" is no count: say the how manieth time, from 1; with a + behind it, "
			"from that time on",
			text);
	return 0;
}

static int parse_errno(const char *name, struct arming *out, struct remus_error *err)
{
	for (int i = 1; i < ERRNO_NAMES; i++) {
		const char *known = strerrorname_np(i);
		if (known && !strcmp(known, name)) {
			out->code = i;
			return 0;
		}
	}
	return remus_fail(err, -EINVAL,
			  "\"%.40s\" is no error: name one as errno(3) does, ENOSPC for example", name);
}

static int parse_delay(const char *text, struct arming *out, struct remus_error *err)
{
	char *end;
	unsigned long ms = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)*text) || *end || ms > DELAY_MAX_MS)
		return remus_fail(err, -EINVAL, "\"delay=%.40s\": give milliseconds, 0 to %d", text,
				  DELAY_MAX_MS);
	out->delay_ms = (unsigned)ms;
	return 0;
}

static int parse_action(char *text, struct arming *out, struct remus_error *err)
{
	static const char *const words[] = {
		[FAIL] = "fail", [DELAY] = "delay", [STOP] = "stop", [KILL] = "kill"};
	char *value = strchr(text, '=');

	if (value)
		*value++ = 0;
	for (unsigned i = 0; i < REMUS_ARRAY_SIZE(words); i++) {
		if (strcmp(text, words[i]) != 0)
			continue;
		out->action = (enum action)i;
		if (!value)
			return 0;
		if (i == FAIL)
			return parse_errno(value, out, err);
		if (i == DELAY)
			return parse_delay(value, out, err);
	}
	return remus_fail(err, -EINVAL,
			  "\"%.40s%s\" is no action: use fail[=ERRNO], delay[=MS], stop or kill", text,
			  value ? "=..." : "");
}

static int parse(const char *spec, struct arming *out, struct remus_error *err)
{
	char copy[sizeof out->spec];

	if (strlen(spec) >= sizeof copy)
		return remus_fail(err, -EINVAL, "more than %zu bytes", sizeof copy - 1);
	strcpy(copy, spec);
	strcpy(out->spec, spec);
	char *nth = strchr(copy, ':');
	if (nth)
		*nth++ = 0;
	char *action = nth ? strchr(nth, ':') : NULL;
	if (action)
		*action++ = 0;
	out->point = find_point(copy, err);
	int rc = out->point < 0 ? out->point : 0;
	if (rc == 0 && nth)
		rc = parse_nth(nth, out, err);
	if (rc == 0 && action)
		rc = parse_action(action, out, err);
	return rc;
}

/* Counts begin anew, in memory of their own: nobody who still holds the old ones is disturbed. */
static int count_anew(struct remus_error *err)
{
	void *memory = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return remus_fail_errno(err, "memory for the counts of fault points");
	counts = memory;
	return 0;
}

static void disarm(void)
{
	remus_fault_on = false;
	armed = (struct arming)ARMING_INIT;
	if (counts)
		munmap(counts, sizeof *counts);
	counts = NULL;
}

int remus_fault_watch(struct remus_error *err)
{
	disarm();
	int rc = count_anew(err);
	remus_fault_on = rc == 0;
	return rc;
}

int remus_fault_arm(const char *spec, struct remus_error *err)
{
	struct arming wanted = ARMING_INIT;

	if (!spec || !*spec) {
		disarm();
		return 0;
	}
	int rc = parse(spec, &wanted, err);
	if (rc == 0)
		rc = remus_fault_watch(err);
	if (rc == 0)
		armed = wanted;
	else if (err)
		remus_error_prefix(err, REMUS_FAULT_VARIABLE "=%.130s", spec);
	return rc;
}

const char *remus_fault_armed(void)
{
	return armed.spec;
}

uint64_t remus_fault_reached(enum remus_fault_point point)
{
	return counts ? atomic_load(&counts->reached[point]) : 0;
}

uint64_t remus_fault_fired(void)
{
	return counts ? atomic_load(&counts->fired) : 0;
}

/* ---- going off ---- */

static void wait_ms(unsigned ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

static int go_off(enum remus_fault_point point, uint64_t nth, struct remus_error *err)
{
	static const char *const what[] = {
		[FAIL] = "fails", [DELAY] = "is delayed", [STOP] = "stops", [KILL] = "is killed"};
	struct remus_fault_info info;

	remus_fault_info(point, &info);
	atomic_fetch_add(&counts->fired, 1);
	remus_warn("fault point %s, time %llu, at %llu us: pid %d %s by order of " REMUS_FAULT_VARIABLE "=%s",
		   info.name, (unsigned long long)nth, (unsigned long long)remus_now_us(), (int)getpid(),
		   what[armed.action], armed.spec);
	switch (armed.action) {
	case FAIL:
		remus_fail(err, -armed.code, "fault point %s: %s, by order of " REMUS_FAULT_VARIABLE,
			   info.name, strerror(armed.code));
		errno = armed.code;
		return -armed.code;
	case DELAY:
		wait_ms(armed.delay_ms);
		break;
	case STOP:
		kill(getpid(), SIGSTOP);
		break;
	case KILL:
		kill(getpid(), SIGKILL);
		break;
	}
	return 0;
}

int remus_fault_at(enum remus_fault_point point, struct remus_error *err)
{
	uint64_t nth = atomic_fetch_add(&counts->reached[point], 1) + 1;

	if ((armed.point != ANY && armed.point != (int)point) || nth < armed.nth ||
	    (nth > armed.nth && !armed.onwards))
		return 0;
	return go_off(point, nth, err);
}
