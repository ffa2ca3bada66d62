/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Could the plug hold what an interface sends? Making a gate to see would load modules and change the host, so its
 * needs are looked at one by one: modules, privileges, and what is on the interface already. Nothing here opens,
 * makes or loads anything.
 */
#include "config.h"
#include "plug.h"
#include "modules.h"
#include "remus/util.h"

#include <linux/capability.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

/* Each with a function of its own, by which it is found in a kernel that has it built in. */
static const struct {
	const char *name, *symbol, *what_for;
} needed[] = {
	{"sch_plug", "plug_enqueue", "holds what the guest sends until it is acknowledged"},
	{"sch_prio", "prio_enqueue", "keeps the frames of two epochs apart"},
	{"ifb", "ifb_xmit", "turns what the guest sends round to where it can be held"},
	{"sch_ingress", "ingress_init", "is what filters of incoming frames hang in"},
	{"cls_matchall", "mall_classify", "takes all that the guest sends, whatever its protocol"},
	{"act_mirred", "tcf_mirred_init", "leads it to the interface that holds it"},
};

static void check_modules(struct remus_report *report)
{
	struct utsname kernel;
	char tree[96], remedy[128], missing[128] = "", later[128] = "";
	struct module_places places = {"/sys/module", tree, "/proc/kallsyms", "/proc/sys/kernel/modprobe"};
	bool unknown = false;

	if (uname(&kernel))
		return;
	snprintf(tree, sizeof tree, "/lib/modules/%s", kernel.release);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(needed); i++) {
		enum module_state state = module_state(&places, needed[i].name, needed[i].symbol);
		char *list = state == MODULE_MISSING ? missing : later;
		size_t n = strlen(list);
		unknown |= state == MODULE_UNKNOWN;
		if (state == MODULE_MISSING) {
			snprintf(remedy, sizeof remedy, "load it (modprobe %s)" NETLINK_OR_BOOT,
				 needed[i].name);
			remus_report_fatal(report, -EOPNOTSUPP, "kernel", remedy,
					   "this kernel (%.64s) lacks the module %s, which %s",
					   kernel.release, needed[i].name, needed[i].what_for);
		}
		if (state != MODULE_THERE)
			snprintf(list + n, 128 - n, " %s", needed[i].name);
	}
	if (unknown)
		remus_report_warn(report, "kernel",
				  "see that modprobe finds them, or load them now (modprobe -a)",
				  "this kernel doesn't tell whether it has the modules%s", later);
	else if (!missing[0])
		remus_report_ok(report, "kernel", "the modules that hold packets are there%s%s",
				later[0] ? "; loaded when needed:" : "", later);
}

static bool may(unsigned capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	return syscall(SYS_capget, &header, data) || data[capability / 32].effective >> capability % 32 & 1;
}

static void check_privileges(struct remus_report *report)
{
	if (!may(CAP_NET_ADMIN))
		remus_report_fatal(
			report, -EPERM, "privileges", NETLINK_GIVE_ADMIN,
			"holding packets in the kernel needs CAP_NET_ADMIN, which this remusd lacks");
	if (!may(CAP_NET_RAW))
		remus_report_warn(report, "privileges", "run the engine as root, or give it CAP_NET_RAW too",
				  "without CAP_NET_RAW the guest's neighbours learn late that it has moved");
}

void plug_check_on(struct netlink *nl, const struct remus_netbuf_config *config, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	char interface[sizeof config->nic.interface + 1];
	struct redirect gate;

	snprintf(interface, sizeof interface, "%.*s", (int)sizeof config->nic.interface,
		 config->nic.interface);
	int rc = redirect_find(nl, interface, &gate, &err);
	if (rc == 0)
		rc = redirect_check(nl, &gate, &err);
	if (rc < 0)
		remus_report_error(report, "network", NULL, &err);
	else if (gate.shut)
		remus_report_warn(report, "network", "protecting the guest takes it over",
				  "what interface %s sends is gated by %s, which an engine left or uses",
				  gate.interface, gate.gate_name);
	else
		remus_report_ok(report, "network", "what interface %s sends can be led to a gate", interface);
}

/* The first interface of a guest says what holds for all. */
static bool told(const struct remus_report *report)
{
	for (uint32_t i = 0; i < report->count; i++)
		if (!strcmp(report->list[i].subject, "kernel"))
			return true;
	return false;
}

void plug_check(const struct remus_netbuf_config *config, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct netlink *nl;

	if (!told(report)) {
		check_modules(report);
		check_privileges(report);
	}
	if (!config->nic.interface[0])
		return;
	if (netlink_open(&nl, &err) < 0) {
		remus_report_error(report, "network", NULL, &err);
		return;
	}
	plug_check_on(nl, config, report);
	nl->ops->close(nl);
}
