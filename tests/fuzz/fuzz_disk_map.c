/* SPDX-License-Identifier: Apache-2.0 */
/* Whole disk maps. The input is a list of nodes, each of which may refer to those before it, since a hash can't be
 * guessed:
 *
 *   block count (5, little-endian), then nodes { form (1), level (1), children (1), children x { slot (1), reference
 *   (1) } }
 *
 * The last one is the root. However the nodes fit together: a walk gets to an end, sees every leaf once and in order,
 * and a map that is built upon this one reads the same. */
#include "base/cursor.h"
#include "store/map_node.h"
#include "tests/fuzz/fuzz.h"
#include "tests/memory_nodes.h"

enum { NODES_MAX = 64, LEAVES_MAX = 300, VISITS_MAX = 300 };
enum form { FORM_WHOLE, FORM_DELTA, FORM_LOST, FORMS };

struct world {
	struct memory_nodes memory;
	struct node_store store;
	struct chunk_id ids[NODES_MAX];
	struct map_node nodes[NODES_MAX];
	size_t count;
	struct disk_map map;
};

/* ---- Making the nodes ---- */

static void store_node(struct world *w, enum form form, const struct map_node *node, uint8_t base)
{
	uint8_t payload[DISK_MAP_PAYLOAD_MAX];
	size_t length = map_node_encode(node, payload);
	memory_nodes_hash(&w->memory, payload + 1, length - 1, &w->ids[w->count]);
	if (form == FORM_DELTA && w->count > 0) {
		size_t i = base % w->count;
		size_t delta = map_node_encode_delta(node, &w->ids[i], &w->nodes[i], payload);
		length = delta ? delta : map_node_encode(node, payload);
	}
	/* Equal nodes have equal IDs: the last form of storing them counts, and may now rest upon itself. */
	memory_nodes_write(&w->memory, &w->ids[w->count], payload, length);
	memory_nodes_slot(&w->memory, &w->ids[w->count])->lost = form == FORM_LOST;
	w->nodes[w->count++] = *node;
}

static void make_nodes(struct world *w, struct cursor *c)
{
	while (c->left >= 3 && w->count < NODES_MAX) {
		struct map_node node = {0};
		enum form form = cursor_u8(c) % FORMS;
		node.level = cursor_u8(c) % (DISK_MAP_LEVELS_MAX + 1);
		unsigned children = cursor_u8(c);
		uint8_t reference = 0;
		for (unsigned i = 0; i < children && c->left >= 2; i++) {
			unsigned slot = cursor_u8(c) % DISK_MAP_FANOUT;
			reference = cursor_u8(c);
			struct chunk_id chunk = {{reference}};
			map_node_set(&node, slot, w->count && node.level ? &w->ids[reference % w->count] : &chunk);
		}
		store_node(w, form, &node, reference);
	}
}

/* ---- Using the map ---- */

struct visits {
	unsigned count;
};

static enum err_code on_visit(void *user, const struct chunk_id *id, unsigned level, uint64_t first_block,
			      bool *ret_skip, struct err *err)
{
	struct visits *visits = user;
	(void)id;
	(void)first_block;
	require(level < DISK_MAP_LEVELS_MAX);
	*ret_skip = false;
	return ++visits->count < VISITS_MAX ? ERR_OK : err_set(err, ERR_CANCELLED, 0, "seen enough");
}

static void visit(struct world *w)
{
	struct visits visits = {0};
	struct err err = {0};
	enum err_code code = disk_map_visit(&w->store, &w->map, on_visit, &visits, &err);
	if (code != ERR_OK)
		require_message(code, &err);
}

/* Present leaves in order; a node that can't be had is stepped over as a restore does it. True if all could be read. */
static bool walk(struct world *w, const struct disk_map *map)
{
	struct disk_map_reader *reader;
	uint64_t leaf_count = disk_map_leaf_count(map->block_count), from = 0;
	bool whole = true;
	require(disk_map_reader_new(&w->store, map, &reader, NULL) == ERR_OK);
	for (unsigned i = 0; i < LEAVES_MAX && from < leaf_count; i++) {
		uint64_t leaf = from, lost = 0;
		const struct map_node *node = NULL;
		struct err err = {0};
		enum err_code code = disk_map_reader_next(reader, from, &leaf, &lost, &err);
		if (code == ERR_OK && leaf == leaf_count) {
			from = leaf_count;
			break;
		}
		require(leaf >= from && leaf < leaf_count);
		if (code == ERR_OK)
			code = disk_map_reader_leaf(reader, leaf, &node, &lost, &err);
		if (code != ERR_OK) {
			require_message(code, &err);
			require(lost >= 1 && lost <= leaf_count - leaf);
			whole = false;
			from = leaf + lost;
			continue;
		}
		require(node != NULL && node->level == 0);
		from = leaf + 1;
	}
	disk_map_reader_free(reader);
	return whole && from >= leaf_count;
}

/* A map of the same size that keeps everything is the same map. */
static void rebuild(struct world *w, bool whole)
{
	struct disk_map_builder *builder;
	struct disk_map map;
	struct err err = {0};
	uint64_t leaves = disk_map_leaf_count(w->map.block_count);
	require(disk_map_builder_new(&w->store, w->map.block_count, &w->map, &builder, NULL) == ERR_OK);
	enum err_code code = disk_map_builder_keep(builder, 0, leaves, &err);
	if (code == ERR_OK)
		code = disk_map_builder_finish(builder, &map, &err);
	disk_map_builder_free(builder);
	if (code != ERR_OK) {
		require_message(code, &err);
		require(!whole);
		return;
	}
	require(map.has_root == w->map.has_root && chunk_id_equal(&map.root, &w->map.root));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct cursor c = cursor_of(data, size);
	uint64_t low = cursor_le32(&c);
	uint64_t blocks = low | (uint64_t)(cursor_u8(&c) & 3) << 32 | (uint64_t)1;
	w = (struct world){.map.block_count = blocks};
	memory_nodes_init(&w.memory);
	w.store = memory_nodes_store(&w.memory);
	make_nodes(&w, &c);
	if (w.count) {
		w.map.has_root = true;
		w.map.root = w.ids[w.count - 1];
		visit(&w);
		rebuild(&w, walk(&w, &w.map));
	}
	memory_nodes_release(&w.memory);
	return 0;
}
