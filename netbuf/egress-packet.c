// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Egress through AF_PACKET: the guest's frames go out of an existing interface as they are, and whatever
 * arrives there goes to the guest, all EtherTypes, promiscuously (the guest's MAC isn't the interface's).
 *
 * Until start() the socket is bound with protocol 0: the interface is pinned and checked but the kernel hands
 * over nothing.
 *
 * Two things that the kernel leaves undone in what a packet socket sees, and a guest can't cope with:
 *   - a frame from a process of this host (through a veth, say) has its TCP or UDP checksum left to hardware.
 *     PACKET_VNET_HDR tells where it belongs; we finish it.
 *   - the outer VLAN tag is taken off. PACKET_AUXDATA tells it; we put it back.
 * GSO frames pass unsegmented, as far as the guest takes them; `ethtool -K IFNAME gro off` (and tso off on
 * the veth's other end) avoids them.
 */
#include "config.h"
#include "egress.h"
#include "remus/util.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sys/socket.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#define SOCKET_BUFFER (8 << 20) /* bytes: 5,000 full frames, some 50 ms at 1 Gbit/s */

struct packet_egress {
	struct egress base;
	int ifindex;
};

static int packet_bind(int fd, int ifindex, unsigned protocol, struct remus_error *err)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)protocol), .sll_ifindex = ifindex};

	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return remus_fail_errno(err, "packet socket: bind");
	return 0;
}

static int packet_setup(int fd, int ifindex, struct remus_error *err)
{
	struct packet_mreq membership = {.mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC};
	int on = 1, room = SOCKET_BUFFER;

	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on); /* Linux >= 4.20; else filtered */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) < 0)
		return remus_fail_errno(err, "packet socket: PACKET_VNET_HDR");
	if (setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) < 0)
		return remus_fail_errno(err, "packet socket: PACKET_AUXDATA");
	if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership) < 0)
		return remus_fail_errno(err, "packet socket: promiscuous mode");
	return packet_bind(fd, ifindex, 0, err);
}

static int packet_socket(struct remus_error *err)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 && errno == EPERM)
		return remus_fail(
			err, -EPERM,
			"packet socket: not permitted. Give the engine CAP_NET_RAW (run as root, or "
			"AmbientCapabilities=CAP_NET_RAW in its unit), or run it in a network namespace "
			"of its own (`unshare -Urn`)");
	return fd < 0 ? remus_fail_errno(err, "packet socket") : fd;
}

/* The socket of a check is bound to nothing and sees nothing. */
static int packet_check(const char *name, struct remus_error *err)
{
	int rc = egress_interface(name, err);
	if (rc < 0)
		return rc;
	REMUS_AUTO_CLOSE int fd = packet_socket(err);
	return fd < 0 ? fd : 0;
}

static int packet_open(const char *name, struct egress **out, struct remus_error *err)
{
	int fd = packet_socket(err), rc;

	if (fd < 0)
		return fd;
	int ifindex = (int)if_nametoindex(name);
	rc = ifindex ? packet_setup(fd, ifindex, err) : remus_fail_errno(err, "interface %s", name);
	struct packet_egress *egress = rc ? NULL : calloc(1, sizeof *egress);
	if (!egress) {
		close(fd);
		return rc ? rc : remus_fail(err, -ENOMEM, "out of memory");
	}
	egress->base.ops = &egress_packet;
	egress->base.fd = fd;
	egress->ifindex = ifindex;
	*out = &egress->base;
	return 0;
}

static int packet_start(struct egress *base, struct remus_error *err)
{
	return packet_bind(base->fd, ((struct packet_egress *)base)->ifindex, ETH_P_ALL, err);
}

/* Finish a checksum of which only the pseudo-header is summed yet (RFC 1071). */
static void finish_checksum(uint8_t *frame, size_t bytes, const struct virtio_net_hdr *header)
{
	size_t start = header->csum_start, at = start + header->csum_offset;
	uint64_t sum = 0;

	if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || at + 2 > bytes)
		return;
	for (size_t i = start; i + 1 < bytes; i += 2)
		sum += (uint64_t)(frame[i] << 8 | frame[i + 1]);
	if ((bytes - start) % 2)
		sum += (uint64_t)(frame[bytes - 1] << 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	if (!sum)
		sum = 0xffff; /* to UDP zero means "none"; to TCP both are the same */
	frame[at] = (uint8_t)(sum >> 8);
	frame[at + 1] = (uint8_t)sum;
}

static void restore_tag(struct iovec *frame, struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		struct tpacket_auxdata aux;
		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof aux);
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID) || frame->iov_len < 12)
			continue;
		unsigned type = aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q;
		uint8_t *start = (uint8_t *)frame->iov_base - 4;
		memmove(start, frame->iov_base, 12);
		start[12] = (uint8_t)(type >> 8);
		start[13] = (uint8_t)type;
		start[14] = (uint8_t)(aux.tp_vlan_tci >> 8);
		start[15] = (uint8_t)aux.tp_vlan_tci;
		*frame = (struct iovec){start, frame->iov_len + 4};
	}
}

static int packet_receive(struct egress *base, struct frame_batch *batch)
{
	struct virtio_net_hdr header[BATCH_FRAMES];
	struct sockaddr_ll from[BATCH_FRAMES];
	union {
		char room[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
		struct cmsghdr align;
	} control[BATCH_FRAMES];
	struct iovec piece[BATCH_FRAMES][2];
	struct mmsghdr message[BATCH_FRAMES] = {0};
	int n;

	batch->count = batch->next = 0;
	for (unsigned i = 0; i < BATCH_FRAMES; i++) {
		piece[i][0] = (struct iovec){&header[i], sizeof header[i]};
		piece[i][1] = (struct iovec){frame_batch_slot(batch, i), FRAME_MAX + 1};
		message[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
						     .msg_namelen = sizeof from[i],
						     .msg_iov = piece[i],
						     .msg_iovlen = 2,
						     .msg_control = &control[i],
						     .msg_controllen = sizeof control[i]};
	}
	do
		n = recvmmsg(base->fd, message, BATCH_FRAMES, MSG_DONTWAIT, NULL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		size_t bytes = message[i].msg_len;
		if (from[i].sll_pkttype == PACKET_OUTGOING || bytes < sizeof header[i] ||
		    (bytes -= sizeof header[i]) > FRAME_MAX)
			continue;
		struct iovec *frame = &batch->frame[batch->count++];
		*frame = (struct iovec){piece[i][1].iov_base, bytes};
		finish_checksum(frame->iov_base, bytes, &header[i]);
		restore_tag(frame, &message[i].msg_hdr);
	}
	return n;
}

static int packet_send(struct egress *base, const struct iovec *frames, unsigned count)
{
	static struct virtio_net_hdr plain; /* zero: nothing is left to the hardware */
	struct iovec piece[BATCH_FRAMES][2];
	struct mmsghdr message[BATCH_FRAMES] = {0};

	for (unsigned i = 0; i < count; i++) {
		piece[i][0] = (struct iovec){&plain, sizeof plain};
		piece[i][1] = frames[i];
		message[i].msg_hdr = (struct msghdr){.msg_iov = piece[i], .msg_iovlen = 2};
	}
	int n = sendmmsg(base->fd, message, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

static void packet_close(struct egress *base)
{
	close(base->fd); /* ends the promiscuous membership too */
	free(base);
}

const struct egress_ops egress_packet = {
	.scheme = "packet",
	.form = "packet:IFNAME",
	.check = packet_check,
	.open = packet_open,
	.start = packet_start,
	.receive = packet_receive,
	.send = packet_send,
	.close = packet_close,
};
