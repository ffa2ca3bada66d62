/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The walk over a command line: shared by options.c, backends.c and devices.c, and by nobody else. */
#ifndef REMUS_QEMU_WALK_H
#define REMUS_QEMU_WALK_H

#include "options.h"

struct remus_qemu_walk {
	char *const *argv;
	int argc;
	const struct remus_qemu_how *how;
	struct remus_qemu_guest *guest;
	bool nodefaults, no_configuration, daemonized, accelerated;
	int serials, chardevs, agents;
	char memory_backend[64], ram_id[64]; /* what -machine names, what -object makes */
	int netdevs;
	struct {
		char id[64], local[108], remote[108];
	} netdev[REMUS_NICS_MAX];
	int cards; /* network cards, in the order of the -device options */
	struct {
		char netdev[64];
		uint8_t mac[6];
	} card[REMUS_NICS_MAX];
};

/* Take the option -@name with the value @value: check it, note what it says, add it to the result. */
typedef int remus_qemu_take(struct remus_qemu_walk *, const char *name, const char *value, const char *text,
			    struct remus_error *err);

/* backends.c: what stands behind devices. */
remus_qemu_take remus_qemu_take_object, remus_qemu_take_netdev, remus_qemu_take_chardev,
	remus_qemu_take_serial, remus_qemu_take_drive, remus_qemu_take_blockdev;
/* devices.c */
remus_qemu_take remus_qemu_take_device, remus_qemu_take_global;
/* machine.c */
remus_qemu_take remus_qemu_take_machine, remus_qemu_take_accel, remus_qemu_take_memory;
int remus_qemu_note_accelerator(struct remus_qemu_walk *, const char *value, struct remus_error *err);
/* Give each card of the walk its netdev: fills the guest's nics. */
int remus_qemu_join_nics(struct remus_qemu_walk *, struct remus_error *err);

/* options.c: write @kv as option -@name; the key @implied is written bare. */
void remus_qemu_emit(struct remus_qemu_walk *, const char *name, const struct remus_keyval *kv,
		     const char *implied);
/* Make @path absolute and note it as an input file; the guest owns the result. NULL = refused. */
const char *remus_qemu_input(struct remus_qemu_walk *, const char *path, struct remus_error *err);
/* Refuse keys that aren't among @keys and values that aren't plain words. */
int remus_qemu_check_keys(const struct remus_keyval *kv, const char *keys, struct remus_error *err);

#endif
