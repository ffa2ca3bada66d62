/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arbiter decides who may run the guest when the two hosts cannot talk (I5, I6). Never asked on the epoch
 * path. URIs: "file:DIR" (a directory that both hosts reach), "etcd:..." (a cluster), "command:..." (a program that
 * fences the other host, or wraps a lock of the site's), "manual" (an operator). remus-arbiters(7) has them all.
 *
 * One key per (session, generation). open() by the primary makes it; exactly one claim() on it ever succeeds,
 * and the winner may ask again (same holder: WON again, so a lost answer can be asked for anew). A claim on a
 * key that doesn't exist is UNKNOWN: an arbiter that lost its memory must not let anybody win.
 */
#ifndef REMUS_ARBITER_H
#define REMUS_ARBITER_H

#include <stdbool.h>
#include <stdint.h>
#include "remus/error.h"
#include "remus/wire.h"

enum remus_holder { REMUS_HOLDER_PRIMARY = 1, REMUS_HOLDER_BACKUP = 2 };
enum remus_claim { REMUS_CLAIM_UNKNOWN = 0, REMUS_CLAIM_WON = 1, REMUS_CLAIM_LOST = 2 };

struct remus_key {
	uint8_t session[REMUS_SESSION_SIZE];
	uint64_t generation;
};

struct remus_arbiter {
	const struct remus_arbiter_ops *ops;
	bool fences; /* claim() switches the other host off: not for a hand-over between two hosts that live */
};

/*
 * Every call returns within REMUS_ARBITER_DEADLINE_MS, however long the medium hangs (a dead NFS server, a cluster
 * without a leader); then it is -ETIMEDOUT, a claim UNKNOWN. The question goes on in a thread of its own. Asked again,
 * the same question waits for it, for as long again, and a claim that was decided in between is answered at once.
 * Another question has to wait until then: -EBUSY. An open() that succeeds after its asker has closed is undone.
 * Not thread safe: one call at a time. The shells call claim() from a thread of their own, since a guest doesn't wait.
 */
#define REMUS_ARBITER_DEADLINE_MS 5000
struct remus_arbiter_ops {
	const char *scheme; /* "file" */
	/* Make the key. -EEXIST when it is there already (the generation was used). Proves at protect time that
	 * the arbiter can be written. */
	int (*open)(struct remus_arbiter *, const struct remus_key *, struct remus_error *err);
	/* Is the key there and unclaimed? The backup asks at protect time: proves that both sides reach the same
	 * arbiter. 0 = yes, else a negative code and a message. */
	int (*check)(struct remus_arbiter *, const struct remus_key *, struct remus_error *err);
	/* UNKNOWN always comes with a message in @err; WON and LOST never do. */
	enum remus_claim (*claim)(struct remus_arbiter *, const struct remus_key *, enum remus_holder,
				  struct remus_error *err);
	/* The session ended in agreement (END_ACK): remove the key, so that every later claim is UNKNOWN. A claimed
	 * key stays as a record. */
	int (*retire)(struct remus_arbiter *, const struct remus_key *, struct remus_error *err);
	/* Never waits: what a question that hangs still needs is freed when it comes back. */
	void (*close)(struct remus_arbiter *);
};

/* Parse @uri and make the arbiter. Errors name the URI and list the schemes. Doesn't touch the medium. */
int remus_arbiter_create(const char *uri, struct remus_arbiter **out, struct remus_error *err);

/* Would this URI's arbiter fence? False for a URI that isn't one. */
bool remus_arbiter_fences(const char *uri);

/* "0123...ef.7": the key as text, for file names and logs. */
#define REMUS_KEY_TEXT (2 * REMUS_SESSION_SIZE + 1 + 20 + 1)
void remus_key_text(const struct remus_key *key, char out[REMUS_KEY_TEXT]);
const char *remus_claim_name(enum remus_claim claim); /* "won", "lost", "unknown" */

#endif
