/* SPDX-License-Identifier: Apache-2.0 */
/* The name of a stored content: a keyed 256-bit BLAKE2b of its plain bytes. */
#ifndef STORE_CHUNK_ID_H
#define STORE_CHUNK_ID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* The grain of change tracking, deduplication and restore (docs/FORMAT.md, "Terms"). */
#define BLOCK_SIZE 65536u
#define BLOCK_SHIFT 16

struct chunk_id {
	uint8_t bytes[32];
};

#define CHUNK_ID_TEXT_SIZE 65

static inline bool chunk_id_equal(const struct chunk_id *a, const struct chunk_id *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

#endif
