/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Named fault points: places in the shipping code, at every step of setup, of an epoch and of failover, where a
 * failure can be ordered. What is drilled is therefore the very program that runs in production, at the very moment
 * that is meant.
 *
 *     REMUS_FAULT=primary-copied:40:kill remusd ...      killed the 40th time that an epoch's pages are copied
 *
 * The table below is the only list: the name is the identifier with '-' for '_', `remusd --faults` prints it, and
 * docs/faults.md shows it. Not armed, a point costs one load and a predictable branch. A point is never a decision of
 * the protocol: it makes the call at its place fail, late, stopped or killed, and all that follows is what would follow
 * a real one.
 *
 * Counts are kept in memory that children share with the daemon that forked them: the nth time is the nth in the life
 * of a daemon and all its children. So a point that killed an engine does not kill the one that takes up after it.
 */
#ifndef REMUS_FAULT_H
#define REMUS_FAULT_H

#include <stdbool.h>
#include <stdint.h>
#include "remus/error.h"

#define REMUS_FAULT_VARIABLE "REMUS_FAULT"

/* P(identifier, process, what has happened and what has not; what "fail" makes of it where that isn't plain) */
#define REMUS_FAULT_POINTS(P)                                                                                \
	P(remusd_spawn, "remusd", "a child is about to be forked")                                           \
	P(remusd_record, "remusd", "a session's record is written beside the old one, which it'll replace")  \
	P(remusd_admit, "remusd", "a backup's receiver asks whether it may stand by")                        \
	P(remusd_reap, "remusd", "a child has ended, nothing is done about it yet (fail: no effect)")        \
	P(remusd_adopt, "remusd", "a record of the daemon before is about to be taken up (fail: it stays)")  \
	P(engine_open, "primary", "the guest is attached to, its network is not")                            \
	P(engine_nics, "primary", "the buffers of the guest's interfaces are open, nothing passes them")     \
	P(engine_key, "primary", "the guest's network passes; the key is about to be opened at the arbiter") \
	P(engine_recover, "primary", "after a killed engine: output is held, the guest may stand still")     \
	P(engine_relay, "primary", "no session any more: the guest's network is about to be forwarded")      \
	P(primary_connect, "primary", "about to connect to the backup")                                      \
	P(primary_hello, "primary", "connected; about to send HELLO")                                        \
	P(primary_track, "primary", "the backup is ready; dirty tracking is about to start")                 \
	P(primary_sync_round, "primary", "a round of the full copy is about to begin")                       \
	P(primary_sync_send, "primary", "a piece of the full copy is copied and not sent")                   \
	P(primary_sync_paused, "primary",                                                                    \
	  "a round is sent; the guest stands still, its dirty set is unread")                                \
	P(primary_pause, "primary", "an epoch ends: the guest is about to be stopped")                       \
	P(primary_paused, "primary", "the guest stands still, nothing is captured")                          \
	P(primary_state_saved, "primary", "paused; the devices' state is saved, the dirty set is not read")  \
	P(primary_dirty_fetched, "primary", "paused; the dirty set is read and cleared, no page is copied")  \
	P(primary_copied, "primary", "paused; the epoch is copied")                                          \
	P(primary_hold, "primary", "paused in the first epoch; output is about to be held")                  \
	P(primary_seal, "primary", "paused; held output is about to be sealed")                              \
	P(primary_sealed, "primary", "paused; held output is sealed")                                        \
	P(primary_resume, "primary", "captured and sealed; the guest is about to be resumed")                \
	P(primary_resumed, "primary",                                                                        \
	  "the guest runs, nothing of its epoch is sent (fail: as if it hadn't)")                            \
	P(primary_send, "primary", "about to encode and send the epoch")                                     \
	P(primary_pages_sent, "primary", "the epoch's pages are sent, its state is not")                     \
	P(primary_commit, "primary", "pages and state are sent, COMMIT is not")                              \
	P(primary_sent, "primary", "COMMIT is sent, the ack has not come")                                   \
	P(primary_acked, "primary", "an ACK is read and not acted on (fail: the link is lost)")              \
	P(primary_release, "primary", "committed; held output is about to be released")                      \
	P(primary_released, "primary", "held output is released")                                            \
	P(primary_handover, "primary",                                                                       \
	  "hand-over: the guest stands still; about to say so (fail: link lost)")                            \
	P(primary_domain_lost, "primary", "the hypervisor died; about to tell the backup (fail: link lost)") \
	P(primary_end, "primary", "about to tell the backup that protection ends (fail: the link is lost)")  \
	P(primary_claim, "primary", "the backup can't be heard; about to claim (fail: no answer)")           \
	P(primary_claimed, "primary",                                                                        \
	  "the arbiter has decided, its answer isn't known here (fail: is lost)")                            \
	P(primary_pass, "primary", "decided: the guest stays; its output is about to pass")                  \
	P(primary_discard, "primary", "decided: the guest is elsewhere; held output is about to be dropped") \
	P(primary_destroy, "primary", "... and this copy of the guest is about to be destroyed")             \
	P(primary_retire, "primary", "ended in agreement; the key is about to be removed at the arbiter")    \
	P(receiver_accept, "backup", "a connection came in, nothing is read of it")                          \
	P(backup_hello, "backup", "HELLO is read and not acted on")                                          \
	P(backup_admitted, "backup", "the daemon lets the session in, the arbiter is not asked")             \
	P(backup_arbiter, "backup", "the arbiter knows the key; about to build the standby")                 \
	P(backup_standby, "backup", "the standby is there, its interfaces are not taken over")               \
	P(backup_nics, "backup", "the standby's interfaces are closed off; about to say that it is ready")   \
	P(backup_welcome, "backup", "about to send WELCOME (fail: the link is lost)")                        \
	P(backup_sync_apply, "backup", "a piece of the full copy is read and not applied")                   \
	P(backup_stage, "backup", "a piece of an epoch is read and not staged")                              \
	P(backup_verify, "backup", "an epoch is staged whole and not checked")                               \
	P(backup_verified, "backup", "an epoch is checked and not acknowledged")                             \
	P(backup_ack, "backup", "about to send ACK (fail: the link is lost)")                                \
	P(backup_acked, "backup", "ACK is sent, the epoch is not applied")                                   \
	P(backup_applying, "backup", "the epoch's pages are applied, its state is not")                      \
	P(backup_applied, "backup", "the epoch is applied")                                                  \
	P(backup_claim, "backup",                                                                            \
	  "the primary can't be heard or hands over; about to claim (fail: no answer)")                      \
	P(backup_claimed, "backup",                                                                          \
	  "the arbiter has decided, its answer isn't known here (fail: it is lost)")                         \
	P(backup_activate, "backup", "the claim is won; the standby is about to be activated")               \
	P(backup_activated, "backup", "the guest runs here, behind closed interfaces")                       \
	P(backup_pass, "backup", "the guest runs here; its output is about to pass")                         \
	P(backup_announce, "backup", "its output passes; its addresses are about to be announced")           \
	P(backup_tell, "backup",                                                                             \
	  "about to tell the primary that the guest runs here (fail: the link is lost)")                     \
	P(backup_drop, "backup", "the standby is about to be destroyed (fail: no effect)")                   \
	P(backup_end_ack, "backup", "protection ended, about to say so (fail: the link is lost)")

#define REMUS_FAULT_ENUM(id, process, text) REMUS_AT_##id,
enum remus_fault_point { REMUS_FAULT_POINTS(REMUS_FAULT_ENUM) REMUS_FAULT_COUNT };

/*
 * Arm by "name[:nth[:action]]"; NULL or "" disarms. To be called before there are threads; children made by fork
 * inherit it. nth: from 1 (default), "3+" is the third time and every one after. action:
 *
 *   fail[=ERRNO]  the call fails, by default with EIO; ENOSPC, ENOMEM... by name
 *   delay=MS      the thread waits
 *   stop          SIGSTOP to the own process, which somebody must continue
 *   kill          SIGKILL to the own process
 *
 * The name "any" is every point, each with its own count. -EINVAL with a message for what it doesn't understand.
 */
int remus_fault_arm(const char *spec, struct remus_error *err);
/* What is armed, as given; "" = nothing. */
const char *remus_fault_armed(void);

/* Count at every point without anything going off, for tests. */
int remus_fault_watch(struct remus_error *err);
/* How often a point was reached while armed (any of them) or watched, in this process and those it was shared with. */
uint64_t remus_fault_reached(enum remus_fault_point point);
/* How often an action was carried out. */
uint64_t remus_fault_fired(void);

#define REMUS_FAULT_NAME 32 /* bytes */
struct remus_fault_info {
	char name[REMUS_FAULT_NAME]; /* "primary-copied" */
	const char *process;	     /* "remusd", "primary", "backup": which child of which daemon */
	const char *text;
};
void remus_fault_info(enum remus_fault_point point, struct remus_fault_info *out);

/* 0, or what the armed action made of it: a negative errno with @err filled. Below. */
int remus_fault_at(enum remus_fault_point point, struct remus_error *err);
extern bool
	remus_fault_on; /* anything armed or watched? Written while there is one thread, then only read. */

/* A fault point: `rc = REMUS_FAULT(primary_copied, err)`. @err may be NULL. */
#define REMUS_FAULT(id, err) (__builtin_expect(remus_fault_on, 0) ? remus_fault_at(REMUS_AT_##id, (err)) : 0)

#endif
