/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/disk_map.h"
#include "store/map_node.h"
#include "tests/memory_nodes.h"
#include "tests/seed.h"

#include <stdio.h>

static int setup(void **state)
{
	struct memory_nodes *nodes = calloc(1, sizeof(*nodes));
	if (!nodes)
		return -1;
	memory_nodes_init(nodes);
	*state = nodes;
	return 0;
}

static int teardown(void **state)
{
	memory_nodes_release(*state);
	free(*state);
	return 0;
}

static struct chunk_id id_of(uint64_t n)
{
	struct chunk_id id;
	memory_nodes_hash(NULL, &n, sizeof(n), &id);
	return id;
}

/* A node whose first `slots` slots all have `id`. */
static struct map_node uniform_node(unsigned level, unsigned slots, struct chunk_id id)
{
	struct map_node node = {.level = (uint8_t)level};
	for (unsigned slot = 0; slot < slots; slot++)
		map_node_set(&node, slot, &id);
	return node;
}

/* A map of `block_count` blocks, all equal, made without the builder: two nodes per level, a full one and the last. */
static struct disk_map plant_uniform(struct memory_nodes *nodes, uint64_t block_count)
{
	struct chunk_id full = id_of(1), last = full;
	uint64_t children = block_count;
	for (unsigned level = 0; level < disk_map_height(block_count); level++) {
		unsigned rest = children % 128 ? (unsigned)(children % 128) : 128;
		struct map_node node = uniform_node(level, rest, full);
		map_node_set(&node, rest - 1, &last);
		last = memory_nodes_plant(nodes, &node);
		node = uniform_node(level, 128, full);
		full = memory_nodes_plant(nodes, &node);
		children = (children + 127) / 128;
	}
	return (struct disk_map){.root = last, .has_root = true, .block_count = block_count};
}

static struct disk_map_builder *new_builder(const struct node_store *store, uint64_t block_count,
					    const struct disk_map *base)
{
	struct disk_map_builder *builder = NULL;
	struct err err = {0};
	assert_int_equal(disk_map_builder_new(store, block_count, base, &builder, &err), ERR_OK);
	return builder;
}

static struct disk_map finish(struct disk_map_builder *builder)
{
	struct disk_map map;
	struct err err = {0};
	assert_int_equal(disk_map_builder_finish(builder, &map, &err), ERR_OK);
	disk_map_builder_free(builder);
	return map;
}

static struct disk_map_reader *new_reader(const struct node_store *store, const struct disk_map *map)
{
	struct disk_map_reader *reader = NULL;
	struct err err = {0};
	assert_int_equal(disk_map_reader_new(store, map, &reader, &err), ERR_OK);
	return reader;
}

static void test_height__is_the_smallest_that_fits(void **unused)
{
	(void)unused;
	assert_int_equal(disk_map_height(1), 1);
	assert_int_equal(disk_map_height(128), 1);
	assert_int_equal(disk_map_height(129), 2);
	assert_int_equal(disk_map_height(128 * 128), 2);
	assert_int_equal(disk_map_height(128 * 128 + 1), 3);
	assert_int_equal(disk_map_height(UINT64_C(1) << 30), 5);
	assert_int_equal(disk_map_height(UINT64_C(1) << 42), 6);
	assert_int_equal(disk_map_leaf_count(1), 1);
	assert_int_equal(disk_map_leaf_count(128), 1);
	assert_int_equal(disk_map_leaf_count(129), 2);
}

/* The builder. */

static void test_builder__refuses_nonsense(void **state)
{
	struct node_store store = memory_nodes_store(*state);
	struct disk_map_builder *builder = NULL;
	struct err err = {0};
	assert_int_equal(disk_map_builder_new(&store, 0, NULL, &builder, &err), ERR_INVALID);
	assert_string_equal(err.msg, "a disk map can't have 0 blocks");
	assert_int_equal(disk_map_builder_new(&store, (UINT64_C(1) << 42) + 1, NULL, &builder, NULL), ERR_INVALID);
	struct node_store read_only = store;
	read_only.put = NULL;
	assert_int_equal(disk_map_builder_new(&read_only, 5, NULL, &builder, NULL), ERR_INVALID);
	builder = new_builder(&store, 300, NULL);
	struct map_node node = uniform_node(0, 44, id_of(1));
	struct {
		uint64_t first, count;
		const char *message;
	} const bad[] = {
		{1, 1, "disk map leaf 1 comes after leaf 1"},
		{2, 2, "2 leaves from 2 on don't fit a disk map of 3 leaves"},
		{2, UINT64_MAX, "18446744073709551615 leaves from 2 on don't fit a disk map of 3 leaves"},
		{2, 1, "there is no base map to keep leaves of"},
	};
	assert_int_equal(disk_map_builder_put(builder, 1, &node, NULL), ERR_OK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err at = {0};
		assert_int_equal(disk_map_builder_keep(builder, bad[i].first, bad[i].count, &at), ERR_INVALID);
		assert_string_equal(at.msg, bad[i].message);
	}
	err = (struct err){0};
	node = uniform_node(0, 45, id_of(1));
	assert_int_equal(disk_map_builder_put(builder, 2, &node, &err), ERR_INVALID);
	assert_string_equal(err.msg, "disk map leaf 2 has a block past the disk's end");
	assert_int_equal(disk_map_builder_put(builder, 3, &node, NULL), ERR_INVALID);
	struct disk_map map;
	assert_int_equal(disk_map_builder_finish(builder, &map, NULL), ERR_OK);
	err = (struct err){0};
	assert_int_equal(disk_map_builder_finish(builder, &map, &err), ERR_INVALID);
	assert_string_equal(err.msg, "the disk map was finished or failed before; start a new one");
	disk_map_builder_free(builder);
	disk_map_builder_free(NULL);
}

static void test_builder__fails_when_a_node_cannot_be_stored(void **state)
{
	struct memory_nodes *nodes = *state;
	struct node_store store = memory_nodes_store(nodes);
	struct disk_map_builder *builder = new_builder(&store, 1000, NULL);
	struct map_node node = uniform_node(0, 1, id_of(1));
	struct err err = {0};
	struct disk_map map;
	nodes->fail_puts = true;
	assert_int_equal(disk_map_builder_put(builder, 0, &node, &err), ERR_NO_SPACE);
	assert_string_equal(err.msg, "no space for a node");
	nodes->fail_puts = false;
	assert_int_equal(disk_map_builder_finish(builder, &map, NULL), ERR_INVALID);
	disk_map_builder_free(builder);
}

static void test_builder__disk_of_zeroes_has_no_root(void **state)
{
	struct memory_nodes *nodes = *state;
	struct node_store store = memory_nodes_store(nodes);
	struct disk_map_builder *builder = new_builder(&store, UINT64_C(1) << 42, NULL);
	struct map_node node = {0};
	assert_int_equal(disk_map_builder_put(builder, 5, &node, NULL), ERR_OK);
	struct disk_map map = finish(builder);
	assert_false(map.has_root);
	assert_int_equal(map.block_count, UINT64_C(1) << 42);
	assert_int_equal(nodes->puts, 0);
	struct disk_map_reader *reader = new_reader(&store, &map);
	uint64_t next = 0;
	assert_int_equal(disk_map_reader_next(reader, 0, &next, NULL, NULL), ERR_OK);
	assert_int_equal(next, UINT64_C(1) << 35);
	disk_map_reader_free(reader);
}

/* Keeping everything of a big map touches its root only. */
static void test_keep__shares_whole_subtrees(void **state)
{
	struct memory_nodes *nodes = *state;
	struct node_store store = memory_nodes_store(nodes);
	uint64_t blocks = (UINT64_C(1) << 30) + 12345;
	struct disk_map base = plant_uniform(nodes, blocks);
	struct disk_map_builder *builder = new_builder(&store, blocks, &base);
	uint64_t leaves = disk_map_leaf_count(blocks);
	assert_int_equal(disk_map_builder_keep(builder, 0, leaves, NULL), ERR_OK);
	struct disk_map map = finish(builder);
	assert_memory_equal(&map.root, &base.root, 32);
	assert_int_equal(nodes->gets, 0);
	builder = new_builder(&store, blocks, &base);
	assert_int_equal(disk_map_builder_keep(builder, 0, 1000003, NULL), ERR_OK);
	assert_int_equal(disk_map_builder_keep(builder, 1000003, leaves - 1000003, NULL), ERR_OK);
	map = finish(builder);
	assert_memory_equal(&map.root, &base.root, 32);
	assert_true(nodes->gets <= 12);
	assert_int_equal(nodes->puts, 0);
}

static void test_keep__damaged_base_is_an_error(void **state)
{
	struct memory_nodes *nodes = *state;
	struct node_store store = memory_nodes_store(nodes);
	struct disk_map base = plant_uniform(nodes, 128 * 128);
	struct disk_map_builder *builder = new_builder(&store, 128 * 128, &base);
	memory_nodes_slot(nodes, &base.root)->lost = true;
	struct err err = {0};
	assert_int_equal(disk_map_builder_keep(builder, 1, 3, &err), ERR_NOT_FOUND);
	assert_non_null(strstr(err.msg, "blocks 0 to 16383: map node '"));
	disk_map_builder_free(builder);
}

/* For deltas alone the base is not needed: nodes are then stored whole. */
static void test_put__damaged_base_costs_only_deltas(void **state)
{
	struct memory_nodes *nodes = *state;
	struct node_store store = memory_nodes_store(nodes);
	struct disk_map base = plant_uniform(nodes, 128 * 2);
	memory_nodes_slot(nodes, &base.root)->lost = true;
	struct disk_map_builder *builder = new_builder(&store, 128 * 2, &base);
	struct map_node node = uniform_node(0, 128, id_of(1));
	struct chunk_id changed = id_of(2);
	map_node_set(&node, 9, &changed);
	assert_int_equal(disk_map_builder_put(builder, 0, &node, NULL), ERR_OK);
	finish(builder);
	assert_int_equal(nodes->puts, 2);
	assert_int_equal(nodes->deltas, 0);
}

/* 64 TiB, a thousand blocks changed far apart: the promise of the design page, with room for the records' overhead. */
static void test_builder__thousand_changes_on_64_tib_take_little(void **state)
{
	struct memory_nodes *nodes = *state;
	struct node_store store = memory_nodes_store(nodes);
	uint64_t blocks = UINT64_C(1) << 30, seed = 42;
	struct disk_map base = plant_uniform(nodes, blocks);
	struct disk_map_builder *builder = new_builder(&store, blocks, &base);
	uint64_t leaves = disk_map_leaf_count(blocks), next = 0;
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t leaf = leaves / 1000 * i + test_random_below(&seed, leaves / 1000);
		struct map_node node = uniform_node(0, 128, id_of(1));
		struct chunk_id changed = id_of(1000 + i);
		map_node_set(&node, (unsigned)test_random_below(&seed, 128), &changed);
		assert_int_equal(disk_map_builder_keep(builder, next, leaf - next, NULL), ERR_OK);
		assert_int_equal(disk_map_builder_put(builder, leaf, &node, NULL), ERR_OK);
		next = leaf + 1;
	}
	assert_int_equal(disk_map_builder_keep(builder, next, leaves - next, NULL), ERR_OK);
	struct disk_map map = finish(builder);
	printf("1000 changes: %llu nodes, %llu bytes, %llu reads\n", (unsigned long long)nodes->puts,
	       (unsigned long long)nodes->put_bytes, (unsigned long long)nodes->gets);
	assert_true(nodes->put_bytes < 700 * 1024);
	assert_true(nodes->puts <= 1000 * 5);
	assert_true(nodes->gets <= 1000 * 5 * 2);
	/* And a second generation on top of the deltas. */
	uint64_t before = nodes->put_bytes;
	builder = new_builder(&store, blocks, &map);
	struct map_node node = uniform_node(0, 128, id_of(1));
	struct chunk_id changed = id_of(7);
	map_node_set(&node, 0, &changed);
	assert_int_equal(disk_map_builder_keep(builder, 0, 12345, NULL), ERR_OK);
	assert_int_equal(disk_map_builder_put(builder, 12345, &node, NULL), ERR_OK);
	assert_int_equal(disk_map_builder_keep(builder, 12346, leaves - 12346, NULL), ERR_OK);
	finish(builder);
	assert_true(nodes->put_bytes - before < 8 * 1024);
}

/* The reader. */

/* A leaf per 16384 blocks or so, three levels. */
static struct disk_map sparse_map(struct memory_nodes *nodes)
{
	struct node_store store = memory_nodes_store(nodes);
	struct disk_map_builder *builder = new_builder(&store, 128 * 128 * 10 + 5, NULL);
	for (uint64_t leaf = 0; leaf < 1280; leaf += 100) {
		struct map_node node = uniform_node(0, 3, id_of(leaf));
		assert_int_equal(disk_map_builder_put(builder, leaf, &node, NULL), ERR_OK);
	}
	struct map_node last = uniform_node(0, 5, id_of(5));
	assert_int_equal(disk_map_builder_put(builder, 1280, &last, NULL), ERR_OK);
	return finish(builder);
}

static void test_reader__reads_every_node_once(void **state)
{
	struct memory_nodes *nodes = *state;
	struct node_store store = memory_nodes_store(nodes);
	struct disk_map map = sparse_map(nodes);
	struct disk_map_reader *reader = new_reader(&store, &map);
	unsigned present = 0;
	for (uint64_t leaf = 0; leaf <= 1280; leaf++) {
		const struct map_node *node = NULL;
		assert_int_equal(disk_map_reader_leaf(reader, leaf, &node, NULL, NULL), ERR_OK);
		present += node != NULL;
	}
	assert_int_equal(present, 14);
	assert_int_equal(nodes->gets, nodes->puts);
	struct err err = {0};
	const struct map_node *node = NULL;
	assert_int_equal(disk_map_reader_leaf(reader, 1281, &node, NULL, &err), ERR_INVALID);
	assert_string_equal(err.msg, "disk map has 1281 leaves, leaf 1281 was asked for");
	disk_map_reader_free(reader);
}

/* Takes the inner node that covers leaves 256 to 383 away; gives its ID. */
static struct chunk_id lose_third_child(struct memory_nodes *nodes, const struct disk_map *map)
{
	struct chunk_id id;
	memcpy(id.bytes, memory_nodes_slot(nodes, &map->root)->payload + 1 + 24 + 2 * 32, 32);
	memory_nodes_slot(nodes, &id)->lost = true;
	return id;
}

static void test_reader__names_what_a_lost_node_covered(void **state)
{
	struct memory_nodes *nodes = *state;
	struct node_store store = memory_nodes_store(nodes);
	struct disk_map map = sparse_map(nodes);
	lose_third_child(nodes, &map);
	struct disk_map_reader *reader = new_reader(&store, &map);
	const struct map_node *node = NULL;
	uint64_t lost = 0, next = 0;
	struct err err = {0};
	assert_int_equal(disk_map_reader_leaf(reader, 300, &node, &lost, &err), ERR_NOT_FOUND);
	assert_int_equal(lost, 384 - 300);
	assert_non_null(strstr(err.msg, "blocks 32768 to 49151: map node '"));
	assert_int_equal(disk_map_reader_leaf(reader, 384, &node, &lost, NULL), ERR_OK);
	assert_null(node);
	/* What lies before the lost node is known to be absent; the next answer is where it begins. */
	assert_int_equal(disk_map_reader_next(reader, 201, &next, &lost, NULL), ERR_OK);
	assert_int_equal(next, 256);
	assert_int_equal(disk_map_reader_next(reader, 256, &next, &lost, &err), ERR_NOT_FOUND);
	assert_int_equal(lost, 128);
	assert_int_equal(disk_map_reader_next(reader, 384, &next, &lost, NULL), ERR_OK);
	assert_int_equal(next, 400);
	bool present = true;
	struct chunk_id id;
	assert_int_equal(disk_map_reader_leaf_id(reader, 300, &present, &id, NULL), ERR_NOT_FOUND);
	disk_map_reader_free(reader);
}

static void test_reader__lost_root_loses_the_disk_to_its_end(void **state)
{
	struct memory_nodes *nodes = *state;
	struct node_store store = memory_nodes_store(nodes);
	struct disk_map map = sparse_map(nodes);
	memory_nodes_slot(nodes, &map.root)->lost = true;
	struct disk_map_reader *reader = new_reader(&store, &map);
	const struct map_node *node = NULL;
	uint64_t lost = 0;
	struct err err = {0};
	assert_int_equal(disk_map_reader_leaf(reader, 3, &node, &lost, &err), ERR_NOT_FOUND);
	assert_int_equal(lost, 1278);
	assert_non_null(strstr(err.msg, "blocks 0 to 163844: "));
	disk_map_reader_free(reader);
}

static void test_reader__lost_leaf_loses_one_leaf(void **state)
{
	struct memory_nodes *nodes = *state;
	struct node_store store = memory_nodes_store(nodes);
	struct disk_map map = sparse_map(nodes);
	struct disk_map_reader *reader = new_reader(&store, &map);
	bool present = false;
	struct chunk_id id;
	assert_int_equal(disk_map_reader_leaf_id(reader, 1280, &present, &id, NULL), ERR_OK);
	assert_true(present);
	memory_nodes_slot(nodes, &id)->lost = true;
	const struct map_node *node = NULL;
	uint64_t lost = 0;
	struct err err = {0};
	assert_int_equal(disk_map_reader_leaf(reader, 1280, &node, &lost, &err), ERR_NOT_FOUND);
	assert_int_equal(lost, 1);
	assert_non_null(strstr(err.msg, "blocks 163840 to 163844: "));
	disk_map_reader_free(reader);
}

static void check_leaf_refused(struct memory_nodes *nodes, struct chunk_id root, uint64_t block_count,
			       const char *message)
{
	struct node_store store = memory_nodes_store(nodes);
	struct disk_map map = {.root = root, .has_root = true, .block_count = block_count};
	struct disk_map_reader *reader = new_reader(&store, &map);
	const struct map_node *node = NULL;
	struct err err = {0};
	assert_int_equal(disk_map_reader_leaf(reader, 0, &node, NULL, &err), ERR_CORRUPT);
	if (!strstr(err.msg, message))
		fail_msg("'%s' instead of '%s'", err.msg, message);
	disk_map_reader_free(reader);
}

static void test_reader__refuses_forged_nodes(void **state)
{
	struct memory_nodes *nodes = *state;
	struct map_node leaf = uniform_node(0, 128, id_of(1));
	struct chunk_id leaf_id = memory_nodes_plant(nodes, &leaf);
	check_leaf_refused(nodes, leaf_id, 127, "it has slot 127 past the end of the disk");
	check_leaf_refused(nodes, leaf_id, 129, "it has level 0 where 1 belongs");
	struct map_node root = uniform_node(1, 3, leaf_id);
	check_leaf_refused(nodes, memory_nodes_plant(nodes, &root), 256, "it has slot 2 past the end of the disk");
	struct map_node top = uniform_node(5, 1, leaf_id);
	check_leaf_refused(nodes, memory_nodes_plant(nodes, &top), UINT64_C(1) << 42, "it has level 0 where 4 belongs");
	/* Another node's bytes under this ID. */
	struct map_node other = uniform_node(0, 128, id_of(2));
	uint8_t payload[DISK_MAP_PAYLOAD_MAX];
	size_t length = map_node_encode(&other, payload);
	memory_nodes_write(nodes, &leaf_id, payload, length);
	check_leaf_refused(nodes, leaf_id, 128, "its content does not match its id");
	memory_nodes_write(nodes, &leaf_id, payload, length - 1);
	check_leaf_refused(nodes, leaf_id, 128, "disk map node is truncated or malformed");
}

static void test_reader__refuses_forged_deltas(void **state)
{
	struct memory_nodes *nodes = *state;
	struct map_node base = uniform_node(0, 100, id_of(1)), node = base;
	struct chunk_id base_id = memory_nodes_plant(nodes, &base), changed = id_of(2);
	map_node_set(&node, 7, &changed);
	struct chunk_id id = memory_nodes_plant(nodes, &node);
	uint8_t payload[DISK_MAP_PAYLOAD_MAX];
	size_t length = map_node_encode_delta(&node, &base_id, &base, payload);
	memory_nodes_write(nodes, &id, payload, length);
	struct node_store store = memory_nodes_store(nodes);
	struct disk_map map = {.root = id, .has_root = true, .block_count = 100};
	struct disk_map_reader *reader = new_reader(&store, &map);
	const struct map_node *read = NULL;
	assert_int_equal(disk_map_reader_leaf(reader, 0, &read, NULL, NULL), ERR_OK);
	assert_memory_equal(&read->ids[7], &changed, 32);
	disk_map_reader_free(reader);
	/* A slot more in the bitmap, which the base lacks. */
	payload[33 + 12] |= 1 << 4;
	memory_nodes_write(nodes, &id, payload, length);
	check_leaf_refused(nodes, id, 128, "its base lacks slot 100");
	payload[33 + 12] = 0;
	memory_nodes_write(nodes, &id, payload, length);
	check_leaf_refused(nodes, id, 128, "its content does not match its id");
	/* A delta of itself. */
	payload[33 + 12] = 0x0f;
	memcpy(payload + 1, id.bytes, 32);
	memory_nodes_write(nodes, &id, payload, length);
	check_leaf_refused(nodes, id, 128, "it is a delta more than 8 times over");
}

/* Two jobs may have stored a base both ways; a reader bears it. */
static void test_reader__follows_a_base_that_is_a_delta(void **state)
{
	struct memory_nodes *nodes = *state;
	struct map_node generations[3] = {uniform_node(0, 128, id_of(1))};
	struct chunk_id ids[3];
	uint8_t payload[DISK_MAP_PAYLOAD_MAX];
	ids[0] = memory_nodes_plant(nodes, &generations[0]);
	for (unsigned i = 1; i < 3; i++) {
		struct chunk_id changed = id_of(10 + i);
		generations[i] = generations[i - 1];
		map_node_set(&generations[i], i, &changed);
		ids[i] = memory_nodes_plant(nodes, &generations[i]);
		memory_nodes_write(nodes, &ids[i], payload,
				   map_node_encode_delta(&generations[i], &ids[i - 1], &generations[i - 1], payload));
	}
	struct node_store store = memory_nodes_store(nodes);
	struct disk_map map = {.root = ids[2], .has_root = true, .block_count = 128};
	struct disk_map_reader *reader = new_reader(&store, &map);
	const struct map_node *node = NULL;
	assert_int_equal(disk_map_reader_leaf(reader, 0, &node, NULL, NULL), ERR_OK);
	assert_memory_equal(node->ids, generations[2].ids, sizeof(node->ids));
	disk_map_reader_free(reader);
	/* A builder on top of it does not add to the chain. */
	struct disk_map_builder *builder = new_builder(&store, 128, &map);
	struct map_node next = generations[2];
	struct chunk_id changed = id_of(77);
	map_node_set(&next, 100, &changed);
	assert_int_equal(disk_map_builder_put(builder, 0, &next, NULL), ERR_OK);
	map = finish(builder);
	assert_int_equal(memory_nodes_slot(nodes, &map.root)->payload[0], 1);
}

/* Visiting. */

struct visits {
	unsigned by_level[DISK_MAP_LEVELS_MAX];
	unsigned skip_level;
	unsigned stop_after;
	uint64_t last_leaf_block;
};

static enum err_code note_visit(void *user, const struct chunk_id *id, unsigned level, uint64_t first_block,
				bool *ret_skip, struct err *err)
{
	(void)id;
	struct visits *v = user;
	v->by_level[level]++;
	*ret_skip = level == v->skip_level;
	if (level == 0)
		v->last_leaf_block = first_block;
	return --v->stop_after ? ERR_OK : err_set(err, ERR_CANCELLED, 0, "enough");
}

static void test_visit__sees_every_node_and_can_skip(void **state)
{
	struct memory_nodes *nodes = *state;
	struct node_store store = memory_nodes_store(nodes);
	struct disk_map map = sparse_map(nodes);
	struct visits v = {.skip_level = 9};
	struct err err = {0};
	assert_int_equal(disk_map_visit(&store, &map, note_visit, &v, &err), ERR_OK);
	assert_int_equal(v.by_level[2], 1);
	assert_int_equal(v.by_level[1], 11);
	assert_int_equal(v.by_level[0], 14);
	assert_int_equal(v.last_leaf_block, 1280 * 128);
	assert_int_equal(nodes->gets, 12); /* leaves are named, not read */
	v = (struct visits){.skip_level = 1};
	assert_int_equal(disk_map_visit(&store, &map, note_visit, &v, &err), ERR_OK);
	assert_int_equal(v.by_level[1], 11);
	assert_int_equal(v.by_level[0], 0);
	v = (struct visits){.skip_level = 9, .stop_after = 5};
	assert_int_equal(disk_map_visit(&store, &map, note_visit, &v, &err), ERR_CANCELLED);
	assert_string_equal(err.msg, "enough");
	struct disk_map empty = {.block_count = 9};
	v = (struct visits){0};
	assert_int_equal(disk_map_visit(&store, &empty, note_visit, &v, NULL), ERR_OK);
	assert_int_equal(v.by_level[0], 0);
	lose_third_child(nodes, &map);
	err = (struct err){0};
	v = (struct visits){.skip_level = 9};
	assert_int_equal(disk_map_visit(&store, &map, note_visit, &v, &err), ERR_NOT_FOUND);
	assert_non_null(strstr(err.msg, "blocks 32768 to 49151: "));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_height__is_the_smallest_that_fits),
		TEST(test_builder__refuses_nonsense),
		TEST(test_builder__fails_when_a_node_cannot_be_stored),
		TEST(test_builder__disk_of_zeroes_has_no_root),
		TEST(test_keep__shares_whole_subtrees),
		TEST(test_keep__damaged_base_is_an_error),
		TEST(test_put__damaged_base_costs_only_deltas),
		TEST(test_builder__thousand_changes_on_64_tib_take_little),
		TEST(test_reader__reads_every_node_once),
		TEST(test_reader__names_what_a_lost_node_covered),
		TEST(test_reader__lost_root_loses_the_disk_to_its_end),
		TEST(test_reader__lost_leaf_loses_one_leaf),
		TEST(test_reader__refuses_forged_nodes),
		TEST(test_reader__refuses_forged_deltas),
		TEST(test_reader__follows_a_base_that_is_a_delta),
		TEST(test_visit__sees_every_node_and_can_skip),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
