/* SPDX-License-Identifier: Apache-2.0 */
/* The disk map against a plain array: random writes, resizes, and rebuilds that mix kept and rewritten leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/disk_map.h"
#include "tests/memory_nodes.h"
#include "tests/seed.h"

#define BLOCKS_MAX (128u * 128u * 3u)
#define ROUNDS 60

/* The disk as it should be: 0 is a zero block, anything else a content. */
struct model {
	uint64_t block_count;
	uint32_t blocks[BLOCKS_MAX];
	bool changed[BLOCKS_MAX / 128 + 1]; /* leaves written since the last build */
};

struct state {
	uint64_t random;
	struct model model;
	struct memory_nodes nodes; /* the store under test, all rounds in it */
	struct disk_map map;
};

static struct chunk_id content_id(uint32_t content)
{
	struct chunk_id id = {0};
	memory_nodes_hash(NULL, &content, sizeof(content), &id);
	return id;
}

/* Few contents, so that equal leaves come about in different places. */
static uint32_t random_content(struct state *s)
{
	return (uint32_t)test_random_below(&s->random, 4) ? 1 + (uint32_t)test_random_below(&s->random, 50) : 0;
}

static void write_block(struct state *s, uint64_t block, uint32_t content)
{
	s->model.changed[block / 128] |= s->model.blocks[block] != content;
	s->model.blocks[block] = content;
}

static void write_scattered(struct state *s, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		write_block(s, test_random_below(&s->random, s->model.block_count), random_content(s));
}

/* Fills a range with one content, or with a pattern that repeats from leaf to leaf. */
static void write_range(struct state *s)
{
	uint64_t first = test_random_below(&s->random, s->model.block_count);
	uint64_t count = 1 + test_random_below(&s->random, s->model.block_count - first);
	uint32_t content = random_content(s);
	bool pattern = test_random_below(&s->random, 2);
	for (uint64_t i = first; i < first + count; i++)
		write_block(s, i, pattern ? content + (uint32_t)(i % 128) : content);
}

static uint64_t random_size(struct state *s)
{
	static const uint64_t limits[] = {1, 127, 128, 129, 128 * 128 - 1, 128 * 128, 128 * 128 + 1, BLOCKS_MAX};
	uint64_t limit = limits[test_random_below(&s->random, sizeof(limits) / sizeof(limits[0]))];
	return test_random_below(&s->random, 3) ? 1 + test_random_below(&s->random, limit) : limit;
}

static void resize(struct state *s)
{
	uint64_t size = random_size(s);
	for (uint64_t i = size; i < s->model.block_count; i++)
		s->model.blocks[i] = 0;
	s->model.block_count = size;
}

static bool model_leaf(const struct model *model, uint64_t leaf, struct map_node *ret)
{
	memset(ret, 0, sizeof(*ret));
	bool any = false;
	for (unsigned slot = 0; slot < 128 && leaf * 128 + slot < model->block_count; slot++) {
		uint32_t content = model->blocks[leaf * 128 + slot];
		if (!content)
			continue;
		struct chunk_id id = content_id(content);
		map_node_set(ret, slot, &id);
		any = true;
	}
	return any;
}

/* Builds from the array alone, in a store of its own. */
static struct disk_map build_fresh(const struct model *model)
{
	struct memory_nodes nodes;
	memory_nodes_init(&nodes);
	struct node_store store = memory_nodes_store(&nodes);
	struct disk_map_builder *builder = NULL;
	struct err err = {0};
	assert_int_equal(disk_map_builder_new(&store, model->block_count, NULL, &builder, &err), ERR_OK);
	for (uint64_t leaf = 0; leaf < disk_map_leaf_count(model->block_count); leaf++) {
		struct map_node node;
		if (model_leaf(model, leaf, &node))
			assert_int_equal(disk_map_builder_put(builder, leaf, &node, &err), ERR_OK);
	}
	struct disk_map map;
	assert_int_equal(disk_map_builder_finish(builder, &map, &err), ERR_OK);
	assert_int_equal(nodes.deltas, 0);
	disk_map_builder_free(builder);
	memory_nodes_release(&nodes);
	return map;
}

/* Builds on the last map: unchanged leaves are kept in runs of random length, or now and then put again. */
static struct disk_map build_on_base(struct state *s)
{
	struct node_store store = memory_nodes_store(&s->nodes);
	struct disk_map_builder *builder = NULL;
	struct err err = {0};
	assert_int_equal(disk_map_builder_new(&store, s->model.block_count, &s->map, &builder, &err), ERR_OK);
	uint64_t leaves = disk_map_leaf_count(s->model.block_count);
	for (uint64_t leaf = 0; leaf < leaves;) {
		uint64_t run = 0;
		uint64_t want = test_random_below(&s->random, 4) ? leaves : test_random_below(&s->random, 200);
		while (leaf + run < leaves && run < want && !s->model.changed[leaf + run])
			run++;
		if (run) {
			assert_int_equal(disk_map_builder_keep(builder, leaf, run, &err), ERR_OK);
			leaf += run;
			continue;
		}
		struct map_node node;
		if (model_leaf(&s->model, leaf, &node) || test_random_below(&s->random, 2))
			assert_int_equal(disk_map_builder_put(builder, leaf, &node, &err), ERR_OK);
		leaf++;
	}
	struct disk_map map;
	assert_int_equal(disk_map_builder_finish(builder, &map, &err), ERR_OK);
	disk_map_builder_free(builder);
	return map;
}

static void check_leaf(struct disk_map_reader *reader, const struct model *model, uint64_t leaf)
{
	struct err err = {0};
	struct map_node expected;
	bool present = model_leaf(model, leaf, &expected);
	const struct map_node *node = NULL;
	assert_int_equal(disk_map_reader_leaf(reader, leaf, &node, NULL, &err), ERR_OK);
	assert_int_equal(node != NULL, present);
	bool id_present = false;
	struct chunk_id id;
	assert_int_equal(disk_map_reader_leaf_id(reader, leaf, &id_present, &id, &err), ERR_OK);
	assert_int_equal(id_present, present);
	if (!present)
		return;
	assert_memory_equal(node->present, expected.present, sizeof(expected.present));
	for (unsigned slot = 0; slot < 128; slot++)
		if (map_node_has(node, slot))
			assert_memory_equal(&node->ids[slot], &expected.ids[slot], 32);
}

/* Reads all leaves in order, then walks the present ones with disk_map_reader_next. */
static void check_content(struct state *s)
{
	struct node_store store = memory_nodes_store(&s->nodes);
	struct disk_map_reader *reader = NULL;
	struct err err = {0};
	assert_int_equal(disk_map_reader_new(&store, &s->map, &reader, &err), ERR_OK);
	uint64_t leaves = disk_map_leaf_count(s->model.block_count);
	for (uint64_t leaf = 0; leaf < leaves; leaf++)
		check_leaf(reader, &s->model, leaf);
	for (uint64_t leaf = 0; leaf < leaves; leaf++) {
		uint64_t expected = leaf;
		struct map_node node;
		while (expected < leaves && !model_leaf(&s->model, expected, &node))
			expected++;
		uint64_t next = 0;
		assert_int_equal(disk_map_reader_next(reader, leaf, &next, NULL, &err), ERR_OK);
		assert_int_equal(next, expected);
		leaf = expected;
	}
	disk_map_reader_free(reader);
}

static void check_deltas(const struct memory_nodes *nodes)
{
	for (size_t i = 0; i < nodes->capacity; i++) {
		const struct memory_node *node = &nodes->slots[i];
		if (!node->payload || node->payload[0] != 2)
			continue;
		struct chunk_id base;
		memcpy(base.bytes, node->payload + 1, 32);
		struct memory_nodes copy = *nodes;
		const struct memory_node *stored = memory_nodes_slot(&copy, &base);
		assert_non_null(stored->payload);
		assert_int_equal(stored->payload[0], 1);
	}
}

static void check_round(struct state *s)
{
	bool resized = s->model.block_count != s->map.block_count;
	uint64_t changed = 0;
	for (uint64_t leaf = 0; leaf < disk_map_leaf_count(s->model.block_count); leaf++)
		changed += s->model.changed[leaf];
	uint64_t puts = s->nodes.puts;
	s->map = build_on_base(s);
	puts = s->nodes.puts - puts;
	uint64_t height = disk_map_height(s->model.block_count);
	/* A resize may also cut or extend the nodes along the old end. */
	assert_true(puts <= (changed + 2 * resized) * height);
	struct disk_map fresh = build_fresh(&s->model);
	assert_int_equal(s->map.block_count, fresh.block_count);
	assert_int_equal(s->map.has_root, fresh.has_root);
	if (fresh.has_root)
		assert_memory_equal(&s->map.root, &fresh.root, sizeof(fresh.root));
	memset(s->model.changed, 0, sizeof(s->model.changed));
	check_content(s);
}

static void test_disk_map__equals_an_array(void **unused)
{
	(void)unused;
	struct state *s = calloc(1, sizeof(*s));
	assert_non_null(s);
	s->random = test_seed("test_disk_map__equals_an_array");
	memory_nodes_init(&s->nodes);
	s->model.block_count = s->map.block_count = random_size(s);
	for (unsigned round = 0; round < ROUNDS; round++) {
		if (test_random_below(&s->random, 4) == 0)
			resize(s);
		if (test_random_below(&s->random, 4) == 0)
			write_range(s);
		uint64_t scattered = test_random_below(&s->random, 8);
		write_scattered(s, scattered == 7 ? 2000 : scattered * scattered);
		check_round(s);
	}
	check_deltas(&s->nodes);
	memory_nodes_release(&s->nodes);
	free(s);
}

/* The same, biased so that deltas are sure to come: a full disk, few changes each round. */
static void test_disk_map__makes_deltas_of_whole_nodes_only(void **unused)
{
	(void)unused;
	struct state *s = calloc(1, sizeof(*s));
	assert_non_null(s);
	s->random = test_seed("test_disk_map__makes_deltas_of_whole_nodes_only");
	memory_nodes_init(&s->nodes);
	s->model.block_count = s->map.block_count = 128 * 128 + 77;
	for (uint64_t i = 0; i < s->model.block_count; i++)
		write_block(s, i, 1000 + (uint32_t)i);
	check_round(s);
	for (unsigned round = 0; round < 12; round++) {
		write_scattered(s, 30);
		check_round(s);
	}
	assert_true(s->nodes.deltas > 100);
	check_deltas(&s->nodes);
	memory_nodes_release(&s->nodes);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disk_map__equals_an_array),
		cmocka_unit_test(test_disk_map__makes_deltas_of_whole_nodes_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
