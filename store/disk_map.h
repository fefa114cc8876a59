/* SPDX-License-Identifier: Apache-2.0 */
/* The disk map: a persistent Merkle tree from block number to chunk ID, for one disk at one time.
 *
 * A leaf covers 128 blocks (8 MiB of disk), an inner node 128 children; the height follows from the number of blocks. A
 * block or subtree of zeroes is absent. A node's ID is a keyed hash of its logical content, so equal subtrees have
 * equal IDs and are stored once, whatever disk or time they come from. A node is stored whole or as a delta against a
 * node that is stored whole; the ID does not depend on which.
 *
 *   logical content (what the node ID hashes):
 *     level u8 | 0 u8[7] | presence bitmap 16 bytes (bit i of byte i/8) | IDs of the present slots, 32 bytes each, in
 *     order
 *   payload "whole":
 *     1 u8 | logical content
 *   payload "delta":
 *     2 u8 | base node ID 32 | presence bitmap 16 | count u8 | count x (slot u8 | ID 32)
 *     slots present in the new bitmap take their ID from the list, else from the base; at most a quarter of the slots
 *     are listed, and it is smaller than the whole form
 *
 * A base must be kept as long as a delta of it: it need not be part of the same map. Who decides what may be dropped
 * learns it from map_node_parse.
 *
 * This file knows nothing of segments: nodes come from and go to a node_store.
 *
 * Threads: one reader or builder per thread; a node_store's functions must bear what its users do. */
#ifndef STORE_DISK_MAP_H
#define STORE_DISK_MAP_H

#include "base/err.h"
#include "store/chunk_id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_MAP_FANOUT 128u
#define DISK_MAP_LEAF_BYTES ((uint64_t)DISK_MAP_FANOUT * BLOCK_SIZE)
#define DISK_MAP_LEVELS_MAX 6                        /* 128^6 blocks of 64 KiB: 2^58 bytes */
#define DISK_MAP_PAYLOAD_MAX (1u + 24u + 128u * 32u) /* a whole node with all slots present */

/* The first byte of a payload. */
enum node_payload {
	NODE_PAYLOAD_WHOLE = 1,
	NODE_PAYLOAD_DELTA = 2,
};

/* Where nodes live. */
struct node_store {
	/* Reads the payload of node `id` into `dst` (DISK_MAP_PAYLOAD_MAX bytes), length in *ret_length. ERR_NOT_FOUND
	 * or ERR_CORRUPT name the node. */
	enum err_code (*get)(void *user, const struct chunk_id *id, uint8_t *dst, size_t *ret_length, struct err *err);
	/* Stores a payload under `id`; called only for IDs that has() does not know. NULL in a read-only store. */
	enum err_code (*put)(void *user, const struct chunk_id *id, const uint8_t *payload, size_t length,
			     struct err *err);
	/* True if node `id` is stored already. NULL in a read-only store. */
	bool (*has)(void *user, const struct chunk_id *id);
	/* The keyed hash that makes IDs. */
	void (*hash)(void *user, const void *data, size_t length, struct chunk_id *ret);
	void *user;
};

/* One map. A disk of zeroes has no root. */
struct disk_map {
	struct chunk_id root;
	bool has_root;
	uint64_t block_count; /* of the disk, rounded up; 1..2^42 */
};

/* 128 slots: chunk IDs in a leaf, node IDs in an inner node. ids[i] is meaningful if slot i is present. */
struct map_node {
	uint8_t level; /* 0 is a leaf */
	uint8_t present[DISK_MAP_FANOUT / 8];
	struct chunk_id ids[DISK_MAP_FANOUT];
};

static inline bool map_node_has(const struct map_node *node, unsigned slot)
{
	return node->present[slot / 8] >> (slot % 8) & 1;
}

static inline void map_node_set(struct map_node *node, unsigned slot, const struct chunk_id *id)
{
	node->present[slot / 8] |= (uint8_t)(1u << (slot % 8));
	node->ids[slot] = *id;
}

/* Levels of a map with that many blocks: 1 is a single leaf. */
unsigned disk_map_height(uint64_t block_count);

/* Number of leaves, present or not. */
uint64_t disk_map_leaf_count(uint64_t block_count);

/* The parser of node payloads, free of I/O (for the reader and the fuzzer). For a delta, *ret_is_delta is true,
 * *ret_base is its base and only the listed slots of *ret_node have IDs (bitmap listed[] says which). ERR_CORRUPT for
 * anything that the builder would not write; the outputs are then unspecified. A delta does not say its level: it is
 * that of the base. */
MUST_CHECK enum err_code map_node_parse(const uint8_t *payload, size_t length, bool *ret_is_delta,
					struct chunk_id *ret_base, uint8_t ret_listed[static DISK_MAP_FANOUT / 8],
					struct map_node *ret_node, struct err *err);

/* Reads nodes with a cache of one path, so that ascending access reads every node once. Borrows `nodes` until it is
 * freed. Every node read is checked against its ID. */
struct disk_map_reader;
MUST_CHECK enum err_code disk_map_reader_new(const struct node_store *nodes, const struct disk_map *map,
					     struct disk_map_reader **ret, struct err *err);
void disk_map_reader_free(struct disk_map_reader *reader);

/* The leaf with number `leaf` (block / 128); *ret is the reader's until the next call, or NULL if the leaf is absent
 * (all zeroes). ERR_CORRUPT or ERR_NOT_FOUND if a node on the way cannot be had: the message names the node and the
 * blocks that it covers; `ret_lost_leaves` (may be NULL) is then how many leaves from `leaf` on are below that node. */
MUST_CHECK enum err_code disk_map_reader_leaf(struct disk_map_reader *reader, uint64_t leaf,
					      const struct map_node **ret, uint64_t *ret_lost_leaves, struct err *err);

/* The ID of the leaf node itself (false: absent), without reading the leaf. */
MUST_CHECK enum err_code disk_map_reader_leaf_id(struct disk_map_reader *reader, uint64_t leaf, bool *ret_present,
						 struct chunk_id *ret_id, struct err *err);

/* The first present leaf at or after `from`; *ret is disk_map_leaf_count() if there is none. Skips absent subtrees
 * without visiting what is below. If a node cannot be had that begins after `from`, *ret is the first leaf that it
 * covers, and reading there fails; if it covers `from`, errors are as above. */
MUST_CHECK enum err_code disk_map_reader_next(struct disk_map_reader *reader, uint64_t from, uint64_t *ret,
					      uint64_t *ret_lost_leaves, struct err *err);

/* Calls fn for the ID of every node of the map, root first, each subtree once per occurrence; fn may return ERR_OK with
 * *ret_skip set to leave out what is below. `level` 0 is a leaf; leaves are named, not read, and bases of deltas are
 * not visited. Used to verify and to mark. */
typedef enum err_code (*disk_map_visit_fn)(void *user, const struct chunk_id *id, unsigned level, uint64_t first_block,
					   bool *ret_skip, struct err *err);
MUST_CHECK enum err_code disk_map_visit(const struct node_store *nodes, const struct disk_map *map,
					disk_map_visit_fn fn, void *user, struct err *err);

/* Builds a map from its leaves in ascending order; memory is one node per level. With a base map, nodes that differ
 * little from the base's node at the same place are stored as deltas, and kept ranges share the base's subtrees without
 * reading what is below them. */
struct disk_map_builder;
MUST_CHECK enum err_code disk_map_builder_new(const struct node_store *nodes, uint64_t block_count,
					      const struct disk_map *base, struct disk_map_builder **ret,
					      struct err *err);

/* Puts the next leaf. `leaf` numbers must ascend; those left out are absent. A leaf without present slots is the same
 * as none. Sets the node's level. After an error the builder can only be freed, unless the error is ERR_INVALID. */
MUST_CHECK enum err_code disk_map_builder_put(struct disk_map_builder *builder, uint64_t leaf, struct map_node *node,
					      struct err *err);

/* Takes leaves [first, first + count) from the base map as they are there; what the base does not cover is absent, and
 * what it has past the end of a smaller disk is left out. Cost: nodes on the two edges of the range. */
MUST_CHECK enum err_code disk_map_builder_keep(struct disk_map_builder *builder, uint64_t first, uint64_t count,
					       struct err *err);

/* Stores what is still open and gives the map. The builder can only be freed afterwards. */
MUST_CHECK enum err_code disk_map_builder_finish(struct disk_map_builder *builder, struct disk_map *ret,
						 struct err *err);
void disk_map_builder_free(struct disk_map_builder *builder);

#endif
