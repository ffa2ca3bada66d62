// SPDX-License-Identifier: GPL-2.0-or-later
/* See base64.h. */
#include "base64.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *data, size_t n, char *out)
{
	const uint8_t *in = data;

	for (; n; in += 3, n -= n < 3 ? n : 3) {
		uint32_t group = (uint32_t)in[0] << 16 | (n > 1 ? in[1] << 8 : 0) | (n > 2 ? in[2] : 0);

		*out++ = alphabet[group >> 18];
		*out++ = alphabet[group >> 12 & 63];
		*out++ = n > 1 ? alphabet[group >> 6 & 63] : '=';
		*out++ = n > 2 ? alphabet[group & 63] : '=';
	}
	*out = 0;
}

int base64_decode(const char *text, void *out, size_t size)
{
	size_t length = strlen(text), have = 0;
	size_t padding = length && text[length - 1] == '=' ? 1 + (length > 1 && text[length - 2] == '=') : 0;
	uint8_t *to = out;
	uint32_t bits = 0;

	if (length % 4)
		return -EINVAL;
	for (size_t i = 0; i < length - padding; i++) {
		const char *at = strchr(alphabet, text[i]);
		if (!at)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		if (i % 4 == 0)
			continue;
		if (have == size)
			return -E2BIG;
		unsigned rest = 6 - 2 * (i % 4); /* bits that belong to the next byte */
		to[have++] = (uint8_t)(bits >> rest);
		bits &= (1u << rest) - 1;
	}
	return bits ? -EINVAL : (int)have;
}
