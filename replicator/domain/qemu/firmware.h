/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's firmware ROM. A QEMU that waits for an incoming state leaves its ROM empty, because ordinary
 * migration sends it; a checkpoint doesn't. So the primary tells its ROM's checksum, and the standby fills its
 * own from an equal file of its host. Without it a guest would run after failover but die at its next reboot.
 */
#ifndef REMUS_QEMU_FIRMWARE_H
#define REMUS_QEMU_FIRMWARE_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>
#include "options.h"
#include "qmp.h"

#define REMUS_QEMU_FIRMWARE_MAX (16u << 20) /* bytes; what a PC has room for below 4 GiB */

/* Size and XXH3 of the ROM of the QEMU behind @qmp. */
int remus_qemu_firmware_measure(struct remus_qmp *qmp, uint64_t *size, uint64_t *hash,
				struct remus_error *err);
/* Find a file with this content among the guest's files and where this host keeps firmware. */
int remus_qemu_firmware_find(const struct remus_qemu_guest *guest, uint64_t size, uint64_t hash,
			     char out[PATH_MAX], struct remus_error *err);
/* Write the file @path (of the size that was asked for) into the ROM of our child @pid. */
int remus_qemu_firmware_load(struct remus_qmp *qmp, pid_t pid, const char *path, struct remus_error *err);

#endif
