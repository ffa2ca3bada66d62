// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The file arbiter: a directory that both hosts reach, such as an NFS export of a third machine, or a cluster
 * file system. It upholds I5: at most one claim on a key is ever WON.
 *
 * A key is ONE directory entry that moves:
 *
 *                           rename, by the primary
 *                        +--------------------------> KEY.primary     (record, kept)
 *   open() --> KEY.open -+
 *                        +--------------------------> KEY.backup      (record, kept)
 *                        |  rename, by the backup
 *                        +--------------------------> nothing
 *                           unlink, by retire()
 *
 * Whoever takes KEY.open away has decided, and a directory entry can be taken away once: of two claims and a
 * retirement in any order exactly one succeeds, the others find ENOENT and look who it was. No lock, no lease,
 * no temporary file that a crash would leave behind, and the answer is in the *name*, so that no half-written
 * content can be misread. (The classic recipe, link(2) of a temporary file to KEY.claim, leaves a window in
 * which a retirement passes between the look at KEY.open and the link.)
 *
 * On NFS the server executes the rename, atomically; it is asked with names, so a stale cache of the client can't
 * make it succeed twice. What may go wrong there is a lost reply: the rename is done, the retransmission finds
 * ENOENT. Hence an ENOENT is never an answer: the record is looked at, and one with our own name means WON,
 * since nobody else makes that name. A stale negative entry in the client's cache hides a record for a moment:
 * UNKNOWN, and the caller asks again. ESTALE, EIO and a soft mount's ETIMEDOUT are UNKNOWN too. A hung hard
 * mount blocks; the caller's worker thread is there for that (arbiter.h).
 *
 * Every answer is preceded by an fsync of the directory: neither WON nor LOST can be forgotten by a file system
 * that loses power. The text inside KEY.open is for people; nothing reads it.
 */
#include "schemes.h"
#include "remus/util.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define ENTRY_MAX (REMUS_KEY_TEXT + 8) /* ".primary" */

struct file_arbiter {
	struct remus_arbiter base;
	char dir[PATH_MAX];
};

struct key_names {
	char open[ENTRY_MAX + 1], primary[ENTRY_MAX + 1], backup[ENTRY_MAX + 1];
};

static void name_entries(const struct remus_key *key, struct key_names *out)
{
	char text[REMUS_KEY_TEXT];

	remus_key_text(key, text);
	snprintf(out->open, sizeof out->open, "%s.open", text);
	snprintf(out->primary, sizeof out->primary, "%s.primary", text);
	snprintf(out->backup, sizeof out->backup, "%s.backup", text);
}

static const char *dir_of(struct remus_arbiter *arbiter)
{
	return ((struct file_arbiter *)arbiter)->dir;
}

/* Opened anew for each call: on NFS that revalidates what the client has cached of the directory. */
static int enter_dir(struct remus_arbiter *arbiter, struct remus_error *err)
{
	int fd = open(dir_of(arbiter), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	int code = errno;

	if (fd < 0)
		return remus_fail(
			err, -code,
			"arbiter directory %s: open: %s (it is a shared directory that both hosts reach: "
			"was it made, and is it mounted here?)",
			dir_of(arbiter), strerror(code));
	return fd;
}

static int sync_dir(struct remus_arbiter *arbiter, int dir, struct remus_error *err)
{
	if (fsync(dir) < 0)
		return remus_fail_errno(err, "arbiter directory %s: fsync", dir_of(arbiter));
	return 0;
}

/* 1 = there, 0 = not there. */
static int entry_exists(struct remus_arbiter *arbiter, int dir, const char *entry, struct remus_error *err)
{
	struct stat st;

	if (!fstatat(dir, entry, &st, AT_SYMLINK_NOFOLLOW))
		return 1;
	if (errno == ENOENT)
		return 0;
	return remus_fail_errno(err, "arbiter key %s/%s: stat", dir_of(arbiter), entry);
}

/* The holder recorded for this key, 0 = none. */
static int recorded_holder(struct remus_arbiter *arbiter, int dir, const struct key_names *names,
			   struct remus_error *err)
{
	int primary = entry_exists(arbiter, dir, names->primary, err);
	if (primary < 0)
		return primary;
	int backup = entry_exists(arbiter, dir, names->backup, err);
	if (backup < 0)
		return backup;
	if (primary && backup)
		return remus_fail(
			err, -EUCLEAN,
			"arbiter key %s/%s: claimed by both sides. Somebody has copied files in this "
			"directory; decide by hand which host runs the guest",
			dir_of(arbiter), names->open);
	return primary ? REMUS_HOLDER_PRIMARY : backup ? REMUS_HOLDER_BACKUP : 0;
}

static int file_open(struct remus_arbiter *arbiter, const struct remus_key *key, struct remus_error *err)
{
	struct key_names names;
	char text[256];

	name_entries(key, &names);
	REMUS_AUTO_CLOSE int dir = enter_dir(arbiter, err);
	if (dir < 0)
		return dir;
	int holder = recorded_holder(arbiter, dir, &names, err);
	if (holder < 0)
		return holder;
	if (holder)
		return remus_fail(err, -EEXIST, "arbiter key %s/%s: this generation was claimed already",
				  dir_of(arbiter), names.open);

	REMUS_AUTO_CLOSE int fd = openat(dir, names.open, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST)
		return remus_fail(err, -EEXIST, "arbiter key %s/%s: this generation was opened already",
				  dir_of(arbiter), names.open);
	if (fd < 0)
		return remus_fail_errno(err,
					"arbiter key %s/%s: create (the engines of both hosts must be able "
					"to write there)",
					dir_of(arbiter), names.open);
	int n = snprintf(text, sizeof text,
			 "remus arbiter key\n"
			 "Renamed to .primary or .backup by the side that may run the guest.\n"
			 "Do not rename, copy or restore by hand while the domain is protected.\n");
	int rc = 0;
	if (write(fd, text, (size_t)n) != n || fsync(fd) < 0)
		rc = remus_fail_errno(err, "arbiter key %s/%s: write", dir_of(arbiter), names.open);
	if (!rc)
		rc = sync_dir(arbiter, dir, err);
	if (rc)
		unlinkat(dir, names.open, 0);
	return rc;
}

static int file_check(struct remus_arbiter *arbiter, const struct remus_key *key, struct remus_error *err)
{
	struct key_names names;

	name_entries(key, &names);
	REMUS_AUTO_CLOSE int dir = enter_dir(arbiter, err);
	if (dir < 0)
		return dir;
	int holder = recorded_holder(arbiter, dir, &names, err);
	if (holder < 0)
		return holder;
	if (holder)
		return remus_fail(err, -EALREADY, "arbiter key %s/%s: claimed by the %s already",
				  dir_of(arbiter), names.open,
				  holder == REMUS_HOLDER_PRIMARY ? "primary" : "backup");
	int there = entry_exists(arbiter, dir, names.open, err);
	if (there < 0)
		return there;
	if (!there)
		return remus_fail(
			err, -ENOENT,
			"arbiter key %s/%s: not there. The other host has just made it: is %s the same "
			"shared directory on both hosts, and mounted?",
			dir_of(arbiter), names.open, dir_of(arbiter));
	/* A claim will have to rename here. */
	if (faccessat(dir, ".", W_OK | X_OK, AT_EACCESS) < 0)
		return remus_fail_errno(err, "arbiter directory %s: not writable from this host",
					dir_of(arbiter));
	return 0;
}

static enum remus_claim file_claim(struct remus_arbiter *arbiter, const struct remus_key *key,
				   enum remus_holder me, struct remus_error *err)
{
	struct key_names names;

	name_entries(key, &names);
	REMUS_AUTO_CLOSE int dir = enter_dir(arbiter, err);
	if (dir < 0)
		return REMUS_CLAIM_UNKNOWN;
	/* First the record: an entry KEY.open beside one (a restored backup of the directory) decides nothing. */
	int holder = recorded_holder(arbiter, dir, &names, err);
	if (!holder) {
		const char *mine = me == REMUS_HOLDER_PRIMARY ? names.primary : names.backup;
		if (renameat(dir, names.open, dir, mine) < 0 && errno != ENOENT) {
			remus_fail_errno(err, "arbiter key %s/%s: rename to claim it", dir_of(arbiter),
					 names.open);
			return REMUS_CLAIM_UNKNOWN;
		}
		holder = recorded_holder(arbiter, dir, &names, err);
		if (!holder)
			remus_fail(err, -ENOENT,
				   "arbiter key %s/%s: neither open nor claimed (retired, or the directory "
				   "lost it, or "
				   "another directory is mounted at %s)",
				   dir_of(arbiter), names.open, dir_of(arbiter));
	}
	if (holder <= 0 || sync_dir(arbiter, dir, err) < 0)
		return REMUS_CLAIM_UNKNOWN;
	return holder == (int)me ? REMUS_CLAIM_WON : REMUS_CLAIM_LOST;
}

static int file_retire(struct remus_arbiter *arbiter, const struct remus_key *key, struct remus_error *err)
{
	struct key_names names;

	name_entries(key, &names);
	REMUS_AUTO_CLOSE int dir = enter_dir(arbiter, err);
	if (dir < 0)
		return dir;
	if (unlinkat(dir, names.open, 0) < 0 && errno != ENOENT)
		return remus_fail_errno(err, "arbiter key %s/%s: unlink", dir_of(arbiter), names.open);
	return sync_dir(arbiter, dir, err);
}

static void file_close(struct remus_arbiter *arbiter)
{
	free(arbiter);
}

static const struct remus_arbiter_ops file_ops = {
	.scheme = "file",
	.open = file_open,
	.check = file_check,
	.claim = file_claim,
	.retire = file_retire,
	.close = file_close,
};

static int file_create(const char *dir, struct remus_arbiter **out, struct remus_error *err)
{
	if (dir[0] != '/')
		return remus_fail(err, -EINVAL, "file: takes an absolute directory, as in file:/srv/remus");
	if (strlen(dir) >= sizeof((struct file_arbiter *)0)->dir)
		return remus_fail(err, -ENAMETOOLONG, "the directory's name is too long");
	struct file_arbiter *file = calloc(1, sizeof *file);
	if (!file)
		return remus_fail(err, -ENOMEM, "out of memory");
	file->base.ops = &file_ops;
	strcpy(file->dir, dir);
	*out = &file->base;
	return 0;
}

const struct arbiter_scheme arbiter_file = {&file_ops, "file:DIR", file_create, false};
