/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the disk map: nodes by their place. A node's place is (level, index): index i at level l covers the leaves
 * [i << 7l, (i + 1) << 7l). The same place means the same blocks in every map, whatever its height, so that the maps of
 * a disk before and after it was resized can be compared node by node. */
#ifndef STORE_DISK_MAP_INTERNAL_H
#define STORE_DISK_MAP_INTERNAL_H

#include "store/map_node.h"

#include <assert.h>

#define DISK_MAP_SHIFT 7 /* log2 of the fan-out */
static_assert(1u << DISK_MAP_SHIFT == DISK_MAP_FANOUT, "fan-out is a power of two");

#define DISK_MAP_BLOCKS_MAX (UINT64_C(1) << (DISK_MAP_SHIFT * DISK_MAP_LEVELS_MAX))

/* A builder makes deltas against whole nodes only. But two jobs of one process may store the same node at the same
 * time, one whole and one as a delta, and what is found later is either: so whoever reads follows a few bases, and no
 * further. */
#define MAP_DELTA_DEPTH_MAX 8

/* The lowest node of a path and how it is stored. */
struct map_place {
	bool valid;
	uint64_t index;
	struct chunk_id id;
	bool is_delta;
	struct chunk_id base; /* if is_delta */
	struct map_node node;
};

/* One path from the root down, kept between calls: ascending access reads every node once. */
struct map_path {
	const struct node_store *nodes;
	struct disk_map map;
	unsigned height;
	struct map_place places[DISK_MAP_LEVELS_MAX]; /* by level */
};

/* ERR_INVALID unless the map's block count is within its limits. Borrows `nodes` for the path's life. */
MUST_CHECK enum err_code map_path_init(struct map_path *path, const struct node_store *nodes,
				       const struct disk_map *map, struct err *err);

/* Finds the node at (level, index); *ret is NULL if the map has none there, else valid until the next call. After an
 * error *ret_failed_level (may be NULL) is the level of the node that could not be had. */
MUST_CHECK enum err_code map_path_node(struct map_path *path, unsigned level, uint64_t index,
				       const struct map_place **ret, unsigned *ret_failed_level, struct err *err);

/* Reads node `id`, following deltas, and checks its content against `id`, and its level. *ret_is_delta and *ret_base
 * say how it is stored. */
MUST_CHECK enum err_code map_node_load(const struct node_store *nodes, const struct chunk_id *id, unsigned level,
				       bool *ret_is_delta, struct chunk_id *ret_base, struct map_node *ret,
				       struct err *err);

/* map_node_load, then checks that the node has nothing past the end of a disk of `block_count` blocks. */
MUST_CHECK enum err_code map_place_load(const struct node_store *nodes, uint64_t block_count, const struct chunk_id *id,
					unsigned level, uint64_t index, struct map_place *place, struct err *err);

/* How many slots of the node at (level, index) lie within a disk of `block_count` blocks: 0..128. */
unsigned map_place_slots(uint64_t block_count, unsigned level, uint64_t index);

#endif
