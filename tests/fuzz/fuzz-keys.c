/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The files in a host's folder of keys: byte 0 says whether the rest is `psk` or `peers`. (host.pem and ca.pem are
 * GnuTLS's to read. A peers file is read before them, so that here they need not be right, and never are.)
 */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/stat.h>
#include "remus/tls.h"

static char dir[] = "/dev/shm/remus-fuzz-keys-XXXXXX"; /* memory: thousands of files a second */

static void clear(void)
{
	static const char *const names[] = {"psk", "peers", "host.pem", "ca.pem"};
	char path[128];

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		unlink(path);
	}
}

static void end(void)
{
	clear();
	rmdir(dir);
}

static void put(const char *name, const void *data, size_t size)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool made;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_tls *tls = NULL;
	char *text;

	if (!size)
		return 0;
	if (!made) {
		FUZZ_CHECK(mkdtemp(dir));
		made = true;
		atexit(end);
	}
	clear();
	put(data[0] & 1 ? "peers" : "psk", data + 1, size - 1);
	if (data[0] & 1) {
		put("host.pem", "none", 4);
		put("ca.pem", "none", 4);
	}
	int rc = remus_tls_load(dir, &tls, &err);
	fuzz_check_error(rc, &err);
	FUZZ_CHECK(!(data[0] & 1) || rc < 0);
	if (rc)
		return 0;
	FUZZ_CHECK(remus_tls_describe(tls, &text, &err) == 0 && !strncmp(text, "psk ", 4));
	for (const char *p = text; *p; p++) /* it goes to a terminal */
		FUZZ_CHECK(*p == '\n' || (*p >= ' ' && *p < 0x7f));
	free(text);
	remus_tls_free(tls);
	return 0;
}

#define KEY "00112233445566778899aabbccddeeff"

void fuzz_seeds(void)
{
	char many[8192] = "\1";

	fuzz_seed("psk", "\0web:" KEY "\n", 38);
	fuzz_seed("psk-more", "\0# two hosts\n\nweb:" KEY " \r\ndb.x_y-z@1:" KEY KEY "\n",
		  1 + 12 + 1 + 38 + 77);
	fuzz_seed("psk-twice", "\0a:" KEY "\na:" KEY "\n", 1 + 35 + 35);
	fuzz_seed("psk-short", "\0a:00112233\n", 12);
	fuzz_seed("psk-odd", "\0a:" KEY "0\n", 37);
	fuzz_seed("psk-hex", "\0a:" KEY "0g\n", 38);
	fuzz_seed("psk-long", "\0a:" KEY KEY KEY KEY "00\n", 1 + 2 + 128 + 3);
	fuzz_seed("psk-name", "\0a b:" KEY "\n", 38);
	fuzz_seed("psk-nul", "\0a\0b:" KEY "\n", 38);
	fuzz_seed("psk-none", "\0# none\n", 8);
	fuzz_seed("peers", "\1# hosts\nweb.example.org\nbackup\n", 32);
	fuzz_seed("peers-star", "\1*.example.org\n", 15);
	fuzz_seed("peers-long", "\1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", 66);
	for (int i = 0; i < 65; i++)
		snprintf(many + strlen(many), sizeof many - strlen(many), "h%d\n", i);
	fuzz_seed_text("peers-many", many);
}
