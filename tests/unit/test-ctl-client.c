/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control client against a server that follows a script: lines, errors, silence, garbage. */
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "client.h"
#include "remus/control.h"
#include "unit.h"

static char socket_dir[] = "/tmp/remus-ctl-client-XXXXXX";
static char socket_path[64];

struct server {
	int fd;
	const char *script; /* sent as it is; "%L" stands for a line of too many bytes */
	bool hang;	    /* don't close when the script is through */
	char request[256];
	pthread_t thread;
};

static void say(int fd, const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t n = send(fd, text, bytes, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		text += n;
		bytes -= (size_t)n;
	}
}

static void say_long(int fd)
{
	char *big = malloc(REMUS_CONTROL_ANSWER_MAX + 2);

	memset(big, 'x', REMUS_CONTROL_ANSWER_MAX + 2);
	say(fd, big, REMUS_CONTROL_ANSWER_MAX + 2);
	free(big);
}

static void *serve(void *arg)
{
	struct server *s = arg;
	struct remus_lines lines;
	char *line, *mark = strstr(s->script, "%L");
	size_t length;
	int fd = accept(s->fd, NULL, NULL);

	remus_lines_init(&lines, fd, REMUS_CONTROL_REQUEST_MAX);
	if (remus_lines_next(&lines, remus_now_us() + 10000000u, &line, &length, NULL) == 1)
		snprintf(s->request, sizeof s->request, "%s", line);
	say(fd, s->script, mark ? (size_t)(mark - s->script) : strlen(s->script));
	if (mark)
		say_long(fd);
	if (s->hang) { /* until the client leaves */
		struct pollfd p = {.fd = fd, .events = POLLIN};
		poll(&p, 1, 20000);
	}
	remus_lines_clear(&lines);
	close(fd);
	return NULL;
}

static void server_start(struct server *s)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strcpy(address.sun_path, socket_path);
	unlink(socket_path);
	s->fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CU_ASSERT_EQUAL_FATAL(bind(s->fd, (struct sockaddr *)&address, sizeof address), 0);
	CU_ASSERT_EQUAL_FATAL(listen(s->fd, 4), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
	unlink(socket_path);
}

static void note_line(void *context, const char *kind, const json_t *body)
{
	char *log = context;
	const char *state = json_string_value(json_object_get(body, "state"));

	strcat(log, kind);
	strcat(log, state ? state : "?");
	strcat(log, ";");
}

static const struct {
	const char *script;
	bool hang;
	unsigned timeout_ms;
	int rc;
	const char *log, *answer, *message;
} talks[] = {
	{"{\"ok\":{\"a\":1}}\n", false, 10000, 0, "", "{\"a\":1}", ""},
	{"{\"ok\":{}}\n", true, 10000, 0, "", "{}", ""}, /* the answer is the end, whoever closes */
	{"{\"ok\":{}}\n{\"error\":{\"code\":-1}}\n", false, 10000, 0, "", "{}", ""},
	{"{\"progress\":{\"state\":\"hello\"}}\n{\"future\":{}}\n{\"event\":{\"state\":\"x\"}}\n{\"ok\":{}}"
	 "\n",
	 false, 10000, 0, "progresshello;eventx;", "{}", ""},
	{"{\"error\":{\"code\":-95,\"message\":\"vhost is on\"}}\n", false, 10000, -EOPNOTSUPP, "", NULL,
	 "vhost is on"},
	{"{\"progress\":{}}\n{\"error\":{\"code\":-2,\"message\":\"no such domain\"}}\n", false, 10000,
	 -ENOENT, "progress?;", NULL, "no such domain"},
	{"{\"error\":{\"code\":7,\"message\":\"odd code\"}}\n", false, 10000, -EIO, "", NULL, "odd code"},
	{"{\"error\":{\"code\":-99999999}}\n", false, 10000, -EIO, "", NULL, "doesn't say why"},
	{"{\"error\":3}\n", false, 10000, -EIO, "", NULL, "doesn't say why"},
	{"", false, 10000, -ECONNRESET, "", NULL, "closed the connection"},
	{"{\"progress\":{\"state\":\"s\"}}\n", false, 10000, -ECONNRESET, "progresss;", NULL,
	 "closed the connection"},
	{"{\"ok\":{", false, 10000, -EBADMSG, "", NULL, "middle of a line"},
	{"%L", true, 10000, -EMSGSIZE, "", NULL, "1048576 bytes"},
	{"HTTP/1.1 400 Bad Request\n", false, 10000, -EBADMSG, "", NULL, "no JSON"},
	{"[1]\n", false, 10000, -EBADMSG, "", NULL, "no JSON object"},
	{"{\"ok\":1,\"ok\":2}\n", false, 10000, -EBADMSG, "", NULL, "no JSON"},
	{"\n", false, 10000, -EBADMSG, "", NULL, "no JSON"},
	{"", true, 50, -ETIMEDOUT, "", NULL, "no answer"},
	{"{\"progress\":{\"state\":\"s\"}}\n", true, 50, -ETIMEDOUT, "progresss;", NULL, "no answer"},
};

static void conversations(void)
{
	json_t *request = json_pack("{s:s}", "verb", "status");

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(talks); i++) {
		struct server server = {.script = talks[i].script, .hang = talks[i].hang};
		struct remus_error err = REMUS_ERROR_INIT;
		char log[256] = "";
		json_t *answer = NULL;

		server_start(&server);
		int fd = ctl_connect(socket_path, 5000, true, &err);
		CU_ASSERT_FATAL(fd >= 0);
		int rc = ctl_talk(fd, request, talks[i].timeout_ms, note_line, log, &answer, &err);
		close(fd);
		server_stop(&server);
		if (rc != talks[i].rc)
			printf("\n    talk %zu: %d, %s\n", i, rc, err.message);
		CU_ASSERT_EQUAL(rc, talks[i].rc);
		CU_ASSERT_EQUAL(err.code, talks[i].rc);
		CU_ASSERT_STRING_EQUAL(log, talks[i].log);
		CU_ASSERT_STRING_EQUAL(server.request, "{\"verb\":\"status\"}");
		UNIT_ASSERT_MESSAGE(err, talks[i].message);
		char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
		CU_ASSERT_EQUAL(text != NULL, talks[i].answer != NULL);
		if (text && talks[i].answer)
			CU_ASSERT_STRING_EQUAL(text, talks[i].answer);
		free(text);
		json_decref(answer);
	}
	json_decref(request);
}

/* Nobody there, in the ways that there are: each says what to do. */
static void unreachable(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char longer[200];

	CU_ASSERT_EQUAL(ctl_connect(socket_path, 100, false, &err), -ENOENT);
	UNIT_ASSERT_MESSAGE(err, socket_path);
	UNIT_ASSERT_MESSAGE(err, "Start remusd");

	strcpy(address.sun_path, socket_path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	CU_ASSERT_EQUAL(ctl_connect(socket_path, 100, false, &err), -ECONNREFUSED);
	UNIT_ASSERT_MESSAGE(err, "not running");

	/* A daemon that doesn't accept: its backlog is full. */
	int waiting[8];
	CU_ASSERT_EQUAL_FATAL(listen(fd, 0), 0);
	size_t n = 0;
	int rc = 0;
	while (n < REMUS_ARRAY_SIZE(waiting) && (rc = ctl_connect(socket_path, 30, false, &err)) >= 0)
		waiting[n++] = rc;
	CU_ASSERT_EQUAL(rc, -ETIMEDOUT);
	UNIT_ASSERT_MESSAGE(err, "stuck");
	while (n)
		close(waiting[--n]);
	close(fd);
	unlink(socket_path);

	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	CU_ASSERT_EQUAL(ctl_connect(longer, 100, false, &err), -ENAMETOOLONG);
}

/* The shared line reader: lines in pieces, several in one piece, the bound to the byte. */
static void lines(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_lines reader;
	char *line;
	size_t length;
	int pair[2];

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	remus_lines_init(&reader, pair[0], 8);
	CU_ASSERT_EQUAL(remus_lines_next(&reader, 0, &line, &length, &err), -EAGAIN);
	say(pair[1], "one\n\ntw", 7);
	CU_ASSERT_EQUAL(remus_lines_next(&reader, 0, &line, &length, NULL), 1);
	CU_ASSERT_STRING_EQUAL(line, "one");
	CU_ASSERT_EQUAL(remus_lines_next(&reader, 0, &line, &length, NULL), 1);
	CU_ASSERT_EQUAL(length, 0);
	CU_ASSERT_EQUAL(remus_lines_next(&reader, 0, &line, &length, NULL), -EAGAIN);
	CU_ASSERT_EQUAL(remus_lines_next(&reader, remus_now_us() + 20000, &line, &length, NULL), -ETIMEDOUT);
	say(pair[1], "o\n12345678\n", 11);
	CU_ASSERT_EQUAL(remus_lines_next(&reader, 0, &line, &length, NULL), 1);
	CU_ASSERT_STRING_EQUAL(line, "two");
	CU_ASSERT_EQUAL(remus_lines_next(&reader, 0, &line, &length, NULL), 1);
	CU_ASSERT_STRING_EQUAL(line, "12345678");
	say(pair[1], "a\0b\n123456789\n", 14);
	CU_ASSERT_EQUAL(remus_lines_next(&reader, 0, &line, &length, NULL), 1);
	CU_ASSERT_EQUAL(length, 3);
	CU_ASSERT_EQUAL(remus_lines_next(&reader, 0, &line, &length, &err), -EMSGSIZE);
	UNIT_ASSERT_MESSAGE(err, "8 bytes");
	remus_lines_clear(&reader);
	close(pair[0]);
	close(pair[1]);

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	remus_lines_init(&reader, pair[0], 64);
	say(pair[1], "whole\n", 6);
	close(pair[1]);
	CU_ASSERT_EQUAL(remus_lines_next(&reader, REMUS_CONTROL_FOREVER, &line, &length, NULL), 1);
	CU_ASSERT_EQUAL(remus_lines_next(&reader, REMUS_CONTROL_FOREVER, &line, &length, NULL), 0);
	CU_ASSERT_EQUAL(remus_lines_next(&reader, REMUS_CONTROL_FOREVER, &line, &length, NULL), 0);
	remus_lines_clear(&reader);
	close(pair[0]);
}

/* Sending to a reader that doesn't read ends at the deadline; to one that is gone, without a SIGPIPE. */
static void sending(void)
{
	char *big = malloc(4u << 20);
	int pair[2];

	memset(big, 'y', (4u << 20) - 1);
	big[(4u << 20) - 1] = '\0';
	json_t *object = json_pack("{s:s}", "big", big);
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	CU_ASSERT_EQUAL(remus_control_send(pair[0], object, 0, NULL), -EAGAIN);
	CU_ASSERT_EQUAL(remus_control_send(pair[0], object, remus_now_us() + 20000, NULL), -ETIMEDOUT);
	close(pair[1]);
	CU_ASSERT_EQUAL(remus_control_send(pair[0], object, remus_now_us() + 20000, NULL), -EPIPE);
	close(pair[0]);
	json_decref(object);
	free(big);
}

static void default_paths(void)
{
	struct remus_error err = REMUS_ERROR_INIT;
	char path[REMUS_CONTROL_PATH_MAX], longer[200];
	bool named = false;

	setenv("REMUS_CONTROL", "/x/control", 1);
	CU_ASSERT_EQUAL(remus_control_default_path(path, &named, &err), 0);
	CU_ASSERT_STRING_EQUAL(path, "/x/control");
	CU_ASSERT_TRUE(named);
	setenv("REMUS_CONTROL", "", 1);
	CU_ASSERT_EQUAL(remus_control_default_path(path, NULL, &err), -EINVAL);
	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	setenv("REMUS_CONTROL", longer, 1);
	CU_ASSERT_EQUAL(remus_control_default_path(path, NULL, &err), -ENAMETOOLONG);
	unsetenv("REMUS_CONTROL");
	CU_ASSERT_EQUAL(remus_control_default_path(path, &named, &err), 0);
	CU_ASSERT_FALSE(named);
	CU_ASSERT_PTR_NOT_NULL(strstr(path, "/control"));
}

static const struct unit_case cases[] = {
	{"conversations", conversations},
	{"unreachable", unreachable},
	{"lines", lines},
	{"sending", sending},
	{"default paths", default_paths},
};

int main(void)
{
	if (!mkdtemp(socket_dir))
		return 99;
	snprintf(socket_path, sizeof socket_path, "%s/control", socket_dir);
	int rc = unit_main("ctl-client", cases, REMUS_ARRAY_SIZE(cases));
	rmdir(socket_dir);
	return rc;
}
