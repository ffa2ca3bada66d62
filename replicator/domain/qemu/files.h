/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a primary tells of itself so that an equal guest can be built (`describe`), and the check of it on the
 * backup. JSON:
 *
 *   {"format": 1, "hypervisor": "qemu", "version": "7.2.22 (Debian ...)", "binary": "qemu-system-x86_64",
 *    "memory": 268435456, "firmware": {"size": 131072, "xxh3": "0123456789abcdef", "patch": ""},
 *    "cpu": "host CPU's name, where the guest sees it, or ''",
 *    "argv": ["-machine", "microvm,...", ...],              the canonical list of options.h
 *    "files": [{"path": "/boot/vmlinuz", "size": 123, "xxh3": "0123456789abcdef"}, ...]}
 */
#ifndef REMUS_QEMU_FILES_H
#define REMUS_QEMU_FILES_H

#include <stdint.h>
#include "options.h"

#define REMUS_QEMU_FILE_MAX	   (UINT64_C(256) << 20) /* bytes hashed at most; a tenth of a second */
#define REMUS_QEMU_DESCRIPTION_MAX (60u * 1024u)	 /* it must fit a HELLO frame */

/* Size and XXH3 of the regular file @path. -EFBIG above REMUS_QEMU_FILE_MAX. */
int remus_qemu_hash_file(const char *path, uint64_t *size, uint64_t *hash, struct remus_error *err);
/* "model name" of this host's first processor, "" if there is none. */
void remus_qemu_host_cpu(char out[128]);

/* What a primary knows of its guest besides the options. */
struct remus_qemu_facts {
	const char *version, *exe;
	uint64_t memory, firmware_size, firmware_hash;
	const char *firmware_patch; /* see firmware.h */
};
int remus_qemu_describe(const struct remus_qemu_guest *guest, const struct remus_qemu_facts *facts,
			char **json, struct remus_error *err);

struct remus_qemu_description {
	void *json; /* what the strings point into */
	const char *version, *binary, *cpu, *firmware_patch;
	uint64_t memory, firmware_size, firmware_hash;
	int argc;
	char **argv; /* argc words; both arrays and strings are owned here */
};

/* Take apart what came from the peer: bounded, well-formed, but not yet allowed (that is remus_qemu_options). */
int remus_qemu_description_parse(const char *text, struct remus_qemu_description *out,
				 struct remus_error *err);
void remus_qemu_description_free(struct remus_qemu_description *);
/* Does this host have each file that @guest names, with the content that the description says? A finding for each. */
void remus_qemu_description_check_files(const struct remus_qemu_description *,
					const struct remus_qemu_guest *guest, struct remus_report *report);

#endif
