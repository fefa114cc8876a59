/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_helpers.h"

#define DISK_BYTES (3 * MIB + 5)

static void test_memory_source__reads_what_it_was_given(void **state)
{
	uint8_t *data = malloc(DISK_BYTES);
	uint8_t *got = malloc(DISK_BYTES);
	assert_true(data && got);
	fill_random(data, DISK_BYTES, 1);
	struct block_source *source = NULL;
	struct err err = {0};
	check_ok(memory_source_new("m", data, DISK_BYTES, &source, e));
	read_source(*state, source, true, got, &err);
	assert_int_equal(err.code, ERR_OK);
	assert_memory_equal(got, data, DISK_BYTES);
	block_source_close(source);
	assert_int_equal(memory_source_new("m", data, 0, &source, &err), ERR_INVALID);
	check_error(&err, ERR_INVALID, "'m' is empty");
	free(data);
	free(got);
}

static void test_memory_source__refuses_reads_past_the_end(void **state)
{
	(void)state;
	uint8_t data[512] = {0};
	struct block_source *source = NULL;
	struct block_reader *reader = NULL;
	struct block_read read = {.offset = 256, .length = 257, .data = data};
	check_ok(memory_source_new("m", data, sizeof(data), &source, e));
	check_ok(source->ops->reader_open(source, NULL, 1, &reader, e));
	reader->ops->submit(reader, &read);
	assert_true(read.done);
	check_error(&read.err, ERR_BUG, "past the end");
	reader->ops->close(reader);
	block_source_close(source);
}

static void test_memory_target__holds_what_is_written(void **state)
{
	uint8_t *data = calloc(1, DISK_BYTES);
	uint8_t *got = malloc(DISK_BYTES);
	assert_true(data && got);
	memset(got, 0xAA, DISK_BYTES);
	fill_random(data + MIB, MIB, 2);
	data[DISK_BYTES - 1] = 1;
	struct block_target *target = NULL;
	struct err err = {0};
	check_ok(memory_target_new("m", got, DISK_BYTES, &target, e));
	write_target(*state, target, data, 3, &err);
	check_ok(target->ops->finish(target, e));
	assert_int_equal(err.code, ERR_OK);
	assert_memory_equal(got, data, DISK_BYTES);
	block_target_close(target);
	free(data);
	free(got);
}

static void test_null_target__takes_everything(void **state)
{
	uint8_t *data = malloc(DISK_BYTES);
	assert_non_null(data);
	fill_random(data, DISK_BYTES, 4);
	struct block_target *target = NULL;
	struct err err = {0};
	check_ok(null_target_new("n", DISK_BYTES, &target, e));
	write_target(*state, target, data, 5, &err);
	check_ok(target->ops->finish(target, e));
	assert_int_equal(err.code, ERR_OK);
	block_target_close(target);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_source__reads_what_it_was_given),
		cmocka_unit_test(test_memory_source__refuses_reads_past_the_end),
		cmocka_unit_test(test_memory_target__holds_what_is_written),
		cmocka_unit_test(test_null_target__takes_everything),
	};
	return cmocka_run_group_tests(tests, disk_env_setup, disk_env_teardown);
}
