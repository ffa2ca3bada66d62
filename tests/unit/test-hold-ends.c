// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The userspace hold and its ends: a network or a guest that doesn't read, isn't there or comes back, sockets of
 * the dead and the living, and what can't be opened at all.
 */
#include "config.h"
#include "hold-rig.h"

#include <fcntl.h>

/* The network doesn't read: its socket fills, frames wait, those that follow wait behind them. */
static void full_egress_keeps_order(void)
{
	struct rig rig;
	unsigned count = 3000;

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	RIG_DO(&rig, pass);
	RIG_DO(&rig, hold);
	for (unsigned i = 0; i < count; i += 10)
		rig_guest_sends(&rig, i, 10);
	RIG_DO(&rig, seal, 1);
	RIG_DO(&rig, release, 1);
	rig_guest_sends(&rig, count, 5); /* of epoch 2: not to leave with the rest */
	RIG_WAIT(&rig, accepted_packets, count + 5);
	CU_ASSERT(rig_stats(&rig).held_packets > 5);
	RIG_DO(&rig, seal, 2);
	rig_expect(rig.net, 0, count);
	RIG_WAIT(&rig, released_packets, count);
	CU_ASSERT(rig_silent(rig.net));
	RIG_DO(&rig, pass);
	rig_expect(rig.net, count, 5);
	CU_ASSERT_EQUAL(rig_stats(&rig).dropped_packets, 0);
	rig_close(&rig);
}

static void egress_that_refuses(void)
{
	struct rig rig;

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	RIG_DO(&rig, pass);
	RIG_DO(&rig, hold);
	rig_guest_sends(&rig, 1, 5);
	RIG_DO(&rig, seal, 1);
	close(rig.net);
	RIG_DO(&rig, release, 1);
	RIG_WAIT(&rig, dropped_packets, 5);
	CU_ASSERT_EQUAL(rig_stats(&rig).held_packets, 0);
	CU_ASSERT_EQUAL(rig_stats(&rig).released_packets, 0);
	rig.net = rig_bind(rig.net_path); /* a switch that was started again */
	rig_guest_sends(&rig, 6, 1);
	RIG_DO(&rig, seal, 2);
	RIG_DO(&rig, release, 2);
	rig_expect(rig.net, 6, 1);
	rig_close(&rig);
}

/* A stopped guest reads nothing for a while, a missing one never will. */
static void guest_that_does_not_read(void)
{
	struct rig rig;
	uint8_t frame[60];

	rig_lay(&rig);
	rig_open(&rig, NULL, 0, 0);
	RIG_DO(&rig, pass);
	for (uint64_t i = 0; i < 20; i++) { /* twice what the guest's socket takes by default */
		rig_frame(frame, sizeof frame, 0x0800, i);
		CU_ASSERT_FATAL(rig_send(rig.net, rig.bind_path, frame, sizeof frame));
	}
	rig_expect(rig.guest, 0, 20); /* in order, none missing */
	close(rig.guest);
	unlink(rig.guest_path);
	for (uint64_t i = 0; i < 40; i++) /* falls on the floor, and doesn't block anybody */
		CU_ASSERT_FATAL(rig_send(rig.net, rig.bind_path, frame, sizeof frame));
	rig.guest = rig_bind(rig.guest_path);
	uint64_t number = UINT64_MAX;
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	strcpy(to.sun_path, rig.bind_path);
	rig_frame(frame, sizeof frame, 0x0800, 99);
	for (int i = 0; i < 1000 && number != 99; i++) { /* behind what was still on its way */
		sendto(rig.net, frame, sizeof frame, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to);
		number = rig_number(rig.guest);
	}
	CU_ASSERT_EQUAL(number, 99);
	rig_close(&rig);
}

/* ---- sockets ---- */

static int try_open(struct rig *rig, const char *egress, struct remus_error *err)
{
	struct remus_netbuf_config config = rig_config(rig, egress);
	struct remus_netbuf *netbuf = NULL;
	int rc = remus_netbuf_hold.open(&config, &netbuf, err);
	if (!rc)
		netbuf->ops->close(netbuf);
	return rc;
}

static void host_socket_of_the_dead_and_the_living(void)
{
	struct rig rig;
	struct stat st;
	struct remus_error err = REMUS_ERROR_INIT;
	char egress[128];

	rig_lay(&rig);
	snprintf(egress, sizeof egress, "unix:%s", rig.net_path);
	int other = rig_bind(rig.host_path);
	CU_ASSERT_EQUAL(try_open(&rig, egress, &err), -EBUSY);
	UNIT_ASSERT_MESSAGE(err, rig.host_path);
	UNIT_ASSERT_MESSAGE(err, "live process");
	CU_ASSERT_EQUAL(lstat(rig.host_path, &st), 0);

	close(other); /* killed: the name stays, nobody is behind it */
	CU_ASSERT_EQUAL(lstat(rig.host_path, &st), 0);
	CU_ASSERT_EQUAL(try_open(&rig, egress, &err), 0);
	CU_ASSERT(lstat(rig.host_path, &st) < 0);

	close(open(rig.host_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); /* a plain file is somebody's */
	CU_ASSERT_EQUAL(try_open(&rig, egress, &err), -EEXIST);
	CU_ASSERT_EQUAL(lstat(rig.host_path, &st), 0);
	unlink(rig.host_path);

	rig_open(&rig, NULL, 0, 0); /* displaced: somebody else's socket isn't ours to remove */
	unlink(rig.host_path);
	other = rig_bind(rig.host_path);
	rig.netbuf->ops->close(rig.netbuf);
	rig.netbuf = NULL;
	CU_ASSERT_EQUAL(lstat(rig.host_path, &st), 0);
	close(other);
	unlink(rig.host_path);
	rig_close(&rig);
}

static void refuses_what_it_cannot_hold(void)
{
	struct rig rig;
	struct remus_error err = REMUS_ERROR_INIT;
	char long_path[200] = "unix:/";
	memset(long_path + 6, 'x', sizeof long_path - 7);

	rig_lay(&rig);
	const struct {
		const char *egress;
		int code;
		const char *word;
	} bad[] = {
		{NULL, -EINVAL, "packet:IFNAME, tap:IFNAME, unix:PATH"},
		{"", -EINVAL, "packet:IFNAME"},
		{"packet", -EINVAL, "packet:IFNAME"},
		{"bridge:br0", -EINVAL, "packet:IFNAME"},
		{"packet:", -EINVAL, "1 to 15 bytes"},
		{"packet:0123456789abcdef", -EINVAL, "1 to 15 bytes"},
		{"tap:", -EINVAL, "1 to 15 bytes"},
		{"packet:remus-none", -ENODEV, "no interface remus-none"},
		{"packet:lo", 0, NULL}, /* down, or no Ethernet */
		{"unix:", -EINVAL, "empty"},
		{"unix:/x,fast", -EINVAL, "bind=PATH"},
		{"unix:/x,bind=", -EINVAL, "empty"},
		{"unix:/x,bind=/no/such/dir/s", -ENOENT, "/no/such/dir/s"},
		{long_path, -ENAMETOOLONG, "107 bytes"},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++) {
		err.message[0] = 0;
		int rc = try_open(&rig, bad[i].egress, &err);
		CU_ASSERT(rc < 0);
		if (bad[i].code)
			CU_ASSERT_EQUAL(rc, bad[i].code);
		UNIT_ASSERT_MESSAGE(err, bad[i].word ? bad[i].word : "lo");
	}
	struct remus_netbuf_config config = rig_config(&rig, "unix:/x");
	struct remus_netbuf *netbuf;
	config.nic.kind = REMUS_NIC_TAP;
	CU_ASSERT_EQUAL(remus_netbuf_hold.open(&config, &netbuf, &err), -ENOTSUP);
	UNIT_ASSERT_MESSAGE(err, "-netdev dgram");
	config = rig_config(&rig, "unix:/x");
	memset(config.nic.host_path, 'y', sizeof config.nic.host_path); /* not terminated */
	CU_ASSERT_EQUAL(remus_netbuf_hold.open(&config, &netbuf, &err), -ENAMETOOLONG);
	config = rig_config(&rig, "unix:/x");
	strcpy(config.nic.host_path, config.nic.guest_path);
	CU_ASSERT_EQUAL(remus_netbuf_hold.open(&config, &netbuf, &err), -EINVAL);
	rig_close(&rig);
}

static const struct unit_case cases[] = {
	{"full egress keeps order", full_egress_keeps_order},
	{"egress that refuses", egress_that_refuses},
	{"guest that does not read", guest_that_does_not_read},
	{"host socket of the dead and the living", host_socket_of_the_dead_and_the_living},
	{"refuses what it cannot hold", refuses_what_it_cannot_hold},
};
UNIT_MAIN("hold-ends", cases)
