// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The etcd arbiter's text: URIs, base64, transactions, and above all answers. Whoever gives one that etcd cannot have
 * given is not believed: no malformed text may ever read as WON or LOST. tests/system/test-etcd.py has real clusters.
 */
#include <stdbool.h>
#include <jansson.h>
#include "replicator/arbiter/base64.h"
#include "replicator/arbiter/etcd.h"
#include "unit.h"

static void base64(void)
{
	static const struct {
		const char *plain, *coded;
	} all[] = {{"", ""},
		   {"f", "Zg=="},
		   {"fo", "Zm8="},
		   {"foo", "Zm9v"},
		   {"foob", "Zm9vYg=="},
		   {"fooba", "Zm9vYmE="},
		   {"foobar", "Zm9vYmFy"},
		   {"\xff\xef\xbe", "/+++"}};
	char out[64];

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(all); i++) {
		size_t n = strlen(all[i].plain);
		CU_ASSERT_EQUAL(strlen(all[i].coded) + 1, BASE64_SIZE(n));
		base64_encode(all[i].plain, n, out);
		CU_ASSERT_STRING_EQUAL(out, all[i].coded);
		CU_ASSERT_EQUAL(base64_decode(all[i].coded, out, n), (int)n);
		CU_ASSERT_EQUAL(memcmp(out, all[i].plain, n), 0);
		if (n)
			CU_ASSERT_EQUAL(base64_decode(all[i].coded, out, n - 1), -E2BIG);
	}
	static const char *const bad[] = {"Z",	  "Zg",	  "Zg=",  "Zg===",    "=",     "====", "Z===",
					  "Zh==", "Zm9=", "Zm=9", "Zg==Zg==", "Zm9\n", "Zm-_", "Zm9vYg=a"};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++)
		CU_ASSERT_EQUAL(base64_decode(bad[i], out, sizeof out), -EINVAL);
}

static void uris(void)
{
	struct etcd_uri u;

	CU_ASSERT_EQUAL_FATAL(
		etcd_uri_parse("https://h1:2379,https://h2,http://[fd00::3]:99/prod/remus/?ca=/etc/"
			       "my%20ca.pem&cert=/c&key=/k&user=remus&password-file=/pw",
			       &u, NULL),
		0);
	CU_ASSERT_EQUAL(u.endpoints, 3);
	CU_ASSERT_STRING_EQUAL(u.endpoint[0], "https://h1:2379");
	CU_ASSERT_STRING_EQUAL(u.endpoint[1], "https://h2:2379");
	CU_ASSERT_STRING_EQUAL(u.endpoint[2], "http://[fd00::3]:99");
	CU_ASSERT_STRING_EQUAL(u.prefix, "/prod/remus");
	CU_ASSERT_STRING_EQUAL(u.ca, "/etc/my ca.pem");
	CU_ASSERT_STRING_EQUAL(u.cert, "/c");
	CU_ASSERT_STRING_EQUAL(u.key, "/k");
	CU_ASSERT_STRING_EQUAL(u.user, "remus");
	CU_ASSERT_STRING_EQUAL(u.password_file, "/pw");
	static const char *const plain[] = {"http://h", "http://h/", "http://h//"};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(plain); i++) {
		CU_ASSERT_EQUAL_FATAL(etcd_uri_parse(plain[i], &u, NULL), 0);
		CU_ASSERT_STRING_EQUAL(u.endpoint[0], "http://h:2379");
		CU_ASSERT_STRING_EQUAL(u.prefix, "/remus");
	}
}

static void bad_uris(void)
{
	static const struct {
		const char *uri, *word;
	} bad[] = {
		{"", "https://"},
		{"h1:2379", "https://"},
		{"//h1:2379", "https://"},
		{"ftp://h1", "https://"},
		{"http://", "no host"},
		{"http://:2379", "no host"},
		{"http://h1,", "https://"},
		{"http://h1,,http://h2", "https://"},
		{"http://h1:0", "HOST[:PORT]"},
		{"http://h1:65536", "HOST[:PORT]"},
		{"http://h1:", "HOST[:PORT]"},
		{"http://h1:12x", "HOST[:PORT]"},
		{"http://h 1", "HOST[:PORT]"},
		{"http://[::1", "brackets"},
		{"http://[]", "brackets"},
		{"http://[::1]x", "HOST[:PORT]"},
		{"http://me:secret@h1", "must not hold a password"},
		{"http://h1/a,http://h2/b", "only the last endpoint"},
		{"http://h1/a b", "prefix"},
		{"http://h1/a#b", "prefix"},
		{"http://h1?", "NAME=VALUE"},
		{"http://h1?ca", "NAME=VALUE"},
		{"http://h1?=x", "NAME=VALUE"},
		{"http://h1?nonsense=1", "no such option"},
		{"http://h1?password=secret", "belongs in a file"},
		{"https://h1?ca=ca.pem", "absolute"},
		{"https://h1?ca=/a%0ab", "control characters"},
		{"https://h1?ca=/a%0", "percent"},
		{"https://h1?cert=/a", "go together"},
		{"https://h1?user=a", "go together"},
		{"https://h1?user=&password-file=/a", "empty"},
		{"http://h1?ca=/a", "no endpoint is https"},
		{"http://1,http://2,http://3,http://4,http://5,http://6,http://7,http://8,http://9,http://10",
		 "more than 9"},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++) {
		struct etcd_uri u;
		struct remus_error err = REMUS_ERROR_INIT;
		int rc = etcd_uri_parse(bad[i].uri, &u, &err);
		CU_ASSERT(rc < 0);
		CU_ASSERT_EQUAL(rc, err.code);
		UNIT_ASSERT_MESSAGE(err, bad[i].word);
	}
}

/* ---- transactions ---- */

static struct etcd_names names;
#define OPEN   "L3IvYWIwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAuNy9vcGVu"     /* /r/ab00...00.7/open */
#define HOLDER "L3IvYWIwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAuNy9ob2xkZXI=" /* .../holder */
#define LAST   "L3IvbGFzdC1vcGVuZWQ="					      /* /r/last-opened */

static void set_names(void)
{
	const struct remus_key key = {.session = {0xab}, .generation = 7};
	char text[BASE64_SIZE(ETCD_KEY_MAX)];

	etcd_names("/r", &key, &names);
	CU_ASSERT_STRING_EQUAL(names.open, "/r/ab000000000000000000000000000000.7/open");
	base64_encode(names.open, strlen(names.open), text);
	CU_ASSERT_STRING_EQUAL_FATAL(text, OPEN);
	base64_encode(names.holder, strlen(names.holder), text);
	CU_ASSERT_STRING_EQUAL_FATAL(text, HOLDER);
	base64_encode(names.last, strlen(names.last), text);
	CU_ASSERT_STRING_EQUAL_FATAL(text, LAST);
}

static void bodies(void)
{
	char *claim = etcd_claim_body(&names, REMUS_HOLDER_BACKUP);
	json_t *got = json_loads(claim, 0, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(got);
	json_t *want = json_pack("{s:[{s:s,s:s,s:s,s:s},{s:s,s:s,s:s,s:s}],s:[{s:{s:s,s:s}},{s:{s:s}}],s:[{s:"
				 "{s:s}},{s:{s:s}}]}",
				 "compare", "key", OPEN, "target", "CREATE", "result", "GREATER",
				 "create_revision", "0", "key", HOLDER, "target", "CREATE", "result", "EQUAL",
				 "create_revision", "0", "success", "request_put", "key", HOLDER, "value",
				 "YmFja3Vw", "request_delete_range", "key", OPEN, "failure", "request_range",
				 "key", OPEN, "request_range", "key", HOLDER);
	CU_ASSERT_PTR_NOT_NULL_FATAL(want);
	CU_ASSERT(json_equal(got, want));
	json_decref(got);
	json_decref(want);
	free(claim);
	char *login = etcd_login_body("me", "\"quoted\\\"");
	got = json_loads(login, 0, NULL);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(got, "password")), "\"quoted\\\"");
	json_decref(got);
	free(login);
}

/* ---- answers ---- */
#define HEADER	  "\"header\":{\"cluster_id\":\"5\",\"member_id\":\"6\",\"revision\":\"9\",\"raft_term\":\"2\"}"
#define PUT	  "{\"response_put\":{\"header\":{\"revision\":\"9\"}}}"
#define DELETED	  "{\"response_delete_range\":{\"header\":{\"revision\":\"9\"},\"deleted\":\"1\"}}"
#define DELETED_0 "{\"response_delete_range\":{\"header\":{\"revision\":\"9\"}}}"
#define NONE	  "{\"response_range\":{\"header\":{\"revision\":\"9\"}}}"
#define KV(key, value)                                                                             \
	"{\"response_range\":{\"kvs\":[{\"key\":\"" key                                            \
	"\",\"create_revision\":\"2\",\"mod_revision\":\"4\",\"version\":\"1\",\"value\":\"" value \
	"\"}],\"count\":\"1\"}}"
#define YES(...) "{" HEADER ",\"succeeded\":true,\"responses\":[" __VA_ARGS__ "]}"
#define NO(...)	 "{" HEADER ",\"responses\":[" __VA_ARGS__ "]}"
#define PRIMARY	 "cHJpbWFyeQ=="
#define BACKUP	 "YmFja3Vw"
#define NONCE	 "bm9uY2U=" /* "nonce" */

/* What a claim by the backup makes of it; *code as etcd_judge_claim's, or that of the parser. */
static enum remus_claim claim_of(const char *text, int *code, struct remus_error *err)
{
	struct etcd_answer answer;

	*code = etcd_answer_parse(200, text, strlen(text), &answer, err);
	if (*code < 0)
		return REMUS_CLAIM_UNKNOWN;
	CU_ASSERT_EQUAL(answer.cluster, 5);
	return etcd_judge_claim(&answer, &names, REMUS_HOLDER_BACKUP, code, err);
}

static void claims(void)
{
	static const struct {
		const char *text;
		enum remus_claim claim;
		int code;
	} all[] = {
		{YES(PUT "," DELETED), REMUS_CLAIM_WON, 0},
		{NO(NONE "," KV(HOLDER, BACKUP)), REMUS_CLAIM_WON, 0}, /* asked again */
		{NO(NONE "," KV(HOLDER, PRIMARY)), REMUS_CLAIM_LOST, 0},
		{NO(KV(OPEN, NONCE) "," KV(HOLDER, PRIMARY)), REMUS_CLAIM_LOST, 0}, /* a restored open */
		{NO(NONE "," NONE), REMUS_CLAIM_UNKNOWN, 0}, /* retired, or forgotten */
		/* What etcd cannot say. */
		{NO(KV(OPEN, NONCE) "," NONE), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{NO(KV(HOLDER, PRIMARY) "," NONE), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{NO(NONE "," KV(OPEN, PRIMARY)), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{NO(NONE "," KV(HOLDER, NONCE)), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{NO(NONE "," KV(HOLDER, "")), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{NO(NONE), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{NO(NONE "," NONE "," NONE), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{NO(PUT "," DELETED), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{YES(NONE "," KV(HOLDER, BACKUP)), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{YES(NONE "," KV(HOLDER, PRIMARY)), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{YES(PUT "," DELETED_0), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{YES(PUT), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{YES(DELETED "," PUT), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{YES(""), REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{"{" HEADER ",\"succeeded\":true}", REMUS_CLAIM_UNKNOWN, -EBADMSG},
		{"{" HEADER "}", REMUS_CLAIM_UNKNOWN, -EBADMSG},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(all); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		int code = 1;
		CU_ASSERT_EQUAL(claim_of(all[i].text, &code, &err), all[i].claim);
		CU_ASSERT_EQUAL(code, all[i].code);
		CU_ASSERT_EQUAL(err.message[0] != 0, all[i].claim == REMUS_CLAIM_UNKNOWN);
	}
}

static void malformed(void)
{
	static const char *const bad[] = {
		"",
		"null",
		"true",
		"[]",
		"\"won\"",
		"{}",
		"{\"succeeded\":true}",
		"<html>502 Bad Gateway</html>",
		YES(PUT "," DELETED) "x",
		"{\"header\":5,\"succeeded\":true,\"responses\":[" PUT "," DELETED "]}",
		"{\"header\":{\"revision\":\"9\"},\"succeeded\":true,\"responses\":[" PUT "," DELETED "]}",
		"{\"header\":{\"cluster_id\":\"0\",\"revision\":\"9\"},\"responses\":[]}",
		"{\"header\":{\"cluster_id\":\"-5\",\"revision\":\"9\"},\"responses\":[]}",
		"{\"header\":{\"cluster_id\":\"5\"},\"responses\":[]}",
		"{\"header\":{\"cluster_id\":\"99999999999999999999999\",\"revision\":\"9\"},\"responses\":[]"
		"}",
		"{\"header\":{\"cluster_id\":5.5,\"revision\":\"9\"},\"responses\":[]}",
		"{" HEADER ",\"succeeded\":\"true\",\"responses\":[" PUT "," DELETED "]}",
		"{" HEADER ",\"succeeded\":1,\"responses\":[" PUT "," DELETED "]}",
		"{" HEADER ",\"succeeded\":true,\"succeeded\":false,\"responses\":[" PUT "," DELETED "]}",
		"{" HEADER ",\"succeeded\":true,\"responses\":{}}",
		"{" HEADER ",\"succeeded\":true,\"responses\":[" PUT "," DELETED "],\"error\":\"no\"}",
		YES("5,6"),
		YES("{},{}"),
		YES("{\"response_put\":5}," DELETED),
		YES("{\"response_put\":{},\"response_range\":{}}," DELETED),
		YES(PUT ",{\"response_delete_range\":{\"deleted\":\"one\"}}"),
		NO(NONE "," NONE "," NONE "," NONE),
		NO(NONE ",{\"response_range\":{\"count\":\"1\"}}"),
		NO(NONE ",{\"response_range\":{\"count\":\"2\",\"kvs\":[{},{}]}}"),
		NO(NONE ",{\"response_range\":{\"count\":\"1\",\"kvs\":[5]}}"),
		NO(NONE ",{\"response_range\":{\"count\":\"1\",\"kvs\":{}}}"),
		NO(NONE ",{\"response_range\":{\"kvs\":[{\"key\":\"" HOLDER "\",\"value\":\"" PRIMARY
			"\"}]}}"),
		NO(NONE ",{\"response_range\":{\"count\":\"1\",\"kvs\":[{\"key\":\"" HOLDER
			"\",\"value\":\"" PRIMARY "\"}]}}"),
		NO(NONE "," KV(HOLDER, "cHJpbWFyeQ")),
		NO(NONE "," KV(HOLDER, "cHJpbWFyeQBQ")), /* "primary", NUL, "P" */
		NO(NONE "," KV("!", PRIMARY)),
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		int code = 0;
		CU_ASSERT_EQUAL(claim_of(bad[i], &code, &err), REMUS_CLAIM_UNKNOWN);
		CU_ASSERT_EQUAL(code, -EBADMSG);
		CU_ASSERT(err.message[0]);
	}
	/* Cut anywhere, a good answer is none. */
	static const char *const good[] = {YES(PUT "," DELETED), NO(NONE "," KV(HOLDER, PRIMARY))};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(good); i++)
		for (size_t n = 0; n < strlen(good[i]); n++) {
			struct etcd_answer answer;
			CU_ASSERT_EQUAL(etcd_answer_parse(200, good[i], n, &answer, NULL), -EBADMSG);
		}
}

/* One byte of a good answer is changed: never the opposite answer. (Only "primary" as such may lose, and only
 * "backup" or a complete success may win.) */
static void damaged(void)
{
	static const char *const good[] = {YES(PUT "," DELETED), NO(NONE "," KV(HOLDER, PRIMARY)),
					   NO(NONE "," KV(HOLDER, BACKUP)), NO(NONE "," NONE)};
	static const enum remus_claim is[] = {REMUS_CLAIM_WON, REMUS_CLAIM_LOST, REMUS_CLAIM_WON,
					      REMUS_CLAIM_UNKNOWN};
	unsigned unknown = 0, wrong = 0;

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(good); i++) {
		char text[1024];
		for (size_t at = 0; at < strlen(good[i]); at++)
			for (int c = 1; c < 256; c++) {
				struct etcd_answer answer;
				int code;
				strcpy(text, good[i]);
				text[at] = (char)c;
				enum remus_claim claim = REMUS_CLAIM_UNKNOWN;
				if (!etcd_answer_parse(200, text, strlen(text), &answer, NULL))
					claim = etcd_judge_claim(&answer, &names, REMUS_HOLDER_BACKUP, &code,
								 NULL);
				unknown += claim == REMUS_CLAIM_UNKNOWN;
				wrong += claim != REMUS_CLAIM_UNKNOWN && claim != is[i];
			}
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(unknown > 10000);
}

static void errors_of_etcd(void)
{
	static const struct {
		long status;
		const char *text;
		int code;
		const char *says;
	} all[] = {
		{503,
		 "{\"error\":\"etcdserver: no leader\",\"code\":14,\"message\":\"etcdserver: no leader\"}",
		 -EAGAIN, "no leader"},
		{504, "{\"error\":\"etcdserver: request timed out\",\"code\":14}", -EAGAIN, "timed out"},
		{403, "{\"error\":\"etcdserver: permission denied\",\"code\":7}", -EACCES,
		 "permission denied"},
		{400, "{\"message\":\"etcdserver: authentication failed\",\"code\":3}", -EACCES,
		 "authentication failed"},
		{401, "{\"error\":\"etcdserver: invalid auth token\",\"code\":16}", -EAGAIN,
		 "invalid auth token"},
		{404, "404 page not found", -EBADMSG, "JSON gateway"},
		{404, "{\"error\":\"Not Found\",\"code\":5}", -EAGAIN, "Not Found"},
		{502, "<html>", -EBADMSG, "HTTP status 502"},
		{503, YES(PUT "," DELETED), -EBADMSG, "HTTP status 503"},
		{200, "garbage", -EBADMSG, "not etcd's JSON"},
		{200, "{\"error\":\"x\",\"code\":2}", -EAGAIN, "x"},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(all); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct etcd_answer answer;
		CU_ASSERT_EQUAL(
			etcd_answer_parse(all[i].status, all[i].text, strlen(all[i].text), &answer, &err),
			all[i].code);
		UNIT_ASSERT_MESSAGE(err, all[i].says);
		char *token = NULL;
		CU_ASSERT(etcd_login_parse(all[i].status, all[i].text, strlen(all[i].text), &token, &err) <
			  0);
		CU_ASSERT_PTR_NULL(token);
	}
}

static void logins(void)
{
	static const char *const bad[] = {"{" HEADER "}", "{\"token\":5}", "{\"token\":\"\"}",
					  "{\"token\":\"a b\"}", "{\"token\":\"a\\r\\nHost: x\"}"};
	char *token = NULL;
	const char *good = "{" HEADER ",\"token\":\"aB.7\"}";

	CU_ASSERT_EQUAL(etcd_login_parse(200, good, strlen(good), &token, NULL), 0);
	CU_ASSERT_STRING_EQUAL(token, "aB.7");
	free(token);
	token = NULL;
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++)
		CU_ASSERT_EQUAL(etcd_login_parse(200, bad[i], strlen(bad[i]), &token, NULL), -EBADMSG);
	CU_ASSERT_PTR_NULL(token);
}

static struct etcd_answer parsed(const char *text)
{
	struct etcd_answer answer;

	CU_ASSERT_EQUAL(etcd_answer_parse(200, text, strlen(text), &answer, NULL), 0);
	return answer;
}

static void opens(void)
{
	static const struct {
		const char *text;
		int code;
		uint64_t last;
	} all[] = {
		{YES(PUT "," PUT), 0, 1},
		{NO(KV(OPEN, NONCE) "," NONE "," KV(LAST, NONCE)), 0,
		 1}, /* the answer to our first try was lost */
		{NO(KV(OPEN, PRIMARY) "," NONE "," KV(LAST, NONCE)), -EEXIST, 1},
		{NO(NONE "," KV(HOLDER, PRIMARY) "," KV(LAST, NONCE)), -EEXIST, 1},
		{NO(NONE "," NONE "," KV(LAST, PRIMARY)), -ESTALE, 4},
		{NO(NONE "," NONE "," NONE), -ESTALE, 0},
		{YES(PUT), -EBADMSG, 1},
		{NO(NONE "," NONE), -EBADMSG, 1},
		{NO(NONE "," NONE "," KV(OPEN, NONCE)), -EBADMSG, 1},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(all); i++) {
		struct etcd_answer answer = parsed(all[i].text);
		uint64_t last = 1;
		CU_ASSERT_EQUAL(etcd_judge_open(&answer, &names, "nonce", &last, NULL), all[i].code);
		CU_ASSERT_EQUAL(last, all[i].last);
	}
	struct etcd_answer answer = parsed(NO(NONE "," NONE "," KV(LAST, PRIMARY)));
	uint64_t last = 4; /* nothing moved, so it cannot have failed */
	CU_ASSERT_EQUAL(etcd_judge_open(&answer, &names, "nonce", &last, NULL), -EBADMSG);
}

static void checks_and_retirements(void)
{
	static const struct {
		const char *text;
		int check, retire;
	} all[] = {
		{YES(PUT), 0, -EBADMSG},
		{YES(DELETED), -EBADMSG, 0},
		{YES(DELETED_0), -EBADMSG, 0},
		{NO(""), -EBADMSG, 0},
		{"{" HEADER "}", -EBADMSG, 0},
		{NO(NONE "," NONE), -ENOENT, -EBADMSG},
		{NO(NONE "," KV(HOLDER, PRIMARY)), -EALREADY, -EBADMSG},
		{NO(KV(OPEN, NONCE) "," NONE), -EBADMSG, -EBADMSG},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(all); i++) {
		struct etcd_answer answer = parsed(all[i].text);
		CU_ASSERT_EQUAL(etcd_judge_check(&answer, &names, NULL), all[i].check);
		CU_ASSERT_EQUAL(etcd_judge_retire(&answer, NULL), all[i].retire);
	}
}

static const struct unit_case cases[] = {
	{"base64", base64},
	{"URIs", uris},
	{"bad URIs", bad_uris},
	{"names", set_names},
	{"transactions", bodies},
	{"claims", claims},
	{"malformed answers", malformed},
	{"damaged answers", damaged},
	{"errors of etcd", errors_of_etcd},
	{"logins", logins},
	{"opening", opens},
	{"checking and retiring", checks_and_retirements},
};
UNIT_MAIN("arbiter-etcd", cases)
