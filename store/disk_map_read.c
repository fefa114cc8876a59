/* SPDX-License-Identifier: Apache-2.0 */
#include "store/disk_map.h"

#include "base/cleanup.h"
#include "base/size.h"
#include "store/disk_map_internal.h"

#include <inttypes.h>
#include <stdlib.h>

struct disk_map_reader {
	struct map_path path;
	uint64_t leaf_count;
};

enum err_code disk_map_reader_new(const struct node_store *nodes, const struct disk_map *map,
				  struct disk_map_reader **ret, struct err *err)
{
	AUTO_FREE struct disk_map_reader *reader = malloc(sizeof(*reader));
	if (!reader)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a disk map reader");
	TRY(map_path_init(&reader->path, nodes, map, err));
	reader->leaf_count = disk_map_leaf_count(map->block_count);
	*ret = TAKE_PTR(reader);
	return ERR_OK;
}

void disk_map_reader_free(struct disk_map_reader *reader)
{
	free(reader);
}

/* First leaf behind the node of `level` that covers `leaf`. */
static uint64_t subtree_end(const struct disk_map_reader *reader, uint64_t leaf, unsigned level)
{
	unsigned shift = DISK_MAP_SHIFT * level;
	return min_u64(((leaf >> shift) + 1) << shift, reader->leaf_count);
}

static enum err_code check_leaf(const struct disk_map_reader *reader, uint64_t leaf, struct err *err)
{
	if (leaf >= reader->leaf_count)
		return err_set(err, ERR_INVALID, 0, "disk map has %" PRIu64 " leaves, leaf %" PRIu64 " was asked for",
			       reader->leaf_count, leaf);
	return ERR_OK;
}

enum err_code disk_map_reader_leaf(struct disk_map_reader *reader, uint64_t leaf, const struct map_node **ret,
				   uint64_t *ret_lost_leaves, struct err *err)
{
	TRY(check_leaf(reader, leaf, err));
	const struct map_place *place = NULL;
	unsigned failed = 0;
	enum err_code code = map_path_node(&reader->path, 0, leaf, &place, &failed, err);
	if (code != ERR_OK) {
		if (ret_lost_leaves)
			*ret_lost_leaves = subtree_end(reader, leaf, failed) - leaf;
		return code;
	}
	*ret = place ? &place->node : NULL;
	return ERR_OK;
}

enum err_code disk_map_reader_leaf_id(struct disk_map_reader *reader, uint64_t leaf, bool *ret_present,
				      struct chunk_id *ret_id, struct err *err)
{
	TRY(check_leaf(reader, leaf, err));
	if (reader->path.height == 1) {
		*ret_present = reader->path.map.has_root;
		*ret_id = reader->path.map.root;
		return ERR_OK;
	}
	const struct map_place *parent = NULL;
	TRY(map_path_node(&reader->path, 1, leaf >> DISK_MAP_SHIFT, &parent, NULL, err));
	unsigned slot = (unsigned)(leaf % DISK_MAP_FANOUT);
	*ret_present = parent && map_node_has(&parent->node, slot);
	if (*ret_present)
		*ret_id = parent->node.ids[slot];
	return ERR_OK;
}

/* The first present slot of `node` at or after `slot`, or DISK_MAP_FANOUT. */
static unsigned next_slot(const struct map_node *node, unsigned slot)
{
	while (slot < DISK_MAP_FANOUT && !map_node_has(node, slot))
		slot++;
	return slot;
}

/* From `leaf` on within the subtree of the node at (level, leaf >> 7 level): the first child present there. Moves *leaf
 * to the child's first leaf if that is further on, or behind the subtree, and says which. */
static bool enter_child(const struct map_node *node, unsigned level, uint64_t *leaf)
{
	unsigned shift = DISK_MAP_SHIFT * (level - 1);
	uint64_t child = *leaf >> shift;
	unsigned slot = (unsigned)(child % DISK_MAP_FANOUT);
	unsigned found = next_slot(node, slot);
	if (found != slot)
		*leaf = (child - slot + found) << shift;
	return found < DISK_MAP_FANOUT;
}

enum err_code disk_map_reader_next(struct disk_map_reader *reader, uint64_t from, uint64_t *ret,
				   uint64_t *ret_lost_leaves, struct err *err)
{
	struct map_path *path = &reader->path;
	uint64_t leaf = path->map.has_root ? from : reader->leaf_count;
	unsigned level = path->height - 1;
	while (level > 0 && leaf < reader->leaf_count) {
		const struct map_place *place = NULL;
		unsigned failed = 0;
		struct err local = {0};
		enum err_code code =
			map_path_node(path, level, leaf >> (DISK_MAP_SHIFT * level), &place, &failed, &local);
		if (code != ERR_OK && leaf > from)
			break; /* what is before it is known to be absent; the caller fails when it gets there */
		if (code != ERR_OK) {
			if (ret_lost_leaves)
				*ret_lost_leaves = subtree_end(reader, leaf, failed) - leaf;
			return err_set(err, code, 0, "%s", local.msg);
		}
		if (place && enter_child(&place->node, level, &leaf))
			level--;
		else
			level = path->height - 1;
	}
	*ret = min_u64(leaf, reader->leaf_count);
	return ERR_OK;
}
