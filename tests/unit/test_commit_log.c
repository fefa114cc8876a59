/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/commit_log_bench.h"

/* ---- What it is for ---- */

static void test_commit_log__is_empty_at_first(void **state)
{
	struct log_bench *b = *state;
	open_log(b, false);
	const struct log_state *s = commit_log_state(b->log);
	assert_int_equal(s->sequence, 1);
	assert_int_equal(s->next_segment, 1);
	assert_int_equal(s->segment_count + s->saveset_count, 0);
	assert_null(commit_log_segment(b->log, 1));
	assert_string_equal(b->notice, "");
	expect_same_files(b);
}

static void test_commit_log__has_what_was_appended(void **state)
{
	struct log_bench *b = *state;
	open_log(b, true);
	append(b, 1, 3);
	expect_entries(b, 3);
	open_log(b, false);
	expect_entries(b, 3);
	assert_string_equal(b->notice, "");
	assert_int_equal(commit_log_segment(b->log, 2)->file_length, 2000);
	assert_null(commit_log_segment(b->log, 4));
	assert_true(commit_log_state(b->log)->time_unix_s > 1600000000);
}

static void test_commit_log__keeps_segments_by_number_and_savesets_by_commit(void **state)
{
	struct log_bench *b = *state;
	struct segment_info late[] = {segment_of(9), segment_of(4)};
	struct segment_info early = segment_of(2);
	struct log_saveset savesets[] = {saveset_of(8), saveset_of(3)};
	struct err err = {0};
	open_log(b, true);
	assert_int_equal(commit_log_append(b->log, &(struct log_change){late, 2, &savesets[0]}, &err), ERR_OK);
	assert_int_equal(commit_log_append(b->log, &(struct log_change){&early, 1, &savesets[1]}, &err), ERR_OK);
	assert_int_equal(commit_log_append(b->log, &(struct log_change){0}, &err), ERR_OK);
	for (unsigned again = 0; again < 2; again++) {
		const struct log_state *s = commit_log_state(b->log);
		assert_int_equal(s->segments[0].number, 2);
		assert_int_equal(s->segments[1].number, 4);
		assert_int_equal(s->segments[2].number, 9);
		assert_int_equal(s->next_segment, 10);
		assert_memory_equal(s->savesets, savesets, sizeof(savesets));
		open_log(b, false);
	}
}

static void test_commit_log__gives_its_last_entry(void **state)
{
	struct log_bench *b = *state;
	size_t length;
	size_t file_length;
	open_log(b, true);
	append(b, 1, 2);
	uint8_t *file = read_file(b, "log-a", &file_length);
	for (unsigned again = 0; again < 2; again++) {
		const uint8_t *entry = commit_log_last_entry(b->log, &length);
		assert_int_equal(length, LOG_PAGE);
		assert_memory_equal(entry, file + 2 * LOG_PAGE, length);
		open_log(b, false);
	}
	free(file);
}

static void test_commit_log__refuses_a_segment_twice_and_everything_after(void **state)
{
	struct log_bench *b = *state;
	struct err err = {0};
	open_log(b, true);
	append(b, 1, 1);
	assert_int_equal(try_append(b, 1, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.msg, "segment 1 twice"));
	err = (struct err){0};
	assert_int_equal(try_append(b, 2, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.msg, "open the store again"));
	open_log(b, true);
	expect_entries(b, 1);
	append(b, 2, 2);
}

static void test_commit_log__open_for_reading_refuses_to_append(void **state)
{
	struct log_bench *b = *state;
	struct err err = {0};
	open_log(b, false);
	assert_int_equal(try_append(b, 1, &err), ERR_BUG);
	assert_non_null(strstr(err.msg, "reading only"));
}

/* ---- Full files ---- */

static void test_commit_log__starts_over_when_full(void **state)
{
	struct log_bench *b = *state;
	size_t length;
	open_log(b, true);
	for (uint64_t i = 1; i <= 100; i++) {
		append(b, i, i);
		if (i % 7 == 0)
			open_log(b, i % 2);
		if (i % 14 == 7)
			expect_entries(b, i);
		if (i % 7 == 0)
			open_log(b, true);
		assert_string_equal(b->notice, "");
	}
	expect_same_files(b);
	/* A hundred entries of a page; the checkpoints had room without growing. */
	free(read_file(b, "log-a", &length));
	assert_int_equal(length, LOG_SIZE);
}

static void test_commit_log__grows_for_a_large_checkpoint(void **state)
{
	struct log_bench *b = *state;
	size_t length;
	open_log(b, true);
	append(b, 1, 600);
	open_log(b, false);
	expect_entries(b, 600);
	/* 600 segments and savesets are 100 KiB. */
	free(read_file(b, "log-a", &length));
	assert_true(length > LOG_SIZE && length % LOG_PAGE == 0);
	expect_same_files(b);
}

static void test_commit_log__takes_a_change_larger_than_its_files(void **state)
{
	struct log_bench *b = *state;
	enum { COUNT = 2000 };
	struct segment_info *infos = calloc(COUNT, sizeof(*infos));
	struct err err = {0};
	for (uint64_t i = 0; i < COUNT; i++)
		infos[i] = segment_of(i + 1);
	open_log(b, true);
	assert_int_equal(commit_log_append(b->log, &(struct log_change){infos, COUNT, NULL}, &err), ERR_OK);
	open_log(b, true);
	assert_int_equal(commit_log_state(b->log)->segment_count, COUNT);
	assert_memory_equal(commit_log_state(b->log)->segments, infos, COUNT * sizeof(*infos));
	assert_int_equal(commit_log_state(b->log)->sequence, 2);
	free(infos);
}

/* ---- One copy is not whole ---- */

/* Opens for reading, which changes nothing, then for writing, which heals. */
static void expect_served_by_other_copy(struct log_bench *b, unsigned damaged, uint64_t entries, bool told)
{
	open_log(b, false);
	expect_entries(b, entries);
	assert_true(!told || (strstr(b->notice, log_names[damaged]) && strstr(b->notice, "is damaged")));
	assert_null(strstr(b->notice, "written again"));
	open_log(b, true);
	expect_entries(b, entries);
	assert_true(!told || strstr(b->notice, "written again"));
	expect_same_files(b);
	open_log(b, true);
	assert_string_equal(b->notice, "");
	append(b, entries + 1, entries + 1);
	open_log(b, false);
	expect_entries(b, entries + 1);
}

static void test_commit_log__uses_the_other_copy_when_one_is_damaged(void **state)
{
	struct log_bench *b = *state;
	/* In the checkpoint's head, its items, an entry in the middle. A flip in the last entry looks like a crash. */
	static const uint64_t offsets[] = {3, 150, 2 * LOG_PAGE + 40, 2 * LOG_PAGE + 300};
	uint64_t entries = 4;
	open_log(b, true);
	append(b, 1, entries);
	for (unsigned which = 0; which < 2; which++)
		for (unsigned i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
			flip(b, log_names[which], offsets[i]);
			expect_served_by_other_copy(b, which, entries++, true);
		}
	flip(b, log_names[0], entries * LOG_PAGE + 200);
	expect_served_by_other_copy(b, 0, entries++, false);
	flip(b, log_names[1], entries * LOG_PAGE + 200);
	expect_served_by_other_copy(b, 1, entries++, false);
}

static void test_commit_log__uses_the_other_copy_when_one_is_missing(void **state)
{
	struct log_bench *b = *state;
	struct err err = {0};
	open_log(b, true);
	append(b, 1, 2);
	for (unsigned which = 0; which < 2; which++) {
		assert_int_equal(io_remove(b->io, log_names[which], &err), ERR_OK);
		expect_served_by_other_copy(b, which, 2 + which, true);
	}
}

static void test_commit_log__uses_the_other_copy_when_one_is_cut_short(void **state)
{
	struct log_bench *b = *state;
	struct err err = {0};
	static const size_t lengths[] = {0, 100, LOG_PAGE + 5};
	open_log(b, true);
	append(b, 1, 2);
	for (unsigned i = 0; i < 6; i++) {
		size_t length;
		uint8_t *data = read_file(b, log_names[i / 3], &length);
		assert_int_equal(io_write_file(b->io, log_names[i / 3], data, lengths[i % 3], &err), ERR_OK);
		free(data);
		expect_served_by_other_copy(b, i / 3, 2 + i, lengths[i % 3] < LOG_PAGE);
	}
}

static void test_commit_log__uses_the_newer_copy_when_one_is_stale(void **state)
{
	struct log_bench *b = *state;
	struct err err = {0};
	open_log(b, true);
	append(b, 1, 2);
	for (unsigned which = 0; which < 2; which++) {
		size_t length;
		uint8_t *stale = read_file(b, log_names[which], &length);
		uint64_t entries = commit_log_state(b->log)->saveset_count;
		open_log(b, true);
		append(b, entries + 1, entries + 3);
		assert_int_equal(io_write_file(b->io, log_names[which], stale, length, &err), ERR_OK);
		free(stale);
		expect_served_by_other_copy(b, which, entries + 3, false);
		open_log(b, true);
	}
}

static void test_commit_log__does_not_take_the_log_of_another_store(void **state)
{
	struct log_bench *b = *state;
	struct err err = {0};
	struct log_bench other = {.keys = log_bench_keys()};
	assert_int_equal(io_sim_new(6, 0, &other.io, &err), ERR_OK);
	assert_int_equal(commit_log_create(other.io, &other.keys, LOG_SIZE, &err), ERR_OK);
	open_log(&other, true);
	append(&other, 1, 9);
	size_t length;
	uint8_t *foreign = read_file(&other, "log-a", &length);
	commit_log_close(other.log);
	io_free(other.io);

	open_log(b, true);
	append(b, 1, 2);
	assert_int_equal(io_write_file(b->io, "log-a", foreign, length, &err), ERR_OK);
	expect_served_by_other_copy(b, 0, 2, true);
	/* Its entries behind the chain of this one. */
	write_at(b, "log-a", 4 * LOG_PAGE, foreign + 4 * LOG_PAGE, 5 * LOG_PAGE);
	open_log(b, true);
	expect_entries(b, 3);
	assert_int_equal(io_write_file(b->io, "log-a", foreign, length, &err), ERR_OK);
	assert_int_equal(io_write_file(b->io, "log-b", foreign, length, &err), ERR_OK);
	assert_int_equal(try_open(b, true, &err), ERR_CORRUPT);
	free(foreign);
}

static void test_commit_log__does_not_take_its_own_old_entries_again(void **state)
{
	struct log_bench *b = *state;
	size_t length;
	open_log(b, true);
	append(b, 1, 3);
	uint8_t *old = read_file(b, "log-a", &length);
	append(b, 4, 5);
	/* Entry 3 once more, behind entry 5. */
	write_at(b, "log-a", 6 * LOG_PAGE, old + 3 * LOG_PAGE, LOG_PAGE);
	write_at(b, "log-b", 6 * LOG_PAGE, old + 3 * LOG_PAGE, LOG_PAGE);
	free(old);
	open_log(b, true);
	expect_entries(b, 5);
	append(b, 6, 6);
	open_log(b, false);
	expect_entries(b, 6);
}

static void test_commit_log__takes_an_entry_that_reached_one_copy(void **state)
{
	struct log_bench *b = *state;
	struct err err = {0};
	open_log(b, true);
	append(b, 1, 2);
	/* An append writes and syncs the first copy, then the second. */
	io_sim_arm(b->io, 3, IO_SIM_EIO, false);
	assert_int_equal(try_append(b, 3, &err), ERR_IO);
	assert_non_null(strstr(err.msg, "log-b"));
	open_log(b, false);
	expect_entries(b, 3);
	expect_served_by_other_copy(b, 1, 3, false);
}

/* ---- No copy is whole ---- */

static void test_commit_log__says_which_entries_are_lost(void **state)
{
	struct log_bench *b = *state;
	struct err err = {0};
	open_log(b, true);
	append(b, 1, 5);
	flip(b, "log-a", 3 * LOG_PAGE + 50);
	flip(b, "log-b", 3 * LOG_PAGE + 90);
	assert_int_equal(try_open(b, true, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.msg, "entries 4 to 6 are lost"));
	/* Readers get what is left. */
	open_log(b, false);
	assert_int_equal(commit_log_state(b->log)->saveset_count, 2);
	assert_non_null(strstr(b->notice, "entries 4 to 6 are lost"));
}

static void test_commit_log__joins_copies_that_are_damaged_in_different_places(void **state)
{
	struct log_bench *b = *state;
	/* Damaged entries of each copy, up to a page number of 0 behind the first; the checkpoint has page 0. */
	static const unsigned damaged[][2][3] = {
		{{3}, {2}}, {{1, 4}, {2, 5}}, {{0, 2}, {1, 6}}, {{0, 1, 2}, {4, 5, 6}}, {{5}, {0, 3}},
	};
	uint64_t entries = 6;
	open_log(b, true);
	append(b, 1, entries);
	for (unsigned i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++, entries++) {
		for (unsigned which = 0; which < 2; which++)
			for (unsigned k = 0; k < 3 && (k == 0 || damaged[i][which][k]); k++)
				flip(b, log_names[which], damaged[i][which][k] * LOG_PAGE + 50);
		open_log(b, false);
		expect_entries(b, entries);
		assert_non_null(strstr(b->notice, "together they are whole"));
		open_log(b, true);
		expect_entries(b, entries);
		assert_non_null(strstr(b->notice, "both were written again"));
		expect_same_files(b);
		open_log(b, true);
		assert_string_equal(b->notice, "");
		append(b, entries + 1, entries + 1);
	}
}

static void test_commit_log__says_that_nothing_is_left(void **state)
{
	struct log_bench *b = *state;
	open_log(b, true);
	append(b, 1, 2);
	flip(b, "log-a", 20);
	flip(b, "log-b", 20);
	for (unsigned writable = 0; writable < 2; writable++) {
		struct err err = {0};
		assert_int_equal(try_open(b, writable, &err), ERR_CORRUPT);
		assert_non_null(strstr(err.msg, "neither 'log-a' nor 'log-b'"));
	}
}

/* ---- Newer programs ---- */

/* Changes bytes of the last entry of both copies and authenticates it again. */
static void forge_last_entry(struct log_bench *b, uint64_t page, size_t at, uint8_t value)
{
	size_t length;
	uint8_t *data = read_file(b, "log-a", &length);
	uint8_t *entry = data + page * LOG_PAGE;
	struct log_entry_head head;
	struct err err = {0};
	assert_int_equal(log_entry_peek(entry, LOG_PAGE, &b->keys, &head, &err), ERR_OK);
	entry[at] = value;
	struct mac_part parts[] = {{entry, LOG_ENTRY_HEAD - 32}, {entry + LOG_ENTRY_HEAD, head.payload}};
	key_mac(b->keys.auth, parts, 2, entry + LOG_ENTRY_HEAD - 32);
	for (unsigned i = 0; i < 2; i++)
		write_at(b, log_names[i], page * LOG_PAGE, entry, LOG_PAGE);
	free(data);
}

static void test_commit_log__refuses_an_item_that_it_does_not_know(void **state)
{
	struct log_bench *b = *state;
	open_log(b, true);
	append(b, 1, 2);
	forge_last_entry(b, 2, LOG_ENTRY_HEAD, 77);
	for (unsigned writable = 0; writable < 2; writable++) {
		struct err err = {0};
		assert_int_equal(try_open(b, writable, &err), ERR_UNSUPPORTED);
		assert_non_null(strstr(err.msg, "unknown type 77"));
	}
}

static void test_commit_log__refuses_an_entry_of_a_newer_version(void **state)
{
	struct log_bench *b = *state;
	open_log(b, true);
	append(b, 1, 2);
	forge_last_entry(b, 2, 8, 2);
	struct err err = {0};
	assert_int_equal(try_open(b, true, &err), ERR_UNSUPPORTED);
	assert_non_null(strstr(err.msg, "version 2"));
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, log_bench_setup, log_bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOG_TEST(test_commit_log__is_empty_at_first),
		LOG_TEST(test_commit_log__has_what_was_appended),
		LOG_TEST(test_commit_log__keeps_segments_by_number_and_savesets_by_commit),
		LOG_TEST(test_commit_log__gives_its_last_entry),
		LOG_TEST(test_commit_log__refuses_a_segment_twice_and_everything_after),
		LOG_TEST(test_commit_log__open_for_reading_refuses_to_append),
		LOG_TEST(test_commit_log__starts_over_when_full),
		LOG_TEST(test_commit_log__grows_for_a_large_checkpoint),
		LOG_TEST(test_commit_log__takes_a_change_larger_than_its_files),
		LOG_TEST(test_commit_log__uses_the_other_copy_when_one_is_damaged),
		LOG_TEST(test_commit_log__uses_the_other_copy_when_one_is_missing),
		LOG_TEST(test_commit_log__uses_the_other_copy_when_one_is_cut_short),
		LOG_TEST(test_commit_log__uses_the_newer_copy_when_one_is_stale),
		LOG_TEST(test_commit_log__does_not_take_the_log_of_another_store),
		LOG_TEST(test_commit_log__does_not_take_its_own_old_entries_again),
		LOG_TEST(test_commit_log__takes_an_entry_that_reached_one_copy),
		LOG_TEST(test_commit_log__says_which_entries_are_lost),
		LOG_TEST(test_commit_log__joins_copies_that_are_damaged_in_different_places),
		LOG_TEST(test_commit_log__says_that_nothing_is_left),
		LOG_TEST(test_commit_log__refuses_an_item_that_it_does_not_know),
		LOG_TEST(test_commit_log__refuses_an_entry_of_a_newer_version),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
