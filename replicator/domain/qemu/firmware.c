/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and filling firmware. It ends at 4 GiB; QEMU's monitor tells its size (info ramblock) and where in the
 * process it is (gpa2hva). Reading is done by QEMU itself (pmemsave into a memfd), writing through /proc/PID/mem,
 * which a parent may always do.
 */
#include "config.h"

#include "firmware.h"

#include <ctype.h>
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

/* Call @see for each regular file of @size bytes that firmware may come from, until it returns true. */
static bool each_candidate(const struct remus_qemu_guest *guest, uint64_t size,
			   bool (*see)(const char *path, void *arg), void *arg)
{
	static const char *const folders[] = {"/usr/share/seabios", "/usr/share/qemu", "/usr/share/qemu-kvm",
					      "/usr/local/share/qemu", "/usr/share/ovmf"};
	char path[PATH_MAX];
	struct stat st;
	bool found = false;

	for (int i = 0; i < guest->files && !found; i++)
		if (!stat(guest->file[i], &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size)
			found = see(guest->file[i], arg);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(folders) && !found; i++) {
		DIR *dir = opendir(folders[i]);
		struct dirent *entry;
		while (dir && !found && (entry = readdir(dir))) {
			snprintf(path, sizeof path, "%s/%s", folders[i], entry->d_name);
			if (!stat(path, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size)
				found = see(path, arg);
		}
		if (dir)
			closedir(dir);
	}
	return found;
}

/* Read the first @size bytes of @path into new memory; NULL if there aren't so many. */
static uint8_t *read_whole(const char *path, size_t size)
{
	REMUS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *bytes = fd < 0 ? NULL : malloc(size);
	if (bytes && pread(fd, bytes, size, 0) == (ssize_t)size)
		return bytes;
	free(bytes);
	return NULL;
}

struct nearest {
	const uint8_t *rom;
	size_t size, differ; /* bytes in which the best so far differs */
	char path[PATH_MAX];
};

static bool see_nearer(const char *path, void *arg)
{
	struct nearest *n = arg;
	REMUS_AUTO_FREE uint8_t *file = read_whole(path, n->size);
	size_t differ = 0;
	for (size_t i = 0; file && i < n->size; i++)
		differ += file[i] != n->rom[i];
	if (file && differ < n->differ) {
		n->differ = differ;
		snprintf(n->path, sizeof n->path, "%s", path);
	}
	return n->differ == 0;
}

static int describe_rom(const struct remus_qemu_guest *guest, const uint8_t *rom, uint64_t size,
			uint64_t *hash, char **patch, struct remus_error *err)
{
	struct nearest n = {.rom = rom, .size = size, .differ = size};
	uint64_t file_size;

	each_candidate(guest, size, see_nearer, &n);
	REMUS_AUTO_FREE uint8_t *file = *n.path ? read_whole(n.path, size) : NULL;
	*patch = file ? remus_qemu_patch_make(file, rom, size) : NULL;
	if (!*patch)
		return remus_fail(err, -ENOENT,
				  "it is like no file that this host has: give QEMU -bios with a file that "
				  "both hosts have");
	int rc = remus_qemu_hash_file(n.path, &file_size, hash, err);
	if (rc)
		free(*patch);
	return rc;
}

int remus_qemu_firmware_measure(struct remus_qmp *qmp, const struct remus_qemu_guest *guest, uint64_t *size,
				uint64_t *hash, char **patch, struct remus_error *err)
{
	char path[64];

	int rc = rom_size(qmp, size, err);
	if (rc)
		return rc;
	REMUS_AUTO_CLOSE int memfd = memfd_create("remus-firmware", MFD_CLOEXEC);
	if (memfd < 0)
		return remus_fail_errno(err, "memfd for the guest's firmware");
	rc = save_rom(qmp, memfd, *size, err);
	snprintf(path, sizeof path, "/proc/self/fd/%d", memfd);
	REMUS_AUTO_FREE uint8_t *rom = rc ? NULL : read_whole(path, *size);
	if (rc == 0 && !rom)
		rc = remus_fail(err, -EIO, "QEMU saved less than %llu bytes", (unsigned long long)*size);
	if (rc == 0)
		rc = describe_rom(guest, rom, *size, hash, patch, err);
	if (rc)
		remus_error_prefix(err, "the guest's firmware (%llu bytes)", (unsigned long long)*size);
	return rc;
}

struct wanted {
	uint64_t size, hash;
	char *out;
};

static bool see_equal(const char *path, void *arg)
{
	struct wanted *w = arg;
	uint64_t size, hash;
	snprintf(w->out, PATH_MAX, "%s", path);
	return !remus_qemu_hash_file(path, &size, &hash, NULL) && size == w->size && hash == w->hash;
}

int remus_qemu_firmware_find(const struct remus_qemu_guest *guest, uint64_t size, uint64_t hash,
			     char out[PATH_MAX], struct remus_error *err)
{
	struct wanted w = {size, hash, out};
	if (each_candidate(guest, size, see_equal, &w))
		return 0;
	return remus_fail(err, -ENOENT,
			  "no file of this host is equal to the guest's firmware (%llu bytes): install the "
			  "same version of the firmware's package (Debian: seabios, qemu-system-data), or "
			  "give the guest's QEMU -bios with a file that both hosts have",
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

int remus_qemu_firmware_load(struct remus_qmp *qmp, pid_t pid, const char *path, const char *patch,
			     struct remus_error *err)
{
	char mem[64];
	uint64_t address = 0;
	struct stat st;

	if (stat(path, &st))
		return remus_fail_errno(err, "the guest's firmware, %s", path);
	if (st.st_size <= 0 || (uint64_t)st.st_size > REMUS_QEMU_FIRMWARE_MAX)
		return remus_fail(err, -EINVAL, "the guest's firmware, %s: %lld bytes", path,
				  (long long)st.st_size);
	size_t size = (size_t)st.st_size;
	REMUS_AUTO_FREE uint8_t *bytes = read_whole(path, size);
	if (!bytes)
		return remus_fail(err, -EIO, "the guest's firmware, %s, can't be read", path);
	if (remus_qemu_patch_apply(patch, bytes, size))
		return remus_fail(err, -EINVAL,
				  "the guest's firmware, %s: the description's patch is malformed", path);
	int rc = rom_address(qmp, size, &address, err);
	if (rc)
		return remus_error_prefix(err, "the guest's firmware, %s", path), rc;

	snprintf(mem, sizeof mem, "/proc/%d/mem", (int)pid);
	REMUS_AUTO_CLOSE int to = open(mem, O_WRONLY | O_CLOEXEC);
	if (to < 0 || pwrite(to, bytes, size, (off_t)address) != (ssize_t)size)
		return remus_fail_errno(err, "writing the guest's firmware, %s, to %s", path, mem);
	return 0;
}

char *remus_qemu_patch_make(const uint8_t *from, const uint8_t *to, size_t size)
{
	char *patch = malloc(REMUS_QEMU_FIRMWARE_PATCH_MAX), *at = patch;

	if (!patch)
		return NULL;
	*at = 0;
	for (size_t i = 0; i < size; i++) {
		if (from[i] == to[i])
			continue;
		bool begins = i == 0 || from[i - 1] == to[i - 1];
		if (at - patch > (long)REMUS_QEMU_FIRMWARE_PATCH_MAX - 16) { /* the longest piece has 14 */
			free(patch);
			return NULL;
		}
		if (begins)
			at += sprintf(at, "%s%zx:", at == patch ? "" : ",", i);
		at += sprintf(at, "%02x", to[i]);
	}
	return patch;
}

int remus_qemu_patch_apply(const char *patch, uint8_t *bytes, size_t size)
{
	while (*patch) {
		char *at;
		unsigned byte;
		unsigned long long offset = strtoull(patch, &at, 16);
		if (at == patch || *at != ':' || offset >= size)
			return -EINVAL;
		int used = 0;
		for (at++; isxdigit((unsigned char)*at); at += used) {
			used = 0;
			if (sscanf(at, "%2x%n", &byte, &used) != 1 || used != 2 || offset >= size)
				return -EINVAL;
			bytes[offset++] = (uint8_t)byte;
		}
		if (!used || (*at && (*at != ',' || !at[1])))
			return -EINVAL;
		patch = at + (*at == ',');
	}
	return 0;
}
