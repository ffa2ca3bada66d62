/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The topology of plug-check.c, made by netlink, with packet sockets at both ends. Frames carry a number in their
 * last bytes, whatever their kind; what has no such number (the kernel's own multicast) is ignored.
 */
#ifndef REMUS_PLUG_RIG_H
#define REMUS_PLUG_RIG_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/link/veth.h>
#include <netlink/route/neighbour.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "messages.h"
#include "netlink.h"
#include "remus/util.h"
#include "../../tools/common/frame-kinds.h"

#define RIG_PATIENCE_MS 10000
#define RIG_KINDS	FRAME_KINDS
#define RIG_FLOOD	(UINT64_C(1) << 40) /* numbers from here on must never arrive */

static int rig_failures;
static const uint8_t rig_guest_mac[6] = {0x00, 0x16, 0x3e, 0x01, 0x02, 0x03};
static const uint8_t rig_far_mac[6] = {0x02, 0, 0, 0, 0, 0x0f};

#define DIE(...)                                \
	do {                                    \
		printf("  FAIL: " __VA_ARGS__); \
		printf("\n");                   \
		exit(1);                        \
	} while (0)
#define CHECK(truth)                                                                       \
	do {                                                                               \
		if (!(truth))                                                              \
			printf("  FAIL: line %d: %s\n", __LINE__, #truth), rig_failures++; \
	} while (0)
#define CHECK_EQUAL(a, b)                                                                        \
	do {                                                                                     \
		long long a_ = (long long)(a), b_ = (long long)(b);                              \
		if (a_ != b_)                                                                    \
			printf("  FAIL: line %d: %s is %lld, not %lld\n", __LINE__, #a, a_, b_), \
				rig_failures++;                                                  \
	} while (0)

struct rig {
	struct nl_sock *netlink;
	struct netlink *ask;
	int g0, vif0, br0, up0, far0; /* indexes */
	int guest, far;		      /* sockets */
	uint64_t next;
};

/* ---- the topology ---- */

static inline void rig_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		errno = EPERM;
	if (fd >= 0)
		close(fd);
}

static inline bool rig_enter_namespace(void)
{
	char map[64];
	unsigned uid = getuid(), gid = getgid();

	if (!unshare(CLONE_NEWNET))
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	rig_write("/proc/self/setgroups", "deny");
	snprintf(map, sizeof map, "0 %u 1", uid);
	rig_write("/proc/self/uid_map", map);
	snprintf(map, sizeof map, "0 %u 1", gid);
	rig_write("/proc/self/gid_map", map);
	return true;
}

static inline void rig_tell(struct rig *r, struct nl_msg *msg, const char *what)
{
	struct remus_error err = REMUS_ERROR_INIT;
	if (netlink_ask(r->ask, msg, NULL, NULL, NULL, &err, "%s", what) < 0)
		DIE("%s", err.message);
}

static inline void rig_up(struct rig *r, const char *name, int *index)
{
	*index = (int)if_nametoindex(name);
	rig_tell(r, message_link_no_ipv6(*index),
		 name); /* where IPv6 is not, this says so and dies: never seen */
	rig_tell(r, message_link_set(*index, true, NULL), name);
}

static inline void rig_enslave(struct rig *r, int port)
{
	int rc = rtnl_link_enslave_ifindex(r->netlink, r->br0, port);
	if (rc < 0)
		DIE("bridge port %d: %s", port, nl_geterror(rc));
}

static inline void rig_veth(struct rig *r, const char *a, const char *b)
{
	int rc = rtnl_link_veth_add(r->netlink, a, b, getpid());
	if (rc < 0) {
		printf("SKIP: no veth pair to be had (modprobe veth): %s\n", nl_geterror(rc));
		exit(77);
	}
}

static inline int rig_socket(int index)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index};
	int on = 1, room = 16 << 20, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct packet_mreq all = {.mr_ifindex = index, .mr_type = PACKET_MR_PROMISC};

	setsockopt(fd, SOL_PACKET, 23 /* PACKET_IGNORE_OUTGOING */, &on, sizeof on);
	setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
		DIE("packet socket: %s", strerror(errno));
	return fd;
}

static inline void rig_make_vif(struct rig *r)
{
	rig_veth(r, "g0", "vif0");
	rig_up(r, "g0", &r->g0);
	rig_up(r, "vif0", &r->vif0);
	rig_enslave(r, r->vif0);
	r->guest = rig_socket(r->g0);
}

static inline void rig_make(struct rig *r)
{
	struct remus_error err = REMUS_ERROR_INIT;

	*r = (struct rig){.netlink = nl_socket_alloc(), .next = 1};
	if (nl_connect(r->netlink, NETLINK_ROUTE) < 0 || netlink_open(&r->ask, &err) < 0)
		DIE("netlink: %s", err.message);
	int rc = rtnl_link_bridge_add(r->netlink, "br0");
	if (rc < 0) {
		printf("SKIP: no bridge to be had (modprobe bridge): %s\n", nl_geterror(rc));
		exit(77);
	}
	rig_up(r, "br0", &r->br0);
	rig_veth(r, "up0", "far0");
	rig_up(r, "up0", &r->up0);
	rig_up(r, "far0", &r->far0);
	rig_enslave(r, r->up0);
	r->far = rig_socket(r->far0);
	rig_make_vif(r);
}

static inline void rig_delete_vif(struct rig *r)
{
	close(r->guest);
	rig_tell(r, message_link_delete(r->g0), "g0");
}

static inline int rig_gate(const struct rig *r)
{
	char name[IFNAMSIZ];
	snprintf(name, sizeof name, "remus-%d", r->vif0);
	return (int)if_nametoindex(name);
}

static inline bool rig_gate_exists(const struct rig *r)
{
	return rig_gate(r) != 0;
}

static inline void rig_delete_gate(struct rig *r)
{
	rig_tell(r, message_link_delete(rig_gate(r)), "the gate");
}

/* Our handle is taken if there is an ingress qdisc: then making one fails. Leaves it as it was. */
static inline bool rig_has_ingress(struct rig *r)
{
	int rc = netlink_ask(r->ask, message_ingress_add(r->vif0), NULL, NULL, NULL, NULL, "ingress");
	if (rc == 0)
		rig_tell(r, message_ingress_delete(r->vif0), "ingress");
	return rc == -EEXIST;
}

struct rig_fdb {
	const struct rig *rig;
	int port;
};

static inline void rig_see_neighbour(const struct nlmsghdr *h, void *context)
{
	struct rig_fdb *out = context;
	const struct ndmsg *head = nlmsg_data(h);
	struct nlattr *mac = nlmsg_find_attr((struct nlmsghdr *)h, sizeof *head, NDA_LLADDR);
	if (h->nlmsg_type == RTM_NEWNEIGH && mac && !memcmp(nla_data(mac), rig_guest_mac, 6))
		out->port = head->ndm_ifindex;
}

/* Where the bridge believes the guest to be. */
static inline int rig_port_of_guest(struct rig *r)
{
	struct rig_fdb out = {r, 0};
	struct ndmsg head = {.ndm_family = AF_BRIDGE};
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP);
	nlmsg_append(msg, &head, sizeof head, NLMSG_ALIGNTO);
	netlink_ask(r->ask, msg, rig_see_neighbour, &out, NULL, NULL, "fdb");
	return out.port;
}

/* ---- frames ---- */

static inline void rig_send_one(int fd, const struct frame_kind *kind, const uint8_t source[6],
				uint64_t number)
{
	uint8_t frame[FRAME_KIND_MAX];
	size_t bytes = frame_kind_write(frame, kind, source, number);

	if (send(fd, frame, bytes, 0) < 0 && errno != ENOBUFS && errno != ENETDOWN)
		DIE("send: %s", strerror(errno));
}

/* The guest sends one frame of each kind; returns the first's number. */
static inline uint64_t rig_send_kinds(struct rig *r)
{
	for (int i = 0; i < RIG_KINDS; i++)
		rig_send_one(r->guest, &frame_kind[i], rig_guest_mac, r->next++);
	return r->next - RIG_KINDS;
}

static inline uint64_t rig_send(struct rig *r, unsigned count)
{
	uint64_t first = r->next;
	for (unsigned i = 0; i < count; i++)
		rig_send_one(r->guest, &frame_kind[0], rig_guest_mac, r->next++);
	return first;
}

static inline void rig_skip(struct rig *r, unsigned count)
{
	r->next += count;
}

/* The number of the next frame that has one; UINT64_MAX: none came in time. */
static inline uint64_t rig_receive(int fd, int ms)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	uint8_t frame[2048];
	uint64_t number;

	while (poll(&wait, 1, ms) > 0) {
		ssize_t n = recv(fd, frame, sizeof frame, MSG_DONTWAIT);
		if (n > 0 && frame_kind_number(frame, (size_t)n, &number))
			return number;
	}
	return UINT64_MAX;
}

static inline void rig_expect(struct rig *r, uint64_t first, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t number = rig_receive(r->far, RIG_PATIENCE_MS);
		if (number == first + i)
			continue;
		rig_failures++;
		DIE("frame %lld came, %llu expected (%u of %u)", (long long)number,
		    (unsigned long long)(first + i), i, count);
	}
}

static inline bool rig_silent(struct rig *r)
{
	uint64_t number = rig_receive(r->far, 0);
	if (number != UINT64_MAX)
		printf("  frame %llu leaked\n", (unsigned long long)number);
	return number == UINT64_MAX;
}

static inline void rig_drain(struct rig *r)
{
	while (rig_receive(r->far, 0) != UINT64_MAX)
		;
}

static inline void rig_far_sends(struct rig *r, uint64_t number)
{
	struct frame_kind kind = frame_kind[0];
	memcpy(kind.to, rig_guest_mac, 6);
	rig_send_one(r->far, &kind, rig_far_mac, number);
}

static inline void rig_guest_gets(struct rig *r, uint64_t number)
{
	CHECK_EQUAL(rig_receive(r->guest, RIG_PATIENCE_MS), number);
}

static inline void rig_far_claims_guest_mac(struct rig *r)
{
	rig_send_one(r->far, &frame_kind[4], rig_guest_mac, 99);
	for (int ms = 0; ms < RIG_PATIENCE_MS && rig_port_of_guest(r) != r->up0; ms++)
		usleep(1000);
	rig_guest_gets(r, 99);
}

/* A frame of this EtherType from the guest's MAC. */
static inline void rig_expect_announcement(struct rig *r, unsigned type)
{
	struct pollfd wait = {.fd = r->far, .events = POLLIN};
	uint8_t frame[2048];

	while (poll(&wait, 1, RIG_PATIENCE_MS) > 0)
		if (recv(r->far, frame, sizeof frame, MSG_DONTWAIT) >= 42 &&
		    !memcmp(frame + 6, rig_guest_mac, 6)) {
			CHECK_EQUAL((unsigned)(frame[12] << 8 | frame[13]), type);
			return;
		}
	CHECK(!"an announcement came");
}

/* A process that sends RIG_FLOOD + 1, + 2 and so on without a pause. *begun, shared with it, is the number whose sending
 * began last: a larger one is not yet on its way. */
static inline pid_t rig_race_begin(struct rig *r, volatile uint64_t *begun)
{
	pid_t pid = fork();
	for (uint64_t n = RIG_FLOOD + 1; pid == 0; n++) {
		*begun = n;
		__sync_synchronize();
		rig_send_one(r->guest, &frame_kind[0], rig_guest_mac, n);
	}
	return pid;
}

/* A process that sends as fast as it can. */
static inline pid_t rig_flood_begin(struct rig *r)
{
	pid_t pid = fork();
	for (uint64_t n = RIG_FLOOD; pid == 0; n++) {
		rig_send_one(r->guest, &frame_kind[0], rig_guest_mac, n);
		if (n % 32 == 0)
			usleep(100);
	}
	return pid;
}

static inline void rig_flood_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

#endif
