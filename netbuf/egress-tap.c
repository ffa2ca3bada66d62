// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Egress to a tap interface: an existing one that nobody else has attached, or one made here, which the kernel
 * removes when its descriptor is closed, however the engine ends (I13). No virtio header is negotiated, so that
 * the kernel hands over frames segmented and with checksums done.
 *
 * An attached tap has a carrier and the kernel queues up to its txqueuelen for us even before start(): that is
 * bounded and thrown away by the caller.
 */
#include "config.h"
#include "egress.h"
#include "remus/util.h"

#include <fcntl.h>
#include <net/if.h>
#include <stdbool.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define TUN "/dev/net/tun"

static int bring_up(const char *name, struct remus_error *err)
{
	struct ifreq ask = {0};
	REMUS_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(ask.ifr_name, name, strlen(name));
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ask) < 0)
		return remus_fail_errno(err, "interface %s: read flags", name);
	ask.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &ask) < 0)
		return remus_fail_errno(err, "interface %s: set up", name);
	return 0;
}

static int attach(const char *name, int fd, struct remus_error *err)
{
	struct ifreq ask = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	memcpy(ask.ifr_name, name, strlen(name));
	if (!ioctl(fd, TUNSETIFF, &ask))
		return 0;
	switch (errno) {
	case EBUSY:
		return remus_fail(err, -EBUSY, "tap %s: attached by another process", name);
	case EINVAL:
		return remus_fail(err, -EINVAL, "interface %s exists but is no single-queue tap", name);
	case EPERM:
		return remus_fail(
			err, -EPERM,
			"tap %s: not permitted. Give the engine CAP_NET_ADMIN, or make the tap for its "
			"user: `ip tuntap add %s mode tap user USER`",
			name, name);
	}
	return remus_fail_errno(err, "tap %s: TUNSETIFF", name);
}

static int open_device(struct remus_error *err)
{
	int fd = open(TUN, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? remus_fail_errno(
				err, "open %s (needs the tun module and, in a container, the device node)",
				TUN)
		      : fd;
}

/* Is it one of the tun driver's? Its own words: sysfs may be that of another network namespace. */
static bool is_tap(const char *name)
{
	struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq ask = {.ifr_data = (char *)&driver};
	REMUS_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(ask.ifr_name, name, strlen(name));
	return fd < 0 || ioctl(fd, SIOCETHTOOL, &ask) < 0 || !strcmp(driver.bus_info, "tap");
}

/* Nothing is attached and nothing made: an open device is no interface yet. */
static int tap_check(const char *name, struct remus_error *err)
{
	struct remus_error why = REMUS_ERROR_INIT;
	int rc = egress_interface(name, &why);

	if (rc < 0 && rc != -ENODEV) /* that one is to be made */
		return remus_fail(err, rc, "%s", why.message);
	if (rc == 0 && !is_tap(name))
		return remus_fail(err, -EINVAL, "interface %s exists but is no single-queue tap", name);
	REMUS_AUTO_CLOSE int fd = open_device(err);
	return fd < 0 ? fd : 0;
}

static int tap_open(const char *name, struct egress **out, struct remus_error *err)
{
	bool make = egress_interface(name, NULL) == -ENODEV;
	int fd = open_device(err);
	if (fd < 0)
		return fd;
	int rc = attach(name, fd, err);
	if (!rc && make)
		rc = bring_up(name, err);
	struct egress *egress = rc ? NULL : calloc(1, sizeof *egress);
	if (!egress) {
		close(fd);
		return rc ? rc : remus_fail(err, -ENOMEM, "out of memory");
	}
	egress->ops = &egress_tap;
	egress->fd = fd;
	*out = egress;
	return 0;
}

static int tap_start(struct egress *egress, struct remus_error *err)
{
	return 0;
}

static int tap_receive(struct egress *egress, struct frame_batch *batch)
{
	int taken = 0;

	batch->count = batch->next = 0;
	while (batch->count < BATCH_FRAMES && taken < (int)BATCH_FRAMES) {
		uint8_t *slot = frame_batch_slot(batch, batch->count);
		ssize_t n = read(egress->fd, slot, FRAME_MAX + 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return taken || errno == EAGAIN ? taken : -errno;
		taken++;
		if (n <= (ssize_t)FRAME_MAX)
			batch->frame[batch->count++] = (struct iovec){slot, (size_t)n};
	}
	return taken;
}

static int tap_send(struct egress *egress, const struct iovec *frames, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		ssize_t n = write(egress->fd, frames[i].iov_base, frames[i].iov_len);
		if (n < 0)
			return i ? (int)i : -errno;
	}
	return (int)count;
}

static void tap_close(struct egress *egress)
{
	close(egress->fd);
	free(egress);
}

const struct egress_ops egress_tap = {
	.scheme = "tap",
	.form = "tap:IFNAME",
	.check = tap_check,
	.open = tap_open,
	.start = tap_start,
	.receive = tap_receive,
	.send = tap_send,
	.close = tap_close,
};
