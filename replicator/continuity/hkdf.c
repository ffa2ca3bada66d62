/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See hkdf.h. GnuTLS does the work; here are its types and its errors. */
#include "hkdf.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

/* GnuTLS takes writable memory, which it only reads. */
static gnutls_datum_t datum(struct hkdf_bytes bytes)
{
	return (gnutls_datum_t){
		.data = (unsigned char *)(uintptr_t)bytes.data,
		.size = (unsigned)bytes.bytes,
	};
}

int hkdf_extract(struct hkdf_bytes salt, struct hkdf_bytes material, uint8_t key[HKDF_KEY])
{
	gnutls_datum_t k = datum(material), s = datum(salt);
	uint8_t out[HKDF_KEY];

	if (gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &k, &s, out) < 0)
		return -EIO;
	memcpy(key, out, sizeof out);
	explicit_bzero(out, sizeof out);
	return 0;
}

int hkdf_expand(const uint8_t key[HKDF_KEY], struct hkdf_bytes info, void *out, size_t bytes)
{
	gnutls_datum_t k = datum((struct hkdf_bytes){key, HKDF_KEY}), i = datum(info);

	if (bytes > HKDF_WIDE_MAX)
		return -EINVAL;
	return gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &k, &i, out, bytes) < 0 ? -EIO : 0;
}
