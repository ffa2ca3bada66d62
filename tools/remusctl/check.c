/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checks on an operator's words. remusd checks again: these only make the message better and sooner. */
#include "check.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jansson.h>
#include "remus/util.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS	"0123456789"

int ctl_check_text(const char *text, struct remus_error *err)
{
	if (!text[0])
		return remus_fail(err, -EINVAL, "is empty");
	if (strlen(text) > 1023)
		return remus_fail(err, -EINVAL, "is longer than 1023 bytes");
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return remus_fail(err, -EINVAL, "holds a control character");
	json_t *utf8 = json_string(text);
	if (!utf8)
		return remus_fail(err, -EINVAL, "is not valid UTF-8");
	json_decref(utf8);
	return 0;
}

static int check_port(const char *port, struct remus_error *err)
{
	size_t n = strlen(port);

	if (!n || n > 5 || strspn(port, DIGITS) != n || atoi(port) < 1 || atoi(port) > 65535)
		return remus_fail(err, -EINVAL, "has the port \"%s\", which is no number from 1 to 65535",
				  port);
	return 0;
}

int ctl_check_address(const char *text, struct remus_error *err)
{
	int rc = ctl_check_text(text, err);
	if (rc)
		return rc;
	if (strpbrk(text, " /@"))
		return remus_fail(err, -EINVAL, "is no HOST[:PORT]");
	if (text[0] == '[') {
		const char *end = strchr(text, ']');
		if (!end || end == text + 1 || (end[1] && end[1] != ':'))
			return remus_fail(err, -EINVAL, "is no [IPV6-ADDRESS][:PORT]");
		return end[1] ? check_port(end + 2, err) : 0;
	}
	const char *colon = strchr(text, ':');
	if (!colon)
		return 0;
	if (strchr(colon + 1, ':'))
		return remus_fail(err, -EINVAL,
				  "has several colons: write an IPv6 address in brackets, "
				  "[ADDRESS] or [ADDRESS]:PORT");
	if (colon == text)
		return remus_fail(err, -EINVAL, "names no host");
	return check_port(colon + 1, err);
}

/* Length of "scheme" in "scheme:rest", 0 if @text isn't like that. */
static size_t scheme_length(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz" DIGITS "-");

	return n && text[n] == ':' ? n : 0;
}

int ctl_check_arbiter(const char *text, struct remus_error *err)
{
	int rc = ctl_check_text(text, err);
	if (rc)
		return rc;
	if (!strcmp(text, "manual"))
		return 0;
	if (!scheme_length(text))
		return remus_fail(err, -EINVAL,
				  "is no arbiter: give file:DIRECTORY, "
				  "etcd:https://HOST:2379[,...], command:PROGRAM or manual");
	if (!strncmp(text, "file:", 5) && text[5] != '/')
		return remus_fail(err, -EINVAL,
				  "needs an absolute path: both hosts must reach the directory");
	return 0;
}

int ctl_check_egress(const char *text, struct remus_error *err)
{
	int rc = ctl_check_text(text, err);
	if (rc)
		return rc;
	size_t n = scheme_length(text);
	if (!n || !text[n + 1])
		return remus_fail(err, -EINVAL,
				  "is no egress: give packet:INTERFACE, tap:INTERFACE or "
				  "unix:PATH[,bind=PATH]");
	const char *bind = strstr(text, ",bind=");
	if (!strncmp(text, "unix:", 5) && (text[5] != '/' || (bind && bind[6] != '/')))
		return remus_fail(err, -EINVAL, "needs absolute paths: remusd has another working directory");
	return 0;
}

int ctl_check_name(const char *text, struct remus_error *err)
{
	size_t n = strlen(text);

	if (!n || n > 63 || strspn(text, LETTERS DIGITS "._-") != n || text[0] == '.' || text[0] == '-')
		return remus_fail(err, -EINVAL,
				  "is no name: 1 to 63 letters, digits, dots, dashes and "
				  "underscores, the first a letter, a digit or an underscore");
	return 0;
}

static bool is_socket(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISSOCK(st.st_mode);
}

static int qemu_locator(const char *path, char **out, struct remus_error *err)
{
	char cwd[PATH_MAX] = "";

	if (path[0] != '/' && !getcwd(cwd, sizeof cwd))
		return remus_fail_errno(err, "cannot make \"%s\" absolute: getcwd", path);
	while (path[0] == '.' && path[1] == '/')
		path += 2;
	if (asprintf(out, "qemu:%s%s%s", cwd, cwd[0] ? "/" : "", path) < 0)
		return remus_fail(err, -ENOMEM, "no memory");
	return 0;
}

int ctl_domain(const char *text, bool locator, char **out, struct remus_error *err)
{
	int rc = ctl_check_text(text, err);
	if (rc)
		return remus_fail(err, -EINVAL, "the domain \"%.200s\" %s", text,
				  strlen(text) > 1023 ? "is longer than 1023 bytes"
						      : "is empty or unprintable");
	if (!strncmp(text, "qemu:", 5) && text[5])
		return qemu_locator(text + 5, out, err);
	if (!scheme_length(text) || !text[scheme_length(text) + 1]) {
		if (locator ? is_socket(text) : strchr(text, '/') != NULL)
			return qemu_locator(text, out, err);
		if (locator && ctl_check_name(text, NULL))
			return remus_fail(err, -EINVAL,
					  "\"%s\" is no domain: give the guest's QMP socket, as qemu:PATH or "
					  "its path (QEMU's -qmp unix:PATH,server=on,wait=off)%s",
					  text, strchr(text, '/') ? "; there is no socket of that name" : "");
	}
	*out = strdup(text);
	return *out ? 0 : remus_fail(err, -ENOMEM, "no memory");
}
