/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's side of a check against backups that answer by hand: one that is too old, one that lies, one that
 * says something else. (Real hosts are in tests/system/test-check.py.)
 */
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include "remus/engine.h"
#include "remus/host.h"
#include "unit.h"

static void look(const char *locator, const struct remus_domain_config *config, const struct remus_held *held,
		 struct remus_domain_view *out, struct remus_report *report)
{
	out->description = strdup("{}");
	out->pages = 16;
	remus_report_ok(report, "guest", "%s", locator);
}
static const struct remus_domain_ops ops = {.backend = "fake", .check = look};

/* What the other side saw and does. */
static struct {
	int listener;
	uint16_t answer;
	uint8_t body[512];
	size_t bytes;
	struct remus_hello hello;
	bool heard;
} peer;

static void *serve(void *context)
{
	struct pollfd pfd = {.fd = peer.listener, .events = POLLIN};
	struct remus_transport *transport;
	struct remus_frame frame = {0};
	struct remus_link *link;
	int fd = poll(&pfd, 1, 5000) == 1 ? accept(peer.listener, NULL, NULL) : -1;

	if (fd < 0 || remus_transport_tcp(fd, &transport, NULL) ||
	    remus_link_start(transport, NULL, &link, NULL))
		return NULL;
	for (int waited = 0; waited < 500 && remus_link_next(link, &frame, NULL) == 0; waited++)
		poll(NULL, 0, 10);
	peer.heard = frame.header.type == REMUS_FRAME_HELLO &&
		     !remus_hello_decode(frame.payload, frame.header.length, &peer.hello, NULL);
	struct iovec part = {peer.body, peer.bytes};
	remus_link_send(link, peer.answer, REMUS_FRAME_MANDATORY, 0, &part, 1, NULL, NULL);
	free(frame.payload);
	remus_link_close(link);
	return NULL;
}

static struct remus_check_result result;

/* Ask the peer; what the primary makes of it is in `result`. */
static void ask(uint16_t answer, const void *body, size_t bytes)
{
	struct sockaddr_in address;
	socklen_t n = sizeof address;
	char port[8];
	pthread_t thread;

	memset(&peer, 0, sizeof peer);
	peer.answer = answer;
	memcpy(peer.body, body, bytes);
	peer.bytes = bytes;
	peer.listener = remus_link_listen("127.0.0.1", "0", NULL);
	CU_ASSERT_FATAL(peer.listener >= 0);
	getsockname(peer.listener, (struct sockaddr *)&address, &n);
	snprintf(port, sizeof port, "%u", ntohs(address.sin_port));
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, serve, NULL), 0);
	struct remus_check_config config = {
		.name = "vm1",
		.ops = &ops,
		.locator = "here",
		.host = "127.0.0.1",
		.port = port,
		.key = {.session = {1}, .generation = 1},
		.arbiter_uri = "manual",
		.standby_egress = "",
	};
	struct remus_domain_view view;
	memset(&result, 0, sizeof result);
	remus_check_here(&config, &view, &result);
	remus_check_there(&config, &view, &result);
	free(view.description);
	pthread_join(thread, NULL);
	close(peer.listener);
}

static const struct remus_finding *fatal(void)
{
	for (uint32_t i = 0; i < result.here.count; i++)
		if (result.here.list[i].severity == REMUS_FINDING_FATAL)
			return &result.here.list[i];
	return NULL;
}

static void answered(void)
{
	static struct remus_report there = {.release = "9.9"};
	uint8_t *bytes = NULL;
	size_t n;

	there.count = 0;
	remus_report_warn(&there, "bridge", "look", "a bridge");
	CU_ASSERT_EQUAL_FATAL(remus_findings_encode(&there, &bytes, &n, NULL), 0);
	ask(REMUS_FRAME_FINDINGS, bytes, n);
	free(bytes);
	CU_ASSERT(peer.heard && result.answered && result.clock_known);
	CU_ASSERT_EQUAL(peer.hello.features_required, REMUS_FEATURE_CHECK);
	CU_ASSERT_EQUAL(peer.hello.guest_pages, 16);
	CU_ASSERT_STRING_EQUAL(peer.hello.description, "{}");
	CU_ASSERT_STRING_EQUAL(peer.hello.arbiter, "manual");
	CU_ASSERT_PTR_NULL(fatal());
	CU_ASSERT_STRING_EQUAL(result.there.list[0].what, "a bridge");
	/* One host's clock: the offset is nothing, up to the error that is claimed. */
	CU_ASSERT((uint64_t)llabs(result.clock_offset_us) <= result.clock_error_us + 1);
	bool releases = false;
	for (uint32_t i = 0; i < result.here.count; i++)
		releases |= strstr(result.here.list[i].what, "the backup 9.9") != NULL;
	CU_ASSERT(releases);
	remus_hello_clear(&peer.hello);
}

static void too_old(void)
{
	uint8_t body[REMUS_SMALL_PAYLOAD_MAX];
	size_t n = remus_refuse_encode(
		EPROTONOSUPPORT, "the primary requires features 0x8 that this remusd does not know", body);

	ask(REMUS_FRAME_REFUSE, body, n);
	CU_ASSERT(!result.answered);
	const struct remus_finding *f = fatal();
	CU_ASSERT(f && strstr(f->what, "features 0x8") && strstr(f->remedy, "same release"));
	remus_hello_clear(&peer.hello);
}

static void liars(void)
{
	static const struct {
		uint16_t type;
		uint8_t body[24];
		size_t bytes;
		const char *word;
	} table[] = {
		{REMUS_FRAME_FINDINGS, {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, 8, "at most"},
		{REMUS_FRAME_FINDINGS, {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 12, "middle"},
		{REMUS_FRAME_FINDINGS, {0}, 3, "at least"},
		{REMUS_FRAME_REFUSE, {1}, 1, "REFUSE"},
		{REMUS_FRAME_WELCOME, {7}, 16, "answers a check with WELCOME"},
		{REMUS_FRAME_ACK, {7}, 8, "before the hello was accepted"},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		ask(table[i].type, table[i].body, table[i].bytes);
		CU_ASSERT(!result.answered && !result.there.count);
		const struct remus_finding *f = fatal();
		const char *what = f ? f->what : "nothing fatal";
		if (!strstr(what, table[i].word))
			printf("\n    \"%s\" lacks \"%s\"\n", what, table[i].word);
		CU_ASSERT(strstr(what, table[i].word) != NULL);
		remus_hello_clear(&peer.hello);
	}
}

static void skew(void)
{
	static const struct {
		int64_t offset;
		uint64_t error;
		bool good;
	} table[] = {
		{0, 50, true},	     {-99000, 900, true},    {99000, 1001, false},
		{-101000, 0, false}, {0, 200000, false},     {INT64_C(-60000000), 5, false},
		{100000, 0, true},   {3600000000, 9, false},
	};
	static struct remus_report report;

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		memset(&report, 0, sizeof report);
		remus_host_check_skew(table[i].offset, table[i].error, &report);
		CU_ASSERT_EQUAL(remus_report_count(&report, REMUS_FINDING_OK), table[i].good);
		CU_ASSERT_EQUAL(remus_report_count(&report, REMUS_FINDING_WARNING), !table[i].good);
	}
}

static void memory(void)
{
	static struct remus_report report;

	memset(&report, 0, sizeof report);
	remus_host_check_memory(4096, "a page", REMUS_FINDING_FATAL, &report);
	CU_ASSERT_EQUAL(remus_report_first(&report, NULL), 0);
	remus_host_check_memory(UINT64_C(1) << 60, "an exbibyte", REMUS_FINDING_WARNING, &report);
	CU_ASSERT_EQUAL(remus_report_count(&report, REMUS_FINDING_WARNING), 1);
	remus_host_check_memory(UINT64_C(1) << 60, "an exbibyte", REMUS_FINDING_FATAL, &report);
	CU_ASSERT_EQUAL(remus_report_first(&report, NULL), -ENOMEM);
}

static const struct unit_case cases[] = {
	{"answered", answered},	     {"a backup that is too old", too_old},
	{"backups that lie", liars}, {"skew of the clocks", skew},
	{"memory", memory},
};
UNIT_MAIN("check", cases)
