/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of store/io.h: every test here runs on the real implementation and on the simulated disk. What only one
 * of them does is tested at the end (io_uring) and in test_io_sim.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/io.h"
#include "store/io_sim.h"
#include "store/io_uring.h"

struct world {
	struct io *io;
	char dir[256]; /* of the real tree; "" for the simulated disk */
	bool is_sim;
	struct err err;
	uint8_t *arena;
};

#define ARENA_SIZE (64u * IO_ALIGN)

static int world_setup(void **state, bool is_sim)
{
	struct world *w = calloc(1, sizeof(*w));
	if (!w)
		return -1;
	*state = w;
	w->is_sim = is_sim;
	w->arena = aligned_alloc(IO_ALIGN, ARENA_SIZE);
	if (!w->arena)
		return -1;
	memset(w->arena, 0, ARENA_SIZE);
	if (is_sim)
		return io_sim_new(/* seed= */ 1, /* capacity= */ 0, &w->io, &w->err) == ERR_OK ? 0 : -1;
	const char *parent = getenv("TMPDIR");
	snprintf(w->dir, sizeof(w->dir), "%s/xenolith-io-XXXXXX", parent && parent[0] ? parent : "/tmp");
	if (!mkdtemp(w->dir))
		return -1;
	return io_uring_tree_new(w->dir, /* create= */ false, &w->io, &w->err) == ERR_OK ? 0 : -1;
}

static int setup_real(void **state)
{
	return world_setup(state, /* is_sim= */ false);
}

static int setup_sim(void **state)
{
	return world_setup(state, /* is_sim= */ true);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path);
}

static int teardown(void **state)
{
	struct world *w = *state;
	io_free(w->io);
	if (w->dir[0])
		nftw(w->dir, remove_entry, /* nopenfd= */ 8, FTW_DEPTH | FTW_PHYS);
	free(w->arena);
	free(w);
	return 0;
}

#define assert_ok(call) assert_int_equal((call), ERR_OK)

static struct io_file *make_file(struct world *w, const char *path, unsigned flags)
{
	struct io_file *file = NULL;
	assert_ok(io_open(w->io, path, IO_READ | IO_WRITE | IO_CREATE | flags, &file, &w->err));
	return file;
}

static void fill(uint8_t *data, size_t length, unsigned seed)
{
	for (size_t i = 0; i < length; i++)
		data[i] = (uint8_t)(seed * 37 + i * 7 + (i >> 9));
}

/* --- files and names --- */

static void test_open__missing_file_is_not_found(void **state)
{
	struct world *w = *state;
	struct io_file *file = NULL;
	assert_int_equal(io_open(w->io, "absent", IO_READ, &file, &w->err), ERR_NOT_FOUND);
	assert_null(file);
	assert_string_equal(w->err.msg, "cannot open 'absent': No such file or directory");
}

static void test_open__create_refuses_existing_file(void **state)
{
	struct world *w = *state;
	struct io_file *again = NULL;
	io_file_close(make_file(w, "a", 0));
	assert_int_equal(io_open(w->io, "a", IO_WRITE | IO_CREATE, &again, &w->err), ERR_EXISTS);
	assert_string_equal(w->err.msg, "cannot open 'a': File exists");
}

static void test_open__refuses_directory(void **state)
{
	struct world *w = *state;
	struct io_file *file = NULL;
	assert_ok(io_make_dir(w->io, "d", &w->err));
	assert_int_equal(io_open(w->io, "d", IO_READ, &file, &w->err), ERR_IO);
	assert_string_equal(w->err.msg, "cannot open 'd': Is a directory");
}

static void test_path__refuses_what_leaves_the_tree(void **state)
{
	struct world *w = *state;
	static const char *const bad[] = {"",     "/etc/passwd", "..",   "../x", "a/../../x",
					  "a/..", "./a",         "a//b", "a/",   "a/."};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct io_file *file = NULL;
		struct err err = {0};
		assert_int_equal(io_open(w->io, bad[i], IO_READ, &file, &err), ERR_INVALID);
		char expected[128];
		snprintf(expected, sizeof(expected), "path '%s' is not a plain path inside the store", bad[i]);
		assert_string_equal(err.msg, expected);
		assert_int_equal(io_remove(w->io, bad[i], NULL), ERR_INVALID);
		assert_int_equal(io_rename(w->io, "a", bad[i], NULL), ERR_INVALID);
		assert_int_equal(io_rename(w->io, bad[i], "a", NULL), ERR_INVALID);
		assert_int_equal(io_make_dir(w->io, bad[i], NULL), ERR_INVALID);
	}
	struct io_file *file = make_file(w, "..a", 0);
	io_file_close(file);
}

static void test_open__needs_a_direction(void **state)
{
	struct world *w = *state;
	struct io_file *file = NULL;
	assert_int_equal(io_open(w->io, "a", IO_CREATE, &file, &w->err), ERR_BUG);
}

static void test_file__reads_back_what_was_written(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_file(w, "a", 0);
	uint8_t out[70001], in[70001];
	fill(out, sizeof(out), 1);
	assert_ok(io_write(file, 0, out, sizeof(out), &w->err));
	assert_ok(io_write(file, 1000, out, 5, &w->err));
	memcpy(out + 1000, out, 5);
	assert_ok(io_sync(file, &w->err));
	uint64_t size = 0;
	assert_ok(io_file_size(file, &size, &w->err));
	assert_int_equal(size, sizeof(out));
	assert_ok(io_read_exact(file, 0, in, sizeof(in), &w->err));
	assert_memory_equal(in, out, sizeof(in));
	assert_ok(io_read_exact(file, 16380, in, 9, &w->err));
	assert_memory_equal(in, out + 16380, 9);
	io_file_close(file);
}

static void test_file__hole_reads_as_zeroes(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_file(w, "a", 0);
	uint8_t in[100], zeroes[99] = {0};
	assert_ok(io_write(file, 100000, "x", 1, &w->err));
	assert_ok(io_read_exact(file, 100000 - 99, in, 100, &w->err));
	assert_memory_equal(in, zeroes, 99);
	assert_int_equal(in[99], 'x');
	io_file_close(file);
}

static void test_read__is_short_at_the_end_only(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_file(w, "a", 0);
	char in[16];
	size_t got = 99;
	assert_ok(io_write(file, 0, "hello", 5, &w->err));
	assert_ok(io_read(file, 2, in, sizeof(in), &got, &w->err));
	assert_int_equal(got, 3);
	assert_memory_equal(in, "llo", 3);
	assert_ok(io_read(file, 5, in, sizeof(in), &got, &w->err));
	assert_int_equal(got, 0);
	assert_ok(io_read(file, 1u << 30, in, sizeof(in), &got, &w->err));
	assert_int_equal(got, 0);
	assert_int_equal(io_read_exact(file, 2, in, 4, &w->err), ERR_CORRUPT);
	assert_string_equal(w->err.msg, "'a' is truncated: 3 of 4 bytes at offset 2 are there");
	io_file_close(file);
}

static void test_transfer__refuses_impossible_offsets(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_file(w, "a", 0);
	char byte = 0;
	size_t got = 0;
	assert_int_equal(io_read(file, UINT64_MAX, &byte, 1, &got, NULL), ERR_INVALID);
	assert_int_equal(io_write(file, INT64_MAX, &byte, 1, NULL), ERR_INVALID);
	assert_int_equal(io_allocate(file, UINT64_MAX, &w->err), ERR_INVALID);
	assert_string_equal(w->err.msg, "cannot reserve 18446744073709551615 bytes for 'a': no file is that large");
	io_file_close(file);
}

static void test_write__needs_a_file_opened_for_it(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_file(w, "a", 0);
	io_file_close(file);
	assert_ok(io_open(w->io, "a", IO_READ, &file, &w->err));
	assert_int_equal(io_write(file, 7, "x", 1, &w->err), ERR_IO);
	assert_int_equal(w->err.os_errno, EBADF);
	assert_string_equal(w->err.msg, "cannot write 1 bytes at offset 7 of 'a': Bad file descriptor");
	io_file_close(file);
}

static void test_allocate__keeps_the_size(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_file(w, "a", 0);
	uint64_t size = 99;
	assert_ok(io_allocate(file, 1u << 20, &w->err));
	assert_ok(io_allocate(file, 0, &w->err));
	assert_ok(io_file_size(file, &size, &w->err));
	assert_int_equal(size, 0);
	io_file_close(file);
}

static void test_rename__replaces_the_target(void **state)
{
	struct world *w = *state;
	struct io_file *old = make_file(w, "a", 0);
	struct io_file *new = make_file(w, "b", 0);
	assert_ok(io_write(old, 0, "old", 3, &w->err));
	assert_ok(io_write(new, 0, "new!", 4, &w->err));
	assert_ok(io_rename(w->io, "b", "a", &w->err));
	assert_ok(io_sync_dir(w->io, "", &w->err));
	char in[4];
	assert_ok(io_read_exact(old, 0, in, 3, &w->err)); /* still open, and still itself */
	assert_memory_equal(in, "old", 3);
	io_file_close(old);
	io_file_close(new);
	struct io_file *file = NULL;
	assert_int_equal(io_open(w->io, "b", IO_READ, &file, NULL), ERR_NOT_FOUND);
	assert_ok(io_open(w->io, "a", IO_READ, &file, &w->err));
	assert_ok(io_read_exact(file, 0, in, 4, &w->err));
	assert_memory_equal(in, "new!", 4);
	io_file_close(file);
	assert_int_equal(io_rename(w->io, "b", "c", &w->err), ERR_NOT_FOUND);
	assert_string_equal(w->err.msg, "cannot rename 'b' to 'c': No such file or directory");
}

static void test_rename__moves_between_directories(void **state)
{
	struct world *w = *state;
	assert_ok(io_make_dir(w->io, "x", &w->err));
	assert_ok(io_make_dir(w->io, "y", &w->err));
	io_file_close(make_file(w, "x/a", 0));
	assert_ok(io_rename(w->io, "x/a", "y/b", &w->err));
	struct io_file *file = NULL;
	assert_int_equal(io_open(w->io, "x/a", IO_READ, &file, NULL), ERR_NOT_FOUND);
	assert_ok(io_open(w->io, "y/b", IO_READ, &file, &w->err));
	io_file_close(file);
	assert_ok(io_sync_dir(w->io, "y", &w->err));
	assert_ok(io_sync_dir(w->io, "x", &w->err));
	assert_int_equal(io_rename(w->io, "y/b", "z/b", &w->err), ERR_NOT_FOUND);
}

static void test_remove__takes_the_name(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_file(w, "a", 0);
	assert_ok(io_write(file, 0, "x", 1, &w->err));
	assert_ok(io_remove(w->io, "a", &w->err));
	char in = 0;
	assert_ok(io_read_exact(file, 0, &in, 1, &w->err)); /* the file lives as long as it is open */
	io_file_close(file);
	assert_int_equal(io_remove(w->io, "a", &w->err), ERR_NOT_FOUND);
	assert_string_equal(w->err.msg, "cannot remove 'a': No such file or directory");
	io_file_close(make_file(w, "a", 0));
}

static void test_remove__refuses_directory(void **state)
{
	struct world *w = *state;
	assert_ok(io_make_dir(w->io, "d", &w->err));
	assert_int_equal(io_remove(w->io, "d", &w->err), ERR_IO);
	assert_int_equal(w->err.os_errno, EISDIR);
}

static void test_make_dir__is_content_with_an_existing_one(void **state)
{
	struct world *w = *state;
	assert_ok(io_make_dir(w->io, "d", &w->err));
	assert_ok(io_make_dir(w->io, "d", &w->err));
	assert_ok(io_make_dir(w->io, "d/e", &w->err));
	io_file_close(make_file(w, "f", 0));
	assert_int_equal(io_make_dir(w->io, "f", NULL), ERR_EXISTS);
	assert_int_equal(io_make_dir(w->io, "f/g", NULL), ERR_NOT_FOUND); /* ENOTDIR */
	assert_int_equal(io_make_dir(w->io, "g/h", &w->err), ERR_NOT_FOUND);
	assert_string_equal(w->err.msg, "cannot make directory 'g/h': No such file or directory");
	assert_int_equal(io_sync_dir(w->io, "g", NULL), ERR_NOT_FOUND);
}

struct listing {
	unsigned seen[4];
	unsigned count;
};

static enum err_code note_name(void *user, const char *name, struct err *err)
{
	struct listing *listing = user;
	static const char *const known[] = {"one", "two", "three", "dir"};
	if (strcmp(name, "stop") == 0)
		return err_set(err, ERR_CANCELLED, 0, "told to stop");
	listing->count++;
	for (size_t i = 0; i < 4; i++)
		listing->seen[i] += strcmp(name, known[i]) == 0;
	return ERR_OK;
}

static void test_list__gives_each_entry_once(void **state)
{
	struct world *w = *state;
	struct listing listing = {0};
	assert_ok(io_make_dir(w->io, "d", &w->err));
	io_file_close(make_file(w, "d/one", 0));
	io_file_close(make_file(w, "d/gone", 0));
	io_file_close(make_file(w, "d/two", 0));
	io_file_close(make_file(w, "d/was-three", 0));
	assert_ok(io_make_dir(w->io, "d/dir", &w->err));
	assert_ok(io_remove(w->io, "d/gone", &w->err));
	assert_ok(io_rename(w->io, "d/was-three", "d/three", &w->err));
	assert_ok(io_list(w->io, "d", note_name, &listing, &w->err));
	assert_int_equal(listing.count, 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(listing.seen[i], 1);
	listing = (struct listing){0};
	assert_ok(io_list(w->io, "", note_name, &listing, &w->err));
	assert_int_equal(listing.count, 1);
	assert_int_equal(io_list(w->io, "absent", note_name, &listing, NULL), ERR_NOT_FOUND);
	io_file_close(make_file(w, "d/stop", 0));
	assert_int_equal(io_list(w->io, "d", note_name, &listing, &w->err), ERR_CANCELLED);
	assert_string_equal(w->err.msg, "told to stop");
}

static void test_lock__is_held_by_one_open_file(void **state)
{
	struct world *w = *state;
	struct io_file *first = make_file(w, "lock", 0), *second = NULL;
	assert_ok(io_open(w->io, "lock", IO_READ | IO_WRITE, &second, &w->err));
	assert_ok(io_lock(first, &w->err));
	assert_ok(io_lock(first, &w->err));
	assert_int_equal(io_lock(second, &w->err), ERR_BUSY);
	assert_string_equal(w->err.msg, "'lock' is locked by another process");
	io_file_close(first);
	assert_ok(io_lock(second, NULL));
	io_file_close(second);
}

static void test_lock__needs_a_file_opened_for_writing(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_file(w, "lock", 0);
	io_file_close(file);
	assert_ok(io_open(w->io, "lock", IO_READ, &file, &w->err));
	assert_int_equal(io_lock(file, &w->err), ERR_IO);
	assert_string_equal(w->err.msg, "cannot lock 'lock': Bad file descriptor");
	io_file_close(file);
}

static void test_free_space__is_known(void **state)
{
	struct world *w = *state;
	uint64_t bytes = 0;
	assert_ok(io_free_space(w->io, &bytes, &w->err));
	assert_true(bytes > 0);
}

static void test_write_file__replaces_whole_files(void **state)
{
	struct world *w = *state;
	uint8_t *data = NULL;
	size_t length = 0;
	assert_ok(io_make_dir(w->io, "d", &w->err));
	assert_ok(io_write_file(w->io, "d/conf", "first", 5, &w->err));
	io_file_close(make_file(w, "d/conf.new", 0)); /* left by an interrupted attempt */
	assert_ok(io_write_file(w->io, "d/conf", "second", 6, &w->err));
	assert_ok(io_read_file(w->io, "d/conf", 6, &data, &length, &w->err));
	assert_int_equal(length, 6);
	assert_memory_equal(data, "second", 7); /* with the zero byte */
	free(data);
	assert_int_equal(io_remove(w->io, "d/conf.new", NULL), ERR_NOT_FOUND);
	assert_ok(io_write_file(w->io, "empty", "", 0, &w->err));
	assert_ok(io_read_file(w->io, "empty", 0, &data, &length, &w->err));
	assert_int_equal(length, 0);
	free(data);
}

static void test_read_file__is_bounded(void **state)
{
	struct world *w = *state;
	uint8_t *data = NULL;
	size_t length = 0;
	assert_ok(io_write_file(w->io, "conf", "123456", 6, &w->err));
	assert_int_equal(io_read_file(w->io, "conf", 5, &data, &length, &w->err), ERR_LIMIT);
	assert_string_equal(w->err.msg, "'conf' has 6 bytes, at most 5 are expected");
	assert_int_equal(io_read_file(w->io, "absent", 5, &data, &length, NULL), ERR_NOT_FOUND);
	assert_null(data);
}

static void test_write_file__leaves_nothing_after_a_failure(void **state)
{
	struct world *w = *state;
	assert_int_equal(io_write_file(w->io, "absent/conf", "x", 1, &w->err), ERR_NOT_FOUND);
	assert_ok(io_make_dir(w->io, "d", NULL));
	assert_int_equal(io_write_file(w->io, "d", "x", 1, NULL), ERR_IO);
	struct io_file *file = NULL;
	assert_int_equal(io_open(w->io, "d.new", IO_READ, &file, NULL), ERR_NOT_FOUND);
}

/* --- direct files --- */

static void test_direct__small_reads_need_no_alignment(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_file(w, "a", IO_DIRECT);
	size_t size = 16 * IO_ALIGN, got = 0;
	fill(w->arena, size, 3);
	assert_ok(io_write(file, 0, w->arena, size, &w->err));
	uint8_t in[5001];
	static const uint64_t offsets[] = {0, 1, 511, 4095, 4096, 60000};
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		memset(in, 0xee, sizeof(in));
		assert_ok(io_read_exact(file, offsets[i], in, 5000, &w->err));
		assert_memory_equal(in, w->arena + offsets[i], 5000);
		assert_int_equal(in[5000], 0xee);
	}
	assert_ok(io_read(file, size - 10, in, 100, &got, &w->err));
	assert_int_equal(got, 10);
	assert_memory_equal(in, w->arena + size - 10, 10);
	assert_ok(io_read(file, size + 10, in, 100, &got, &w->err));
	assert_int_equal(got, 0);
	io_file_close(file);
}

static void test_direct__misaligned_write_is_a_bug(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_file(w, "a", IO_DIRECT);
	if (file->direct) {
		assert_int_equal(io_write(file, 0, w->arena, 100, NULL), ERR_BUG);
		assert_int_equal(io_write(file, 0, w->arena + 1, IO_ALIGN, NULL), ERR_BUG);
		assert_int_equal(io_write(file, 1, w->arena, IO_ALIGN, &w->err), ERR_BUG);
		assert_string_equal(w->err.msg, "misaligned write of 4096 bytes at offset 1 of 'a'");
	}
	io_file_close(file);
}

static void test_direct__reads_the_odd_end_of_a_file(void **state)
{
	struct world *w = *state;
	uint8_t out[10000], in[10001];
	fill(out, sizeof(out), 9);
	struct io_file *file = make_file(w, "a", 0);
	assert_ok(io_write(file, 0, out, sizeof(out), &w->err));
	assert_ok(io_sync(file, &w->err));
	io_file_close(file);
	assert_ok(io_open(w->io, "a", IO_READ | IO_DIRECT, &file, &w->err));
	size_t got = 0;
	assert_ok(io_read(file, 0, w->arena, 3 * IO_ALIGN, &got, &w->err));
	assert_int_equal(got, sizeof(out));
	assert_memory_equal(w->arena, out, sizeof(out));
	assert_ok(io_read(file, 9000, in, sizeof(in), &got, &w->err));
	assert_int_equal(got, 1000);
	assert_memory_equal(in, out + 9000, 1000);
	io_file_close(file);
}

/* --- queues --- */

struct counter {
	unsigned completed;
	unsigned again; /* how often to submit the op once more */
	struct io_queue *queue;
};

static void count_completion(struct io_op *op)
{
	struct counter *counter = op->user;
	counter->completed++;
	if (counter->again > 0) {
		counter->again--;
		op->offset += op->length;
		io_queue_submit(counter->queue, op);
	}
}

static struct io_queue *make_queue(struct world *w, unsigned depth, bool with_arena)
{
	struct io_queue *queue = NULL;
	assert_ok(
		io_queue_new(w->io, depth, with_arena ? w->arena : NULL, with_arena ? ARENA_SIZE : 0, &queue, &w->err));
	assert_int_equal(queue->depth, depth);
	return queue;
}

static struct io_op make_op(enum io_op_kind kind, struct io_file *file, uint64_t offset, void *data, uint32_t length,
			    struct counter *counter)
{
	return (struct io_op){
		.kind = kind,
		.file = file,
		.offset = offset,
		.data = data,
		.length = length,
		.complete = count_completion,
		.user = counter,
	};
}

static void run(struct world *w, struct io_queue *queue, struct io_op *op)
{
	struct counter *counter = op->user;
	unsigned before = counter->completed;
	io_queue_submit(queue, op);
	assert_ok(io_queue_wait(queue, 1, &w->err));
	assert_int_equal(counter->completed, before + 1);
}

/* Writes 32 pages in two files with a queue of `depth`, syncs, reads them back through the same queue. */
static void write_and_read_many(struct world *w, unsigned depth, bool with_arena, unsigned flags)
{
	struct counter counter = {0};
	struct io_file *files[2] = {make_file(w, "a", flags), make_file(w, "b", flags)};
	struct io_queue *queue = make_queue(w, depth, with_arena);
	struct io_op ops[32];
	uint8_t expected[32u * IO_ALIGN];
	fill(expected, sizeof(expected), depth);
	memcpy(w->arena, expected, sizeof(expected));
	for (unsigned i = 0; i < 32; i++) {
		ops[i] = make_op(IO_OP_WRITE, files[i % 2], (uint64_t)(31 - i) / 2 * IO_ALIGN, w->arena + i * IO_ALIGN,
				 IO_ALIGN, &counter);
		io_queue_submit(queue, &ops[i]);
		assert_true(queue->in_flight <= depth);
	}
	assert_ok(io_queue_wait(queue, 32, &w->err));
	assert_int_equal(counter.completed, 32);
	assert_int_equal(queue->in_flight, 0);
	for (unsigned i = 0; i < 32; i++)
		assert_ok(io_op_check(&ops[i], &w->err));
	struct io_op syncs[2];
	for (unsigned i = 0; i < 2; i++) {
		syncs[i] = make_op(IO_OP_SYNC, files[i], 0, NULL, 0, &counter);
		io_queue_submit(queue, &syncs[i]);
	}
	assert_ok(io_queue_wait(queue, 2, &w->err));
	memset(w->arena, 0, ARENA_SIZE);
	for (unsigned i = 0; i < 32; i++) {
		assert_ok(i < 2 ? io_op_check(&syncs[i], &w->err) : ERR_OK);
		ops[i].kind = IO_OP_READ;
		io_queue_submit(queue, &ops[i]);
	}
	while (queue->in_flight > 0)
		assert_ok(io_queue_wait(queue, 1, &w->err));
	assert_int_equal(counter.completed, 66);
	for (unsigned i = 0; i < 32; i++)
		assert_ok(io_op_check(&ops[i], &w->err));
	assert_memory_equal(w->arena, expected, sizeof(expected));
	io_queue_free(queue);
	io_file_close(files[0]);
	io_file_close(files[1]);
}

static void test_queue__carries_out_many_ops(void **state)
{
	write_and_read_many(*state, /* depth= */ 8, /* with_arena= */ true, IO_DIRECT);
}

static void test_queue__works_without_arena_and_buffered(void **state)
{
	write_and_read_many(*state, /* depth= */ 3, /* with_arena= */ false, 0);
}

static void test_queue__of_one_takes_completions_at_submit(void **state)
{
	write_and_read_many(*state, /* depth= */ 1, /* with_arena= */ true, 0);
}

static void test_queue__op_may_be_submitted_from_its_completion(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_file(w, "a", IO_DIRECT);
	struct io_queue *queue = make_queue(w, 2, /* with_arena= */ true);
	struct counter counter = {.again = 20, .queue = queue};
	struct io_op ops[2];
	fill(w->arena, IO_ALIGN, 5);
	for (unsigned i = 0; i < 2; i++) {
		ops[i] = make_op(IO_OP_WRITE, file, i * 64 * IO_ALIGN, w->arena, IO_ALIGN, &counter);
		io_queue_submit(queue, &ops[i]);
	}
	while (queue->in_flight > 0)
		assert_ok(io_queue_wait(queue, 1, &w->err));
	assert_int_equal(counter.completed, 22);
	assert_int_equal((ops[0].offset + ops[1].offset) / IO_ALIGN, 64 + 20);
	uint8_t in[IO_ALIGN];
	assert_ok(io_read_exact(file, ops[0].offset, in, sizeof(in), &w->err));
	assert_memory_equal(in, w->arena, sizeof(in));
	io_queue_free(queue);
	io_file_close(file);
}

static void test_queue__free_completes_what_is_in_flight(void **state)
{
	struct world *w = *state;
	struct io_file *file = make_file(w, "a", 0);
	struct io_queue *queue = make_queue(w, 4, /* with_arena= */ true);
	struct counter counter = {.again = 3, .queue = queue};
	struct io_op ops[4];
	for (unsigned i = 0; i < 4; i++) {
		ops[i] = make_op(IO_OP_WRITE, file, i * IO_ALIGN, w->arena, IO_ALIGN, &counter);
		io_queue_submit(queue, &ops[i]);
	}
	io_queue_free(queue);
	assert_int_equal(counter.completed, 7);
	io_file_close(file);
}

static void test_queue__read_is_short_at_the_end(void **state)
{
	struct world *w = *state;
	static const unsigned flags[] = {0, IO_DIRECT};
	struct counter counter = {0};
	assert_ok(io_write_file(w->io, "a", memset(w->arena, 7, 10000), 10000, &w->err));
	struct io_queue *queue = make_queue(w, 4, /* with_arena= */ true);
	for (size_t i = 0; i < 2; i++) {
		struct io_file *file = NULL;
		struct err err = {0};
		assert_ok(io_open(w->io, "a", IO_READ | flags[i], &file, &w->err));
		struct io_op op = make_op(IO_OP_READ, file, 2 * IO_ALIGN, w->arena, 2 * IO_ALIGN, &counter);
		run(w, queue, &op);
		assert_int_equal(op.result, 10000 - 2 * IO_ALIGN);
		assert_int_equal(io_op_check(&op, &err), ERR_CORRUPT);
		assert_string_equal(err.msg, "'a' is truncated: 1808 of 8192 bytes at offset 8192 are there");
		op.offset = 16 * IO_ALIGN;
		run(w, queue, &op);
		assert_int_equal(op.result, 0);
		op.length = 0;
		run(w, queue, &op);
		assert_ok(io_op_check(&op, &w->err));
		io_file_close(file);
	}
	io_queue_free(queue);
}

static void test_queue__failure_is_in_the_op(void **state)
{
	struct world *w = *state;
	struct counter counter = {0};
	struct io_file *file = make_file(w, "a", 0);
	io_file_close(file);
	assert_ok(io_open(w->io, "a", IO_READ, &file, &w->err));
	struct io_queue *queue = make_queue(w, 4, /* with_arena= */ true);
	struct io_op op = make_op(IO_OP_WRITE, file, 4096, w->arena, 512, &counter);
	run(w, queue, &op);
	assert_int_equal(op.result, -EBADF);
	assert_int_equal(io_op_check(&op, &w->err), ERR_IO);
	assert_string_equal(w->err.msg, "cannot write 512 bytes at offset 4096 of 'a': Bad file descriptor");
	io_queue_free(queue);
	io_file_close(file);
}

static void test_queue__wait_for_nothing_returns(void **state)
{
	struct world *w = *state;
	struct io_queue *queue = make_queue(w, 4, /* with_arena= */ false);
	assert_ok(io_queue_wait(queue, 0, &w->err));
	assert_ok(io_queue_wait(queue, 5, &w->err));
	io_queue_free(queue);
	assert_int_equal(io_queue_new(w->io, 0, NULL, 0, &queue, &w->err), ERR_BUG);
}

static void test_queue__wait_zero_gets_there_in_the_end(void **state)
{
	struct world *w = *state;
	struct counter counter = {0};
	struct io_file *file = make_file(w, "a", IO_DIRECT);
	struct io_queue *queue = make_queue(w, 4, /* with_arena= */ true);
	struct io_op op = make_op(IO_OP_WRITE, file, 0, w->arena, IO_ALIGN, &counter);
	io_queue_submit(queue, &op);
	while (counter.completed == 0)
		assert_ok(io_queue_wait(queue, 0, &w->err));
	assert_ok(io_op_check(&op, &w->err));
	io_queue_free(queue);
	io_file_close(file);
}

static void test_op_check__names_kind_and_cause(void **state)
{
	(void)state;
	char path[] = "seg";
	struct io_file file = {.path = path};
	struct io_op op = {.kind = IO_OP_SYNC, .file = &file, .length = 10, .result = 0};
	struct err err = {0};
	assert_ok(io_op_check(&op, &err));
	op.result = -EIO;
	assert_int_equal(io_op_check(&op, &err), ERR_IO);
	assert_string_equal(err.msg, "cannot sync 'seg': Input/output error");
	op.kind = IO_OP_WRITE;
	op.result = -ENOSPC;
	err = (struct err){0};
	assert_int_equal(io_op_check(&op, &err), ERR_NO_SPACE);
	assert_string_equal(err.msg, "cannot write 10 bytes at offset 0 of 'seg': No space left on device");
	op.result = 9;
	err = (struct err){0};
	assert_int_equal(io_op_check(&op, &err), ERR_IO);
	assert_string_equal(err.msg, "only 9 of 10 bytes were written at offset 0 of 'seg'");
}

/* --- the real implementation only --- */

static void test_external__opens_files_by_any_path(void **state)
{
	struct world *w = *state;
	char path[512];
	snprintf(path, sizeof(path), "%s/disk.raw", w->dir);
	struct io_file *file = NULL;
	assert_ok(io_uring_open_external(path, IO_READ | IO_WRITE | IO_CREATE | IO_DIRECT, &file, &w->err));
	assert_true(io_uring_file_fd(file) >= 0);
	if (file->direct) {
		assert_true(file->align >= 1 && file->align <= IO_ALIGN);
		assert_true(fcntl(io_uring_file_fd(file), F_GETFL) & O_DIRECT);
	} else {
		assert_int_equal(file->align, 1);
	}
	assert_false(fcntl(io_uring_file_fd(file), F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(io_uring_file_fd(file), F_GETFD) & FD_CLOEXEC);
	assert_ok(io_write(file, 0, w->arena, IO_ALIGN, &w->err));
	uint64_t size = 0;
	assert_ok(io_file_size(file, &size, &w->err));
	assert_int_equal(size, IO_ALIGN);
	io_file_close(file);
	assert_int_equal(io_uring_open_external(w->dir, IO_READ, &file, &w->err), ERR_IO);
	struct err err = {0};
	assert_int_equal(io_uring_open_external("/dev/null", IO_READ, &file, &err), ERR_INVALID);
	assert_string_equal(err.msg, "'/dev/null' is neither a file nor a block device");
}

static void test_external__fifo_does_not_block(void **state)
{
	struct world *w = *state;
	char path[512];
	snprintf(path, sizeof(path), "%s/fifo", w->dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	struct io_file *file = NULL;
	assert_int_equal(io_uring_open_external(path, IO_READ, &file, &w->err), ERR_INVALID);
}

static void test_direct__falls_back_where_it_is_refused(void **state)
{
	struct world *w = *state;
	struct io_file *file = NULL;
	/* A regular file of a file system without direct transfers. */
	assert_ok(io_uring_open_external("/proc/self/status", IO_READ | IO_DIRECT, &file, &w->err));
	assert_false(file->direct);
	assert_int_equal(file->align, 1);
	char in[5];
	assert_ok(io_read_exact(file, 0, in, sizeof(in), &w->err));
	assert_memory_equal(in, "Name:", 5);
	io_file_close(file);
}

static void test_direct__large_misaligned_read_spans_buffers(void **state)
{
	struct world *w = *state;
	size_t size = 1000 * 1000;
	uint8_t *out = malloc(size), *in = malloc(size);
	assert_true(out && in);
	fill(out, size, 4);
	assert_ok(io_write_file(w->io, "a", out, size, &w->err));
	struct io_file *file = NULL;
	assert_ok(io_open(w->io, "a", IO_READ | IO_DIRECT, &file, &w->err));
	size_t got = 0;
	assert_ok(io_read(file, 77, in, size, &got, &w->err));
	assert_int_equal(got, size - 77);
	assert_memory_equal(in, out + 77, size - 77);
	io_file_close(file);
	free(in);
	free(out);
}

static void test_anonymous__has_queues_but_no_names(void **state)
{
	struct world *w = *state;
	struct io *io = NULL;
	struct io_file *file = NULL;
	struct io_queue *queue = NULL;
	struct counter counter = {0};
	char path[512];
	assert_ok(io_uring_anonymous_new(&io, &w->err));
	assert_int_equal(io_open(io, "a", IO_READ, &file, &w->err), ERR_BUG);
	assert_string_equal(w->err.msg, "'a' is looked up in a tree that has no directory");
	assert_int_equal(io_list(io, "", note_name, NULL, NULL), ERR_BUG);
	snprintf(path, sizeof(path), "%s/disk.raw", w->dir);
	assert_ok(io_uring_open_external(path, IO_READ | IO_WRITE | IO_CREATE, &file, NULL));
	assert_ok(io_queue_new(io, 2, w->arena, ARENA_SIZE, &queue, NULL));
	struct io_op op = make_op(IO_OP_WRITE, file, 3, w->arena, 100, &counter);
	io_queue_submit(queue, &op);
	assert_ok(io_queue_wait(queue, 1, NULL));
	assert_ok(io_op_check(&op, NULL));
	io_queue_free(queue);
	io_file_close(file);
	io_free(io);
}

static void test_queue__works_where_the_arena_cannot_be_registered(void **state)
{
	struct world *w = *state;
	struct counter counter = {0};
	size_t length = 16 * IO_ALIGN;
	void *arena = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(arena != MAP_FAILED);
	struct io_queue *queue = NULL;
	assert_ok(io_queue_new(w->io, 4, arena, length, &queue, &w->err));
	assert_int_equal(mprotect(arena, length, PROT_READ | PROT_WRITE), 0);
	struct io_file *file = make_file(w, "a", IO_DIRECT);
	struct io_op op = make_op(IO_OP_WRITE, file, 0, arena, IO_ALIGN, &counter);
	run(w, queue, &op);
	assert_ok(io_op_check(&op, &w->err));
	io_queue_free(queue);
	io_file_close(file);
	munmap(arena, length);
}

/* A limit on file sizes cuts the first write short; the queue must then try the rest and meet the limit's error. */
static void test_queue__continues_short_writes(void **state)
{
	struct world *w = *state;
	struct counter counter = {0};
	struct io_file *file = make_file(w, "a", 0);
	struct io_queue *queue = make_queue(w, 4, /* with_arena= */ true);
	struct io_op op = make_op(IO_OP_WRITE, file, 0, w->arena, 16 * IO_ALIGN, &counter);
	struct rlimit old, small;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){.rlim_cur = 10000, .rlim_max = old.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	fill(w->arena, ARENA_SIZE, 8);
	io_queue_submit(queue, &op);
	enum err_code code = io_queue_wait(queue, 1, &w->err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_ok(code);
	assert_int_equal(op.result, -EFBIG);
	uint8_t in[10001];
	size_t got = 0;
	assert_ok(io_read(file, 0, in, sizeof(in), &got, &w->err));
	assert_int_equal(got, 10000);
	assert_memory_equal(in, w->arena, 10000);
	run(w, queue, &op);
	assert_ok(io_op_check(&op, &w->err));
	io_queue_free(queue);
	io_file_close(file);
}

/* In a child that may not call io_uring_setup: 0 if the error is as wanted. */
static int open_without_uring(int refusal, const char *wanted)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)refusal),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		return 77;
	struct io *io = NULL;
	struct err err = {0};
	if (io_uring_anonymous_new(&io, &err) != ERR_UNSUPPORTED)
		return 1;
	return strncmp(err.msg, wanted, strlen(wanted)) == 0 ? 0 : 2;
}

static void check_refusal(int refusal, const char *wanted)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(open_without_uring(refusal, wanted));
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_tree__says_what_to_do_where_io_uring_is_forbidden(void **state)
{
	(void)state;
	check_refusal(EPERM, "the kernel forbids io_uring to this process; set sysctl kernel.io_uring_disabled=0, or "
			     "allow io_uring in the container's seccomp profile: Operation not permitted");
	check_refusal(ENOSYS, "this kernel has no io_uring; Linux 5.6 or newer is needed");
}

static void test_tree__makes_its_directory_when_told(void **state)
{
	struct world *w = *state;
	struct io *io = NULL;
	char path[512];
	snprintf(path, sizeof(path), "%s/store", w->dir);
	assert_int_equal(io_uring_tree_new(path, /* create= */ false, &io, &w->err), ERR_NOT_FOUND);
	assert_ok(io_uring_tree_new(path, /* create= */ true, &io, NULL));
	io_free(io);
	assert_ok(io_uring_tree_new(path, /* create= */ true, &io, NULL));
	io_free(io);
}

#define BOTH(test)                                             \
	{"real " #test, test, setup_real, teardown, NULL},     \
	{                                                      \
		"sim  " #test, test, setup_sim, teardown, NULL \
	}
#define REAL(test)                                              \
	{                                                       \
		"real " #test, test, setup_real, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_open__missing_file_is_not_found),
		BOTH(test_open__create_refuses_existing_file),
		BOTH(test_open__refuses_directory),
		BOTH(test_open__needs_a_direction),
		BOTH(test_path__refuses_what_leaves_the_tree),
		BOTH(test_file__reads_back_what_was_written),
		BOTH(test_file__hole_reads_as_zeroes),
		BOTH(test_read__is_short_at_the_end_only),
		BOTH(test_transfer__refuses_impossible_offsets),
		BOTH(test_write__needs_a_file_opened_for_it),
		BOTH(test_allocate__keeps_the_size),
		BOTH(test_rename__replaces_the_target),
		BOTH(test_rename__moves_between_directories),
		BOTH(test_remove__takes_the_name),
		BOTH(test_remove__refuses_directory),
		BOTH(test_make_dir__is_content_with_an_existing_one),
		BOTH(test_list__gives_each_entry_once),
		BOTH(test_lock__is_held_by_one_open_file),
		BOTH(test_lock__needs_a_file_opened_for_writing),
		BOTH(test_free_space__is_known),
		BOTH(test_write_file__replaces_whole_files),
		BOTH(test_write_file__leaves_nothing_after_a_failure),
		BOTH(test_read_file__is_bounded),
		BOTH(test_direct__small_reads_need_no_alignment),
		BOTH(test_direct__misaligned_write_is_a_bug),
		BOTH(test_direct__reads_the_odd_end_of_a_file),
		BOTH(test_queue__carries_out_many_ops),
		BOTH(test_queue__works_without_arena_and_buffered),
		BOTH(test_queue__of_one_takes_completions_at_submit),
		BOTH(test_queue__op_may_be_submitted_from_its_completion),
		BOTH(test_queue__free_completes_what_is_in_flight),
		BOTH(test_queue__read_is_short_at_the_end),
		BOTH(test_queue__failure_is_in_the_op),
		BOTH(test_queue__wait_for_nothing_returns),
		BOTH(test_queue__wait_zero_gets_there_in_the_end),
		cmocka_unit_test(test_op_check__names_kind_and_cause),
		REAL(test_external__opens_files_by_any_path),
		REAL(test_external__fifo_does_not_block),
		REAL(test_direct__falls_back_where_it_is_refused),
		REAL(test_direct__large_misaligned_read_spans_buffers),
		REAL(test_anonymous__has_queues_but_no_names),
		REAL(test_queue__works_where_the_arena_cannot_be_registered),
		REAL(test_queue__continues_short_writes),
		REAL(test_tree__says_what_to_do_where_io_uring_is_forbidden),
		REAL(test_tree__makes_its_directory_when_told),
	};
	return cmocka_run_group_tests_name("io", tests, NULL, NULL);
}
