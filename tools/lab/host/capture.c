/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of the guest's numbered frames (tools/common/frame-kinds.h) came in at an interface, and when: a packet socket
 * sees a frame before the filters of the interface do, so on a vif that is the moment at which the frame entered the
 * host, ahead of remus's redirect. A frame that the redirect's ifb gives back is not seen a second time: the kernel
 * hands such a one past the packet sockets.
 *
 * Prints "kinds NAME NAME ..." and then, until SIGTERM, "TIME NUMBER" for each: the kernel's receive time, in µs of
 * CLOCK_MONOTONIC. The last line is "lost N": frames that the socket had no room for.
 */
#include "agent.h"
#include "../../common/frame-kinds.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define IGNORE_OUTGOING 23 /* PACKET_IGNORE_OUTGOING, which older headers don't have */
#define ROOM		(8 << 20)
#define CLOCK_READINGS	64

static volatile sig_atomic_t stopping;

static void stop(int number)
{
	(void)number;
	stopping = 1;
}

static int64_t ns_of(clockid_t clock)
{
	struct timespec ts;
	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* CLOCK_MONOTONIC minus CLOCK_REALTIME, in which the kernel stamps: the quickest of many readings. */
static int64_t clock_difference(void)
{
	int64_t best = INT64_MAX, difference = 0;
	for (int i = 0; i < CLOCK_READINGS; i++) {
		int64_t before = ns_of(CLOCK_MONOTONIC), real = ns_of(CLOCK_REALTIME);
		int64_t after = ns_of(CLOCK_MONOTONIC);
		if (after - before < best) {
			best = after - before;
			difference = before + (after - before) / 2 - real;
		}
	}
	return difference;
}

static int open_socket(const char *interface)
{
	struct sockaddr_ll where = {.sll_family = AF_PACKET,
				    .sll_protocol = htons(ETH_P_ALL),
				    .sll_ifindex = (int)if_nametoindex(interface)};
	struct timeval patience = {.tv_usec = 200000}; /* so that a SIGTERM is seen on a silent interface */
	int on = 1, room = ROOM, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (!where.sll_ifindex || fd < 0)
		agent_fail(interface);
	if (setsockopt(fd, SOL_PACKET, IGNORE_OUTGOING, &on, sizeof on) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0 ||
	    bind(fd, (struct sockaddr *)&where, sizeof where) < 0)
		agent_fail(interface);
	return fd;
}

static void note(int fd, int64_t difference)
{
	uint8_t frame[2048], ancillary[256];
	struct iovec piece = {frame, sizeof frame};
	struct msghdr message = {.msg_iov = &piece,
				 .msg_iovlen = 1,
				 .msg_control = ancillary,
				 .msg_controllen = sizeof ancillary};
	struct timespec stamp;
	uint64_t number;
	ssize_t n = recvmsg(fd, &message, 0);

	if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENETDOWN)
		agent_fail("recvmsg");
	if (n <= 0 || !frame_kind_number(frame, (size_t)n, &number))
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
			memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
			int64_t ns = (int64_t)stamp.tv_sec * 1000000000 + stamp.tv_nsec + difference;
			printf("%lld %llu\n", (long long)ns / 1000, (unsigned long long)number);
		}
}

int capture_run(const char *interface)
{
	struct sigaction on_stop = {.sa_handler = stop};
	struct tpacket_stats lost = {0};
	socklen_t size = sizeof lost;
	int fd = open_socket(interface);
	int64_t difference = clock_difference();

	sigaction(SIGTERM, &on_stop, NULL);
	printf("kinds");
	for (int i = 0; i < FRAME_KINDS; i++)
		printf(" %s", frame_kind[i].name);
	printf("\n");
	fflush(stdout);
	while (!stopping)
		note(fd, difference);
	getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &lost, &size);
	printf("lost %u\n", lost.tp_drops);
	return 0;
}
