/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hold with a guest's socket on one side and, for the unix egress, a network's socket on the other:
 *
 *     guest  DIR/guest <-----> DIR/host  [ hold ]  DIR/bind <-----> DIR/net  network
 *
 * Frames carry a number. Nothing here asserts on time: whatever must come is waited for (10 s at most), and
 * whatever must not have come is looked for after seal(), when no frame is on its way any more.
 */
#ifndef REMUS_HOLD_RIG_H
#define REMUS_HOLD_RIG_H

#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "remus/netbuf.h"
#include "unit.h"

#define RIG_PATIENCE_MS 10000
#define RIG_FRAME_MAX	70000

static const uint8_t rig_mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

struct rig {
	char dir[64], guest_path[108], host_path[108], net_path[108], bind_path[108];
	int guest, net;
	struct remus_netbuf *netbuf;
};

static inline int rig_bind(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {RIG_PATIENCE_MS / 1000, 0};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	unlink(path);
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	return fd;
}

/* Paths and the guest's and network's sockets. */
static inline void rig_lay(struct rig *rig)
{
	memset(rig, 0, sizeof *rig);
	strcpy(rig->dir, "/tmp/remus-hold-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(rig->dir));
	snprintf(rig->guest_path, sizeof rig->guest_path, "%s/guest", rig->dir);
	snprintf(rig->host_path, sizeof rig->host_path, "%s/host", rig->dir);
	snprintf(rig->net_path, sizeof rig->net_path, "%s/net", rig->dir);
	snprintf(rig->bind_path, sizeof rig->bind_path, "%s/bind", rig->dir);
	rig->guest = rig_bind(rig->guest_path);
	rig->net = rig_bind(rig->net_path);
}

static inline struct remus_netbuf_config rig_config(const struct rig *rig, const char *egress)
{
	struct remus_netbuf_config config = {.egress = egress};
	memcpy(config.nic.mac, rig_mac, 6);
	config.nic.kind = REMUS_NIC_DGRAM;
	strcpy(config.nic.guest_path, rig->guest_path);
	strcpy(config.nic.host_path, rig->host_path);
	return config;
}

/* Open the hold; egress NULL = the network's socket. */
static inline void rig_open(struct rig *rig, const char *egress, uint64_t max_packets, uint64_t max_bytes)
{
	struct remus_error err = REMUS_ERROR_INIT;
	char uri[256];
	snprintf(uri, sizeof uri, "unix:%s,bind=%s", rig->net_path, rig->bind_path);
	struct remus_netbuf_config config = rig_config(rig, egress ? egress : uri);
	config.max_packets = max_packets;
	config.max_bytes = max_bytes;
	int rc = remus_netbuf_hold.open(&config, &rig->netbuf, &err);
	if (rc)
		printf("\n    %s\n", err.message);
	CU_ASSERT_EQUAL_FATAL(rc, 0);
}

static inline void rig_close(struct rig *rig)
{
	struct stat st;
	if (rig->netbuf)
		rig->netbuf->ops->close(rig->netbuf);
	CU_ASSERT(lstat(rig->host_path, &st) < 0); /* I13 */
	CU_ASSERT(lstat(rig->bind_path, &st) < 0);
	close(rig->guest);
	close(rig->net);
	unlink(rig->guest_path);
	unlink(rig->net_path);
	CU_ASSERT_EQUAL(rmdir(rig->dir), 0);
}

/* A frame from the guest's MAC, of @bytes (at least 22), with a number behind its header. */
static inline void rig_frame(uint8_t *out, size_t bytes, unsigned type, uint64_t number)
{
	memset(out, (int)(number & 0xff), bytes);
	memset(out, 0x02, 6);
	memcpy(out + 6, rig_mac, 6);
	out[12] = (uint8_t)(type >> 8);
	out[13] = (uint8_t)type;
	memcpy(out + 14, &number, 8);
}

static inline bool rig_send(int fd, const char *path, const void *frame, size_t bytes)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	if (sendto(fd, frame, bytes, 0, (struct sockaddr *)&to, sizeof to) == (ssize_t)bytes)
		return true;
	printf("\n    send to %s: %s\n", path, strerror(errno));
	return false;
}

/* The guest sends frames @first .. @first + @count - 1. */
static inline void rig_guest_sends(struct rig *rig, uint64_t first, unsigned count)
{
	uint8_t frame[100];
	for (unsigned i = 0; i < count; i++) {
		rig_frame(frame, sizeof frame, 0x0800, first + i);
		CU_ASSERT_FATAL(rig_send(rig->guest, rig->host_path, frame, sizeof frame));
	}
}

static inline uint64_t rig_number(int fd)
{
	static uint8_t frame[RIG_FRAME_MAX];
	uint64_t number = UINT64_MAX;
	if (recv(fd, frame, sizeof frame, 0) >= 22)
		memcpy(&number, frame + 14, 8);
	return number;
}

/* Exactly these numbers arrive, in this order. */
static inline void rig_expect(int fd, uint64_t first, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t number = rig_number(fd);
		if (number != first + i)
			printf("\n    frame %lld came, %llu expected\n", (long long)number,
			       (unsigned long long)(first + i));
		CU_ASSERT_EQUAL_FATAL(number, first + i);
	}
}

static inline bool rig_silent(int fd)
{
	uint8_t byte;
	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
}

static inline struct remus_netbuf_stats rig_stats(struct rig *rig)
{
	struct remus_netbuf_stats stats;
	rig->netbuf->ops->stats(rig->netbuf, &stats);
	return stats;
}

/* Wait until a counter of the statistics has reached a value. */
#define RIG_WAIT(rig, field, value)                                                               \
	do {                                                                                      \
		for (int ms_ = 0; ms_ < RIG_PATIENCE_MS && rig_stats(rig).field < (value); ms_++) \
			usleep(1000);                                                             \
		CU_ASSERT_EQUAL_FATAL(rig_stats(rig).field, (value));                             \
	} while (0)

/* Call an operation that must succeed. */
#define RIG_DO(rig, op, ...) \
	CU_ASSERT_EQUAL_FATAL((rig)->netbuf->ops->op((rig)->netbuf, ##__VA_ARGS__, NULL), 0)

#endif
