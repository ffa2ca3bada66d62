// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The userspace hold between two datagram sockets: the states, the boundary of an epoch, caps, statistics,
 * addresses. What its ends can do to it is in test-hold-ends.c.
 */
#include "config.h"
#include "hold-rig.h"

#include <pthread.h>
#include <stdatomic.h>

static void passes_both_ways(void)
{
	struct rig rig;
	uint8_t frame[60];

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	RIG_DO(&rig, pass);
	for (uint64_t i = 0; i < 200; i++) {
		rig_guest_sends(&rig, i, 1);
		rig_expect(rig.net, i, 1);
		rig_frame(frame, sizeof frame, 0x0806, 1000 + i);
		CU_ASSERT_FATAL(rig_send(rig.net, rig.bind_path, frame, sizeof frame));
		rig_expect(rig.guest, 1000 + i, 1);
	}
	RIG_WAIT(&rig, received_packets, 200);
	RIG_WAIT(&rig, released_packets, 200);
	struct remus_netbuf_stats s = rig_stats(&rig);
	CU_ASSERT_EQUAL(s.accepted_packets, 200);
	CU_ASSERT_EQUAL(s.released_bytes, 200 * 100);
	CU_ASSERT_EQUAL(s.held_packets, 0);
	CU_ASSERT_EQUAL(s.held_bytes, 0);
	CU_ASSERT_EQUAL(s.held_packets_peak, 0);
	CU_ASSERT_EQUAL(s.dropped_packets, 0);
	rig_close(&rig);
}

static void closed_moves_nothing(void)
{
	struct rig rig;
	uint8_t frame[60];
	struct remus_addresses addresses;

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	rig_guest_sends(&rig, 1, 3);
	rig_frame(frame, sizeof frame, 0x0800, 50);
	CU_ASSERT(rig_send(rig.net, rig.bind_path, frame, sizeof frame));
	CU_ASSERT(rig_silent(rig.net) && rig_silent(rig.guest));
	CU_ASSERT_EQUAL(rig_stats(&rig).accepted_packets, 0);
	rig.netbuf->ops->addresses(rig.netbuf, &addresses);
	CU_ASSERT_EQUAL(addresses.count, 0);

	/* What the network sent meanwhile was for nobody; what the guest sent is its own. */
	RIG_DO(&rig, pass);
	rig_expect(rig.net, 1, 3);
	rig_frame(frame, sizeof frame, 0x0800, 51);
	CU_ASSERT(rig_send(rig.net, rig.bind_path, frame, sizeof frame));
	rig_expect(rig.guest, 51, 1);
	RIG_WAIT(&rig, received_packets, 1);
	rig_close(&rig);
}

static void holds_seals_releases(void)
{
	struct rig rig;

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	RIG_DO(&rig, pass);
	RIG_DO(&rig, hold);
	rig_guest_sends(&rig, 1, 3);
	RIG_DO(&rig, seal, 10);
	CU_ASSERT_EQUAL(rig_stats(&rig).held_packets, 3); /* at once: seal took them all */
	CU_ASSERT_EQUAL(rig_stats(&rig).held_bytes, 300);
	rig_guest_sends(&rig, 4, 2);
	RIG_WAIT(&rig, accepted_packets, 5);
	CU_ASSERT(rig_silent(rig.net)); /* I1 */

	RIG_DO(&rig, release, 9); /* an older one: nothing */
	CU_ASSERT(rig_silent(rig.net));
	RIG_DO(&rig, release, 10);
	rig_expect(rig.net, 1, 3);
	CU_ASSERT(rig_silent(rig.net));
	RIG_DO(&rig, release, 10); /* again: nothing */
	RIG_DO(&rig, release, 99); /* nothing is sealed */
	CU_ASSERT(rig_silent(rig.net));
	CU_ASSERT_EQUAL(rig_stats(&rig).held_packets, 2);

	RIG_DO(&rig, seal, 11);
	RIG_DO(&rig, release, 12); /* a later ack covers it */
	rig_expect(rig.net, 4, 2);

	RIG_DO(&rig, seal, 12); /* an empty epoch */
	rig_guest_sends(&rig, 6, 1);
	RIG_WAIT(&rig, accepted_packets, 6);
	RIG_DO(&rig, release, 12);
	CU_ASSERT(rig_silent(rig.net));
	CU_ASSERT_EQUAL(rig_stats(&rig).held_packets, 1);

	RIG_DO(&rig, pass);
	rig_expect(rig.net, 6, 1);
	rig_guest_sends(&rig, 7, 1);
	rig_expect(rig.net, 7, 1);
	RIG_WAIT(&rig, released_packets, 7);
	CU_ASSERT_EQUAL(rig_stats(&rig).held_packets_peak, 5);
	rig_close(&rig);
}

static void one_sealed_epoch_at_most(void)
{
	struct rig rig;
	struct remus_error err = REMUS_ERROR_INIT;

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	RIG_DO(&rig, pass);
	RIG_DO(&rig, hold);
	RIG_DO(&rig, seal, 1); /* empty, and yet sealed */
	rig_guest_sends(&rig, 1, 2);
	CU_ASSERT_EQUAL(rig.netbuf->ops->seal(rig.netbuf, 2, &err), -EBUSY);
	UNIT_ASSERT_MESSAGE(err, "epoch 1 is sealed");
	RIG_WAIT(&rig, accepted_packets, 2);
	RIG_DO(&rig, release, 2); /* changed nothing: these two are of epoch 2, still open */
	CU_ASSERT(rig_silent(rig.net));
	CU_ASSERT_EQUAL(rig_stats(&rig).held_packets, 2);
	RIG_DO(&rig, seal, 2);
	RIG_DO(&rig, release, 2);
	rig_expect(rig.net, 1, 2);
	rig_close(&rig);
}

static void refuses_in_the_wrong_state(void)
{
	struct rig rig;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_addresses none = {0};

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	CU_ASSERT_EQUAL(rig.netbuf->ops->seal(rig.netbuf, 1, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "seal while closed");
	CU_ASSERT_EQUAL(rig.netbuf->ops->release(rig.netbuf, 1, &err), -EINVAL);
	CU_ASSERT_EQUAL(rig.netbuf->ops->announce(rig.netbuf, &none, &err), -EINVAL);
	RIG_DO(&rig, pass);
	CU_ASSERT_EQUAL(rig.netbuf->ops->seal(rig.netbuf, 1, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "seal while passing");
	RIG_DO(&rig, hold);
	RIG_DO(&rig, hold);
	CU_ASSERT_EQUAL(rig.netbuf->ops->announce(rig.netbuf, &none, &err), -EINVAL); /* I12 */
	CU_ASSERT(rig_silent(rig.net));
	rig_close(&rig);
}

/* I6: after a killed engine the buffer opens holding; what the guest sends waits for the claim. */
static void holds_from_the_start(void)
{
	struct rig rig;

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	RIG_DO(&rig, hold);
	rig_guest_sends(&rig, 1, 2);
	CU_ASSERT(rig_silent(rig.net));
	RIG_DO(&rig, pass);
	rig_expect(rig.net, 1, 2);
	rig_close(&rig);
}

static void discards_sealed_and_open(void)
{
	struct rig rig;

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	RIG_DO(&rig, pass);
	RIG_DO(&rig, hold);
	rig_guest_sends(&rig, 1, 3);
	RIG_DO(&rig, seal, 1);
	rig_guest_sends(&rig, 4, 4);
	RIG_DO(&rig, discard);
	CU_ASSERT_EQUAL(rig_stats(&rig).discarded_packets, 7);
	CU_ASSERT_EQUAL(rig_stats(&rig).held_packets, 0);
	RIG_DO(&rig, release, 1);
	CU_ASSERT(rig_silent(rig.net));
	rig_guest_sends(&rig, 8, 1); /* still holding, and a seal is possible again */
	RIG_DO(&rig, seal, 2);
	CU_ASSERT(rig_silent(rig.net));
	RIG_DO(&rig, release, 2);
	rig_expect(rig.net, 8, 1);
	rig_close(&rig);
}

/* I1: whatever the EtherType, and byte by byte what the guest sent. */
static void every_ethertype(void)
{
	static const unsigned types[] = {0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8,
					 0x88cc, 0x0026, 0x8035, 0xbeef};
	struct rig rig;
	uint8_t sent[200], got[200];

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	RIG_DO(&rig, pass);
	RIG_DO(&rig, hold);
	for (unsigned i = 0; i < REMUS_ARRAY_SIZE(types); i++) {
		rig_frame(sent, 60 + i, types[i], i);
		CU_ASSERT_FATAL(rig_send(rig.guest, rig.host_path, sent, 60 + i));
		RIG_WAIT(&rig, accepted_packets, i + 1);
	}
	RIG_DO(&rig, seal, 1);
	CU_ASSERT(rig_silent(rig.net));
	CU_ASSERT_EQUAL(rig_stats(&rig).held_packets, REMUS_ARRAY_SIZE(types));
	RIG_DO(&rig, release, 1);
	for (unsigned i = 0; i < REMUS_ARRAY_SIZE(types); i++) {
		rig_frame(sent, 60 + i, types[i], i);
		CU_ASSERT_EQUAL(recv(rig.net, got, sizeof got, 0), (ssize_t)(60 + i));
		CU_ASSERT(memcmp(sent, got, 60 + i) == 0);
	}
	rig_close(&rig);
}

static void caps_drop_the_newest(void)
{
	struct rig rig;
	uint8_t frame[400];

	rig_lay(&rig);
	rig_open(&rig, NULL, 4, 0);
	RIG_DO(&rig, pass);
	RIG_DO(&rig, hold);
	rig_guest_sends(&rig, 1, 7);
	RIG_DO(&rig, seal, 1);
	struct remus_netbuf_stats s = rig_stats(&rig);
	CU_ASSERT_EQUAL(s.held_packets, 4);
	CU_ASSERT_EQUAL(s.accepted_packets, 4);
	CU_ASSERT_EQUAL(s.dropped_packets, 3);
	CU_ASSERT_EQUAL(s.held_packets_peak, 4);
	CU_ASSERT(rig_silent(rig.net));
	RIG_DO(&rig, release, 1);
	rig_expect(rig.net, 1, 4);
	rig_guest_sends(&rig, 8, 1); /* room again */
	RIG_DO(&rig, seal, 2);
	RIG_DO(&rig, release, 2);
	rig_expect(rig.net, 8, 1);
	RIG_DO(&rig, pass); /* a small cap is no limit to what passes */
	for (uint64_t i = 0; i < 5; i++) {
		rig_guest_sends(&rig, 100 + 8 * i, 8);
		rig_expect(rig.net, 100 + 8 * i, 8);
	}
	rig_close(&rig);

	static const struct {
		size_t bytes;
		bool kept;
	} sizes[] = {{400, true}, {400, true}, {300, false}, {200, true}, {22, false}};
	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 1000);
	RIG_DO(&rig, pass);
	RIG_DO(&rig, hold);
	for (unsigned i = 0; i < REMUS_ARRAY_SIZE(sizes); i++) {
		rig_frame(frame, sizes[i].bytes, 0x0800, i);
		CU_ASSERT(rig_send(rig.guest, rig.host_path, frame, sizes[i].bytes));
	}
	RIG_DO(&rig, seal, 1);
	CU_ASSERT_EQUAL(rig_stats(&rig).held_bytes, 1000);
	CU_ASSERT_EQUAL(rig_stats(&rig).dropped_packets, 2);
	RIG_DO(&rig, release, 1);
	for (unsigned i = 0; i < REMUS_ARRAY_SIZE(sizes); i++)
		if (sizes[i].kept)
			rig_expect(rig.net, i, 1);
	rig_close(&rig);
}

static void sizes_of_frames(void)
{
	static const size_t sizes[] = {22, 1514, 9014, 65550};
	struct rig rig;
	uint8_t *frame = malloc(RIG_FRAME_MAX);

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	RIG_DO(&rig, pass);
	RIG_DO(&rig, hold);
	for (unsigned i = 0; i < REMUS_ARRAY_SIZE(sizes); i++) {
		rig_frame(frame, sizes[i], 0x0800, i);
		CU_ASSERT_FATAL(rig_send(rig.guest, rig.host_path, frame, sizes[i]));
		RIG_WAIT(&rig, accepted_packets, i + 1);
	}
	rig_frame(frame, 65551, 0x0800, 77); /* longer than any frame */
	CU_ASSERT_FATAL(rig_send(rig.guest, rig.host_path, frame, 65551));
	RIG_WAIT(&rig, dropped_packets, 1);
	CU_ASSERT(rig_send(rig.guest, rig.host_path, frame, 0)); /* and an empty datagram */
	RIG_DO(&rig, seal, 1);
	RIG_DO(&rig, release, 1);
	for (unsigned i = 0; i < REMUS_ARRAY_SIZE(sizes); i++) {
		ssize_t got = recv(rig.net, frame, RIG_FRAME_MAX, 0);
		CU_ASSERT_EQUAL(got, (ssize_t)sizes[i]);
		CU_ASSERT_EQUAL(frame[sizes[i] - 1], i);
	}
	free(frame);
	rig_close(&rig);
}

/* ---- the boundary, under a flood ---- */

struct flood {
	struct rig *rig;
	_Atomic bool stop;
	uint64_t next; /* number of the next frame */
	pthread_t thread;
};

static void *flood(void *argument)
{
	struct flood *f = argument;
	uint8_t frame[64];

	/* bounded, so that the cap of held frames is never reached however slow the reader is */
	for (int i = 0; i < 5000 && !f->stop; i++) {
		rig_frame(frame, sizeof frame, 0x0800, f->next);
		if (!rig_send(f->rig->guest, f->rig->host_path, frame, sizeof frame))
			break;
		f->next++;
	}
	return NULL;
}

static void guest_runs(struct flood *f)
{
	f->stop = false;
	CU_ASSERT_EQUAL_FATAL(pthread_create(&f->thread, NULL, flood, f), 0);
}

static void guest_stops(struct flood *f)
{
	f->stop = true;
	pthread_join(f->thread, NULL);
}

/*
 * Epoch after epoch: the guest floods, is stopped, the epoch sealed, the guest set running again, and only then
 * the epoch released. What comes out must be exactly what was sent before the stop, although the relay thread
 * was in the middle of its work at each seal.
 */
static void exact_boundary_under_flood(void)
{
	struct rig rig;
	struct flood f = {.rig = &rig};
	uint64_t out = 0;

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	RIG_DO(&rig, pass);
	RIG_DO(&rig, hold);
	guest_runs(&f);
	for (uint64_t epoch = 1; epoch <= 60; epoch++) {
		usleep((useconds_t)(epoch % 5) * 300);
		guest_stops(&f);
		RIG_DO(&rig, seal, epoch);
		uint64_t boundary = f.next;
		CU_ASSERT(rig_silent(rig.net)); /* I1 */
		CU_ASSERT_EQUAL(rig_stats(&rig).accepted_packets + rig_stats(&rig).dropped_packets, boundary);
		guest_runs(&f);
		RIG_DO(&rig, release, epoch);
		rig_expect(rig.net, out, (unsigned)(boundary - out));
		CU_ASSERT(rig_silent(rig.net));
		out = boundary;
	}
	guest_stops(&f);
	RIG_DO(&rig, discard);
	struct remus_netbuf_stats s = rig_stats(&rig);
	CU_ASSERT_EQUAL(s.dropped_packets, 0);
	CU_ASSERT_EQUAL(s.released_packets, out);
	CU_ASSERT_EQUAL(s.released_packets + s.discarded_packets, f.next);
	CU_ASSERT_EQUAL(s.accepted_packets, f.next);
	printf("(%llu frames) ", (unsigned long long)f.next);
	rig_close(&rig);
}

/* ---- addresses ---- */

static void learns_and_announces(void)
{
	static const uint8_t arp[28] = {0,    1, 8,    0,    6,	   4,	0, 1, 0x52,
					0x54, 0, 0x12, 0x34, 0x56, 192, 0, 2, 7};
	struct rig rig;
	struct remus_addresses addresses, foreign = {.count = 1};
	uint8_t frame[60], expected[REMUS_ANNOUNCE_MAX], got[REMUS_ANNOUNCE_MAX];

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	RIG_DO(&rig, pass);
	RIG_DO(&rig, hold);
	rig_frame(frame, sizeof frame, 0x0806, 0);
	memcpy(frame + 14, arp, sizeof arp);
	CU_ASSERT(rig_send(rig.guest, rig.host_path, frame, sizeof frame));
	RIG_DO(&rig, seal, 1);
	rig.netbuf->ops->addresses(rig.netbuf, &addresses);
	CU_ASSERT_EQUAL(addresses.count, 1);
	CU_ASSERT_EQUAL(addresses.entry[0].ip[3], 7);
	RIG_DO(&rig, discard);
	RIG_DO(&rig, pass);

	RIG_DO(&rig, announce, &addresses);
	size_t length = remus_announce_frame(&addresses.entry[0], expected);
	CU_ASSERT_EQUAL(recv(rig.net, got, sizeof got, 0), (ssize_t)length);
	CU_ASSERT(memcmp(got, expected, length) == 0);
	CU_ASSERT(rig_silent(rig.net));

	foreign.entry[0] = addresses.entry[0]; /* another interface's address: here only our MAC is told */
	foreign.entry[0].mac[5] ^= 1;
	RIG_DO(&rig, announce, &foreign);
	length = remus_announce_rarp(rig_mac, expected);
	CU_ASSERT_EQUAL(recv(rig.net, got, sizeof got, 0), (ssize_t)length);
	CU_ASSERT(memcmp(got, expected, length) == 0);
	CU_ASSERT_EQUAL(rig_stats(&rig).accepted_packets, 1); /* announcements aren't the guest's frames */
	CU_ASSERT_EQUAL(rig_stats(&rig).released_packets, 0);
	rig_close(&rig);
}

static const struct unit_case cases[] = {
	{"passes both ways", passes_both_ways},
	{"closed moves nothing", closed_moves_nothing},
	{"holds, seals, releases", holds_seals_releases},
	{"one sealed epoch at most", one_sealed_epoch_at_most},
	{"refuses in the wrong state", refuses_in_the_wrong_state},
	{"holds from the start (I6)", holds_from_the_start},
	{"discards sealed and open", discards_sealed_and_open},
	{"every EtherType is held", every_ethertype},
	{"caps drop the newest", caps_drop_the_newest},
	{"sizes of frames", sizes_of_frames},
	{"exact boundary under a flood", exact_boundary_under_flood},
	{"learns and announces", learns_and_announces},
};
UNIT_MAIN("hold", cases)
