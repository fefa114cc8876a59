/* SPDX-License-Identifier: Apache-2.0 */
/* The two ciphers of records behind one context. With AES-256-GCM the key schedule is made once per segment and only
 * the nonce is set per record; the cipher is fetched once per context, because a fetch takes locks. */
#include "store/aead.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

#include "base/endian.h"
#include "store/nonce_guard.h"

/* A record is at most a block and a little; the limit is OpenSSL's int. */
#define LENGTH_MAX ((size_t)INT_MAX)

struct aead {
	enum aead_cipher cipher;
	bool has_key;
	EVP_CIPHER *evp_cipher;     /* AES only */
	EVP_CIPHER_CTX *evp;        /* AES only; holds the key schedule */
	uint8_t key[AEAD_KEY_SIZE]; /* XChaCha20 and the nonce guard */
};

enum aead_cipher aead_preferred(void)
{
	return sodium_init() >= 0 && crypto_aead_aes256gcm_is_available() ? AEAD_AES_256_GCM : AEAD_XCHACHA20_POLY1305;
}

/* An error of OpenSSL in its own words. None is expected once the arguments were checked. */
static enum err_code openssl_failed(struct err *err, const char *what)
{
	char text[256];
	ERR_error_string_n(ERR_get_error(), text, sizeof(text));
	ERR_clear_error();
	return err_set(err, ERR_BUG, 0, "aes-256-gcm: %s failed: %s", what, text);
}

static enum err_code make_evp(struct aead *aead, struct err *err)
{
	aead->evp_cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (!aead->evp_cipher)
		return err_set(err, ERR_UNSUPPORTED, 0, "openssl has no aes-256-gcm; check its providers");
	aead->evp = EVP_CIPHER_CTX_new();
	if (!aead->evp)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a cipher context");
	return ERR_OK;
}

enum err_code aead_new(enum aead_cipher cipher, struct aead **ret, struct err *err)
{
	if (cipher != AEAD_AES_256_GCM && cipher != AEAD_XCHACHA20_POLY1305)
		return err_set(err, ERR_UNSUPPORTED, 0, "cipher %u is not known to this version", (unsigned)cipher);
	struct aead *aead = sodium_init() < 0 ? NULL : sodium_malloc(sizeof(*aead));
	if (!aead)
		return err_set(err, ERR_NO_MEMORY, 0, "no locked memory for a cipher context");
	memset(aead, 0, sizeof(*aead));
	aead->cipher = cipher;
	enum err_code code = cipher == AEAD_AES_256_GCM ? make_evp(aead, err) : ERR_OK;
	if (code != ERR_OK) {
		aead_free(aead);
		return code;
	}
	*ret = aead;
	return ERR_OK;
}

void aead_free(struct aead *aead)
{
	if (!aead)
		return;
	EVP_CIPHER_CTX_free(aead->evp); /* wipes the key schedule */
	EVP_CIPHER_free(aead->evp_cipher);
	sodium_free(aead); /* wipes the rest */
}

enum err_code aead_set_key(struct aead *aead, const uint8_t key[static AEAD_KEY_SIZE], struct err *err)
{
	memcpy(aead->key, key, sizeof(aead->key));
	if (aead->evp && !EVP_EncryptInit_ex2(aead->evp, aead->evp_cipher, key, /* iv= */ NULL, /* params= */ NULL)) {
		aead->has_key = false;
		return openssl_failed(err, "setting the key");
	}
	aead->has_key = true;
	return ERR_OK;
}

static enum err_code check_call(const struct aead *aead, size_t ad_length, size_t length, struct err *err)
{
	if (!aead->has_key)
		return err_set(err, ERR_BUG, 0, "a cipher was used before its key was set");
	if (ad_length > LENGTH_MAX || length > LENGTH_MAX)
		return err_set(err, ERR_LIMIT, 0, "a record of %zu bytes is too long to encrypt", length);
	return ERR_OK;
}

/* Starts a record: the nonce, then the associated data. */
static bool evp_begin(struct aead *aead, bool seals, uint64_t ordinal, const void *ad, size_t ad_length)
{
	uint8_t nonce[12] = {0};
	le64_put(nonce, ordinal);
	int n = 0;
	return EVP_CipherInit_ex2(aead->evp, NULL, NULL, nonce, seals, NULL) &&
	       (ad_length == 0 || EVP_CipherUpdate(aead->evp, NULL, &n, ad, (int)ad_length));
}

/* The payload. OpenSSL's GCM gives every byte at once and allows dst == src (EVP_EncryptInit(3), "in place"). */
static bool evp_update(struct aead *aead, const uint8_t *src, size_t length, uint8_t *dst)
{
	int n = 0;
	return length == 0 || (EVP_CipherUpdate(aead->evp, dst, &n, src, (int)length) && (size_t)n == length);
}

static enum err_code aes_seal(struct aead *aead, uint64_t ordinal, const void *ad, size_t ad_length, const uint8_t *src,
			      size_t length, uint8_t *dst, struct err *err)
{
	uint8_t none[AEAD_TAG_SIZE];
	int n = 0;
	if (!evp_begin(aead, /* seals= */ true, ordinal, ad, ad_length) || !evp_update(aead, src, length, dst) ||
	    !EVP_CipherFinal_ex(aead->evp, none, &n) ||
	    !EVP_CIPHER_CTX_ctrl(aead->evp, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, dst + length))
		return openssl_failed(err, "sealing");
	return ERR_OK;
}

static enum err_code record_damaged(struct err *err, uint64_t ordinal)
{
	return err_set(err, ERR_CORRUPT, 0, "record %llu is damaged or was forged: its seal does not fit",
		       (unsigned long long)ordinal);
}

static enum err_code aes_open(struct aead *aead, uint64_t ordinal, const void *ad, size_t ad_length, const uint8_t *src,
			      size_t length, uint8_t *dst, struct err *err)
{
	uint8_t tag[AEAD_TAG_SIZE];
	uint8_t none[AEAD_TAG_SIZE];
	int n = 0;
	memcpy(tag, src + length, sizeof(tag));
	if (!evp_begin(aead, /* seals= */ false, ordinal, ad, ad_length) || !evp_update(aead, src, length, dst) ||
	    !EVP_CIPHER_CTX_ctrl(aead->evp, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, tag))
		return openssl_failed(err, "opening");
	return EVP_CipherFinal_ex(aead->evp, none, &n) ? ERR_OK : record_damaged(err, ordinal);
}

static void xchacha_nonce(uint64_t ordinal, uint8_t nonce[static crypto_aead_xchacha20poly1305_ietf_NPUBBYTES])
{
	memset(nonce, 0, crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
	le64_put(nonce, ordinal);
}

enum err_code aead_seal(struct aead *aead, uint64_t ordinal, const void *ad, size_t ad_length, const uint8_t *src,
			size_t length, uint8_t *dst, struct err *err)
{
	TRY(check_call(aead, ad_length, length, err));
#ifdef XENOLITH_NONCE_GUARD
	nonce_guard_record(aead->key, ordinal);
#endif
	if (aead->cipher == AEAD_AES_256_GCM)
		return aes_seal(aead, ordinal, ad, ad_length, src, length, dst, err);
	uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];
	xchacha_nonce(ordinal, nonce);
	crypto_aead_xchacha20poly1305_ietf_encrypt_detached(dst, dst + length, /* maclen= */ NULL, src, length, ad,
							    ad_length, /* nsec= */ NULL, nonce, aead->key);
	return ERR_OK;
}

enum err_code aead_open(struct aead *aead, uint64_t ordinal, const void *ad, size_t ad_length, const uint8_t *src,
			size_t length, uint8_t *dst, struct err *err)
{
	TRY(check_call(aead, ad_length, length, err));
	if (aead->cipher == AEAD_AES_256_GCM)
		return aes_open(aead, ordinal, ad, ad_length, src, length, dst, err);
	uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];
	xchacha_nonce(ordinal, nonce);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt_detached(dst, /* nsec= */ NULL, src, length, src + length, ad,
								ad_length, nonce, aead->key) != 0)
		return record_damaged(err, ordinal);
	return ERR_OK;
}
