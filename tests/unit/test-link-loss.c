/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a link gets lost: silence, end of file, garbage, a peer that takes no data; and what must not count as
 * death: our own process having been stopped. No case asserts on wall time: they wait for what must come, and
 * the deadlines given to the link are far from each other.
 */
#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>
#include "link_pair.h"
#include "link_wrap.h"

static const struct remus_link_config patient = {.heartbeat_ms = 20, .dead_ms = PATIENCE_MS};
static const struct remus_link_config nervous = {.heartbeat_ms = 20, .dead_ms = 100};

static void silence(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	int fd[2];

	pair_sockets(fd);
	struct remus_link *link = pair_link(fd[0], &nervous);
	pair_expect_lost(link, "no sign of life from a local socket for 100 ms");
	CU_ASSERT_EQUAL(pair_send(link, REMUS_FRAME_HELLO, 0, "x", 1, &err), -EPIPE);
	UNIT_ASSERT_MESSAGE(err, "no sign of life");
	remus_link_close(link);
	close(fd[1]);
}

/* The owner stands in send(), the socket is full, the peer is gone: the heartbeat thread must get it out. */
static void a_blocked_sender_is_woken(void)
{
	static uint8_t payload[REMUS_PAGES_PAYLOAD_MAX];
	struct remus_error err = REMUS_ERROR_INIT;
	int fd[2], rc = 0;

	pair_sockets(fd);
	struct remus_link *link = pair_link(fd[0], &nervous);
	for (int i = 0; i < 1000 && !rc; i++)
		rc = pair_send(link, REMUS_FRAME_PAGES, 0, payload, sizeof payload, &err);
	CU_ASSERT_EQUAL(rc, -EPIPE);
	UNIT_ASSERT_MESSAGE(err, "no sign of life");
	pair_expect_lost(link, "no sign of life");
	remus_link_close(link);
	close(fd[1]);
}

/* The peer's heart beats, but its owner fetches nothing and its queue is full. */
static void a_living_peer_that_takes_nothing(void)
{
	static uint8_t payload[REMUS_PAGES_PAYLOAD_MAX];
	struct remus_link_config impatient = patient;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_link *a, *b;
	int rc = 0;

	impatient.stall_ms = 200;
	struct remus_link_config small = patient;
	small.queue_bytes = 1;
	pair_links(&impatient, &small, &a, &b);
	remus_link_bind(a, pair_session, 1);
	remus_link_bind(b, pair_session, 1);
	for (int i = 0; i < 1000 && !rc; i++)
		rc = pair_send(a, REMUS_FRAME_PAGES, 0, payload, sizeof payload, &err);
	CU_ASSERT_EQUAL(rc, -EPIPE);
	UNIT_ASSERT_MESSAGE(err, "takes no data for 200 ms");
	remus_link_close(a);
	remus_link_close(b);
}

static void end_of_file(void)
{
	static const struct {
		size_t bytes; /* of a frame of 64 + 4, sent before the end */
		const char *word;
	} table[] = {
		{0, "a local socket closed the connection"},
		{1, "in the middle of a frame"},
		{REMUS_FRAME_HEADER, "in the middle of a frame"},
		{REMUS_FRAME_HEADER + 3, "in the middle of a frame"},
		{REMUS_FRAME_HEADER + 4, "closed the connection"},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		uint8_t bytes[128];
		int fd[2];
		pair_sockets(fd);
		pair_frame(bytes, 1, REMUS_FRAME_REFUSE, 0, 1, "\1\0\0\0", 4);
		struct remus_link *link = pair_link(fd[0], &patient);
		CU_ASSERT_EQUAL(write(fd[1], bytes, table[i].bytes), (ssize_t)table[i].bytes);
		shutdown(fd[1], SHUT_WR);
		if (i == REMUS_ARRAY_SIZE(table) - 1) {
			struct remus_frame got;
			CU_ASSERT_EQUAL_FATAL(pair_await(link, &got, NULL), 1);
			CU_ASSERT_EQUAL(got.header.type, REMUS_FRAME_REFUSE);
			free(got.payload);
		}
		pair_expect_lost(link, table[i].word);
		remus_link_close(link);
		close(fd[1]);
	}
}

/* A refusal arrives although its sender closed at once and our own writes already fail. */
static void what_came_before_the_end_is_kept(void)
{
	static const struct remus_link_config fast = {.heartbeat_ms = 1, .dead_ms = PATIENCE_MS};

	for (int round = 0; round < 20; round++) {
		uint8_t bytes[128];
		int fd[2];
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_frame got;
		pair_sockets(fd);
		size_t n = pair_frame(bytes, 1, REMUS_FRAME_REFUSE, 0, 1, "\1\0\0\0why", 7);
		struct remus_link *link = pair_link(fd[0], &fast);
		CU_ASSERT_EQUAL(write(fd[1], bytes, n), (ssize_t)n);
		close(fd[1]);
		while (!pair_send(link, REMUS_FRAME_HELLO, 0, "x", 1, &err))
			;
		CU_ASSERT_EQUAL(err.code, -EPIPE);
		CU_ASSERT_EQUAL_FATAL(pair_await(link, &got, NULL), 1);
		CU_ASSERT_EQUAL(got.header.type, REMUS_FRAME_REFUSE);
		free(got.payload);
		pair_expect_lost(link, "a local socket");
		remus_link_close(link);
	}
}

/* A transport whose first read finds nothing, and comes back with that only when the link has been lost. */
struct late_transport {
	struct wrapped wrapped;
	sem_t down;
	bool read_once; /* the reader's alone */
};

static ssize_t late_read(struct remus_transport *t, void *buf, size_t n, struct remus_error *err)
{
	struct late_transport *late = (struct late_transport *)t;

	if (late->read_once)
		return wrapped_read(t, buf, n, err);
	late->read_once = true;
	while (sem_wait(&late->down))
		;
	return -EAGAIN;
}

static void late_shutdown(struct remus_transport *t)
{
	wrapped_shutdown(t);
	sem_post(&((struct late_transport *)t)->down);
}

/* The reader looks in vain; then the refusal comes, its sender closes, and our own writes fail: all before the
 * reader sees that it looked in vain. */
static void what_came_since_the_last_look_is_kept(void)
{
	struct remus_transport_ops ops = wrapped_ops;
	struct late_transport t = {.wrapped.base.ops = &ops};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_frame got;
	uint8_t bytes[128];
	int fd[2];

	ops.read = late_read;
	ops.shutdown = late_shutdown;
	pair_sockets(fd);
	sem_init(&t.down, 0, 0);
	struct remus_link *link = wrapped_link(&t.wrapped, fd[0], &patient);
	size_t n = pair_frame(bytes, 1, REMUS_FRAME_REFUSE, 0, 1, "\1\0\0\0why", 7);
	CU_ASSERT_EQUAL(write(fd[1], bytes, n), (ssize_t)n);
	close(fd[1]);
	while (!pair_send(link, REMUS_FRAME_HELLO, 0, "x", 1, &err))
		;
	CU_ASSERT_EQUAL_FATAL(pair_await(link, &got, NULL), 1);
	CU_ASSERT_EQUAL(got.header.type, REMUS_FRAME_REFUSE);
	free(got.payload);
	pair_expect_lost(link, "a local socket");
	remus_link_close(link);
	sem_destroy(&t.down);
}

static void garbage(void)
{
	static const struct {
		const char *word;
		uint16_t version, type;
		uint32_t flags, length;
		uint64_t sequence;
		int damage; /* byte whose lowest bit is turned, -1 = none */
		bool no_payload;
	} table[] = {
		{"garbage on the link from a local socket: not a remus peer", 1, 4, 0, 24, 1, 0, false},
		{"cannot be understood: the peer speaks version 2", 2, 4, 0, 24, 1, -1, false},
		{"unknown type 77", 1, 77, 1, 0, 1, -1, true},
		{"claims 4294967295 bytes", 1, REMUS_FRAME_HELLO, 0, UINT32_MAX, 1, -1, true},
		{"arrived damaged", 1, 4, 0, 24, 1, 63, false},
		{"arrived damaged", 1, 4, 0, 24, 1, 64 + 23, false},
		{"sequence 2 where 1", 1, 4, 0, 24, 2, -1, false},
		{"sequence 0 where 1", 1, 4, 0, 24, 0, -1, false},
		{"HEARTBEAT of 23 bytes", 1, 4, 0, 23, 1, -1, false},
		{"PAGES frame came before the hello", 1, REMUS_FRAME_PAGES, 0, 24, 1, -1, false},
		{"type 77 frame came before the hello", 1, 77, 0, 0, 1, -1, true},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		uint8_t bytes[128], zero[24] = {0};
		int fd[2];
		pair_sockets(fd);
		size_t n = pair_frame(bytes, table[i].version, table[i].type, table[i].flags,
				      table[i].sequence, table[i].no_payload ? NULL : zero, table[i].length);
		if (table[i].damage >= 0)
			bytes[table[i].damage] ^= 1;
		struct remus_link *link = pair_link(fd[0], &patient);
		CU_ASSERT_EQUAL(write(fd[1], bytes, n), (ssize_t)n);
		pair_expect_lost(link, table[i].word);
		remus_link_close(link);
		close(fd[1]);
	}
}

static void pause_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&t, NULL);
}

/* Stop this process for two dead_ms, in the background; with @fd, send heartbeats to it all the while, then
 * end. Only what may be called between fork and exec. */
static pid_t stopper(int fd)
{
	enum { BEATS = 75, STOP_AT = 10, CONT_AT = 60 };
	static uint8_t beats[BEATS][REMUS_FRAME_HEADER + REMUS_HEARTBEAT_SIZE];
	static const uint8_t zero[REMUS_HEARTBEAT_SIZE];
	pid_t parent = getpid(), child;

	for (unsigned i = 0; i < BEATS; i++)
		pair_frame(beats[i], 1, REMUS_FRAME_HEARTBEAT, 0, i + 1, zero, sizeof zero);
	child = fork();
	if (child)
		return child;
	for (unsigned i = 0; i < BEATS; i++) {
		if (fd >= 0 && write(fd, beats[i], sizeof beats[i]) != sizeof beats[i])
			_exit(2);
		if (i == STOP_AT)
			kill(parent, SIGSTOP);
		if (i == CONT_AT)
			kill(parent, SIGCONT);
		pause_ms(20);
	}
	_exit(0);
}

static const struct remus_link_config stopped = {.heartbeat_ms = 50, .dead_ms = 500};

/* We were stopped; the peer wasn't, and what it sent lies in the socket. */
static void our_own_stop_with_a_living_peer(void)
{
	int fd[2], status = 0;

	pair_sockets(fd);
	pid_t child = stopper(fd[1]);
	CU_ASSERT_FATAL(child > 0);
	close(fd[1]);
	struct remus_link *link = pair_link(fd[0], &stopped);
	pair_expect_lost(link, "the connection"); /* closed or reset by the child's end, and not before */
	remus_link_close(link);
	waitpid(child, &status, 0);
	CU_ASSERT_EQUAL(status, 0);
}

/* Both ends were stopped together (a frozen cgroup): nothing lies in the socket, yet nobody is dead. */
static void stopped_together(void)
{
	struct remus_link *a, *b;
	struct remus_frame got;
	struct remus_error err = REMUS_ERROR_INIT;
	pid_t child = stopper(-1);

	CU_ASSERT_FATAL(child > 0);
	pair_links(&stopped, &stopped, &a, &b);
	waitpid(child, NULL, 0);
	CU_ASSERT_EQUAL(remus_link_next(a, &got, &err), 0);
	CU_ASSERT_EQUAL(remus_link_next(b, &got, &err), 0);
	CU_ASSERT_STRING_EQUAL(err.message, "");
	remus_link_close(a);
	remus_link_close(b);
}

static const struct unit_case cases[] = {
	{"our own stop with a living peer", our_own_stop_with_a_living_peer},
	{"stopped together", stopped_together},
	{"silence", silence},
	{"a blocked sender is woken", a_blocked_sender_is_woken},
	{"a living peer that takes nothing", a_living_peer_that_takes_nothing},
	{"end of file", end_of_file},
	{"what came before the end is kept", what_came_before_the_end_is_kept},
	{"what came since the last look is kept", what_came_since_the_last_look_is_kept},
	{"garbage", garbage},
};
UNIT_MAIN("link-loss", cases)
