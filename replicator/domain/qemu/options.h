/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's command line: which options a protected guest may have, and what its standby's command line is.
 *
 * One pass over an allow-list does both jobs on both hosts. On the primary it refuses, with the reason and the
 * remedy, what could not be failed over, and leaves the *canonical* list: what shapes the guest, in order, with
 * absolute input paths. On the backup the same pass reads that list, which a hostile peer may have written, and
 * leaves the standby's command line: every path that QEMU would write or listen on is replaced by one in the
 * standby's own directory, and no option can name a program, a device of the host or a file to write.
 */
#ifndef REMUS_QEMU_OPTIONS_H
#define REMUS_QEMU_OPTIONS_H

#include "keyval.h"
#include "remus/domain.h"

#define REMUS_QEMU_ARGS_MAX  256 /* words of a guest's command line */
#define REMUS_QEMU_FILES_MAX 16

struct remus_qemu_how {
	const char *cwd;     /* to resolve relative input paths; NULL = refuse them */
	const char *run_dir; /* NULL = the canonical list; else the standby's command line, sockets in here */
	const char *name;    /* with run_dir: for the standby's -name */
};

/* What the options say of a guest. Free with remus_qemu_guest_free(). */
struct remus_qemu_guest {
	struct remus_args args; /* the result, without the program */
	char name[64];		/* -name or "" */
	char machine[64];
	bool kvm, cpu_host;
	uint64_t ram_bytes;
	int nics;
	struct remus_nic nic[REMUS_NICS_MAX];
	char agent[108]; /* the socket behind the agent's port (renewal.h), "" = it has none */
	int files;	 /* read-only inputs: kernel, initrd, firmware, disks; absolute, in @args too */
	char *file[REMUS_QEMU_FILES_MAX];
};

/*
 * @argv without the program. Each refused option is a fatal finding that names it; then, or when something that must
 * be there is missing, @out is empty.
 */
void remus_qemu_options_check(char *const *argv, int argc, const struct remus_qemu_how *how,
			      struct remus_qemu_guest *out, struct remus_report *report);
/* The same for those who want the first: -EINVAL, -ENOTSUP or -E2BIG. */
int remus_qemu_options(char *const *argv, int argc, const struct remus_qemu_how *how,
		       struct remus_qemu_guest *out, struct remus_error *err);
void remus_qemu_guest_free(struct remus_qemu_guest *);
/* "RUN_DIR/WHAT" into the 108 bytes of @out; refuses what doesn't fit a socket address. */
int remus_qemu_run_path(const char *run_dir, const char *what, char out[108], struct remus_error *err);

#endif
