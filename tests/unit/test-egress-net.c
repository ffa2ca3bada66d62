// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The egress kinds that need a network, in a network namespace of this process's own:
 *
 *     guest socket --- [ hold ] --- egr0 ======veth====== far0 --- packet socket "far"
 *                      [ hold ] --- tap rt0 ------------------- packet socket on rt0
 *
 * Skipped where namespaces, veth or `ip` are not to be had.
 */
#include "config.h"
#include "hold-rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>

/* Frames of the tests only: a type of our own, and VLAN frames with it inside. */
#define TEST_TYPE 0x88b5 /* IEEE 802: local experimental */

static bool run(const char *command)
{
	return system(command) == 0;
}

static int packet_socket(const char *interface)
{
	struct timeval patience = {RIG_PATIENCE_MS / 1000, 0};
	int on = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(ETH_P_ALL),
				      .sll_ifindex = (int)if_nametoindex(interface)};
	CU_ASSERT_FATAL(fd >= 0 && address.sll_ifindex > 0);
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

/* The next frame of ours (the kernel's own IPv6 noise skipped), its number. */
static uint64_t far_number(int fd, int flags)
{
	uint8_t frame[4096];
	uint64_t number = UINT64_MAX;
	for (;;) {
		ssize_t n = recv(fd, frame, sizeof frame, flags);
		if (n < 0)
			return UINT64_MAX;
		if (n >= 22 && frame[12] == TEST_TYPE >> 8 && frame[13] == (TEST_TYPE & 0xff)) {
			memcpy(&number, frame + 14, 8);
			return number;
		}
	}
}

/* As far_number(), on the guest's side. */
static uint64_t guest_number(struct rig *rig, uint8_t *frame, size_t size, unsigned type, ssize_t *bytes)
{
	for (;;) {
		uint64_t number;
		*bytes = recv(rig->guest, frame, size, 0);
		if (*bytes < 0)
			return UINT64_MAX;
		if (*bytes >= 22 && frame[12] == type >> 8 && frame[13] == (type & 0xff)) {
			memcpy(&number, frame + 14, 8);
			return number;
		}
	}
}

static void guest_sends(struct rig *rig, uint64_t first, unsigned count, size_t bytes)
{
	uint8_t frame[4096];
	for (unsigned i = 0; i < count; i++) {
		rig_frame(frame, bytes, TEST_TYPE, first + i);
		CU_ASSERT_FATAL(rig_send(rig->guest, rig->host_path, frame, bytes));
	}
}

static void far_sends(int fd, unsigned type, uint64_t number)
{
	uint8_t frame[80];
	rig_frame(frame, sizeof frame, type, number);
	memcpy(frame, rig_mac, 6);
	memset(frame + 6, 0x06, 6);
	CU_ASSERT_EQUAL(send(fd, frame, sizeof frame, 0), (ssize_t)sizeof frame);
}

/* The kernel activates a device's queue some time after its carrier came up; until then frames are lost. */
static void wait_until_active(const char *interface)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
	for (int waited = 0; waited < RIG_PATIENCE_MS; waited += 5) {
		if (ioctl(fd, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_RUNNING))
			break;
		usleep(5000);
	}
	CU_ASSERT(request.ifr_flags & IFF_RUNNING);
	usleep(20000); /* the flag comes first, the queue right after */
	close(fd);
}

static void holds_on(const char *egress, int far)
{
	struct rig rig;
	uint8_t frame[4096];
	ssize_t bytes;

	rig_lay(&rig);
	rig_open(&rig, egress, 0, 0);
	wait_until_active(strchr(egress, ':') + 1);
	far = far >= 0 ? far : packet_socket(strchr(egress, ':') + 1);
	far_sends(far, TEST_TYPE, 7); /* while closed: for nobody */
	RIG_DO(&rig, pass);
	guest_sends(&rig, 1, 3, 60);
	for (uint64_t i = 1; i <= 3; i++)
		CU_ASSERT_EQUAL(far_number(far, 0), i);
	far_sends(far, TEST_TYPE, 8);
	CU_ASSERT_EQUAL(guest_number(&rig, frame, sizeof frame, TEST_TYPE, &bytes), 8);

	RIG_DO(&rig, hold);
	guest_sends(&rig, 4, 50, 1514);
	RIG_DO(&rig, seal, 1);
	guest_sends(&rig, 54, 5, 60);
	RIG_WAIT(&rig, accepted_packets, 58);
	CU_ASSERT_EQUAL(far_number(far, MSG_DONTWAIT), UINT64_MAX); /* I1 */
	far_sends(far, TEST_TYPE, 9);				    /* inwards all goes on */
	CU_ASSERT_EQUAL(guest_number(&rig, frame, sizeof frame, TEST_TYPE, &bytes), 9);
	RIG_DO(&rig, release, 1);
	for (uint64_t i = 4; i < 54; i++)
		CU_ASSERT_EQUAL(far_number(far, 0), i);
	CU_ASSERT_EQUAL(far_number(far, MSG_DONTWAIT), UINT64_MAX);
	RIG_DO(&rig, pass);
	for (uint64_t i = 54; i < 59; i++)
		CU_ASSERT_EQUAL(far_number(far, 0), i);
	CU_ASSERT_EQUAL(rig_stats(&rig).dropped_packets, 0);
	close(far);
	rig_close(&rig);
}

static void packet_holds(void)
{
	holds_on("packet:egr0", packet_socket("far0"));
}

/* A tag passes outwards, and is put back inwards where the kernel takes it off. */
static void packet_keeps_vlan_tags(void)
{
	static const unsigned types[] = {0x8100, 0x88a8};
	struct rig rig;
	uint8_t sent[80], got[4096];
	ssize_t bytes;
	int far = packet_socket("far0");

	rig_lay(&rig);
	rig_open(&rig, "packet:egr0", 0, 0);
	RIG_DO(&rig, pass);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(types); i++) {
		far_sends(far, types[i], 0x0000000608b50b10 + i);
		CU_ASSERT_EQUAL(guest_number(&rig, got, sizeof got, types[i], &bytes),
				0x0000000608b50b10 + i);
		CU_ASSERT_EQUAL(bytes, (ssize_t)sizeof sent);
		rig_frame(sent, sizeof sent, types[i], 0x0000000608b50b10 + i);
		memcpy(sent, rig_mac, 6);
		memset(sent + 6, 0x06, 6);
		CU_ASSERT(memcmp(sent, got, sizeof sent) == 0);
	}
	close(far);
	rig_close(&rig);
}

/* A datagram of this host's own stack has its checksum left to the hardware; the guest must get it whole. */
static void packet_finishes_checksums(void)
{
	struct rig rig;
	uint8_t got[4096];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	char text[] = "seventeen bytes..";
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, "192.0.2.2", &to.sin_addr);
	rig_lay(&rig);
	rig_open(&rig, "packet:egr0", 0, 0);
	RIG_DO(&rig, pass);
	CU_ASSERT_EQUAL(sendto(fd, text, 17, 0, (struct sockaddr *)&to, sizeof to), 17);
	ssize_t n;
	do
		n = recv(rig.guest, got, sizeof got, 0);
	while (n >= 34 && !(got[12] == 8 && got[13] == 0 && got[23] == IPPROTO_UDP));
	CU_ASSERT_EQUAL_FATAL(n, 14 + 20 + 8 + 17);
	CU_ASSERT(got[40] || got[41]); /* zero would mean "not computed" */
	uint64_t sum = IPPROTO_UDP + 8 + 17;
	for (int i = 26; i < n; i++) /* both addresses, then the datagram */
		sum += (uint64_t)got[i] << (i % 2 ? 0 : 8);
	CU_ASSERT_EQUAL(sum % 0xffff, 0);
	close(fd);
	rig_close(&rig);
}

static void packet_refused_for_good(void)
{
	struct rig rig;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_netbuf *second;
	int far = packet_socket("far0");

	rig_lay(&rig);
	rig_open(&rig, "packet:egr0", 0, 0);
	RIG_DO(&rig, pass);
	guest_sends(&rig, 1, 1, 60);
	guest_sends(&rig, 2, 1, 3000); /* beyond the MTU */
	guest_sends(&rig, 3, 1, 60);
	CU_ASSERT_EQUAL(far_number(far, 0), 1);
	CU_ASSERT_EQUAL(far_number(far, 0), 3);
	RIG_WAIT(&rig, dropped_packets, 1);
	CU_ASSERT_FATAL(run("ip link set egr0 down"));
	guest_sends(&rig, 4, 2, 60);
	RIG_WAIT(&rig, dropped_packets, 3);
	struct remus_netbuf_config config = rig_config(&rig, "packet:egr0");
	CU_ASSERT_EQUAL(remus_netbuf_hold.open(&config, &second, &err), -ENETDOWN);
	UNIT_ASSERT_MESSAGE(err, "ip link set egr0 up");
	CU_ASSERT_FATAL(run("ip link set egr0 up"));
	close(far);
	far = packet_socket("far0");
	guest_sends(&rig, 6, 1, 60);
	CU_ASSERT_EQUAL(far_number(far, 0), 6);
	struct remus_netbuf_stats s = rig_stats(&rig);
	CU_ASSERT_EQUAL(s.accepted_packets, 6);
	CU_ASSERT_EQUAL(s.dropped_packets, 3);
	close(far);
	rig_close(&rig);
}

static bool tap_possible(void)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	else
		printf("\n    not tested: /dev/net/tun: %s\n", strerror(errno));
	return fd >= 0;
}

static void tap_made_and_removed(void)
{
	if (!tap_possible())
		return;
	CU_ASSERT_EQUAL(if_nametoindex("rt0"), 0);
	holds_on("tap:rt0", -1);
	CU_ASSERT_EQUAL(if_nametoindex("rt0"), 0); /* I13 */
}

static void tap_persistent_stays(void)
{
	if (!tap_possible())
		return;
	struct rig rig;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_netbuf *second;
	CU_ASSERT_FATAL(run("ip tuntap add rt1 mode tap && ip link set rt1 up"));
	holds_on("tap:rt1", -1);
	CU_ASSERT(if_nametoindex("rt1") > 0);

	rig_lay(&rig);
	rig_open(&rig, "tap:rt1", 0, 0);
	struct remus_netbuf_config config = rig_config(&rig, "tap:rt1");
	strcat(config.nic.host_path, "2");
	CU_ASSERT_EQUAL(remus_netbuf_hold.open(&config, &second, &err), -EBUSY);
	UNIT_ASSERT_MESSAGE(err, "another process");
	config.egress = "tap:egr0";
	CU_ASSERT_EQUAL(remus_netbuf_hold.open(&config, &second, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "no single-queue tap");
	rig_close(&rig);
	CU_ASSERT(run("ip link del rt1"));
}

/* Last, since the interfaces go: the hold neither spins nor falls. */
static void interface_that_vanishes(void)
{
	struct rig rig;

	rig_lay(&rig);
	rig_open(&rig, "packet:egr0", 0, 0);
	RIG_DO(&rig, pass);
	CU_ASSERT_FATAL(run("ip link del egr0"));
	guest_sends(&rig, 1, 3, 60);
	RIG_WAIT(&rig, dropped_packets, 3);
	rig_close(&rig);
}

static const struct unit_case cases[] = {
	{"packet holds", packet_holds},
	{"packet keeps VLAN tags", packet_keeps_vlan_tags},
	{"packet finishes checksums", packet_finishes_checksums},
	{"packet refused for good", packet_refused_for_good},
	{"tap made and removed", tap_made_and_removed},
	{"tap that was there stays", tap_persistent_stays},
	{"interface that vanishes", interface_that_vanishes},
};

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return done;
}

/* A namespace of our own: as root, or as root of a user namespace of our own. */
static bool enter_namespace(void)
{
	char map[64];
	unsigned uid = getuid(), gid = getgid();

	if (!unshare(CLONE_NEWNET))
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	snprintf(map, sizeof map, "0 %u 1", uid);
	bool mapped = write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/uid_map", map);
	snprintf(map, sizeof map, "0 %u 1", gid);
	return mapped && write_text("/proc/self/gid_map", map);
}

int main(void)
{
	if (!enter_namespace()) {
		printf("SKIP: no network namespace to be had: %s\n", strerror(errno));
		return UNIT_SKIP;
	}
	if (!run("ip link add egr0 type veth peer name far0 && ip addr add 192.0.2.1/24 dev far0 && "
		 "ip link set egr0 up && ip link set far0 up && "
		 "ip neigh add 192.0.2.2 lladdr 52:54:00:12:34:56 dev far0")) {
		printf("SKIP: no veth pair to be had (iproute2, the veth module)\n");
		return UNIT_SKIP;
	}
	return unit_main("egress-net", cases, REMUS_ARRAY_SIZE(cases));
}
