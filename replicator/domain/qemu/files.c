/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptions and the comparison of files. The peer is not trusted: what this host's files contain is never
 * told (a refusal says that they differ, not how), and only regular files are opened, so that neither a device
 * nor a pipe is touched.
 */
#include "files.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "remus/util.h"

int remus_qemu_hash_file(const char *path, uint64_t *size, uint64_t *hash, struct remus_error *err)
{
	REMUS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st))
		return remus_fail_errno(err, "%s, which the guest's QEMU was started with", path);
	if (!S_ISREG(st.st_mode))
		return remus_fail(err, -EINVAL,
				  "%s, which the guest's QEMU was started with, isn't a regular file", path);
	if ((uint64_t)st.st_size > REMUS_QEMU_FILE_MAX)
		return remus_fail(err, -EFBIG,
				  "%s has more than %d MiB: too large to be compared between the hosts", path,
				  (int)(REMUS_QEMU_FILE_MAX >> 20));

	const size_t chunk = 256 * 1024;
	REMUS_AUTO_FREE uint8_t *buffer = malloc(chunk);
	XXH3_state_t *state = XXH3_createState();
	int rc = buffer && state ? 0 : remus_fail(err, -ENOMEM, "%s: out of memory", path);
	if (rc == 0)
		XXH3_64bits_reset(state);
	*size = 0;
	while (rc == 0 && *size <= REMUS_QEMU_FILE_MAX) {
		ssize_t n = read(fd, buffer, chunk);
		if (n < 0)
			rc = remus_fail_errno(err, "read %s", path);
		if (n <= 0)
			break;
		XXH3_64bits_update(state, buffer, (size_t)n);
		*size += (uint64_t)n;
	}
	if (rc == 0)
		*hash = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	return rc;
}

void remus_qemu_host_cpu(char out[128])
{
	char line[256];
	*out = 0;
	FILE *cpus = fopen("/proc/cpuinfo", "re");
	while (cpus && fgets(line, sizeof line, cpus))
		if (sscanf(line, "model name : %127[^\n]", out) == 1)
			break;
	if (cpus)
		fclose(cpus);
}

static json_t *describe_files(const struct remus_qemu_guest *guest, struct remus_error *err)
{
	json_t *files = json_array();
	for (int i = 0; files && i < guest->files; i++) {
		uint64_t size, hash;
		char hex[17];
		if (remus_qemu_hash_file(guest->file[i], &size, &hash, err)) {
			json_decref(files);
			return NULL;
		}
		snprintf(hex, sizeof hex, "%016" PRIx64, hash);
		json_array_append_new(files, json_pack("{s:s, s:I, s:s}", "path", guest->file[i], "size",
						       (json_int_t)size, "xxh3", hex));
	}
	return files;
}

int remus_qemu_describe(const struct remus_qemu_guest *guest, const struct remus_qemu_facts *facts,
			char **json, struct remus_error *err)
{
	struct remus_error inner = REMUS_ERROR_INIT;
	const char *slash = strrchr(facts->exe, '/');
	char cpu[128] = "", hex[17];

	if (guest->kvm && guest->cpu_host)
		remus_qemu_host_cpu(cpu);
	json_t *files = describe_files(guest, &inner);
	if (!files)
		return remus_fail(err, inner.code ? inner.code : -ENOMEM, "%s",
				  inner.code ? inner.message : "describing the guest: out of memory");
	json_t *argv = json_array();
	for (int i = 0; i < guest->args.n; i++)
		if (json_array_append_new(argv, json_string(guest->args.v[i]))) {
			json_decref(argv);
			json_decref(files);
			return remus_fail(err, -EINVAL, "the word \"%s\" of QEMU's command line isn't UTF-8",
					  guest->args.v[i]);
		}
	snprintf(hex, sizeof hex, "%016" PRIx64, facts->firmware_hash);
	json_t *whole = json_pack("{s:i, s:s, s:s, s:s, s:I, s:{s:I, s:s, s:s}, s:s, s:o, s:o}", "format", 1,
				  "hypervisor", "qemu", "version", facts->version, "binary",
				  slash ? slash + 1 : facts->exe, "memory", (json_int_t)facts->memory,
				  "firmware", "size", (json_int_t)facts->firmware_size, "xxh3", hex, "patch",
				  facts->firmware_patch, "cpu", cpu, "argv", argv, "files", files);
	*json = whole ? json_dumps(whole, JSON_COMPACT) : NULL;
	json_decref(whole);
	if (!*json)
		return remus_fail(err, -ENOMEM, "describing the guest: out of memory");
	size_t length = strlen(*json);
	if (length > REMUS_QEMU_DESCRIPTION_MAX) {
		free(*json);
		*json = NULL;
		return remus_fail(err, -E2BIG,
				  "the guest's QEMU has a command line that makes a description of %zu "
				  "bytes, more than %u: shorten it (-append?)",
				  length, REMUS_QEMU_DESCRIPTION_MAX);
	}
	return 0;
}

static int take_argv(struct remus_qemu_description *d, json_t *argv, struct remus_error *err)
{
	if (!json_is_array(argv) || json_array_size(argv) > REMUS_QEMU_ARGS_MAX)
		return remus_fail(err, -EINVAL, "argv is missing or too long");
	d->argv = calloc(json_array_size(argv) + 1, sizeof *d->argv);
	if (!d->argv)
		return remus_fail(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < json_array_size(argv); i++) {
		const char *word = json_string_value(json_array_get(argv, i));
		if (!word)
			return remus_fail(err, -EINVAL, "argv holds something that isn't a word");
		d->argv[d->argc] = strdup(word);
		if (!d->argv[d->argc])
			return remus_fail(err, -ENOMEM, "out of memory");
		d->argc++;
	}
	return 0;
}

int remus_qemu_description_parse(const char *text, struct remus_qemu_description *out,
				 struct remus_error *err)
{
	json_int_t memory, format, firmware;
	const char *hypervisor, *hex;
	json_t *argv, *files;

	memset(out, 0, sizeof *out);
	json_t *json = strlen(text) <= REMUS_QEMU_DESCRIPTION_MAX ? json_loads(text, 0, NULL) : NULL;
	int rc = 0;
	if (!json ||
	    json_unpack(json, "{s:I, s:s, s:s, s:s, s:I, s:{s:I, s:s, s:s}, s:s, s:o, s:o}", "format",
			&format, "hypervisor", &hypervisor, "version", &out->version, "binary", &out->binary,
			"memory", &memory, "firmware", "size", &firmware, "xxh3", &hex, "patch",
			&out->firmware_patch, "cpu", &out->cpu, "argv", &argv, "files", &files))
		rc = remus_fail(err, -EINVAL, "not a description of a QEMU guest, or longer than %u bytes",
				REMUS_QEMU_DESCRIPTION_MAX);
	else if (firmware <= 0 || sscanf(hex, "%16" SCNx64, &out->firmware_hash) != 1)
		rc = remus_fail(err, -EINVAL, "firmware of %lld bytes, checksum \"%s\"", (long long)firmware,
				hex);
	else if (format != 1 || strcmp(hypervisor, "qemu") || memory <= 0 || memory % 4096)
		rc = remus_fail(err, -EINVAL,
				"format %lld, hypervisor \"%s\", memory %lld: not supported by this version "
				"of remus",
				(long long)format, hypervisor, (long long)memory);
	else
		rc = take_argv(out, argv, err);
	out->json = json;
	if (rc) {
		remus_qemu_description_free(out);
		return remus_error_prefix(err, "the primary's description of the guest"), rc;
	}
	out->memory = (uint64_t)memory;
	out->firmware_size = (uint64_t)firmware;
	return 0;
}

void remus_qemu_description_free(struct remus_qemu_description *d)
{
	for (int i = 0; i < d->argc; i++)
		free(d->argv[i]);
	free(d->argv);
	json_decref(d->json);
	memset(d, 0, sizeof *d);
}

static json_t *find_file(json_t *files, const char *path)
{
	for (size_t i = 0; i < json_array_size(files); i++) {
		json_t *file = json_array_get(files, i);
		const char *name = json_string_value(json_object_get(file, "path"));
		if (name && !strcmp(name, path))
			return file;
	}
	return NULL;
}

static void check_file(json_t *files, const char *path, struct remus_report *report)
{
	struct remus_error err = REMUS_ERROR_INIT;
	json_t *file = find_file(files, path);
	const char *expected = json_string_value(json_object_get(file, "xxh3"));
	uint64_t size, hash;
	char hex[17];

	if (!expected) {
		remus_report_fatal(report, -EINVAL, "file", NULL,
				   "the primary's description lacks the checksum of %s", path);
		return;
	}
	int rc = remus_qemu_hash_file(path, &size, &hash, &err);
	if (rc == -ENOENT)
		remus_report_fatal(report, rc, "file", "copy it there",
				   "%s, which the guest's QEMU was started with, doesn't exist on the backup",
				   path);
	else if (rc)
		remus_report_error(report, "file", NULL, &err);
	if (rc)
		return;
	snprintf(hex, sizeof hex, "%016" PRIx64, hash);
	if (json_integer_value(json_object_get(file, "size")) != (json_int_t)size || strcmp(hex, expected))
		remus_report_fatal(report, -EINVAL, "file", "copy the primary's",
				   "%s differs between primary and backup", path);
	else
		remus_report_ok(report, "file", "%s is the same on both hosts", path);
}

void remus_qemu_description_check_files(const struct remus_qemu_description *d,
					const struct remus_qemu_guest *guest, struct remus_report *report)
{
	for (int i = 0; i < guest->files; i++)
		check_file(json_object_get(d->json, "files"), guest->file[i], report);
}
