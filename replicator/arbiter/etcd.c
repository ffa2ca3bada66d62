// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The etcd arbiter: an etcd cluster that both hosts reach, of version 3.4 or newer, by its JSON gateway. It upholds I5
 * by etcd's own word: each call is one transaction (etcd_txn.c), asked of as many endpoints as it takes to get an
 * answer (etcd_http.c). Writes go through the cluster's consensus, so without a majority there is no answer, and that
 * is UNKNOWN. Once the cluster has been seen, answers of another one count for nothing.
 */
#include <stdio.h>
#include <sys/random.h>
#include "etcd.h"
#include "schemes.h"
#include "remus/util.h"

/* A little less than the shells wait for a claim, so that what they hear is the reason. */
#define CALL_US 4500000u

struct etcd {
	struct remus_arbiter base;
	struct etcd_uri uri;
	uint64_t cluster;
};

/* One call: what the judges need, and what they found. */
struct matter {
	struct etcd_names names;
	enum remus_holder me;
	char nonce[ETCD_NONCE];
	uint64_t last_revision;
	int rc; /* the conclusion */
	enum remus_claim claim;
	struct remus_error err;
};

static bool is_conclusive(int rc)
{
	return rc != -EBADMSG;
}

static int judge_open(void *context, const struct etcd_answer *answer, struct remus_error *err)
{
	struct matter *m = context;
	uint64_t last = m->last_revision;
	struct remus_error why = REMUS_ERROR_INIT;
	int rc = etcd_judge_open(answer, &m->names, m->nonce, &last, &why);

	if (!is_conclusive(rc))
		return remus_fail(err, rc, "%s", why.message);
	m->last_revision = last;
	m->rc = rc;
	m->err = why;
	return 0;
}

static int judge_check(void *context, const struct etcd_answer *answer, struct remus_error *err)
{
	struct matter *m = context;
	struct remus_error why = REMUS_ERROR_INIT;
	int rc = etcd_judge_check(answer, &m->names, &why);

	if (!is_conclusive(rc))
		return remus_fail(err, rc, "%s", why.message);
	if (m->rc == 0) { /* several endpoints answer: one that objects is enough */
		m->rc = rc;
		m->err = why;
	}
	return 0;
}

static int judge_claim(void *context, const struct etcd_answer *answer, struct remus_error *err)
{
	struct matter *m = context;
	struct remus_error why = REMUS_ERROR_INIT;
	int code;

	m->claim = etcd_judge_claim(answer, &m->names, m->me, &code, &why);
	if (code < 0)
		return remus_fail(err, code, "%s", why.message);
	m->err = why;
	return 0;
}

static int judge_retire(void *context, const struct etcd_answer *answer, struct remus_error *err)
{
	return etcd_judge_retire(answer, err);
}

static struct etcd *etcd_of(struct remus_arbiter *arbiter)
{
	return (struct etcd *)arbiter;
}

/* Carry @body out (and free it). */
static int call(struct etcd *e, char *body, bool all, uint64_t deadline_us, struct matter *m,
		int (*judge)(void *, const struct etcd_answer *, struct remus_error *),
		struct remus_error *err)
{
	struct etcd_call what = {
		.uri = &e->uri,
		.body = body,
		.deadline_us = deadline_us,
		.all = all,
		.cluster = &e->cluster,
		.judge = judge,
		.context = m,
	};
	int rc = etcd_call(&what, err);

	free(body);
	return rc;
}

/* Every endpoint that answers must know the key, and let us write. */
static int check_all(struct etcd *e, struct matter *m, uint64_t deadline_us, struct remus_error *err)
{
	int rc = call(e, etcd_check_body(&m->names), true, deadline_us, m, judge_check, err);

	if (rc == 0 && m->rc < 0)
		rc = remus_fail(err, m->rc, "%s", m->err.message);
	return rc;
}

static int make_nonce(char out[ETCD_NONCE], struct remus_error *err)
{
	uint8_t bytes[(ETCD_NONCE - 1) / 2];

	if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
		return remus_fail_errno(err, "getrandom");
	for (size_t i = 0; i < sizeof bytes; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

static int etcd_open(struct remus_arbiter *arbiter, const struct remus_key *key, struct remus_error *err)
{
	struct etcd *e = etcd_of(arbiter);
	uint64_t deadline_us = remus_now_us() + CALL_US;
	struct matter m = {0};
	int rc = make_nonce(m.nonce, err);

	etcd_names(e->uri.prefix, key, &m.names);
	for (bool again = rc == 0; again;) {
		rc = call(e, etcd_open_body(&m.names, m.nonce, m.last_revision), false, deadline_us, &m,
			  judge_open, err);
		again = rc == 0 && m.rc == -ESTALE && remus_now_us() < deadline_us;
	}
	if (rc == 0 && m.rc < 0)
		rc = remus_fail(err, m.rc, "%s", m.err.message);
	return rc < 0 ? rc : check_all(e, &m, deadline_us, err);
}

static int etcd_check(struct remus_arbiter *arbiter, const struct remus_key *key, struct remus_error *err)
{
	struct etcd *e = etcd_of(arbiter);
	struct matter m = {0};

	etcd_names(e->uri.prefix, key, &m.names);
	return check_all(e, &m, remus_now_us() + CALL_US, err);
}

static enum remus_claim etcd_claim(struct remus_arbiter *arbiter, const struct remus_key *key,
				   enum remus_holder me, struct remus_error *err)
{
	struct etcd *e = etcd_of(arbiter);
	uint64_t known = e->cluster;
	struct matter m = {.me = me};

	etcd_names(e->uri.prefix, key, &m.names);
	if (call(e, etcd_claim_body(&m.names, me), false, remus_now_us() + CALL_US, &m, judge_claim, err) < 0)
		return REMUS_CLAIM_UNKNOWN;
	if (m.claim == REMUS_CLAIM_UNKNOWN) {
		e->cluster = known; /* one that doesn't have the key isn't the one to stay with */
		remus_fail(err, m.err.code, "%s", m.err.message);
	}
	return m.claim;
}

static int etcd_retire(struct remus_arbiter *arbiter, const struct remus_key *key, struct remus_error *err)
{
	struct etcd *e = etcd_of(arbiter);
	struct matter m = {0};

	etcd_names(e->uri.prefix, key, &m.names);
	return call(e, etcd_retire_body(&m.names), false, remus_now_us() + CALL_US, &m, judge_retire, err);
}

static void etcd_close(struct remus_arbiter *arbiter)
{
	free(arbiter);
}

static const struct remus_arbiter_ops etcd_ops = {
	.scheme = "etcd",
	.open = etcd_open,
	.check = etcd_check,
	.claim = etcd_claim,
	.retire = etcd_retire,
	.close = etcd_close,
};

static int etcd_create(const char *rest, struct remus_arbiter **out, struct remus_error *err)
{
	struct etcd *e = calloc(1, sizeof *e);

	if (!e)
		return remus_fail(err, -ENOMEM, "out of memory");
	int rc = etcd_uri_parse(rest, &e->uri, err);
	if (rc < 0) {
		free(e);
		return rc;
	}
	e->base.ops = &etcd_ops;
	*out = &e->base;
	return 0;
}

const struct arbiter_scheme arbiter_etcd = {&etcd_ops, ETCD_FORM, etcd_create, false};
