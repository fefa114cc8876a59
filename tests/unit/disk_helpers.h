/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of block sources and targets share: a scratch directory, a queue with its memory, reading a source whole
 * and writing a target whole, the way the pipeline does. */
#ifndef TESTS_DISK_HELPERS_H
#define TESTS_DISK_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/size.h"
#include "ingest/formats.h"
#include "pipeline/block_source.h"
#include "pipeline/block_target.h"
#include "store/chunk_id.h"
#include "store/io_uring.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HELPER_DEPTH 6u

struct disk_env {
	char dir[64];
	struct io *io;
	struct io_queue *queue;
	uint8_t *arena; /* HELPER_DEPTH buffers of 1 MiB */
};

#define check_ok(call)                                                                             \
	do {                                                                                       \
		struct err check_err_ = {0};                                                       \
		struct err *e = &check_err_;                                                       \
		enum err_code check_code_ = (call);                                                \
		if (check_code_ != ERR_OK)                                                         \
			fail_msg("%s: %s: %s", #call, err_code_name(check_code_), check_err_.msg); \
	} while (0)

/* Checks that an error has this code and that its message has this text in it. */
static inline void check_error(const struct err *err, enum err_code code, const char *text)
{
	if (err->code != code)
		fail_msg("expected %s, got %s: %s", err_code_name(code), err_code_name(err->code), err->msg);
	if (!strstr(err->msg, text))
		fail_msg("expected '%s' in: %s", text, err->msg);
}

static inline int disk_env_setup(void **state)
{
	struct disk_env *env = calloc(1, sizeof(*env));
	assert_non_null(env);
	snprintf(env->dir, sizeof(env->dir), "/var/tmp/xenolith-test-XXXXXX");
	assert_non_null(mkdtemp(env->dir));
	void *arena = NULL;
	assert_int_equal(posix_memalign(&arena, 4096, (size_t)HELPER_DEPTH << 20), 0);
	env->arena = arena;
	check_ok(io_uring_anonymous_new(&env->io, e));
	check_ok(io_queue_new(env->io, 32, env->arena, (size_t)HELPER_DEPTH << 20, &env->queue, e));
	*state = env;
	return 0;
}

static inline void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void shell(const char *format, ...)
{
	char command[1024];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	assert_true(n > 0 && (size_t)n < sizeof(command));
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static inline int disk_env_teardown(void **state)
{
	struct disk_env *env = *state;
	io_queue_free(env->queue);
	io_free(env->io);
	free(env->arena);
	shell("rm -rf '%s'", env->dir);
	free(env);
	return 0;
}

/* DIR/name in one of a few buffers that are used in turn. */
static inline const char *in_dir(const struct disk_env *env, const char *name)
{
	static char paths[8][256];
	static unsigned next;
	char *path = paths[next++ % 8];
	snprintf(path, sizeof(paths[0]), "%s/%s", env->dir, name);
	return path;
}

static inline void write_file_at(const char *path, uint64_t offset, const void *data, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, length, (off_t)offset), (ssize_t)length);
	close(fd);
}

static inline void read_file_at(const char *path, uint64_t offset, void *data, size_t length)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, data, length, (off_t)offset), (ssize_t)length);
	close(fd);
}

static inline uint64_t file_size(const char *path)
{
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

/* A small generator, the same on every run. */
static inline uint32_t test_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}

static inline void fill_random(void *data, size_t length, uint64_t seed)
{
	uint8_t *p = data;
	for (size_t i = 0; i < length; i++)
		p[i] = (uint8_t)test_random(&seed);
}

static inline void release_set(struct source_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		block_source_close(set->sources[i]);
	free(set->sources);
	*set = (struct source_set){0};
}

/* Reads a disk whole, several reads in flight; with `use_extents` what is known to be zero is not read. Gives the first
 * read's error in *ret_err. */
static inline void read_source(struct disk_env *env, struct block_source *source, bool use_extents, uint8_t *dst,
			       struct err *ret_err)
{
	struct block_reader *reader = NULL;
	struct block_read reads[HELPER_DEPTH] = {0};
	bool busy[HELPER_DEPTH] = {false};
	unsigned in_flight = 0;
	uint64_t size = source->size_bytes;
	uint64_t offset = 0;
	check_ok(source->ops->reader_open(source, env->queue, HELPER_DEPTH, &reader, e));
	while (offset < size || in_flight) {
		for (unsigned i = 0; i < HELPER_DEPTH && offset < size; i++) {
			if (busy[i])
				continue;
			uint64_t length = min_u64(SOURCE_READ_MAX, size - offset);
			if (use_extents && source->ops->extent) {
				struct block_extent extent = {0};
				check_ok(source->ops->extent(source, offset, &extent, e));
				assert_true(extent.offset <= offset && extent.offset + extent.length > offset);
				assert_true(extent.offset + extent.length <= size);
				uint64_t end = extent.offset + extent.length;
				if (extent.zero && end < size)
					end = round_down(end, BLOCK_SIZE);
				if (extent.zero && end > offset) {
					memset(dst + offset, 0, (size_t)(end - offset));
					offset = end;
					i--;
					continue;
				}
			}
			reads[i] = (struct block_read){
				.offset = offset, .length = (uint32_t)length, .data = env->arena + ((size_t)i << 20)};
			memset(reads[i].data, 0xEE, SOURCE_READ_MAX);
			reader->ops->submit(reader, &reads[i]);
			busy[i] = true;
			in_flight++;
			offset += length;
		}
		bool any_done = false;
		for (unsigned i = 0; i < HELPER_DEPTH; i++) {
			if (!busy[i] || !reads[i].done)
				continue;
			if (reads[i].err.code != ERR_OK && ret_err->code == ERR_OK)
				*ret_err = reads[i].err;
			memcpy(dst + reads[i].offset, reads[i].data, reads[i].length);
			busy[i] = false;
			any_done = true;
			in_flight--;
		}
		if (!any_done && in_flight)
			check_ok(reader->ops->wait(reader, e));
	}
	reader->ops->close(reader);
}

/* Reads a disk both ways and compares with what it should be. */
static inline void check_source(struct disk_env *env, struct block_source *source, const uint8_t *expected,
				uint64_t size)
{
	assert_int_equal(source->size_bytes, size);
	uint8_t *got = malloc(size);
	assert_non_null(got);
	for (int use_extents = 0; use_extents < 2; use_extents++) {
		struct err err = {0};
		memset(got, 0xDD, size);
		read_source(env, source, use_extents, got, &err);
		if (err.code != ERR_OK)
			fail_msg("read failed: %s", err.msg);
		for (uint64_t at = 0; at < size; at += 512) {
			uint64_t length = min_u64(512, size - at);
			if (memcmp(got + at, expected + at, (size_t)length) != 0)
				fail_msg("bytes from %llu on differ (extents: %d)", (unsigned long long)at,
					 use_extents);
		}
	}
	free(got);
	check_ok(source->ops->finish(source, e));
}

static inline bool all_zero(const uint8_t *data, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (data[i])
			return false;
	return true;
}

/* Writes a disk whole: pieces of up to 1 MiB, in an order that `seed` makes (0: ascending), zero blocks by zero().
 * Stops at the first error and gives it in *ret_err. */
static inline void write_target(struct disk_env *env, struct block_target *target, const uint8_t *data, uint64_t seed,
				struct err *ret_err)
{
	struct block_writer *writer = NULL;
	struct block_write writes[HELPER_DEPTH] = {0};
	uint64_t size = target->size_bytes;
	size_t pieces = (size_t)((size + TARGET_WRITE_MAX - 1) / TARGET_WRITE_MAX);
	size_t *order = malloc(pieces * sizeof(*order));
	assert_non_null(order);
	for (size_t i = 0; i < pieces; i++)
		order[i] = i;
	for (size_t i = pieces; seed && i > 1; i--) {
		size_t j = test_random(&seed) % i;
		size_t swap = order[i - 1];
		order[i - 1] = order[j];
		order[j] = swap;
	}
	for (unsigned i = 0; i < HELPER_DEPTH; i++)
		writes[i].done = true;
	check_ok(target->ops->writer_open(target, env->queue, HELPER_DEPTH, &writer, e));
	for (size_t i = 0; i < pieces && ret_err->code == ERR_OK; i++) {
		uint64_t end = min_u64(((uint64_t)order[i] + 1) * TARGET_WRITE_MAX, size);
		for (uint64_t at = (uint64_t)order[i] * TARGET_WRITE_MAX; at < end && ret_err->code == ERR_OK;) {
			uint64_t step = at;
			bool zero = all_zero(data + at, (size_t)min_u64(BLOCK_SIZE, end - at));
			do
				step += min_u64(BLOCK_SIZE, end - step);
			while (step < end && all_zero(data + step, (size_t)min_u64(BLOCK_SIZE, end - step)) == zero);
			if (zero) {
				(void)!writer->ops->zero(writer, at, step - at, ret_err);
				at = step;
				continue;
			}
			unsigned slot = 0;
			while (!writes[slot].done) {
				slot = (slot + 1) % HELPER_DEPTH;
				if (slot == 0)
					check_ok(writer->ops->wait(writer, e));
			}
			if (writes[slot].err.code != ERR_OK && ret_err->code == ERR_OK)
				*ret_err = writes[slot].err;
			uint8_t *memory = env->arena + ((size_t)slot << 20);
			memset(memory, 0, TARGET_WRITE_MAX);
			memcpy(memory, data + at, (size_t)(step - at));
			writes[slot] =
				(struct block_write){.offset = at, .length = (uint32_t)(step - at), .data = memory};
			writer->ops->submit(writer, &writes[slot]);
			if (writes[slot].done)
				*ret_err = writes[slot].err;
			at = step;
		}
	}
	for (unsigned i = 0; i < HELPER_DEPTH; i++) {
		while (!writes[i].done)
			check_ok(writer->ops->wait(writer, e));
		if (writes[i].err.code != ERR_OK && ret_err->code == ERR_OK)
			*ret_err = writes[i].err;
	}
	writer->ops->close(writer);
	free(order);
}

#endif
