/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The standby's QEMU process: started, checked to be what was asked for, watched, killed. It gets its own
 * session and outlives the engine once activated; until then the supervisor finds it by the mark in its directory,
 * which is written before it is started (I13).
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>

#include "firmware.h"
#include "leftover.h"
#include "remus/util.h"
#include "standby.h"

int remus_qemu_standby_command(struct remus_qemu_standby *s, const char *name, json_t *arguments, int fd,
			       struct remus_error *err)
{
	int rc = remus_qmp_execute(s->qmp, name, arguments, fd, REMUS_QEMU_COMMAND_MS, NULL, err);
	remus_qemu_watch_kick(&s->watch);
	return rc;
}

bool remus_qemu_standby_alive(const struct remus_qemu_standby *s)
{
	struct pollfd ended = {.fd = s->child.pidfd, .events = POLLIN};
	return s->child.pid && poll(&ended, 1, 0) == 0;
}

/* The last lines that this QEMU wrote, on one line. */
static void last_words(const struct remus_qemu_standby *s, char out[400])
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/qemu.log", s->run_dir);
	*out = 0;
	REMUS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END), from = s->log_offset;
	if (size - from > 399)
		from = size - 399;
	ssize_t n = fd < 0 ? 0 : pread(fd, out, 399, from);
	if (n <= 0)
		return;
	while (n > 0 && out[n - 1] == '\n')
		n--;
	out[n] = 0;
	for (char *c = out; *c; c++)
		if (*c == '\n')
			*c = ';';
		else if ((unsigned char)*c < ' ')
			*c = ' ';
}

static void say_last_words(const struct remus_qemu_standby *s, struct remus_error *err)
{
	char words[400];
	last_words(s, words);
	if (!err || !*words)
		return;
	size_t n = strlen(err->message);
	snprintf(err->message + n, sizeof err->message - n, "; QEMU's last words: %s", words);
}

static int spawn(struct remus_qemu_standby *s, struct remus_error *err)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/qemu.log", s->run_dir);
	REMUS_AUTO_CLOSE int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log < 0)
		return remus_fail_errno(err, "open %s", path);
	s->log_offset = (long)lseek(log, 0, SEEK_END);
	int rc = remus_qemu_leftover_mark(s->run_dir, s->program, err);
	return rc ? rc
		  : remus_qemu_spawn(s->program, s->guest.args.v, s->run_dir, log, s->mortal, &s->child, err);
}

static int connect_qmp(struct remus_qemu_standby *s, struct remus_error *err)
{
	uint64_t end = remus_now_us() + REMUS_QEMU_START_MS * 1000u;
	char path[108];
	int rc = remus_qemu_run_path(s->run_dir, "qmp.sock", path, err);
	if (rc)
		return rc;
	for (;;) {
		uint64_t now = remus_now_us();
		if (now >= end)
			return remus_fail(err, -ETIMEDOUT,
					  "standby %s: QEMU doesn't answer on %s within %d ms", s->name, path,
					  REMUS_QEMU_START_MS);
		rc = remus_qmp_connect(path, (int)((end - now) / 1000) + 1, &s->qmp, err);
		if (rc != -ENOENT && rc != -ECONNREFUSED)
			return rc;
		struct pollfd ended = {.fd = s->child.pidfd, .events = POLLIN};
		if (poll(&ended, 1, 10) > 0)
			return remus_fail(err, -ECHILD, "standby %s: QEMU ended at once", s->name);
	}
}

static int check_waiting(struct remus_qemu_standby *s, struct remus_error *err)
{
	json_t *status = NULL;
	if (strcmp(remus_qmp_version(s->qmp), s->version))
		return remus_fail(err, -EINVAL, "standby %s: QEMU %s was started, not %s", s->name,
				  remus_qmp_version(s->qmp), s->version);
	/* Preallocating memory comes before the first command is answered; it may take as long as starting. */
	int rc = remus_qmp_execute(s->qmp, "query-status", NULL, -1, REMUS_QEMU_START_MS, &status, err);
	if (rc)
		return rc;
	const char *word = json_string_value(json_object_get(status, "status"));
	if (!word || strcmp(word, "inmigrate"))
		rc = remus_fail(err, -EPROTO,
				"standby %s: QEMU doesn't wait for its state but is in the state \"%s\"",
				s->name, word ? word : "unknown");
	json_decref(status);
	return rc;
}

static bool page_is_zero(const uint8_t *page)
{
	return page[0] == 0 && !memcmp(page, page + 1, 4095);
}

/* Map the memory of the new QEMU into @ram; whatever its firmware left there is wiped. */
static int map_memory(struct remus_qemu_standby *s, struct remus_qemu_ram *ram, struct remus_error *err)
{
	int rc = remus_qemu_ram_map(s->child.pid, ram, err);
	if (rc)
		return rc;
	if (ram->bytes != s->guest.ram_bytes) {
		remus_qemu_ram_unmap(ram);
		return remus_fail(err, -EINVAL, "standby %s: QEMU made %llu bytes of memory instead of %llu",
				  s->name, (unsigned long long)ram->bytes,
				  (unsigned long long)s->guest.ram_bytes);
	}
	for (uint64_t at = 0; at < ram->bytes; at += 4096)
		if (!page_is_zero(ram->mapping + at))
			memset(ram->mapping + at, 0, 4096);
	return 0;
}

static int start(struct remus_qemu_standby *s, struct remus_qemu_ram *ram, struct remus_error *err)
{
	struct remus_error why = REMUS_ERROR_INIT;

	remus_qemu_standby_sweep(s);
	int rc = spawn(s, &why);
	if (rc == 0)
		rc = connect_qmp(s, &why);
	if (rc == 0)
		rc = check_waiting(s, &why);
	if (rc == 0)
		rc = map_memory(s, ram, &why);
	if (rc == 0)
		rc = remus_qemu_firmware_load(s->qmp, s->child.pid, s->firmware, s->firmware_patch, &why);
	if (rc == 0)
		rc = remus_qemu_watch_open(&s->watch, s->qmp, s->child.pidfd, &why);
	if (rc == 0 && *s->guest.agent)
		remus_socket_channel_open(&s->agent, s->guest.agent);
	if (rc == 0)
		return 0;
	struct pollfd ended = {.fd = s->child.pidfd, .events = POLLIN};
	if (rc == -ECONNRESET && poll(&ended, 1, 500) > 0)
		rc = remus_fail(&why, -ECHILD, "standby %s: QEMU ended before it was ready", s->name);
	if (s->child.pid)
		say_last_words(s, &why);
	remus_qemu_ram_unmap(ram);
	remus_qemu_standby_stop(s);
	remus_qemu_standby_sweep(s);
	return remus_fail(err, rc, "%s", why.message);
}

int remus_qemu_standby_start(struct remus_qemu_standby *s, struct remus_error *err)
{
	return start(s, &s->ram, err);
}

int remus_qemu_standby_restart(struct remus_qemu_standby *s, struct remus_error *err)
{
	struct remus_qemu_ram fresh = {0};

	remus_qemu_standby_stop(s);
	int rc = start(s, &fresh, err);
	if (rc)
		return remus_error_prefix(err, "its QEMU had died and another one can't be started"), rc;
	for (uint64_t at = 0; at < fresh.bytes; at += 4096)
		if (!page_is_zero(s->ram.mapping + at))
			memcpy(fresh.mapping + at, s->ram.mapping + at, 4096);
	remus_qemu_ram_unmap(&s->ram);
	s->ram = fresh;
	return 0;
}

void remus_qemu_standby_stop(struct remus_qemu_standby *s)
{
	remus_qemu_watch_end(&s->watch); /* the descriptor stays: the engine may be polling it */
	remus_qmp_close(s->qmp);
	s->qmp = NULL;
	remus_socket_channel_close(&s->agent);
	if (s->child.pid) {
		remus_qemu_process_kill(s->child.pidfd, REMUS_QEMU_COMMAND_MS, NULL);
		remus_qemu_reap(&s->child);
	}
}

void remus_qemu_standby_sweep(struct remus_qemu_standby *s)
{
	DIR *dir = opendir(s->run_dir);
	struct dirent *entry;
	int n;
	while (dir && (entry = readdir(dir))) {
		unsigned port;
		n = 0;
		(void)(sscanf(entry->d_name, "nic%u.guest%n", &port, &n) == 1 && n);
		if (!n)
			(void)(sscanf(entry->d_name, "serial%u.sock%n", &port, &n) == 1 && n);
		if (!n)
			(void)(sscanf(entry->d_name, "chardev%u.sock%n", &port, &n) == 1 && n);
		if ((n && !entry->d_name[n]) || !strcmp(entry->d_name, "qmp.sock"))
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	remus_qemu_leftover_unmark(s->run_dir);
	if (dir)
		closedir(dir);
}

bool remus_qemu_standby_gave_up(struct remus_qemu_standby *s, struct remus_error *why)
{
	siginfo_t how = {0};
	struct pollfd ended = {.fd = s->child.pidfd, .events = POLLIN};

	/* It closes its sockets some time before it has ended. */
	bool dead = poll(&ended, 1, 500) > 0 &&
		    !waitid(P_PIDFD, (id_t)s->child.pidfd, &how, WEXITED | WNOHANG | WNOWAIT);
	say_last_words(s, why);
	return dead && how.si_code == CLD_EXITED && remus_qmp_resumes(s->qmp) == 0;
}
