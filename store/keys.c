/* SPDX-License-Identifier: Apache-2.0 */
/* The master key: how it is made, kept for the recovery key, and turned into the keys that do the work. Slots, which
 * keep it for passphrases and key files, are in key_slot.c.
 *
 * Derived key i (1..5 in the order of struct store_keys) is crypto_kdf_derive_from_key(32 bytes, subkey id i, context
 * "xenolith", master), that is BLAKE2b-256 of nothing with key = master, salt = i as 8 bytes little-endian and 8 zero
 * bytes, personal = "xenolith" and 8 zero bytes.
 *
 * keys/recovery is text, four lines, each ended by a newline:
 *
 *   xenolith-recovery = 1
 *   public = 64 hex digits    the X25519 public key of the recovery key
 *   master = 160 hex digits   crypto_box_seal(master, public)
 *   check = 64 hex digits     key_mac under the authentication key of: "xenolith recovery" (17 bytes), store id (16),
 *                             public (32), master as sealed (80)
 *
 * The check stops a forger who can write to the store, and can't read it, from putting his own public key there, to
 * which all later segment keys would then be sealed. */
#include "store/keys.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/endian.h"
#include "store/keys_internal.h"

#define RECOVERY_PATH KEYS_DIR "/recovery"
#define RECOVERY_VERSION_FIELD "xenolith-recovery"
#define RECOVERY_MAC_LABEL "xenolith recovery"

_Static_assert(KEY_SEALED_SIZE == KEY_SIZE + crypto_box_SEALBYTES, "size of a sealed box");
_Static_assert(KEY_WRAPPED_SIZE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES + KEY_SIZE +
					   crypto_aead_xchacha20poly1305_ietf_ABYTES,
	       "size of a wrapped key");

/* keys/recovery, decoded. */
struct recovery_file {
	uint8_t public[KEY_SIZE];
	uint8_t master_sealed[KEY_SEALED_SIZE];
	uint8_t check[32];
};

static void cleanup_keys(struct store_keys **keys)
{
	keys_free(*keys);
}

void keys_free(struct store_keys *keys)
{
	sodium_free(keys); /* wipes; NULL is allowed */
}

/* Makes the struct and everything that follows from the master alone. */
static enum err_code keys_derive(const uint8_t master[static KEY_SIZE], const struct uuid *store_id,
				 struct store_keys **ret_keys, struct err *err)
{
	struct store_keys *keys = sodium_malloc(sizeof(*keys));
	if (!keys)
		return err_set(err, ERR_NO_MEMORY, 0, "no locked memory for the keys of the store");
	memset(keys, 0, sizeof(*keys));
	memcpy(keys->master, master, KEY_SIZE);
	keys->store_id = *store_id;
	/* Stored by number; never renumbered. */
	uint8_t *const derived[] = {keys->chunk_id, keys->node_id, keys->auth, keys->meta_wrap, keys->data_wrap};
	for (size_t i = 0; i < sizeof(derived) / sizeof(derived[0]); i++)
		crypto_kdf_derive_from_key(derived[i], KEY_SIZE, i + 1, "xenolith", master);
	*ret_keys = keys;
	return ERR_OK;
}

static void recovery_mac(const struct store_keys *keys, const struct recovery_file *file, uint8_t ret_mac[static 32])
{
	const struct mac_part parts[] = {
		{RECOVERY_MAC_LABEL, strlen(RECOVERY_MAC_LABEL)},
		{keys->store_id.bytes, sizeof(keys->store_id.bytes)},
		{file->public, sizeof(file->public)},
		{file->master_sealed, sizeof(file->master_sealed)},
	};
	key_mac(keys->auth, parts, sizeof(parts) / sizeof(parts[0]), ret_mac);
}

static enum err_code recovery_file_write(struct io *io, const struct recovery_file *file, struct err *err)
{
	char text[KEY_FILE_MAX];
	char public[2 * sizeof(file->public) + 1];
	char master[2 * sizeof(file->master_sealed) + 1];
	char check[2 * sizeof(file->check) + 1];
	int n = snprintf(text, sizeof(text), RECOVERY_VERSION_FIELD " = 1\npublic = %s\nmaster = %s\ncheck = %s\n",
			 hex_format(file->public, sizeof(file->public), public),
			 hex_format(file->master_sealed, sizeof(file->master_sealed), master),
			 hex_format(file->check, sizeof(file->check), check));
	return io_write_file(io, RECOVERY_PATH, text, (size_t)n, err);
}

static enum err_code recovery_file_read(struct io *io, struct recovery_file *ret, struct err *err)
{
	AUTO_FREE uint8_t *data = NULL;
	size_t length = 0;
	struct err cause = {0};
	enum err_code code = io_read_file(io, RECOVERY_PATH, KEY_FILE_MAX, &data, &length, &cause);
	if (code == ERR_NOT_FOUND)
		return err_set(err, ERR_CORRUPT, 0,
			       "key file '%s' is missing; put it back from a copy of the store's keys folder",
			       RECOVERY_PATH);
	if (code == ERR_LIMIT)
		return err_set(err, ERR_CORRUPT, 0, "key file '%s' is damaged: it is longer than %d bytes",
			       RECOVERY_PATH, KEY_FILE_MAX);
	if (code != ERR_OK)
		return pass_on(err, &cause);
	struct key_text text = key_text_of(RECOVERY_PATH, data, length);
	struct recovery_file file;
	TRY(key_text_version(&text, RECOVERY_VERSION_FIELD, err));
	key_text_hex(&text, "public", file.public, sizeof(file.public));
	key_text_hex(&text, "master", file.master_sealed, sizeof(file.master_sealed));
	key_text_hex(&text, "check", file.check, sizeof(file.check));
	TRY(key_text_finish(&text, err));
	*ret = file;
	return ERR_OK;
}

/* Takes over the public key of `file` after checking that the owner of the master put it there. */
static enum err_code recovery_file_accept(struct store_keys *keys, const struct recovery_file *file, struct err *err)
{
	uint8_t check[32];
	recovery_mac(keys, file, check);
	if (sodium_memcmp(check, file->check, sizeof(check)) != 0)
		return err_set(err, ERR_CORRUPT, 0,
			       "key file '%s' is not the one that was made for this store; put it back from a copy",
			       RECOVERY_PATH);
	memcpy(keys->recovery_public, file->public, KEY_SIZE);
	memcpy(keys->master_sealed, file->master_sealed, KEY_SEALED_SIZE);
	return ERR_OK;
}

/* The struct is complete: whoever writes to it from now on is in error, and is stopped by the memory's protection. */
static struct store_keys *keys_seal_off(struct store_keys *keys)
{
	sodium_mprotect_readonly(keys);
	return keys;
}

enum err_code keys_create(struct io *io, const struct uuid *store_id, uint8_t ret_recovery_secret[static KEY_SIZE],
			  struct store_keys **ret_keys, struct err *err)
{
	if (sodium_init() < 0)
		return err_set(err, ERR_BUG, 0, "libsodium did not start");
	uint8_t master[KEY_SIZE];
	uint8_t secret[KEY_SIZE];
	struct recovery_file file;
	AUTO(cleanup_keys) struct store_keys *keys = NULL;
	crypto_kdf_keygen(master);
	enum err_code code = keys_derive(master, store_id, &keys, err);
	if (code == ERR_OK) {
		crypto_box_keypair(file.public, secret);
		key_seal(file.public, master, file.master_sealed);
		recovery_mac(keys, &file, file.check);
		code = recovery_file_accept(keys, &file, err);
	}
	sodium_memzero(master, sizeof(master));
	if (code == ERR_OK)
		code = io_make_dir(io, KEYS_DIR, err);
	if (code == ERR_OK)
		code = io_sync_dir(io, "", err);
	if (code == ERR_OK)
		code = recovery_file_write(io, &file, err);
	if (code == ERR_OK) {
		memcpy(ret_recovery_secret, secret, KEY_SIZE);
		*ret_keys = keys_seal_off(TAKE_PTR(keys));
	}
	sodium_memzero(secret, sizeof(secret));
	return code;
}

/* Opens the sealed master with the recovery key's secret half. */
static enum err_code unlock_with_recovery(const struct unlock *unlock, const struct recovery_file *file,
					  uint8_t ret_master[static KEY_SIZE], struct err *err)
{
	uint8_t public[KEY_SIZE];
	if (unlock->length != KEY_SIZE)
		return err_set(err, ERR_INVALID, 0, "a recovery key has %d bytes, not %zu", KEY_SIZE, unlock->length);
	if (crypto_scalarmult_base(public, unlock->bytes) != 0 ||
	    sodium_memcmp(public, file->public, sizeof(public)) != 0)
		return err_set(err, ERR_AUTH, 0,
			       "this recovery key does not belong to the store: '%s' names another one", RECOVERY_PATH);
	if (key_unseal(file->public, unlock->bytes, file->master_sealed, ret_master, NULL) != ERR_OK)
		return err_set(err, ERR_CORRUPT, 0,
			       "key file '%s' is damaged: its master does not open with the recovery key",
			       RECOVERY_PATH);
	return ERR_OK;
}

static enum err_code unlock_master(struct io *io, const struct uuid *store_id, const struct unlock *unlock,
				   const struct recovery_file *file, uint8_t ret_master[static KEY_SIZE],
				   struct err *err)
{
	switch (unlock->kind) {
	case UNLOCK_PASSPHRASE:
		return key_slots_open(io, store_id, KEY_SLOT_PASSPHRASE, unlock->bytes, unlock->length, ret_master,
				      err);
	case UNLOCK_KEY_FILE:
		return key_slots_open(io, store_id, KEY_SLOT_KEY_FILE, unlock->bytes, unlock->length, ret_master, err);
	case UNLOCK_RECOVERY:
		return unlock_with_recovery(unlock, file, ret_master, err);
	case UNLOCK_MASTER:
		if (unlock->length != KEY_SIZE)
			return err_set(err, ERR_INVALID, 0, "a master key has %d bytes, not %zu", KEY_SIZE,
				       unlock->length);
		memcpy(ret_master, unlock->bytes, KEY_SIZE);
		return ERR_OK;
	}
	return err_set(err, ERR_BUG, 0, "unlock kind %d is not known", (int)unlock->kind);
}

/* A store whose slots and recovery file disagree is damaged; a master that came from outside is just the wrong one. */
static enum err_code accept_master(const uint8_t master[static KEY_SIZE], const struct uuid *store_id,
				   const struct unlock *unlock, const struct recovery_file *file,
				   struct store_keys **ret_keys, struct err *err)
{
	AUTO(cleanup_keys) struct store_keys *keys = NULL;
	TRY(keys_derive(master, store_id, &keys, err));
	if (unlock->kind == UNLOCK_MASTER && recovery_file_accept(keys, file, NULL) != ERR_OK)
		return err_set(err, ERR_AUTH, 0, "this master key does not belong to the store");
	TRY(recovery_file_accept(keys, file, err));
	if (unlock->kind == UNLOCK_RECOVERY) {
		memcpy(keys->recovery_secret, unlock->bytes, KEY_SIZE);
		keys->has_recovery_secret = true;
	}
	*ret_keys = keys_seal_off(TAKE_PTR(keys));
	return ERR_OK;
}

enum err_code keys_unlock(struct io *io, const struct uuid *store_id, const struct unlock *unlock,
			  struct store_keys **ret_keys, struct err *err)
{
	if (sodium_init() < 0)
		return err_set(err, ERR_BUG, 0, "libsodium did not start");
	struct recovery_file file = {0};
	struct err file_err = {0};
	enum err_code file_code = recovery_file_read(io, &file, &file_err);
	/* Without the file a wrong passphrase is still called wrong before the file is called missing. */
	bool needs_file = unlock->kind == UNLOCK_RECOVERY || unlock->kind == UNLOCK_MASTER;
	if (file_code != ERR_OK && needs_file)
		return pass_on(err, &file_err);
	uint8_t master[KEY_SIZE];
	enum err_code code = unlock_master(io, store_id, unlock, &file, master, err);
	if (code == ERR_OK && file_code != ERR_OK)
		code = pass_on(err, &file_err);
	if (code == ERR_OK)
		code = accept_master(master, store_id, unlock, &file, ret_keys, err);
	sodium_memzero(master, sizeof(master));
	return code;
}

void key_wrap_with_ad(const uint8_t wrap_key[static KEY_SIZE], const void *ad, size_t ad_length,
		      const uint8_t key[static KEY_SIZE], uint8_t ret_wrapped[static KEY_WRAPPED_SIZE])
{
	const size_t nonce_size = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
	randombytes_buf(ret_wrapped, nonce_size);
	crypto_aead_xchacha20poly1305_ietf_encrypt(ret_wrapped + nonce_size, /* clen_p= */ NULL, key, KEY_SIZE, ad,
						   ad_length, /* nsec= */ NULL, ret_wrapped, wrap_key);
}

bool key_unwrap_with_ad(const uint8_t wrap_key[static KEY_SIZE], const void *ad, size_t ad_length,
			const uint8_t wrapped[static KEY_WRAPPED_SIZE], uint8_t ret_key[static KEY_SIZE])
{
	const size_t nonce_size = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
	return crypto_aead_xchacha20poly1305_ietf_decrypt(ret_key, /* mlen_p= */ NULL, /* nsec= */ NULL,
							  wrapped + nonce_size, KEY_WRAPPED_SIZE - nonce_size, ad,
							  ad_length, wrapped, wrap_key) == 0;
}

void key_wrap(const uint8_t wrap_key[static KEY_SIZE], const struct uuid *context, const uint8_t key[static KEY_SIZE],
	      uint8_t ret_wrapped[static KEY_WRAPPED_SIZE])
{
	key_wrap_with_ad(wrap_key, context->bytes, sizeof(context->bytes), key, ret_wrapped);
}

enum err_code key_unwrap(const uint8_t wrap_key[static KEY_SIZE], const struct uuid *context,
			 const uint8_t wrapped[static KEY_WRAPPED_SIZE], uint8_t ret_key[static KEY_SIZE],
			 struct err *err)
{
	if (key_unwrap_with_ad(wrap_key, context->bytes, sizeof(context->bytes), wrapped, ret_key))
		return ERR_OK;
	char id[UUID_TEXT_SIZE];
	return err_set(err, ERR_CORRUPT, 0, "the wrapped key of '%s' is damaged or was forged",
		       uuid_format(context, id));
}

void key_seal(const uint8_t recovery_public[static KEY_SIZE], const uint8_t key[static KEY_SIZE],
	      uint8_t ret_sealed[static KEY_SEALED_SIZE])
{
	/* Fails for a public key of small order only; the recovery file's check keeps those out. */
	if (crypto_box_seal(ret_sealed, key, KEY_SIZE, recovery_public) != 0)
		abort();
}

enum err_code key_unseal(const uint8_t recovery_public[static KEY_SIZE], const uint8_t recovery_secret[static KEY_SIZE],
			 const uint8_t sealed[static KEY_SEALED_SIZE], uint8_t ret_key[static KEY_SIZE],
			 struct err *err)
{
	if (crypto_box_seal_open(ret_key, sealed, KEY_SEALED_SIZE, recovery_public, recovery_secret) != 0)
		return err_set(err, ERR_CORRUPT, 0, "a key sealed to the recovery key is damaged or was forged");
	return ERR_OK;
}

void key_mac(const uint8_t key[static KEY_SIZE], const struct mac_part *parts, size_t count, uint8_t ret_mac[static 32])
{
	crypto_generichash_state state;
	crypto_generichash_init(&state, key, KEY_SIZE, 32);
	for (size_t i = 0; i < count; i++) {
		uint8_t length[8];
		le64_put(length, parts[i].length);
		crypto_generichash_update(&state, length, sizeof(length));
		crypto_generichash_update(&state, parts[i].data, parts[i].length);
	}
	crypto_generichash_final(&state, ret_mac, 32);
	sodium_memzero(&state, sizeof(state));
}
