/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a peer says of a QEMU guest, up to the point where the words of its command line are allowed or not
 * (fuzz-qemu-options.c goes on from there). */
#include "fuzz.h"

#include "replicator/domain/qemu/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct remus_qemu_how how = {.run_dir = "/run/remus/vm1", .name = "vm1"};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qemu_description d;
	struct remus_qemu_guest guest;
	char *text = fuzz_text(data, size);

	int rc = remus_qemu_description_parse(text, &d, &err);
	fuzz_check_error(rc, &err);
	if (rc == 0) {
		FUZZ_CHECK(d.version && d.binary && d.cpu && d.firmware_patch);
		FUZZ_CHECK(d.argc <= REMUS_QEMU_ARGS_MAX && !d.argv[d.argc]);
		rc = remus_qemu_options(d.argv, d.argc, &how, &guest, &err);
		fuzz_check_error(rc, &err);
		if (rc == 0)
			remus_qemu_guest_free(&guest);
		remus_qemu_description_free(&d);
	}
	free(text);
	return 0;
}

void fuzz_seeds(void)
{
	char *argv[] = {"-machine",
			"microvm,memory-backend=ram0",
			"-nodefaults",
			"-global",
			"migration.send-configuration=off",
			"-object",
			"memory-backend-memfd,id=ram0,size=64M,share=on,prealloc=on",
			"-append",
			"a \"b\""};
	const struct remus_qemu_guest guest = {.args = {.v = argv, .n = REMUS_ARRAY_SIZE(argv)}};
	const struct remus_qemu_facts facts = {.version = "7.2.22 (Debian 1:7.2+dfsg-7)",
					       .exe = "/usr/bin/qemu-system-x86_64",
					       .memory = 64 << 20,
					       .firmware_size = 131072,
					       .firmware_hash = 0x0123456789abcdef,
					       .firmware_patch = ""};
	char *json;

	FUZZ_CHECK(remus_qemu_describe(&guest, &facts, &json, NULL) == 0);
	fuzz_seed_text("whole", json);
	fuzz_seed("cut", json, strlen(json) / 2);
	free(json);
#define TEXT(binary, memory, xxh3, argv, files)                                        \
	"{\"format\":1,\"hypervisor\":\"qemu\",\"version\":\"7\",\"binary\":\"" binary \
	"\",\"memory\":" memory ",\"firmware\":{\"size\":1,\"xxh3\":\"" xxh3           \
	"\",\"patch\":\"\"},\"cpu\":\"\",\"argv\":" argv ",\"files\":" files "}"
	fuzz_seed_text("files", TEXT("q", "4096", "0123456789abcdef", "[]",
				     "[{\"path\":\"/boot/k\",\"size\":3,\"xxh3\":\"0123456789abcdef\"}]"));
	fuzz_seed_text("binary", TEXT("../q", "4096", "0123456789abcdef", "[]", "[]"));
	fuzz_seed_text("memory", TEXT("q", "-1", "0123456789abcdef", "[]", "[]"));
	fuzz_seed_text("hash", TEXT("q", "4096", "g", "[]", "[]"));
	fuzz_seed_text("argv", TEXT("q", "4096", "0123456789abcdef", "[1]", "[]"));
	fuzz_seed_text("argv-none", TEXT("q", "4096", "0123456789abcdef", "{}", "[]"));
	fuzz_seed_text("files-bad", TEXT("q", "4096", "0123456789abcdef", "[]", "[{}]"));
	fuzz_seed_text("format", "{\"format\":2}");
	fuzz_seed_text("no-json", "{");
}
