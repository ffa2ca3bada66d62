/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keys in a folder of their own, and two ends that shake hands over a socketpair, each in a thread. */
#ifndef REMUS_TEST_TLS_PAIR_H
#define REMUS_TEST_TLS_PAIR_H

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "remus/tls.h"
#include "unit.h"

#define TLS_TEST_KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* A folder for keys, in the place of the test's own; removed by tls_pair_remove(). */
static inline void tls_pair_folder(char out[32])
{
	strcpy(out, "/tmp/remus-tls-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(out));
}

static inline void tls_pair_write(const char *dir, const char *name, const char *text, mode_t mode)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs(text, f);
	fchmod(fileno(f), mode);
	fclose(f);
}

static inline void tls_pair_remove(const char *dir)
{
	static const char *const names[] = {"psk", "ca.pem", "host.pem", "peers"};
	char path[128];

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		unlink(path);
	}
	CU_ASSERT_EQUAL(rmdir(dir), 0);
}

static inline struct remus_tls *tls_pair_load(const char *dir)
{
	struct remus_tls *tls = NULL;
	struct remus_error err = REMUS_ERROR_INIT;

	if (remus_tls_load(dir, &tls, &err))
		printf("\n    %s\n", err.message);
	CU_ASSERT_PTR_NOT_NULL_FATAL(tls);
	return tls;
}

struct tls_end {
	int fd, rc;
	const struct remus_tls *tls;
	const char *peer, *host; /* host NULL: the server */
	unsigned ms;
	struct remus_transport *transport;
	struct remus_error err;
};

static inline void *tls_end_run(void *context)
{
	struct tls_end *e = context;
	struct remus_transport *lower = NULL;
	uint64_t until = remus_now_us() + (e->ms ? e->ms : 20000u) * UINT64_C(1000);

	e->rc = remus_transport_tcp(e->fd, &lower, &e->err);
	if (!e->rc)
		e->rc = e->host ? remus_transport_tls_connect(lower, e->tls, e->peer, e->host, until,
							      &e->transport, &e->err)
				: remus_transport_tls_accept(lower, e->tls, until, &e->transport, &e->err);
	return NULL;
}

/* Both ends at once; what came of it is in them. */
static inline void tls_pair_shake(struct tls_end *client, struct tls_end *server)
{
	pthread_t thread;

	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, tls_end_run, server), 0);
	tls_end_run(client);
	pthread_join(thread, NULL);
}

/* Two ends with the same key, which outlives them. */
static inline void tls_pair_psk(int fd[2], struct remus_transport **a, struct remus_transport **b)
{
	static struct remus_tls *tls;
	struct tls_end client = {.fd = fd[0], .host = "b"}, server = {.fd = fd[1]};
	char dir[32];

	if (!tls) {
		tls_pair_folder(dir);
		tls_pair_write(dir, "psk", "remus:" TLS_TEST_KEY "\n", 0600);
		tls = tls_pair_load(dir);
		tls_pair_remove(dir);
	}
	client.tls = server.tls = tls;
	tls_pair_shake(&client, &server);
	if (client.rc || server.rc)
		printf("\n    %s%s\n", client.err.message, server.err.message);
	CU_ASSERT_FATAL(!client.rc && !server.rc);
	*a = client.transport;
	*b = server.transport;
}

#endif
