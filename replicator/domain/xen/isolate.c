/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See isolate.h. */
#include "isolate.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* RFC 9562, version 4. */
static json_t *uuid(const uint8_t r[16])
{
	char text[37];

	snprintf(text, sizeof text, "%02x%02x%02x%02x-%02x%02x-4%x%02x-%x%x%02x-%02x%02x%02x%02x%02x%02x",
		 r[0], r[1], r[2], r[3], r[4], r[5], r[6] & 15u, r[7], 8u | (r[8] >> 4 & 3u), r[8] & 15u,
		 r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
	return json_string(text);
}

/* libxl leaves out what is 0. What isn't said in a known way might be writable. */
static bool read_only(const json_t *disk)
{
	const json_t *writable = json_object_get(disk, "readwrite");

	return json_is_object(disk) && (!writable || json_is_false(writable) ||
					(json_is_integer(writable) && json_integer_value(writable) == 0));
}

static json_t *read_only_disks(const json_t *disks)
{
	json_t *kept = json_array();

	for (size_t i = 0; i < json_array_size(disks); i++)
		if (read_only(json_array_get(disks, i)))
			json_array_append(kept, json_array_get(disks, i));
	return kept;
}

int remus_xen_isolate(const char *config, const uint8_t random[16], char **out, struct remus_error *err)
{
	json_t *whole = json_loads(config, JSON_REJECT_DUPLICATES, NULL);
	json_t *what = json_object_get(whole, "c_info"), *build = json_object_get(whole, "b_info");
	int rc = 0;

	*out = NULL;
	if (!json_is_object(what) || !json_is_object(build)) {
		rc = remus_fail(err, -EBADMSG, "the guest's configuration says nothing of its domain");
	} else {
		json_object_set_new(what, "uuid", uuid(random));
		json_t *copy = json_pack("{s:O, s:O, s:o}", "c_info", what, "b_info", build, "disks",
					 read_only_disks(json_object_get(whole, "disks")));
		*out = copy ? json_dumps(copy, JSON_COMPACT) : NULL;
		json_decref(copy);
		if (!*out)
			rc = remus_fail(err, -ENOMEM, "the copy's configuration: no memory");
	}
	json_decref(whole);
	return rc;
}
