/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the disk map: the bytes of one node. The parser is public (store/disk_map.h). */
#ifndef STORE_MAP_NODE_H
#define STORE_MAP_NODE_H

#include "store/disk_map.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* First byte of a payload. */
enum map_node_form {
	MAP_NODE_WHOLE = 1,
	MAP_NODE_DELTA = 2,
};

#define MAP_NODE_BITMAP_SIZE (DISK_MAP_FANOUT / 8)
#define MAP_NODE_HEAD_SIZE (8u + MAP_NODE_BITMAP_SIZE)             /* logical content before the IDs */
#define MAP_DELTA_HEAD_SIZE (1u + 32u + MAP_NODE_BITMAP_SIZE + 1u) /* delta payload before the list */
#define MAP_DELTA_ENTRY_SIZE 33u                                   /* slot and ID */
#define MAP_DELTA_LISTED_MAX (DISK_MAP_FANOUT / 4)                 /* more changes than that: a whole node */

/* Number of bits set in a presence bitmap. */
unsigned map_bitmap_count(const uint8_t bitmap[static MAP_NODE_BITMAP_SIZE]);

static inline bool map_bitmap_has(const uint8_t *bitmap, unsigned slot)
{
	return bitmap[slot / 8] >> (slot % 8) & 1;
}

/* Writes the whole form of `node`; returns its length. The logical content, which the ID hashes, is all but the first
 * byte. */
size_t map_node_encode(const struct map_node *node, uint8_t dst[static DISK_MAP_PAYLOAD_MAX]);

/* Writes `node` as a delta against `base`, whose ID is `base_id`; returns its length, or 0 if the whole form has to be
 * used: the nodes are of different levels, too many slots differ, or the delta would not be smaller. */
size_t map_node_encode_delta(const struct map_node *node, const struct chunk_id *base_id, const struct map_node *base,
			     uint8_t dst[static DISK_MAP_PAYLOAD_MAX]);

#endif
