/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw frames of every kind (tools/common/frame-kinds.h), one after the other, all the time, from eth0: what an
 * observer outside needs to see that no kind finds a way around the egress buffer (I1). Their numbers rise by one, so
 * that a frame that was lost on the way is known as well as one that came too early.
 */
#include "guest.h"
#include "../../common/frame-kinds.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG_NS 50000000 /* what a guest that stood still makes up for */

static struct {
	int socket;
	uint8_t mac[6];
	uint64_t rate, number, last_ns, owed; /* owed: frame-nanoseconds */
} sender = {.socket = -1};

void frames_start(uint64_t rate)
{
	struct sockaddr_ll eth0 = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("eth0")};
	struct ifreq request = {.ifr_name = "eth0"};

	if (!rate)
		return;
	/* Protocol 0: nothing is received. */
	sender.socket = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (sender.socket < 0 || bind(sender.socket, (struct sockaddr *)&eth0, sizeof eth0) < 0 ||
	    ioctl(sender.socket, SIOCGIFHWADDR, &request) < 0)
		die("a packet socket on eth0");
	memcpy(sender.mac, request.ifr_hwaddr.sa_data, 6);
	sender.rate = rate;
	sender.last_ns = now_ns();
}

void frames_tick(void)
{
	uint8_t frame[FRAME_KIND_MAX];
	uint64_t now = now_ns(), passed = now - sender.last_ns;

	if (sender.socket < 0)
		return;
	sender.last_ns = now;
	sender.owed += (passed < BACKLOG_NS ? passed : BACKLOG_NS) * sender.rate;
	for (; sender.owed >= 1000000000u; sender.owed -= 1000000000u) {
		const struct frame_kind *kind = &frame_kind[sender.number % FRAME_KINDS];
		size_t bytes = frame_kind_write(frame, kind, sender.mac, sender.number);
		if (send(sender.socket, frame, bytes, 0) < 0)
			break; /* the ring is full: the same one again at the next tick */
		sender.number++;
	}
}
