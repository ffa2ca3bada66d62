/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remus-lab-xen: what the hypervisor itself says about each domain but dom0, for tools/lab's matrix. A line each:
 *
 *   DOMID NAME running|paused|suspended|shutdown|crashed|dying on|off|none
 *
 * NAME is "-" where xenstore has none. The last word is log-dirty mode, for which Xen has no question: it is
 * turned on, which fails with EINVAL where it was on, and off again where it was not. "none": this guest can't
 * have it. A domain whose log-dirty mode is on is left as it was found.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenctrl.h>
#include <xenstore.h>
#include <xen/domctl.h>
#include <xen/sched.h>

#define DOMAINS_MAX 64

static const char *state_of(const xc_dominfo_t *info)
{
	if (info->dying)
		return "dying";
	if (info->shutdown && info->shutdown_reason == SHUTDOWN_suspend)
		return "suspended";
	if (info->shutdown)
		return info->shutdown_reason == SHUTDOWN_crash ? "crashed" : "shutdown";
	return info->paused ? "paused" : "running";
}

static const char *logdirty_of(xc_interface *xch, const xc_dominfo_t *info)
{
	if (info->dying)
		return "off";
	if (!xc_shadow_control(xch, info->domid, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, NULL, 0)) {
		xc_shadow_control(xch, info->domid, XEN_DOMCTL_SHADOW_OP_OFF, NULL, 0);
		return "off";
	}
	return errno == EINVAL ? "on" : "none";
}

static void print_name(struct xs_handle *xs, uint32_t domid)
{
	char path[64];
	unsigned length;

	snprintf(path, sizeof path, "/local/domain/%" PRIu32 "/name", domid);
	char *name = xs_read(xs, XBT_NULL, path, &length);
	printf("%" PRIu32 " %s", domid, name && *name ? name : "-");
	free(name);
}

int main(void)
{
	static xc_dominfo_t info[DOMAINS_MAX];
	xc_interface *xch = xc_interface_open(NULL, NULL, 0);
	struct xs_handle *xs = xs_open(0);

	if (!xch || !xs) {
		perror(xch ? "remus-lab-xen: xenstore" : "remus-lab-xen: libxenctrl");
		return EXIT_FAILURE;
	}
	int count = xc_domain_getinfo(xch, 1, DOMAINS_MAX, info);
	if (count < 0) {
		perror("remus-lab-xen: asking Xen for its domains");
		return EXIT_FAILURE;
	}
	for (int i = 0; i < count; i++) {
		print_name(xs, info[i].domid);
		printf(" %s %s\n", state_of(&info[i]), logdirty_of(xch, &info[i]));
	}
	xs_close(xs);
	xc_interface_close(xch);
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
