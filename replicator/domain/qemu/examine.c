/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the primary looks at before it protects a guest: who serves the socket, what its QEMU can do and was told,
 * where the memory is, which firmware it runs. Each QMP command has a deadline.
 */
#include "config.h"

#include "examine.h"

#include <stdio.h>
#include <string.h>

#include "files.h"
#include "firmware.h"
#include "remus/util.h"

#define COMMAND_MS 2000 /* as domain.c's */

static int check_commands(struct remus_qemu_seen *seen, struct remus_error *err)
{
	json_t *commands = NULL;
	int rc = remus_qmp_execute(seen->qmp, "query-commands", NULL, -1, COMMAND_MS, &commands, err);
	if (rc)
		return rc;
	bool found = false;
	for (size_t i = 0; i < json_array_size(commands); i++) {
		const char *name = json_string_value(json_object_get(json_array_get(commands, i), "name"));
		found |= name && !strcmp(name, "xen-save-devices-state");
	}
	json_decref(commands);
	return found ? 0
		     : remus_fail(err, -ENOTSUP,
				  "QEMU %s lacks the command xen-save-devices-state, with which "
				  "device state is saved",
				  remus_qmp_version(seen->qmp));
}

/* A guest that runs or was left paused (by a killed engine, which a supervisor repairs) may be opened. */
static int check_status(struct remus_qemu_seen *seen, struct remus_error *err)
{
	json_t *status = NULL;
	int rc = remus_qmp_execute(seen->qmp, "query-status", NULL, -1, COMMAND_MS, &status, err);
	if (rc)
		return rc;
	const char *word = json_string_value(json_object_get(status, "status"));
	if (!word || !remus_word_in("running paused", word))
		rc = remus_fail(err, -EINVAL,
				"the guest is in the state \"%s\": only a running guest can be protected",
				word ? word : "unknown");
	json_decref(status);
	return rc;
}

static int check_process(struct remus_qemu_seen *seen, const char *socket, struct remus_error *err)
{
	pid_t pid = remus_qmp_peer(seen->qmp);
	if (pid <= 0)
		return remus_fail(err, -ESRCH,
				  "QMP %s: its QEMU is in another pid namespace: run remus where the "
				  "guest's QEMU runs",
				  socket);
	int rc = remus_qemu_process_open(pid, &seen->process, err);
	if (rc)
		return rc;
	const char *slash = strrchr(seen->process.exe, '/');
	if (!strstr(slash ? slash : seen->process.exe, "qemu") &&
	    !strstr(slash ? slash : seen->process.exe, "kvm"))
		return remus_fail(err, -EINVAL,
				  "QMP %s: the process that opened it, pid %d (%s), isn't a QEMU. Give QEMU "
				  "a -qmp unix: socket of its own",
				  socket, (int)pid, seen->process.exe);
	/* It answers after the pidfd was opened: the pidfd is of the peer. */
	return check_status(seen, err);
}

static int check_memory(struct remus_qemu_seen *seen, struct remus_error *err)
{
	int rc = remus_qemu_ram_map(seen->process.pid, &seen->ram, err);

	if (rc == 0 && seen->ram.bytes != seen->guest.ram_bytes)
		rc = remus_fail(
			err, -EINVAL, "QEMU's command line says %llu bytes of memory, but there are %llu",
			(unsigned long long)seen->guest.ram_bytes, (unsigned long long)seen->ram.bytes);
	return rc;
}

static int make_description(struct remus_qemu_seen *seen, struct remus_error *err)
{
	struct remus_qemu_facts facts = {
		.version = remus_qmp_version(seen->qmp), .exe = seen->process.exe, .memory = seen->ram.bytes};
	REMUS_AUTO_FREE char *patch = NULL;

	int rc = remus_qemu_firmware_measure(seen->qmp, &seen->guest, &facts.firmware_size,
					     &facts.firmware_hash, &patch, err);
	facts.firmware_patch = patch;
	return rc ? rc : remus_qemu_describe(&seen->guest, &facts, &seen->description, err);
}

void remus_qemu_examine(struct remus_qemu_seen *seen, const char *socket, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;

	if (check_process(seen, socket, &err)) {
		remus_report_error(report, "guest", NULL, &err);
		return;
	}
	if (check_commands(seen, &err))
		remus_report_error(report, "qemu", "run the guest on a QEMU that has it", &err);
	struct remus_qemu_how how = {.cwd = seen->process.cwd};
	remus_qemu_options_check(seen->process.argv + 1, seen->process.argc - 1, &how, &seen->guest, report);
	if (!seen->guest.ram_bytes)
		return; /* an option was refused */
	if (check_memory(seen, &err))
		remus_report_error(report, "memory", NULL, &err);
	else if (make_description(seen, &err))
		remus_report_error(report, "guest", NULL, &err);
	else
		remus_report_ok(report, "guest", "%s runs on QEMU %s (%s, %s), %llu MiB of memory",
				*seen->guest.name ? seen->guest.name : "the guest",
				remus_qmp_version(seen->qmp), seen->guest.machine,
				seen->guest.kvm ? "kvm" : "tcg", (unsigned long long)seen->ram.bytes >> 20);
}

void remus_qemu_seen_free(struct remus_qemu_seen *seen)
{
	remus_qemu_ram_unmap(&seen->ram);
	remus_qemu_guest_free(&seen->guest);
	remus_qemu_process_close(&seen->process);
	free(seen->description);
	seen->description = NULL;
}
