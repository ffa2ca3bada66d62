/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who holds a TCP port: /proc/net/tcp and tcp6 name the inode of each listening socket, /proc/PID/fd the sockets
 * of each process that we may look into. Only asked when a port was refused to us; a guess is not given.
 */
#include <dirent.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>
#include "internal.h"

#define STATE_LISTEN 0x0au

/* Is @text, a local address as the tables have it (words in the host's byte order), in the way of @wanted? */
static bool conflicts(const char *text, const struct sockaddr *wanted)
{
	char hex[40] = "";

	if (!wanted || strspn(text, "0") == strlen(text))
		return true;
	if (wanted->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)wanted;
		snprintf(hex, sizeof hex, "%s%08X", strlen(text) > 8 ? "0000000000000000FFFF0000" : "",
			 v4->sin_addr.s_addr);
	} else if (wanted->sa_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const void *)wanted;
		uint32_t word[4];
		memcpy(word, &v6->sin6_addr, sizeof word);
		snprintf(hex, sizeof hex, "%08X%08X%08X%08X", word[0], word[1], word[2], word[3]);
	}
	return !strcasecmp(text, hex);
}

/* The inode of the socket that listens on @port in @table, 0 = none. */
static uint64_t inode_in(const char *table, const struct sockaddr *wanted, unsigned port)
{
	FILE *f = fopen(table, "re");
	char line[512], address[33];
	uint64_t found = 0;

	while (f && !found && fgets(line, sizeof line, f)) {
		unsigned local, state;
		uint64_t inode;
		/* sl: local:port remote:port state tx:rx tr:when retransmits uid timeout inode */
		if (sscanf(line, "%*d: %32[0-9A-Fa-f]:%x %*32[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %" SCNu64,
			   address, &local, &state, &inode) == 4 &&
		    local == port && state == STATE_LISTEN && conflicts(address, wanted))
			found = inode;
	}
	if (f)
		fclose(f);
	return found;
}

static bool holds(const char *pid, const char *want)
{
	char path[300], target[64];
	bool found = false;
	struct dirent *e;

	snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
	DIR *d = opendir(path);
	while (d && !found && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);
		if (n <= 0)
			continue;
		target[n] = 0;
		found = !strcmp(target, want);
	}
	if (d)
		closedir(d);
	return found;
}

static void name_of(const char *pid, char out[64])
{
	char path[64], name[32] = "a process";

	snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
	FILE *f = fopen(path, "re");
	if (f && fgets(name, sizeof name, f))
		name[strcspn(name, "\n")] = 0;
	if (f)
		fclose(f);
	snprintf(out, 64, "%s (pid %.20s)", name, pid);
}

void link_port_owner(const struct sockaddr *wanted, unsigned port, char out[64])
{
	uint64_t inode = inode_in("/proc/net/tcp6", wanted, port);
	char want[64];
	struct dirent *e;

	snprintf(out, 64, "another process (as root, ss -ltnp shows which)");
	if (!inode && !(inode = inode_in("/proc/net/tcp", wanted, port)))
		return;
	snprintf(want, sizeof want, "socket:[%" PRIu64 "]", inode);
	DIR *proc = opendir("/proc");
	while (proc && (e = readdir(proc)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && holds(e->d_name, want)) {
			name_of(e->d_name, out);
			break;
		}
	if (proc)
		closedir(proc);
}
