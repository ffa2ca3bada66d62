// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One transaction, carried out by whichever member of the cluster answers first.
 *
 * Every question may be asked twice (etcd_txn.c), so none is waited for alone: when an endpoint has not answered for
 * HEDGE_MS, or has failed, the next one is asked as well, round after round until the deadline. That is what a member
 * that is dead, hangs, or is cut off from its leader costs. A question that was sent to a member just when the leader
 * died can be lost inside the cluster without a word; the next round asks anew.
 *
 * With user and password each question is preceded by a login at the same endpoint. Tokens expire, questions are
 * years apart: none is kept.
 *
 * No proxy of the environment, no redirection; an answer is cut at ANSWER_MAX (I11).
 */
#include "etcd.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <curl/curl.h>
#include "remus/log.h"
#include "remus/util.h"

#define HEDGE_MS     400   /* etcd's own election takes 1 to 2 s, an answer a few ms */
#define SOON_MS	     1000  /* call->all: how long after the first answer others are waited for */
#define QUESTIONS    24	   /* per call, at most */
#define ANSWER_MAX   65536 /* bytes */
#define PASSWORD_MAX 1024

struct question {
	CURL *easy;
	struct curl_slist *headers;
	unsigned endpoint;
	bool login;
	char *answer, *body;
	size_t length;
	char text[CURL_ERROR_SIZE];
};

struct http {
	const struct etcd_call *call;
	CURLM *multi;
	struct question question[QUESTIONS];
	unsigned asked, running;
	char password[PASSWORD_MAX];
	struct {
		bool hopeless, answered;
		char said[200]; /* the last thing that went wrong */
	} endpoint[ETCD_ENDPOINTS_MAX];
	int code;
	uint64_t answered_us;
};

static void global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t on_data(char *data, size_t one, size_t n, void *context)
{
	struct question *q = context;

	if (n > ANSWER_MAX - q->length)
		return 0; /* ends the transfer with an error */
	char *more = realloc(q->answer, q->length + n + 1);
	if (!more)
		return 0;
	q->answer = more;
	memcpy(q->answer + q->length, data, n);
	q->length += n;
	return n * one;
}

/* The process starts others. */
static int on_socket(void *context, curl_socket_t fd, curlsocktype purpose)
{
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return CURL_SOCKOPT_OK;
}

static void set_tls(CURL *easy, const struct etcd_uri *uri)
{
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (uri->ca[0]) {
		curl_easy_setopt(easy, CURLOPT_CAINFO, uri->ca);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* this authority and no other */
	}
	if (uri->cert[0]) {
		curl_easy_setopt(easy, CURLOPT_SSLCERT, uri->cert);
		curl_easy_setopt(easy, CURLOPT_SSLKEY, uri->key);
	}
}

/* Begin question @q: a login when @token is NULL and there is a user, else the transaction. */
static int begin(struct http *h, struct question *q, const char *token)
{
	const struct etcd_call *call = h->call;
	char url[ETCD_ENDPOINT_MAX + 32], header[4200];

	q->login = call->uri->user[0] && !token;
	q->length = 0;
	free(q->body);
	q->body = q->login ? etcd_login_body(call->uri->user, h->password) : strdup(call->body);
	if (!q->easy)
		q->easy = curl_easy_init();
	if (!q->easy || !q->body)
		return -ENOMEM;
	snprintf(url, sizeof url, "%s%s", call->uri->endpoint[q->endpoint],
		 q->login ? "/v3/auth/authenticate" : "/v3/kv/txn");
	if (token && !q->login && call->uri->user[0]) {
		snprintf(header, sizeof header, "Authorization: %s", token);
		q->headers = curl_slist_append(NULL, header);
	}
	uint64_t now = remus_now_us(), end = call->deadline_us;
	curl_easy_setopt(q->easy, CURLOPT_URL, url);
	curl_easy_setopt(q->easy, CURLOPT_POSTFIELDS, q->body);
	curl_easy_setopt(q->easy, CURLOPT_HTTPHEADER, q->headers);
	curl_easy_setopt(q->easy, CURLOPT_TIMEOUT_MS, now < end ? (long)((end - now) / 1000) + 1 : 1L);
	curl_easy_setopt(q->easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(q->easy, CURLOPT_WRITEDATA, q);
	curl_easy_setopt(q->easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
	curl_easy_setopt(q->easy, CURLOPT_ERRORBUFFER, q->text);
	curl_easy_setopt(q->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(q->easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(q->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(q->easy, CURLOPT_QUICK_EXIT, 1L); /* a resolver that hangs isn't waited for */
	curl_easy_setopt(q->easy, CURLOPT_PRIVATE, q);
	set_tls(q->easy, call->uri);
	return curl_multi_add_handle(h->multi, q->easy) == CURLM_OK ? 0 : -ENOMEM;
}

static int ask(struct http *h, unsigned endpoint)
{
	struct question *q = &h->question[h->asked++];

	q->endpoint = endpoint;
	int rc = begin(h, q, NULL);
	h->running += rc == 0;
	return rc;
}

static void note(struct http *h, unsigned endpoint, int code, const char *text)
{
	snprintf(h->endpoint[endpoint].said, sizeof h->endpoint[endpoint].said, "%s", text);
	h->code = code;
}

/* Of another cluster than the one that answered before? Their keys have nothing to do with each other. */
static int check_cluster(struct http *h, const struct question *q, const struct etcd_answer *answer,
			 struct remus_error *err)
{
	if (!*h->call->cluster)
		*h->call->cluster = answer->cluster;
	if (*h->call->cluster == answer->cluster)
		return 0;
	return remus_fail(err, -EXDEV,
			  "belongs to another cluster than the endpoint asked before (%llx, %llx): list "
			  "members of one cluster",
			  (unsigned long long)answer->cluster, (unsigned long long)*h->call->cluster);
}

static int take_answer(struct http *h, struct question *q, struct remus_error *err)
{
	struct etcd_answer answer;
	long status = 0;

	curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status);
	const char *text = q->answer ? q->answer : "";
	if (q->login) {
		REMUS_AUTO_FREE char *token = NULL;
		int rc = etcd_login_parse(status, text, q->length, &token, err);
		if (rc == 0)
			rc = begin(h, q, token);
		h->running += rc == 0;
		return rc == 0 ? -EINPROGRESS : rc;
	}
	int rc = etcd_answer_parse(status, text, q->length, &answer, err);
	if (rc == 0)
		rc = check_cluster(h, q, &answer, err);
	return rc == 0 ? h->call->judge(h->call->context, &answer, err) : rc;
}

/* What nobody can mend within a call's time. */
static bool is_hopeless(CURLcode code)
{
	return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
	       code == CURLE_SSL_CERTPROBLEM;
}

/* One question has come to its end. */
static int finish(struct http *h, struct question *q, CURLcode code)
{
	struct remus_error err = REMUS_ERROR_INIT;
	int rc;

	h->running--;
	curl_multi_remove_handle(h->multi, q->easy);
	if (code == CURLE_OK) {
		rc = take_answer(h, q, &err);
	} else {
		rc = code == CURLE_OPERATION_TIMEDOUT ? -ETIMEDOUT : -EHOSTUNREACH;
		remus_fail(&err, rc, "%.160s", q->text[0] ? q->text : curl_easy_strerror(code));
	}
	if (rc == -EINPROGRESS)
		return rc;
	h->endpoint[q->endpoint].hopeless |= rc == -EACCES || rc == -EXDEV || is_hopeless(code);
	h->endpoint[q->endpoint].answered |= rc == 0;
	if (rc == 0 && !h->answered_us)
		h->answered_us = remus_now_us();
	if (rc < 0)
		note(h, q->endpoint, rc, err.message);
	return rc;
}

/* The endpoint to ask next, -1 = none. Round @round asks every one that isn't hopeless. */
static int next_endpoint(const struct http *h, unsigned *turn)
{
	for (unsigned i = 0; i < h->call->uri->endpoints; i++) {
		unsigned endpoint = (*turn)++ % h->call->uri->endpoints;
		if (!h->endpoint[endpoint].hopeless && !h->endpoint[endpoint].answered)
			return (int)endpoint;
	}
	return -1;
}

static bool all_settled(const struct http *h)
{
	for (unsigned i = 0; i < h->call->uri->endpoints; i++)
		if (!h->endpoint[i].hopeless && !h->endpoint[i].answered)
			return false;
	return true;
}

static bool is_over(const struct http *h, uint64_t now)
{
	if (h->answered_us)
		return !h->call->all || all_settled(h) || now >= h->answered_us + SOON_MS * 1000;
	return now >= h->call->deadline_us || all_settled(h);
}

/* Until it is over. */
static void carry_out(struct http *h)
{
	const struct etcd_call *call = h->call;
	uint64_t next_us = 0;
	unsigned turn = 0;
	bool failed = false;

	for (;;) {
		uint64_t now = remus_now_us();
		if (is_over(h, now))
			return;
		/* In the first round a failure has the next one asked at once. */
		bool due = now >= next_us || (turn < call->uri->endpoints && (failed || call->all));
		if (due && !h->answered_us && h->asked < QUESTIONS) {
			int endpoint = next_endpoint(h, &turn);
			if (endpoint >= 0 && ask(h, (unsigned)endpoint) < 0)
				note(h, (unsigned)endpoint, -ENOMEM, "out of memory");
			next_us = now + HEDGE_MS * 1000;
			failed = false;
			if (call->all)
				continue;
		}
		int running;
		curl_multi_perform(h->multi, &running);
		CURLMsg *message;
		int left;
		while ((message = curl_multi_info_read(h->multi, &left))) {
			struct question *q;
			CURLcode code = message->data.result; /* the message goes with the handle */
			curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&q);
			failed |= finish(h, q, code) < 0;
		}
		now = remus_now_us();
		if (is_over(h, now))
			return;
		uint64_t wait = next_us > now ? (next_us - now) / 1000 : 0;
		if (failed && turn < call->uri->endpoints)
			wait = 0;
		curl_multi_poll(h->multi, NULL, 0, wait < 1 ? 1 : (int)wait, NULL);
	}
}

static int read_password(struct http *h, struct remus_error *err)
{
	const char *path = h->call->uri->password_file;
	struct stat st;

	if (!path[0])
		return 0;
	REMUS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return remus_fail_errno(err, "password file %s", path);
	if (st.st_mode & S_IROTH)
		return remus_fail(err, -EPERM, "password file %s can be read by everybody: chmod 600 it",
				  path);
	ssize_t n = read(fd, h->password, sizeof h->password - 1);
	if (n < 0)
		return remus_fail_errno(err, "password file %s: read", path);
	h->password[n] = 0;
	h->password[strcspn(h->password, "\r\n")] = 0;
	if (!h->password[0])
		return remus_fail(err, -EINVAL, "password file %s is empty", path);
	return 0;
}

static void release(struct http *h)
{
	for (unsigned i = 0; i < h->asked; i++) {
		struct question *q = &h->question[i];
		if (q->easy && h->multi)
			curl_multi_remove_handle(h->multi, q->easy);
		curl_easy_cleanup(q->easy);
		curl_slist_free_all(q->headers);
		free(q->answer);
		free(q->body);
	}
	curl_multi_cleanup(h->multi);
	explicit_bzero(h->password, sizeof h->password);
}

/* What each endpoint had to say. */
static int fail(const struct http *h, struct remus_error *err)
{
	const struct etcd_uri *uri = h->call->uri;
	char text[REMUS_ERROR_MAX - 200];
	size_t n = 0;

	text[0] = 0;
	for (unsigned i = 0; i < uri->endpoints && n < sizeof text; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "%s%s: %s", i ? "; " : "", uri->endpoint[i],
				      h->endpoint[i].said[0] ? h->endpoint[i].said : "no answer in time");
	return remus_fail(err, h->code ? h->code : -ETIMEDOUT, "%s", text);
}

/* An endpoint that is away is worth a word while there is time to mend it, and one of another cluster a refusal. */
static int judge_rest(const struct http *h, struct remus_error *err)
{
	const struct etcd_uri *uri = h->call->uri;
	int rc = 0;

	for (unsigned i = 0; i < uri->endpoints && h->call->all; i++) {
		if (h->endpoint[i].answered)
			continue;
		if (h->endpoint[i].hopeless)
			rc = remus_fail(err, -EXDEV, "%s: %s", uri->endpoint[i], h->endpoint[i].said);
		else
			remus_warn("arbiter etcd: endpoint %s is out of reach now: %s", uri->endpoint[i],
				   h->endpoint[i].said[0] ? h->endpoint[i].said : "no answer");
	}
	return rc;
}

int etcd_call(const struct etcd_call *call, struct remus_error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct http *h = calloc(1, sizeof *h);

	if (!h || !call->body) {
		free(h);
		return remus_fail(err, -ENOMEM, "out of memory");
	}
	pthread_once(&once, global_init);
	h->call = call;
	int rc = read_password(h, err);
	if (rc == 0) {
		h->multi = curl_multi_init();
		if (!h->multi)
			rc = remus_fail(err, -ENOMEM, "libcurl: out of memory");
	}
	if (rc == 0) {
		carry_out(h);
		rc = h->answered_us ? judge_rest(h, err) : fail(h, err);
	}
	release(h);
	free(h);
	return rc;
}
