// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Datagram sockets at paths. Such a socket's name outlives a killed process (I13), so a new engine must take it
 * over, but never from one that lives: connect(2) tells, since the kernel refuses (ECONNREFUSED) a name that
 * no socket is bound to any more.
 */
#include "config.h"
#include "dgram.h"
#include "remus/util.h"

#include <fcntl.h>

int dgram_address(const char *path, struct sockaddr_un *out, struct remus_error *err)
{
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!*path)
		return remus_fail(err, -EINVAL, "the socket's path is empty");
	if (strlen(path) >= sizeof out->sun_path)
		return remus_fail(err, -ENAMETOOLONG, "socket %.120s...: a path may have %zu bytes", path,
				  sizeof out->sun_path - 1);
	strcpy(out->sun_path, path);
	return 0;
}

static int dgram_socket(struct remus_error *err)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd < 0 ? remus_fail_errno(err, "socket(AF_UNIX)") : fd;
}

/* What is at the place of a bind: 0 = nothing, 1 = a dead process's socket. */
static int look(const struct sockaddr_un *address, struct remus_error *err)
{
	const char *path = address->sun_path;
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : remus_fail_errno(err, "socket %s: stat", path);
	if (!S_ISSOCK(st.st_mode))
		return remus_fail(err, -EEXIST, "socket %s: something else is there; remove or rename it",
				  path);

	REMUS_AUTO_CLOSE int probe = dgram_socket(err);
	if (probe < 0)
		return probe;
	if (!connect(probe, (const struct sockaddr *)address, sizeof *address) || errno != ECONNREFUSED)
		return remus_fail(
			err, -EBUSY,
			"socket %s: in use by a live process. Does another engine protect this domain? "
			"(`ss -xap | grep %s` shows who)",
			path, path);
	return 1;
}

/* Make way for a bind: 0 = nothing is there (any more). */
static int clear_stale(const struct sockaddr_un *address, struct remus_error *err)
{
	int rc = look(address, err);

	if (rc == 1 && unlink(address->sun_path) < 0 && errno != ENOENT)
		return remus_fail_errno(err, "socket %s: unlink a dead process's", address->sun_path);
	return rc < 0 ? rc : 0;
}

int dgram_check(const char *path, struct remus_error *err)
{
	struct sockaddr_un address;
	char dir[sizeof address.sun_path];
	int rc = dgram_address(path, &address, err);

	if (rc < 0 || (rc = look(&address, err)) < 0)
		return rc;
	strcpy(dir, path);
	char *slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = 0;
	if (access(slash ? dir : ".", W_OK | X_OK) < 0)
		return remus_fail_errno(err, "socket %s: its directory", path);
	return 0;
}

int dgram_bind(const char *path, struct dgram_place *place, struct remus_error *err)
{
	struct sockaddr_un address;
	struct stat st;

	place->path[0] = 0;
	int rc = dgram_address(path, &address, err);
	if (rc < 0 || (rc = clear_stale(&address, err)) < 0)
		return rc;
	int fd = dgram_socket(err);
	if (fd < 0)
		return fd;
	int room = 4 << 20; /* bytes in flight towards others; the kernel cuts it to net.core.wmem_max */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 || lstat(path, &st) < 0) {
		rc = remus_fail_errno(err, "socket %s: bind", path);
		close(fd);
		return rc;
	}
	strcpy(place->path, path);
	place->device = st.st_dev;
	place->inode = st.st_ino;
	return fd;
}

void dgram_unlink(struct dgram_place *place)
{
	struct stat st;

	if (place->path[0] && !lstat(place->path, &st) && st.st_dev == place->device &&
	    st.st_ino == place->inode)
		unlink(place->path);
	place->path[0] = 0;
}
