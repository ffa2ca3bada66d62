/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an operator means: a guest's name from its locator, a whole request from what was said of it. */
#include "remusd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "remus/util.h"

/* "qemu:/run/vms/web1.qmp" -> "web1"; a file name that says nothing ("qmp.sock") -> its directory's. */
void guest_name(const char *locator, char out[128])
{
	static const char *const suffixes[] = {".sock", ".socket", ".qmp", ".monitor"};
	char path[256];
	const char *colon = strchr(locator, ':');

	snprintf(path, sizeof path, "%s", colon ? colon + 1 : locator);
	for (int round = 0; round < 2; round++) {
		char *slash = strrchr(path, '/');
		char *base = slash ? slash + 1 : path;
		snprintf(out, 128, "%s", base);
		for (size_t i = 0; i < REMUS_ARRAY_SIZE(suffixes); i++) {
			size_t n = strlen(out), m = strlen(suffixes[i]);
			if (n > m && !strcmp(out + n - m, suffixes[i]))
				out[n - m] = 0;
		}
		if (strcmp(out, "qmp") && strcmp(out, "monitor"))
			return;
		if (!slash || slash == path)
			return;
		*slash = 0;
	}
}

/* Where remusd runs on Xen, the name of a domain that it doesn't know yet is one of Xen's. */
bool guest_on_xen(void)
{
	return remus_domain_backend("xen") &&
	       (!access("/dev/xen/privcmd", F_OK) || !access("/proc/xen/privcmd", F_OK));
}

/* What isn't said is taken from an earlier session of the domain on this host, else from the defaults, so that
 * status shows what is in force. */
json_t *guest_request(const struct daemon *d, const struct session *s, const json_t *request)
{
	static const char *const inherited[] = {"egress", "arbiter"};
	char uri[PATH_MAX + 32];
	json_t *whole = json_deep_copy(request);

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(inherited); i++)
		if (s && !json_object_get(whole, inherited[i]) && json_object_get(s->request, inherited[i]))
			json_object_set(whole, inherited[i], json_object_get(s->request, inherited[i]));
	snprintf(uri, sizeof uri, "file:%s/arbiter", d->options.run_dir);
	json_t *defaults =
		json_pack("{s:s, s:i, s:s}", "arbiter", d->options.arbiter ? d->options.arbiter : uri,
			  "interval_ms", 25, "on_backup_loss", "solo");
	json_object_update_missing(whole, defaults);
	json_decref(defaults);
	return whole;
}
