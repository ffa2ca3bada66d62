/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The QMP client against a scripted peer: a thread at the other end of a socket pair that plays a list of
 * steps (send this, await a command, close). What is asserted: codes, messages, and that nothing blocks.
 */
#include "config.h"

#include "unit.h"

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "../../replicator/domain/qemu/qmp.h"

#define GREETING                                                                                        \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\": " \
	"\"Debian\"}, \"capabilities\": []}}\r\n"
#define HELLO                                              \
	{.send = GREETING}, {.await = "qmp_capabilities"}, \
	{                                                  \
		.answer = "\"return\": {}"                 \
	}

/* One step of the peer. All fields empty = the end: close. */
struct step {
	const char *send;   /* as it is */
	const char *await;  /* read a command, which must contain this */
	const char *answer; /* send an object with this and the id of the last command */
	size_t flood;	    /* send a message of so many bytes */
	bool hold;	    /* neither close nor answer until the client is done */
};

struct peer {
	int fd, ours, received_fd;
	const struct step *steps;
	bool failed;
	long long id;
	pthread_t thread;
};

static void await_command(struct peer *p, const char *what)
{
	char text[4096];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {text, sizeof text - 1};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct pollfd pfd = {.fd = p->fd, .events = POLLIN};
	ssize_t n = poll(&pfd, 1, 5000) == 1 ? recvmsg(p->fd, &m, 0) : 0;

	text[n > 0 ? n : 0] = 0;
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c)
		memcpy(&p->received_fd, CMSG_DATA(c), sizeof(int));
	const char *id = strstr(text, "\"id\":");
	p->id = id ? atoll(id + 5) : -1;
	if (!strstr(text, what))
		p->failed = true;
}

static void *play(void *arg)
{
	struct peer *p = arg;
	char text[512];
	for (const struct step *s = p->steps; s->send || s->await || s->answer || s->flood || s->hold; s++) {
		if (s->await)
			await_command(p, s->await);
		if (s->send)
			(void)!send(p->fd, s->send, strlen(s->send), MSG_NOSIGNAL);
		if (s->answer) {
			int n = snprintf(text, sizeof text, "{%s, \"id\": %lld}\r\n", s->answer, p->id);
			(void)!send(p->fd, text, (size_t)n, MSG_NOSIGNAL);
		}
		if (s->flood) {
			char *much = malloc(s->flood);
			memset(much, 'x', s->flood);
			memcpy(much, "{\"a\":\"", 6);
			memcpy(much + s->flood - 2, "\"}", 2);
			for (size_t done = 0; done < s->flood;) {
				ssize_t n = send(p->fd, much + done, s->flood - done, MSG_NOSIGNAL);
				if (n <= 0)
					break;
				done += (size_t)n;
			}
			free(much);
		}
		if (s->hold) {
			struct pollfd pfd = {.fd = p->fd, .events = 0}; /* POLLHUP = the client closed */
			poll(&pfd, 1, 5000);
		}
	}
	shutdown(p->fd, SHUT_RDWR);
	return NULL;
}

static void begin(struct peer *p, const struct step *steps)
{
	int pair[2];
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	*p = (struct peer){.fd = pair[0], .ours = pair[1], .received_fd = -1, .steps = steps};
	CU_ASSERT_EQUAL_FATAL(pthread_create(&p->thread, NULL, play, p), 0);
}

static void end(struct peer *p)
{
	pthread_join(p->thread, NULL);
	close(p->fd);
	CU_ASSERT_FALSE(p->failed);
}

static int attach(struct peer *p, const struct step *steps, int deadline_ms, struct remus_qmp **q,
		  struct remus_error *err)
{
	begin(p, steps);
	return remus_qmp_attach(p->ours, "test.sock", deadline_ms, q, err);
}

static void greets(void)
{
	static const struct step steps[] = {
		HELLO, {.await = "query-status"}, {.answer = "\"return\": {\"a\": 5}"}, {0}};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qmp *q;
	struct peer p;
	json_t *reply = NULL;

	CU_ASSERT_EQUAL_FATAL(attach(&p, steps, 5000, &q, &err), 0);
	CU_ASSERT_STRING_EQUAL(remus_qmp_version(q), "7.2.22 (Debian)");
	CU_ASSERT_EQUAL(remus_qmp_peer(q), getpid());
	CU_ASSERT_EQUAL(remus_qmp_execute(q, "query-status", NULL, -1, 5000, &reply, &err), 0);
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(reply, "a")), 5);
	json_decref(reply);
	remus_qmp_close(q);
	end(&p);
}

static void refuses_bad_peers(void)
{
	static const struct step silent[] = {{.hold = true}, {0}}, gone[] = {{0}},
				 garbage[] = {{.send = "SSH-2.0-OpenSSH\r\n"}, {.hold = true}, {0}},
				 other[] = {{.send = "{\"hello\": 1}"}, {.hold = true}, {0}},
				 broken[] = {{.send = "{\"QMP\": }"}, {.hold = true}, {0}},
				 denied[] = {{.send = GREETING},
					     {.await = "qmp_cap"},
					     {.answer = "\"error\": 1"},
					     {0}};
	static const struct {
		const struct step *steps;
		int code;
		const char *word;
	} table[] = {
		{silent, -EBUSY, "another QMP client is connected"},
		{gone, -ECONNRESET, "closed the connection"},
		{garbage, -EPROTO, "doesn't speak QMP"},
		{other, -EPROTO, "doesn't speak QMP"},
		{broken, -EPROTO, "doesn't speak QMP"},
		{denied, -EREMOTEIO, "qmp_capabilities"},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct remus_qmp *q = NULL;
		struct peer p;
		int rc = attach(&p, table[i].steps, table[i].code == -EBUSY ? 50 : 5000, &q, &err);
		CU_ASSERT_EQUAL(rc, table[i].code);
		CU_ASSERT_EQUAL(err.code, table[i].code);
		UNIT_ASSERT_MESSAGE(err, table[i].word);
		UNIT_ASSERT_MESSAGE(err, "test.sock");
		end(&p);
	}
}

static void reports_errors(void)
{
	static const struct step steps[] = {
		HELLO,
		{.await = "stop"},
		{.answer = "\"error\": {\"class\": \"GenericError\", \"desc\": \"no way\"}"},
		{.await = "cont"},
		{.answer = "\"return\": {}"},
		{.await = "quit"},
		{0}};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qmp *q;
	struct peer p;

	CU_ASSERT_EQUAL_FATAL(attach(&p, steps, 5000, &q, &err), 0);
	CU_ASSERT_EQUAL(remus_qmp_execute(q, "stop", NULL, -1, 5000, NULL, &err), -EREMOTEIO);
	UNIT_ASSERT_MESSAGE(err, "no way");
	CU_ASSERT_EQUAL(remus_qmp_execute(q, "cont", NULL, -1, 5000, NULL, &err), 0);
	CU_ASSERT_EQUAL(remus_qmp_execute(q, "quit", NULL, -1, 5000, NULL, &err), -ECONNRESET);
	CU_ASSERT_EQUAL(remus_qmp_execute(q, "stop", NULL, -1, 5000, NULL, &err), -ECONNRESET);
	CU_ASSERT_EQUAL(remus_qmp_pump(q, &err), -ECONNRESET);
	remus_qmp_close(q);
	end(&p);
}

static void queues_events(void)
{
	static const struct step steps[] = {
		HELLO,
		{.await = "stop"},
		{.send = "{\"event\": \"STOP\"}\r\n{\"event\": \"RESET\", \"data\": {\"guest\": true}}\r\n"
			 "{\"event\": \"RESUME\"}\r\n{\n  \"event\": \"NICE\",\n  \"data\": \"a } \\\" "
			 "brace\"\n}\r\n"},
		{.answer = "\"return\": {}"},
		{.send = "{\"event\": \"SHUTDOWN\"}"},
		{0}};
	static const char *const expected[] = {"RESET", "NICE", "SHUTDOWN"};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qmp *q;
	struct peer p;

	CU_ASSERT_EQUAL_FATAL(attach(&p, steps, 5000, &q, &err), 0);
	CU_ASSERT_EQUAL(remus_qmp_execute(q, "stop", NULL, -1, 5000, NULL, &err), 0);
	CU_ASSERT(remus_qmp_has_events(q));
	CU_ASSERT_EQUAL(remus_qmp_resumes(q), 1);
	end(&p); /* all is sent and closed: what came before the end still counts */
	CU_ASSERT_EQUAL(remus_qmp_pump(q, &err), -ECONNRESET);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(expected); i++) {
		json_t *event = remus_qmp_next_event(q);
		CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(event, "event")), expected[i]);
		json_decref(event);
	}
	CU_ASSERT_PTR_NULL(remus_qmp_next_event(q));
	remus_qmp_close(q);
}

/* However many come of whatever kind, the queue is bounded, and the last word, SHUTDOWN, is in it. */
static void check_storm(const char *event_name, int last_words)
{
	static char storm[REMUS_QMP_EVENTS_MAX * 64];
	size_t n = 0;
	for (int i = 0; i < REMUS_QMP_EVENTS_MAX + 10; i++)
		n += (size_t)snprintf(storm + n, sizeof storm - n, "{\"event\": \"%s\"}\r\n", event_name);
	for (int i = 0; i < last_words; i++)
		n += (size_t)snprintf(storm + n, sizeof storm - n, "{\"event\": \"SHUTDOWN\"}\r\n");
	const struct step steps[] = {HELLO, {.send = storm}, {0}};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qmp *q;
	struct peer p;
	int count = 0, shutdowns = 0;

	CU_ASSERT_EQUAL_FATAL(attach(&p, steps, 5000, &q, &err), 0);
	end(&p);
	remus_qmp_pump(q, &err);
	for (json_t *event; (event = remus_qmp_next_event(q)); count++) {
		shutdowns += !strcmp(json_string_value(json_object_get(event, "event")), "SHUTDOWN");
		json_decref(event);
	}
	CU_ASSERT_EQUAL(count, REMUS_QMP_EVENTS_MAX + 1);
	CU_ASSERT(shutdowns == 1 || (shutdowns == count && !strcmp(event_name, "SHUTDOWN")));
	remus_qmp_close(q);
}

static void bounds_events(void)
{
	check_storm("RESET", 1);
	check_storm("RESET", 20);
	check_storm("SHUTDOWN", 0);
}

static void bounds_replies(void)
{
	static const struct step small[] = {HELLO,
					    {.await = "x"},
					    {.flood = 500000},
					    {.answer = "\"return\": {}"},
					    {0}},
				 large[] = {HELLO, {.await = "x"}, {.flood = 2 * REMUS_QMP_MESSAGE_MAX}, {0}};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qmp *q;
	struct peer p;

	CU_ASSERT_EQUAL_FATAL(attach(&p, small, 5000, &q, &err), 0); /* an unknown message is skipped */
	CU_ASSERT_EQUAL(remus_qmp_execute(q, "x", NULL, -1, 5000, NULL, &err), 0);
	remus_qmp_close(q);
	end(&p);
	CU_ASSERT_EQUAL_FATAL(attach(&p, large, 5000, &q, &err), 0);
	CU_ASSERT_EQUAL(remus_qmp_execute(q, "x", NULL, -1, 5000, NULL, &err), -EPROTO);
	UNIT_ASSERT_MESSAGE(err, "longer than");
	remus_qmp_close(q);
	end(&p);
}

/* A command that was given up: its late reply isn't taken for the next one's. */
static void keeps_deadlines(void)
{
	static const struct step steps[] = {HELLO,
					    {.await = "slow"},
					    {.await = "next"},
					    {.send = "{\"return\": {\"late\": 1}, \"id\": 2}\r\n"},
					    {.answer = "\"return\": {\"right\": 1}"},
					    {0}};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qmp *q;
	struct peer p;
	json_t *reply = NULL;

	CU_ASSERT_EQUAL_FATAL(attach(&p, steps, 5000, &q, &err), 0);
	CU_ASSERT_EQUAL(remus_qmp_execute(q, "slow", NULL, -1, 30, NULL, &err), -ETIMEDOUT);
	UNIT_ASSERT_MESSAGE(err, "slow within 30 ms");
	CU_ASSERT_EQUAL(remus_qmp_execute(q, "next", NULL, -1, 5000, &reply, &err), 0);
	CU_ASSERT_PTR_NOT_NULL(json_object_get(reply, "right"));
	json_decref(reply);
	remus_qmp_close(q);
	end(&p);
}

static void passes_descriptors(void)
{
	static const struct step steps[] = {
		HELLO, {.await = "\"fdname\":\"s\""}, {.answer = "\"return\": {}"}, {0}};
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qmp *q;
	struct peer p;
	struct stat sent, got;
	int ends[2];

	CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
	CU_ASSERT_EQUAL_FATAL(attach(&p, steps, 5000, &q, &err), 0);
	CU_ASSERT_EQUAL(
		remus_qmp_execute(q, "getfd", json_pack("{s:s}", "fdname", "s"), ends[0], 5000, NULL, &err),
		0);
	remus_qmp_close(q);
	end(&p);
	CU_ASSERT_EQUAL_FATAL(fstat(p.received_fd, &got), 0);
	CU_ASSERT_EQUAL_FATAL(fstat(ends[0], &sent), 0);
	CU_ASSERT_EQUAL(got.st_ino, sent.st_ino);
	close(p.received_fd);
	close(ends[0]);
	close(ends[1]);
}

static void names_what_is_wrong_with_a_path(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qmp *q;
	char dir[] = "/tmp/remus-test-XXXXXX", path[128];

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/q", dir);
	CU_ASSERT_EQUAL(remus_qmp_connect(path, 100, &q, &err), -ENOENT);
	UNIT_ASSERT_MESSAGE(err, "no such socket");
	CU_ASSERT_EQUAL(remus_qmp_connect(dir, 100, &q, &err), -ENOTSOCK);
	UNIT_ASSERT_MESSAGE(err, "not a socket");

	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	CU_ASSERT_EQUAL_FATAL(listen(fd, 0), 0);
	/* It listens but doesn't answer, then its queue is full as well, then it is dead. */
	CU_ASSERT_EQUAL(remus_qmp_connect(path, 30, &q, &err), -EBUSY);
	UNIT_ASSERT_MESSAGE(err, "another QMP client");
	CU_ASSERT_EQUAL(remus_qmp_connect(path, 30, &q, &err), -EBUSY);
	close(fd);
	CU_ASSERT_EQUAL(remus_qmp_connect(path, 100, &q, &err), -ECONNREFUSED);
	UNIT_ASSERT_MESSAGE(err, "is dead");
	unlink(path);
	rmdir(dir);

	char deep[300];
	memset(deep, 'd', sizeof deep);
	deep[299] = 0;
	CU_ASSERT_EQUAL(remus_qmp_connect(deep, 100, &q, &err), -ENAMETOOLONG);
}

static const struct unit_case cases[] = {
	{"greeting, version, a command", greets},
	{"refuses bad peers", refuses_bad_peers},
	{"reports QEMU's errors", reports_errors},
	{"queues events", queues_events},
	{"bounds the queue of events", bounds_events},
	{"bounds replies", bounds_replies},
	{"keeps deadlines", keeps_deadlines},
	{"passes descriptors", passes_descriptors},
	{"names what is wrong with a path", names_what_is_wrong_with_a_path},
};
UNIT_MAIN("qmp", cases)
