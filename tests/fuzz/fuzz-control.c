/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: lines, JSON, and what a request's members may be.
 *
 *   byte 0    bytes that the client writes at a time, 0 = all at once; so lines are cut anywhere
 *   byte 1    bit 7: take lines, with a bound of the lower bits; else requests, as remusd does
 *   the rest  what the client writes before it closes
 *
 * Every line that was whole and within its bound must come out, none that wasn't. An accepted request says the same
 * after it was sent on.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/socket.h>
#include "remus/control.h"
#include "tools/remusd/client.h"

#define INPUT_MAX 65536u /* fits a socket's buffer, nobody waits */

struct writer {
	int fd;
	const uint8_t *data;
	size_t left, piece;
};

/* The client's next piece; false when it has closed. */
static bool write_piece(struct writer *w)
{
	size_t n = w->piece && w->piece < w->left ? w->piece : w->left;

	if (n) {
		FUZZ_CHECK(write(w->fd, w->data, n) == (ssize_t)n);
		w->data += n;
		w->left -= n;
		return true;
	}
	return shutdown(w->fd, SHUT_WR) == 0;
}

static void check_lines(struct writer *w, struct remus_lines *lines)
{
	const uint8_t *at = w->data, *end = w->data + w->left;
	struct remus_error err = REMUS_ERROR_INIT;
	char *line;
	size_t length;
	int rc;

	for (;;) {
		while ((rc = remus_lines_next(lines, 0, &line, &length, &err)) == -EAGAIN)
			write_piece(w);
		fuzz_check_error(rc, &err);
		const uint8_t *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
		size_t want = newline ? (size_t)(newline - at) : (size_t)(end - at);
		if (rc <= 0) {
			FUZZ_CHECK(rc == (want > lines->max ? -EMSGSIZE : want ? -EBADMSG : 0));
			FUZZ_CHECK(rc == -EMSGSIZE || !newline);
			return;
		}
		FUZZ_CHECK(newline && length == want && length <= lines->max && !memcmp(line, at, length));
		at = newline + 1;
	}
}

static void check_request(const json_t *request)
{
	struct remus_error err = REMUS_ERROR_INIT;
	int rc = request_check(request, &err);

	fuzz_check_error(rc, &err);
	const char *name = json_string_value(json_object_get(request, "name"));
	if (rc == 0 && name) /* it becomes a file's name */
		FUZZ_CHECK(*name && *name != '.' && *name != '-' && !strchr(name, '/'));
}

/* What was received is what is received when it is sent on. */
static void check_relay(json_t *object)
{
	struct remus_error err = REMUS_ERROR_INIT;
	int ends[2], size = 4 * 1024 * 1024;
	struct remus_lines lines;
	json_t *again = NULL;

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	if (remus_control_send(ends[0], object, 0, &err) == 0) { /* else: larger than the socket's buffer */
		remus_lines_init(&lines, ends[1], REMUS_CONTROL_ANSWER_MAX);
		FUZZ_CHECK(remus_control_receive(&lines, 0, &again, &err) == 1);
		FUZZ_CHECK(json_equal(object, again));
		json_decref(again);
		remus_lines_clear(&lines);
	}
	close(ends[0]);
	close(ends[1]);
}

static void check_requests(struct writer *w, struct remus_lines *lines)
{
	struct remus_error err = REMUS_ERROR_INIT;
	json_t *request;
	int rc;

	for (;;) {
		while ((rc = remus_control_receive(lines, 0, &request, &err)) == -EAGAIN)
			write_piece(w);
		fuzz_check_error(rc, &err);
		if (rc <= 0)
			return;
		check_request(request);
		check_relay(request);
		json_decref(request);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct remus_lines lines;
	int ends[2];

	if (size < 2 || size > INPUT_MAX)
		return 0;
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	struct writer w = {ends[0], data + 2, size - 2, data[0]};
	bool plain = data[1] & 0x80;
	remus_lines_init(&lines, ends[1], plain ? data[1] & 0x7f : REMUS_CONTROL_REQUEST_MAX);
	if (plain)
		check_lines(&w, &lines);
	else
		check_requests(&w, &lines);
	remus_lines_clear(&lines);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

/* ---- seeds ---- */

static void seed(const char *name, uint8_t piece, uint8_t mode, const char *lines)
{
	char text[2048] = {(char)piece, (char)mode};

	snprintf(text + 2, sizeof text - 2, "%s", lines);
	fuzz_seed(name, text, 2 + strlen(lines));
}

void fuzz_seeds(void)
{
	static const struct {
		const char *name, *line;
	} requests[] = {
		{"protect",
		 "{\"verb\":\"protect\",\"domain\":\"qemu:/run/q\",\"name\":\"web1\",\"to\":\"[::1]:7368\","
		 "\"arbiter\":\"file:/srv/a\",\"egress\":[\"hold:/a,/b\"],\"standby_egress\":[],"
		 "\"interval_ms\":25,\"cache_mib\":64,\"hold_mib\":16,\"heartbeat_ms\":100,"
		 "\"dead_ms\":500,\"on_backup_loss\":\"solo\",\"tracking\":\"auto\","
		 "\"tls_peer\":\"backup\",\"wait\":false}\n"},
		{"two", "{\"verb\":\"list\"}\n{\"verb\":\"events\",\"since\":0,\"follow\":true}\n"},
		{"insecure",
		 "{\"verb\":\"check\",\"insecure\":true,\"to\":\"h:1\",\"arbiter\":\"manual:\"}\n"},
		{"force", "{\"verb\":\"failover\",\"domain\":\"web1\",\"force\":true}\n"},
		{"force-number", "{\"verb\":\"failover\",\"force\":1}\n"},
		{"domain-number", "{\"domain\":7}\n"},
		{"domain-control", "{\"domain\":\"a\\u0001\"}\n"},
		{"name-path", "{\"name\":\"../x\"}\n"},
		{"timing", "{\"heartbeat_ms\":400,\"dead_ms\":500}\n"},
		{"interval", "{\"interval_ms\":0}\n"},
		{"interval-real", "{\"interval_ms\":2.5e1}\n"},
		{"word", "{\"tracking\":\"uffd\"}\n"},
		{"egress-text", "{\"egress\":\"hold:\"}\n"},
		{"egress-number", "{\"egress\":[1]}\n"},
		{"to-ipv6", "{\"to\":\"fe80::1\"}\n"},
		{"to-port", "{\"to\":\"h:70000\"}\n"},
		{"to-host", "{\"to\":\"a b\"}\n"},
		{"arbiter", "{\"arbiter\":\"etcd:x\"}\n"},
		{"twice", "{\"verb\":\"a\",\"verb\":\"b\"}\n"},
		{"array", "[]\n"},
		{"no-json", "hello\n"},
		{"cut", "{\"verb\":"},
		{"empty", "\n"},
		{"deep", "{\"a\":[[[[[[[[[[{\"b\":null}]]]]]]]]]],\"c\":-0.5,\"d\":\"\\u00e9\"}\n"},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(requests); i++)
		seed(requests[i].name, (uint8_t)(i % 3 * 7), 0, requests[i].line);
	seed("lines", 3, 0x80 | 6, "a\n\nbcd\nsixsix\n");
	seed("line-long", 0, 0x80 | 6, "ok\nsevenal\n");
	seed("line-long-cut", 2, 0x80 | 6, "ok\nmuch longer than six");
	seed("line-open", 1, 0x80 | 100, "a\nb");
	seed("line-none", 1, 0x80, "\n\n");
}
