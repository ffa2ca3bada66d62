// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is asked of etcd, and what its answers mean. Pure: text in, text out. It upholds I5 for the etcd arbiter.
 *
 *     PREFIX/KEY/open     from open() to the claim or the retirement; holds the opener's nonce
 *     PREFIX/KEY/holder   "primary" or "backup": a record, kept
 *     PREFIX/last-opened  the key that was opened last, for open() alone
 *
 * Each call is one transaction, which etcd carries out atomically and in one order for all members:
 *
 *     claim   if open exists and holder doesn't:  put holder=me, delete open     else tell me both
 *     retire  if holder doesn't exist:            delete open
 *     check   if open exists and holder doesn't:  put open as it is (proves that this side may write)
 *     open    if neither exists and last-opened is as old as I saw it:  put open=nonce, put last-opened=KEY
 *
 * Any of them may be carried out twice, or late, after its asker has given up: answers get lost, and a paused member
 * goes on with what it had. A claim that is repeated finds its own record. A retirement that is late finds no open. A
 * late open() would make a key anew that was retired meanwhile; that is what last-opened is for: the repetition that
 * succeeded has moved it on, so the late one fails. There are no leases: a key that vanished by itself would let
 * nobody win.
 *
 * LOST has the guest destroyed, WON has it run: both are believed only of a complete answer in which etcd names the
 * very key. An answer with anything else in it is none.
 */
#include "etcd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <jansson.h>
#include "base64.h"
#include "remus/util.h"

void etcd_names(const char *prefix, const struct remus_key *key, struct etcd_names *out)
{
	char text[REMUS_KEY_TEXT];

	remus_key_text(key, text);
	snprintf(out->open, sizeof out->open, "%s/%s/open", prefix, text);
	snprintf(out->holder, sizeof out->holder, "%s/%s/holder", prefix, text);
	snprintf(out->last, sizeof out->last, "%s/last-opened", prefix);
}

/* ---- questions ---- */

static json_t *encoded(const char *text)
{
	char out[BASE64_SIZE(ETCD_KEY_MAX)];

	base64_encode(text, strlen(text), out);
	return json_string(out);
}

/* @key exists (GREATER 0) or doesn't (EQUAL 0). */
static json_t *if_created(const char *key, const char *result)
{
	return json_pack("{s:o, s:s, s:s, s:s}", "key", encoded(key), "target", "CREATE", "result", result,
			 "create_revision", "0");
}

static json_t *put(const char *key, const char *value)
{
	return json_pack("{s:{s:o, s:o}}", "request_put", "key", encoded(key), "value", encoded(value));
}

static json_t *delete (const char *key)
{
	return json_pack("{s:{s:o}}", "request_delete_range", "key", encoded(key));
}

static json_t *range(const char *key)
{
	return json_pack("{s:{s:o}}", "request_range", "key", encoded(key));
}

/* Takes over its arguments; a NULL among them (no memory) gives NULL. */
static char *transaction(json_t *compare, json_t *success, json_t *failure)
{
	json_t *all =
		json_pack("{s:o, s:o, s:o}", "compare", compare, "success", success, "failure", failure);
	char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;

	json_decref(all);
	return text;
}

char *etcd_open_body(const struct etcd_names *names, const char nonce[ETCD_NONCE], uint64_t last_revision)
{
	char revision[24];

	snprintf(revision, sizeof revision, "%" PRIu64, last_revision);
	json_t *unmoved = json_pack("{s:o, s:s, s:s, s:s}", "key", encoded(names->last), "target", "MOD",
				    "result", "EQUAL", "mod_revision", revision);
	return transaction(
		json_pack("[o, o, o]", unmoved, if_created(names->open, "EQUAL"),
			  if_created(names->holder, "EQUAL")),
		json_pack("[o, o]", put(names->open, nonce), put(names->last, nonce)),
		json_pack("[o, o, o]", range(names->open), range(names->holder), range(names->last)));
}

char *etcd_check_body(const struct etcd_names *names)
{
	json_t *again =
		json_pack("{s:{s:o, s:b}}", "request_put", "key", encoded(names->open), "ignore_value", 1);

	return transaction(
		json_pack("[o, o]", if_created(names->open, "GREATER"), if_created(names->holder, "EQUAL")),
		json_pack("[o]", again), json_pack("[o, o]", range(names->open), range(names->holder)));
}

static const char *word_of(enum remus_holder holder)
{
	return holder == REMUS_HOLDER_PRIMARY ? "primary" : "backup";
}

char *etcd_claim_body(const struct etcd_names *names, enum remus_holder me)
{
	return transaction(
		json_pack("[o, o]", if_created(names->open, "GREATER"), if_created(names->holder, "EQUAL")),
		json_pack("[o, o]", put(names->holder, word_of(me)), delete (names->open)),
		json_pack("[o, o]", range(names->open), range(names->holder)));
}

char *etcd_retire_body(const struct etcd_names *names)
{
	return transaction(json_pack("[o]", if_created(names->holder, "EQUAL")),
			   json_pack("[o]", delete (names->open)), json_array());
}

char *etcd_login_body(const char *user, const char *password)
{
	json_t *login = json_pack("{s:s, s:s}", "name", user, "password", password);
	char *text = login ? json_dumps(login, JSON_COMPACT) : NULL;

	json_decref(login);
	return text;
}

/* ---- answers ---- */

/* The gateway writes 64-bit numbers as strings, and leaves out those that are zero. */
static bool get_number(const json_t *object, const char *name, uint64_t *out)
{
	const json_t *value = json_object_get(object, name);
	const char *text = json_string_value(value);
	char *end;

	*out = 0;
	if (!value)
		return true;
	if (json_is_integer(value) && json_integer_value(value) >= 0) {
		*out = (uint64_t)json_integer_value(value);
		return true;
	}
	if (!text || strspn(text, "0123456789") != strlen(text) || !*text)
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return !errno;
}

static bool get_text(const json_t *object, const char *name, char *out, size_t size)
{
	const json_t *value = json_object_get(object, name);

	*out = 0;
	if (!value)
		return true;
	if (!json_is_string(value))
		return false;
	int n = base64_decode(json_string_value(value), out, size - 1);
	if (n < 0 || memchr(out, 0, (size_t)n))
		return false;
	out[n] = 0;
	return true;
}

static bool parse_item(const json_t *response, struct etcd_item *out)
{
	const json_t *put_answer = json_object_get(response, "response_put");
	const json_t *delete_answer = json_object_get(response, "response_delete_range");
	const json_t *range_answer = json_object_get(response, "response_range");

	if (!!put_answer + !!delete_answer + !!range_answer != 1)
		return false;
	if (put_answer) {
		out->kind = ETCD_PUT;
		return json_is_object(put_answer);
	}
	if (delete_answer) {
		out->kind = ETCD_DELETED;
		return json_is_object(delete_answer) && get_number(delete_answer, "deleted", &out->deleted);
	}
	const json_t *kvs = json_object_get(range_answer, "kvs");
	uint64_t count;
	out->kind = ETCD_RANGE;
	if (!json_is_object(range_answer) || !get_number(range_answer, "count", &count) || count > 1 ||
	    (kvs && !json_is_array(kvs)) || json_array_size(kvs) != count)
		return false;
	out->there = count == 1;
	if (!out->there)
		return true;
	const json_t *kv = json_array_get(kvs, 0);
	return json_is_object(kv) && get_text(kv, "key", out->key, sizeof out->key) &&
	       get_text(kv, "value", out->value, sizeof out->value) &&
	       get_number(kv, "mod_revision", &out->mod_revision) && out->mod_revision;
}

/* gRPC's codes after which the same question gets the same answer: INVALID_ARGUMENT, PERMISSION_DENIED,
 * FAILED_PRECONDITION, UNIMPLEMENTED. */
static bool is_final(json_int_t code)
{
	return code == 3 || code == 7 || code == 9 || code == 12;
}

/* A JSON object that isn't an error, or a code. */
static int load(long status, const char *text, size_t length, json_t **out, struct remus_error *err)
{
	json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	const char *message = json_string_value(json_object_get(root, "message"));
	const json_t *code = json_object_get(root, "code");

	if (!message) /* 3.4 has both */
		message = json_string_value(json_object_get(root, "error"));
	if (json_is_object(root) && status == 200 && !code && !message) {
		*out = root;
		return 0;
	}
	int rc = -EBADMSG;
	if (json_is_object(root) && message && json_is_integer(code)) {
		rc = is_final(json_integer_value(code)) ? -EACCES : -EAGAIN;
		remus_fail(err, rc, "etcd says: %.200s", message);
	} else if (status == 404) {
		remus_fail(err, rc, "HTTP status 404: not an etcd 3.4 or newer with its JSON gateway");
	} else if (status != 200) {
		remus_fail(err, rc, "HTTP status %ld, without a word of etcd's", status);
	} else {
		remus_fail(err, rc, "the answer is not etcd's JSON");
	}
	json_decref(root);
	return rc;
}

static bool parse_answer(const json_t *root, struct etcd_answer *out)
{
	const json_t *header = json_object_get(root, "header"), *item;
	const json_t *succeeded = json_object_get(root, "succeeded");
	const json_t *responses = json_object_get(root, "responses");
	uint64_t revision;
	size_t i;

	if (!json_is_object(header) || !get_number(header, "cluster_id", &out->cluster) || !out->cluster ||
	    !get_number(header, "revision", &revision) || !revision)
		return false;
	if ((succeeded && !json_is_boolean(succeeded)) || (responses && !json_is_array(responses)) ||
	    json_array_size(responses) > ETCD_ITEMS_MAX)
		return false;
	out->succeeded = json_is_true(succeeded);
	out->items = (unsigned)json_array_size(responses);
	json_array_foreach(responses, i, item)
	{
		if (!parse_item(item, &out->item[i]))
			return false;
	}
	return true;
}

int etcd_answer_parse(long status, const char *text, size_t length, struct etcd_answer *out,
		      struct remus_error *err)
{
	json_t *root;
	int rc = load(status, text, length, &root, err);

	memset(out, 0, sizeof *out);
	if (rc < 0)
		return rc;
	if (!parse_answer(root, out))
		rc = remus_fail(err, -EBADMSG, "the answer is not that of an etcd transaction");
	json_decref(root);
	return rc;
}

int etcd_login_parse(long status, const char *text, size_t length, char **token, struct remus_error *err)
{
	json_t *root;
	int rc = load(status, text, length, &root, err);

	if (rc < 0) {
		remus_error_prefix(err, "login");
		return rc;
	}
	const char *word = json_string_value(json_object_get(root, "token"));
	/* It goes into a header line. */
	bool good = word && *word && strlen(word) < 4096;
	for (const char *c = good ? word : ""; *c; c++)
		good &= *c > 32 && *c < 127;
	if (!good)
		rc = remus_fail(err, -EBADMSG, "the answer to the login holds no token");
	else if (!(*token = strdup(word)))
		rc = remus_fail(err, -ENOMEM, "out of memory");
	json_decref(root);
	return rc;
}

/* ---- what they mean ---- */

static int not_an_answer(struct remus_error *err)
{
	return remus_fail(err, -EBADMSG, "the answer does not fit the question");
}

static bool is_range_of(const struct etcd_item *item, const char *key)
{
	return item->kind == ETCD_RANGE && (!item->there || !strcmp(item->key, key));
}

/* The failed branch of all but open: what became of the key. -EBADMSG = not such an answer, 0 = unclaimed. */
static int read_state(const struct etcd_answer *a, const struct etcd_names *names, bool *open,
		      struct remus_error *err)
{
	if (a->succeeded || a->items < 2 || !is_range_of(&a->item[0], names->open) ||
	    !is_range_of(&a->item[1], names->holder))
		return not_an_answer(err);
	*open = a->item[0].there;
	if (!a->item[1].there)
		return 0;
	if (!strcmp(a->item[1].value, word_of(REMUS_HOLDER_PRIMARY)))
		return REMUS_HOLDER_PRIMARY;
	if (!strcmp(a->item[1].value, word_of(REMUS_HOLDER_BACKUP)))
		return REMUS_HOLDER_BACKUP;
	return remus_fail(err, -EBADMSG, "key %s holds neither \"primary\" nor \"backup\": who wrote it?",
			  names->holder);
}

static int missing(const struct etcd_names *names, struct remus_error *err)
{
	return remus_fail(err, -ENOENT,
			  "key %s: not there (retired, or this is another cluster or prefix than the other "
			  "host's, or etcd was restored from a backup)",
			  names->open);
}

int etcd_judge_open(const struct etcd_answer *a, const struct etcd_names *names, const char *nonce,
		    uint64_t *last_revision, struct remus_error *err)
{
	bool open;

	if (a->succeeded)
		return a->items == 2 && a->item[0].kind == ETCD_PUT && a->item[1].kind == ETCD_PUT
			       ? 0
			       : not_an_answer(err);
	if (a->items != 3 || !is_range_of(&a->item[2], names->last))
		return not_an_answer(err);
	int holder = read_state(a, names, &open, err);
	if (holder < 0)
		return holder;
	if (holder)
		return remus_fail(err, -EEXIST, "key %s: this generation was claimed already", names->holder);
	if (open && !strcmp(a->item[0].value, nonce))
		return 0; /* an earlier try of ours, whose answer was lost */
	if (open)
		return remus_fail(err, -EEXIST, "key %s: this generation was opened already", names->open);
	if (a->item[2].mod_revision == *last_revision)
		return not_an_answer(err); /* nothing speaks against it, and yet it failed */
	*last_revision = a->item[2].mod_revision;
	return remus_fail(err, -ESTALE, "key %s: others are opened at the same time", names->open);
}

int etcd_judge_check(const struct etcd_answer *a, const struct etcd_names *names, struct remus_error *err)
{
	bool open;

	if (a->succeeded)
		return a->items == 1 && a->item[0].kind == ETCD_PUT ? 0 : not_an_answer(err);
	int holder = a->items == 2 ? read_state(a, names, &open, err) : not_an_answer(err);
	if (holder < 0)
		return holder;
	if (holder)
		return remus_fail(err, -EALREADY, "key %s: claimed by the %s already", names->holder,
				  word_of((enum remus_holder)holder));
	return open ? not_an_answer(err) : missing(names, err);
}

enum remus_claim etcd_judge_claim(const struct etcd_answer *a, const struct etcd_names *names,
				  enum remus_holder me, int *code, struct remus_error *err)
{
	bool open;

	*code = 0;
	if (a->succeeded && a->items == 2 && a->item[0].kind == ETCD_PUT && a->item[1].kind == ETCD_DELETED &&
	    a->item[1].deleted == 1)
		return REMUS_CLAIM_WON;
	int holder = !a->succeeded && a->items == 2 ? read_state(a, names, &open, err) : not_an_answer(err);
	if (holder > 0)
		return holder == (int)me ? REMUS_CLAIM_WON : REMUS_CLAIM_LOST;
	if (holder < 0)
		*code = holder;
	else if (open)
		*code = not_an_answer(err); /* then the claim would have succeeded */
	else
		missing(names, err);
	return REMUS_CLAIM_UNKNOWN;
}

int etcd_judge_retire(const struct etcd_answer *a, struct remus_error *err)
{
	if (a->succeeded)
		return a->items == 1 && a->item[0].kind == ETCD_DELETED ? 0 : not_an_answer(err);
	return a->items == 0 ? 0 : not_an_answer(err);
}
