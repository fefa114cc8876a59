/* SPDX-License-Identifier: Apache-2.0 */
/* What the implementations of the lane-parallel chunk hash share: private to store/chunk_hash*.c. */
#ifndef STORE_CHUNK_HASH_INTERNAL_H
#define STORE_CHUNK_HASH_INTERNAL_H

#include "store/chunk_hash.h"

/* Hashes exactly CHUNK_HASH_LANES blocks. */
typedef void (*chunk_hash_group_fn)(const uint8_t key[static 32], const uint8_t *const blocks[static CHUNK_HASH_LANES],
				    struct chunk_id ret_ids[static CHUNK_HASH_LANES]);

#if defined(__x86_64__)
void chunk_hash_group_avx512(const uint8_t key[static 32], const uint8_t *const blocks[static CHUNK_HASH_LANES],
			     struct chunk_id ret_ids[static CHUNK_HASH_LANES]);
void chunk_hash_group_avx2(const uint8_t key[static 32], const uint8_t *const blocks[static CHUNK_HASH_LANES],
			   struct chunk_id ret_ids[static CHUNK_HASH_LANES]);
#endif

#endif
