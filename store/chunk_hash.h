/* SPDX-License-Identifier: Apache-2.0 */
/* Chunk IDs: keyed BLAKE2b-256 (RFC 7693), eight blocks side by side in vector registers. Bit-exact with libsodium's
 * crypto_generichash(out, 32, in, length, key, 32). The widest form that the CPU has (AVX-512: 8 lanes, AVX2: 2 x 4
 * lanes, plain) is chosen at run time; all give the same bits.
 *
 * Threads: a struct chunk_hasher is read-only after init and may be shared. */
#ifndef STORE_CHUNK_HASH_H
#define STORE_CHUNK_HASH_H

#include "store/chunk_id.h"

#include <stddef.h>
#include <stdint.h>

#define CHUNK_HASH_LANES 8

struct chunk_hasher {
	uint8_t key[32];
};

void chunk_hasher_init(struct chunk_hasher *hasher, const uint8_t key[static 32]);
void chunk_hasher_wipe(struct chunk_hasher *hasher);

/* Hashes `count` (1..CHUNK_HASH_LANES) blocks of BLOCK_SIZE bytes each; any alignment. Costs about the same for any
 * count above 2, so callers gather full groups. */
void chunk_hash_blocks(const struct chunk_hasher *hasher, const uint8_t *const blocks[], size_t count,
		       struct chunk_id ret_ids[]);

/* Hashes `length` bytes of anything. */
void chunk_hash(const struct chunk_hasher *hasher, const void *data, size_t length, struct chunk_id *ret_id);

/* The implementation in use: "avx512", "avx2" or "plain". */
const char *chunk_hash_implementation(void);

/* Forces an implementation by name (for tests and benchmarks); false if the CPU can't run it. Not thread-safe. */
bool chunk_hash_force(const char *name);

#endif
