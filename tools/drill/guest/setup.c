/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an init has to do before the workload can run: pseudo file systems, the kernel modules that the drill
 * put into the initramfs (in the order of /modules/order), and eth0's addresses. Addresses get no duplicate
 * detection: the guest is up before its network is connected.
 */
#include "guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_vlan.h>
#include <linux/ipv6.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* a tunable this kernel does not have */
	if (write(fd, text, strlen(text)) < 0)
		printf("guest: cannot write %s: %s\n", path, strerror(errno));
	close(fd);
}

void setup_mounts(void)
{
	if (mount("proc", "/proc", "proc", 0, NULL) < 0)
		die("mount /proc");
	if (mount("sysfs", "/sys", "sysfs", 0, NULL) < 0)
		die("mount /sys");
	if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) < 0 && errno != EBUSY)
		die("mount /dev");
	/* The kernel opened /dev/console for us if the initramfs had one; be sure of it. */
	int console = open("/dev/console", O_RDWR);
	if (console >= 0) {
		for (int fd = 0; fd < 3; fd++)
			dup2(console, fd);
		if (console > 2)
			close(console);
	}
}

void setup_modules(void)
{
	FILE *order = fopen("/modules/order", "re");
	if (!order)
		return; /* everything is built in */
	char name[128], path[160];
	while (fscanf(order, "%127s", name) == 1) {
		snprintf(path, sizeof path, "/modules/%s", name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			die("open %s", path);
		if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
			die("load %s", path);
		close(fd);
	}
	fclose(order);
}

void setup_agent(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		execl("/agent", "remus-agent", "--foreground", (char *)NULL);
		_exit(127);
	}
}

const char *setup_argument(const char *name)
{
	static char line[4096], value[256];
	FILE *f = fopen("/proc/cmdline", "re");
	if (!f)
		return NULL;
	char *got = fgets(line, sizeof line, f);
	fclose(f);
	size_t length = strlen(name);
	for (char *word = got ? strtok(line, " \n") : NULL; word; word = strtok(NULL, " \n"))
		if (!strncmp(word, name, length) && word[length] == '=') {
			snprintf(value, sizeof value, "%s", word + length + 1);
			return strdup(value);
		}
	return NULL;
}

/* Splits "ADDRESS/PREFIX". */
static int split_prefix(const char *text, char *address, size_t size)
{
	snprintf(address, size, "%s", text);
	char *slash = strchr(address, '/');
	if (!slash) {
		errno = EINVAL;
		die("address %s has no prefix length", text);
	}
	*slash = 0;
	return atoi(slash + 1);
}

static void set_ip4(int fd, const char *interface, const char *text)
{
	char address[64];
	int prefix = split_prefix(text, address, sizeof address);
	struct ifreq request = {0};
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
	struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
	in->sin_family = AF_INET;
	if (inet_pton(AF_INET, address, &in->sin_addr) != 1 || ioctl(fd, SIOCSIFADDR, &request) < 0)
		die("set %s on %s", text, interface);
	in->sin_addr.s_addr = htonl(prefix ? ~0u << (32 - prefix) : 0);
	if (ioctl(fd, SIOCSIFNETMASK, &request) < 0)
		die("set the netmask of %s", interface);
}

static void set_ip6(const char *text)
{
	char address[64];
	struct in6_ifreq request = {.ifr6_prefixlen = (uint32_t)split_prefix(text, address, sizeof address)};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	request.ifr6_ifindex = (int)if_nametoindex("eth0");
	if (fd < 0 || inet_pton(AF_INET6, address, &request.ifr6_addr) != 1 ||
	    ioctl(fd, SIOCSIFADDR, &request) < 0)
		die("set %s on eth0", text);
	close(fd);
}

void setup_network(const char *ip4, const char *ip6)
{
	for (int i = 0; !if_nametoindex("eth0"); i++) {
		if (i == 2000)
			die("no eth0 within 20 s");
		usleep(10000);
	}
	write_file("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0");
	write_file("/proc/sys/net/ipv6/conf/eth0/dad_transmits", "0");
	write_file("/proc/sys/net/ipv6/conf/eth0/router_solicitations", "0");

	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		die("bring lo up");
	request = (struct ifreq){.ifr_name = "eth0", .ifr_flags = IFF_UP | IFF_BROADCAST | IFF_MULTICAST};
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		die("bring eth0 up");
	set_ip4(fd, "eth0", ip4);
	close(fd);
	set_ip6(ip6);
}

/* Linux breaks its virtio devices as it shuts down; frames under way then can keep the driver's softirq busy for ever. */
void setup_network_down(void)
{
	struct ifreq request = {.ifr_name = "eth0"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
}

void setup_vlan(int id, const char *ip4)
{
	struct vlan_ioctl_args add = {.cmd = ADD_VLAN_CMD, .device1 = "eth0", .u.VID = id};
	struct ifreq request = {.ifr_flags = IFF_UP | IFF_BROADCAST | IFF_MULTICAST};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* The kernel names it "eth0.10", or "vlan0010" and so on if it was told to: make sure of the former. */
	struct vlan_ioctl_args naming = {.cmd = SET_VLAN_NAME_TYPE_CMD,
					 .u.name_type = VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD};
	if (fd < 0 || ioctl(fd, SIOCSIFVLAN, &naming) < 0 || ioctl(fd, SIOCSIFVLAN, &add) < 0)
		die("add VLAN %d to eth0", id);
	snprintf(request.ifr_name, sizeof request.ifr_name, "eth0.%d", id);
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		die("bring %s up", request.ifr_name);
	set_ip4(fd, request.ifr_name, ip4);
	close(fd);
}
