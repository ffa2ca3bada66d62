// SPDX-License-Identifier: GPL-2.0-or-later
/* From a URI to an arbiter, and the words for keys and answers. */
#include "schemes.h"
#include "remus/util.h"

#include <inttypes.h>
#include <stdio.h>

static const struct arbiter_scheme *const schemes[] = {&arbiter_file, &arbiter_manual, &arbiter_etcd,
						       &arbiter_command};

static void list_forms(char *out, size_t size)
{
	size_t n = 0;

	out[0] = 0;
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(schemes) && n < size; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s", i ? ", " : "", schemes[i]->form);
}

int remus_arbiter_create(const char *uri, struct remus_arbiter **out, struct remus_error *err)
{
	size_t word = strcspn(uri, ":");
	const char *rest = uri[word] ? uri + word + 1 : uri + word;
	char forms[512];

	list_forms(forms, sizeof forms);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(schemes); i++) {
		const char *scheme = schemes[i]->ops->scheme;
		if (strlen(scheme) != word || memcmp(scheme, uri, word) != 0)
			continue;
		struct remus_arbiter *made;
		int rc = schemes[i]->create(rest, &made, err);
		if (rc == 0 && !schemes[i]->at_once)
			rc = arbiter_bound(&made, REMUS_ARBITER_DEADLINE_MS, err);
		if (rc == 0)
			*out = made;
		if (rc < 0)
			remus_error_prefix(err, "arbiter \"%.200s\"", uri);
		return rc;
	}
	return remus_fail(err, -EINVAL, "arbiter \"%.200s\": no such scheme; this build has %s", uri, forms);
}

bool remus_arbiter_fences(const char *uri)
{
	struct remus_arbiter *arbiter;

	if (!uri || remus_arbiter_create(uri, &arbiter, NULL) < 0)
		return false;
	bool fences = arbiter->fences;
	arbiter->ops->close(arbiter);
	return fences;
}

void remus_key_text(const struct remus_key *key, char out[REMUS_KEY_TEXT])
{
	for (size_t i = 0; i < REMUS_SESSION_SIZE; i++)
		snprintf(out + 2 * i, 3, "%02x", key->session[i]);
	snprintf(out + 2 * REMUS_SESSION_SIZE, REMUS_KEY_TEXT - 2 * REMUS_SESSION_SIZE, ".%" PRIu64,
		 key->generation);
}

const char *remus_claim_name(enum remus_claim claim)
{
	switch (claim) {
	case REMUS_CLAIM_WON:
		return "won";
	case REMUS_CLAIM_LOST:
		return "lost";
	case REMUS_CLAIM_UNKNOWN:
		break;
	}
	return "unknown";
}
