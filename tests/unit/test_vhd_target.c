/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_helpers.h"

#include "base/endian.h"
#include "ingest/vhd.h"

#include <pthread.h>

static const struct target_options fresh = {.format = "vhd", .overwrite = false};
static const struct target_options overwrite = {.format = "vhd", .overwrite = true};

/* Data in some of the 2 MiB blocks, starting and ending inside 64 KiB blocks, and at the very end. */
static uint8_t *make_disk(uint64_t size, uint64_t seed)
{
	uint8_t *data = calloc(1, size);
	assert_non_null(data);
	for (uint64_t at = 0; at < size; at += 3 * MIB)
		fill_random(data + at, min_u64(test_random(&seed) % (2 << 20), size - at), seed);
	data[size - 1] = 0x77;
	return data;
}

static void write_vhd(struct disk_env *env, const char *path, const uint8_t *data, uint64_t size, uint64_t seed)
{
	struct block_target *target = NULL;
	struct err err = {0};
	check_ok(vhd_target_open(path, &fresh, "disk", size, &target, e));
	assert_false(target->ops->ordered);
	write_target(env, target, data, seed, &err);
	if (err.code != ERR_OK)
		fail_msg("write failed: %s", err.msg);
	check_ok(target->ops->finish(target, e));
	block_target_close(target);
}

/* What qemu-img says the disk's size is. */
static uint64_t qemu_size(const char *path)
{
	char command[512];
	char line[64] = "";
	snprintf(command, sizeof(command),
		 "qemu-img info -f vpc --output=json '%s' | sed -n 's/.*\"virtual-size\": *\\([0-9]*\\).*/\\1/p' | "
		 "tail -1",
		 path);
	FILE *pipe = popen(command, "r");
	assert_non_null(pipe);
	assert_non_null(fgets(line, sizeof(line), pipe));
	assert_int_equal(pclose(pipe), 0);
	return strtoull(line, NULL, 10);
}

/* Sizes that are and are not multiples of a block, of 2 MiB, of a sector. */
static void test_vhd_target__is_what_qemu_and_we_read(void **state)
{
	struct disk_env *env = *state;
	static const uint64_t sizes[] = {1,
					 512,
					 64 * KIB,
					 2 * MIB,
					 2 * MIB + 1,
					 7 * MIB + 3 * 512,
					 20 * MIB + 512,
					 20 * MIB + 64 * KIB + 4096 + 77};
	const char *raw = in_dir(env, "t.raw");
	const char *vhd = in_dir(env, "t.vhd");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t size = sizes[i];
		uint64_t rounded = round_up(size, 512);
		uint8_t *data = make_disk(rounded, i);
		memset(data + size, 0, rounded - size);
		unlink(raw);
		unlink(vhd);
		write_file_at(raw, 0, data, rounded);
		write_vhd(env, vhd, data, size, i);
		assert_int_equal(qemu_size(vhd), rounded);
		shell("qemu-img compare -q -f raw -F vpc '%s' '%s'", raw, vhd);
		struct source_set set = {0};
		check_ok(vhd_source_open(vhd, &set, e));
		assert_false(set.sources[0]->notice_set && strstr(set.sources[0]->notice, "damaged"));
		check_source(env, set.sources[0], data, rounded);
		release_set(&set);
		free(data);
	}
}

struct lane {
	pthread_t thread;
	struct io *io;
	uint8_t *memory;
	struct block_target *target;
	const uint8_t *data;
	unsigned index;
	struct err err;
};

#define LANES 3u

/* Writes every third 256 KiB, so that all lanes meet in every block of the VHD. */
static void write_share(struct lane *lane, struct io_queue *queue)
{
	struct block_writer *writer = NULL;
	const uint64_t step = 256 * KIB;
	uint64_t size = lane->target->size_bytes;
	if (lane->target->ops->writer_open(lane->target, queue, 1, &writer, &lane->err) != ERR_OK)
		return;
	for (uint64_t at = lane->index * step; at < size && lane->err.code == ERR_OK; at += LANES * step) {
		struct block_write write = {
			.offset = at, .length = (uint32_t)min_u64(step, size - at), .data = lane->memory};
		memset(lane->memory, 0, step);
		memcpy(lane->memory, lane->data + at, write.length);
		writer->ops->submit(writer, &write);
		while (!write.done && writer->ops->wait(writer, &lane->err) == ERR_OK)
			;
		if (lane->err.code == ERR_OK)
			lane->err = write.err;
	}
	writer->ops->close(writer);
}

static void *run_lane(void *user)
{
	struct lane *lane = user;
	struct io_queue *queue = NULL;
	if (io_queue_new(lane->io, 4, lane->memory, MIB, &queue, &lane->err) == ERR_OK)
		write_share(lane, queue);
	io_queue_free(queue);
	return NULL;
}

static void test_vhd_target__lanes_share_blocks(void **state)
{
	struct disk_env *env = *state;
	const char *path = in_dir(env, "lanes.vhd");
	const uint64_t size = 11 * MIB + 512;
	uint8_t *data = malloc(size);
	assert_non_null(data);
	fill_random(data, size, 3);
	struct lane lanes[LANES] = {0};
	struct block_target *target = NULL;
	check_ok(vhd_target_open(path, &fresh, "disk", size, &target, e));
	for (unsigned i = 0; i < LANES; i++) {
		lanes[i].index = i;
		lanes[i].target = target;
		lanes[i].data = data;
		lanes[i].io = env->io;
		lanes[i].memory = env->arena + ((size_t)i << 20);
		assert_int_equal(pthread_create(&lanes[i].thread, NULL, run_lane, &lanes[i]), 0);
	}
	for (unsigned i = 0; i < LANES; i++) {
		pthread_join(lanes[i].thread, NULL);
		assert_string_equal(lanes[i].err.msg, "");
	}
	check_ok(target->ops->finish(target, e));
	block_target_close(target);
	struct source_set set = {0};
	check_ok(vhd_source_open(path, &set, e));
	check_source(env, set.sources[0], data, size);
	release_set(&set);
	free(data);
}

/* Large, where the geometry covers less than the disk. */
static void test_vhd_target__keeps_sizes_that_no_geometry_has(void **state)
{
	struct disk_env *env = *state;
	static const uint64_t sizes[] = {5 * GIB + 3 * 512, 130 * GIB + 512, VHD_WRITE_SIZE_MAX};
	uint8_t *block = env->arena;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const char *vhd = in_dir(env, "large.vhd");
		struct block_target *target = NULL;
		struct block_writer *writer = NULL;
		check_ok(vhd_target_open(vhd, &fresh, "disk", sizes[i], &target, e));
		check_ok(target->ops->writer_open(target, env->queue, 1, &writer, e));
		uint64_t last = round_down(sizes[i] - 1, BLOCK_SIZE);
		memset(block, 0, BLOCK_SIZE);
		memset(block, 0x42, 512);
		struct block_write write = {.offset = last, .length = (uint32_t)(sizes[i] - last), .data = block};
		check_ok(writer->ops->zero(writer, 0, last, e));
		writer->ops->submit(writer, &write);
		while (!write.done)
			check_ok(writer->ops->wait(writer, e));
		assert_int_equal(write.err.code, ERR_OK);
		writer->ops->close(writer);
		check_ok(target->ops->finish(target, e));
		block_target_close(target);
		assert_int_equal(qemu_size(vhd), sizes[i]);
		shell("qemu-io -r -f vpc -c 'read -P 0x42 %llu 512' '%s' | grep -q 'read 512/512'",
		      (unsigned long long)last, vhd);
		shell("! qemu-io -r -f vpc -c 'read -P 0x42 %llu 512' '%s' | grep -q 'verification failed'",
		      (unsigned long long)last, vhd);
		struct stat st;
		assert_int_equal(stat(vhd, &st), 0);
		assert_true((uint64_t)st.st_size < 10 * MIB); /* one block and the table */
		unlink(vhd);
	}
}

static void test_vhd_target__has_the_structures_that_xenserver_wants(void **state)
{
	struct disk_env *env = *state;
	const char *path = in_dir(env, "x.vhd");
	uint8_t *data = calloc(1, 9 * MIB);
	assert_non_null(data);
	fill_random(data + 4 * MIB, 4096, 1);
	fill_random(data + 8 * MIB, MIB, 2);
	write_vhd(env, path, data, 9 * MIB, 0);
	uint8_t head[VHD_FOOTER_SIZE + VHD_HEADER_SIZE];
	uint8_t tail[VHD_FOOTER_SIZE];
	uint8_t table[512];
	uint8_t bitmap[512];
	uint64_t size = file_size(path);
	read_file_at(path, 0, head, sizeof(head));
	read_file_at(path, size - 512, tail, sizeof(tail));
	read_file_at(path, 1536, table, sizeof(table));
	assert_memory_equal(head, tail, 512);
	struct vhd_footer footer;
	struct vhd_header header;
	check_ok(vhd_footer_parse(head, "x", &footer, e));
	check_ok(vhd_header_parse(head + 512, &footer, "x", &header, e));
	assert_int_equal(footer.type, VHD_DYNAMIC);
	assert_false(uuid_is_null(&footer.uuid));
	assert_int_not_equal(footer.timestamp, 0);
	assert_int_equal(header.block_bytes, 2u << 20);
	assert_int_equal(header.table_offset, 1536);
	assert_int_equal(header.table_entries, 5);
	/* Blocks 2 and 4 are there, the table is padded with unused entries. */
	for (unsigned i = 0; i < 128; i++) {
		uint32_t sector = be32_get(table + 4 * i);
		assert_int_equal(sector != VHD_UNUSED, i == 2 || i == 4);
		if (sector == VHD_UNUSED)
			continue;
		read_file_at(path, (uint64_t)sector * 512, bitmap, sizeof(bitmap));
		size_t set = i == 4 ? 256 : 512; /* half of the last block is behind the disk's end */
		for (size_t j = 0; j < 512; j++)
			assert_int_equal(bitmap[j], j < set ? 0xFF : 0);
		assert_int_equal((sector + 1) * 512 % 4096, 0);
	}
	free(data);
}

static void test_vhd_target__refuses_what_it_can_not_hold(void **state)
{
	struct disk_env *env = *state;
	const char *path = in_dir(env, "refused.vhd");
	struct block_target *target = NULL;
	struct err err = {0};
	assert_int_equal(vhd_target_open(path, &fresh, "disk", VHD_WRITE_SIZE_MAX + 1, &target, &err), ERR_LIMIT);
	check_error(&err, ERR_LIMIT, "2040 GiB");
	assert_int_not_equal(access(path, F_OK), 0);
	write_file_at(path, 0, "x", 1);
	err = (struct err){0};
	assert_int_equal(vhd_target_open(path, &fresh, "disk", MIB, &target, &err), ERR_EXISTS);
	check_error(&err, ERR_EXISTS, "refused.vhd' exists");
	assert_int_equal(file_size(path), 1);
	check_ok(vhd_target_open(path, &overwrite, "disk", MIB + 1, &target, e));
	assert_true(target->notice_set);
	assert_non_null(strstr(target->notice, "rounded up to 1049088"));
	block_target_close(target);
}

static void test_vhd_target__removes_what_is_not_finished(void **state)
{
	struct disk_env *env = *state;
	const char *path = in_dir(env, "unfinished.vhd");
	struct block_target *target = NULL;
	check_ok(vhd_target_open(path, &fresh, "disk", MIB, &target, e));
	block_target_close(target);
	assert_int_not_equal(access(path, F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vhd_target__is_what_qemu_and_we_read),
		cmocka_unit_test(test_vhd_target__lanes_share_blocks),
		cmocka_unit_test(test_vhd_target__keeps_sizes_that_no_geometry_has),
		cmocka_unit_test(test_vhd_target__has_the_structures_that_xenserver_wants),
		cmocka_unit_test(test_vhd_target__refuses_what_it_can_not_hold),
		cmocka_unit_test(test_vhd_target__removes_what_is_not_finished),
	};
	return cmocka_run_group_tests(tests, disk_env_setup, disk_env_teardown);
}
