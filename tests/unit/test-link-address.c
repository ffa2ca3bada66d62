/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses, connecting and listening: what an operator mistypes is answered with what to do about it. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include "link_pair.h"

static void parse(void)
{
	static const struct {
		const char *text, *host, *port;
	} good[] = {
		{"backup", "backup", "7368"},
		{"backup:1", "backup", "1"},
		{"10.0.0.2:65535", "10.0.0.2", "65535"},
		{"[::1]", "::1", "7368"},
		{"[fe80::1%eth0]:99", "fe80::1%eth0", "99"},
		{":7000", "", "7000"},
		{"[::]:0", "::", "0"},
	};
	static const struct {
		const char *text, *word;
	} bad[] = {
		{"", "empty"},
		{"fe80::1", "brackets"},
		{"fe80::1:7368", "brackets"},
		{"[::1", "[IPV6]:PORT"},
		{"[]:1", "[IPV6]:PORT"},
		{"[::1]7368", "after the bracket"},
		{"host:", "no TCP port"},
		{"host:65536", "65536"},
		{"host:123456", "no TCP port"},
		{"host:-1", "no TCP port"},
		{"host: 1", "no TCP port"},
		{"host:ssh", "\"ssh\""},
		{"ho st:1", "host name"},
		{"host/path", "'/'"},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(good); i++) {
		char *host = NULL, *port = NULL;
		CU_ASSERT_EQUAL_FATAL(remus_link_parse_address(good[i].text, &host, &port, NULL), 0);
		CU_ASSERT_STRING_EQUAL(host, good[i].host);
		CU_ASSERT_STRING_EQUAL(port, good[i].port);
		free(host);
		free(port);
	}
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++) {
		char *host = NULL, *port = NULL;
		struct remus_error err = REMUS_ERROR_INIT;
		CU_ASSERT_EQUAL(remus_link_parse_address(bad[i].text, &host, &port, &err), -EINVAL);
		UNIT_ASSERT_MESSAGE(err, bad[i].word);
		CU_ASSERT_PTR_NULL(host);
	}
}

/* The port that @fd is bound to, as text. */
static const char *port_of(int fd)
{
	static char text[8];
	struct sockaddr_storage a;
	socklen_t n = sizeof a;

	memset(&a, 0, sizeof a);
	CU_ASSERT_EQUAL(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	snprintf(text, sizeof text, "%u",
		 ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
					       : ((struct sockaddr_in *)&a)->sin_port));
	return text;
}

static void connect_and_accept(void)
{
	static const struct {
		const char *listen, *connect, *peer;
	} table[] = {
		{"127.0.0.1", "127.0.0.1", "127.0.0.1:"},
		{NULL, "127.0.0.1", "127.0.0.1:"},
		{"", "localhost", ":"},
	};
	/* a machine without /etc/hosts knows no names */
	struct addrinfo *found = NULL;
	size_t cases = REMUS_ARRAY_SIZE(table) - (getaddrinfo("localhost", NULL, NULL, &found) != 0);
	if (found)
		freeaddrinfo(found);
	for (size_t i = 0; i < cases; i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_link *a = NULL;
		struct remus_frame got;
		int listener = remus_link_listen(table[i].listen, "0", &err);
		if (listener < 0)
			CU_FAIL_FATAL(err.message);
		int rc = remus_link_connect(table[i].connect, port_of(listener), NULL, &a, &err);
		if (rc)
			printf("\n    %s\n", err.message);
		CU_ASSERT_EQUAL_FATAL(rc, 0);
		struct remus_link *b = pair_link(accept(listener, NULL, NULL), NULL);
		CU_ASSERT_PTR_NOT_NULL(strstr(remus_link_peer(a), table[i].peer));
		CU_ASSERT_PTR_NOT_NULL(strstr(remus_link_peer(a), port_of(listener)));
		CU_ASSERT_EQUAL(pair_send(a, REMUS_FRAME_HELLO, 0, "hi", 2, &err), 0);
		CU_ASSERT_EQUAL_FATAL(pair_await(b, &got, &err), 1);
		free(got.payload);
		remus_link_close(a);
		remus_link_close(b);
		close(listener);
	}
}

static void connect_errors(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_link *link = NULL;
	char port[8], me[32];

	/* bound, not listening: nobody else can take the port meanwhile */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	snprintf(port, sizeof port, "%s", port_of(fd));
	CU_ASSERT_EQUAL(remus_link_connect("127.0.0.1", port, NULL, &link, &err), -ECONNREFUSED);
	UNIT_ASSERT_MESSAGE(err, "cannot connect to 127.0.0.1 port");
	UNIT_ASSERT_MESSAGE(err, port);
	UNIT_ASSERT_MESSAGE(err, "is remusd running there");

	/* a full backlog drops the SYN, as a firewall does */
	CU_ASSERT_EQUAL_FATAL(listen(fd, 0), 0);
	int filler[2];
	struct sockaddr_in there;
	socklen_t n = sizeof there;
	getsockname(fd, (struct sockaddr *)&there, &n);
	for (int i = 0; i < 2; i++) {
		filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(filler[i], (struct sockaddr *)&there, n);
	}
	struct remus_link_config hasty = {.connect_ms = 200};
	CU_ASSERT_EQUAL(remus_link_connect("127.0.0.1", port, &hasty, &link, &err), -ETIMEDOUT);
	UNIT_ASSERT_MESSAGE(err, "firewall");
	close(filler[0]);
	close(filler[1]);

	snprintf(me, sizeof me, "(pid %d)", (int)getpid());
	CU_ASSERT_EQUAL(remus_link_listen("127.0.0.1", port, &err), -EADDRINUSE);
	UNIT_ASSERT_MESSAGE(err, port);
	UNIT_ASSERT_MESSAGE(err, "port taken by");
	UNIT_ASSERT_MESSAGE(err, me);
	close(fd);

	static const struct {
		const char *host, *port, *word;
	} bad[] = {
		{"", "7368", "no host"},
		{NULL, "7368", "no host"},
		{"127.0.0.1", "0", "no TCP port"},
		{"127.0.0.1", "remus", "\"remus\""},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++) {
		CU_ASSERT_EQUAL(remus_link_connect(bad[i].host, bad[i].port, NULL, &link, &err), -EINVAL);
		UNIT_ASSERT_MESSAGE(err, bad[i].word);
	}
	/* with or without a name server: an error that names the name, within the deadline */
	CU_ASSERT(remus_link_connect("no-such-host.invalid", "7368", &hasty, &link, &err) < 0);
	UNIT_ASSERT_MESSAGE(err, "no-such-host.invalid");
	CU_ASSERT_PTR_NULL(link);
}

static void listen_errors(void)
{
	struct remus_error err = REMUS_ERROR_INIT;

	CU_ASSERT_EQUAL(remus_link_listen(NULL, "70000", &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "70000");
	CU_ASSERT_EQUAL(remus_link_listen("192.0.2.1", "0", &err), -EADDRNOTAVAIL); /* TEST-NET-1, nobody's */
	UNIT_ASSERT_MESSAGE(err, "192.0.2.1");
	UNIT_ASSERT_MESSAGE(err, "no such address");
}

static void bad_starts(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_transport *t = NULL;
	struct remus_link *link = NULL;
	struct remus_link_config hectic = {.heartbeat_ms = 100, .dead_ms = 199};
	int fd[2];

	CU_ASSERT_EQUAL_FATAL(pipe(fd), 0);
	CU_ASSERT_EQUAL(remus_transport_tcp(fd[0], &t, &err), -ENOTSOCK);
	CU_ASSERT_EQUAL(close(fd[0]), -1); /* owned, also on failure */
	close(fd[1]);
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
	CU_ASSERT_EQUAL(remus_transport_tcp(fd[0], &t, &err), -EINVAL);
	close(fd[1]);
	pair_sockets(fd);
	CU_ASSERT_EQUAL_FATAL(remus_transport_tcp(fd[0], &t, &err), 0);
	CU_ASSERT_EQUAL(remus_link_start(t, &hectic, &link, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "two heartbeats of 100 ms");
	CU_ASSERT_EQUAL(close(fd[0]), -1);
	close(fd[1]);
	remus_link_close(NULL);
}

static const struct unit_case cases[] = {
	{"parse", parse},
	{"connect and accept", connect_and_accept},
	{"connect errors", connect_errors},
	{"listen errors", listen_errors},
	{"bad starts", bad_starts},
};
UNIT_MAIN("link-address", cases)
