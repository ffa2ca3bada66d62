/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Base64 (RFC 4648, section 4, with padding): how etcd's JSON carries keys and values. */
#ifndef REMUS_ARBITER_BASE64_H
#define REMUS_ARBITER_BASE64_H

#include <stddef.h>

/* Bytes that @n bytes become, the terminating NUL included. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)

/* @out holds BASE64_SIZE(@n) bytes. */
void base64_encode(const void *data, size_t n, char *out);

/* Decode the string @text into at most @size bytes. Returns how many, or -EINVAL (not base64, also when padding or
 * unused bits aren't zero: one text per value) or -E2BIG. */
int base64_decode(const char *text, void *out, size_t size);

#endif
