/* SPDX-License-Identifier: Apache-2.0 */
/* The main job in memory: sources in memory, a store on the simulated disk, targets in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/world.h"

#include <stdlib.h>
#include <string.h>

static void test_roundtrip__gives_back_every_byte(void **state)
{
	struct world *w = *state;
	struct disk_image disk = image_new(5 * DISK_MAP_LEAF_BYTES + 12345, 1);
	image_fill_random(&disk, 0, 40, 11);
	image_fill_text(&disk, 200, 100, 12);
	image_fill_random(&disk, disk.blocks - 1, 1, 13);
	world_open(w, STORE_WRITE);
	struct uuid id = world_backup(w, "vm", &disk, 1);
	world_expect_restores(w, &id, 0, &disk);
	world_reopen(w, STORE_READ);
	world_expect_restores(w, &id, 0, &disk);
	world_expect_clean(w);
	image_free(&disk);
}

static void test_roundtrip__second_backup_stores_only_what_changed(void **state)
{
	struct world *w = *state;
	struct disk_image disk = image_new(8 * DISK_MAP_LEAF_BYTES, 1);
	image_fill_random(&disk, 0, disk.blocks, 21);
	world_open(w, STORE_WRITE);
	struct uuid first = world_backup(w, "vm", &disk, 1);
	struct disk_image before = image_copy(&disk);
	world_reopen(w, STORE_WRITE);
	image_fill_random(&disk, 300, 7, 22);
	struct uuid second = world_backup(w, "vm", &disk, 1);
	assert_int_equal(w->last_total.changed, 7 * BLOCK_SIZE);
	assert_int_equal(w->last_total.fresh, 7 * BLOCK_SIZE);
	world_reopen(w, STORE_WRITE);
	struct uuid third = world_backup(w, "vm", &disk, 1);
	assert_int_equal(w->last_total.changed, 0);
	assert_int_equal(w->last_total.stored, 0);
	world_expect_restores(w, &first, 0, &before);
	world_expect_restores(w, &second, 0, &disk);
	world_expect_restores(w, &third, 0, &disk);
	world_expect_clean(w);
	image_free(&before);
	image_free(&disk);
}

static void test_roundtrip__several_disks_and_duplicates_are_stored_once(void **state)
{
	struct world *w = *state;
	struct disk_image disks[2] = {image_new(3 * DISK_MAP_LEAF_BYTES, 1), image_new(2 * DISK_MAP_LEAF_BYTES, 2)};
	image_fill_random(&disks[0], 0, 100, 31);
	image_fill_random(&disks[1], 50, 100, 31);
	world_open(w, STORE_WRITE);
	struct uuid id = world_backup(w, "vm", disks, 2);
	assert_int_equal(w->last_total.fresh, 100 * BLOCK_SIZE);
	world_expect_restores(w, &id, 0, &disks[0]);
	world_expect_restores(w, &id, 1, &disks[1]);
	world_expect_clean(w);
	image_free(&disks[0]);
	image_free(&disks[1]);
}

static void test_roundtrip__a_disk_of_zeroes_has_no_blocks(void **state)
{
	struct world *w = *state;
	struct disk_image disk = image_new(3 * DISK_MAP_LEAF_BYTES + 512, 1);
	world_open(w, STORE_WRITE);
	struct uuid id = world_backup(w, "vm", &disk, 1);
	assert_int_equal(w->last_total.fresh, 0);
	world_expect_restores(w, &id, 0, &disk);
	world_expect_clean(w);
	image_free(&disk);
}

static void test_roundtrip__the_index_may_vanish(void **state)
{
	struct world *w = *state;
	struct disk_image disk = image_new(4 * DISK_MAP_LEAF_BYTES, 1);
	image_fill_random(&disk, 3, 200, 41);
	world_open(w, STORE_WRITE);
	struct uuid id = world_backup(w, "vm", &disk, 1);
	world_close(w);
	world_remove_index(w);
	world_open(w, STORE_WRITE);
	world_expect_restores(w, &id, 0, &disk);
	struct uuid again = world_backup(w, "other", &disk, 1);
	assert_int_equal(w->last_total.fresh, 0);
	world_expect_restores(w, &again, 0, &disk);
	image_free(&disk);
}

static void test_roundtrip__a_sealed_store_is_read_with_the_recovery_key_only(void **state)
{
	struct world *w = *state;
	w->sealed = true;
	struct disk_image disk = image_new(2 * DISK_MAP_LEAF_BYTES, 1);
	image_fill_text(&disk, 0, 60, 51);
	world_open(w, STORE_WRITE);
	struct uuid id = world_backup(w, "vm", &disk, 1);
	uint8_t *back = NULL;
	struct err err = {0};
	assert_int_equal(world_restore(w, &id, 0, false, &back, NULL, &err), ERR_AUTH);
	assert_non_null(strstr(err.msg, "recovery key"));
	free(back);
	w->use_recovery_key = true;
	world_reopen(w, STORE_READ);
	world_expect_restores(w, &id, 0, &disk);
	world_expect_clean(w);
	image_free(&disk);
}

static void test_roundtrip__damage_is_named_to_the_block(void **state)
{
	struct world *w = *state;
	struct disk_image disk = image_new(2 * DISK_MAP_LEAF_BYTES, 1);
	image_fill_random(&disk, 0, 64, 61);
	w->lanes = 1;
	world_open(w, STORE_WRITE);
	struct uuid id = world_backup(w, "vm", &disk, 1);
	world_close(w);
	/* In the middle of the first data segment's records: one lane fills it. */
	world_flip(w, world_first_segment(w, SEGMENT_DATA), 650000, 3);
	world_open(w, STORE_READ);
	struct err err = {0};
	uint8_t *back = NULL;
	struct damage_list damage = {0};
	assert_int_equal(world_restore(w, &id, 0, false, &back, NULL, &err), ERR_CORRUPT);
	free(back);
	err = (struct err){0};
	assert_int_equal(world_restore(w, &id, 0, true, &back, &damage, &err), ERR_CORRUPT);
	assert_int_equal(damage.lost_blocks, 1);
	uint64_t lost = damage.ranges[0].first_block;
	for (uint64_t block = 0; block < disk.blocks; block++)
		if (block != lost)
			assert_memory_equal(back + block * BLOCK_SIZE, disk.data + block * BLOCK_SIZE, BLOCK_SIZE);
	free(back);
	damage_list_release(&damage);
	struct check_report report;
	world_check(w, scrub_run, ERR_CORRUPT, &report);
	assert_int_equal(report.damaged_segments, 1);
	world_check(w, verify_run, ERR_CORRUPT, &report);
	assert_int_equal(report.damaged_records, 1);
	assert_int_equal(report.damaged_blocks, 1);
	assert_int_equal(report.damaged_savesets, 1);
	image_free(&disk);
}

static void test_store__a_second_writer_is_told_who_writes(void **state)
{
	struct world *w = *state;
	world_open(w, STORE_WRITE);
	struct store *second = NULL;
	struct err err = {0};
	struct unlock unlock = world_unlock(w);
	assert_int_equal(store_open(w->io, STORE_WRITE, &unlock, &second, &err), ERR_BUSY);
	assert_non_null(strstr(err.msg, "being written by process"));
	err = (struct err){0};
	assert_int_equal(store_open(w->io, STORE_READ, &unlock, &second, &err), ERR_OK);
	store_close(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(test_roundtrip__gives_back_every_byte),
		WORLD_TEST(test_roundtrip__second_backup_stores_only_what_changed),
		WORLD_TEST(test_roundtrip__several_disks_and_duplicates_are_stored_once),
		WORLD_TEST(test_roundtrip__a_disk_of_zeroes_has_no_blocks),
		WORLD_TEST(test_roundtrip__the_index_may_vanish),
		WORLD_TEST(test_roundtrip__a_sealed_store_is_read_with_the_recovery_key_only),
		WORLD_TEST(test_roundtrip__damage_is_named_to_the_block),
		WORLD_TEST(test_store__a_second_writer_is_told_who_writes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
