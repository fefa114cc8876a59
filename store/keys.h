/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of a store (docs/FORMAT.md, "Keys").
 *
 *   master (random, 32 bytes) ──libsodium KDF, "xenolith"──▶ 1 chunk ID key    names data chunks
 *      ▲                                                    2 node ID key     names map nodes, saveset records
 *      │ in key slots: passphrase, key file                 3 authentication  directories, headers, log
 *      │ sealed to the recovery key: keys/recovery,         4 metadata wrap   keys of metadata segments
 *      └ and in every segment header                        5 data wrap       keys of data segments (readable stores)
 *
 * The recovery key is an X25519 pair; its secret half exists on paper only. Every segment key is also sealed to it.
 *
 * Threads: struct store_keys is read-only after it was made and may be shared. */
#ifndef STORE_KEYS_H
#define STORE_KEYS_H

#include "base/err.h"
#include "base/uuid.h"
#include "store/io.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_SIZE 32
#define KEY_SEALED_SIZE 80   /* crypto_box_seal of 32 bytes: 48 bytes more */
#define KEY_WRAPPED_SIZE 72  /* 24-byte nonce, 32 bytes, 16-byte tag */
#define KEY_SLOT_MAX 64      /* slots of a store */
#define KEY_SLOT_NAME_MAX 64 /* bytes of a slot's name, without the terminating zero */

/* Everything derived from the master. Lives in locked memory (sodium_malloc). */
struct store_keys {
	uint8_t master[KEY_SIZE];
	uint8_t chunk_id[KEY_SIZE];
	uint8_t node_id[KEY_SIZE];
	uint8_t auth[KEY_SIZE];
	uint8_t meta_wrap[KEY_SIZE];
	uint8_t data_wrap[KEY_SIZE];
	uint8_t recovery_public[KEY_SIZE];
	uint8_t master_sealed[KEY_SEALED_SIZE]; /* the master, sealed to recovery_public */
	bool has_recovery_secret;               /* the store was opened with the recovery key */
	uint8_t recovery_secret[KEY_SIZE];
	struct uuid store_id;
};

enum key_slot_kind {
	KEY_SLOT_PASSPHRASE, /* Argon2id */
	KEY_SLOT_KEY_FILE,   /* 32 random bytes or more in a file or a systemd credential: BLAKE2b, no stretching */
};

/* What unlocks a store. `bytes` are borrowed. */
enum unlock_kind {
	UNLOCK_PASSPHRASE,
	UNLOCK_KEY_FILE,
	UNLOCK_RECOVERY, /* bytes: the 32-byte secret of the recovery key */
	UNLOCK_MASTER,   /* bytes: the master itself; for tests and tools */
};

struct unlock {
	enum unlock_kind kind;
	const void *bytes;
	size_t length;
};

/* How much work a passphrase costs. Zero in either field means the default: 6 passes over 128 MiB, the
 * work of libsodium's MODERATE (3 over 256 MiB) within the memory that a job takes anyway. */
struct passphrase_cost {
	uint64_t ops;
	uint64_t memory_bytes;
};

struct key_slot_info {
	uint32_t number; /* as in the file name */
	enum key_slot_kind kind;
	char name[KEY_SLOT_NAME_MAX + 1];
	uint64_t created_unix_s;
};

/* Makes the keys directory of a new store: a random master and `keys/recovery` (its public half and the sealed master).
 * The recovery secret is written to `ret_recovery_secret` and kept nowhere. Gives *ret_keys (keys_free). */
MUST_CHECK enum err_code keys_create(struct io *io, const struct uuid *store_id,
				     uint8_t ret_recovery_secret[static KEY_SIZE], struct store_keys **ret_keys,
				     struct err *err);

/* Opens the master with `unlock` by trying the slots of its kind. ERR_AUTH if none fits, ERR_CORRUPT if slot files are
 * damaged (and none fits), ERR_NOT_FOUND if there is no slot of that kind. Gives *ret_keys. */
MUST_CHECK enum err_code keys_unlock(struct io *io, const struct uuid *store_id, const struct unlock *unlock,
				     struct store_keys **ret_keys, struct err *err);

/* Wipes and frees; NULL is allowed. */
void keys_free(struct store_keys *keys);

/* Adds a slot that opens with `secret`. ERR_LIMIT beyond KEY_SLOT_MAX; ERR_INVALID for an empty secret, a key file
 * under 32 bytes, or a bad name (empty, too long, control characters). Gives the number in *ret_number. */
MUST_CHECK enum err_code key_slot_add(struct io *io, const struct store_keys *keys, enum key_slot_kind kind,
				      const char *name, const void *secret, size_t secret_length,
				      const struct passphrase_cost *cost, uint32_t *ret_number, struct err *err);

/* Lists the slots in order of number. Gives *ret_slots (free). Damaged slot files are skipped and counted in
 * *ret_damaged. */
MUST_CHECK enum err_code key_slot_list(struct io *io, struct key_slot_info **ret_slots, size_t *ret_count,
				       size_t *ret_damaged, struct err *err);

/* Removes a slot. ERR_NOT_FOUND; ERR_INVALID for the last slot that is left (the recovery key alone would remain). */
MUST_CHECK enum err_code key_slot_remove(struct io *io, uint32_t number, struct err *err);

/* Wraps `key` with `wrap_key` (XChaCha20-Poly1305, random nonce, `context` as associated data). */
void key_wrap(const uint8_t wrap_key[static KEY_SIZE], const struct uuid *context, const uint8_t key[static KEY_SIZE],
	      uint8_t ret_wrapped[static KEY_WRAPPED_SIZE]);

/* Undoes key_wrap; ERR_CORRUPT if it does not fit. */
MUST_CHECK enum err_code key_unwrap(const uint8_t wrap_key[static KEY_SIZE], const struct uuid *context,
				    const uint8_t wrapped[static KEY_WRAPPED_SIZE], uint8_t ret_key[static KEY_SIZE],
				    struct err *err);

/* Seals `key` to the recovery key, or opens it with the secret half. */
void key_seal(const uint8_t recovery_public[static KEY_SIZE], const uint8_t key[static KEY_SIZE],
	      uint8_t ret_sealed[static KEY_SEALED_SIZE]);
MUST_CHECK enum err_code key_unseal(const uint8_t recovery_public[static KEY_SIZE],
				    const uint8_t recovery_secret[static KEY_SIZE],
				    const uint8_t sealed[static KEY_SEALED_SIZE], uint8_t ret_key[static KEY_SIZE],
				    struct err *err);

/* A 32-byte keyed BLAKE2b over the parts, each preceded by its length as 8 bytes little-endian; the MAC of headers,
 * directories and log entries. */
struct mac_part {
	const void *data;
	size_t length;
};
void key_mac(const uint8_t key[static KEY_SIZE], const struct mac_part *parts, size_t count,
	     uint8_t ret_mac[static 32]);

#endif
