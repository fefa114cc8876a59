/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_helpers.h"

#include "ingest/stream_target.h"

#include <sys/wait.h>

static const struct target_options no_overwrite = {.format = NULL, .overwrite = false};
static const struct target_options overwrite = {.format = NULL, .overwrite = true};

/* A disk of 4.2 MiB and a few bytes, half of it zero. */
#define DISK_BYTES (4 * MIB + 200 * KIB + 1001)

static uint8_t *make_disk(void)
{
	uint8_t *data = calloc(1, DISK_BYTES);
	assert_non_null(data);
	fill_random(data, 700 * KIB, 1);
	fill_random(data + 2 * MIB, MIB + 64 * KIB, 2);
	fill_random(data + DISK_BYTES - 1001 - 64 * KIB, 1001 + 64 * KIB, 3);
	return data;
}

static void check_file(const char *path, const uint8_t *data)
{
	assert_int_equal(file_size(path), DISK_BYTES);
	uint8_t *got = malloc(DISK_BYTES);
	assert_non_null(got);
	read_file_at(path, 0, got, DISK_BYTES);
	assert_memory_equal(got, data, DISK_BYTES);
	free(got);
}

static void test_file_target__writes_a_sparse_file(void **state)
{
	struct disk_env *env = *state;
	const char *path = in_dir(env, "new.raw");
	uint8_t *data = make_disk();
	struct block_target *target = NULL;
	struct err err = {0};
	check_ok(file_target_open(path, &no_overwrite, "disk", DISK_BYTES, &target, e));
	write_target(env, target, data, 7, &err);
	assert_int_equal(err.code, ERR_OK);
	check_ok(target->ops->finish(target, e));
	block_target_close(target);
	check_file(path, data);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 < 3 * MIB);
	free(data);
}

static void test_file_target__keeps_an_existing_file_unless_told(void **state)
{
	struct disk_env *env = *state;
	const char *path = in_dir(env, "there.raw");
	uint8_t *data = make_disk();
	uint8_t *old = malloc(6 * MIB);
	assert_non_null(old);
	memset(old, 0xAB, 6 * MIB);
	write_file_at(path, 0, old, 6 * MIB);
	struct stat before;
	assert_int_equal(stat(path, &before), 0);
	struct block_target *target = NULL;
	struct err err = {0};
	assert_int_equal(file_target_open(path, &no_overwrite, "disk", DISK_BYTES, &target, &err), ERR_EXISTS);
	check_error(&err, ERR_EXISTS, "--overwrite");
	assert_null(target);
	assert_int_equal(file_size(path), 6 * MIB);
	err = (struct err){0};
	check_ok(file_target_open(path, &overwrite, "disk", DISK_BYTES, &target, e));
	write_target(env, target, data, 0, &err);
	check_ok(target->ops->finish(target, e));
	block_target_close(target);
	check_file(path, data);
	struct stat after;
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	free(old);
	free(data);
}

static void test_file_target__removes_what_it_made_and_did_not_finish(void **state)
{
	struct disk_env *env = *state;
	const char *path = in_dir(env, "failed.raw");
	struct block_target *target = NULL;
	check_ok(file_target_open(path, &no_overwrite, "disk", DISK_BYTES, &target, e));
	assert_int_equal(access(path, F_OK), 0);
	block_target_close(target);
	assert_int_not_equal(access(path, F_OK), 0);
	/* A file that was there before stays, even if incomplete. */
	write_file_at(path, 0, "x", 1);
	check_ok(file_target_open(path, &overwrite, "disk", DISK_BYTES, &target, e));
	block_target_close(target);
	assert_int_equal(access(path, F_OK), 0);
	/* And so does one that somebody else put in its place. */
	assert_int_equal(unlink(path), 0);
	check_ok(file_target_open(path, &no_overwrite, "disk", DISK_BYTES, &target, e));
	assert_int_equal(unlink(path), 0);
	write_file_at(path, 0, "y", 1);
	block_target_close(target);
	assert_int_equal(access(path, F_OK), 0);
}

static void test_file_target__refuses_what_is_no_place_for_a_disk(void **state)
{
	struct disk_env *env = *state;
	struct block_target *target = NULL;
	struct err err = {0};
	assert_int_equal(file_target_open(env->dir, &overwrite, "disk", DISK_BYTES, &target, &err), ERR_INVALID);
	check_error(&err, ERR_INVALID, "neither a file nor a block device");
	err = (struct err){0};
	assert_int_equal(file_target_open("/dev/null", &overwrite, "disk", DISK_BYTES, &target, &err), ERR_INVALID);
	err = (struct err){0};
	assert_int_equal(file_target_open(in_dir(env, "no/such"), &no_overwrite, "disk", DISK_BYTES, &target, &err),
			 ERR_NOT_FOUND);
	check_error(&err, ERR_NOT_FOUND, "no/such");
}

static void test_file_target__says_that_space_ran_out(void **state)
{
	struct disk_env *env = *state;
	/* A tiny file system of our own, where we may mount one. */
	char command[512];
	snprintf(command, sizeof(command),
		 "cd '%s' && mkdir full && truncate -s 24M full.img && mkfs.ext4 -q -F full.img >/dev/null 2>&1 && "
		 "mount -o loop full.img full 2>/dev/null",
		 env->dir);
	if (system(command) != 0)
		skip();
	const uint64_t size = 40 * MIB;
	uint8_t *data = malloc(size);
	assert_non_null(data);
	fill_random(data, size, 9);
	struct block_target *target = NULL;
	struct err err = {0};
	const char *path = in_dir(env, "full/disk.raw");
	check_ok(file_target_open(path, &no_overwrite, "disk", size, &target, e));
	write_target(env, target, data, 0, &err);
	block_target_close(target);
	bool removed = access(path, F_OK) != 0;
	shell("umount '%s/full'", env->dir);
	check_error(&err, ERR_NO_SPACE, "full/disk.raw");
	assert_true(removed);
	free(data);
}

/* Makes a loop device over a file in the test's directory. False where that is not allowed. */
static bool loop_device(const struct disk_env *env, uint64_t bytes, char device[static 64])
{
	char command[512];
	snprintf(command, sizeof(command),
		 "truncate -s %llu '%s/loop.img' && losetup -f --show '%s/loop.img' 2>/dev/null",
		 (unsigned long long)bytes, env->dir, env->dir);
	FILE *pipe = popen(command, "r");
	assert_non_null(pipe);
	bool made = fgets(device, 64, pipe) && device[0] == '/';
	device[strcspn(device, "\n")] = '\0';
	return pclose(pipe) == 0 && made;
}

static void test_file_target__writes_a_block_device(void **state)
{
	struct disk_env *env = *state;
	char device[64];
	if (!loop_device(env, 8 * MIB, device))
		skip();
	uint8_t *data = make_disk();
	uint8_t *old = malloc(8 * MIB);
	assert_non_null(old);
	memset(old, 0xAB, 8 * MIB);
	write_file_at(device, 0, old, 8 * MIB);
	struct block_target *target = NULL;
	struct err err = {0};
	assert_int_equal(file_target_open(device, &no_overwrite, "disk", DISK_BYTES, &target, &err), ERR_EXISTS);
	err = (struct err){0};
	assert_int_equal(file_target_open(device, &overwrite, "disk", 8 * MIB + 1, &target, &err), ERR_NO_SPACE);
	check_error(&err, ERR_NO_SPACE, "8388609");
	check_error(&err, ERR_NO_SPACE, "8388608");
	err = (struct err){0};
	check_ok(file_target_open(device, &overwrite, "disk", DISK_BYTES, &target, e));
	struct block_target *second = NULL;
	assert_int_equal(file_target_open(device, &overwrite, "disk", DISK_BYTES, &second, &err), ERR_BUSY);
	err = (struct err){0};
	write_target(env, target, data, 5, &err);
	check_ok(target->ops->finish(target, e));
	block_target_close(target);
	assert_int_equal(err.code, ERR_OK);
	read_file_at(device, 0, old, 8 * MIB);
	shell("losetup -d %s", device);
	assert_memory_equal(old, data, DISK_BYTES);
	for (size_t i = DISK_BYTES; i < 8 * MIB; i++)
		assert_int_equal(old[i], 0xAB); /* nothing behind the disk was touched */
	free(old);
	free(data);
}

/* Runs the stream target of standard output in a child, so that the test's own output stays. Returns the child's exit
 * code: the err_code of what failed, or 0. */
static int write_stdout_in_child(struct disk_env *env, int fd, const uint8_t *data)
{
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(fd, STDOUT_FILENO);
		struct block_target *target = NULL;
		struct err err = {0};
		enum err_code code = file_target_open("-", &no_overwrite, "disk", DISK_BYTES, &target, &err);
		if (code == ERR_OK && target->ops->ordered)
			write_target(env, target, data, 0, &err);
		if (code == ERR_OK && err.code == ERR_OK)
			code = target->ops->finish(target, &err);
		_exit(err.code != ERR_OK ? (int)err.code : (int)code);
	}
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_file_target__streams_to_standard_output(void **state)
{
	struct disk_env *env = *state;
	const char *path = in_dir(env, "streamed.raw");
	uint8_t *data = make_disk();
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write_stdout_in_child(env, fd, data), 0);
	close(fd);
	check_file(path, data);
	free(data);
}

static void test_stream_target__writes_zeroes_out(void **state)
{
	struct disk_env *env = *state;
	const char *path = in_dir(env, "stream.raw");
	uint8_t *data = make_disk();
	struct block_target *target = NULL;
	struct err err = {0};
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	check_ok(stream_target_new(fd, "the test's file", DISK_BYTES, &target, e));
	assert_true(target->ops->ordered);
	/* Not complete before all is written. */
	assert_int_equal(target->ops->finish(target, &err), ERR_BUG);
	err = (struct err){0};
	write_target(env, target, data, 0, &err);
	assert_int_equal(err.code, ERR_OK);
	check_ok(target->ops->finish(target, e));
	block_target_close(target);
	close(fd);
	check_file(path, data);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= DISK_BYTES - 4096);
	free(data);
}

static void test_stream_target__refuses_to_go_back(void **state)
{
	struct disk_env *env = *state;
	struct block_target *target = NULL;
	struct block_writer *writer = NULL;
	struct err err = {0};
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	check_ok(stream_target_new(fd, "the null device", MIB, &target, e));
	check_ok(target->ops->writer_open(target, env->queue, 1, &writer, e));
	check_ok(writer->ops->zero(writer, 0, 64 * KIB, e));
	assert_int_equal(writer->ops->zero(writer, 0, 64 * KIB, &err), ERR_BUG);
	check_error(&err, ERR_BUG, "at byte 0 while it stands at 65536");
	writer->ops->close(writer);
	block_target_close(target);
	close(fd);
}

/* SIGPIPE would end this program. */
static void test_stream_target__survives_a_reader_that_goes_away(void **state)
{
	struct disk_env *env = *state;
	uint8_t *data = make_disk();
	int ends[2];
	struct block_target *target = NULL;
	struct err err = {0};
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	close(ends[0]);
	check_ok(stream_target_new(ends[1], "the pipe", DISK_BYTES, &target, e));
	write_target(env, target, data, 0, &err);
	check_error(&err, ERR_IO, "the reader of the pipe went away at byte 0");
	block_target_close(target);
	close(ends[1]);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_target__writes_a_sparse_file),
		cmocka_unit_test(test_file_target__keeps_an_existing_file_unless_told),
		cmocka_unit_test(test_file_target__removes_what_it_made_and_did_not_finish),
		cmocka_unit_test(test_file_target__refuses_what_is_no_place_for_a_disk),
		cmocka_unit_test(test_file_target__says_that_space_ran_out),
		cmocka_unit_test(test_file_target__writes_a_block_device),
		cmocka_unit_test(test_file_target__streams_to_standard_output),
		cmocka_unit_test(test_stream_target__writes_zeroes_out),
		cmocka_unit_test(test_stream_target__refuses_to_go_back),
		cmocka_unit_test(test_stream_target__survives_a_reader_that_goes_away),
	};
	return cmocka_run_group_tests(tests, disk_env_setup, disk_env_teardown);
}
