/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/map_node.h"

#include <stdio.h>
#include <string.h>

static struct chunk_id id_of(unsigned n)
{
	struct chunk_id id;
	memset(id.bytes, (int)n, sizeof(id.bytes));
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

struct parsed {
	bool is_delta;
	struct chunk_id base;
	uint8_t listed[16];
	struct map_node node;
};

static void check_refused(const uint8_t *payload, size_t length, const char *message)
{
	struct parsed p;
	struct err err = {0};
	assert_int_equal(map_node_parse(payload, length, &p.is_delta, &p.base, p.listed, &p.node, &err), ERR_CORRUPT);
	assert_string_equal(err.msg, message);
}

static void test_parse__reads_a_whole_node(void **unused)
{
	(void)unused;
	struct map_node node = uniform_node(3, 5, id_of(7));
	uint8_t payload[DISK_MAP_PAYLOAD_MAX];
	size_t length = map_node_encode(&node, payload);
	assert_int_equal(length, 1 + 24 + 5 * 32);
	struct parsed p;
	assert_int_equal(map_node_parse(payload, length, &p.is_delta, &p.base, p.listed, &p.node, NULL), ERR_OK);
	assert_false(p.is_delta);
	assert_int_equal(p.node.level, 3);
	assert_memory_equal(p.node.present, node.present, 16);
	assert_memory_equal(p.listed, node.present, 16);
	assert_memory_equal(p.node.ids, node.ids, 5 * 32);
	for (size_t cut = 0; cut < length; cut++)
		assert_int_equal(map_node_parse(payload, cut, &p.is_delta, &p.base, p.listed, &p.node, NULL),
				 ERR_CORRUPT);
}

static void test_parse__refuses_what_the_builder_would_not_write(void **unused)
{
	(void)unused;
	struct map_node node = uniform_node(3, 5, id_of(7));
	uint8_t payload[DISK_MAP_PAYLOAD_MAX + 1];
	size_t length = map_node_encode(&node, payload);
	payload[length] = 0;
	check_refused(payload, length + 1, "disk map node has 1 bytes too many");
	check_refused(payload, length - 1, "disk map node is truncated or malformed");
	check_refused(payload, 0, "disk map node is truncated or malformed");
	payload[1] = 6;
	check_refused(payload, length, "disk map node has level 6");
	payload[1] = 3;
	payload[5] = 1;
	check_refused(payload, length, "disk map node is truncated or malformed");
	payload[5] = 0;
	payload[0] = 3;
	check_refused(payload, length, "disk map node has unknown form 3");
	payload[0] = 1;
	memset(payload + 9, 0, 16);
	check_refused(payload, 25, "disk map node is empty");
}

static void test_parse__reads_a_delta(void **unused)
{
	(void)unused;
	struct map_node base = uniform_node(2, 100, id_of(1)), node = base;
	struct chunk_id base_id = id_of(99), new_id = id_of(2);
	map_node_set(&node, 3, &new_id);
	map_node_set(&node, 127, &new_id);
	node.present[1] = 0; /* slots 8 to 15 are gone */
	uint8_t payload[DISK_MAP_PAYLOAD_MAX];
	size_t length = map_node_encode_delta(&node, &base_id, &base, payload);
	assert_int_equal(length, 50 + 2 * 33);
	struct parsed p;
	assert_int_equal(map_node_parse(payload, length, &p.is_delta, &p.base, p.listed, &p.node, NULL), ERR_OK);
	assert_true(p.is_delta);
	assert_memory_equal(&p.base, &base_id, 32);
	assert_memory_equal(p.node.present, node.present, 16);
	for (unsigned slot = 0; slot < 128; slot++)
		assert_int_equal(map_bitmap_has(p.listed, slot), slot == 3 || slot == 127);
	assert_memory_equal(&p.node.ids[127], &new_id, 32);
	for (size_t cut = 0; cut < length; cut++)
		assert_int_equal(map_node_parse(payload, cut, &p.is_delta, &p.base, p.listed, &p.node, NULL),
				 ERR_CORRUPT);
}

static void test_parse__refuses_a_delta_with_slots_out_of_place(void **unused)
{
	(void)unused;
	struct map_node base = uniform_node(0, 100, id_of(1)), node = base;
	struct chunk_id base_id = id_of(99), new_id = id_of(2);
	map_node_set(&node, 3, &new_id);
	map_node_set(&node, 5, &new_id);
	uint8_t payload[DISK_MAP_PAYLOAD_MAX];
	size_t length = map_node_encode_delta(&node, &base_id, &base, payload);
	static const uint8_t bad[] = {3, 2, 100, 128, 255};
	for (size_t i = 0; i < sizeof(bad); i++) {
		payload[50 + 33] = bad[i];
		char message[80];
		snprintf(message, sizeof(message), "disk map delta lists slot %u out of place", bad[i]);
		check_refused(payload, length, message);
	}
	payload[50 + 33] = 5;
	payload[49] = 1;
	check_refused(payload, length, "disk map node has 33 bytes too many");
	payload[49] = 3;
	check_refused(payload, length, "disk map node is truncated or malformed");
	payload[49] = 33;
	check_refused(payload, length, "disk map delta lists 33 of 100 slots");
	memset(payload + 33, 0, 16);
	payload[33] = 1 << 3 | 1 << 5;
	payload[49] = 2;
	check_refused(payload, length, "disk map delta lists 2 of 2 slots");
	memset(payload + 33, 0, 16);
	payload[49] = 0;
	check_refused(payload, 50, "disk map delta lists 0 of 0 slots");
}

static void test_encode_delta__is_made_only_if_it_is_small(void **unused)
{
	(void)unused;
	struct map_node base = uniform_node(0, 128, id_of(1)), node = base;
	struct chunk_id base_id = id_of(99), new_id = id_of(2);
	uint8_t payload[DISK_MAP_PAYLOAD_MAX];
	for (unsigned slot = 0; slot < 32; slot++)
		map_node_set(&node, slot * 4, &new_id);
	assert_int_equal(map_node_encode_delta(&node, &base_id, &base, payload), 50 + 32 * 33);
	map_node_set(&node, 1, &new_id);
	assert_int_equal(map_node_encode_delta(&node, &base_id, &base, payload), 0);
	struct map_node one = uniform_node(0, 1, id_of(1));
	assert_int_equal(map_node_encode_delta(&one, &base_id, &base, payload), 50);
	one = uniform_node(0, 1, id_of(2));
	assert_int_equal(map_node_encode_delta(&one, &base_id, &base, payload), 0);
	one = uniform_node(1, 128, id_of(1));
	assert_int_equal(map_node_encode_delta(&one, &base_id, &base, payload), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse__reads_a_whole_node),
		cmocka_unit_test(test_parse__refuses_what_the_builder_would_not_write),
		cmocka_unit_test(test_parse__reads_a_delta),
		cmocka_unit_test(test_parse__refuses_a_delta_with_slots_out_of_place),
		cmocka_unit_test(test_encode_delta__is_made_only_if_it_is_small),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
