/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remusctl keys: make the keys of the replication link and show them (remus/tls.h says what lies in the folder).
 * It doesn't talk to remusd, which reads the folder when it starts and again for each new session.
 *
 * Nothing that exists is overwritten without --force: a key that is gone cuts off whoever has its other half.
 */
#include <limits.h>
#include <string.h>
#include <unistd.h>
#include "check.h"
#include "client.h"
#include "exit.h"
#include "keys_make.h"
#include "keys_store.h"
#include "verb.h"
#include "remus/tls.h"
#include "remus/util.h"

#define NAMES_MAX    16
#define DAYS_DEFAULT 3650

/* A name goes into "NAME:KEY" lines and certificates; an IP address is one too. */
static int check_name(const char *text, struct remus_error *err)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:";

	if (!text[0] || strlen(text) >= REMUS_TLS_NAME_MAX || strspn(text, letters) != strlen(text))
		return remus_fail(err, -EINVAL,
				  "is no name or address of at most %u letters, digits, . _ - :",
				  REMUS_TLS_NAME_MAX - 1);
	return 0;
}

static const struct ctl_option options[] = {
	{"dir", NULL, CTL_TEXT, "DIR", .check = ctl_check_text,
	 .help = "the folder (default /etc/remus/tls; for others than root ~/.config/remus/tls)"},
	{"name", NULL, CTL_LIST, "NAME", .check = check_name,
	 .help = "psk: of the key; host: what peers call it, names and addresses"},
	{"peer", NULL, CTL_LIST, "NAME", .check = check_name,
	 .help = "host: a host that may connect to this one"},
	{"out", NULL, CTL_TEXT, "DIR", .check = ctl_check_text,
	 .help = "host: write to this folder, to be taken to another host; --dir has the CA"},
	{"days", NULL, CTL_NUMBER, "DAYS", 1, 36500, .help = "how long a certificate is good, default 3650"},
	{"force", NULL, CTL_FLAG, .help = "replace what is there"},
	{NULL},
};

struct work {
	const struct ctl_call *call;
	char dir[PATH_MAX];
	const char *out;
	bool force;
	unsigned days;
	struct remus_error err;
};

static size_t list_of(const struct ctl_call *call, const char *option, const char *names[NAMES_MAX])
{
	const json_t *list = json_object_get(call->local, option);
	size_t n = json_array_size(list);

	for (size_t i = 0; i < n && i < NAMES_MAX; i++)
		names[i] = json_string_value(json_array_get(list, i));
	return n < NAMES_MAX ? n : NAMES_MAX;
}

static int refuse_existing(struct work *w, const char *dir, const char *what)
{
	return remus_fail(&w->err, -EEXIST,
			  "%s/%s is there already and stays as it is: whoever has its other half could not "
			  "connect any more (--force replaces it)",
			  dir, what);
}

/* @text without the line of the key @name, then @line; malloc'ed. */
static char *with_key(const char *text, const char *name, const char *line)
{
	size_t n = strlen(name);
	char *all = calloc(1, strlen(text) + strlen(line) + 2), *end = all;

	while (all && *text) {
		size_t length = strcspn(text, "\n");
		bool drop = !strncmp(text, name, n) && text[n] == ':';
		if (!drop && length) {
			end = mempcpy(end, text, length);
			*end++ = '\n';
		}
		text += length + (text[length] == '\n');
	}
	if (all)
		strcpy(end, line);
	return all;
}

static bool has_key(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
		if (!strncmp(line, name, n) && line[n] == ':')
			return true;
	return false;
}

static int make_psk(struct work *w)
{
	const char *names[NAMES_MAX] = {"remus"};
	char *line = NULL, *old = NULL, *all = NULL;

	if (list_of(w->call, "name", names) > 1 || strchr(names[0], ':'))
		return remus_fail(&w->err, -EINVAL, "a key has one name, without a colon");
	REMUS_AUTO_CLOSE int folder = keys_folder(w->dir, true, &w->err);
	if (folder < 0)
		return folder;
	int rc = keys_read(folder, "psk", &old, &w->err);
	if (!rc && old && has_key(old, names[0]) && !w->force)
		rc = remus_fail(
			&w->err, -EEXIST,
			"%s/psk has a key called %s already, which stays as it is: a host with the old "
			"one could not connect any more (--force replaces it, --name makes another)",
			w->dir, names[0]);
	if (!rc)
		rc = keys_make_psk(names[0], &line, &w->err);
	if (!rc && !(all = with_key(old ? old : "", names[0], line)))
		rc = remus_fail(&w->err, -ENOMEM, "no memory");
	if (!rc)
		rc = keys_write(folder, "psk", all, 0600, old != NULL, &w->err);
	if (!rc)
		printf("%s/psk has a new key called %s. Copy it to the other host by a way that you trust,\n"
		       "such as: scp -p %s/psk OTHER:%s/psk (mode 600, in a folder of mode 700)\n",
		       w->dir, names[0], w->dir, w->dir);
	keys_forget(line);
	keys_forget(old);
	keys_forget(all);
	return rc;
}

/* ca.key is what counts; ca.pem follows from it, also after a crash in between. */
static int make_ca(struct work *w)
{
	const char *names[NAMES_MAX] = {"remus-ca"};
	char *certificate = NULL, *key = NULL;

	list_of(w->call, "name", names);
	REMUS_AUTO_CLOSE int folder = keys_folder(w->dir, true, &w->err);
	if (folder < 0)
		return folder;
	bool finish = !w->force && keys_has(folder, "ca.key") && !keys_has(folder, "ca.pem");
	if (!w->force && !finish && keys_has(folder, "ca.key"))
		return refuse_existing(w, w->dir, "ca.key");
	if (!w->force && !finish && keys_has(folder, "ca.pem"))
		return refuse_existing(w, w->dir, "ca.pem");
	int rc = 0;
	if (finish) {
		rc = keys_read(folder, "ca.key", &key, &w->err);
		if (!rc)
			rc = keys_ca_certificate(key, &certificate, &w->err);
	} else {
		rc = keys_make_ca(names[0], w->days, &certificate, &key, &w->err);
		if (!rc)
			rc = keys_write(folder, "ca.key", key, 0600, w->force, &w->err);
	}
	if (!rc)
		rc = keys_write(folder, "ca.pem", certificate, 0644, w->force, &w->err);
	if (!rc)
		printf("%s/ca.key signs hosts' certificates: keep it off the hosts if you can. ca.pem goes "
		       "to all "
		       "of them.\n",
		       w->dir);
	keys_forget(certificate);
	keys_forget(key);
	return rc;
}

static char *lines_of(const char *const *names, size_t count)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	for (size_t i = 0; f && i < count; i++)
		fprintf(f, "%s\n", names[i]);
	if (f)
		fclose(f);
	return text;
}

/* 1: it is there with this content. 0: it is to be written. Negative: it is there, another, and stays. */
static int settled(struct work *w, int folder, const char *name, const char *text)
{
	char *old = NULL;

	int rc = keys_read(folder, name, &old, &w->err);
	bool there = old != NULL, same = old && !strcmp(old, text);
	keys_forget(old);
	if (rc)
		return rc;
	return same ? 1 : there && !w->force ? refuse_existing(w, w->out, name) : 0;
}

/* host.pem is written last: with it the folder is whole. */
static int write_host(struct work *w, int folder, const char *certificate, const char *peers,
		      const char *host)
{
	const struct {
		const char *name, *text;
		mode_t mode;
	} files[] = {{"ca.pem", certificate, 0644}, {"peers", peers, 0644}, {"host.pem", host, 0600}};
	int is[REMUS_ARRAY_SIZE(files)], rc = 0;

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(files); i++)
		if ((is[i] = settled(w, folder, files[i].name, files[i].text)) < 0)
			return is[i];
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(files) && !rc; i++)
		if (!is[i])
			rc = keys_write(folder, files[i].name, files[i].text, files[i].mode, w->force,
					&w->err);
	return rc;
}

static int make_host(struct work *w)
{
	const char *names[NAMES_MAX], *peers[NAMES_MAX];
	size_t count = list_of(w->call, "name", names), peer_count = list_of(w->call, "peer", peers);
	char *ca = NULL, *certificate = NULL, *host = NULL;

	if (!count)
		return remus_fail(
			&w->err, -EINVAL,
			"a host's certificate needs --name: how its peers call it, as in protect --to");
	REMUS_AUTO_CLOSE int from = keys_folder(w->dir, false, &w->err);
	int rc = from < 0 ? from : keys_read(from, "ca.key", &ca, &w->err);
	if (rc == -ENOENT || (!rc && !ca))
		return remus_fail(&w->err, -ENOENT,
				  "there is no %s/ca.key to sign with: remusctl keys ca makes it, --dir says "
				  "where it is",
				  w->dir);
	if (rc)
		return rc;
	REMUS_AUTO_CLOSE int other = strcmp(w->dir, w->out) ? keys_folder(w->out, true, &w->err) : -1;
	if (other < 0 && strcmp(w->dir, w->out))
		rc = other;
	REMUS_AUTO_FREE char *peer_lines = lines_of(peers, peer_count);
	if (!rc && !peer_lines)
		rc = remus_fail(&w->err, -ENOMEM, "no memory");
	if (!rc)
		rc = keys_ca_certificate(ca, &certificate, &w->err);
	if (!rc)
		rc = keys_make_host(ca, names, count, w->days, &host, &w->err);
	if (!rc)
		rc = write_host(w, other < 0 ? from : other, certificate, peer_lines, host);
	if (!rc)
		printf("%s has ca.pem, peers and host.pem, the key and certificate of %s%s.\n", w->out,
		       names[0], other < 0 ? "" : ": take it to that host's folder, by a way that you trust");
	if (!rc && !peer_count)
		printf("No --peer was given: no host may connect to this one until %s/peers names it.\n",
		       w->out);
	keys_forget(ca);
	keys_forget(certificate);
	keys_forget(host);
	return rc;
}

static int show(struct work *w)
{
	struct remus_tls *tls;
	REMUS_AUTO_FREE char *text = NULL;

	int rc = remus_tls_load(w->dir, &tls, &w->err);
	if (rc)
		return rc;
	rc = remus_tls_describe(tls, &text, &w->err);
	remus_tls_free(tls);
	if (!rc)
		printf("%s:\n%s", w->dir, text);
	return rc;
}

static int run(const struct ctl_call *call)
{
	static const struct {
		const char *word;
		int (*run)(struct work *);
	} actions[] = {{"show", show}, {"psk", make_psk}, {"ca", make_ca}, {"host", make_host}};
	const char *word = ctl_text(call, "operand"), *dir = ctl_text(call, "dir"),
		   *out = ctl_text(call, "out");
	struct work w = {.call = call, .force = ctl_flag(call, "force")};

	w.days = (unsigned)ctl_number(call, "days", DAYS_DEFAULT);
	int rc = dir ? 0 : remus_tls_default_dir(w.dir, sizeof w.dir, &w.err);
	if (dir)
		snprintf(w.dir, sizeof w.dir, "%s", dir);
	w.out = out ? out : w.dir;
	for (size_t i = 0; !rc && i < REMUS_ARRAY_SIZE(actions); i++)
		if (!strcmp(word ? word : "show", actions[i].word)) {
			rc = actions[i].run(&w);
			if (rc)
				ctl_complain(w.err.message, rc == -ENOENT ? "remusctl help keys" : NULL);
			return rc == -EINVAL && !strcmp(actions[i].word, "show") ? CTL_FAILED
			       : rc == -EINVAL					 ? CTL_USAGE
			       : rc						 ? CTL_FAILED
										 : CTL_OK;
		}
	ctl_complain(rc ? w.err.message : "keys: the ACTION is psk, ca, host or show", "remusctl help keys");
	return CTL_USAGE;
}

const struct ctl_verb ctl_keys = {
	.name = "keys",
	.summary = "Make or show the keys of the link to other hosts",
	.operand = "[ACTION]",
	.options = options,
	.run = run,
	.notes = "ACTION is one of\n"
		 "  show   what keys this host has (the default); the same fingerprint means the same key\n"
		 "  psk    make a shared key: for two hosts, copied to the other by hand\n"
		 "  ca     make a certificate authority of your own, ca.key and ca.pem\n"
		 "  host   make a host's key and certificate, signed by it\n"
		 "Two hosts, by a shared key: remusctl keys psk, then copy /etc/remus/tls/psk to the other "
		 "one.\n",
};
