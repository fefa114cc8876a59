/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/endian.h"
#include "base/size.h"
#include "store/index_run.h"
#include "store/io_sim.h"
#include "tests/seed.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define PATH "index/00000007.run"

static int setup(void **state)
{
	struct err err = {0};
	struct io *io = NULL;
	if (io_sim_new(1, 0, &io, &err) != ERR_OK || io_make_dir(io, "index", &err) != ERR_OK)
		return -1;
	*state = io;
	return 0;
}

static int teardown(void **state)
{
	io_free(*state);
	return 0;
}

static int compare_prefixes(const void *a, const void *b)
{
	return memcmp(a, b, INDEX_RUN_PREFIX_SIZE);
}

/* `count` random entries in order. */
static struct index_run_entry *random_entries(uint64_t seed, size_t count)
{
	struct index_run_entry *entries = calloc(count + 1, sizeof(*entries));
	assert_non_null(entries);
	for (size_t i = 0; i < count; i++) {
		be64_put(entries[i].prefix, test_random(&seed));
		be32_put(entries[i].prefix + 8, (uint32_t)test_random(&seed));
		entries[i].prefix[12] = (uint8_t)i;
		entries[i].location.segment = test_random(&seed) >> 24;
		entries[i].location.slot = (uint32_t)test_random(&seed) & 0xffff;
	}
	qsort(entries, count, sizeof(*entries), compare_prefixes);
	return entries;
}

static void write_run(struct io *io, const struct index_run_entry *entries, size_t count, uint64_t entries_max)
{
	struct err err = {0};
	struct index_run_writer *writer = NULL;
	assert_int_equal(index_run_writer_new(io, 7, entries_max, 1234, &writer, &err), ERR_OK);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(index_run_writer_add(writer, &entries[i], &err), ERR_OK);
	assert_int_equal(index_run_writer_count(writer), count);
	assert_int_equal(index_run_writer_finish(writer, &err), ERR_OK);
	index_run_writer_free(writer);
}

static struct chunk_id id_of(const struct index_run_entry *entry)
{
	struct chunk_id id = {0};
	memcpy(id.bytes, entry->prefix, sizeof(entry->prefix));
	return id;
}

static void check_all_found(struct index_run *run, const struct index_run_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct chunk_id id = id_of(&entries[i]);
		struct chunk_location location = {0};
		assert_true(index_run_find(run, &id, &location));
		assert_int_equal(location.segment, entries[i].location.segment);
		assert_int_equal(location.slot, entries[i].location.slot);
	}
}

static void check_cursor(struct index_run *run, const struct index_run_entry *entries, size_t count)
{
	struct err err = {0};
	struct index_run_cursor *cursor = NULL;
	assert_int_equal(index_run_cursor_new(run, &cursor, &err), ERR_OK);
	bool end = false;
	for (size_t i = 0; i < count; i++) {
		struct index_run_entry entry;
		assert_int_equal(index_run_cursor_next(cursor, &entry, &end, &err), ERR_OK);
		assert_false(end);
		assert_memory_equal(entry.prefix, entries[i].prefix, sizeof(entry.prefix));
	}
	struct index_run_entry entry;
	assert_int_equal(index_run_cursor_next(cursor, &entry, &end, &err), ERR_OK);
	assert_true(end);
	index_run_cursor_free(cursor);
}

static void check_round_trip(struct io *io, const struct index_run_entry *entries, size_t count, uint64_t entries_max)
{
	struct err err = {0};
	struct index_run *run = NULL;
	write_run(io, entries, count, entries_max);
	assert_int_equal(index_run_open(io, 7, &run, &err), ERR_OK);
	assert_int_equal(run->header.entry_count, count);
	assert_int_equal(run->header.covered, 1234);
	check_all_found(run, entries, count);
	check_cursor(run, entries, count);
	assert_false(index_run_is_damaged(run));
	index_run_close(run);
	assert_int_equal(io_remove(io, PATH, &err), ERR_OK);
}

static void test_index_run__finds_all_that_was_written(void **state)
{
	static const size_t counts[] = {1, 2, 170, 171, 204, 205, 5000, 30000};
	uint64_t seed = test_seed(__func__);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct index_run_entry *entries = random_entries(seed + i, counts[i]);
		check_round_trip(*state, entries, counts[i], counts[i]);
		check_round_trip(*state, entries, counts[i], counts[i] * 3 + 17);
		free(entries);
	}
}

/* IDs that crowd at one end fill pages far behind their home, also behind the last home page. */
static void test_index_run__spills_over_several_pages(void **state)
{
	for (unsigned high = 0; high < 2; high++) {
		size_t count = 1500;
		struct index_run_entry *entries = random_entries(5, count);
		for (size_t i = 0; i < count; i++) {
			be32_put(entries[i].prefix, high ? 0xffffffff : 0);
			be32_put(entries[i].prefix + 4, (uint32_t)i);
		}
		check_round_trip(*state, entries, count, count);
		free(entries);
	}
}

static void test_index_run__filter_passes_few_unknown_ids(void **state)
{
	struct err err = {0};
	struct index_run *run = NULL;
	size_t count = 20000;
	struct index_run_entry *entries = random_entries(11, count);
	struct index_run_entry *others = random_entries(12, count);
	write_run(*state, entries, count, count);
	assert_int_equal(index_run_open(*state, 7, &run, &err), ERR_OK);
	unsigned passed = 0;
	for (size_t i = 0; i < count; i++)
		passed += index_run_filter_has(run->filter, run->header.filter_length, others[i].prefix);
	assert_true(run->header.filter_length <= count * 12 / 8 + 64);
	assert_true(passed < count / 100); /* 0.45 % expected, fixed seeds */
	for (size_t i = 0; i < count; i++) {
		struct chunk_id id = id_of(&others[i]);
		struct chunk_location location;
		assert_false(index_run_find(run, &id, &location));
	}
	index_run_close(run);
	free(entries);
	free(others);
}

static void test_index_run__refuses_entries_out_of_order(void **state)
{
	struct err err = {0};
	struct index_run_writer *writer = NULL;
	struct index_run_entry *entries = random_entries(3, 3);
	assert_int_equal(index_run_writer_new(*state, 7, 2, 1, &writer, &err), ERR_OK);
	assert_int_equal(index_run_writer_add(writer, &entries[1], &err), ERR_OK);
	assert_int_equal(index_run_writer_add(writer, &entries[1], &err), ERR_BUG);
	assert_string_equal(err.msg, "entries of index run '" PATH "' are too many or not in order");
	assert_int_equal(index_run_writer_add(writer, &entries[0], NULL), ERR_BUG);
	assert_int_equal(index_run_writer_add(writer, &entries[2], NULL), ERR_OK);
	assert_int_equal(index_run_writer_add(writer, &entries[2], NULL), ERR_BUG);
	index_run_writer_free(writer);
	free(entries);
}

/* Any bit of header or filter is checked at opening. */
static void test_index_run__open_refuses_damage(void **state)
{
	struct err err = {0};
	struct index_run_entry *entries = random_entries(21, 400);
	write_run(*state, entries, 400, 400);
	free(entries);
	struct index_run *run = NULL;
	assert_int_equal(index_run_open(*state, 7, &run, &err), ERR_OK);
	uint64_t filter = run->header.filter_offset;
	index_run_close(run);
	const uint64_t offsets[] = {0, 8, 16, 24, 40, 64, 72, 4000, 4088, filter, filter + 100};
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		struct err at = {0};
		assert_int_equal(io_sim_flip(*state, PATH, offsets[i], 3, &err), ERR_OK);
		assert_int_equal(index_run_open(*state, 7, &run, &at), ERR_CORRUPT);
		assert_non_null(strstr(at.msg, "index run '" PATH "': it"));
		assert_int_equal(io_sim_flip(*state, PATH, offsets[i], 3, &err), ERR_OK);
	}
	assert_int_equal(index_run_open(*state, 8, &run, NULL), ERR_NOT_FOUND);
}

/* A damaged page costs its own IDs only, and marks the run. */
static void test_index_run__damaged_page_is_a_miss(void **state)
{
	struct err err = {0};
	struct index_run *run = NULL;
	size_t count = 1000;
	struct index_run_entry *entries = random_entries(22, count);
	write_run(*state, entries, count, count);
	assert_int_equal(io_sim_flip(*state, PATH, INDEX_RUN_PAGE_SIZE + 100, 1, &err), ERR_OK);
	assert_int_equal(index_run_open(*state, 7, &run, &err), ERR_OK);
	assert_false(index_run_is_damaged(run));
	size_t found = 0;
	for (size_t i = 0; i < count; i++) {
		struct chunk_id id = id_of(&entries[i]);
		struct chunk_location location;
		found += index_run_find(run, &id, &location);
	}
	assert_true(found >= count - INDEX_RUN_PAGE_ENTRIES && found < count);
	assert_true(index_run_is_damaged(run));
	struct index_run_cursor *cursor = NULL;
	assert_int_equal(index_run_cursor_new(run, &cursor, &err), ERR_OK);
	struct index_run_entry entry;
	bool end;
	assert_int_equal(index_run_cursor_next(cursor, &entry, &end, &err), ERR_CORRUPT);
	assert_string_equal(err.msg, "index run 00000007: page 0 is damaged");
	index_run_cursor_free(cursor);
	index_run_close(run);
	free(entries);
}

/* Sizes that lie, under a checksum that fits. */
static void test_index_run__header_with_wrong_sizes_is_refused(void **unused)
{
	(void)unused;
	struct index_run_header good = {.entry_count = 300,
					.home_pages = 2,
					.pages = 3,
					.covered = 9,
					.filter_offset = 4 * 4096,
					.filter_length = 512};
	const uint64_t size = 4 * 4096 + 512;
	struct {
		size_t offset;
		uint64_t value;
	} const lies[] = {{16, 3 * 204 + 1}, {16, UINT64_MAX}, {24, 0},   {24, 4},
			  {32, 4},           {32, UINT64_MAX}, {32, 2},   {40, UINT64_C(1) << 40},
			  {48, 0},           {48, UINT64_MAX}, {56, 576}, {56, 448},
			  {56, 0},           {12, 1},          {72, 1},   {4080, 1}};
	uint8_t page[INDEX_RUN_PAGE_SIZE];
	struct index_run_header header;
	index_run_header_encode(&good, page);
	assert_int_equal(index_run_header_decode(page, size, &header, NULL), ERR_OK);
	assert_int_equal(header.hash, good.hash);
	assert_int_equal(index_run_header_decode(page, size - 64, &header, NULL), ERR_CORRUPT);
	assert_int_equal(index_run_header_decode(page, 100, &header, NULL), ERR_CORRUPT);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		index_run_header_encode(&good, page);
		le64_put(page + lies[i].offset, lies[i].value);
		le32_put(page + 8, 1);
		le64_put(page + 4088, XXH3_64bits(page, 4088));
		assert_int_equal(index_run_header_decode(page, size, &header, NULL), ERR_CORRUPT);
	}
	struct err err = {0};
	index_run_header_encode(&good, page);
	le32_put(page + 8, 2);
	le64_put(page + 4088, XXH3_64bits(page, 4088));
	assert_int_equal(index_run_header_decode(page, size, &header, &err), ERR_UNSUPPORTED);
	assert_string_equal(err.msg, "it has version 2, this program knows 1");
}

static void test_index_run__page_of_another_place_is_refused(void **unused)
{
	(void)unused;
	uint8_t page[INDEX_RUN_PAGE_SIZE] = {0};
	index_run_page_set(page, 204, true);
	index_run_page_seal(page, 5);
	assert_true(index_run_page_is_valid(page, 5));
	assert_false(index_run_page_is_valid(page, 6));
	index_run_page_set(page, 205, false);
	index_run_page_seal(page, 5);
	assert_false(index_run_page_is_valid(page, 5));
	index_run_page_set(page, 1, false);
	page[6] = 2;
	index_run_page_seal(page, 5);
	assert_false(index_run_page_is_valid(page, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_index_run__finds_all_that_was_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_index_run__spills_over_several_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_index_run__filter_passes_few_unknown_ids, setup, teardown),
		cmocka_unit_test_setup_teardown(test_index_run__refuses_entries_out_of_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_index_run__open_refuses_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_index_run__damaged_page_is_a_miss, setup, teardown),
		cmocka_unit_test(test_index_run__header_with_wrong_sizes_is_refused),
		cmocka_unit_test(test_index_run__page_of_another_place_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
