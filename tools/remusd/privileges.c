/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remusd as root needs a part of what root may; the rest is given up at start, for good and for every child, the
 * hypervisors of standbys included. What is kept, and for what:
 *
 *	NET_ADMIN, NET_RAW	queueing discipline, ifb, tap; packet sockets
 *	NET_BIND_SERVICE	a replication port below 1024
 *	SYS_PTRACE		a guest's memory and its userfaultfd (the tracee may have more privileges than we)
 *	KILL			a guest of another user
 *	DAC_OVERRIDE, CHOWN,	QMP sockets, arbiter folders and guests' files of other users; the control socket's
 *	FOWNER, FSETID		group
 *	IPC_LOCK		Xen's hypercall buffers, memory that QEMU locks
 *	SYS_ADMIN		only where there is a Xen to talk to: libxl's hotplug scripts (loop devices)
 *
 * Nothing that is executed later may gain privileges either (no_new_privs). On a Xen dom0 this protects less than it
 * seems to: whoever may make hypercalls owns the machine (docs/security.md).
 */
#include "remusd.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const unsigned kept[] = {
	CAP_NET_ADMIN,	  CAP_NET_RAW, CAP_NET_BIND_SERVICE, CAP_SYS_PTRACE, CAP_KILL,
	CAP_DAC_OVERRIDE, CAP_CHOWN,   CAP_FOWNER,	     CAP_FSETID,     CAP_IPC_LOCK,
};

static uint64_t wanted(void)
{
	uint64_t set = 0;

	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		set |= UINT64_C(1) << kept[i];
	if (!access("/dev/xen/privcmd", F_OK) || !access("/proc/xen/privcmd", F_OK))
		set |= UINT64_C(1) << CAP_SYS_ADMIN;
	return set;
}

static int bound(uint64_t set, struct remus_error *err)
{
	for (unsigned i = 0; i < 64; i++) {
		int has = prctl(PR_CAPBSET_READ, i, 0, 0, 0);
		if (has < 0) /* the kernel has no more */
			break;
		if (has && !(set >> i & 1) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) && errno != EPERM)
			return remus_fail_errno(err, "giving up capability %u", i);
	}
	return 0;
}

int privileges_drop(struct remus_error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	uint64_t set = wanted();

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return remus_fail_errno(err, "no_new_privs");
	int rc = bound(set, err);
	if (rc < 0)
		return rc;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capget, &header, data))
		return remus_fail_errno(err, "capget");
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(set >> (32 * i));
		data[i].effective &= data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data))
		return remus_fail_errno(err, "capset");
	return 0;
}
