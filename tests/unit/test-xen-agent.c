/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two letter boxes in xenstore, with both of the ends that ship: the host's, over calls of libxenstore that are
 * answered here, and the agent's, over packets that a thread answers as the guest's kernel would. The values are in
 * between. Then the packets out of shape.
 */
#include "replicator/domain/xen/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "remus/renewal.h"
#include "remus/util.h"
#include "tools/remus-agent/transport.h"
#include "tools/remus-agent/xenwire.h"
#include "unit.h"

#define DOMID  7
#define DOMAIN "/local/domain/7"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	char value[2][4097]; /* request, reply */
	bool there[2];
	bool host_watch, host_fired, refuses;
	int host_fd;
	int kernel; /* the device's other end */
	bool guest_watch[2];
	unsigned writes[2];
	bool destroyed, domain_removed;
	const char *overwrite; /* what the guest puts over the next letter that is being taken out */
	bool in_transaction, conflict;
	bool taken_at_once; /* the host empties the reply right after the guest has next read it */
	bool corked;	    /* packets go out together */
	uint8_t cork[4 * XENWIRE_PAYLOAD];
	size_t cork_bytes;
} store;

static const char *const name[2] = {REMUS_AGENT_REQUEST, REMUS_AGENT_REPLY};
static const char *const token[2] = {"request", "reply"};

static void packet(uint32_t type, uint32_t request, const char *body, size_t bytes)
{
	uint8_t out[XENWIRE_HEADER + XENWIRE_PAYLOAD];

	remus_put_le32(out, type);
	remus_put_le32(out + 4, request);
	remus_put_le32(out + 8, 0);
	remus_put_le32(out + 12, (uint32_t)bytes);
	memcpy(out + XENWIRE_HEADER, body, bytes);
	if (store.corked) {
		memcpy(store.cork + store.cork_bytes, out, XENWIRE_HEADER + bytes);
		store.cork_bytes += XENWIRE_HEADER + bytes;
	} else if (write(store.kernel, out, XENWIRE_HEADER + bytes) < 0) {
		perror("packet");
	}
}

static void uncork(void)
{
	store.corked = false;
	if (write(store.kernel, store.cork, store.cork_bytes) < 0)
		perror("packets");
	store.cork_bytes = 0;
}

static void fire(int node)
{
	char body[128];
	int n = snprintf(body, sizeof body, "%s%c%s%c", name[node], 0, token[node], 0);

	if (store.guest_watch[node])
		packet(XENWIRE_EVENT, 0, body, (size_t)n);
	if (node == 1 && store.host_watch) {
		store.host_fired = true;
		eventfd_write(store.host_fd, 1);
	}
}

static void put(int node, const void *data, unsigned bytes)
{
	memcpy(store.value[node], data, bytes);
	store.value[node][bytes] = 0;
	store.there[node] = true;
	store.writes[node]++;
	fire(node);
}

/* ---- libxenstore, as far as the host's end calls it ---- */

static int node_of(const char *path)
{
	for (int i = 0; i < 2; i++) {
		char whole[64];
		snprintf(whole, sizeof whole, "/local/domain/%d/%s", DOMID, name[i]);
		if (!strcmp(path, whole))
			return i;
	}
	CU_FAIL("a path that nobody speaks of");
	return 0;
}

struct xs_handle *xs_open(unsigned long flags)
{
	store.host_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return (struct xs_handle *)&store;
}
void xs_close(struct xs_handle *h)
{
	close(store.host_fd);
	store.host_watch = false;
}
int xs_fileno(struct xs_handle *h)
{
	return store.host_fd;
}
bool xs_watch(struct xs_handle *h, const char *path, const char *tok)
{
	pthread_mutex_lock(&lock);
	CU_ASSERT_EQUAL(node_of(path), 1);
	store.host_watch = true;
	store.host_fired = true;
	pthread_mutex_unlock(&lock);
	return true;
}
char **xs_check_watch(struct xs_handle *h)
{
	eventfd_t count;

	pthread_mutex_lock(&lock);
	bool fired = store.host_fired;
	store.host_fired = false;
	eventfd_read(store.host_fd, &count);
	pthread_mutex_unlock(&lock);
	return fired ? malloc(1) : NULL;
}
void *xs_read(struct xs_handle *h, xs_transaction_t t, const char *path, unsigned *bytes)
{
	if (!strcmp(path, DOMAIN "/name")) {
		errno = ENOENT;
		return store.destroyed ? NULL : strdup("alice");
	}
	pthread_mutex_lock(&lock);
	int node = node_of(path);
	char *copy = store.there[node] ? strdup(store.value[node]) : NULL;
	*bytes = copy ? (unsigned)strlen(copy) : 0;
	if (copy && *copy && store.overwrite) {
		put(node, store.overwrite, (unsigned)strlen(store.overwrite));
		store.overwrite = NULL;
		store.conflict = store.in_transaction;
	}
	pthread_mutex_unlock(&lock);
	return copy;
}
bool xs_write(struct xs_handle *h, xs_transaction_t t, const char *path, const void *data, unsigned bytes)
{
	pthread_mutex_lock(&lock);
	if (!store.conflict) /* else its transaction fails, and comes to nothing */
		put(node_of(path), data, bytes);
	pthread_mutex_unlock(&lock);
	return true;
}
xs_transaction_t xs_transaction_start(struct xs_handle *h)
{
	store.in_transaction = true;
	return 1;
}
bool xs_transaction_end(struct xs_handle *h, xs_transaction_t t, bool abort)
{
	bool good = !store.conflict;

	store.in_transaction = store.conflict = false;
	return good || abort;
}
bool xs_rm(struct xs_handle *h, xs_transaction_t t, const char *path)
{
	pthread_mutex_lock(&lock);
	if (!strcmp(path, DOMAIN))
		store.domain_removed = true;
	else
		store.there[node_of(path)] = false;
	pthread_mutex_unlock(&lock);
	return true;
}

/* ---- the guest's kernel ---- */

static void on_request(const uint8_t *in, uint32_t type, uint32_t id, uint32_t length)
{
	const char *path = (const char *)in;
	size_t rest = length - strlen(path) - 1;
	int node = strcmp(path, name[0]) ? 1 : 0;

	if (strcmp(path, name[node])) {
		packet(XENWIRE_ERROR, id, "ENOENT", 7);
	} else if (type == XENWIRE_WATCH) {
		store.guest_watch[node] = true;
		packet(XENWIRE_WATCH, id, "OK", 3);
		fire(node);
	} else if (type == XENWIRE_READ && store.there[node]) {
		store.corked = store.taken_at_once && node == 1;
		packet(XENWIRE_READ, id, store.value[node], strlen(store.value[node]));
		if (store.corked) {
			store.taken_at_once = false;
			put(1, "", 0);
			uncork();
		}
	} else if (type == XENWIRE_READ) {
		packet(XENWIRE_ERROR, id, "ENOENT", 7);
	} else if (store.refuses) {
		packet(XENWIRE_ERROR, id, "EACCES", 7);
	} else {
		put(node, in + strlen(path) + 1, (unsigned)rest);
		packet(XENWIRE_WRITE, id, "OK", 3);
	}
}

static bool read_whole(int fd, uint8_t *to, size_t bytes)
{
	while (bytes) {
		ssize_t n = read(fd, to, bytes);
		if (n <= 0)
			return false;
		to += n;
		bytes -= (size_t)n;
	}
	return true;
}

static void *kernel_main(void *context)
{
	uint8_t in[XENWIRE_HEADER + XENWIRE_PAYLOAD + 1];

	while (read_whole(store.kernel, in, XENWIRE_HEADER)) {
		uint32_t length = remus_get_le32(in + 12);
		if (length > XENWIRE_PAYLOAD || !read_whole(store.kernel, in + XENWIRE_HEADER, length))
			break;
		in[XENWIRE_HEADER + length] = 0;
		pthread_mutex_lock(&lock);
		on_request(in + XENWIRE_HEADER, remus_get_le32(in), remus_get_le32(in + 4), length);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

/* ---- a host and a guest ---- */

static struct remus_xen_agent host;
static struct remus_channel *channel;
static struct transport *guest;
static pthread_t kernel;

static void begin(void)
{
	int ends[2];
	char why[REMUS_TEXT_MAX];
	struct remus_error err = REMUS_ERROR_INIT;

	memset(&store, 0, sizeof store);
	CU_ASSERT_FATAL(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	store.kernel = ends[1];
	CU_ASSERT_FATAL(!pthread_create(&kernel, NULL, kernel_main, NULL));
	channel = remus_xen_agent_open(&host, DOMID, why);
	CU_ASSERT_PTR_NOT_NULL_FATAL(channel);
	CU_ASSERT_PTR_EQUAL(remus_xen_agent_open(&host, DOMID, why), channel);
	CU_ASSERT_EQUAL_FATAL(transport_xenstore_attach(ends[0], &guest, &err), 0);
}

static void end(void)
{
	guest->ops->close(guest);
	pthread_join(kernel, NULL);
	close(store.kernel);
	remus_xen_agent_close(&host);
	CU_ASSERT(store.destroyed ? store.domain_removed : !store.there[0]); /* I13 */
	CU_ASSERT_EQUAL(store.domain_removed, store.destroyed);
	remus_xen_agent_close(&host);
}

/* What the guest hears next, within a second. */
static ssize_t hear(char *out, size_t size)
{
	struct remus_error err = REMUS_ERROR_INIT;

	for (int i = 0; i < 1000; i++) {
		ssize_t n = guest->ops->read(guest, out, size, &err);
		if (n)
			return n;
		struct pollfd fd = {.fd = guest->ops->fd(guest), .events = POLLIN};
		poll(&fd, 1, 1);
	}
	return 0;
}

/* What the host hears next, within a second. */
static size_t host_hears(char *out, size_t size)
{
	for (int i = 0; i < 1000; i++) {
		size_t n = channel->ops->receive(channel, out, size);
		if (n)
			return n;
		struct pollfd fd = {.fd = channel->ops->fd(channel), .events = POLLIN};
		poll(&fd, 1, 1);
		char none[64];
		guest->ops->read(guest, none, sizeof none,
				 NULL); /* as the agent's loop does when its device wakes it */
	}
	return 0;
}

static void letters_go_both_ways(void)
{
	char out[4096];

	begin();
	for (int i = 0; i < 20; i++) {
		char line[32];
		size_t n = (size_t)snprintf(line, sizeof line, "question %d\n", i);
		channel->ops->send(channel, line, n);
		CU_ASSERT_EQUAL(hear(out, sizeof out), (ssize_t)n);
		CU_ASSERT(!memcmp(out, line, n));
		CU_ASSERT_STRING_EQUAL(store.value[0], ""); /* taken */
		CU_ASSERT_EQUAL(guest->ops->write(guest, line, n, NULL), 0);
		CU_ASSERT_EQUAL(host_hears(out, sizeof out), n);
		CU_ASSERT(!memcmp(out, line, n));
		CU_ASSERT_STRING_EQUAL(store.value[1], "");
	}
	end();
}

/* Its nodes were removed before a letter was put down: what that made anew goes with the channel. */
static void letters_to_a_destroyed_guest(void)
{
	begin();
	store.destroyed = true;
	channel->ops->send(channel, "hello\n", 6);
	CU_ASSERT(store.there[0]);
	end();
}

/* The guest's patience ends while its letter is being taken out: both arrive. */
static void a_letter_over_another(void)
{
	char out[64];

	begin();
	guest->ops->write(guest, "one\n", 4, NULL);
	store.overwrite = "two";
	CU_ASSERT_EQUAL(channel->ops->receive(channel, out, sizeof out), 4);
	CU_ASSERT(!memcmp(out, "one\n", 4));
	CU_ASSERT_EQUAL(channel->ops->receive(channel, out, sizeof out), 4);
	CU_ASSERT(!memcmp(out, "two\n", 4));
	CU_ASSERT_EQUAL(channel->ops->receive(channel, out, sizeof out), 0);
	end();
}

/* That the box is empty is told right behind the answer that it was full: nothing wakes the guest for that again. */
static void a_word_behind_an_answer(void)
{
	char out[64];

	begin();
	guest->ops->write(guest, "one\n", 4, NULL);
	guest->ops->write(guest, "two\n", 4, NULL);
	pthread_mutex_lock(&lock);
	store.taken_at_once = true;
	fire(1); /* so that it looks */
	pthread_mutex_unlock(&lock);
	CU_ASSERT_EQUAL(guest->ops->read(guest, out, sizeof out, NULL), 0);
	pthread_mutex_lock(&lock);
	CU_ASSERT_STRING_EQUAL(store.value[1], "two");
	pthread_mutex_unlock(&lock);
	end();
}

/* Three letters at once: the box holds one, none is lost. */
static void letters_wait_for_the_box(void)
{
	char out[4096];

	begin();
	guest->ops->write(guest, "one\n", 4, NULL);
	guest->ops->write(guest, "two\n", 4, NULL);
	guest->ops->write(guest, "three\n", 6, NULL);
	CU_ASSERT_STRING_EQUAL(store.value[1], "one");
	CU_ASSERT_EQUAL(host_hears(out, sizeof out), 4);
	CU_ASSERT(!memcmp(out, "one\n", 4));
	CU_ASSERT_EQUAL(host_hears(out, sizeof out), 4);
	CU_ASSERT(!memcmp(out, "two\n", 4));
	CU_ASSERT_EQUAL(host_hears(out, sizeof out), 6);
	CU_ASSERT(!memcmp(out, "three\n", 6));
	end();
}

/* The guest wakes up on another host: its letters are not there, and its watches fire. */
static void letters_of_another_host(void)
{
	char out[4096];

	begin();
	guest->ops->write(guest, "to the old host\n", 16, NULL);
	guest->ops->write(guest, "also\n", 5, NULL);
	pthread_mutex_lock(&lock);
	store.there[0] = store.there[1] = false;
	store.host_fired = false;
	fire(0);
	fire(1);
	pthread_mutex_unlock(&lock);
	channel->ops->send(channel, "renew\n", 6);
	CU_ASSERT_EQUAL(hear(out, sizeof out), 6);
	CU_ASSERT_EQUAL(host_hears(out, sizeof out), 5);
	CU_ASSERT(!memcmp(out, "also\n", 5));
	end();
}

/* The guest owns the box: what it puts there is bounded, and one that may not write says so. */
static void letters_that_are_none(void)
{
	char out[64], big[4096];
	struct remus_error err = REMUS_ERROR_INIT;

	begin();
	memset(big, 'x', sizeof big);
	pthread_mutex_lock(&lock);
	put(1, big, 4096);
	pthread_mutex_unlock(&lock);
	CU_ASSERT_EQUAL(channel->ops->receive(channel, out, sizeof out), sizeof out);
	CU_ASSERT_EQUAL(out[63], '\n');
	store.refuses = true;
	CU_ASSERT_EQUAL(guest->ops->write(guest, "hello\n", 6, &err), -EACCES);
	store.refuses = false;
	end();
}

/* ---- packets ---- */

static void packets_in_pieces(void)
{
	uint8_t text[3 * (XENWIRE_HEADER + 64)], one[XENWIRE_HEADER + XENWIRE_PAYLOAD];
	size_t size = 0;

	for (uint32_t i = 1; i <= 3; i++) {
		size_t n = xenwire_pack(one, XENWIRE_WATCH, i, "a/path", "token", true);
		CU_ASSERT_EQUAL(n, XENWIRE_HEADER + 7 + 6);
		memcpy(text + size, one, n);
		size += n;
	}
	for (size_t piece = 1; piece <= size; piece++) {
		static struct xenwire_reader reader;
		struct xenwire_packet p;
		uint32_t found = 0;
		memset(&reader, 0, sizeof reader);
		for (size_t at = 0; at < size;) {
			size_t room, n = size - at < piece ? size - at : piece;
			uint8_t *to = xenwire_room(&reader, &room);
			CU_ASSERT_FATAL(room >= n);
			memcpy(to, text + at, n);
			xenwire_filled(&reader, n);
			at += n;
			while (xenwire_next(&reader, &p) == 1) {
				CU_ASSERT_EQUAL(p.request, ++found);
				CU_ASSERT_EQUAL(p.length, 13);
				CU_ASSERT(!memcmp(p.payload, "a/path\0token", 13));
			}
		}
		CU_ASSERT_EQUAL(found, 3);
	}
}

static void packets_out_of_shape(void)
{
	static struct xenwire_reader reader;
	uint8_t out[XENWIRE_HEADER + XENWIRE_PAYLOAD];
	static char large[XENWIRE_PAYLOAD + 1];
	struct xenwire_packet p = {.type = XENWIRE_EVENT, .payload = out};
	size_t room;

	memset(large, 'x', sizeof large - 1);
	CU_ASSERT_EQUAL(xenwire_pack(out, XENWIRE_WRITE, 1, "p", large, false), 0);
	CU_ASSERT_EQUAL(xenwire_pack(out, XENWIRE_WRITE, 1, "p", large + 2, false),
			XENWIRE_HEADER + XENWIRE_PAYLOAD);
	remus_put_le32(out + 12, XENWIRE_PAYLOAD + 1);
	memcpy(xenwire_room(&reader, &room), out, XENWIRE_HEADER);
	xenwire_filled(&reader, XENWIRE_HEADER);
	CU_ASSERT_EQUAL(xenwire_next(&reader, &p), -1);
	static const struct {
		const char *body;
		uint32_t length;
		bool is;
	} events[] = {
		{"path\0reply", 11, true},   {"path\0reply", 10, false}, {"path\0repl", 10, false},
		{"path", 4, false},	     {"path\0", 5, false},	 {"", 0, false},
		{"path\0replyx", 12, false},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(events); i++) {
		p = (struct xenwire_packet){.type = XENWIRE_EVENT,
					    .length = events[i].length,
					    .payload = (const uint8_t *)events[i].body};
		CU_ASSERT_EQUAL(xenwire_is_event(&p, "reply"), events[i].is);
		p.type = XENWIRE_READ;
		CU_ASSERT(!xenwire_is_event(&p, "reply"));
	}
	p = (struct xenwire_packet){.length = 7, .payload = (const uint8_t *)"ENOENT"};
	CU_ASSERT_EQUAL(xenwire_error(&p), ENOENT);
	p.length = 6;
	CU_ASSERT_EQUAL(xenwire_error(&p), EIO);
}

static const struct unit_case cases[] = {
	{"letters go both ways", letters_go_both_ways},
	{"letters wait for the box", letters_wait_for_the_box},
	{"a letter over another", a_letter_over_another},
	{"a word behind an answer", a_word_behind_an_answer},
	{"letters of another host", letters_of_another_host},
	{"letters to a destroyed guest (I13)", letters_to_a_destroyed_guest},
	{"letters that are none (I11)", letters_that_are_none},
	{"packets in pieces", packets_in_pieces},
	{"packets out of shape (I11)", packets_out_of_shape},
};
UNIT_MAIN("xen agent", cases)
