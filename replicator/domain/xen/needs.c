/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See needs.h. */
#include "needs.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct remus_xen_places remus_xen_places = {.net = "/sys/class/net", .scripts = "/etc/xen/scripts"};

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text && *text ? text : NULL;
}

/* The hotplug script that attaches a device; without it libxl's attaching fails. */
static void check_script(const struct remus_xen_places *places, const char *script, const char *what,
			 struct remus_report *report)
{
	char path[4096];

	if (script[0] == '/')
		snprintf(path, sizeof path, "%s", script);
	else
		snprintf(path, sizeof path, "%s/%s", places->scripts, script);
	if (access(path, X_OK))
		remus_report_fatal(report, -ENOENT, "script", "install it there (Debian: xen-utils-common)",
				   "%s is attached by %.500s, which this host cannot run: %s", what, path,
				   strerror(errno));
}

static void check_nic(const struct remus_xen_places *places, const json_t *nic, size_t index,
		      struct remus_report *report)
{
	const char *bridge = text_of(nic, "bridge"), *script = text_of(nic, "script");
	char path[4096], remedy[256], what[64];

	snprintf(what, sizeof what, "network interface %zu", index + 1);
	check_script(places, script ? script : "vif-bridge", what, report);
	if (!bridge)
		return; /* routed, or its script knows */
	if (strchr(bridge, '/') || bridge[0] == '.' || strlen(bridge) > 64) {
		remus_report_fatal(report, -EINVAL, "bridge", NULL, "%s: \"%.64s\" is no bridge's name", what,
				   bridge);
		return;
	}
	snprintf(path, sizeof path, "%s/%s", places->net, bridge);
	snprintf(remedy, sizeof remedy,
		 "make it (ip link add %s type bridge), with the network that the guest is in on the primary",
		 bridge);
	if (access(path, F_OK))
		remus_report_fatal(report, -ENODEV, "bridge", remedy,
				   "%s is on the bridge %s, which this host doesn't have", what, bridge);
	else
		remus_report_ok(report, "bridge", "there is %s, which %s is on", bridge, what);
}

/* Its content isn't compared: it may have terabytes. */
static void check_disk(const struct remus_xen_places *places, const json_t *disk, struct remus_report *report)
{
	const char *path = text_of(disk, "pdev_path"), *vdev = text_of(disk, "vdev"),
		   *script = text_of(disk, "script");
	char what[64];
	struct stat st;

	snprintf(what, sizeof what, "disk %.32s", vdev ? vdev : "?");
	if (!path)
		return; /* an empty drive */
	if (script)
		check_script(places, script, what, report);
	if (path[0] != '/')
		remus_report_warn(report, "disk", "see that this host reaches it",
				  "%s is \"%.400s\", whose presence here can't be told", what, path);
	else if (stat(path, &st))
		remus_report_fatal(report, -ENOENT, "disk", "copy or attach it there, under the same path",
				   "%s is %.400s, which this host doesn't have: %s", what, path,
				   strerror(errno));
	else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		remus_report_fatal(report, -EINVAL, "disk", "put the disk's image there",
				   "%s is %.400s, which is neither a file nor a block device here", what,
				   path);
	else
		remus_report_ok(report, "disk",
				"%s: there is %.400s (see that it holds the same; it isn't compared)", what,
				path);
}

/* A guest that reboots is started anew from these. Where the bootloader fetched them there is no path. */
static void check_boot(const json_t *config, struct remus_report *report)
{
	static const char *const members[] = {"kernel", "ramdisk", "bootloader"};
	const json_t *build = json_object_get(config, "b_info");

	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
		const char *path = text_of(build, members[i]);
		if (path && path[0] == '/' && access(path, R_OK))
			remus_report_warn(
				report, "boot", "copy it there",
				"this host lacks the guest's %s, %.400s: after a failover the guest "
				"runs, but can't reboot",
				members[i], path);
	}
}

void remus_xen_check_needs(const struct remus_xen_description *d, const struct remus_xen_places *places,
			   struct remus_report *report)
{
	json_t *config = json_loads(d->config, 0, NULL);
	const json_t *nics = json_object_get(config, "nics"), *disks = json_object_get(config, "disks");

	for (size_t i = 0; i < json_array_size(nics) && i < REMUS_NICS_MAX; i++)
		check_nic(places, json_array_get(nics, i), i, report);
	for (size_t i = 0; i < json_array_size(disks); i++)
		check_disk(places, json_array_get(disks, i), report);
	check_boot(config, report);
	json_decref(config);
}
