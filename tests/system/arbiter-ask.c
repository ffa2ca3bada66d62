// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One question to an arbiter, for tests: arbiter-ask URI open|check|primary|backup|retire GENERATION [CALLS]
 * (the session is fixed). Prints "ok", "won", "lost" or "CODE: message" per call, and how long it took in ms.
 */
#include <stdio.h>
#include "remus/arbiter.h"
#include "remus/util.h"

static const struct remus_key session = {.session = {0xab, 0xcd}};

static int ask(struct remus_arbiter *a, const char *what, const struct remus_key *key,
	       struct remus_error *err, const char **word)
{
	*word = "ok";
	if (!strcmp(what, "open"))
		return a->ops->open(a, key, err);
	if (!strcmp(what, "check"))
		return a->ops->check(a, key, err);
	if (!strcmp(what, "retire"))
		return a->ops->retire(a, key, err);
	enum remus_claim claim = a->ops->claim(
		a, key, strcmp(what, "primary") ? REMUS_HOLDER_BACKUP : REMUS_HOLDER_PRIMARY, err);
	*word = remus_claim_name(claim);
	return claim == REMUS_CLAIM_UNKNOWN ? -EAGAIN : 0;
}

int main(int argc, char **argv)
{
	struct remus_key key = session;
	struct remus_arbiter *a;
	struct remus_error err = REMUS_ERROR_INIT;

	if (argc < 4) {
		fprintf(stderr,
			"usage: arbiter-ask URI open|check|primary|backup|retire GENERATION [CALLS]\n");
		return 2;
	}
	if (remus_arbiter_create(argv[1], &a, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		return 2;
	}
	key.generation = strtoull(argv[3], NULL, 10);
	for (int n = argc > 4 ? atoi(argv[4]) : 1; n > 0; n--) {
		const char *word;
		uint64_t began = remus_now_us();
		err = (struct remus_error)REMUS_ERROR_INIT;
		int rc = ask(a, argv[2], &key, &err, &word);
		unsigned ms = (unsigned)((remus_now_us() - began) / 1000);
		if (rc < 0)
			printf("%u unknown %s: %s\n", ms, strerror(err.code ? -err.code : -rc), err.message);
		else
			printf("%u %s\n", ms, word);
		fflush(stdout);
	}
	a->ops->close(a);
	return 0;
}
