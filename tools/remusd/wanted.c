/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading a request that the daemon accepted (request.c), in a child. */
#include "remusd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "remus/tls.h"

const char *wanted_text(const json_t *request, const char *name, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(request, name));
	return text ? text : otherwise;
}

uint64_t wanted_number(const json_t *request, const char *name, uint64_t otherwise)
{
	const json_t *value = json_object_get(request, name);
	return json_is_integer(value) && json_integer_value(value) >= 0 ? (uint64_t)json_integer_value(value)
									: otherwise;
}

enum remus_overload_policy wanted_overload(const json_t *request)
{
	const char *word = wanted_text(request, "on_overload", "stretch");

	return !strcmp(word, "throttle") ? REMUS_OVERLOAD_THROTTLE
	       : !strcmp(word, "drop")	 ? REMUS_OVERLOAD_DROP
					 : REMUS_OVERLOAD_STRETCH;
}

int wanted_backend(const char *locator, const struct remus_domain_ops **ops, const char **place,
		   struct remus_error *err)
{
	char backend[16];
	const char *colon = strchr(locator, ':');

	snprintf(backend, sizeof backend, "%.*s", colon ? (int)(colon - locator) : 0, locator);
	*ops = colon ? remus_domain_backend(backend) : NULL;
	*place = colon ? colon + 1 : "";
	return *ops ? 0
		    : remus_fail(err, -EINVAL, "%s: no such kind of domain; use qemu:QMP-SOCKET or xen:NAME",
				 locator);
}

int wanted_egress(const json_t *request, const char *out[REMUS_NICS_MAX])
{
	const json_t *list = json_object_get(request, "egress");
	int n = 0;

	for (size_t i = 0; i < json_array_size(list) && i < REMUS_NICS_MAX; i++)
		out[n++] = json_string_value(json_array_get(list, i));
	return n;
}

void wanted_standby_egress(const json_t *request, char out[WANTED_EGRESS_MAX])
{
	const json_t *list = json_object_get(request, "standby_egress");
	size_t n = 0;

	if (!list)
		list = json_object_get(request, "egress");
	out[0] = 0;
	for (size_t i = 0; i < json_array_size(list) && n < WANTED_EGRESS_MAX; i++)
		n += (size_t)snprintf(out + n, WANTED_EGRESS_MAX - n, "%s%s", i ? ";" : "",
				      json_string_value(json_array_get(list, i)));
}

/* Plaintext only where the operator said so for this very guest. */
int wanted_tls(const struct options *options, const json_t *request, struct remus_tls **tls,
	       const char **peer, struct remus_error *err)
{
	*tls = NULL;
	*peer = wanted_text(request, "tls_peer", NULL);
	if (json_is_true(json_object_get(request, "insecure")))
		return 0;
	int rc = remus_tls_load(options->tls_dir, tls, err);
	if (rc == -ENOENT)
		remus_fail(
			err, rc,
			"there are no keys for the link to the backup in %s: `remusctl keys psk` makes some, "
			"for "
			"both hosts; only on a network that is yours alone: protect --insecure, and remusd "
			"--insecure on the backup",
			options->tls_dir);
	return rc;
}
