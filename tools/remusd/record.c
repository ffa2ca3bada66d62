/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One file per live session, RUN_DIR/ID.session: what a daemon that was killed leaves for the next one. Written
 * whole under another name, fsynced and renamed. At start each record is settled: its child, an orphan, is told
 * to go, or adopted if it may hold the last copy of its guest (orphan.c); else a standby is killed (it never runs by itself); a guest that still runs gets its network back, after a
 * claim where the session was armed (I6, I13).
 */
#include "remusd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include "remus/fault.h"
#include "remus/log.h"
#include "remus/util.h"

#define ORPHAN_DEADLINE_MS 8000

static void record_path(const struct options *options, unsigned id, char out[PATH_MAX + 32])
{
	snprintf(out, PATH_MAX + 32, "%s/%u.session", options->run_dir, id);
}

/* Field 22 of /proc/PID/stat: tells a process from a later one with the same pid. 0 = gone, or a zombie. */
static unsigned long long start_time(pid_t pid)
{
	char path[64], text[1024];
	unsigned long long when = 0;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	REMUS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (pid <= 0 || fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof text - 1);
	text[n > 0 ? n : 0] = 0;
	char *at = strrchr(text, ')');
	if (at && at[1] == ' ' && at[2] == 'Z')
		return 0;
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at)
		sscanf(at, " %llu", &when);
	return when;
}

/* The rename is on disk, too. */
static void sync_dir(const char *path)
{
	REMUS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		fsync(fd);
}

/* Names the time since the kernel was booted: after another boot a pid and its start mean nothing. */
static const char *boot_id(void)
{
	static char id[40];
	REMUS_AUTO_CLOSE int fd = id[0] ? -1 : open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, id, sizeof id - 1);

	if (n > 0)
		id[strcspn(id, "\n")] = 0;
	return id;
}

/* A process that a record names; 0 = none, or of an earlier boot. */
static pid_t recorded_pid(const json_t *record, const char *member)
{
	const char *boot = json_string_value(json_object_get(record, "boot"));

	return boot && strcmp(boot, boot_id()) ? 0
					       : (pid_t)json_integer_value(json_object_get(record, member));
}

static json_t *last_word(const json_t *status)
{
	static const char *const members[] = {"role", "state", "reason"};
	json_t *word = json_object();

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(members); i++)
		if (json_object_get(status, members[i]))
			json_object_set(word, members[i], json_object_get(status, members[i]));
	return word;
}

bool record_armed(const char *dir)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof path, "%.*s/" ARMED_MARK, PATH_MAX, dir);
	return access(path, F_OK) == 0;
}

/* Whole or not at all: what was there stays when the disk is full. Takes the reference. */
static int write_whole(const struct options *options, unsigned id, json_t *record)
{
	char path[PATH_MAX + 32], fresh[PATH_MAX + 40];
	REMUS_AUTO_FREE char *text = record ? json_dumps(record, JSON_INDENT(1)) : NULL;
	size_t length = text ? strlen(text) : 0;

	json_decref(record);
	record_path(options, id, path);
	snprintf(fresh, sizeof fresh, "%s.new", path);
	REMUS_AUTO_CLOSE int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n = text && fd >= 0 ? write(fd, text, length) : -1;
	if (n >= 0 && (size_t)n < length)
		errno = ENOSPC; /* what a short write to a file means */
	if (n == (ssize_t)length && n > 0 && fsync(fd) == 0 && REMUS_FAULT(remusd_record, NULL) == 0 &&
	    rename(fresh, path) == 0) {
		sync_dir(options->run_dir);
		return 0;
	}
	int rc = errno ? -errno : -EIO;
	remus_error_log(
		"session record %s cannot be written: %s; it stays as it was, and a remusd that is restarted "
		"may not find this session as it is",
		path, strerror(errno));
	unlink(fresh);
	return rc;
}

/* What a child knows of itself, daemon or not. */
static json_t *own_part(const struct session *s, json_t *word)
{
	return json_pack("{s:s, s:i, s:I, s:s, s:b, s:b, s:b, s:i, s:I, s:o}", "boot", boot_id(), "pid",
			 (int)s->pid, "started", (json_int_t)start_time(s->pid), "locator", s->locator,
			 "armed", s->armed, "active", s->active, "outcome", s->outcome, "guest_pid",
			 (int)s->guest_pid, "guest_started", (json_int_t)start_time(s->guest_pid), "status",
			 word);
}

int record_write(const struct options *options, const struct session *s)
{
	char hex[2 * REMUS_SESSION_SIZE + 1];

	key_hex(&s->key, hex);
	json_t *record =
		json_pack("{s:i, s:s, s:s, s:s, s:I, s:O, s:O*}", "role", (int)s->role, "name", s->name,
			  "dir", s->dir, "session", s->keyed ? hex : "", "generation",
			  (json_int_t)s->key.generation, "request", s->request, "sockets", s->sockets);
	json_t *own = own_part(s, last_word(s->status));
	json_object_update(record, own);
	json_decref(own);
	return write_whole(options, s->id, record);
}

void record_amend(const struct options *options, const struct session *s, const char *state)
{
	char path[PATH_MAX + 32];

	record_path(options, s->id, path);
	json_t *record = json_load_file(path, 0, NULL);
	json_t *word = json_object_get(record, "status");
	json_t *own = own_part(s, json_incref(word ? word : json_object()));
	json_object_set_new(json_object_get(own, "status"), "state", json_string(state));
	if (!record) {
		json_decref(own);
		return; /* there is none to go by: the session is over, or its daemon could not write it */
	}
	json_object_update(record, own);
	json_decref(own);
	write_whole(options, s->id, record);
}

void record_remove(const struct options *options, const struct session *s)
{
	char path[PATH_MAX + 32];

	record_path(options, s->id, path);
	unlink(path);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

void remove_tree(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void remove_sockets(const json_t *paths)
{
	const json_t *path;
	size_t i;

	json_array_foreach(paths, i, path)
	{
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		const char *text = json_string_value(path);
		struct stat st;
		if (!text || strlen(text) >= sizeof address.sun_path || lstat(text, &st) ||
		    !S_ISSOCK(st.st_mode))
			continue;
		strcpy(address.sun_path, text);
		REMUS_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0 &&
		    errno == ECONNREFUSED)
			unlink(text);
	}
}

bool record_dir_in_use(const char *dir, const char *locator)
{
	const char *colon = strchr(locator, ':');
	size_t n = strlen(dir);

	return colon && !strncmp(colon + 1, dir, n) && colon[1 + n] == '/';
}

bool process_alive(pid_t pid, unsigned long long started)
{
	return pid > 0 && started && start_time(pid) == started;
}

/* Ended means that its last thread has: /proc calls a process a zombie as soon as its first one is gone, while the
 * others still hold the sockets. */
bool process_end(pid_t pid, unsigned long long started, int signal, int wait_ms)
{
	REMUS_AUTO_CLOSE int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct pollfd end = {.fd = fd, .events = POLLIN};
	unsigned long long now = start_time(pid);

	if (fd < 0 || (now && now != started))
		return true;
	syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0);
	return poll(&end, 1, wait_ms) == 1;
}

/* A receiver that outlived its daemon since it may hold the last copy of its guest. False: it isn't one. */
static bool adopt(struct daemon *d, const json_t *record, unsigned id, pid_t pid, unsigned long long started)
{
	const char *dir = json_string_value(json_object_get(record, "dir"));
	const char *hex = json_string_value(json_object_get(record, "session"));
	char text[200];

	if (!receiver_undecided(json_object_get(record, "status")) || !process_alive(pid, started))
		return false;
	int fd = orphan_connect(dir);
	struct session *s =
		fd < 0 ? NULL
		       : session_new(d, ROLE_RECEIVER, json_string_value(json_object_get(record, "name")),
				     json_string_value(json_object_get(record, "locator")));
	if (!s) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	s->id = id; /* its record keeps its name */
	s->fd = fd;
	s->pid = pid;
	s->adopted = s->admitted = true;
	s->last_word = -1;
	s->since_us = s->heard_us = remus_now_us();
	snprintf(s->dir, sizeof s->dir, "%s", dir);
	json_decref(s->request);
	s->request = json_deep_copy(json_object_get(record, "request"));
	json_object_update(s->status, json_object_get(record, "status"));
	s->keyed = key_parse(hex, s->key.session) == 0;
	s->key.generation = (uint64_t)json_integer_value(json_object_get(record, "generation"));
	s->guest_pid = (pid_t)json_integer_value(json_object_get(record, "guest_pid"));
	s->guest_started = (unsigned long long)json_integer_value(json_object_get(record, "guest_started"));
	if (s->guest_pid > 0)
		json_object_set_new(s->status, "guest_pid", json_integer(s->guest_pid));
	record_write(&d->options, s);
	snprintf(text, sizeof text,
		 "its process (pid %d) outlived the daemon before and waits for the arbiter: this host may "
		 "have all "
		 "that is left of the guest",
		 (int)pid);
	session_event(s, "warning", "adopted", text);
	return true;
}

static void settle(struct daemon *d, const json_t *record, unsigned id)
{
	enum role role = (enum role)json_integer_value(json_object_get(record, "role"));
	const char *name = json_string_value(json_object_get(record, "name"));
	const char *locator = json_string_value(json_object_get(record, "locator"));
	const char *dir = json_string_value(json_object_get(record, "dir"));
	pid_t pid = recorded_pid(record, "pid"), guest = recorded_pid(record, "guest_pid");
	unsigned long long started =
		(unsigned long long)json_integer_value(json_object_get(record, "started"));
	unsigned long long guest_started =
		(unsigned long long)json_integer_value(json_object_get(record, "guest_started"));
	bool outcome = json_is_true(json_object_get(record, "outcome"));
	bool armed = json_is_true(json_object_get(record, "armed")) ||
		     (role == ROLE_ENGINE && !outcome && dir && record_armed(dir));
	bool active = json_is_true(json_object_get(record, "active"));

	if (!name || !locator || !dir)
		return;
	if (role == ROLE_RECEIVER && adopt(d, record, id, pid, started))
		return;
	remus_warn("%s: taking up what the daemon before left (%s%s)", name, role_name(role),
		   armed ? ", killed while protecting it" : "");
	if (!process_end(pid, started, SIGTERM, 8000))
		process_end(pid, started, SIGKILL, 1000);
	if (role == ROLE_CHECK || (role == ROLE_RECEIVER && !active)) {
		process_end(guest, guest_started, SIGKILL, 1000);
		spawn_sweep(d, dir);
		remove_tree(dir);
		return;
	}
	struct remus_error err = REMUS_ERROR_INIT;
	struct session *s = session_new(d, ROLE_RELAY, name, locator);
	if (!s)
		return;
	json_decref(s->request);
	s->request = json_deep_copy(json_object_get(record, "request"));
	json_object_update(s->status, json_object_get(record, "status"));
	s->sockets = json_incref(json_object_get(record, "sockets"));
	s->armed = armed;
	s->active = active;
	s->guest_pid = guest;
	if (record_dir_in_use(dir, locator))
		snprintf(s->dir, sizeof s->dir, "%s", dir);
	else
		remove_tree(dir);
	const char *hex = json_string_value(json_object_get(record, "session"));
	s->keyed = key_parse(hex, s->key.session) == 0;
	s->key.generation = (uint64_t)json_integer_value(json_object_get(record, "generation"));
	int rc = role == ROLE_ENGINE ? spawn_engine(d, s, true, &err) : spawn_relay(d, s, &err);
	if (rc < 0) {
		remus_error_log("%s: %s", name, err.message);
		session_drop(d, s);
	}
}

/* An orphaned engine ends its session in order by itself and then says so in its record: give it the time, or
 * an ended session would look armed and wait for an arbiter that has forgotten it. */
static json_t *load_settled(const char *path)
{
	for (int waited = 0;; waited += 50) {
		json_t *record = json_load_file(path, 0, NULL);
		pid_t pid = recorded_pid(record, "pid");
		unsigned long long started =
			(unsigned long long)json_integer_value(json_object_get(record, "started"));
		if (!record || waited > ORPHAN_DEADLINE_MS || !process_alive(pid, started) ||
		    !json_is_true(json_object_get(record, "armed")))
			return record;
		json_decref(record);
		poll(NULL, 0, 50);
	}
}

/* Records that somebody was killed over. */
static void remove_halves(const char *run_dir)
{
	DIR *dir = opendir(run_dir);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		unsigned id;
		char end[16];
		if (sscanf(entry->d_name, "%u.%15s", &id, end) == 2 && !strcmp(end, "session.new"))
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}

/* Numbers of all records, to be freed. New records will not overwrite them. */
static unsigned *find_records(struct daemon *d, size_t *count)
{
	DIR *dir = opendir(d->options.run_dir);
	struct dirent *entry;
	unsigned *ids = NULL;

	*count = 0;
	while (dir && (entry = readdir(dir))) {
		unsigned id;
		char end[16];
		if (sscanf(entry->d_name, "%u.%15s", &id, end) != 2 || strcmp(end, "session"))
			continue;
		unsigned *more = realloc(ids, (*count + 1) * sizeof *ids);
		if (!more)
			break;
		ids = more;
		ids[(*count)++] = id;
		if (id > d->next_id)
			d->next_id = id;
	}
	if (dir)
		closedir(dir);
	return ids;
}

void records_adopt(struct daemon *d)
{
	size_t count;
	REMUS_AUTO_FREE unsigned *ids = find_records(d, &count);

	for (size_t i = 0; i < count; i++) {
		char path[PATH_MAX + 32];
		record_path(&d->options, ids[i], path);
		if (REMUS_FAULT(remusd_adopt, NULL) < 0)
			continue;
		json_t *record = load_settled(path);
		unlink(path);
		if (record)
			settle(d, record, ids[i]);
		json_decref(record);
	}
	remove_halves(d->options.run_dir); /* last: an orphan may have been writing one */
}
