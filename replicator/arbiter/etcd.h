/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the etcd arbiter, which see each other through this header: etcd_uri.c (where the cluster is),
 * etcd_txn.c (transactions and what their answers mean: pure, no I/O), etcd_http.c (how one is carried out, the only
 * part that needs libcurl), etcd.c (the arbiter).
 */
#ifndef REMUS_ARBITER_ETCD_H
#define REMUS_ARBITER_ETCD_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "remus/arbiter.h"

/* ---- where the cluster is ---- */
#define ETCD_ENDPOINTS_MAX 9   /* etcd itself advises at most 7 members */
#define ETCD_ENDPOINT_MAX  280 /* "https://", a DNS name, a port */
#define ETCD_PREFIX_MAX	   256

struct etcd_uri {
	char endpoint[ETCD_ENDPOINTS_MAX][ETCD_ENDPOINT_MAX]; /* "https://host:2379" */
	unsigned endpoints;
	char prefix[ETCD_PREFIX_MAX]; /* "/remus": begins with a slash, doesn't end in one */
	char ca[PATH_MAX], cert[PATH_MAX], key[PATH_MAX];
	char user[128], password_file[PATH_MAX];
};

/* Parse what follows "etcd:". Files aren't looked at. */
int etcd_uri_parse(const char *text, struct etcd_uri *out, struct remus_error *err);

/* ---- transactions ---- */
#define ETCD_KEY_MAX   (ETCD_PREFIX_MAX + REMUS_KEY_TEXT + 16)
#define ETCD_VALUE_MAX 64
#define ETCD_NONCE     33 /* 16 random bytes in hex */

struct etcd_names {
	char open[ETCD_KEY_MAX], holder[ETCD_KEY_MAX], last[ETCD_KEY_MAX];
};
void etcd_names(const char *prefix, const struct remus_key *key, struct etcd_names *out);

/* The bodies of POST /v3/kv/txn. Malloced; NULL = no memory. */
char *etcd_open_body(const struct etcd_names *names, const char nonce[ETCD_NONCE], uint64_t last_revision);
char *etcd_check_body(const struct etcd_names *names);
char *etcd_claim_body(const struct etcd_names *names, enum remus_holder me);
char *etcd_retire_body(const struct etcd_names *names);
/* The body of POST /v3/auth/authenticate. */
char *etcd_login_body(const char *user, const char *password);

struct etcd_item {
	enum { ETCD_PUT = 1, ETCD_DELETED, ETCD_RANGE } kind;
	uint64_t deleted; /* keys */
	bool there;	  /* ETCD_RANGE: the key exists, and: */
	char key[ETCD_KEY_MAX], value[ETCD_VALUE_MAX];
	uint64_t mod_revision;
};
#define ETCD_ITEMS_MAX 3
struct etcd_answer {
	uint64_t cluster;
	bool succeeded;
	unsigned items;
	struct etcd_item item[ETCD_ITEMS_MAX];
};

/*
 * Read the answer to a transaction, of HTTP status @status. 0, or a negative code: -EACCES (asking this endpoint again
 * is of no use until somebody changes something), -EAGAIN (etcd says so itself: no leader, say), -EBADMSG (not an
 * answer of etcd's).
 */
int etcd_answer_parse(long status, const char *text, size_t length, struct etcd_answer *out,
		      struct remus_error *err);
/* The token in the answer to a login, malloced. Codes as above. */
int etcd_login_parse(long status, const char *text, size_t length, char **token, struct remus_error *err);

/* What an answer means. Anything but what the transaction can answer is -EBADMSG, UNKNOWN for a claim.
 * etcd_judge_open: -ESTALE = another key was opened meanwhile, *last_revision is what to try with. */
int etcd_judge_open(const struct etcd_answer *answer, const struct etcd_names *names, const char *nonce,
		    uint64_t *last_revision, struct remus_error *err);
int etcd_judge_check(const struct etcd_answer *answer, const struct etcd_names *names,
		     struct remus_error *err);
/* *@code: 0 = the answer is conclusive (also UNKNOWN can be), else -EBADMSG. */
enum remus_claim etcd_judge_claim(const struct etcd_answer *answer, const struct etcd_names *names,
				  enum remus_holder me, int *code, struct remus_error *err);
int etcd_judge_retire(const struct etcd_answer *answer, struct remus_error *err);

/* ---- carrying one out ---- */
struct etcd_call {
	const struct etcd_uri *uri;
	const char *body;
	uint64_t deadline_us; /* CLOCK_MONOTONIC */
	bool all;	      /* ask every endpoint, and wait for those that answer soon after the first */
	uint64_t *cluster;    /* the cluster that is asked; 0 = whichever answers first */
	/* Conclusive = 0. Else the next endpoint's answer is waited for. */
	int (*judge)(void *context, const struct etcd_answer *answer, struct remus_error *err);
	void *context;
};

/* 0 = an answer was conclusive. Else what each endpoint said is in @err; -ETIMEDOUT, -EACCES, -EXDEV (endpoints of
 * different clusters)... */
int etcd_call(const struct etcd_call *call, struct remus_error *err);

#endif
