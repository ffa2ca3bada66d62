/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Filling error objects; the contract is in include/remus/error.h. */
#include "remus/error.h"

#include <stdio.h>
#include <string.h>

int remus_fail(struct remus_error *err, int code, const char *fmt, ...)
{
	if (!err)
		return code;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof err->message, fmt, ap);
	va_end(ap);
	err->code = code;
	return code;
}

int remus_fail_errno(struct remus_error *err, const char *fmt, ...)
{
	int code = errno;

	if (!err)
		return -code;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(err->message, sizeof err->message, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof err->message)
		snprintf(err->message + n, sizeof err->message - (size_t)n, ": %s", strerror(code));
	err->code = -code;
	return -code;
}

int remus_error_prefix(struct remus_error *err, const char *fmt, ...)
{
	char head[REMUS_ERROR_MAX], old[REMUS_ERROR_MAX];

	if (!err)
		return 0;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(head, sizeof head, fmt, ap);
	va_end(ap);
	memcpy(old, err->message, sizeof old);
	size_t n = strlen(head);
	memcpy(err->message, head, n);
	snprintf(err->message + n, sizeof err->message - n, ": %s", old);
	return err->code;
}
