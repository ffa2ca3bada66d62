// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which addresses a guest has, from a look at what its interface receives. The plug never shows us a frame, so
 * a packet socket does, and a filter in the kernel keeps that cheap: only heads of untagged frames from the
 * guest's MAC; all ARP and all ICMPv6 (neighbour discovery: what a host sends before it can say anything
 * else); of the rest of IPv4 and IPv6 one in SAMPLE, for the guest whose neighbours have long known it. The
 * socket's buffer is small: what comes faster than it is looked at is lost, which is all right.
 *
 * Frames are seen before they are held, and again after. An address of a frame that never left is no secret.
 */
#include "config.h"
#include "learn.h"
#include "remus/util.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#define HEAD_BYTES 64u /* Ethernet and IPv6 headers are 54, an ARP frame 42 */
#define SAMPLE	   64u /* a power of two */
#define BATCH	   64u
#define ROOM	   32768 /* bytes of kernel memory, some 40 heads */

#define ANCILLARY(what) ((uint32_t)(SKF_AD_OFF + SKF_AD_##what))

static int attach(int fd, const uint8_t mac[6])
{
	uint32_t high = (uint32_t)mac[0] << 24 | (uint32_t)mac[1] << 16 | (uint32_t)mac[2] << 8 | mac[3];
	uint32_t low = (uint32_t)mac[4] << 8 | mac[5];
	struct sock_filter code[] = {
		/* 0*/ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ANCILLARY(VLAN_TAG_PRESENT)),
		/* 1*/ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 14),
		/* 2*/ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 6), /* source MAC */
		/* 3*/ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 12),
		/* 4*/ BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 10),
		/* 5*/ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, low, 0, 10),
		/* 6*/ BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12), /* EtherType */
		/* 7*/ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 7, 0),
		/* 8*/ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 3, 0),
		/* 9*/ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 6),
		/*10*/ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 20), /* next header */
		/*11*/ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 3, 0),
		/*12*/ BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ANCILLARY(RANDOM)),
		/*13*/ BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SAMPLE - 1),
		/*14*/ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		/*15*/ BPF_STMT(BPF_RET | BPF_K, HEAD_BYTES),
		/*16*/ BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {REMUS_ARRAY_SIZE(code), code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0 ? -errno : 0;
}

int learn_open(int index, const uint8_t mac[6])
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index};
	int room = ROOM;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); /* 0: deaf until bound */

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	int rc = attach(fd, mac);
	if (rc == 0 && bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
		rc = -errno;
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

void learn_take(int fd, const uint8_t mac[6], struct remus_addresses *table)
{
	uint8_t head[BATCH][HEAD_BYTES];
	struct iovec piece[BATCH];
	struct mmsghdr message[BATCH] = {0};

	for (unsigned i = 0; i < BATCH; i++) {
		piece[i] = (struct iovec){head[i], HEAD_BYTES};
		message[i].msg_hdr = (struct msghdr){.msg_iov = &piece[i], .msg_iovlen = 1};
	}
	int n = recvmmsg(fd, message, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		remus_addresses_learn(table, mac, head[i], message[i].msg_len);
}
