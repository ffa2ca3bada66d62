/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a QEMU, or whatever else listens at the path that an operator gave, says over QMP before it closes: the
 * greeting, answers to four commands (ids 1 to 4), events.
 */
#include "fuzz.h"

#include <jansson.h>
#include <sys/socket.h>
#include "replicator/domain/qemu/qmp.h"

#define INPUT_MAX   65536u /* fits a socket's buffer, nobody waits */
#define DEADLINE_MS 5000   /* never reached: the peer has closed */

/* How many RESUME events stand in @data before it ends or stops being JSON objects: cut into messages by jansson, not
 * by counting braces. */
static uint64_t count_resumes(const uint8_t *data, size_t size)
{
	uint64_t resumes = 0;

	for (size_t at = 0;;) {
		json_error_t where;
		while (at < size && strchr(" \r\n\t", data[at]) && data[at])
			at++;
		json_t *message = at < size && data[at] == '{'
					  ? json_loadb((const char *)data + at, size - at,
						       JSON_DISABLE_EOF_CHECK, &where)
					  : NULL;
		if (!message)
			return resumes;
		const char *event = json_string_value(json_object_get(message, "event"));
		resumes += event && !strcmp(event, "RESUME");
		json_decref(message);
		at += (size_t)where.position;
	}
}

static void talk(struct remus_qmp *q)
{
	struct remus_error err = REMUS_ERROR_INIT;
	json_t *reply = NULL, *event;
	unsigned events = 0;

	FUZZ_CHECK(strnlen(remus_qmp_version(q), 128) < 128);
	for (int i = 0; i < 3; i++) {
		int rc = remus_qmp_execute(q, "query-status", json_pack("{s:i}", "n", i), -1, DEADLINE_MS,
					   &reply, &err);
		fuzz_check_error(rc, &err);
		FUZZ_CHECK(rc != -ETIMEDOUT && (rc == 0) == (reply != NULL));
		json_decref(reply);
		reply = NULL;
	}
	int rc = remus_qmp_pump(q, &err);
	fuzz_check_error(rc, &err);
	for (; (event = remus_qmp_next_event(q)); events++) {
		const char *name = json_string_value(json_object_get(event, "event"));
		FUZZ_CHECK(name && strcmp(name, "STOP") && strcmp(name, "RESUME"));
		json_decref(event);
	}
	FUZZ_CHECK(!remus_qmp_has_events(q));
	FUZZ_CHECK(events <= REMUS_QMP_EVENTS_MAX + 1); /* one SHUTDOWN more (I11) */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_qmp *q = NULL;
	int ends[2];

	if (!size || size > INPUT_MAX)
		return 0;
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	FUZZ_CHECK(write(ends[1], data, size) == (ssize_t)size);
	shutdown(ends[1], SHUT_WR);
	int rc = remus_qmp_attach(ends[0], "fuzz", DEADLINE_MS, &q, &err);
	fuzz_check_error(rc, &err);
	FUZZ_CHECK(rc != -EBUSY && rc != -ETIMEDOUT);
	if (rc == 0) {
		talk(q);
		FUZZ_CHECK(remus_qmp_resumes(q) == count_resumes(data, size));
		remus_qmp_close(q);
	}
	close(ends[1]);
	return 0;
}

#define GREETING                                                                           \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, " \
	"\"package\": \"Debian 1:7.2\"}, \"capabilities\": [\"oob\"]}}\r\n{\"return\": {}, \"id\": 1}\r\n"

void fuzz_seeds(void)
{
	static char text[32768];

	fuzz_seed_text("greeting", GREETING);
	fuzz_seed_text("answers",
		       GREETING "{\"return\": {\"status\": \"running\"}, \"id\": 2}\r\n"
				"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, \"id\": 3}"
				"{\"id\": 4, \"return\": [1, \"}\\\"{\", {}]}");
	fuzz_seed_text("events",
		       GREETING "{\"event\": \"STOP\"}{\"event\": \"RESUME\"}{\"event\": \"RESET\", "
				"\"data\": {\"guest\": true}}{\"return\": {}, \"id\": 2}\n"
				"{\"event\": \"SHUTDOWN\"}");
	fuzz_seed_text("strings", GREETING
		       "{\"a\": \"}{\\\"]\\\\\"}\n{\"event\":\"RESUME\"}{\"b\":[{\"event\":\"RESUME\"}]}");
	fuzz_seed_text("late",
		       GREETING "{\"return\": {}, \"id\": 1}{\"return\": {}, \"id\": 2}{\"return\": {}}");
	fuzz_seed_text("error-empty", GREETING "{\"error\": 1, \"id\": 2}");
	fuzz_seed_text("denied",
		       "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 0, \"major\": 0}, "
		       "\"package\": \"\"}}}{\"error\": {\"desc\": \"x\"}, \"id\": 1}");
	fuzz_seed_text("ssh", "SSH-2.0-OpenSSH\r\n");
	fuzz_seed_text("broken", "{\"QMP\": }");
	fuzz_seed_text("pretty", "{\n    \"QMP\": [\n    ]\n}\n");
	fuzz_seed_text("mismatch", "{\"QMP\": ]");
	for (int storm = 0; storm < 2; storm++) {
		size_t n = (size_t)snprintf(text, sizeof text, GREETING);
		for (int i = 0; i < 70; i++)
			n += (size_t)snprintf(text + n, sizeof text - n, "{\"event\":\"%s\"}\n",
					      storm ? "SHUTDOWN" : "RESET");
		fuzz_seed_text(storm ? "storm-shutdown" : "storm", text);
	}
}
