/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The link between two well-behaved ends: order, concurrency, back pressure, binding, graceful close. What happens
 * when an end dies or lies is in test-link-loss.c.
 */
#include <pthread.h>
#include "link_pair.h"
#include "link_wrap.h"

/* Nothing here may be lost for slowness. */
static const struct remus_link_config patient = {.heartbeat_ms = 5, .dead_ms = PATIENCE_MS};

static void frames_both_ways(void)
{
	struct remus_link *a, *b;
	struct remus_frame_header sent[2];
	struct remus_frame got;
	struct iovec parts[] = {{(void *)"he", 2}, {NULL, 0}, {(void *)"llo", 3}};

	pair_links(&patient, &patient, &a, &b);
	CU_ASSERT_STRING_EQUAL(remus_link_peer(a), "a local socket");
	CU_ASSERT_EQUAL(remus_link_send(a, REMUS_FRAME_HELLO, 1, 0, parts, 3, &sent[0], NULL), 0);
	CU_ASSERT_EQUAL_FATAL(pair_await(b, &got, NULL), 1);
	CU_ASSERT(!memcmp(&got.header, &sent[0], sizeof sent[0]));
	CU_ASSERT_EQUAL(got.header.flags, 1);
	CU_ASSERT_EQUAL(got.header.generation, 0);
	CU_ASSERT(got.header.length == 5 && !memcmp(got.payload, "hello", 5));
	free(got.payload);

	remus_link_bind(b, pair_session, 7);
	CU_ASSERT_EQUAL(remus_link_send(b, REMUS_FRAME_WELCOME, 0, 0, NULL, 0, &sent[1], NULL), 0);
	CU_ASSERT_EQUAL_FATAL(pair_await(a, &got, NULL), 1);
	CU_ASSERT(!memcmp(&got.header, &sent[1], sizeof sent[1]));
	CU_ASSERT_EQUAL(got.header.generation, 7);
	CU_ASSERT_PTR_NULL(got.payload);

	remus_link_bind(a, pair_session, 7);
	for (uint64_t epoch = 1; epoch <= 100; epoch++)
		CU_ASSERT_EQUAL(pair_send(a, REMUS_FRAME_STATE, epoch, "x", 1, NULL), 0);
	for (uint64_t epoch = 1; epoch <= 100; epoch++) {
		CU_ASSERT_EQUAL_FATAL(pair_await(b, &got, NULL), 1);
		CU_ASSERT_EQUAL(got.header.epoch, epoch);
		CU_ASSERT(!memcmp(got.header.session, pair_session, sizeof pair_session));
		free(got.payload);
	}
	CU_ASSERT_EQUAL(remus_link_next(b, &got, NULL), 0);
	struct pollfd p = {.fd = remus_link_event_fd(b), .events = POLLIN};
	CU_ASSERT_EQUAL(poll(&p, 1, 0), 0);
	remus_link_close(a);
	remus_link_close(b);
}

static void what_is_too_large_is_not_sent(void)
{
	struct remus_link *a, *b;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_frame got;
	struct iovec half = {NULL, SIZE_MAX / 2 + 1}, many[64] = {{NULL, 0}};

	pair_links(&patient, &patient, &a, &b);
	struct iovec twice[] = {{(void *)"", 1}, half, half};
	CU_ASSERT_EQUAL(remus_link_send(a, REMUS_FRAME_PAGES, 0, 1, twice, 3, NULL, &err), -EMSGSIZE);
	UNIT_ASSERT_MESSAGE(err, "PAGES");
	CU_ASSERT_EQUAL(remus_link_send(a, REMUS_FRAME_PAGES, 0, 1, many, 64, NULL, &err), -EINVAL);
	CU_ASSERT_EQUAL(pair_send(a, REMUS_FRAME_HELLO, 0, "y", 1, NULL), 0); /* the link is none the worse */
	CU_ASSERT_EQUAL_FATAL(pair_await(b, &got, NULL), 1);
	free(got.payload);
	remus_link_close(a);
	remus_link_close(b);
}

enum { SENDERS = 4, EACH = 150 };

static void *send_many(void *context)
{
	struct remus_link *link = context;
	static const uint8_t payload[5000];
	uintptr_t failed = 0;

	for (unsigned i = 1; i <= EACH; i++)
		failed += pair_send(link, REMUS_FRAME_STATE, i, payload, i * 33, NULL) != 0;
	return (void *)failed;
}

/* The gate at the other end refuses any frame torn or out of sequence, so that all arriving says enough. */
static void concurrent_senders(void)
{
	static const struct remus_link_config fast = {.heartbeat_ms = 1, .dead_ms = PATIENCE_MS};
	struct remus_link *a, *b;
	struct remus_link_stats stats;
	pthread_t thread[SENDERS];
	unsigned count[EACH + 1] = {0};
	uint64_t last = 0;

	pair_links(&fast, &fast, &a, &b);
	remus_link_bind(a, pair_session, 1);
	remus_link_bind(b, pair_session, 1);
	for (int i = 0; i < SENDERS; i++)
		pthread_create(&thread[i], NULL, send_many, a);
	for (int i = 0; i < SENDERS * EACH; i++) {
		struct remus_frame got;
		CU_ASSERT_EQUAL_FATAL(pair_await(b, &got, NULL), 1);
		CU_ASSERT(got.header.sequence > last);
		last = got.header.sequence;
		CU_ASSERT_FATAL(got.header.epoch >= 1 && got.header.epoch <= EACH);
		CU_ASSERT_EQUAL(got.header.length, got.header.epoch * 33);
		count[got.header.epoch]++;
		free(got.payload);
	}
	for (int i = 0; i < SENDERS; i++) {
		void *failed;
		pthread_join(thread[i], &failed);
		CU_ASSERT_PTR_NULL(failed);
	}
	for (int i = 1; i <= EACH; i++)
		CU_ASSERT_EQUAL(count[i], SENDERS);
	/* Frames are signs of life themselves; still a heartbeat comes in between now and then, for the clocks. */
	uint64_t sent = SENDERS * EACH, until = remus_now_us() + PATIENCE_MS * 1000u;
	do {
		uint8_t byte = 0;
		struct remus_frame got;
		CU_ASSERT_EQUAL_FATAL(pair_send(a, REMUS_FRAME_STATE, 1, &byte, 1, NULL), 0);
		CU_ASSERT_EQUAL_FATAL(pair_await(b, &got, NULL), 1);
		free(got.payload);
		remus_link_stats(a, &stats);
	} while (stats.frames_sent <= ++sent && remus_now_us() < until);
	CU_ASSERT(stats.frames_sent > sent);
	remus_link_close(a);
	remus_link_close(b);
}

static void *send_forty(void *context)
{
	static uint8_t payload[32 * 1024];
	uintptr_t failed = 0;

	for (unsigned i = 0; i < 40; i++)
		failed += pair_send(context, REMUS_FRAME_PAGES, i, payload, sizeof payload, NULL) != 0;
	return (void *)failed;
}

/* An owner that sleeps for several dead_ms while frames pile up: held back, not mistaken for dead, not lost. */
static void back_pressure_is_no_death(void)
{
	static const struct remus_link_config small = {
		.heartbeat_ms = 20, .dead_ms = 150, .queue_bytes = 100 * 1024};
	struct remus_link_config sender = {.heartbeat_ms = 20, .dead_ms = PATIENCE_MS};
	struct remus_link *a, *b;
	struct remus_link_stats stats;
	pthread_t thread;
	void *failed;

	pair_links(&sender, &small, &a, &b);
	remus_link_bind(a, pair_session, 1);
	remus_link_bind(b, pair_session, 1);
	pthread_create(&thread, NULL, send_forty, a);
	usleep(500 * 1000);
	remus_link_stats(b, &stats);
	/* 3 in the queue, one in the reader's hands, one in its buffer */
	CU_ASSERT(stats.bytes_received < 5 * 33 * 1024);
	for (unsigned i = 0; i < 40; i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_frame got;
		if (pair_await(b, &got, &err) != 1)
			CU_FAIL_FATAL(err.message);
		CU_ASSERT_EQUAL(got.header.epoch, i);
		free(got.payload);
	}
	pthread_join(thread, &failed);
	CU_ASSERT_PTR_NULL(failed);
	remus_link_close(a);
	remus_link_close(b);
}

static void a_frame_larger_than_the_cap_passes_alone(void)
{
	static const struct remus_link_config tiny = {
		.heartbeat_ms = 5, .dead_ms = PATIENCE_MS, .queue_bytes = 1};
	struct remus_link *a, *b;
	pthread_t thread;

	pair_links(&tiny, &tiny, &a, &b);
	remus_link_bind(a, pair_session, 1);
	remus_link_bind(b, pair_session, 1);
	pthread_create(&thread, NULL, send_forty, a);
	for (unsigned i = 0; i < 40; i++) {
		struct remus_frame got;
		CU_ASSERT_EQUAL_FATAL(pair_await(b, &got, NULL), 1);
		CU_ASSERT_EQUAL(got.header.epoch, i);
		free(got.payload);
	}
	pthread_join(thread, NULL);
	remus_link_close(a);
	remus_link_close(b);
}

static void await_frames(struct remus_link *link, uint64_t more)
{
	struct remus_link_stats now, start;

	remus_link_stats(link, &start);
	for (int i = 0; i < PATIENCE_MS; i++) {
		remus_link_stats(link, &now);
		if (now.frames_received >= start.frames_received + more)
			return;
		usleep(1000);
	}
	CU_FAIL("no heartbeats");
}

/* Whoever binds first sends heartbeats with a session to a peer that has none yet, and the other way round. */
static void binding_races_with_heartbeats(void)
{
	struct remus_link *a, *b;
	struct remus_frame got;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_link_stats stats;

	pair_links(&patient, &patient, &a, &b);
	await_frames(a, 2);
	remus_link_bind(a, pair_session, 1);
	await_frames(a, 3);
	await_frames(b, 3);
	remus_link_stats(b, &stats);
	CU_ASSERT(!stats.peer_told); /* a CLOCK that came before the binding would have ended the link */
	remus_link_bind(b, pair_session, 1);
	await_frames(a, 3);
	await_frames(b, 3);
	CU_ASSERT_EQUAL(remus_link_next(a, &got, &err), 0);
	CU_ASSERT_EQUAL(remus_link_next(b, &got, &err), 0);
	CU_ASSERT_STRING_EQUAL(err.message, "");

	remus_link_stats(a, &stats);
	CU_ASSERT(stats.rtt_us > 0);
	CU_ASSERT(stats.bytes_received >=
		  stats.frames_received * (REMUS_FRAME_HEADER + REMUS_HEARTBEAT_SIZE));
	remus_link_close(a);
	remus_link_close(b);
}

static bool told(const struct remus_link_stats *stats)
{
	return stats->peer_told && stats->clock_samples;
}

/* Both ends share the clocks of one host here, and each tells the other how they stand. */
static void clocks_are_told(void)
{
	struct remus_link *a, *b;
	struct remus_link_stats stats[2] = {0};
	struct remus_clock_sync sync;
	struct remus_clock_reading now;
	struct remus_offset offset;

	pair_links(&patient, &patient, &a, &b);
	remus_link_bind(a, pair_session, 1);
	remus_link_bind(b, pair_session, 1);
	for (int i = 0; i < PATIENCE_MS && !(told(&stats[0]) && told(&stats[1])); i++) {
		usleep(1000);
		remus_link_stats(a, &stats[0]);
		remus_link_stats(b, &stats[1]);
	}
	remus_clock_sync(&sync);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT(told(&stats[i]) && !stats[i].clock_restarts);
		CU_ASSERT((uint64_t)llabs(stats[i].clock_offset_us) <= stats[i].clock_error_us + 1);
		CU_ASSERT(stats[i].peer_synchronised == sync.synchronised);
		CU_ASSERT(sync.synchronised || !stats[i].peer_error_us);
	}
	/* What a guest's time is made from: ours plus the offset is the peer's. */
	remus_clock_read(&now);
	int64_t ours = (int64_t)now.raw_ns + remus_link_clock(a, &offset);
	int64_t theirs = (int64_t)now.raw_ns + remus_link_clock(b, NULL);
	uint64_t error = remus_offset_error(&offset, (uint64_t)ours / 1000);
	CU_ASSERT((uint64_t)llabs(ours + offset.offset_ns - theirs) <= error);
	remus_link_close(a);
	remus_link_close(b);
}

static void optional_unknown_frames_are_skipped(void)
{
	struct remus_link *a, *b;
	struct remus_frame got;

	pair_links(&patient, &patient, &a, &b);
	remus_link_bind(a, pair_session, 1);
	remus_link_bind(b, pair_session, 1);
	CU_ASSERT_EQUAL(pair_send(a, 77, 0, "from the future", 15, NULL), 0);
	CU_ASSERT_EQUAL(pair_send(a, REMUS_FRAME_END, 9, "", 0, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(pair_await(b, &got, NULL), 1);
	CU_ASSERT_EQUAL(got.header.type, REMUS_FRAME_END);
	remus_link_close(a);
	remus_link_close(b);
}

/* Over TCP, where a careless close answers the peer's heartbeats with a reset that discards what is under way. */
static void close_lets_everything_out(void)
{
	static const struct remus_link_config fast = {.heartbeat_ms = 1, .dead_ms = PATIENCE_MS};
	static uint8_t payload[32 * 1024];
	struct remus_error err = REMUS_ERROR_INIT;
	int listener = remus_link_listen("127.0.0.1", "0", &err);
	struct sockaddr_storage address;
	socklen_t n = sizeof address;

	CU_ASSERT_FATAL(listener >= 0);
	CU_ASSERT_EQUAL_FATAL(getsockname(listener, (struct sockaddr *)&address, &n), 0);
	for (int round = 0; round < 5; round++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, n), 0);
		struct remus_link *a = pair_link(fd, &fast);
		struct remus_link *b = pair_link(accept(listener, NULL, NULL), &fast);
		remus_link_bind(a, pair_session, 1);
		remus_link_bind(b, pair_session, 1);
		for (unsigned i = 0; i < 40; i++)
			CU_ASSERT_EQUAL(pair_send(a, REMUS_FRAME_PAGES, i, payload, sizeof payload, NULL), 0);
		remus_link_close(a);
		for (unsigned i = 0; i < 40; i++) {
			struct remus_frame got;
			CU_ASSERT_EQUAL_FATAL(pair_await(b, &got, &err), 1);
			CU_ASSERT_EQUAL(got.header.epoch, i);
			free(got.payload);
		}
		pair_expect_lost(b, "127.0.0.1:");
		CU_ASSERT_EQUAL(pair_send(b, REMUS_FRAME_ACK, 1, NULL, 0, &err), -EPIPE);
		remus_link_close(b);
	}
	close(listener);
}

/* The transport alone: bytes that nobody read must not turn the end into a reset. */
static void close_ends_in_order(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	int listener = remus_link_listen("127.0.0.1", "0", &err);
	struct sockaddr_storage address;
	socklen_t n = sizeof address;
	struct remus_transport *t = NULL;
	struct iovec part = {(void *)"last", 4};
	char got[8];

	CU_ASSERT_FATAL(listener >= 0);
	CU_ASSERT_EQUAL_FATAL(getsockname(listener, (struct sockaddr *)&address, &n), 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, n), 0);
	CU_ASSERT_EQUAL_FATAL(remus_transport_tcp(accept(listener, NULL, NULL), &t, &err), 0);
	CU_ASSERT_EQUAL(send(fd, "unread bytes", 12, 0), 12);
	shutdown(fd, SHUT_WR);
	CU_ASSERT_EQUAL(t->ops->writev(t, &part, 1, false, &err), 4);
	t->ops->close(t);
	CU_ASSERT_EQUAL(recv(fd, got, sizeof got, 0), 4);
	CU_ASSERT_EQUAL(recv(fd, got, sizeof got, 0), 0);
	close(fd);
	close(listener);
}

static uint16_t waits_for_more[8], goes_at_once[8]; /* types of frames, up to a zero */

/* Called by two threads, one at a time: who sends holds the link's slot. */
static ssize_t noting_writev(struct remus_transport *t, const struct iovec *iov, int count, bool more,
			     struct remus_error *err)
{
	uint16_t type = remus_get_le16((const uint8_t *)iov->iov_base + 6),
		 *to = more ? waits_for_more : goes_at_once;

	while (*to && *to != type)
		to++;
	*to = type;
	return wrapped_writev(t, iov, count, more, err);
}

/* An epoch fills packets: the parts of it wait for what follows, its end does not, nor does anything else. */
static void an_epoch_fills_packets(void)
{
	static const uint16_t sent[] = {REMUS_FRAME_HELLO, REMUS_FRAME_PAGES, REMUS_FRAME_STATE,
					REMUS_FRAME_COMMIT};
	struct remus_transport_ops ops = wrapped_ops;
	struct wrapped t = {.base.ops = &ops};
	struct remus_frame got;
	int fd[2];

	ops.writev = noting_writev;
	pair_sockets(fd);
	struct remus_link *a = wrapped_link(&t, fd[0], &patient);
	struct remus_link *b = pair_link(fd[1], &patient);
	remus_link_bind(a, pair_session, 1);
	remus_link_bind(b, pair_session, 1);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(sent); i++)
		CU_ASSERT_EQUAL(pair_send(a, sent[i], i, "x", 1, NULL), 0);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(sent); i++) {
		CU_ASSERT_EQUAL_FATAL(pair_await(b, &got, NULL), 1);
		CU_ASSERT_EQUAL(got.header.type, sent[i]);
		free(got.payload);
	}
	remus_link_close(a);
	remus_link_close(b);
	CU_ASSERT_EQUAL(waits_for_more[0], REMUS_FRAME_PAGES);
	CU_ASSERT_EQUAL(waits_for_more[1], REMUS_FRAME_STATE);
	CU_ASSERT_EQUAL(waits_for_more[2], 0);
	bool committed = false;
	for (const uint16_t *type = goes_at_once; *type; type++)
		committed = committed || *type == REMUS_FRAME_COMMIT;
	CU_ASSERT(committed);
}

static const struct unit_case cases[] = {
	{"frames both ways", frames_both_ways},
	{"what is too large is not sent", what_is_too_large_is_not_sent},
	{"concurrent senders", concurrent_senders},
	{"back pressure is no death", back_pressure_is_no_death},
	{"a frame larger than the cap passes alone", a_frame_larger_than_the_cap_passes_alone},
	{"binding races with heartbeats", binding_races_with_heartbeats},
	{"clocks are told", clocks_are_told},
	{"optional unknown frames are skipped", optional_unknown_frames_are_skipped},
	{"an epoch fills packets", an_epoch_fills_packets},
	{"close lets everything out", close_lets_everything_out},
	{"close ends in order", close_ends_in_order},
};
UNIT_MAIN("link", cases)
