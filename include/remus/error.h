/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors: one contract for the whole project.
 *
 * A function that can fail returns 0 or a positive count on success and a negative errno-style code on
 * failure. Its last argument is a `struct remus_error *`, filled only on failure and untouched on success;
 * NULL is allowed and means that the caller doesn't want the text. The message names the object, the call
 * and the cause, and, where an operator can do something about it, what to do. It never ends in a newline.
 */
#ifndef REMUS_ERROR_H
#define REMUS_ERROR_H

#include <errno.h>
#include <stdarg.h>

#define REMUS_ERROR_MAX 1024 /* bytes, the terminating NUL included; longer texts are cut */

struct remus_error {
	int code; /* negative errno-style code, the same as the function's return value */
	char message[REMUS_ERROR_MAX];
};

#define REMUS_ERROR_INIT \
	{                \
		0, ""    \
	}

/*
 * Fill @err (may be NULL) and return @code, so that a failing function ends in
 * `return remus_fail(err, -EINVAL, "...")`. @code must be negative.
 */
int remus_fail(struct remus_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As remus_fail(), with ": " and strerror(errno) appended and -errno returned. errno must be set. */
int remus_fail_errno(struct remus_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put "context: " before the message that @err already holds. Returns err->code; for NULL it does nothing and
 * returns 0, so a caller whose @err may be NULL returns its own code. */
int remus_error_prefix(struct remus_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
