/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys on disk. A key that is half written locks a host out, one that is overwritten locks out its peers, one that
 * others can read locks out nobody: so a file is written under another name with its final mode, synced, and then
 * linked (which never replaces) or renamed.
 */
#include "keys_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "remus/util.h"

#define FILE_MAX (256u * 1024u)
#define LOCK_MS	 3000

static int make_folder(const char *path, struct remus_error *err)
{
	REMUS_AUTO_FREE char *above = strdup(path);
	char *slash = above ? strrchr(above, '/') : NULL;

	if (slash && slash != above) {
		*slash = '\0';
		if (mkdir(above, 0755) && errno != EEXIST)
			return remus_fail_errno(err, "cannot make %s", above);
	}
	if (mkdir(path, 0700) && errno != EEXIST)
		return remus_fail_errno(err, "cannot make %s", path);
	return 0;
}

int keys_folder(const char *path, bool make, struct remus_error *err)
{
	struct stat st;
	int rc = make ? make_folder(path, err) : 0, fd = -1;

	if (!rc) {
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st))
			rc = remus_fail_errno(err, "%s", path);
	}
	if (!rc && ((st.st_uid != 0 && st.st_uid != geteuid()) || (st.st_mode & 022)))
		rc = remus_fail(err, -EPERM,
				"%s can be changed by others (uid %u, mode %o): chown it and chmod 700 it",
				path, (unsigned)st.st_uid, (unsigned)(st.st_mode & 07777));
	for (int waited = 0; !rc && flock(fd, LOCK_EX | LOCK_NB); waited += 50) {
		if (errno != EWOULDBLOCK || waited > LOCK_MS)
			rc = remus_fail_errno(err, "%s is locked by another remusctl keys", path);
		usleep(50 * 1000);
	}
	if (!rc)
		return fd;
	if (fd >= 0)
		close(fd);
	return rc;
}

bool keys_has(int folder, const char *name)
{
	struct stat st;

	return !fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW);
}

int keys_read(int folder, const char *name, char **out, struct remus_error *err)
{
	struct stat st;
	size_t got = 0;
	ssize_t n = 1;

	*out = NULL;
	REMUS_AUTO_CLOSE int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st))
		return remus_fail_errno(err, "%s", name);
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
		return remus_fail(err, -EINVAL, "%s is no regular file of at most %u bytes", name, FILE_MAX);
	char *text = calloc(1, (size_t)st.st_size + 1);
	if (!text)
		return remus_fail(err, -ENOMEM, "no memory");
	while (got < (size_t)st.st_size && (n = read(fd, text + got, (size_t)st.st_size - got)) > 0)
		got += (size_t)n;
	if (n < 0) {
		int rc = remus_fail_errno(err, "%s", name);
		free(text);
		return rc;
	}
	*out = text;
	return 0;
}

/* The mode is set before the first byte is there, whatever the umask. */
static int fill(int fd, const char *text, mode_t mode)
{
	size_t n = strlen(text), sent = 0;

	if (fchmod(fd, mode))
		return -1;
	while (sent < n) {
		ssize_t wrote = write(fd, text + sent, n - sent);
		if (wrote < 0)
			return -1;
		sent += (size_t)wrote;
	}
	return fsync(fd);
}

int keys_write(int folder, const char *name, const char *text, mode_t mode, bool replace,
	       struct remus_error *err)
{
	char fresh[128];
	int rc = 0;

	snprintf(fresh, sizeof fresh, ".%s.%d.new", name, (int)getpid());
	unlinkat(folder, fresh, 0); /* of a process that was killed and had our pid */
	REMUS_AUTO_CLOSE int fd = openat(folder, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return remus_fail_errno(err, "cannot write %s", name);
	if (fill(fd, text, mode))
		rc = remus_fail_errno(err, "cannot write %s", name);
	else if (replace ? renameat(folder, fresh, folder, name) : linkat(folder, fresh, folder, name, 0))
		rc = remus_fail_errno(err, "cannot put %s in its place", name);
	else if (fsync(folder))
		rc = remus_fail_errno(err, "cannot sync the folder of %s", name);
	unlinkat(folder, fresh, 0); /* after a rename it isn't there any more */
	return rc;
}
