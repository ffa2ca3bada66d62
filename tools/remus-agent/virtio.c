/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio-serial port org.remus.agent.0 of QEMU's guests. udev names it below /dev/virtio-ports; where there is no
 * udev, as early in an initramfs, sysfs tells which /dev/vportNpM it is.
 *
 * The port can be opened once. It says "hang up" as long as nobody listens on the host, which is no error: reads give
 * nothing then, and the wait for its waking up is edge-triggered so as not to spin on it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "remus/renewal.h"
#include "transport.h"

struct port {
	struct transport base;
	int fd;
};

static int open_port(const char *path)
{
	return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

/* Does the port @name of sysfs carry ours? */
static bool is_ours(const char *name)
{
	char path[300], text[64] = "";

	snprintf(path, sizeof path, "/sys/class/virtio-ports/%.200s/name", name);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(text, sizeof text, f))
		text[0] = 0;
	fclose(f);
	text[strcspn(text, "\n")] = 0;
	return !strcmp(text, REMUS_AGENT_PORT);
}

static int find_port(void)
{
	DIR *dir = opendir("/sys/class/virtio-ports");
	struct dirent *entry;
	int fd = -1;

	errno = ENODEV;
	while (dir && fd < 0 && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && is_ours(entry->d_name)) {
			char path[300];
			snprintf(path, sizeof path, "/dev/%.200s", entry->d_name);
			fd = open_port(path);
		}
	if (dir) {
		int why = errno;
		closedir(dir);
		errno = why;
	}
	return fd;
}

static int virtio_open(struct transport **out, struct remus_error *err)
{
	int fd = open_port("/dev/virtio-ports/" REMUS_AGENT_PORT);

	if (fd < 0 && errno == ENOENT)
		fd = find_port();
	if (fd < 0 && errno == EBUSY)
		return remus_fail(err, -EBUSY,
				  "the port " REMUS_AGENT_PORT " is in use, by another agent perhaps");
	if (fd < 0)
		return remus_fail_errno(err, "the port " REMUS_AGENT_PORT);
	struct port *p = calloc(1, sizeof *p);
	if (!p) {
		close(fd);
		return remus_fail(err, -ENOMEM, "no memory");
	}
	p->base.ops = &transport_virtio;
	p->fd = fd;
	*out = &p->base;
	return 0;
}

static int virtio_fd(struct transport *base)
{
	return ((struct port *)base)->fd;
}

static ssize_t virtio_read(struct transport *base, void *buffer, size_t size, struct remus_error *err)
{
	ssize_t n = read(((struct port *)base)->fd, buffer, size);

	if (n >= 0 || errno == EAGAIN || errno == EINTR)
		return n < 0 ? 0 : n;
	return remus_fail_errno(err, "reading the port " REMUS_AGENT_PORT);
}

static int virtio_write(struct transport *base, const char *line, size_t bytes, struct remus_error *err)
{
	ssize_t n = write(((struct port *)base)->fd, line, bytes);

	if (n == (ssize_t)bytes || (n < 0 && (errno == EAGAIN || errno == EINTR || errno == EPIPE)))
		return 0;
	if (n >= 0) /* half a line: this ends it, and the host skips it */
		return write(((struct port *)base)->fd, "\n", 1) < 0 && errno != EAGAIN
			       ? remus_fail_errno(err, "writing to the port " REMUS_AGENT_PORT)
			       : 0;
	return remus_fail_errno(err, "writing to the port " REMUS_AGENT_PORT);
}

static void virtio_close(struct transport *base)
{
	close(((struct port *)base)->fd);
	free(base);
}

const struct transport_ops transport_virtio = {
	.name = "virtio",
	.open = virtio_open,
	.fd = virtio_fd,
	.read = virtio_read,
	.write = virtio_write,
	.close = virtio_close,
};
