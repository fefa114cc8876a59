/* SPDX-License-Identifier: Apache-2.0 */
/* Authenticated encryption of records: AES-256-GCM by OpenSSL's EVP where the CPU has AES instructions, else
 * XChaCha20-Poly1305 by libsodium. A key is used for one segment only and the nonce is the record's ordinal in it, so a
 * nonce never repeats under a key. Builds with XENOLITH_NONCE_GUARD record every (key, nonce) that sealed and abort
 * when one comes back.
 *
 * Threads: one struct aead per thread. */
#ifndef STORE_AEAD_H
#define STORE_AEAD_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define AEAD_KEY_SIZE 32
#define AEAD_TAG_SIZE 16

/* Stored in segment headers; never renumbered. */
enum aead_cipher {
	AEAD_AES_256_GCM = 1,        /* nonce: ordinal as 8 bytes little-endian, 4 zero bytes */
	AEAD_XCHACHA20_POLY1305 = 2, /* nonce: ordinal as 8 bytes little-endian, 16 zero bytes */
};

struct aead;

/* The cipher that suits this CPU. */
enum aead_cipher aead_preferred(void);

/* A context for `cipher` without a key. ERR_UNSUPPORTED for an unknown cipher number. */
MUST_CHECK enum err_code aead_new(enum aead_cipher cipher, struct aead **ret, struct err *err);

/* Sets the key (wiping the old one). Costs about a microsecond. */
MUST_CHECK enum err_code aead_set_key(struct aead *aead, const uint8_t key[static AEAD_KEY_SIZE], struct err *err);

/* Encrypts `length` bytes from `src` to `dst` (may be equal) and puts the tag at dst + length. */
MUST_CHECK enum err_code aead_seal(struct aead *aead, uint64_t ordinal, const void *ad, size_t ad_length,
				   const uint8_t *src, size_t length, uint8_t *dst, struct err *err);

/* Decrypts `length` bytes (without the tag, which stands at src + length) to `dst` (may equal src). ERR_CORRUPT if the
 * tag does not fit; dst is then unspecified. */
MUST_CHECK enum err_code aead_open(struct aead *aead, uint64_t ordinal, const void *ad, size_t ad_length,
				   const uint8_t *src, size_t length, uint8_t *dst, struct err *err);

/* Wipes the key and frees. NULL is allowed. */
void aead_free(struct aead *aead);

#endif
