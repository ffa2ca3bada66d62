// SPDX-License-Identifier: GPL-2.0-or-later
/* From URI to arbiter, keys as text, and the arbiter that only ever refers to the operator. */
#include "config.h"
#include "remus/arbiter.h"
#include "unit.h"

static void accepts(void)
{
	static const struct {
		const char *uri, *scheme;
	} good[] = {
		{"file:/srv/remus", "file"},
		{"file:/does/not/exist:and/a colon", "file"}, /* the medium isn't touched */
		{"manual", "manual"},
		{"manual:", "manual"},
		{"command:/does/not/exist", "command"},
		{"command:/bin/true?timeout=600&kind=lock&plug=host%2da&passwd_script=/x", "command"},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(good); i++) {
		struct remus_arbiter *a = NULL;
		struct remus_error err = REMUS_ERROR_INIT;
		CU_ASSERT_EQUAL_FATAL(remus_arbiter_create(good[i].uri, &a, &err), 0);
		CU_ASSERT_STRING_EQUAL(a->ops->scheme, good[i].scheme);
		CU_ASSERT_STRING_EQUAL(err.message, "");
		a->ops->close(a);
	}
}

static void refuses(void)
{
	char endless[8192] = "file:/";
	memset(endless + 6, 'x', sizeof endless - 7);
	const struct {
		const char *uri, *word;
	} bad[] = {
		{"", "file:DIR, manual"},
		{":", "file:DIR, manual"},
		{"zookeeper:h:2181", "etcd:https://HOST:PORT[,...]"},
		{"zookeeper:h:2181", "command:PROGRAM[?OPTIONS]"},
		{"command:fence", "absolute"},
		{"command:", "absolute"},
		{"command:/", "absolute"},
		{"command:/bin/true?", "NAME=VALUE"},
		{"command:/bin/true?timeout", "NAME=VALUE"},
		{"command:/bin/true?timeout=0", "1 to 600"},
		{"command:/bin/true?timeout=601", "1 to 600"},
		{"command:/bin/true?timeout=-1", "1 to 600"},
		{"command:/bin/true?kind=both", "fence or lock"},
		{"command:/bin/true?action=off", "set by remus itself"},
		{"command:/bin/true?a%0ab=c", "control characters"},
		{"command:/bin/true?a=b%0aaction=c", "control characters"},
		{"command:/bin/true?a=%zz", "percent"},
		{"command:/bin/true?a.b=c", "letters"},
		{"command:/bin/true?passwd=x", "belongs in a file"},
		{"FILE:/x", "file:DIR, manual"},
		{"fil:/x", "file:DIR, manual"},
		{"files:/x", "file:DIR, manual"},
		{"/srv/remus", "file:DIR, manual"},
		{"file", "absolute"},
		{"file:", "absolute"},
		{"file:srv", "absolute"},
		{"manual:please", "nothing may follow"},
		{endless, "too long"},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++) {
		struct remus_arbiter *a = NULL;
		struct remus_error err = REMUS_ERROR_INIT;
		int rc = remus_arbiter_create(bad[i].uri, &a, &err);
		CU_ASSERT(rc < 0);
		CU_ASSERT_EQUAL(rc, err.code);
		CU_ASSERT_PTR_NULL(a);
		UNIT_ASSERT_MESSAGE(err, bad[i].word);
		char named[128];
		snprintf(named, sizeof named, "\"%.64s", bad[i].uri);
		UNIT_ASSERT_MESSAGE(err, named);
		CU_ASSERT(remus_arbiter_create(bad[i].uri, &a, NULL) < 0);
	}
}

/* With libcurl it is made, without touching the network; without, refused with the reason. */
static void etcd_or_why_not(void)
{
	struct remus_arbiter *a = NULL;
	struct remus_error err = REMUS_ERROR_INIT;
	int rc = remus_arbiter_create("etcd:https://h1,https://h2", &a, &err);

#ifdef HAVE_CURL
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	CU_ASSERT_STRING_EQUAL(a->ops->scheme, "etcd");
	a->ops->close(a);
	CU_ASSERT_EQUAL(remus_arbiter_create("etcd:h1:2379", &a, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "https://");
#else
	CU_ASSERT_EQUAL(rc, -EPROTONOSUPPORT);
	UNIT_ASSERT_MESSAGE(err, "built without libcurl");
#endif
}

static void fencing_is_known(void)
{
	static const struct {
		const char *uri;
		bool fences;
	} all[] = {
		{NULL, false},
		{"", false},
		{"file:/srv", false},
		{"manual", false},
		{"command:/bin/true", true},
		{"command:/bin/true?kind=fence", true},
		{"command:/bin/true?kind=lock", false},
		{"command:true", false},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(all); i++)
		CU_ASSERT_EQUAL(remus_arbiter_fences(all[i].uri), all[i].fences);
}

static void key_as_text(void)
{
	struct remus_key key = {.session = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xff},
				.generation = UINT64_MAX};
	char text[REMUS_KEY_TEXT];

	remus_key_text(&key, text);
	CU_ASSERT_STRING_EQUAL(text, "0123456789abcdefff00000000000000.18446744073709551615");
	CU_ASSERT_EQUAL(strlen(text), REMUS_KEY_TEXT - 1);
	key.generation = 7;
	remus_key_text(&key, text);
	CU_ASSERT_STRING_EQUAL(text, "0123456789abcdefff00000000000000.7");
}

static void names_of_answers(void)
{
	CU_ASSERT_STRING_EQUAL(remus_claim_name(REMUS_CLAIM_WON), "won");
	CU_ASSERT_STRING_EQUAL(remus_claim_name(REMUS_CLAIM_LOST), "lost");
	CU_ASSERT_STRING_EQUAL(remus_claim_name(REMUS_CLAIM_UNKNOWN), "unknown");
}

static void manual_refers_to_the_operator(void)
{
	struct remus_key key = {.generation = 1};
	struct remus_arbiter *a = NULL;
	struct remus_error err = REMUS_ERROR_INIT;

	CU_ASSERT_EQUAL_FATAL(remus_arbiter_create("manual", &a, &err), 0);
	CU_ASSERT_EQUAL(a->ops->open(a, &key, &err), 0);
	CU_ASSERT_EQUAL(a->ops->check(a, &key, &err), 0);
	CU_ASSERT_EQUAL(a->ops->claim(a, &key, REMUS_HOLDER_BACKUP, &err), REMUS_CLAIM_UNKNOWN);
	UNIT_ASSERT_MESSAGE(err, "run `remusctl failover DOMAIN --force` here");
	UNIT_ASSERT_MESSAGE(err, "powered off");
	CU_ASSERT_EQUAL(a->ops->claim(a, &key, REMUS_HOLDER_PRIMARY, &err), REMUS_CLAIM_UNKNOWN);
	UNIT_ASSERT_MESSAGE(err, "run `remusctl unprotect DOMAIN --force` here");
	CU_ASSERT(strlen(err.message) < REMUS_ERROR_MAX - 100); /* room for a prefix */
	CU_ASSERT_EQUAL(a->ops->retire(a, &key, &err), 0);
	CU_ASSERT_EQUAL(a->ops->claim(a, &key, REMUS_HOLDER_PRIMARY, NULL), REMUS_CLAIM_UNKNOWN);
	a->ops->close(a);
}

static const struct unit_case cases[] = {
	{"accepts", accepts},
	{"refuses, naming the URI and the remedy", refuses},
	{"etcd, or why not", etcd_or_why_not},
	{"which fence is known", fencing_is_known},
	{"key as text", key_as_text},
	{"names of answers", names_of_answers},
	{"manual refers to the operator", manual_refers_to_the_operator},
};
UNIT_MAIN("arbiter-uri", cases)
