// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The userspace egress buffer: the guest's frames come over a datagram socket (QEMU's -netdev dgram), are held
 * here, and leave by an egress (egress.h). It needs no privilege of its own and gates every EtherType, since
 * whatever the guest sends has no other way out.
 *
 * This file has the states of netbuf.h; relay.c moves the frames, queue.c keeps them. It must never let a frame
 * out that isn't released (I1: only queue_release() and queue_open_all() move the mark that hold_flush() goes
 * by), nor seal twice (I10), nor leave a socket or a tap behind (I13).
 *
 * The boundary of an epoch: seal() is called while the guest is stopped, so its socket holds a finite rest of
 * the epoch. seal() takes all of it under the lock and then draws the mark. A frame that QEMU itself still had
 * in a queue comes later and counts to the next epoch: it leaves late, never early.
 */
#include "config.h"
#include "hold.h"
#include "remus/util.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>

#define DEFAULT_MAX_BYTES   (UINT64_C(64) << 20)
#define DEFAULT_MAX_PACKETS UINT64_C(65536)
/* Batches taken in one go at most (16384 frames). A stopped guest leaves no more than net.unix.max_dgram_qlen,
 * 10 to 512; a peer that floods on can't keep us here, and its rest counts to the next epoch: late, never early. */
#define TAKE_BATCHES	    512
/* Frames sent by the shell's thread in release() and pass(); the relay thread does the rest. */
#define INLINE_BUDGET	    256u
#define ANNOUNCE_TRIES	    20 /* 1 ms apart, when the egress is full */

static struct hold *hold_of(struct remus_netbuf *netbuf)
{
	return (struct hold *)netbuf;
}

static const char *state_name(enum hold_state state)
{
	return state == HOLD_CLOSED ? "closed" : state == HOLD_PASSING ? "passing" : "holding";
}

static int wrong_state(const struct hold *hold, const char *call, struct remus_error *err)
{
	return remus_fail(err, -EINVAL, "netbuf %s: %s while %s", hold->egress->name, call,
			  state_name(hold->state));
}

static void take_all(struct hold *hold)
{
	for (int i = 0; i < TAKE_BATCHES && hold_take(hold) > 0; i++)
		;
}

/* Send what the shell's time allows, leave the rest to the relay thread. */
static void flush_and_unlock(struct hold *hold)
{
	hold_flush(hold, INLINE_BUDGET);
	bool more = hold->queue.leaving > 0;
	hold_unlock(hold);
	if (more)
		hold_wake(hold);
}

static int hold_seal(struct remus_netbuf *netbuf, uint64_t epoch, struct remus_error *err)
{
	struct hold *hold = hold_of(netbuf);
	int rc = 0;

	hold_lock(hold);
	if (hold->state != HOLD_HOLDING)
		rc = wrong_state(hold, "seal", err);
	else if (hold->queue.has_sealed)
		rc = remus_fail(err, -EBUSY,
				"netbuf %s: seal %" PRIu64 " while epoch %" PRIu64
				" is sealed and not released yet",
				hold->egress->name, epoch, hold->queue.sealed_epoch);
	else {
		take_all(hold);
		queue_seal(&hold->queue, epoch);
	}
	hold_unlock(hold);
	return rc;
}

static int hold_release(struct remus_netbuf *netbuf, uint64_t epoch, struct remus_error *err)
{
	struct hold *hold = hold_of(netbuf);

	hold_lock(hold);
	if (hold->state == HOLD_CLOSED) {
		int rc = wrong_state(hold, "release", err);
		hold_unlock(hold);
		return rc;
	}
	queue_release(&hold->queue, epoch);
	flush_and_unlock(hold);
	return 0;
}

static int hold_discard(struct remus_netbuf *netbuf, struct remus_error *err)
{
	struct hold *hold = hold_of(netbuf);

	hold_lock(hold);
	if (hold->state == HOLD_HOLDING) {
		take_all(hold);
		hold->stats.discarded_packets += queue_clear(&hold->queue);
	} /* else nothing is held */
	hold_unlock(hold);
	return 0;
}

/* What came from the network while closed was for nobody. The guest's own frames stay: a standby that was
 * activated a moment ago has already answered its peers, and dropping that costs them a retransmission. */
static int start_egress(struct hold *hold, struct remus_error *err)
{
	for (int i = 0; i < TAKE_BATCHES && hold->egress->fd >= 0; i++)
		if (hold->egress->ops->receive(hold->egress, &hold->to_guest) <= 0)
			break;
	hold->to_guest.count = hold->to_guest.next = 0;
	int rc = hold->egress->ops->start(hold->egress, err);
	if (rc < 0)
		remus_error_prefix(err, "egress %s", hold->egress->name);
	return rc;
}

static int hold_hold(struct remus_netbuf *netbuf, struct remus_error *err)
{
	struct hold *hold = hold_of(netbuf);

	hold_lock(hold);
	bool opened = hold->state == HOLD_CLOSED;
	int rc = opened ? start_egress(hold, err) : 0;
	if (rc == 0)
		hold->state =
			HOLD_HOLDING; /* frames that passed and wait for a full egress may still leave */
	hold_unlock(hold);
	if (rc == 0 && opened)
		hold_wake(hold);
	return rc;
}

static int hold_pass(struct remus_netbuf *netbuf, struct remus_error *err)
{
	struct hold *hold = hold_of(netbuf);
	int rc = 0;

	hold_lock(hold);
	if (hold->state == HOLD_CLOSED && (rc = start_egress(hold, err)) < 0) {
		hold_unlock(hold);
		return rc;
	}
	bool opened = hold->state == HOLD_CLOSED;
	hold->state = HOLD_PASSING;
	queue_open_all(&hold->queue);
	flush_and_unlock(hold);
	if (opened)
		hold_wake(hold);
	return 0;
}

static void hold_stats(struct remus_netbuf *netbuf, struct remus_netbuf_stats *out)
{
	struct hold *hold = hold_of(netbuf);

	hold_lock(hold);
	*out = hold->stats;
	out->held_packets = hold->queue.packets;
	out->held_bytes = hold->queue.bytes;
	out->received_packets = hold->received;
	hold_unlock(hold);
}

static void hold_addresses(struct remus_netbuf *netbuf, struct remus_addresses *out)
{
	struct hold *hold = hold_of(netbuf);

	hold_lock(hold);
	*out = hold->learned;
	hold_unlock(hold);
}

/* ---- announcing ---- */

/* Past the queue: frames that wait there for a full egress needn't delay the news of where their sender is. */
static int send_now(struct hold *hold, uint8_t *bytes, size_t length, struct remus_error *err)
{
	static const struct timespec pause = {0, 1000000};
	struct iovec frame = {bytes, length};
	int rc = -EAGAIN;

	for (int i = 0; i < ANNOUNCE_TRIES; i++) {
		hold_lock(hold);
		if (hold->state != HOLD_PASSING) { /* I12 */
			rc = wrong_state(hold, "announce", err);
			hold_unlock(hold);
			return rc;
		}
		rc = hold->egress->ops->send(hold->egress, &frame, 1);
		hold_unlock(hold);
		if (rc != -EAGAIN && rc != -ENOBUFS)
			break;
		nanosleep(&pause, NULL);
	}
	if (rc < 0)
		return remus_fail(
			err, rc,
			"egress %s: announcement of the guest's addresses: %s. Neighbours find the guest "
			"when it next sends",
			hold->egress->name, strerror(-rc));
	return 0;
}

static int hold_announce(struct remus_netbuf *netbuf, const struct remus_addresses *addresses,
			 struct remus_error *err)
{
	struct hold *hold = hold_of(netbuf);
	uint8_t frame[REMUS_ANNOUNCE_MAX];
	bool any = false;

	/* A guest's interfaces share one table; here only those of this one are at home. */
	for (uint32_t i = 0; i < addresses->count && i < REMUS_ADDRESSES_MAX; i++) {
		if (memcmp(addresses->entry[i].mac, hold->mac, 6) != 0)
			continue;
		any = true;
		size_t length = remus_announce_frame(&addresses->entry[i], frame);
		int rc = send_now(hold, frame, length, err);
		if (rc < 0)
			return rc;
	}
	return any ? 0 : send_now(hold, frame, remus_announce_rarp(hold->mac, frame), err);
}

/* ---- making and ending ---- */

static void hold_free(struct hold *hold)
{
	if (hold->egress)
		hold->egress->ops->close(hold->egress);
	dgram_unlink(&hold->host_place);
	if (hold->guest >= 0)
		close(hold->guest);
	if (hold->wake >= 0)
		close(hold->wake);
	queue_clear(&hold->queue);
	frame_batch_free(&hold->from_guest);
	frame_batch_free(&hold->to_guest);
	pthread_mutex_destroy(&hold->lock);
	pthread_mutex_destroy(&hold->turn);
	free(hold);
}

/* The two sockets of the guest's interface, terminated, and the address of its own. */
struct guest_ends {
	char guest[sizeof((struct remus_nic *)0)->guest_path + 1];
	char host[sizeof((struct remus_nic *)0)->host_path + 1];
	struct sockaddr_un address;
};

static int find_ends(const struct remus_nic *nic, struct guest_ends *ends, struct remus_error *err)
{
	if (nic->kind != REMUS_NIC_DGRAM)
		return remus_fail(
			err, -ENOTSUP,
			"this network interface can't be held in user space. Start QEMU with -netdev "
			"dgram,local.type=unix,local.path=GUEST,remote.type=unix,remote.path=HOST");
	snprintf(ends->guest, sizeof ends->guest, "%.*s", (int)sizeof nic->guest_path, nic->guest_path);
	snprintf(ends->host, sizeof ends->host, "%.*s", (int)sizeof nic->host_path, nic->host_path);
	if (!strcmp(ends->guest, ends->host))
		return remus_fail(err, -EINVAL, "socket %s is named for both ends of the guest's interface",
				  ends->guest);
	return dgram_address(ends->guest, &ends->address, err);
}

static int open_guest(struct hold *hold, const struct remus_nic *nic, struct remus_error *err)
{
	struct guest_ends ends;
	int rc = find_ends(nic, &ends, err);

	if (rc < 0)
		return rc;
	hold->guest_address = ends.address;
	hold->guest = dgram_bind(ends.host, &hold->host_place, err);
	return hold->guest < 0 ? hold->guest : 0;
}

static void hold_check(const struct remus_netbuf_config *config, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct guest_ends ends;
	int rc = egress_check(config->egress, &err);

	if (rc < 0)
		remus_report_error(report, "egress", "mend or name another with --egress or --standby-egress",
				   &err);
	else
		remus_report_ok(report, "egress", "egress \"%.200s\" can be used", config->egress);
	rc = find_ends(&config->nic, &ends, &err);
	if (rc == 0)
		rc = dgram_check(ends.host, &err);
	if (rc < 0)
		remus_report_error(report, "network", NULL, &err);
}

static int start_relay(struct hold *hold, struct remus_error *err)
{
	sigset_t all, before;

	if (frame_batch_init(&hold->from_guest) < 0 || frame_batch_init(&hold->to_guest) < 0)
		return remus_fail(err, -ENOMEM, "netbuf: out of memory");
	hold->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (hold->wake < 0)
		return remus_fail_errno(err, "netbuf: eventfd");
	sigfillset(&all); /* signals are the process's business, not this thread's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&hold->thread, NULL, hold_relay, hold);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc ? remus_fail(err, -rc, "netbuf: pthread_create: %s", strerror(rc)) : 0;
}

static int hold_open(const struct remus_netbuf_config *config, struct remus_netbuf **out,
		     struct remus_error *err)
{
	struct hold *hold = calloc(1, sizeof *hold);

	if (!hold)
		return remus_fail(err, -ENOMEM, "netbuf: out of memory");
	hold->base.ops = &remus_netbuf_hold;
	memcpy(hold->mac, config->nic.mac, 6);
	hold->guest = hold->wake = -1;
	pthread_mutex_init(&hold->turn, NULL);
	pthread_mutex_init(&hold->lock, NULL);
	queue_init(&hold->queue, config->max_packets ? config->max_packets : DEFAULT_MAX_PACKETS,
		   config->max_bytes ? config->max_bytes : DEFAULT_MAX_BYTES);

	int rc = egress_open(config->egress, &hold->egress, err);
	if (!rc)
		rc = open_guest(hold, &config->nic, err);
	if (!rc)
		rc = start_relay(hold, err);
	if (rc < 0) {
		hold_free(hold);
		return rc;
	}
	*out = &hold->base;
	return 0;
}

static void hold_close(struct remus_netbuf *netbuf)
{
	struct hold *hold = hold_of(netbuf);

	hold_lock(hold);
	hold->stopping = true;
	hold_unlock(hold);
	hold_wake(hold);
	pthread_join(hold->thread, NULL);
	hold_free(hold);
}

const struct remus_netbuf_ops remus_netbuf_hold = {
	.name = "hold",
	.check = hold_check,
	.open = hold_open,
	.hold = hold_hold,
	.seal = hold_seal,
	.release = hold_release,
	.discard = hold_discard,
	.pass = hold_pass,
	.stats = hold_stats,
	.addresses = hold_addresses,
	.announce = hold_announce,
	.close = hold_close,
};
