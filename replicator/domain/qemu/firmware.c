/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and filling firmware ROMs. The ROM ends at 4 GiB; QEMU's monitor tells its size (info ramblock) and
 * where in the process it is (gpa2hva). Reading is done by QEMU itself (pmemsave into a memfd), writing through
 * /proc/PID/mem, which a parent may always do.
 */
#include "config.h"

#include "firmware.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "files.h"
#include "remus/util.h"

#define COMMAND_MS 5000
#define BLOCK	   "pc.bios"
#define TOP	   (UINT64_C(1) << 32)

/* A command of the human monitor; the reply is to be json_decref()ed. */
static int ask(struct remus_qmp *qmp, const char *line, json_t **reply, struct remus_error *err)
{
	return remus_qmp_execute(qmp, "human-monitor-command", json_pack("{s:s}", "command-line", line), -1,
				 COMMAND_MS, reply, err);
}

static int rom_size(struct remus_qmp *qmp, uint64_t *size, struct remus_error *err)
{
	json_t *reply = NULL;
	int rc = ask(qmp, "info ramblock", &reply, err);
	if (rc)
		return rc;
	/* "   pc.bios    4 KiB  0x0000000004000000 0x0000000000040000 0x..." name, page size, offset, used */
	const char *text = json_string_value(reply), *at = text ? strstr(text, " " BLOCK " ") : NULL;
	if (!at || sscanf(at, " " BLOCK " %*s %*s %*x %" SCNx64, size) != 1 || *size == 0 || *size % 4096 ||
	    *size > REMUS_QEMU_FIRMWARE_MAX)
		rc = remus_fail(err, -ENOTSUP, "the guest's firmware can't be found in its QEMU");
	json_decref(reply);
	return rc;
}

/* Let QEMU write the ROM to @memfd. */
static int save_rom(struct remus_qmp *qmp, int memfd, uint64_t size, struct remus_error *err)
{
	json_t *set = NULL;
	json_int_t fd, id;
	char path[64];

	int rc = remus_qmp_execute(qmp, "add-fd", NULL, memfd, COMMAND_MS, &set, err);
	if (rc)
		return rc;
	if (json_unpack(set, "{s:I, s:I}", "fd", &fd, "fdset-id", &id))
		rc = remus_fail(err, -EPROTO, "QMP: add-fd: unexpected reply");
	json_decref(set);
	if (rc)
		return rc;
	snprintf(path, sizeof path, "/proc/self/fd/%lld", (long long)fd);
	rc = remus_qmp_execute(qmp, "pmemsave",
			       json_pack("{s:I, s:I, s:s}", "val", (json_int_t)(TOP - size), "size",
					 (json_int_t)size, "filename", path),
			       -1, COMMAND_MS, NULL, err);
	remus_qmp_execute(qmp, "remove-fd", json_pack("{s:I}", "fdset-id", id), -1, COMMAND_MS, NULL, NULL);
	return rc;
}

int remus_qemu_firmware_measure(struct remus_qmp *qmp, uint64_t *size, uint64_t *hash,
				struct remus_error *err)
{
	char path[64];
	uint64_t saved = 0;

	int rc = rom_size(qmp, size, err);
	if (rc)
		return rc;
	REMUS_AUTO_CLOSE int memfd = memfd_create("remus-firmware", MFD_CLOEXEC);
	if (memfd < 0)
		return remus_fail_errno(err, "memfd for the guest's firmware");
	rc = save_rom(qmp, memfd, *size, err);
	snprintf(path, sizeof path, "/proc/self/fd/%d", memfd);
	if (rc == 0)
		rc = remus_qemu_hash_file(path, &saved, hash, err);
	if (rc == 0 && saved != *size)
		rc = remus_fail(err, -EIO, "QEMU saved %llu of %llu bytes", (unsigned long long)saved,
				(unsigned long long)*size);
	if (rc)
		remus_error_prefix(err, "reading the guest's firmware");
	return rc;
}

static bool equal(const char *path, uint64_t size, uint64_t hash)
{
	struct stat st;
	uint64_t have_size, have_hash;
	return !stat(path, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size &&
	       !remus_qemu_hash_file(path, &have_size, &have_hash, NULL) && have_size == size &&
	       have_hash == hash;
}

int remus_qemu_firmware_find(const struct remus_qemu_guest *guest, uint64_t size, uint64_t hash,
			     char out[PATH_MAX], struct remus_error *err)
{
	static const char *const folders[] = {"/usr/share/seabios", "/usr/share/qemu", "/usr/share/qemu-kvm",
					      "/usr/local/share/qemu", "/usr/share/ovmf"};
	for (int i = 0; i < guest->files; i++)
		if (equal(guest->file[i], size, hash)) {
			snprintf(out, PATH_MAX, "%s", guest->file[i]);
			return 0;
		}
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(folders); i++) {
		DIR *dir = opendir(folders[i]);
		struct dirent *entry;
		bool found = false;
		while (dir && !found && (entry = readdir(dir))) {
			snprintf(out, PATH_MAX, "%s/%s", folders[i], entry->d_name);
			found = equal(out, size, hash);
		}
		if (dir)
			closedir(dir);
		if (found)
			return 0;
	}
	return remus_fail(err, -ENOENT,
			  "no file of this host is equal to the guest's firmware (%llu bytes): install the "
			  "same version of the firmware's package (Debian: seabios), or give the guest's "
			  "QEMU -bios with a file that both hosts have",
			  (unsigned long long)size);
}

/* Where in QEMU's process the ROM's @size bytes are. */
static int rom_address(struct remus_qmp *qmp, uint64_t size, uint64_t *address, struct remus_error *err)
{
	char line[64], block[64];
	uint64_t have;
	json_t *reply = NULL;

	int rc = rom_size(qmp, &have, err);
	if (rc == 0 && have != size)
		rc = remus_fail(err, -EINVAL, "it has %llu bytes here instead of %llu",
				(unsigned long long)have, (unsigned long long)size);
	snprintf(line, sizeof line, "gpa2hva 0x%" PRIx64, TOP - size);
	if (rc == 0)
		rc = ask(qmp, line, &reply, err);
	if (rc)
		return rc;
	const char *text = json_string_value(reply);
	if (!text ||
	    sscanf(text, "Host virtual address for %*s (%63[^)]) is %" SCNx64, block, address) != 2 ||
	    strcmp(block, BLOCK))
		rc = remus_fail(err, -ENOTSUP, "QEMU says: %s", text ? text : "nothing");
	json_decref(reply);
	return rc;
}

int remus_qemu_firmware_load(struct remus_qmp *qmp, pid_t pid, const char *path, struct remus_error *err)
{
	char mem[64];
	uint64_t address = 0;
	struct stat st;

	REMUS_AUTO_CLOSE int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0 || fstat(file, &st))
		return remus_fail_errno(err, "the guest's firmware, %s", path);
	if (st.st_size <= 0 || (uint64_t)st.st_size > REMUS_QEMU_FIRMWARE_MAX)
		return remus_fail(err, -EINVAL, "the guest's firmware, %s: %lld bytes", path,
				  (long long)st.st_size);
	size_t size = (size_t)st.st_size;
	int rc = rom_address(qmp, size, &address, err);
	if (rc)
		return remus_error_prefix(err, "the guest's firmware, %s", path), rc;

	snprintf(mem, sizeof mem, "/proc/%d/mem", (int)pid);
	REMUS_AUTO_CLOSE int to = open(mem, O_WRONLY | O_CLOEXEC);
	REMUS_AUTO_FREE uint8_t *bytes = malloc(size);
	if (to < 0 || !bytes || pread(file, bytes, size, 0) != (ssize_t)size ||
	    pwrite(to, bytes, size, (off_t)address) != (ssize_t)size)
		return remus_fail_errno(err, "writing the guest's firmware, %s, to its ROM (%s)", path, mem);
	return 0;
}
