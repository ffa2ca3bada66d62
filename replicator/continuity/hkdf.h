/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HKDF-SHA256 (RFC 5869) by GnuTLS. Private to this folder and its test. */
#ifndef REMUS_HKDF_H
#define REMUS_HKDF_H

#include <stddef.h>
#include <stdint.h>

#define HKDF_KEY      32u	   /* bytes of a pseudorandom key: SHA-256's length */
#define HKDF_WIDE_MAX (255u * 32u) /* bytes that one key may be expanded to (RFC 5869 section 2.3) */

struct hkdf_bytes {
	const void *data;
	size_t bytes;
};

/* Section 2.2. @key may be the memory that @salt lies in. 0 or a negative errno. */
int hkdf_extract(struct hkdf_bytes salt, struct hkdf_bytes material, uint8_t key[HKDF_KEY]);
/* Section 2.3: @bytes of output, at most HKDF_WIDE_MAX. */
int hkdf_expand(const uint8_t key[HKDF_KEY], struct hkdf_bytes info, void *out, size_t bytes);

#endif
