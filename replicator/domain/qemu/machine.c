/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine itself: its type, its accelerator, the size of its memory. Both hosts must have the same. */
#include <stdio.h>

#include "remus/util.h"
#include "walk.h"

/* "accel tcg,thread=multi" and "machine accel=tcg". */
int remus_qemu_note_accelerator(struct remus_qemu_walk *w, const char *value, struct remus_error *err)
{
	if (!remus_word_in("tcg kvm", value))
		return remus_fail(err, -ENOTSUP,
				  "accelerator \"%s\": name one, tcg or kvm, so that both hosts use "
				  "the same",
				  value);
	if (w->accelerated)
		return remus_fail(err, -ENOTSUP,
				  "accelerator given twice: name one, so that both hosts use the same");
	w->accelerated = true;
	w->guest->kvm |= !strcmp(value, "kvm");
	return 0;
}

int remus_qemu_take_accel(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
			  struct remus_error *err)
{
	struct remus_keyval kv;
	int rc = remus_keyval_parse(value, "accel", &kv, err);
	if (rc)
		return rc;
	const char *accel = remus_keyval_get(&kv, "accel");
	rc = remus_qemu_check_keys(&kv, text, err);
	if (rc == 0)
		rc = remus_qemu_note_accelerator(w, accel ? accel : "", err);
	if (rc == 0)
		remus_qemu_emit(w, name, &kv, "accel");
	remus_keyval_free(&kv);
	return rc;
}

static int machine_properties(struct remus_qemu_walk *w, const struct remus_keyval *kv, const char *keys,
			      struct remus_error *err)
{
	const char *type = remus_keyval_get(kv, "type"), *accel = remus_keyval_get(kv, "accel"),
		   *memory = remus_keyval_get(kv, "memory-backend");

	if (*w->guest->machine)
		return remus_fail(err, -EINVAL, "given twice");
	int rc = remus_qemu_check_keys(kv, keys, err);
	if (rc)
		return rc;
	if (!type || !(!strcmp(type, "microvm") || !strcmp(type, "pc") || !strcmp(type, "q35") ||
		       !strncmp(type, "pc-i440fx-", 10) || !strncmp(type, "pc-q35-", 7)))
		return remus_fail(err, -ENOTSUP,
				  "machine type \"%s\": microvm, pc, q35 and their versions are "
				  "supported, and one must be named",
				  type ? type : "");
	snprintf(w->guest->machine, sizeof w->guest->machine, "%s", type);
	if (memory)
		snprintf(w->memory_backend, sizeof w->memory_backend, "%s", memory);
	return accel ? remus_qemu_note_accelerator(w, accel, err) : 0;
}

int remus_qemu_take_machine(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
			    struct remus_error *err)
{
	struct remus_keyval kv;
	int rc = remus_keyval_parse(value, "type", &kv, err);
	if (rc)
		return rc;
	rc = machine_properties(w, &kv, text, err);
	if (rc == 0) {
		remus_qemu_emit(w, "machine", &kv, "type");
		/* The saved state has no description of itself; the standby's QEMU shall not look for one. */
		if (w->how->run_dir && !remus_keyval_get(&kv, "suppress-vmdesc"))
			remus_args_append(&w->guest->args, "suppress-vmdesc", "on");
	}
	remus_keyval_free(&kv);
	return rc;
}

int remus_qemu_take_memory(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
			   struct remus_error *err)
{
	struct remus_keyval kv;
	uint64_t bytes;
	int rc = remus_keyval_parse(value, "size", &kv, err);
	if (rc)
		return rc;
	const char *size = remus_keyval_get(&kv, "size");
	if (kv.count != 1 || !size || remus_size_parse(size, 1 << 20, &bytes))
		rc = remus_fail(err, -ENOTSUP,
				"\"%s\": only a plain size is supported; hot-plugged memory (slots, "
				"maxmem) can't be replicated yet",
				value);
	else
		remus_qemu_emit(w, name, &kv, "size");
	remus_keyval_free(&kv);
	return rc;
}
