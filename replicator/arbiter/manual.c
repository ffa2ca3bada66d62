// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The manual arbiter: there is no medium, an operator decides. No claim is ever answered, so after a lost link
 * neither side acts on its own (I5, I6): the primary keeps its guest's output held and the backup keeps its
 * standby, until somebody who knows the state of the *other* host says so by a forced command. The one rule
 * that the operator must keep stands in the message: on one side only.
 */
#include "schemes.h"
#include "remus/util.h"

struct manual {
	struct remus_arbiter base;
};

static int manual_nothing(struct remus_arbiter *arbiter, const struct remus_key *key, struct remus_error *err)
{
	return 0;
}

static enum remus_claim manual_claim(struct remus_arbiter *arbiter, const struct remus_key *key,
				     enum remus_holder holder, struct remus_error *err)
{
	if (holder == REMUS_HOLDER_BACKUP)
		remus_fail(
			err, -EAGAIN,
			"arbiter \"manual\": the operator must decide. Make certain that the primary host "
			"is powered off (or its copy of the guest destroyed), then run `remusctl failover "
			"DOMAIN --force` here, on the backup. Never do so while `remusctl unprotect DOMAIN "
			"--force` has been or may be run on the primary: the guest would run twice");
	else
		remus_fail(
			err, -EAGAIN,
			"arbiter \"manual\": the operator must decide. Make certain that the backup host "
			"does not run the guest and never will (powered off, or its standby destroyed), then "
			"run `remusctl unprotect DOMAIN --force` here, on the primary. Never do so while "
			"`remusctl failover DOMAIN --force` has been or may be run on the backup: the guest "
			"would run twice");
	return REMUS_CLAIM_UNKNOWN;
}

static void manual_close(struct remus_arbiter *arbiter)
{
	free(arbiter);
}

static const struct remus_arbiter_ops manual_ops = {
	.scheme = "manual",
	.open = manual_nothing,
	.check = manual_nothing,
	.claim = manual_claim,
	.retire = manual_nothing,
	.close = manual_close,
};

static int manual_create(const char *rest, struct remus_arbiter **out, struct remus_error *err)
{
	if (*rest)
		return remus_fail(err, -EINVAL, "nothing may follow \"manual\"");
	struct manual *manual = calloc(1, sizeof *manual);
	if (!manual)
		return remus_fail(err, -ENOMEM, "out of memory");
	manual->base.ops = &manual_ops;
	*out = &manual->base;
	return 0;
}

const struct arbiter_scheme arbiter_manual = {&manual_ops, "manual", manual_create, true};
