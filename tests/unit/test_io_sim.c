/* SPDX-License-Identifier: Apache-2.0 */
/* What the simulated disk loses, keeps and fails. The contract that it shares with the real one is in test_io.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/io_sim.h"

#define SECTOR 512u
#define SEEDS 200u /* chances below are such that missing an outcome in 200 tries means that it can't happen */

#define assert_ok(call) assert_int_equal((call), ERR_OK)

struct world {
	struct io *io;
	struct err err;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	if (!w || io_sim_new(/* seed= */ 7, /* capacity= */ 0, &w->io, &w->err) != ERR_OK)
		return -1;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	io_free(w->io);
	free(w);
	return 0;
}

/* Replaces the disk by an empty one. */
static void fresh_disk(struct world *w, uint64_t seed, uint64_t capacity)
{
	io_free(w->io);
	w->io = NULL;
	assert_ok(io_sim_new(seed, capacity, &w->io, &w->err));
}

static struct io_file *make_file(struct world *w, const char *path)
{
	struct io_file *file = NULL;
	assert_ok(io_open(w->io, path, IO_READ | IO_WRITE | IO_CREATE, &file, &w->err));
	return file;
}

/* Makes a file of `sectors` sectors full of `byte`, all of it durable. */
static struct io_file *make_durable(struct world *w, const char *path, unsigned sectors, int byte)
{
	uint8_t data[64 * SECTOR];
	struct io_file *file = make_file(w, path);
	assert_ok(io_write(file, 0, memset(data, byte, sizeof(data)), sectors * SECTOR, &w->err));
	assert_ok(io_sync(file, &w->err));
	assert_ok(io_sync_dir(w->io, "", &w->err));
	return file;
}

static bool exists(struct world *w, const char *path)
{
	struct io_file *file = NULL;
	enum err_code code = io_open(w->io, path, IO_READ, &file, NULL);
	io_file_close(file);
	return code == ERR_OK;
}

/* Reads the file, `*length` bytes of at most `room`. */
static void read_all(struct world *w, const char *path, uint8_t *data, size_t room, size_t *length)
{
	struct io_file *file = NULL;
	assert_ok(io_open(w->io, path, IO_READ, &file, &w->err));
	assert_ok(io_read(file, 0, data, room, length, &w->err));
	io_file_close(file);
}

/* --- data at a power cut --- */

static void test_power_cut__never_loses_synced_data(void **state)
{
	struct world *w = *state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		struct io_file *file = make_durable(w, "a", 8, 'd');
		assert_ok(io_write(file, 8 * SECTOR, "more", 4, &w->err));
		io_sim_power_cycle(w->io, seed);
		io_file_close(file);
		uint8_t data[16 * SECTOR];
		size_t length = 0;
		read_all(w, "a", data, sizeof(data), &length);
		assert_true(length >= 8 * SECTOR && length <= 8 * SECTOR + 4);
		for (size_t i = 0; i < 8 * SECTOR; i++)
			assert_int_equal(data[i], 'd');
	}
}

static void test_power_cut__keeps_any_sectors_of_unsynced_data(void **state)
{
	struct world *w = *state;
	unsigned none = 0, all = 0, torn = 0;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		struct io_file *file = make_durable(w, "a", 16, 'd');
		uint8_t data[16 * SECTOR];
		assert_ok(io_write(file, 0, memset(data, 'n', sizeof(data)), sizeof(data), &w->err));
		io_sim_power_cycle(w->io, seed);
		io_file_close(file);
		size_t length = 0, kept = 0;
		read_all(w, "a", data, sizeof(data), &length);
		assert_int_equal(length, sizeof(data));
		for (size_t i = 0; i < 16; i++) {
			uint8_t first = data[i * SECTOR];
			assert_true(first == 'd' || first == 'n');
			for (size_t j = 0; j < SECTOR; j++)
				assert_int_equal(data[i * SECTOR + j], first); /* a sector is not torn */
			kept += first == 'n';
		}
		none += kept == 0;
		all += kept == 16;
		torn += kept > 0 && kept < 16;
	}
	assert_true(none > 0 && all > 0 && torn > 0);
}

static void test_power_cut__keeps_any_version_of_a_sector(void **state)
{
	struct world *w = *state;
	unsigned seen[256] = {0};
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		struct io_file *file = make_durable(w, "a", 1, 'd');
		uint8_t data[SECTOR];
		assert_ok(io_write(file, 0, memset(data, '1', sizeof(data)), sizeof(data), &w->err));
		assert_ok(io_write(file, 0, memset(data, '2', sizeof(data)), sizeof(data), &w->err));
		io_sim_power_cycle(w->io, seed);
		io_file_close(file);
		size_t length = 0;
		read_all(w, "a", data, sizeof(data), &length);
		seen[data[0]]++;
	}
	assert_true(seen['d'] > 0 && seen['1'] > 0 && seen['2'] > 0);
	assert_int_equal(seen['d'] + seen['1'] + seen['2'], SEEDS);
}

static void test_power_cut__keeps_size_and_data_apart(void **state)
{
	struct world *w = *state;
	unsigned old_size = 0, new_size = 0, between = 0, zeroes_in_new = 0;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		struct io_file *file = make_durable(w, "a", 2, 'd');
		uint8_t data[8 * SECTOR];
		assert_ok(io_write(file, 2 * SECTOR, memset(data, 'n', sizeof(data)), 6 * SECTOR, &w->err));
		io_sim_power_cycle(w->io, seed);
		io_file_close(file);
		size_t length = 0;
		read_all(w, "a", data, sizeof(data), &length);
		assert_true(length >= 2 * SECTOR);
		old_size += length == 2 * SECTOR;
		new_size += length == sizeof(data);
		between += length > 2 * SECTOR && length < sizeof(data);
		zeroes_in_new += length == sizeof(data) && memchr(data, 0, length) != NULL;
	}
	assert_true(old_size > 0 && new_size > 0 && between > 0 && zeroes_in_new > 0);
}

static void test_power_cut__leaves_no_old_bytes_beyond_the_end(void **state)
{
	struct world *w = *state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		struct io_file *file = make_durable(w, "a", 1, 'd');
		uint8_t data[4 * SECTOR];
		assert_ok(io_write(file, SECTOR, memset(data, 'n', sizeof(data)), 2 * SECTOR, &w->err));
		io_sim_power_cycle(w->io, seed);
		io_file_close(file);
		size_t length = 0;
		read_all(w, "a", data, sizeof(data), &length);
		assert_ok(io_open(w->io, "a", IO_READ | IO_WRITE, &file, &w->err));
		assert_ok(io_write(file, sizeof(data) - 1, "x", 1, &w->err));
		assert_ok(io_read_exact(file, 0, data, sizeof(data), &w->err));
		for (size_t i = length; i < sizeof(data) - 1; i++)
			assert_int_equal(data[i], 0);
		io_file_close(file);
	}
}

static void test_power_cut__is_the_same_for_the_same_seed(void **state)
{
	struct world *w = *state;
	uint8_t data[2][64 * SECTOR];
	size_t length[2] = {0};
	for (unsigned i = 0; i < 2; i++) {
		fresh_disk(w, 11, 0);
		struct io_file *file = make_durable(w, "a", 64, 'd');
		assert_ok(io_write(file, 0, memset(data[i], 'n', sizeof(data[i])), sizeof(data[i]), &w->err));
		io_sim_power_cycle(w->io, 10);
		io_file_close(file);
		read_all(w, "a", data[i], sizeof(data[i]), &length[i]);
	}
	assert_int_equal(length[0], length[1]);
	assert_memory_equal(data[0], data[1], sizeof(data[0]));
}

static void test_power_cycle__kills_open_files_and_locks(void **state)
{
	struct world *w = *state;
	struct io_file *dead = make_durable(w, "a", 1, 'd'), *alive = NULL;
	assert_ok(io_lock(dead, &w->err));
	io_sim_power_cycle(w->io, 1);
	char in;
	uint64_t size;
	assert_int_equal(io_read_exact(dead, 0, &in, 1, &w->err), ERR_IO);
	assert_string_equal(w->err.msg, "cannot read 1 bytes at offset 0 of 'a': Input/output error");
	assert_int_equal(io_write(dead, 0, "x", 1, NULL), ERR_IO);
	assert_int_equal(io_sync(dead, NULL), ERR_IO);
	assert_int_equal(io_allocate(dead, 1, NULL), ERR_IO);
	assert_int_equal(io_file_size(dead, &size, NULL), ERR_IO);
	assert_int_equal(io_lock(dead, NULL), ERR_IO);
	assert_ok(io_open(w->io, "a", IO_READ | IO_WRITE, &alive, NULL));
	assert_ok(io_lock(alive, NULL));
	io_file_close(dead);
	assert_ok(io_read_exact(alive, 0, &in, 1, NULL));
	io_file_close(alive);
}

/* --- names at a power cut --- */

static void test_power_cut__unsynced_new_name_may_vanish(void **state)
{
	struct world *w = *state;
	unsigned there = 0;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		struct io_file *file = make_file(w, "a");
		assert_ok(io_write(file, 0, "data", 4, &w->err));
		assert_ok(io_sync(file, &w->err)); /* of the data, not of the name */
		io_sim_power_cycle(w->io, seed);
		io_file_close(file);
		if (!exists(w, "a"))
			continue;
		there++;
		uint8_t data[8];
		size_t length = 0;
		read_all(w, "a", data, sizeof(data), &length);
		assert_int_equal(length, 4);
	}
	assert_true(there > 0 && there < SEEDS);
}

static void test_power_cut__synced_names_stay(void **state)
{
	struct world *w = *state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		assert_ok(io_make_dir(w->io, "d", &w->err));
		assert_ok(io_sync_dir(w->io, "", &w->err));
		io_file_close(make_file(w, "d/a"));
		io_file_close(make_file(w, "d/b"));
		assert_ok(io_remove(w->io, "d/b", &w->err));
		assert_ok(io_rename(w->io, "d/a", "d/c", &w->err));
		assert_ok(io_sync_dir(w->io, "d", &w->err));
		io_sim_power_cycle(w->io, seed);
		assert_true(exists(w, "d/c"));
		assert_false(exists(w, "d/a") || exists(w, "d/b"));
	}
}

static void test_power_cut__directory_takes_its_files_along(void **state)
{
	struct world *w = *state;
	unsigned there = 0;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		assert_ok(io_make_dir(w->io, "d", &w->err));
		io_file_close(make_file(w, "d/a"));
		assert_ok(io_sync_dir(w->io, "d", &w->err)); /* but not the root, which has "d" */
		io_sim_power_cycle(w->io, seed);
		there += exists(w, "d/a");
	}
	assert_true(there > 0 && there < SEEDS);
}

static void test_power_cut__rename_is_old_or_new(void **state)
{
	struct world *w = *state;
	unsigned old = 0, new = 0;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		io_file_close(make_durable(w, "a", 1, 'o'));
		io_file_close(make_durable(w, "a.new", 1, 'n'));
		assert_ok(io_rename(w->io, "a.new", "a", &w->err));
		io_sim_power_cycle(w->io, seed);
		uint8_t data[SECTOR];
		size_t length = 0;
		read_all(w, "a", data, sizeof(data), &length);
		assert_int_equal(length, SECTOR);
		assert_int_equal(exists(w, "a.new"), data[0] == 'o');
		old += data[0] == 'o';
		new += data[0] == 'n';
	}
	assert_true(old > 0 && new > 0);
}

static void test_power_cut__move_never_loses_the_file(void **state)
{
	struct world *w = *state;
	unsigned only_old = 0, only_new = 0, both = 0;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		assert_ok(io_make_dir(w->io, "d", &w->err));
		io_file_close(make_durable(w, "a", 1, 'd'));
		assert_ok(io_rename(w->io, "a", "d/a", &w->err));
		io_sim_power_cycle(w->io, seed);
		bool old = exists(w, "a"), new = exists(w, "d/a");
		assert_true(old || new);
		only_old += old && !new;
		only_new += new && !old;
		both += old && new;
	}
	assert_true(only_old > 0 && only_new > 0 && both > 0);
}

static void test_power_cut__move_is_durable_with_its_new_directory(void **state)
{
	struct world *w = *state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		assert_ok(io_make_dir(w->io, "d", &w->err));
		io_file_close(make_durable(w, "a", 1, 'd'));
		assert_ok(io_rename(w->io, "a", "d/a", &w->err));
		bool new_first = seed % 2;
		assert_ok(io_sync_dir(w->io, new_first ? "d" : "", &w->err));
		if (seed % 4 >= 2)
			assert_ok(io_sync_dir(w->io, new_first ? "" : "d", &w->err));
		io_sim_power_cycle(w->io, seed);
		assert_true(exists(w, "d/a"));
		if (!new_first || seed % 4 >= 2)
			assert_false(exists(w, "a"));
	}
}

static void test_power_cut__removed_name_may_come_back(void **state)
{
	struct world *w = *state;
	unsigned back = 0;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		io_file_close(make_durable(w, "a", 1, 'd'));
		assert_ok(io_remove(w->io, "a", &w->err));
		io_sim_power_cycle(w->io, seed);
		back += exists(w, "a");
	}
	assert_true(back > 0 && back < SEEDS);
}

static void test_power_cut__write_file_leaves_old_or_new(void **state)
{
	struct world *w = *state;
	for (uint64_t call = 1; call < 30; call++) {
		for (uint64_t seed = 0; seed < 20; seed++) {
			fresh_disk(w, seed, 0);
			assert_ok(io_write_file(w->io, "conf", "old", 3, &w->err));
			io_sim_arm(w->io, call, seed % 2 ? IO_SIM_CUT_AFTER : IO_SIM_TORN, /* repeat= */ false);
			enum err_code code = io_write_file(w->io, "conf", "newer", 5, NULL);
			io_sim_power_cycle(w->io, seed);
			uint8_t *data = NULL;
			size_t length = 0;
			assert_ok(io_read_file(w->io, "conf", 10, &data, &length, &w->err));
			bool is_old = length == 3 && memcmp(data, "old", 3) == 0;
			bool is_new = length == 5 && memcmp(data, "newer", 5) == 0;
			free(data);
			assert_true(code == ERR_OK ? is_new : is_old || is_new);
			assert_ok(io_write_file(w->io, "conf", "again", 5, &w->err));
		}
	}
}

/* --- queues --- */

struct order {
	unsigned completed[8];
	unsigned count;
};

static void note_order(struct io_op *op)
{
	struct order *order = op->user;
	order->completed[order->count++] = (unsigned)(op->offset / SECTOR);
}

static struct io_op write_op(struct io_file *file, unsigned sector, void *data, struct order *order)
{
	return (struct io_op){
		.kind = IO_OP_WRITE,
		.file = file,
		.offset = (uint64_t)sector * SECTOR,
		.data = data,
		.length = SECTOR,
		.complete = note_order,
		.user = order,
	};
}

static void test_queue__completes_in_any_order(void **state)
{
	struct world *w = *state;
	unsigned first[8] = {0};
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		struct io_file *file = make_file(w, "a");
		struct io_queue *queue = NULL;
		struct order order = {0};
		uint8_t data[SECTOR] = {0};
		struct io_op ops[8];
		assert_ok(io_queue_new(w->io, 8, NULL, 0, &queue, &w->err));
		for (unsigned i = 0; i < 8; i++) {
			ops[i] = write_op(file, i, data, &order);
			io_queue_submit(queue, &ops[i]);
		}
		assert_int_equal(order.count, 0); /* nothing happens before a wait */
		assert_ok(io_queue_wait(queue, 1, &w->err));
		assert_true(order.count >= 1);
		first[order.completed[0]]++;
		io_queue_free(queue);
		assert_int_equal(order.count, 8);
		io_file_close(file);
	}
	for (unsigned i = 0; i < 8; i++)
		assert_true(first[i] > 0);
}

static void test_queue__sync_covers_completed_writes_only(void **state)
{
	struct world *w = *state;
	unsigned lost = 0;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		struct io_file *file = make_durable(w, "a", 2, 'd');
		struct io_queue *queue = NULL;
		struct order order = {0};
		uint8_t data[2][SECTOR];
		memset(data, 'n', sizeof(data));
		assert_ok(io_queue_new(w->io, 8, NULL, 0, &queue, &w->err));
		struct io_op before = write_op(file, 0, data[0], &order);
		io_queue_submit(queue, &before);
		assert_ok(io_queue_wait(queue, 1, &w->err));
		struct io_op beside = write_op(file, 1, data[1], &order);
		struct io_op sync = {.kind = IO_OP_SYNC, .file = file, .complete = note_order, .user = &order};
		io_queue_submit(queue, &beside);
		io_queue_submit(queue, &sync);
		assert_ok(io_queue_wait(queue, 2, &w->err));
		assert_ok(io_op_check(&sync, &w->err));
		io_sim_power_cycle(w->io, seed);
		io_queue_free(queue);
		io_file_close(file);
		size_t length = 0;
		read_all(w, "a", data[0], sizeof(data), &length);
		assert_int_equal(data[0][0], 'n');
		lost += data[1][0] == 'd';
	}
	assert_true(lost > 0 && lost < SEEDS);
}

static void test_queue__write_in_flight_at_the_cut_may_be_there(void **state)
{
	struct world *w = *state;
	unsigned there = 0;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		struct io_file *file = make_durable(w, "a", 1, 'd');
		struct io_queue *queue = NULL;
		struct order order = {0};
		uint8_t data[SECTOR];
		memset(data, 'n', sizeof(data));
		assert_ok(io_queue_new(w->io, 8, NULL, 0, &queue, &w->err));
		struct io_op op = write_op(file, 0, data, &order);
		io_queue_submit(queue, &op);
		io_sim_power_cycle(w->io, seed);
		assert_ok(io_queue_wait(queue, 1, &w->err));
		assert_int_equal(op.result, -EIO);
		io_queue_free(queue);
		io_file_close(file);
		size_t length = 0;
		read_all(w, "a", data, sizeof(data), &length);
		there += data[0] == 'n';
	}
	assert_true(there > 0 && there < SEEDS);
}

static void test_queue__refuses_misaligned_direct_ops(void **state)
{
	struct world *w = *state;
	struct io_file *file = NULL;
	struct io_queue *queue = NULL;
	struct order order = {0};
	uint8_t data[SECTOR];
	assert_ok(io_open(w->io, "a", IO_WRITE | IO_CREATE | IO_DIRECT, &file, &w->err));
	assert_true(file->direct && file->align == IO_ALIGN);
	assert_ok(io_queue_new(w->io, 8, NULL, 0, &queue, &w->err));
	struct io_op op = write_op(file, 0, data, &order);
	io_queue_submit(queue, &op);
	assert_ok(io_queue_wait(queue, 1, &w->err));
	assert_int_equal(op.result, -EINVAL);
	io_queue_free(queue);
	io_file_close(file);
}

/* --- faults --- */

static void test_fault__eio_does_nothing(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_durable(w, "a", 1, 'd');
	io_sim_arm(w->io, 2, IO_SIM_EIO, /* repeat= */ false);
	assert_ok(io_sync(file, &w->err));
	assert_int_equal(io_write(file, 0, "xy", 2, &w->err), ERR_IO);
	assert_string_equal(w->err.msg, "cannot write 2 bytes at offset 0 of 'a': Input/output error");
	assert_ok(io_write(file, 1, "z", 1, NULL));
	assert_int_equal(io_sim_calls(w->io), 3);
	char in[2];
	assert_ok(io_read_exact(file, 0, in, 2, NULL));
	assert_memory_equal(in, "dz", 2);
	io_file_close(file);
}

static void test_fault__repeats_when_told(void **state)
{
	struct world *w = *state;
	io_sim_arm(w->io, 2, IO_SIM_EIO, /* repeat= */ true);
	io_file_close(make_file(w, "a"));
	assert_false(exists(w, "a"));
	assert_int_equal(io_make_dir(w->io, "d", NULL), ERR_IO);
	assert_int_equal(io_sync_dir(w->io, "", NULL), ERR_IO);
	assert_int_equal(io_rename(w->io, "a", "b", NULL), ERR_IO);
	assert_int_equal(io_remove(w->io, "a", NULL), ERR_IO);
	assert_int_equal(io_list(w->io, "", NULL, NULL, NULL), ERR_IO);
	io_sim_arm(w->io, 1, IO_SIM_NONE, /* repeat= */ false);
	assert_true(exists(w, "a"));
}

static void test_fault__counts_writes_only_when_told(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_durable(w, "a", 1, 'd');
	char in;
	io_sim_count_writes_only(w->io, true);
	io_sim_arm(w->io, 1, IO_SIM_EIO, /* repeat= */ false);
	assert_ok(io_read_exact(file, 0, &in, 1, &w->err));
	assert_true(exists(w, "a"));
	assert_int_equal(io_sim_calls(w->io), 0);
	assert_int_equal(io_sync(file, NULL), ERR_IO);
	assert_int_equal(io_sim_calls(w->io), 1);
	io_file_close(file);
}

static void test_fault__enospc_leaves_a_beginning(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_file(w, "a");
	uint8_t data[8 * SECTOR];
	io_sim_arm(w->io, 1, IO_SIM_ENOSPC, /* repeat= */ false);
	assert_int_equal(io_write(file, 0, memset(data, 'n', sizeof(data)), sizeof(data), &w->err), ERR_NO_SPACE);
	assert_string_equal(w->err.msg, "cannot write 4096 bytes at offset 0 of 'a': No space left on device");
	uint64_t size = 0;
	assert_ok(io_file_size(file, &size, NULL));
	assert_true(size < sizeof(data));
	io_sim_arm(w->io, 1, IO_SIM_ENOSPC, /* repeat= */ false);
	assert_int_equal(io_allocate(file, 1000, NULL), ERR_NO_SPACE);
	io_sim_arm(w->io, 1, IO_SIM_ENOSPC, /* repeat= */ false);
	assert_ok(io_sync(file, NULL)); /* needs no room */
	io_file_close(file);
}

static void test_fault__torn_write_ends_the_power(void **state)
{
	struct world *w = *state;
	unsigned part = 0;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		struct io_file *file = make_durable(w, "a", 1, 'd');
		uint8_t data[8 * SECTOR];
		io_sim_arm(w->io, 1, IO_SIM_TORN, /* repeat= */ false);
		assert_int_equal(io_write(file, 0, memset(data, 'n', sizeof(data)), sizeof(data), NULL), ERR_IO);
		assert_false(exists(w, "a"));
		assert_int_equal(io_sync(file, NULL), ERR_IO);
		uint64_t bytes;
		assert_int_equal(io_free_space(w->io, &bytes, NULL), ERR_IO);
		io_sim_power_cycle(w->io, seed);
		io_file_close(file);
		size_t length = 0;
		read_all(w, "a", data, sizeof(data), &length);
		assert_true(length >= SECTOR && length < sizeof(data));
		part += memchr(data, 'n', length) != NULL;
	}
	assert_true(part > 0);
}

static void test_fault__cut_before_does_nothing(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_durable(w, "a", 1, 'd');
	io_sim_arm(w->io, 1, IO_SIM_CUT_BEFORE, /* repeat= */ false);
	assert_int_equal(io_remove(w->io, "a", NULL), ERR_IO);
	assert_int_equal(io_sync_dir(w->io, "", NULL), ERR_IO);
	io_sim_power_cycle(w->io, 1);
	io_file_close(file);
	assert_true(exists(w, "a"));
}

static void test_fault__cut_after_sync_keeps_the_data(void **state)
{
	struct world *w = *state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		struct io_file *file = make_durable(w, "a", 1, 'd');
		assert_ok(io_write(file, 0, "new", 3, &w->err));
		io_sim_arm(w->io, 1, IO_SIM_CUT_AFTER, /* repeat= */ false);
		assert_int_equal(io_sync(file, NULL), ERR_IO);
		io_sim_power_cycle(w->io, seed);
		io_file_close(file);
		uint8_t data[SECTOR];
		size_t length = 0;
		read_all(w, "a", data, sizeof(data), &length);
		assert_memory_equal(data, "new", 3);
	}
}

static void test_fault__lost_sync_drops_what_was_pending(void **state)
{
	struct world *w = *state;
	unsigned lost = 0;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		fresh_disk(w, seed, 0);
		struct io_file *file = make_durable(w, "a", 1, 'd');
		assert_ok(io_write(file, 0, "new", 3, &w->err));
		io_sim_arm(w->io, 1, IO_SIM_LOST_SYNC, /* repeat= */ false);
		struct err err = {0};
		assert_int_equal(io_sync(file, &err), ERR_IO);
		assert_string_equal(err.msg, "cannot sync 'a': Input/output error");
		assert_ok(io_sync(file, &w->err)); /* and a second one looks as if all were well */
		io_sim_power_cycle(w->io, seed);
		io_file_close(file);
		uint8_t data[SECTOR];
		size_t length = 0;
		read_all(w, "a", data, sizeof(data), &length);
		lost += data[0] == 'd';
	}
	assert_true(lost > SEEDS / 4);
}

/* A run of all kinds of calls; false as soon as one fails. */
static bool run_all_calls(struct world *w)
{
	struct io_file *file = NULL;
	struct io_queue *queue = NULL;
	struct order order = {0};
	uint8_t data[SECTOR] = {0}, *read = NULL;
	size_t length = 0;
	bool ok = io_make_dir(w->io, "d", NULL) == ERR_OK && io_sync_dir(w->io, "", NULL) == ERR_OK &&
		  io_write_file(w->io, "d/conf", "data", 4, NULL) == ERR_OK &&
		  io_read_file(w->io, "d/conf", 9, &read, &length, NULL) == ERR_OK &&
		  io_open(w->io, "d/a", IO_WRITE | IO_CREATE, &file, NULL) == ERR_OK &&
		  io_allocate(file, 8 * SECTOR, NULL) == ERR_OK &&
		  io_queue_new(w->io, 4, NULL, 0, &queue, NULL) == ERR_OK;
	free(read);
	for (unsigned i = 0; ok && i < 3; i++) {
		struct io_op op = write_op(file, i, data, &order);
		op.kind = i == 2 ? IO_OP_SYNC : IO_OP_WRITE;
		io_queue_submit(queue, &op);
		ok = io_queue_wait(queue, 1, NULL) == ERR_OK && io_op_check(&op, NULL) == ERR_OK;
	}
	io_queue_free(queue);
	io_file_close(file);
	return ok && io_rename(w->io, "d/a", "d/b", NULL) == ERR_OK && io_remove(w->io, "d/b", NULL) == ERR_OK &&
	       io_sync_dir(w->io, "d", NULL) == ERR_OK;
}

static void test_fault__every_kind_at_every_call(void **state)
{
	struct world *w = *state;
	assert_true(run_all_calls(w));
	uint64_t calls = io_sim_calls(w->io);
	assert_true(calls > 15);
	for (enum io_sim_fault fault = IO_SIM_EIO; fault <= IO_SIM_LOST_SYNC; fault++) {
		unsigned failed = 0;
		for (uint64_t call = 1; call <= calls; call++) {
			fresh_disk(w, call, 0);
			io_sim_arm(w->io, call, fault, /* repeat= */ true);
			failed += !run_all_calls(w);
			io_sim_power_cycle(w->io, call);
			/* The faults are disarmed and the disk works. */
			if (exists(w, "d/a"))
				assert_ok(io_remove(w->io, "d/a", &w->err));
			assert_true(run_all_calls(w));
		}
		if (fault != IO_SIM_ENOSPC && fault != IO_SIM_LOST_SYNC)
			assert_int_equal(failed, calls);
		assert_true(failed > 0);
	}
}

/* --- the rest --- */

static void test_capacity__is_kept(void **state)
{
	struct world *w = *state;
	fresh_disk(w, 1, /* capacity= */ 10000);
	struct io_file *a = make_file(w, "a"), *b = make_file(w, "b");
	uint8_t data[6000] = {0};
	uint64_t bytes = 0;
	assert_ok(io_write(a, 0, data, 6000, &w->err));
	assert_int_equal(io_write(b, 0, data, 4001, &w->err), ERR_NO_SPACE);
	assert_ok(io_write(b, 0, data, 1000, NULL));
	assert_int_equal(io_allocate(b, 4001, NULL), ERR_NO_SPACE);
	assert_ok(io_allocate(b, 4000, NULL));
	assert_ok(io_free_space(w->io, &bytes, NULL));
	assert_int_equal(bytes, 0);
	assert_ok(io_write(b, 0, data, 4000, NULL)); /* into the reserved room */
	assert_ok(io_write(a, 0, data, 6000, NULL)); /* over what is there */
	assert_ok(io_sync_dir(w->io, "", NULL));
	assert_ok(io_remove(w->io, "a", NULL));
	assert_ok(io_free_space(w->io, &bytes, NULL));
	assert_int_equal(bytes, 0); /* still open */
	io_file_close(a);
	assert_ok(io_free_space(w->io, &bytes, NULL));
	assert_int_equal(bytes, 6000);
	io_sim_power_cycle(w->io, 1);
	io_file_close(b);
	assert_ok(io_free_space(w->io, &bytes, NULL));
	assert_true(bytes >= 6000 || exists(w, "a"));
}

static void test_clone__is_independent(void **state)
{
	struct world *w = *state;
	assert_ok(io_make_dir(w->io, "d", &w->err));
	struct io_file *file = make_file(w, "d/a");
	assert_ok(io_write(file, 40000, "one", 3, &w->err));
	struct world copy = {0};
	assert_ok(io_sim_clone(w->io, &copy.io, &w->err));
	assert_ok(io_write(file, 40000, "two", 3, &w->err));
	io_file_close(file);
	assert_ok(io_remove(w->io, "d/a", &w->err));
	for (uint64_t seed = 0; seed < 20; seed++)
		io_sim_power_cycle(copy.io, seed); /* what the copy has is durable */
	assert_ok(io_open(copy.io, "d/a", IO_READ, &file, &w->err));
	char in[3];
	assert_ok(io_read_exact(file, 40000, in, 3, &w->err));
	assert_memory_equal(in, "one", 3);
	io_file_close(file);
	io_free(copy.io);
	assert_false(exists(w, "d/a"));
}

static void test_flip__changes_one_bit(void **state)
{
	struct world *w = *state;
	io_file_close(make_durable(w, "a", 1, 'd'));
	assert_ok(io_sim_flip(w->io, "a", 100, 3, &w->err));
	uint8_t data[SECTOR], expected[SECTOR];
	size_t length = 0;
	read_all(w, "a", data, sizeof(data), &length);
	memset(expected, 'd', sizeof(expected));
	expected[100] = 'd' ^ 8;
	assert_memory_equal(data, expected, SECTOR);
	assert_int_equal(io_sim_flip(w->io, "a", SECTOR, 0, &w->err), ERR_NOT_FOUND);
	assert_string_equal(w->err.msg, "cannot flip a bit at offset 512 of 'a': No such file or directory");
	assert_int_equal(io_sim_flip(w->io, "b", 0, 0, NULL), ERR_NOT_FOUND);
}

static void test_rename__keeps_directories_sound(void **state)
{
	struct world *w = *state;
	assert_ok(io_make_dir(w->io, "a", &w->err));
	assert_ok(io_make_dir(w->io, "a/b", &w->err));
	assert_int_equal(io_rename(w->io, "a", "a/b/c", NULL), ERR_IO);
	assert_int_equal(io_rename(w->io, "a/b", "b", &w->err), ERR_IO);
	assert_int_equal(w->err.os_errno, EXDEV);
	assert_ok(io_rename(w->io, "a", "z", NULL));
	io_file_close(make_file(w, "z/b/c"));
	assert_ok(io_rename(w->io, "z/b/c", "z/b/c", NULL));
	assert_true(exists(w, "z/b/c"));
}

/* Writes, syncs and renames in a file of its own. */
static void *work(void *user)
{
	struct io *io = user;
	static unsigned next;
	char path[16], moved[16];
	unsigned number = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);
	snprintf(path, sizeof(path), "t%u", number);
	snprintf(moved, sizeof(moved), "m%u", number);
	for (unsigned i = 0; i < 50; i++) {
		struct io_file *file = NULL;
		struct io_queue *queue = NULL;
		struct order order = {0};
		uint8_t data[SECTOR] = {0};
		if (io_open(io, path, IO_WRITE | IO_CREATE, &file, NULL) != ERR_OK ||
		    io_queue_new(io, 2, NULL, 0, &queue, NULL) != ERR_OK)
			return NULL;
		struct io_op ops[2] = {write_op(file, 0, data, &order), write_op(file, 1, data, &order)};
		io_queue_submit(queue, &ops[0]);
		io_queue_submit(queue, &ops[1]);
		io_queue_free(queue);
		bool ok = ops[0].result == SECTOR && io_sync(file, NULL) == ERR_OK;
		io_file_close(file);
		if (!ok || io_rename(io, path, moved, NULL) != ERR_OK || io_remove(io, moved, NULL) != ERR_OK)
			return NULL;
	}
	return io;
}

static void test_threads__may_share_a_disk(void **state)
{
	struct world *w = *state;
	pthread_t threads[4];
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, w->io), 0);
	for (unsigned i = 0; i < 4; i++) {
		void *result = NULL;
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_ptr_equal(result, w->io);
	}
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_power_cut__never_loses_synced_data),
		TEST(test_power_cut__keeps_any_sectors_of_unsynced_data),
		TEST(test_power_cut__keeps_any_version_of_a_sector),
		TEST(test_power_cut__keeps_size_and_data_apart),
		TEST(test_power_cut__leaves_no_old_bytes_beyond_the_end),
		TEST(test_power_cut__is_the_same_for_the_same_seed),
		TEST(test_power_cycle__kills_open_files_and_locks),
		TEST(test_power_cut__unsynced_new_name_may_vanish),
		TEST(test_power_cut__synced_names_stay),
		TEST(test_power_cut__directory_takes_its_files_along),
		TEST(test_power_cut__rename_is_old_or_new),
		TEST(test_power_cut__move_never_loses_the_file),
		TEST(test_power_cut__move_is_durable_with_its_new_directory),
		TEST(test_power_cut__removed_name_may_come_back),
		TEST(test_power_cut__write_file_leaves_old_or_new),
		TEST(test_queue__completes_in_any_order),
		TEST(test_queue__sync_covers_completed_writes_only),
		TEST(test_queue__write_in_flight_at_the_cut_may_be_there),
		TEST(test_queue__refuses_misaligned_direct_ops),
		TEST(test_fault__eio_does_nothing),
		TEST(test_fault__repeats_when_told),
		TEST(test_fault__counts_writes_only_when_told),
		TEST(test_fault__enospc_leaves_a_beginning),
		TEST(test_fault__torn_write_ends_the_power),
		TEST(test_fault__cut_before_does_nothing),
		TEST(test_fault__cut_after_sync_keeps_the_data),
		TEST(test_fault__lost_sync_drops_what_was_pending),
		TEST(test_fault__every_kind_at_every_call),
		TEST(test_capacity__is_kept),
		TEST(test_clone__is_independent),
		TEST(test_flip__changes_one_bit),
		TEST(test_rename__keeps_directories_sound),
		TEST(test_threads__may_share_a_disk),
	};
	return cmocka_run_group_tests_name("io_sim", tests, NULL, NULL);
}
