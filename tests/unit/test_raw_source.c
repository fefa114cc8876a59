/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_helpers.h"

/* A disk with data, holes and an end that is no multiple of anything. */
static void test_raw_source__reads_a_sparse_image(void **state)
{
	struct disk_env *env = *state;
	const uint64_t size = 5 * MIB + 12345;
	uint8_t *expected = calloc(1, size);
	assert_non_null(expected);
	fill_random(expected, 300000, 1);
	fill_random(expected + 3 * MIB + 4096, 70000, 2);
	fill_random(expected + size - 100, 100, 3);
	const char *path = in_dir(env, "disk.raw");
	write_file_at(path, 0, expected, 300000);
	write_file_at(path, 3 * MIB + 4096, expected + 3 * MIB + 4096, 70000);
	write_file_at(path, size - 100, expected + size - 100, 100);
	struct source_set set = {0};
	check_ok(raw_source_open(path, &set, e));
	assert_int_equal(set.count, 1);
	assert_string_equal(set.sources[0]->name, "disk.raw");
	assert_string_equal(set.sources[0]->ops->format, "raw");
	assert_true(set.sources[0]->data_bytes_hint <= size);
	check_source(env, set.sources[0], expected, size);
	assert_false(set.sources[0]->notice_set && strstr(set.sources[0]->notice, "written to"));
	release_set(&set);
	free(expected);
}

static void test_raw_source__tells_holes(void **state)
{
	struct disk_env *env = *state;
	const char *path = in_dir(env, "hole.raw");
	uint8_t data[4096] = {1};
	write_file_at(path, 64 * MIB, data, sizeof(data));
	assert_int_equal(truncate(path, 128 * MIB), 0);
	struct source_set set = {0};
	struct block_extent extent;
	check_ok(raw_source_open(path, &set, e));
	struct block_source *source = set.sources[0];
	check_ok(source->ops->extent(source, 0, &extent, e));
	assert_true(extent.zero);
	assert_int_equal(extent.offset, 0);
	assert_int_equal(extent.length, 64 * MIB);
	check_ok(source->ops->extent(source, 64 * MIB + 100, &extent, e));
	assert_false(extent.zero);
	check_ok(source->ops->extent(source, 100 * MIB, &extent, e));
	assert_true(extent.zero);
	assert_int_equal(extent.offset + extent.length, 128 * MIB);
	assert_true(source->data_bytes_hint < MIB);
	release_set(&set);
}

static void test_raw_source__refuses_what_is_no_disk(void **state)
{
	struct disk_env *env = *state;
	struct source_set set = {0};
	struct err err = {0};
	assert_int_equal(raw_source_open(in_dir(env, "absent"), &set, &err), ERR_NOT_FOUND);
	check_error(&err, ERR_NOT_FOUND, "/absent'");
	err = (struct err){0};
	assert_int_equal(raw_source_open(env->dir, &set, &err), ERR_INVALID);
	check_error(&err, ERR_INVALID, "neither a file nor a block device");
	err = (struct err){0};
	const char *empty = in_dir(env, "empty");
	write_file_at(empty, 0, "", 0);
	assert_int_equal(raw_source_open(empty, &set, &err), ERR_INVALID);
	check_error(&err, ERR_INVALID, "is empty");
	err = (struct err){0};
	const char *pipe_path = in_dir(env, "pipe");
	assert_int_equal(mkfifo(pipe_path, 0600), 0);
	assert_int_equal(raw_source_open(pipe_path, &set, &err), ERR_INVALID);
	check_error(&err, ERR_INVALID, "/pipe'");
	assert_null(set.sources);
}

static void test_raw_source__fails_when_the_file_shrinks(void **state)
{
	struct disk_env *env = *state;
	const char *path = in_dir(env, "shrinking.raw");
	uint8_t *data = malloc(3 * MIB);
	assert_non_null(data);
	fill_random(data, 3 * MIB, 4);
	write_file_at(path, 0, data, 3 * MIB);
	struct source_set set = {0};
	check_ok(raw_source_open(path, &set, e));
	assert_int_equal(truncate(path, MIB), 0);
	struct err err = {0};
	read_source(env, set.sources[0], false, data, &err);
	check_error(&err, ERR_IO, "shrank while it was read");
	err = (struct err){0};
	assert_int_equal(set.sources[0]->ops->finish(set.sources[0], &err), ERR_IO);
	check_error(&err, ERR_IO, "changed while it was read");
	release_set(&set);
	free(data);
}

static void test_raw_source__notices_writes(void **state)
{
	struct disk_env *env = *state;
	const char *path = in_dir(env, "written.raw");
	uint8_t data[4096] = {1};
	write_file_at(path, 0, data, sizeof(data));
	shell("touch -d @1000000000 '%s'", path);
	struct source_set set = {0};
	check_ok(raw_source_open(path, &set, e));
	write_file_at(path, 0, data, sizeof(data));
	check_ok(set.sources[0]->ops->finish(set.sources[0], e));
	assert_true(set.sources[0]->notice_set);
	assert_non_null(strstr(set.sources[0]->notice, "was written to while it was read"));
	release_set(&set);
}

/* A file system that refuses O_DIRECT, where this machine has one. */
static void test_raw_source__reads_through_the_page_cache_with_a_notice(void **state)
{
	struct disk_env *env = *state;
	char path[] = "/dev/shm/xenolith-test-XXXXXX";
	int fd = mkstemp(path);
	if (fd < 0)
		skip();
	uint8_t *data = malloc(MIB + 77);
	assert_non_null(data);
	fill_random(data, MIB + 77, 5);
	assert_int_equal(write(fd, data, MIB + 77), MIB + 77);
	bool refuses = fcntl(fd, F_SETFL, O_DIRECT) != 0;
	close(fd);
	struct source_set set = {0};
	check_ok(raw_source_open(path, &set, e));
	check_source(env, set.sources[0], data, MIB + 77);
	if (refuses) {
		assert_true(set.sources[0]->notice_set);
		assert_non_null(strstr(set.sources[0]->notice, "does not allow O_DIRECT"));
	}
	release_set(&set);
	unlink(path);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raw_source__reads_a_sparse_image),
		cmocka_unit_test(test_raw_source__tells_holes),
		cmocka_unit_test(test_raw_source__refuses_what_is_no_disk),
		cmocka_unit_test(test_raw_source__fails_when_the_file_shrinks),
		cmocka_unit_test(test_raw_source__notices_writes),
		cmocka_unit_test(test_raw_source__reads_through_the_page_cache_with_a_notice),
	};
	return cmocka_run_group_tests(tests, disk_env_setup, disk_env_teardown);
}
