/* SPDX-License-Identifier: Apache-2.0 */
#include "store/disk_map.h"

#include "base/size.h"
#include "base/uuid.h"
#include "store/disk_map_internal.h"

#include <inttypes.h>
#include <string.h>

unsigned disk_map_height(uint64_t block_count)
{
	unsigned height = 1;
	while (height < DISK_MAP_LEVELS_MAX && UINT64_C(1) << (DISK_MAP_SHIFT * height) < block_count)
		height++;
	return height;
}

uint64_t disk_map_leaf_count(uint64_t block_count)
{
	return block_count / DISK_MAP_FANOUT + (block_count % DISK_MAP_FANOUT != 0);
}

unsigned map_place_slots(uint64_t block_count, unsigned level, uint64_t index)
{
	/* Children at this level, the last of which may be cut by the disk's end. */
	uint64_t unit = UINT64_C(1) << (DISK_MAP_SHIFT * level);
	uint64_t children = block_count / unit + (block_count % unit != 0);
	uint64_t first = index << DISK_MAP_SHIFT;
	return first >= children ? 0 : (unsigned)min_u64(children - first, DISK_MAP_FANOUT);
}

/* Takes from `from` what `node` still misses: of the slots in node->present, `have` says which are filled. */
static enum err_code fill_slots(struct map_node *node, uint8_t have[static MAP_NODE_BITMAP_SIZE],
				const struct map_node *from, const uint8_t listed[static MAP_NODE_BITMAP_SIZE],
				struct err *err)
{
	for (unsigned slot = 0; slot < DISK_MAP_FANOUT; slot++) {
		if (!map_node_has(node, slot) || map_bitmap_has(have, slot))
			continue;
		if (!map_node_has(from, slot))
			return err_set(err, ERR_CORRUPT, 0, "its base lacks slot %u", slot);
		if (!map_bitmap_has(listed, slot))
			continue;
		node->ids[slot] = from->ids[slot];
		have[slot / 8] |= (uint8_t)(1u << (slot % 8));
	}
	return ERR_OK;
}

/* Completes the delta `node`, whose base is `base`. */
static enum err_code resolve_delta(const struct node_store *nodes, struct chunk_id base,
				   uint8_t have[static MAP_NODE_BITMAP_SIZE], struct map_node *node, struct err *err)
{
	for (unsigned depth = 0; depth < MAP_DELTA_DEPTH_MAX; depth++) {
		uint8_t payload[DISK_MAP_PAYLOAD_MAX];
		size_t length = 0;
		TRY(nodes->get(nodes->user, &base, payload, &length, err));
		struct map_node from;
		uint8_t listed[MAP_NODE_BITMAP_SIZE];
		bool is_delta = false;
		TRY(map_node_parse(payload, min_u64(length, sizeof(payload)), &is_delta, &base, listed, &from, err));
		TRY(fill_slots(node, have, &from, listed, err));
		if (!is_delta) {
			node->level = from.level;
			return ERR_OK;
		}
	}
	return err_set(err, ERR_CORRUPT, 0, "it is a delta more than %d times over", MAP_DELTA_DEPTH_MAX);
}

static enum err_code check_node(const struct node_store *nodes, const struct chunk_id *id, unsigned level,
				const struct map_node *node, struct err *err)
{
	uint8_t whole[DISK_MAP_PAYLOAD_MAX];
	size_t length = map_node_encode(node, whole);
	struct chunk_id is;
	nodes->hash(nodes->user, whole + 1, length - 1, &is);
	if (!chunk_id_equal(&is, id))
		return err_set(err, ERR_CORRUPT, 0, "its content does not match its id");
	if (node->level != level)
		return err_set(err, ERR_CORRUPT, 0, "it has level %u where %u belongs", node->level, level);
	return ERR_OK;
}

static enum err_code node_context(const struct chunk_id *id, struct err *err)
{
	char text[CHUNK_ID_TEXT_SIZE];
	return err_context(err, "disk map node '%s'", hex_format(id->bytes, sizeof(id->bytes), text));
}

enum err_code map_node_load(const struct node_store *nodes, const struct chunk_id *id, unsigned level,
			    bool *ret_is_delta, struct chunk_id *ret_base, struct map_node *ret, struct err *err)
{
	uint8_t payload[DISK_MAP_PAYLOAD_MAX];
	size_t length = 0;
	enum err_code code = nodes->get(nodes->user, id, payload, &length, err);
	if (code != ERR_OK)
		return code; /* names the node already */
	uint8_t have[MAP_NODE_BITMAP_SIZE];
	code = map_node_parse(payload, min_u64(length, sizeof(payload)), ret_is_delta, ret_base, have, ret, err);
	if (code == ERR_OK && *ret_is_delta)
		code = resolve_delta(nodes, *ret_base, have, ret, err);
	if (code == ERR_OK)
		code = check_node(nodes, id, level, ret, err);
	if (code != ERR_OK)
		node_context(id, err);
	return code;
}

enum err_code map_place_load(const struct node_store *nodes, uint64_t block_count, const struct chunk_id *id,
			     unsigned level, uint64_t index, struct map_place *place, struct err *err)
{
	place->valid = false;
	uint64_t first = index << (DISK_MAP_SHIFT * (level + 1));
	uint64_t last = min_u64(first + (UINT64_C(1) << (DISK_MAP_SHIFT * (level + 1))), block_count) - 1;
	enum err_code code = map_node_load(nodes, id, level, &place->is_delta, &place->base, &place->node, err);
	unsigned slots = map_place_slots(block_count, level, index);
	for (unsigned slot = slots; code == ERR_OK && slot < DISK_MAP_FANOUT; slot++)
		if (map_node_has(&place->node, slot)) {
			code = err_set(err, ERR_CORRUPT, 0, "it has slot %u past the end of the disk", slot);
			node_context(id, err);
		}
	if (code != ERR_OK) {
		err_context(err, "blocks %" PRIu64 " to %" PRIu64, first, last);
		return code;
	}
	place->index = index;
	place->id = *id;
	place->valid = true;
	return ERR_OK;
}

enum err_code map_path_init(struct map_path *path, const struct node_store *nodes, const struct disk_map *map,
			    struct err *err)
{
	if (map->block_count == 0 || map->block_count > DISK_MAP_BLOCKS_MAX)
		return err_set(err, ERR_INVALID, 0, "a disk map can't have %" PRIu64 " blocks", map->block_count);
	path->nodes = nodes;
	path->map = *map;
	path->height = disk_map_height(map->block_count);
	for (unsigned level = 0; level < DISK_MAP_LEVELS_MAX; level++)
		path->places[level].valid = false;
	return ERR_OK;
}

enum err_code map_path_node(struct map_path *path, unsigned level, uint64_t index, const struct map_place **ret,
			    unsigned *ret_failed_level, struct err *err)
{
	*ret = NULL;
	if (!path->map.has_root || level >= path->height || index >> (DISK_MAP_SHIFT * (path->height - 1 - level)) != 0)
		return ERR_OK;
	const struct chunk_id *id = &path->map.root;
	for (unsigned at = path->height - 1;; at--) {
		struct map_place *place = &path->places[at];
		uint64_t at_index = index >> (DISK_MAP_SHIFT * (at - level));
		if (!place->valid || place->index != at_index) {
			enum err_code code =
				map_place_load(path->nodes, path->map.block_count, id, at, at_index, place, err);
			if (code != ERR_OK) {
				if (ret_failed_level)
					*ret_failed_level = at;
				return code;
			}
		}
		if (at == level) {
			*ret = place;
			return ERR_OK;
		}
		unsigned slot = (unsigned)(index >> (DISK_MAP_SHIFT * (at - 1 - level))) % DISK_MAP_FANOUT;
		if (!map_node_has(&place->node, slot))
			return ERR_OK;
		id = &place->node.ids[slot];
	}
}
