/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `xl remus` needs to be measured: its stream carried over plain TCP (its own way is ssh, whose cipher would
 * be most of what an emulated processor does), and its log with times.
 *
 * The accepting side asks TCP to probe a silent peer every second: `xl migrate-receive` knows its peer is gone only
 * by the end of the stream, and a host that lost its power sends none. This is the best case for xl.
 */
#include "agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIPE_BYTES   (1 << 20)
#define PROBE_AFTER  1 /* s of silence */
#define PROBE_EVERY  1 /* s */
#define PROBES_UNMET 2 /* until the peer counts as dead */

/* Move what is there from @from to @to, one of them a pipe; bytes, 0 at the end. */
static ssize_t move(int from, int to)
{
	ssize_t n = splice(from, NULL, to, NULL, PIPE_BYTES, SPLICE_F_MOVE);
	if (n >= 0 || errno != EINVAL)
		return n;
	char data[65536]; /* neither is a pipe */
	n = read(from, data, sizeof data);
	return n > 0 && agent_write_all(to, data, (size_t)n) < 0 ? -1 : n;
}

int relay_connect(const char *address, uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	int peer = socket(AF_INET, SOCK_STREAM, 0);
	if (peer < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
	    connect(peer, (struct sockaddr *)&to, sizeof to) < 0)
		agent_fail(address);
	setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	fcntl(0, F_SETPIPE_SZ, PIPE_BYTES);
	struct pollfd p[] = {{0, POLLIN, 0}, {peer, POLLIN, 0}};
	while (p[1].fd >= 0) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			agent_fail("poll");
		if (p[0].revents && move(0, peer) <= 0) {
			shutdown(peer, SHUT_WR);
			p[0].fd = -1;
		}
		if (p[1].revents && move(peer, 1) <= 0)
			p[1].fd = -1;
	}
	return 0;
}

int relay_accept(uint16_t port, char **command)
{
	int listener = agent_listen(port);
	int peer = accept(listener, NULL, NULL);
	if (peer < 0)
		agent_fail("accept");
	close(listener);
	const struct {
		int level, name, value;
	} options[] = {{IPPROTO_TCP, TCP_NODELAY, 1},
		       {SOL_SOCKET, SO_KEEPALIVE, 1},
		       {IPPROTO_TCP, TCP_KEEPIDLE, PROBE_AFTER},
		       {IPPROTO_TCP, TCP_KEEPINTVL, PROBE_EVERY},
		       {IPPROTO_TCP, TCP_KEEPCNT, PROBES_UNMET}};
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		if (setsockopt(peer, options[i].level, options[i].name, &options[i].value, sizeof(int)) < 0)
			agent_fail("setsockopt");
	dup2(peer, 0);
	dup2(peer, 1);
	execvp(command[0], command);
	agent_fail(command[0]);
}

int relay_stamp(void)
{
	char *line = NULL;
	size_t size = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (getline(&line, &size, stdin) > 0)
		printf("%llu %s", (unsigned long long)agent_now_ns() / 1000, line);
	free(line);
	return 0;
}
