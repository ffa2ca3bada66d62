/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remus-lab-agent: the hands of tools/lab inside a lab host's dom0. One static program, five jobs:
 *   serve PORT            runs commands for the lab (this file)
 *   connect ADDRESS PORT  stdin to a TCP connection, the connection to stdout (relay.c)
 *   accept PORT COMMAND…  one connection, COMMAND behind it (relay.c)
 *   stamp                 copies stdin to stdout, each line with the time it came at (relay.c)
 *   capture INTERFACE     which numbered frames came in there, and when (capture.c)
 *
 * A request is a line, then bytes:     RUN SECONDS SCRIPT-BYTES STDIN-BYTES\n script stdin
 * and is answered by blocks:           KIND BYTES\n then that many bytes
 * KIND: "o" and "e" are the command's two outputs, "x" is the last one, its exit status in digits: 124 when the
 * time was over, 128 + N when signal N ended it. The request "CLOCK\n" is answered by CLOCK_MONOTONIC and
 * CLOCK_REALTIME in ns.
 *
 * A command is over when the shell that runs it is: what it left in the background goes on and may keep the
 * outputs open. When the time is over, or the client leaves, the command's whole process group is killed.
 * There is no authentication: the port lies in a network that only the lab can reach.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SCRIPT_MAX (1u << 20)
#define STDIN_MAX  (1u << 30)
#define TIMED_OUT  124

void agent_fail(const char *what)
{
	fprintf(stderr, "remus-lab-agent: %s: %s\n", what, strerror(errno));
	exit(1);
}

uint64_t agent_now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int agent_write_all(int fd, const void *data, size_t bytes)
{
	const char *at = data;
	while (bytes) {
		ssize_t n = write(fd, at, bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		at += n;
		bytes -= (size_t)n;
	}
	return 0;
}

int agent_listen(uint16_t port)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
	    bind(fd, (struct sockaddr *)&any, sizeof any) < 0 || listen(fd, 16) < 0)
		agent_fail("listen");
	return fd;
}

static int read_all(int fd, char *data, size_t bytes)
{
	while (bytes) {
		ssize_t n = read(fd, data, bytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		data += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static void block(int client, char kind, const void *data, size_t bytes)
{
	char head[32];
	int n = snprintf(head, sizeof head, "%c %zu\n", kind, bytes);
	if (agent_write_all(client, head, (size_t)n) < 0 || agent_write_all(client, data, bytes) < 0)
		_exit(1);
}

/* Pass on what is there; false at the end of the output. */
static bool pass_on(int client, char kind, int fd)
{
	char data[65536];
	ssize_t n = read(fd, data, sizeof data);
	if (n > 0)
		block(client, kind, data, (size_t)n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

struct command {
	pid_t pid;
	int done, out, err; /* a pidfd, two pipes */
};

static struct command start(const char *script, int input)
{
	int out[2], err[2];
	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
		agent_fail("pipe");
	pid_t pid = fork();
	if (pid < 0)
		agent_fail("fork");
	if (!pid) {
		setpgid(0, 0);
		signal(SIGPIPE, SIG_DFL);
		dup2(input, 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		execl("/bin/bash", "bash", "-c", script, (char *)NULL);
		agent_fail("/bin/bash");
	}
	setpgid(pid, pid);
	close(out[1]);
	close(err[1]);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	int done = (int)syscall(SYS_pidfd_open, pid, 0);
	if (done < 0)
		agent_fail("pidfd_open");
	return (struct command){pid, done, out[0], err[0]};
}

/* Until the command ends; its status, or TIMED_OUT. */
static int follow(int client, struct command *c, uint64_t deadline)
{
	struct pollfd p[] = {
		{c->done, POLLIN, 0}, {c->out, POLLIN, 0}, {c->err, POLLIN, 0}, {client, POLLIN, 0}};
	int status = 0;
	for (;;) {
		uint64_t now = agent_now_ns();
		int n = now < deadline ? poll(p, 4, (int)((deadline - now) / 1000000 + 1)) : 0;
		if (n == 0 || p[3].revents) { /* the client only ever leaves */
			kill(-c->pid, SIGKILL);
			waitpid(c->pid, &status, 0);
			if (n)
				_exit(1);
			return TIMED_OUT;
		}
		if (p[1].revents && !pass_on(client, 'o', c->out))
			p[1].fd = -1;
		if (p[2].revents && !pass_on(client, 'e', c->err))
			p[2].fd = -1;
		if (p[0].revents && !(p[1].revents & POLLIN) && !(p[2].revents & POLLIN))
			break;
	}
	waitpid(c->pid, &status, 0);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void run(int client, unsigned seconds, size_t script_bytes, size_t stdin_bytes)
{
	char *script = calloc(1, script_bytes + 1);
	int input = memfd_create("stdin", 0);
	if (!script || input < 0 || read_all(client, script, script_bytes) < 0)
		_exit(1);
	for (char data[65536]; stdin_bytes;) {
		size_t n = stdin_bytes < sizeof data ? stdin_bytes : sizeof data;
		if (read_all(client, data, n) < 0 || agent_write_all(input, data, n) < 0)
			_exit(1);
		stdin_bytes -= n;
	}
	lseek(input, 0, SEEK_SET);
	struct command c = start(script, input);
	int status = follow(client, &c, agent_now_ns() + seconds * 1000000000ull);
	char text[16];
	block(client, 'x', text, (size_t)snprintf(text, sizeof text, "%d", status));
}

static void serve_one(int client)
{
	char line[128];
	size_t got = 0, script, input;
	unsigned seconds;
	while (got < sizeof line - 1 && read_all(client, line + got, 1) == 0 && line[got] != '\n')
		got++;
	line[got] = 0;
	if (!strcmp(line, "CLOCK")) {
		struct timespec wall;
		clock_gettime(CLOCK_REALTIME, &wall);
		dprintf(client, "%llu %lld%09ld\n", (unsigned long long)agent_now_ns(),
			(long long)wall.tv_sec, wall.tv_nsec);
	} else if (sscanf(line, "RUN %u %zu %zu", &seconds, &script, &input) == 3 && script <= SCRIPT_MAX &&
		   input <= STDIN_MAX)
		run(client, seconds, script, input);
	_exit(0);
}

static void __attribute__((noreturn)) serve(uint16_t port)
{
	int listener = agent_listen(port);
	signal(SIGCHLD, SIG_IGN); /* the connections' processes are not waited for */
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (client < 0)
			continue;
		setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		if (fork() == 0) {
			signal(SIGCHLD, SIG_DFL);
			serve_one(client);
		}
		close(client);
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve((uint16_t)atoi(argv[2]));
	if (argc == 4 && !strcmp(argv[1], "connect"))
		return relay_connect(argv[2], (uint16_t)atoi(argv[3]));
	if (argc > 3 && !strcmp(argv[1], "accept"))
		return relay_accept((uint16_t)atoi(argv[2]), argv + 3);
	if (argc == 2 && !strcmp(argv[1], "stamp"))
		return relay_stamp();
	if (argc == 3 && !strcmp(argv[1], "capture"))
		return capture_run(argv[2]);
	fprintf(stderr,
		"usage: %s serve PORT | connect ADDRESS PORT | accept PORT COMMAND... | stamp | capture "
		"INTERFACE\n",
		argv[0]);
	return 2;
}
