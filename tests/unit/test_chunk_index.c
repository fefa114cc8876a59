/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/endian.h"
#include "base/size.h"
#include "store/chunk_index.h"
#include "store/chunk_index_internal.h"
#include "store/io_sim.h"
#include "tests/seed.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* The nth of a fixed sequence of IDs that look like keyed hashes. */
static struct chunk_id id_of(uint64_t n)
{
	struct chunk_id id;
	uint64_t random = n * 7919 + 1;
	for (unsigned i = 0; i < 32; i += 8)
		be64_put(id.bytes + i, test_random(&random));
	return id;
}

/* Where the tests put the nth chunk: 100 in each segment, counting from 1. */
static struct chunk_location place_of(uint64_t n)
{
	return (struct chunk_location){.segment = 1 + n / 100, .slot = (uint32_t)(n % 100)};
}

struct state {
	struct io *io;
	struct chunk_index *index;
};

static void open_index(struct state *s, unsigned expected_ignored)
{
	struct err err = {0};
	unsigned ignored = 99;
	assert_int_equal(chunk_index_open(s->io, &s->index, &ignored, &err), ERR_OK);
	assert_int_equal(ignored, expected_ignored);
}

static void reopen_index(struct state *s, unsigned expected_ignored)
{
	chunk_index_close(s->index);
	s->index = NULL;
	open_index(s, expected_ignored);
}

static int setup(void **state)
{
	struct err err = {0};
	struct state *s = calloc(1, sizeof(*s));
	if (!s || io_sim_new(1, 0, &s->io, &err) != ERR_OK)
		return -1;
	open_index(s, 0);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct state *s = *state;
	chunk_index_close(s->index);
	io_free(s->io);
	free(s);
	return 0;
}

static void add_range(struct state *s, uint64_t first, uint64_t end)
{
	struct err err = {0};
	for (uint64_t n = first; n < end; n++) {
		struct chunk_id id = id_of(n);
		assert_int_equal(chunk_index_add(s->index, &id, place_of(n), &err), ERR_OK);
	}
}

/* How many of [first, end) are found, at the right place. */
static uint64_t count_found(struct state *s, uint64_t first, uint64_t end)
{
	uint64_t found = 0;
	for (uint64_t n = first; n < end; n++) {
		struct chunk_id id = id_of(n);
		struct chunk_location location;
		if (!chunk_index_find(s->index, &id, 0, &location))
			continue;
		assert_int_equal(location.segment, place_of(n).segment);
		assert_int_equal(location.slot, place_of(n).slot);
		found++;
	}
	return found;
}

static void flush(struct state *s, uint64_t covered)
{
	struct err err = {0};
	assert_int_equal(chunk_index_flush(s->index, covered, NULL, NULL, &err), ERR_OK);
}

/* Writes `count` runs of 200 chunks (two segments) each. */
static void make_runs(struct state *s, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		add_range(s, i * 200, i * 200 + 200);
		flush(s, i * 2 + 2);
	}
}

static struct chunk_index_stats stats_of(struct state *s)
{
	struct chunk_index_stats stats;
	chunk_index_stats(s->index, &stats);
	return stats;
}

static void test_claim__goes_from_new_to_pending_to_known(void **state)
{
	struct state *s = *state;
	struct err err = {0};
	struct chunk_id ids[16];
	enum chunk_claim claims[16];
	struct chunk_location locations[16];
	for (unsigned i = 0; i < 16; i++)
		ids[i] = id_of(i / 2); /* every ID twice */
	assert_int_equal(chunk_index_claim(s->index, ids, 16, claims, locations, &err), ERR_OK);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(claims[i], i % 2 ? CHUNK_CLAIM_PENDING : CHUNK_CLAIM_NEW);
	struct chunk_location location;
	assert_false(chunk_index_find(s->index, &ids[0], 0, &location));
	struct chunk_location last = {.segment = (UINT64_C(1) << 40) - 1, .slot = 65535};
	chunk_index_set(s->index, &ids[0], last);
	assert_int_equal(chunk_index_claim(s->index, ids, 3, claims, locations, &err), ERR_OK);
	assert_int_equal(claims[0], CHUNK_CLAIM_KNOWN);
	assert_int_equal(locations[0].segment, last.segment);
	assert_int_equal(locations[0].slot, last.slot);
	assert_int_equal(claims[2], CHUNK_CLAIM_PENDING);
	assert_true(chunk_index_find(s->index, &ids[0], 0, &location));
	assert_false(chunk_index_find(s->index, &ids[0], 1, &location));
}

static void test_claim__forgotten_is_new_again(void **state)
{
	struct state *s = *state;
	struct err err = {0};
	struct chunk_id id = id_of(1);
	enum chunk_claim claim;
	struct chunk_location location;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(chunk_index_claim(s->index, &id, 1, &claim, &location, &err), ERR_OK);
		assert_int_equal(claim, CHUNK_CLAIM_NEW);
		if (i)
			chunk_index_set(s->index, &id, place_of(1));
		chunk_index_forget(s->index, &id);
		assert_false(chunk_index_find(s->index, &id, 0, &location));
	}
	add_range(s, 1, 2);
	assert_int_equal(count_found(s, 1, 2), 1);
}

static void test_add__first_one_stays(void **state)
{
	struct state *s = *state;
	struct chunk_id id = id_of(1);
	struct chunk_location location = {.segment = 9, .slot = 9};
	assert_int_equal(chunk_index_add(s->index, &id, location, NULL), ERR_OK);
	add_range(s, 1, 2);
	assert_true(chunk_index_find(s->index, &id, 0, &location));
	assert_int_equal(location.segment, 9);
	chunk_index_set(s->index, &id, place_of(1));
	assert_int_equal(count_found(s, 1, 2), 1);
}

/* Claims by several threads: everybody wants everything, in an order of its own. */
#define THREADS 4
#define CONTESTED 60000u /* two tables */

struct claimer {
	struct chunk_index *index;
	pthread_t thread;
	uint64_t start;
	uint32_t *wins; /* shared, one per ID; relaxed, read after the threads are joined */
	bool failed;
};

static void claim_batch(struct claimer *c, uint64_t first)
{
	struct chunk_id ids[16];
	enum chunk_claim claims[16];
	struct chunk_location locations[16];
	for (unsigned i = 0; i < 16; i++)
		ids[i] = id_of((first + i) % CONTESTED);
	if (chunk_index_claim(c->index, ids, 16, claims, locations, NULL) != ERR_OK)
		c->failed = true;
	for (unsigned i = 0; i < 16; i++) {
		uint64_t n = (first + i) % CONTESTED;
		bool misplaced = claims[i] == CHUNK_CLAIM_KNOWN && locations[i].segment != place_of(n).segment;
		if (claims[i] == CHUNK_CLAIM_NEW) {
			__atomic_fetch_add(&c->wins[n], 1, __ATOMIC_RELAXED);
			chunk_index_set(c->index, &ids[i], place_of(n));
		} else if (claims[i] == CHUNK_CLAIM_MAYBE || misplaced) {
			c->failed = true;
		}
	}
}

static void *run_claimer(void *user)
{
	struct claimer *c = user;
	for (uint64_t i = 0; i < CONTESTED; i += 16)
		claim_batch(c, c->start + i);
	return NULL;
}

static void test_claim__of_many_threads_gives_each_chunk_to_one(void **state)
{
	struct state *s = *state;
	struct claimer claimers[THREADS];
	uint32_t *wins = calloc(CONTESTED, sizeof(*wins));
	assert_non_null(wins);
	for (unsigned i = 0; i < THREADS; i++) {
		claimers[i] = (struct claimer){.index = s->index, .start = i * 16, .wins = wins};
		assert_int_equal(pthread_create(&claimers[i].thread, NULL, run_claimer, &claimers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(claimers[i].thread, NULL);
		assert_false(claimers[i].failed);
	}
	unsigned doubles = 0;
	for (unsigned i = 0; i < CONTESTED; i++) {
		assert_true(wins[i] >= 1);
		doubles += wins[i] - 1;
	}
	/* Only those in flight while the table grows can be lost: a batch per thread. */
	assert_true(doubles <= THREADS * 16);
	assert_int_equal(count_found(s, 0, CONTESTED), CONTESTED);
	free(wins);
}

static void test_flush__survives_reopening(void **state)
{
	struct state *s = *state;
	add_range(s, 0, 1000);
	assert_int_equal(chunk_index_covered(s->index), 0);
	flush(s, 8); /* segments 1 to 8: chunks 0 to 799 */
	assert_int_equal(chunk_index_covered(s->index), 8);
	assert_int_equal(stats_of(s).runs, 1);
	assert_int_equal(stats_of(s).run_entries, 800);
	reopen_index(s, 0);
	assert_int_equal(chunk_index_covered(s->index), 8);
	assert_int_equal(count_found(s, 0, 800), 800);
	assert_int_equal(count_found(s, 800, 1000), 0);
	add_range(s, 800, 1000);
	flush(s, 10);
	reopen_index(s, 0);
	assert_int_equal(stats_of(s).runs, 2);
	assert_int_equal(stats_of(s).run_entries, 1000);
	assert_int_equal(count_found(s, 0, 1000), 1000);
	struct err err = {0};
	assert_int_equal(chunk_index_flush(s->index, UINT64_C(1) << 40, NULL, NULL, &err), ERR_INVALID);
	assert_string_equal(err.msg, "the index can't cover segment 1099511627776");
}

static void test_flush__with_nothing_new_moves_covered_on(void **state)
{
	struct state *s = *state;
	make_runs(s, 1);
	flush(s, 50);
	flush(s, 40);
	reopen_index(s, 0);
	assert_int_equal(chunk_index_covered(s->index), 50);
	assert_int_equal(stats_of(s).runs, 1);
	assert_int_equal(count_found(s, 0, 200), 200);
}

static void test_claim__of_a_chunk_in_a_run_is_maybe(void **state)
{
	struct state *s = *state;
	struct err err = {0};
	make_runs(s, 1);
	reopen_index(s, 0);
	struct chunk_id ids[2] = {id_of(5), id_of(5000)};
	enum chunk_claim claims[2];
	struct chunk_location locations[2];
	assert_int_equal(chunk_index_claim(s->index, ids, 2, claims, locations, &err), ERR_OK);
	assert_int_equal(claims[0], CHUNK_CLAIM_MAYBE);
	assert_int_equal(locations[0].segment, 1);
	assert_int_equal(locations[0].slot, 5);
	assert_int_equal(claims[1], CHUNK_CLAIM_NEW);
	assert_int_equal(chunk_index_claim_new(s->index, &ids[0], &claims[0], &locations[0], &err), ERR_OK);
	assert_int_equal(claims[0], CHUNK_CLAIM_NEW);
	assert_int_equal(chunk_index_claim_new(s->index, &ids[0], &claims[0], &locations[0], &err), ERR_OK);
	assert_int_equal(claims[0], CHUNK_CLAIM_PENDING);
	chunk_index_set(s->index, &ids[0], (struct chunk_location){.segment = 77, .slot = 7});
	struct chunk_location location;
	assert_true(chunk_index_find(s->index, &ids[0], 0, &location));
	assert_int_equal(location.segment, 77);
	assert_true(chunk_index_find(s->index, &ids[0], 1, &location));
	assert_int_equal(location.segment, 1);
	assert_false(chunk_index_find(s->index, &ids[0], 2, &location));
}

static enum err_code count_name(void *user, const char *name, struct err *err)
{
	(void)err;
	unsigned *count = user;
	*count += strstr(name, ".run") != NULL;
	return ERR_OK;
}

static unsigned run_files(struct state *s)
{
	unsigned count = 0;
	assert_int_equal(io_list(s->io, "index", count_name, &count, NULL), ERR_OK);
	return count;
}

static bool is_not_third(void *user, uint64_t segment)
{
	(void)user;
	return segment % 3 != 0;
}

static void test_flush__merges_many_runs_and_drops_dead_segments(void **state)
{
	struct state *s = *state;
	make_runs(s, CHUNK_INDEX_RUNS_MAX);
	assert_int_equal(stats_of(s).runs, CHUNK_INDEX_RUNS_MAX);
	assert_int_equal(run_files(s), CHUNK_INDEX_RUNS_MAX);
	struct err err = {0};
	add_range(s, 1600, 1800);
	assert_int_equal(chunk_index_flush(s->index, 18, is_not_third, NULL, &err), ERR_OK);
	assert_int_equal(stats_of(s).runs, 1);
	assert_int_equal(stats_of(s).run_entries, 1200);
	assert_int_equal(run_files(s), 1);
	reopen_index(s, 0);
	assert_int_equal(chunk_index_covered(s->index), 18);
	for (uint64_t n = 0; n < 1800; n++)
		assert_int_equal(count_found(s, n, n + 1), place_of(n).segment % 3 != 0);
}

static bool is_never_live(void *user, uint64_t segment)
{
	(void)user;
	(void)segment;
	return false;
}

static void test_flush__merge_may_leave_nothing(void **state)
{
	struct state *s = *state;
	struct err err = {0};
	make_runs(s, CHUNK_INDEX_RUNS_MAX);
	reopen_index(s, 0);
	add_range(s, 1600, 1601);
	assert_int_equal(chunk_index_flush(s->index, 17, is_never_live, NULL, &err), ERR_OK);
	assert_int_equal(stats_of(s).runs, CHUNK_INDEX_RUNS_MAX); /* nothing new lives, so nothing is merged */
	add_range(s, 1700, 1701);
	flush(s, 18);
	assert_int_equal(stats_of(s).runs, 1);
	assert_int_equal(run_files(s), 1);
}

/* The same chunk in several runs: the newest counts, unless its segment is dead. */
static void test_flush__merge_keeps_the_newest_of_one_chunk(void **state)
{
	struct state *s = *state;
	struct err err = {0};
	struct chunk_id id = id_of(1000000);
	for (unsigned i = 0; i <= CHUNK_INDEX_RUNS_MAX; i++) {
		chunk_index_close(s->index); /* so that the table does not know it */
		open_index(s, 0);
		struct chunk_location location = {.segment = i + 1, .slot = i};
		assert_int_equal(chunk_index_add(s->index, &id, location, &err), ERR_OK);
		assert_int_equal(chunk_index_flush(s->index, i + 1, is_not_third, NULL, &err), ERR_OK);
	}
	reopen_index(s, 0);
	/* Segments 3, 6 and 9 are dead: the table's entries of theirs never came to disk. */
	struct chunk_location location;
	for (unsigned nth = 0; nth < 6; nth++) {
		assert_true(chunk_index_find(s->index, &id, nth, &location));
		static const uint64_t expected[] = {8, 7, 5, 4, 2, 1};
		assert_int_equal(location.segment, expected[nth]);
	}
	assert_false(chunk_index_find(s->index, &id, 6, &location));
	for (unsigned i = 10; i < 13; i++) {
		add_range(s, i * 100 - 100, i * 100 - 99);
		assert_int_equal(chunk_index_flush(s->index, i, is_not_third, NULL, &err), ERR_OK);
	}
	add_range(s, 1300 - 100, 1300 - 99);
	flush(s, 13);
	reopen_index(s, 0);
	assert_int_equal(stats_of(s).runs, 1);
	assert_true(chunk_index_find(s->index, &id, 0, &location));
	assert_int_equal(location.segment, 8);
	assert_false(chunk_index_find(s->index, &id, 1, &location));
}

static void test_open__damaged_run_ends_what_counts(void **state)
{
	struct state *s = *state;
	struct err err = {0};
	make_runs(s, 4);
	chunk_index_close(s->index);
	s->index = NULL;
	assert_int_equal(io_sim_flip(s->io, "index/00000003.run", 17, 0, &err), ERR_OK);
	open_index(s, 2); /* the third, and the fourth, which would leave a gap */
	assert_int_equal(chunk_index_covered(s->index), 4);
	assert_int_equal(count_found(s, 0, 400), 400);
	assert_int_equal(count_found(s, 400, 800), 0);
	add_range(s, 400, 800);
	flush(s, 8);
	assert_int_equal(run_files(s), 3);
	reopen_index(s, 0);
	assert_int_equal(chunk_index_covered(s->index), 8);
	assert_int_equal(count_found(s, 0, 800), 800);
}

static void test_open__missing_run_ends_what_counts(void **state)
{
	struct state *s = *state;
	make_runs(s, 3);
	assert_int_equal(io_remove(s->io, "index/00000001.run", NULL), ERR_OK);
	reopen_index(s, 3);
	assert_int_equal(chunk_index_covered(s->index), 0);
	assert_int_equal(count_found(s, 0, 600), 0);
}

static void test_open__run_under_a_wrong_name_is_ignored(void **state)
{
	struct state *s = *state;
	make_runs(s, 2);
	assert_int_equal(io_rename(s->io, "index/00000002.run", "index/00000001.run", NULL), ERR_OK);
	reopen_index(s, 2);
	assert_int_equal(chunk_index_covered(s->index), 0);
}

/* A page that goes bad while the index is open: its chunks are unknown, and the index on disk shrinks. */
static void test_flush__damaged_page_shrinks_the_index(void **state)
{
	struct state *s = *state;
	struct err err = {0};
	make_runs(s, 3);
	reopen_index(s, 0);
	assert_int_equal(io_sim_flip(s->io, "index/00000002.run", 4096 + 50, 0, &err), ERR_OK);
	assert_true(count_found(s, 0, 600) < 600);
	assert_int_equal(stats_of(s).runs_damaged, 1);
	add_range(s, 600, 800);
	flush(s, 8);
	assert_int_equal(chunk_index_covered(s->index), 2);
	assert_int_equal(count_found(s, 400, 600), 200); /* this process still has the third */
	reopen_index(s, 0);
	assert_int_equal(chunk_index_covered(s->index), 2);
	add_range(s, 200, 800);
	flush(s, 8);
	reopen_index(s, 0);
	assert_int_equal(count_found(s, 0, 800), 800);
}

/* The same found only by the merge. */
static void test_flush__damaged_page_found_by_merging_shrinks_the_index(void **state)
{
	struct state *s = *state;
	struct err err = {0};
	make_runs(s, CHUNK_INDEX_RUNS_MAX);
	assert_int_equal(io_sim_flip(s->io, "index/00000005.run", 4096 + 50, 0, &err), ERR_OK);
	add_range(s, 1600, 1800);
	flush(s, 18);
	assert_int_equal(chunk_index_covered(s->index), 8);
	reopen_index(s, 0);
	assert_int_equal(stats_of(s).runs, 4);
	assert_int_equal(chunk_index_covered(s->index), 8);
}

static void test_flush__removes_leftovers(void **state)
{
	struct state *s = *state;
	struct err err = {0};
	make_runs(s, 1);
	assert_int_equal(io_write_file(s->io, "index/00000002.run", "left over", 9, &err), ERR_OK);
	assert_int_equal(io_write_file(s->io, "index/notes.run", "not ours", 8, &err), ERR_OK);
	add_range(s, 200, 400);
	flush(s, 4);
	uint8_t *data = NULL;
	size_t length = 0;
	assert_int_equal(io_read_file(s->io, "index/00000002.run", 1 << 20, &data, &length, NULL), ERR_NOT_FOUND);
	assert_int_equal(io_read_file(s->io, "index/notes.run", 100, &data, &length, &err), ERR_OK);
	free(data);
	reopen_index(s, 0);
	assert_int_equal(count_found(s, 0, 400), 400);
}

static void test_open__hostile_manifest_is_ignored(void **state)
{
	struct state *s = *state;
	struct err err = {0};
	make_runs(s, 2);
	uint8_t *good = NULL;
	size_t length = 0;
	assert_int_equal(io_read_file(s->io, MANIFEST_PATH, 4096, &good, &length, &err), ERR_OK);
	assert_int_equal(length, 32 + 2 * 16 + 8);
	struct {
		size_t offset;
		uint8_t value;
	} const lies[] = {{0, 'X'}, {8, 2}, {12, 1}, {12, 3}, {12, 65}, {15, 255}, {23, 1}, {24, 1}, {36, 1}};
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		uint8_t bad[128];
		memcpy(bad, good, length);
		bad[lies[i].offset] = lies[i].value;
		le64_put(bad + length - 8, XXH3_64bits(bad, length - 8));
		assert_int_equal(io_write_file(s->io, MANIFEST_PATH, bad, length, &err), ERR_OK);
		reopen_index(s, 1);
		assert_int_equal(chunk_index_covered(s->index), 0);
		assert_int_equal(stats_of(s).runs, 0);
	}
	for (size_t cut = 0; cut < length; cut++) {
		assert_int_equal(io_write_file(s->io, MANIFEST_PATH, good, cut, &err), ERR_OK);
		reopen_index(s, 1);
		assert_int_equal(stats_of(s).runs, 0);
	}
	good[17] ^= 1;
	assert_int_equal(io_write_file(s->io, MANIFEST_PATH, good, length, &err), ERR_OK);
	reopen_index(s, 1);
	free(good);
	add_range(s, 0, 400);
	flush(s, 4);
	reopen_index(s, 0);
	assert_int_equal(count_found(s, 0, 400), 400);
}

/* Every call of a flush fails once, in turn, in several ways: the index is afterwards as before or as wanted, and the
 * next flush succeeds. */
static void check_fault(struct io *prepared, uint64_t call, enum io_sim_fault fault, uint64_t seed, bool *ret_done)
{
	struct err err = {0};
	struct state s = {0};
	assert_int_equal(io_sim_clone(prepared, &s.io, &err), ERR_OK);
	open_index(&s, 0);
	add_range(&s, 2000, 2100);
	io_sim_arm(s.io, call, fault, false);
	enum err_code code = chunk_index_flush(s.index, 21, NULL, NULL, &err);
	*ret_done = io_sim_calls(s.io) < call;
	if (code != ERR_OK)
		assert_true(err.msg[0] != 0);
	if (fault >= IO_SIM_TORN && fault <= IO_SIM_CUT_AFTER) {
		chunk_index_close(s.index);
		s.index = NULL;
		io_sim_power_cycle(s.io, seed);
		open_index(&s, 0);
	} else {
		io_sim_arm(s.io, UINT64_MAX, IO_SIM_NONE, false);
		reopen_index(&s, 0);
	}
	uint64_t covered = chunk_index_covered(s.index);
	/* A run that could not be read while merging makes the index shrink. */
	assert_true(covered == 16 || covered == 21 || (fault == IO_SIM_EIO && code == ERR_OK && covered < 16));
	uint64_t whole = min_u64(covered * 100, 600);
	assert_int_equal(count_found(&s, 0, whole), whole);
	assert_int_equal(count_found(&s, 2000, 2100), covered == 21 ? 100 : 0);
	add_range(&s, whole, 600);
	add_range(&s, 2000, 2100);
	flush(&s, 22);
	assert_int_equal(run_files(&s), stats_of(&s).runs);
	reopen_index(&s, 0);
	assert_int_equal(count_found(&s, 0, 600), 600);
	assert_int_equal(count_found(&s, 2000, 2100), 100);
	chunk_index_close(s.index);
	io_free(s.io);
}

static void test_flush__is_safe_at_every_point(void **state)
{
	static const enum io_sim_fault faults[] = {IO_SIM_EIO,  IO_SIM_ENOSPC,     IO_SIM_LOST_SYNC,
						   IO_SIM_TORN, IO_SIM_CUT_BEFORE, IO_SIM_CUT_AFTER};
	struct state *s = *state;
	make_runs(s, 3);
	for (unsigned i = 3; i < CHUNK_INDEX_RUNS_MAX; i++) {
		add_range(s, i * 200, i * 200 + 2);
		flush(s, i * 2 + 2);
	}
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		/* What a power cut keeps is a matter of luck: several tries. */
		bool has_cut = faults[i] >= IO_SIM_TORN && faults[i] <= IO_SIM_CUT_AFTER;
		for (uint64_t seed = 1; seed <= (has_cut ? 24 : 1); seed++) {
			bool done = false;
			for (uint64_t call = 1; !done; call++)
				check_fault(s->io, call, faults[i], seed * 1000 + call, &done);
		}
	}
}

/* Lookups go on while runs are written and merged. */
static void *run_finder(void *user)
{
	struct claimer *c = user;
	struct state s = {.index = c->index};
	for (unsigned i = 0; i < 30; i++)
		for (uint64_t n = 0; n < 200; n++) {
			struct chunk_id id = id_of(n);
			struct chunk_location location;
			c->failed |= !chunk_index_find(s.index, &id, 0, &location) || location.slot != n % 100;
		}
	return NULL;
}

static void test_flush__goes_on_beside_lookups(void **state)
{
	struct state *s = *state;
	make_runs(s, 1);
	reopen_index(s, 0);
	struct claimer finder = {.index = s->index};
	assert_int_equal(pthread_create(&finder.thread, NULL, run_finder, &finder), 0);
	for (unsigned i = 1; i < 20; i++) {
		add_range(s, i * 200, i * 200 + 200);
		flush(s, i * 2 + 2);
	}
	pthread_join(finder.thread, NULL);
	assert_false(finder.failed);
	assert_int_equal(count_found(s, 0, 4000), 4000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_claim__goes_from_new_to_pending_to_known),
		TEST(test_claim__forgotten_is_new_again),
		TEST(test_add__first_one_stays),
		TEST(test_claim__of_many_threads_gives_each_chunk_to_one),
		TEST(test_flush__survives_reopening),
		TEST(test_flush__with_nothing_new_moves_covered_on),
		TEST(test_claim__of_a_chunk_in_a_run_is_maybe),
		TEST(test_flush__merges_many_runs_and_drops_dead_segments),
		TEST(test_flush__merge_may_leave_nothing),
		TEST(test_flush__merge_keeps_the_newest_of_one_chunk),
		TEST(test_open__damaged_run_ends_what_counts),
		TEST(test_open__missing_run_ends_what_counts),
		TEST(test_open__run_under_a_wrong_name_is_ignored),
		TEST(test_flush__damaged_page_shrinks_the_index),
		TEST(test_flush__damaged_page_found_by_merging_shrinks_the_index),
		TEST(test_flush__removes_leftovers),
		TEST(test_open__hostile_manifest_is_ignored),
		TEST(test_flush__is_safe_at_every_point),
		TEST(test_flush__goes_on_beside_lookups),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
