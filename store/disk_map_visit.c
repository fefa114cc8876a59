/* SPDX-License-Identifier: Apache-2.0 */
#include "store/disk_map.h"

#include "base/cleanup.h"
#include "store/disk_map_internal.h"

#include <inttypes.h>
#include <stdlib.h>

struct visit {
	const struct node_store *nodes;
	uint64_t block_count;
	disk_map_visit_fn fn;
	void *user;
	struct map_place places[DISK_MAP_LEVELS_MAX]; /* the nodes above the one visited, by level */
};

/* Recursion ends at the leaves: at most DISK_MAP_LEVELS_MAX deep. */
static enum err_code visit_node(struct visit *visit, const struct chunk_id *id, unsigned level, uint64_t index,
				struct err *err)
{
	bool skip = false;
	TRY(visit->fn(visit->user, id, level, index << (DISK_MAP_SHIFT * (level + 1)), &skip, err));
	if (skip || level == 0)
		return ERR_OK;
	struct map_place *place = &visit->places[level];
	TRY(map_place_load(visit->nodes, visit->block_count, id, level, index, place, err));
	for (unsigned slot = 0; slot < DISK_MAP_FANOUT; slot++)
		if (map_node_has(&place->node, slot))
			TRY(visit_node(visit, &place->node.ids[slot], level - 1, (index << DISK_MAP_SHIFT) + slot,
				       err));
	return ERR_OK;
}

enum err_code disk_map_visit(const struct node_store *nodes, const struct disk_map *map, disk_map_visit_fn fn,
			     void *user, struct err *err)
{
	if (map->block_count == 0 || map->block_count > DISK_MAP_BLOCKS_MAX)
		return err_set(err, ERR_INVALID, 0, "a disk map can't have %" PRIu64 " blocks", map->block_count);
	if (!map->has_root)
		return ERR_OK;
	AUTO_FREE struct visit *visit = malloc(sizeof(*visit));
	if (!visit)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to visit a disk map");
	visit->nodes = nodes;
	visit->block_count = map->block_count;
	visit->fn = fn;
	visit->user = user;
	return visit_node(visit, &map->root, disk_map_height(map->block_count) - 1, 0, err);
}
