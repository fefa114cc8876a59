/* SPDX-License-Identifier: Apache-2.0 */
/* What the next writer does with the files of a job that was interrupted. A crash is a copy of the disk, taken while
 * the job runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/seed.h"
#include "tests/support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 5 };

/* A world whose store has a job that stored five blocks of random bytes, each a stripe. */
struct bench {
	struct world w;
	struct chunk_id ids[BLOCKS];
	uint8_t *arena;
};

static void put_blocks(struct bench *b, struct store_txn *txn, struct segment_writer *writer)
{
	uint8_t *block = malloc(BLOCK_SIZE);
	uint64_t random = 1;
	struct store_guess guess = {0};
	struct err err = {0};
	for (unsigned i = 0; i < BLOCKS; i++) {
		for (size_t at = 0; at < BLOCK_SIZE; at += 8) {
			uint64_t value = test_random(&random);
			memcpy(block + at, &value, 8);
		}
		enum chunk_claim claim;
		struct chunk_location where;
		chunk_hash(store_chunk_hasher(b->w.store), block, BLOCK_SIZE, &b->ids[i]);
		assert_int_equal(store_txn_claim(txn, &guess, &b->ids[i], 1, &claim, &err), ERR_OK);
		assert_int_equal(claim, CHUNK_CLAIM_NEW);
		assert_int_equal(segment_writer_put(writer, RECORD_CHUNK, &b->ids[i], block, BLOCK_SIZE, &where, &err),
				 ERR_OK);
		store_txn_stored(txn, &b->ids[i], where);
	}
	store_guess_release(&guess);
	free(block);
}

/* A job that has put its blocks and not finished. */
struct job {
	struct store_txn *txn;
	struct io_queue *queue;
	struct segment_writer *writer;
};

static void start_job(struct bench *b, struct job *job)
{
	struct err err = {0};
	world_open(&b->w, STORE_WRITE);
	size_t size = store_writer_arena_size(b->w.store);
	b->arena = aligned_alloc(4096, size);
	assert_non_null(b->arena);
	memset(b->arena, 0, size);
	assert_int_equal(store_txn_begin(b->w.store, VERIFY_NEW_OFF, &job->txn, &err), ERR_OK);
	assert_int_equal(io_queue_new(b->w.io, 64, b->arena, size, &job->queue, &err), ERR_OK);
	assert_int_equal(store_txn_writer(job->txn, COMPRESSION_DEFAULT, job->queue, b->arena, &job->writer, &err),
			 ERR_OK);
	put_blocks(b, job->txn, job->writer);
}

static void end_job(struct bench *b, struct job *job)
{
	segment_writer_free(job->writer);
	io_queue_free(job->queue);
	store_txn_abort(job->txn);
	world_close(&b->w);
}

/* Runs the job and takes a copy of the disk when its segment is sealed, or when all but the last stripe are written.
 * The world goes on with the copy. */
static void crash(struct bench *b, bool sealed)
{
	struct job job;
	struct io *crashed;
	struct err err = {0};
	start_job(b, &job);
	if (sealed)
		assert_int_equal(segment_writer_finish(job.writer, &err), ERR_OK);
	while (job.queue->in_flight)
		assert_int_equal(io_queue_wait(job.queue, 1, &err), ERR_OK);
	assert_int_equal(io_sim_clone(b->w.io, &crashed, &err), ERR_OK);
	end_job(b, &job);
	io_free(b->w.io);
	b->w.io = crashed;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct err err = {0};
	if (!b || io_sim_new(3, 0, &b->w.io, &err) != ERR_OK)
		return -1;
	b->w.lanes = 1;
	b->w.verify_new = VERIFY_NEW_ALL;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;
	world_close(&b->w);
	io_free(b->w.io);
	free(b->arena);
	free(b);
	return 0;
}

/* How many of the blocks the open store has. */
static unsigned count_known(struct bench *b)
{
	unsigned known = 0;
	for (unsigned i = 0; i < BLOCKS; i++) {
		struct segment *segment;
		const struct record_entry *entry;
		uint32_t slot;
		if (store_find(b->w.store, &b->ids[i], &segment, &entry, &slot, NULL) != ERR_OK)
			continue;
		uint8_t *block = malloc(BLOCK_SIZE);
		size_t length;
		struct err err = {0};
		if (store_read_record(b->w.store, RECORD_CHUNK, &b->ids[i], block, BLOCK_SIZE, &length, &err) != ERR_OK)
			fail_msg("%s", err.msg);
		free(block);
		segment_unref(segment);
		known++;
	}
	return known;
}

static bool file_exists(struct bench *b, const char *path)
{
	struct io_file *file = NULL;
	enum err_code code = io_open(b->w.io, path, IO_READ, &file, NULL);
	io_file_close(file);
	return code == ERR_OK;
}

static void write_file(struct bench *b, const char *path, const void *data, size_t length)
{
	struct err err = {0};
	if (io_write_file(b->w.io, path, data, length, &err) != ERR_OK)
		fail_msg("%s", err.msg);
}

/* A backup works, uses no number again, and leaves no file that the log does not list. */
static void expect_backup(struct bench *b, uint64_t highest_number, size_t strange_files)
{
	struct disk_image disk = image_new(9 * BLOCK_SIZE, 1);
	image_fill_random(&disk, 0, 9, 77);
	struct uuid id = world_backup(&b->w, "vm", &disk, 1);
	const struct log_state *log = store_state(b->w.store);
	assert_true(log->segments[log->segment_count - 1].number > highest_number);
	assert_int_equal(world_count_segment_files(&b->w), log->segment_count + strange_files);
	world_expect_restores(&b->w, &id, 0, &disk);
	world_expect_clean(&b->w);
	image_free(&disk);
}

static void test_recover__does_nothing_after_a_clean_end(void **state)
{
	struct bench *b = *state;
	world_open(&b->w, STORE_WRITE);
	expect_backup(b, 0, 0);
	world_reopen(&b->w, STORE_WRITE);
	assert_null(store_notices(b->w.store)[0]);
	assert_int_equal(store_state(b->w.store)->sequence, 2);
}

static void test_recover__adopts_a_sealed_segment(void **state)
{
	struct bench *b = *state;
	crash(b, true);
	world_open(&b->w, STORE_WRITE);
	assert_non_null(world_find_notice(&b->w, "1 segments adopted, 0 carried over"));
	assert_int_equal(store_state(b->w.store)->segments[0].number, 1);
	assert_int_equal(count_known(b), BLOCKS);
	expect_backup(b, 1, 0);
	world_reopen(&b->w, STORE_WRITE);
	assert_null(store_notices(b->w.store)[0]);
	assert_int_equal(count_known(b), BLOCKS);
}

static void test_recover__carries_the_records_of_an_unsealed_segment_over(void **state)
{
	struct bench *b = *state;
	crash(b, false);
	world_open(&b->w, STORE_WRITE);
	assert_non_null(world_find_notice(&b->w, "0 segments adopted, 1 carried over"));
	/* The last stripe was still open. */
	assert_int_equal(count_known(b), BLOCKS - 1);
	assert_false(file_exists(b, "segments/data/0000000001.seg"));
	assert_int_equal(store_state(b->w.store)->segments[0].number, 2);
	expect_backup(b, 2, 0);
	world_expect_clean(&b->w);
}

static void test_recover__leaves_damaged_records_out(void **state)
{
	struct bench *b = *state;
	crash(b, true);
	world_flip(&b->w, 1, 100000, 2);
	world_open(&b->w, STORE_WRITE);
	assert_non_null(world_find_notice(&b->w, "0 segments adopted, 1 carried over"));
	assert_int_equal(count_known(b), BLOCKS - 1);
	expect_backup(b, 2, 0);
}

static void test_recover__uses_the_second_copy_of_a_header(void **state)
{
	struct bench *b = *state;
	crash(b, true);
	world_flip(&b->w, 1, 20, 2);
	world_open(&b->w, STORE_WRITE);
	assert_non_null(world_find_notice(&b->w, "0 segments adopted, 1 carried over"));
	assert_int_equal(count_known(b), BLOCKS);
	expect_backup(b, 2, 0);
}

static void test_recover__removes_files_that_were_just_begun(void **state)
{
	struct bench *b = *state;
	static const uint8_t zeroes[8192];
	world_open(&b->w, STORE_WRITE);
	expect_backup(b, 0, 0);
	world_close(&b->w);
	write_file(b, "segments/data/0000000007.seg", "", 0);
	write_file(b, "segments/meta/0000000008.seg", zeroes, sizeof(zeroes));
	world_open(&b->w, STORE_WRITE);
	assert_null(store_notices(b->w.store)[0]);
	assert_false(file_exists(b, "segments/data/0000000007.seg"));
	expect_backup(b, 0, 0);
	struct disk_image disk = image_new(BLOCK_SIZE, 1);
	image_fill_random(&disk, 0, 1, 4);
	world_backup(&b->w, "other", &disk, 1);
	const struct log_state *log = store_state(b->w.store);
	assert_true(log->segments[log->segment_count - 1].number > 8);
	image_free(&disk);
}

static void test_recover__leaves_what_is_not_of_this_store_alone(void **state)
{
	struct bench *b = *state;
	struct bench *other;
	uint8_t *foreign;
	size_t length;
	struct err err = {0};
	setup((void **)&other);
	crash(other, false);
	assert_int_equal(io_read_file(other->w.io, "segments/data/0000000001.seg", 4 << 20, &foreign, &length, &err),
			 ERR_OK);
	teardown((void **)&other);

	world_open(&b->w, STORE_WRITE);
	world_close(&b->w);
	write_file(b, "segments/data/0000000003.seg", foreign, length);
	write_file(b, "segments/data/3.seg", "3", 1);
	write_file(b, "segments/data/000000000G.seg", "G", 1);
	free(foreign);
	for (unsigned i = 0; i < 2; i++) {
		world_open(&b->w, STORE_WRITE);
		assert_non_null(world_find_notice(&b->w, "'segments/data/0000000003.seg' belongs to another store"));
		expect_backup(b, 3, 3);
		world_close(&b->w);
		assert_true(file_exists(b, "segments/data/0000000003.seg"));
		assert_true(file_exists(b, "segments/data/3.seg"));
	}
}

static void test_recover__is_not_for_readers(void **state)
{
	struct bench *b = *state;
	crash(b, true);
	world_open(&b->w, STORE_READ);
	assert_int_equal(count_known(b), 0);
	assert_null(store_notices(b->w.store)[0]);
	assert_int_equal(store_state(b->w.store)->segment_count, 0);
	world_reopen(&b->w, STORE_WRITE);
	assert_int_equal(count_known(b), BLOCKS);
}

/* Each call of the opening fails once. */
static void lose_nothing(bool sealed, unsigned known)
{
	struct bench *b;
	setup((void **)&b);
	crash(b, sealed);
	struct io *crashed = b->w.io;
	bool reached = true;
	for (uint64_t call = 1; reached; call++) {
		struct err err = {0};
		assert_int_equal(io_sim_clone(crashed, &b->w.io, &err), ERR_OK);
		io_sim_arm(b->w.io, call, IO_SIM_EIO, false);
		if (world_try_open(&b->w, STORE_WRITE, &err) != ERR_OK)
			assert_int_equal(err.code, ERR_IO);
		reached = io_sim_calls(b->w.io) >= call;
		world_close(&b->w);
		io_sim_arm(b->w.io, 0, IO_SIM_NONE, false);
		io_sim_power_cycle(b->w.io, call);
		world_open(&b->w, STORE_WRITE);
		assert_int_equal(count_known(b), known);
		expect_backup(b, 1, 0);
		world_close(&b->w);
		io_free(b->w.io);
	}
	b->w.io = crashed;
	teardown((void **)&b);
}

static void test_recover__loses_nothing_to_an_error_of_the_disk(void **state)
{
	(void)state;
	lose_nothing(true, BLOCKS);
	lose_nothing(false, BLOCKS - 1);
}

/* The process ends at call number `call` of its finish, so that nothing is synced that it had not synced itself. The
 * next one recovers, and the power fails. Returns false if the finish needs fewer calls. */
static bool kill_and_cut(uint64_t call, uint64_t seed, unsigned *adopted)
{
	struct bench *b;
	struct job job;
	setup((void **)&b);
	start_job(b, &job);
	io_sim_arm(b->w.io, call, IO_SIM_EIO, true);
	bool killed = segment_writer_finish(job.writer, NULL) != ERR_OK;
	end_job(b, &job);
	io_sim_arm(b->w.io, 0, IO_SIM_NONE, false);
	world_open(&b->w, STORE_WRITE);
	unsigned known = count_known(b);
	*adopted += world_find_notice(&b->w, "1 segments adopted") != NULL;
	world_close(&b->w);
	io_sim_power_cycle(b->w.io, seed);
	world_open(&b->w, STORE_WRITE);
	assert_int_equal(count_known(b), known);
	world_expect_clean(&b->w);
	teardown((void **)&b);
	return killed;
}

static void test_recover__makes_what_it_keeps_durable(void **state)
{
	(void)state;
	unsigned adopted = 0;
	for (uint64_t seed = 0; seed < 6; seed++)
		for (uint64_t call = 1; kill_and_cut(call, seed, &adopted); call++)
			;
	/* The last call of a finish is the sync: killed there, the segment is whole and not durable. */
	assert_true(adopted >= 12);
}

#define RECOVER_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RECOVER_TEST(test_recover__does_nothing_after_a_clean_end),
		RECOVER_TEST(test_recover__adopts_a_sealed_segment),
		RECOVER_TEST(test_recover__carries_the_records_of_an_unsealed_segment_over),
		RECOVER_TEST(test_recover__leaves_damaged_records_out),
		RECOVER_TEST(test_recover__uses_the_second_copy_of_a_header),
		RECOVER_TEST(test_recover__removes_files_that_were_just_begun),
		RECOVER_TEST(test_recover__leaves_what_is_not_of_this_store_alone),
		RECOVER_TEST(test_recover__is_not_for_readers),
		cmocka_unit_test(test_recover__loses_nothing_to_an_error_of_the_disk),
		cmocka_unit_test(test_recover__makes_what_it_keeps_durable),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
