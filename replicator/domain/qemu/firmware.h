/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's firmware. A QEMU that waits for an incoming state leaves it empty, because ordinary migration
 * sends it; a checkpoint doesn't. So the primary tells which file its firmware came from, by checksum, and the
 * standby fills its own from the same file. Without it a guest would run after failover but die at its next
 * reboot. On a microvm the firmware isn't a ROM: its own variables stand in it, and go along as a patch:
 *
 *   "2640:00ff12,34f0:01"   at 0x2640 of the file three other bytes, at 0x34f0 one
 */
#ifndef REMUS_QEMU_FIRMWARE_H
#define REMUS_QEMU_FIRMWARE_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>
#include "options.h"
#include "qmp.h"

#define REMUS_QEMU_FIRMWARE_MAX (16u << 20) /* bytes; what a PC has room for below 4 GiB */

#define REMUS_QEMU_FIRMWARE_PATCH_MAX (16u * 1024u) /* characters; qboot's variables take 0.5 KiB */

/* Of the QEMU behind @qmp: size, XXH3 of the file that its firmware comes from, and what differs from the file
 * ("" = nothing; to be freed). */
int remus_qemu_firmware_measure(struct remus_qmp *qmp, const struct remus_qemu_guest *guest, uint64_t *size,
				uint64_t *hash, char **patch, struct remus_error *err);
/* Find a file with this content among the guest's files and where this host keeps firmware. */
int remus_qemu_firmware_find(const struct remus_qemu_guest *guest, uint64_t size, uint64_t hash,
			     char out[PATH_MAX], struct remus_error *err);
/* Write the file @path, changed by @patch, into the firmware of our child @pid. */
int remus_qemu_firmware_load(struct remus_qmp *qmp, pid_t pid, const char *path, const char *patch,
			     struct remus_error *err);

/* What turns the @size bytes of @from into @to; NULL if it's longer than the limit (or out of memory). */
char *remus_qemu_patch_make(const uint8_t *from, const uint8_t *to, size_t size);
/* -EINVAL: malformed or beyond @size. */
int remus_qemu_patch_apply(const char *patch, uint8_t *bytes, size_t size);

#endif
