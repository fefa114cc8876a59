/* SPDX-License-Identifier: Apache-2.0 */
/* Building a disk map. Nodes come in ascending order of their first leaf, so at any moment at most one node per level
 * is open: the one that the newest child went to. Adding a node first closes (stores) the open nodes at its level and
 * below, which lie to its left; its own parent is opened, or closed and opened anew where the parent changes.
 *
 *   level 2              [ open ]
 *                       /   |    \ next child
 *   level 1       stored  kept   [ open ]
 *                                /  |   \ next leaf
 *   level 0                 stored kept
 */
#include "store/disk_map.h"

#include "base/cleanup.h"
#include "store/disk_map_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct open_node {
	bool open;
	uint64_t index;
	struct map_node node;
};

struct disk_map_builder {
	const struct node_store *nodes;
	uint64_t leaf_count;
	uint64_t next_leaf; /* the lowest that may still come */
	unsigned height;
	bool has_base;
	bool closed;                                /* finished, or failed: the open nodes no longer tell the truth */
	struct map_path base;                       /* if has_base */
	struct disk_map map;                        /* the result so far */
	struct open_node open[DISK_MAP_LEVELS_MAX]; /* by level; 0 is unused, leaves come complete */
	struct map_node edge;                       /* a leaf that a smaller disk cuts short */
	struct map_place delta_base;
	uint8_t whole[DISK_MAP_PAYLOAD_MAX];
	uint8_t delta[DISK_MAP_PAYLOAD_MAX];
};

enum err_code disk_map_builder_new(const struct node_store *nodes, uint64_t block_count, const struct disk_map *base,
				   struct disk_map_builder **ret, struct err *err)
{
	if (block_count == 0 || block_count > DISK_MAP_BLOCKS_MAX)
		return err_set(err, ERR_INVALID, 0, "a disk map can't have %" PRIu64 " blocks", block_count);
	if (!nodes->put || !nodes->has)
		return err_set(err, ERR_INVALID, 0, "a disk map can't be built in a read-only store");
	AUTO_FREE struct disk_map_builder *builder = malloc(sizeof(*builder));
	if (!builder)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a disk map builder");
	builder->nodes = nodes;
	builder->leaf_count = disk_map_leaf_count(block_count);
	builder->next_leaf = 0;
	builder->height = disk_map_height(block_count);
	builder->has_base = base != NULL;
	builder->closed = false;
	builder->map = (struct disk_map){.block_count = block_count};
	for (unsigned level = 0; level < DISK_MAP_LEVELS_MAX; level++)
		builder->open[level].open = false;
	if (base)
		TRY(map_path_init(&builder->base, nodes, base, err));
	*ret = TAKE_PTR(builder);
	return ERR_OK;
}

void disk_map_builder_free(struct disk_map_builder *builder)
{
	free(builder);
}

/* The delta form of `node` in builder->delta, or 0 if there is no base for one. A base that cannot be read is no reason
 * to fail: the node is stored whole then. */
static size_t encode_delta(struct disk_map_builder *builder, const struct map_node *node, uint64_t index)
{
	const struct map_place *place = NULL;
	if (!builder->has_base || map_path_node(&builder->base, node->level, index, &place, NULL, NULL) != ERR_OK ||
	    !place)
		return 0;
	if (place->is_delta) {
		/* Never a delta of a delta: the base of the base's form serves as well. */
		struct map_place *root = &builder->delta_base;
		if (map_node_load(builder->nodes, &place->base, node->level, &root->is_delta, &root->base, &root->node,
				  NULL) != ERR_OK ||
		    root->is_delta)
			return 0;
		root->id = place->base;
		place = root;
	}
	return map_node_encode_delta(node, &place->id, &place->node, builder->delta);
}

/* Stores `node`, which is not empty, unless an equal one is stored already. */
static enum err_code store_node(struct disk_map_builder *builder, const struct map_node *node, uint64_t index,
				struct chunk_id *ret_id, struct err *err)
{
	const struct node_store *nodes = builder->nodes;
	size_t whole_length = map_node_encode(node, builder->whole);
	nodes->hash(nodes->user, builder->whole + 1, whole_length - 1, ret_id);
	if (nodes->has(nodes->user, ret_id))
		return ERR_OK;
	size_t delta_length = encode_delta(builder, node, index);
	if (delta_length)
		return nodes->put(nodes->user, ret_id, builder->delta, delta_length, err);
	return nodes->put(nodes->user, ret_id, builder->whole, whole_length, err);
}

static enum err_code add_node(struct disk_map_builder *builder, unsigned level, uint64_t index,
			      const struct chunk_id *id, struct err *err);

static enum err_code close_node(struct disk_map_builder *builder, unsigned level, struct err *err)
{
	struct open_node *open = &builder->open[level];
	if (!open->open)
		return ERR_OK;
	open->open = false;
	struct chunk_id id;
	TRY(store_node(builder, &open->node, open->index, &id, err));
	return add_node(builder, level, open->index, &id, err);
}

/* Makes the stored node `id` part of the map at (level, index). Recursion goes up one level each time. */
static enum err_code add_node(struct disk_map_builder *builder, unsigned level, uint64_t index,
			      const struct chunk_id *id, struct err *err)
{
	for (unsigned below = 1; below <= level; below++)
		TRY(close_node(builder, below, err));
	if (level == builder->height - 1) {
		builder->map.root = *id;
		builder->map.has_root = true;
		return ERR_OK;
	}
	struct open_node *parent = &builder->open[level + 1];
	if (parent->open && parent->index != index >> DISK_MAP_SHIFT)
		TRY(close_node(builder, level + 1, err));
	if (!parent->open) {
		parent->open = true;
		parent->index = index >> DISK_MAP_SHIFT;
		parent->node.level = (uint8_t)(level + 1);
		memset(parent->node.present, 0, sizeof(parent->node.present));
	}
	map_node_set(&parent->node, (unsigned)(index % DISK_MAP_FANOUT), id);
	return ERR_OK;
}

static enum err_code put_leaf(struct disk_map_builder *builder, uint64_t leaf, const struct map_node *node,
			      struct err *err)
{
	if (map_bitmap_count(node->present) == 0)
		return ERR_OK;
	struct chunk_id id;
	TRY(store_node(builder, node, leaf, &id, err));
	return add_node(builder, 0, leaf, &id, err);
}

/* Leaves must ascend and lie within the disk. */
static enum err_code check_range(const struct disk_map_builder *builder, uint64_t first, uint64_t count,
				 struct err *err)
{
	if (builder->closed)
		return err_set(err, ERR_INVALID, 0, "the disk map was finished or failed before; start a new one");
	if (first < builder->next_leaf)
		return err_set(err, ERR_INVALID, 0, "disk map leaf %" PRIu64 " comes after leaf %" PRIu64, first,
			       builder->next_leaf - 1);
	if (first > builder->leaf_count || count > builder->leaf_count - first)
		return err_set(err, ERR_INVALID, 0,
			       "%" PRIu64 " leaves from %" PRIu64 " on don't fit a disk map of %" PRIu64 " leaves",
			       count, first, builder->leaf_count);
	return ERR_OK;
}

enum err_code disk_map_builder_put(struct disk_map_builder *builder, uint64_t leaf, struct map_node *node,
				   struct err *err)
{
	TRY(check_range(builder, leaf, 1, err));
	for (unsigned slot = map_place_slots(builder->map.block_count, 0, leaf); slot < DISK_MAP_FANOUT; slot++)
		if (map_node_has(node, slot))
			return err_set(err, ERR_INVALID, 0, "disk map leaf %" PRIu64 " has a block past the disk's end",
				       leaf);
	node->level = 0;
	builder->next_leaf = leaf + 1;
	enum err_code code = put_leaf(builder, leaf, node, err);
	builder->closed = code != ERR_OK;
	return code;
}

/* Takes a leaf of a base map that is longer than this one, less what is past the end. */
static enum err_code keep_cut_leaf(struct disk_map_builder *builder, uint64_t leaf, struct err *err)
{
	const struct map_place *place = NULL;
	TRY(map_path_node(&builder->base, 0, leaf, &place, NULL, err));
	if (!place)
		return ERR_OK;
	builder->edge = place->node;
	for (unsigned slot = map_place_slots(builder->map.block_count, 0, leaf); slot < DISK_MAP_FANOUT; slot++)
		builder->edge.present[slot / 8] &= (uint8_t) ~(1u << (slot % 8));
	return put_leaf(builder, leaf, &builder->edge, err);
}

/* True if the base's node at (level, index) can stand in the new map as it is when the leaves [first, end) are kept:
 * all leaves of the new disk that it covers are among them, and it has nothing past the new disk's end. */
static bool is_kept_whole(const struct disk_map_builder *builder, unsigned level, uint64_t index, uint64_t first,
			  uint64_t end)
{
	uint64_t from = index << (DISK_MAP_SHIFT * level);
	uint64_t to = (index + 1) << (DISK_MAP_SHIFT * level);
	uint64_t blocks = builder->map.block_count;
	bool fits = builder->base.map.block_count <= blocks || to <= blocks / DISK_MAP_FANOUT;
	return level < builder->height && fits && first <= from && (to <= end || end == builder->leaf_count);
}

/* Takes what the base has at (level, index), which is node `id`, as far as it lies in [first, end). */
static enum err_code keep_node(struct disk_map_builder *builder, unsigned level, uint64_t index, struct chunk_id id,
			       uint64_t first, uint64_t end, struct err *err)
{
	unsigned shift = DISK_MAP_SHIFT * level;
	if ((index + 1) << shift <= first || index << shift >= end)
		return ERR_OK;
	if (is_kept_whole(builder, level, index, first, end))
		return add_node(builder, level, index, &id, err);
	if (level == 0)
		return keep_cut_leaf(builder, index, err);
	for (unsigned slot = 0; slot < DISK_MAP_FANOUT; slot++) {
		/* Asked for anew each time: storing nodes uses the same path. Mostly it is still there. */
		const struct map_place *place = NULL;
		TRY(map_path_node(&builder->base, level, index, &place, NULL, err));
		if (place && map_node_has(&place->node, slot))
			TRY(keep_node(builder, level - 1, (index << DISK_MAP_SHIFT) + slot, place->node.ids[slot],
				      first, end, err));
	}
	return ERR_OK;
}

enum err_code disk_map_builder_keep(struct disk_map_builder *builder, uint64_t first, uint64_t count, struct err *err)
{
	TRY(check_range(builder, first, count, err));
	if (!builder->has_base)
		return err_set(err, ERR_INVALID, 0, "there is no base map to keep leaves of");
	if (count == 0)
		return ERR_OK;
	builder->next_leaf = first + count;
	const struct disk_map *base = &builder->base.map;
	if (!base->has_root)
		return ERR_OK;
	enum err_code code = keep_node(builder, builder->base.height - 1, 0, base->root, first, first + count, err);
	builder->closed = code != ERR_OK;
	return code;
}

enum err_code disk_map_builder_finish(struct disk_map_builder *builder, struct disk_map *ret, struct err *err)
{
	TRY(check_range(builder, builder->next_leaf, 0, err));
	builder->closed = true;
	for (unsigned level = 1; level < builder->height; level++)
		TRY(close_node(builder, level, err));
	*ret = builder->map;
	return ERR_OK;
}
