/* SPDX-License-Identifier: Apache-2.0 */
/* The index is advice. Whatever stands in index/ (noise, an old state, the index of another store, locations that are
 * wrong on purpose) restores are right, new backups are right, and the checks find nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/crash/history.h"
#include "tests/crash/lean_arena.h"

#include <stdio.h>

static uint64_t random_state;

/* ---- A store, and what is done to its index ---- */

static int setup(void **state)
{
	struct history *h = calloc(1, sizeof(*h));
	struct err err = {0};
	assert_non_null(h);
	h->w.lanes = 1;
	h->w.verify_new = VERIFY_NEW_ALL;
	assert_int_equal(io_sim_new(1, 0, &h->w.io, &err), ERR_OK);
	history_make_versions(h->versions, (struct history_disk){.random_blocks = 6, .second_at = 7}, random_state);
	for (unsigned i = 0; i < 2; i++) {
		world_open(&h->w, STORE_WRITE);
		assert_int_equal(history_try_backup(h, &err), ERR_OK);
		world_close(&h->w);
	}
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct history *h = *state;
	world_close(&h->w);
	io_free(h->w.io);
	history_free_versions(h->versions);
	free(h);
	return 0;
}

static void write_file(struct io *io, const char *path, const void *data, size_t length)
{
	struct err err = {0};
	if (io_write_file(io, path, data, length, &err) != ERR_OK)
		fail_msg("%s", err.msg);
}

static enum err_code collect_name(void *user, const char *name, struct err *err)
{
	(void)err;
	char(*names)[32] = user;
	while (**names)
		names++;
	snprintf(*names, sizeof(*names), "%.31s", name);
	return ERR_OK;
}

enum { FILES_MAX = 16 };

static void list_index(struct io *io, char names[FILES_MAX][32])
{
	struct err err = {0};
	memset(names, 0, FILES_MAX * 32);
	assert_int_equal(io_list(io, "index", collect_name, names, &err), ERR_OK);
	assert_true(names[0][0]);
}

/* Puts the index of one disk in the place of another's. */
static void copy_index(struct world *to, struct io *from)
{
	char names[FILES_MAX][32];
	world_remove_index(to);
	list_index(from, names);
	for (unsigned i = 0; names[i][0]; i++) {
		char path[64];
		uint8_t *data;
		size_t length;
		struct err err = {0};
		snprintf(path, sizeof(path), "index/%.31s", names[i]);
		assert_int_equal(io_read_file(from, path, 1 << 20, &data, &length, &err), ERR_OK);
		write_file(to->io, path, data, length);
		free(data);
	}
}

/* All is as if the index were right, now and after it was used and written again. */
static void expect_right(struct history *h)
{
	struct err err = {0};
	world_open(&h->w, STORE_READ);
	history_expect(h);
	world_expect_clean(&h->w);
	for (unsigned i = 0; i < 2; i++) {
		world_reopen(&h->w, STORE_WRITE);
		if (history_try_backup(h, &err) != ERR_OK)
			fail_msg("backup: %s", err.msg);
		history_expect(h);
	}
	world_reopen(&h->w, STORE_READ);
	history_expect(h);
	world_expect_clean(&h->w);
	world_close(&h->w);
}

/* ---- Noise ---- */

static void test_index__of_noise_is_harmless(void **state)
{
	struct history *h = *state;
	char names[FILES_MAX][32];
	list_index(h->w.io, names);
	for (unsigned i = 0; names[i][0]; i++) {
		char path[64];
		uint8_t noise[9000];
		for (size_t at = 0; at < sizeof(noise); at++)
			noise[at] = (uint8_t)test_random(&random_state);
		snprintf(path, sizeof(path), "index/%.31s", names[i]);
		write_file(h->w.io, path, noise, test_random_below(&random_state, sizeof(noise)));
	}
	write_file(h->w.io, "index/00000009.run", "", 0);
	write_file(h->w.io, "index/what is this", "?", 1);
	expect_right(h);
}

/* The manifest is whole, the runs are not: each page is checked on its own. */
static void test_index__with_noise_in_its_pages_is_harmless(void **state)
{
	struct history *h = *state;
	char names[FILES_MAX][32];
	list_index(h->w.io, names);
	for (unsigned i = 0; names[i][0]; i++) {
		char path[64];
		uint8_t *data;
		size_t length;
		struct err err = {0};
		snprintf(path, sizeof(path), "index/%.31s", names[i]);
		if (!strstr(path, ".run"))
			continue;
		assert_int_equal(io_read_file(h->w.io, path, 1 << 20, &data, &length, &err), ERR_OK);
		for (unsigned n = 0; n < 64; n++)
			data[4096 + test_random_below(&random_state, length - 4096)] ^=
				(uint8_t)(1 + test_random_below(&random_state, 255));
		write_file(h->w.io, path, data, length);
		free(data);
	}
	expect_right(h);
}

/* ---- The wrong index ---- */

static void test_index__of_another_store_is_harmless(void **state)
{
	struct history *h = *state;
	void *other;
	setup(&other);
	copy_index(&h->w, ((struct history *)other)->w.io);
	teardown(&other);
	expect_right(h);
}

static void test_index__of_an_older_state_is_harmless(void **state)
{
	struct history *h = *state;
	struct io *old;
	struct err err = {0};
	assert_int_equal(io_sim_clone(h->w.io, &old, &err), ERR_OK);
	world_open(&h->w, STORE_WRITE);
	assert_int_equal(history_try_backup(h, &err), ERR_OK);
	world_close(&h->w);
	copy_index(&h->w, old);
	io_free(old);
	expect_right(h);
}

/* As when the store's files are put back from a copy and its index is not: numbers of segments mean other segments
 * there. */
static void test_index__of_a_future_that_did_not_happen_is_harmless(void **state)
{
	struct history *h = *state;
	struct history future = *h;
	struct err err = {0};
	assert_int_equal(io_sim_clone(h->w.io, &future.w.io, &err), ERR_OK);
	image_fill_random(&future.versions[2], 0, 6, 99);
	for (unsigned i = 0; i < 3; i++) {
		world_open(&future.w, STORE_WRITE);
		assert_int_equal(history_try_backup(&future, &err), ERR_OK);
		world_close(&future.w);
	}
	copy_index(&h->w, future.w.io);
	io_free(future.w.io);
	expect_right(h);
}

/* ---- Lies ---- */

typedef struct chunk_location (*lie_fn)(struct chunk_location truth);

static struct chunk_location other_slot(struct chunk_location truth)
{
	return (struct chunk_location){truth.segment, truth.slot ^ 1};
}

static struct chunk_location other_segment(struct chunk_location truth)
{
	return (struct chunk_location){1 + truth.segment % 4, truth.slot};
}

static struct chunk_location no_slot(struct chunk_location truth)
{
	return (struct chunk_location){truth.segment, 65535};
}

static struct chunk_location no_segment(struct chunk_location truth)
{
	return (struct chunk_location){truth.segment + 1000, truth.slot};
}

/* Every record of the store, each in the wrong place. */
static void add_wrong_places(struct history *h, struct chunk_index *index, lie_fn lie)
{
	const struct log_state *log = store_state(h->w.store);
	for (size_t i = 0; i < log->segment_count; i++) {
		struct segment *segment;
		struct err err = {0};
		assert_int_equal(store_segment(h->w.store, log->segments[i].number, &segment, &err), ERR_OK);
		uint32_t count;
		const struct record_entry *entries = segment_entries(segment, &count);
		for (uint32_t slot = 0; slot < count; slot++) {
			struct chunk_location truth = {log->segments[i].number, slot};
			assert_int_equal(chunk_index_add(index, &entries[slot].id, lie(truth), &err), ERR_OK);
		}
		segment_unref(segment);
	}
}

/* Blocks that will be backed up and are nowhere yet. */
static void add_what_is_not_there(struct history *h, struct chunk_index *index)
{
	struct chunk_id id;
	struct err err = {0};
	for (unsigned version = 2; version < 4; version++)
		for (uint64_t block = 0; block < h->versions[version].blocks; block++) {
			const uint8_t *data = h->versions[version].data + block * BLOCK_SIZE;
			chunk_hash(store_chunk_hasher(h->w.store), data, BLOCK_SIZE, &id);
			struct chunk_location anywhere = {1 + block % 4, (uint32_t)(block % 2)};
			assert_int_equal(chunk_index_add(index, &id, anywhere, &err), ERR_OK);
		}
}

static void write_lies(struct history *h, lie_fn lie, uint64_t covered)
{
	world_open(&h->w, STORE_READ);
	world_remove_index(&h->w);
	struct chunk_index *index;
	unsigned ignored;
	struct err err = {0};
	assert_int_equal(chunk_index_open(h->w.io, &index, &ignored, &err), ERR_OK);
	add_wrong_places(h, index, lie);
	add_what_is_not_there(h, index);
	assert_int_equal(chunk_index_flush(index, covered, NULL, NULL, &err), ERR_OK);
	struct chunk_index_stats stats;
	chunk_index_stats(index, &stats);
	assert_int_equal(stats.runs, 1);
	chunk_index_close(index);
	world_close(&h->w);
}

static void test_index__that_lies_is_harmless(void **state)
{
	static const lie_fn lies[] = {other_slot, other_segment, no_slot, no_segment};
	static const uint64_t covered[] = {4, 2000, (UINT64_C(1) << 40) - 1};
	struct history *h = *state;
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++)
		for (unsigned c = 0; c < sizeof(covered) / sizeof(covered[0]); c++) {
			struct history copy = *h;
			struct err err = {0};
			if (lies[i] == no_segment && covered[c] < 1000)
				continue; /* would not be written */
			assert_int_equal(io_sim_clone(h->w.io, &copy.w.io, &err), ERR_OK);
			write_lies(&copy, lies[i], covered[c]);
			expect_right(&copy);
			io_free(copy.w.io);
		}
}

#define INDEX_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		INDEX_TEST(test_index__of_noise_is_harmless),
		INDEX_TEST(test_index__with_noise_in_its_pages_is_harmless),
		INDEX_TEST(test_index__of_another_store_is_harmless),
		INDEX_TEST(test_index__of_an_older_state_is_harmless),
		INDEX_TEST(test_index__of_a_future_that_did_not_happen_is_harmless),
		INDEX_TEST(test_index__that_lies_is_harmless),
	};
	keep_memory();
	random_state = test_seed("test_hostile_index");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
