/* SPDX-License-Identifier: Apache-2.0 */
/* A commit log on a simulated disk, with entries that are told by their number. */
#ifndef TESTS_COMMIT_LOG_BENCH_H
#define TESTS_COMMIT_LOG_BENCH_H

#include "store/commit_log_internal.h"
#include "store/io_sim.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static const char *const log_names[2] = {"log-a", "log-b"};

enum { LOG_SIZE = 64 << 10 };

/* A disk and the keys of a store; the log that is open now. */
struct log_bench {
	struct io *io;
	struct store_keys keys;
	struct commit_log *log;
	char notice[512];
};

static inline struct store_keys log_bench_keys(void)
{
	struct store_keys keys;
	randombytes_buf(&keys, sizeof(keys));
	keys.has_recovery_secret = false;
	return keys;
}

static inline int log_bench_setup(void **state)
{
	struct log_bench *b = calloc(1, sizeof(*b));
	struct err err = {0};
	if (!b || sodium_init() < 0 || io_sim_new(5, 0, &b->io, &err) != ERR_OK)
		return -1;
	b->keys = log_bench_keys();
	*state = b;
	return commit_log_create(b->io, &b->keys, LOG_SIZE, &err) == ERR_OK && io_sync_dir(b->io, "", &err) == ERR_OK
		       ? 0
		       : -1;
}

static inline int log_bench_teardown(void **state)
{
	struct log_bench *b = *state;
	commit_log_close(b->log);
	io_free(b->io);
	free(b);
	return 0;
}

static inline enum err_code try_open(struct log_bench *b, bool writable, struct err *err)
{
	commit_log_close(b->log);
	b->log = NULL;
	return commit_log_open(b->io, &b->keys, writable, &b->log, b->notice, err);
}

static inline void open_log(struct log_bench *b, bool writable)
{
	struct err err = {0};
	if (try_open(b, writable, &err) != ERR_OK)
		fail_msg("open: %s", err.msg);
}

static inline struct segment_info segment_of(uint64_t number)
{
	struct segment_info info = {
		.number = number,
		.kind = number % 2 ? SEGMENT_DATA : SEGMENT_META,
		.file_length = 1000 * number,
		.record_count = (uint32_t)(number % 1000),
		.stored_bytes = 7 * number,
		.raw_bytes = 11 * number,
	};
	memset(info.id.bytes, (int)(number & 0xff), sizeof(info.id.bytes));
	memset(info.trailer_mac, (int)(number >> 8 & 0xff), sizeof(info.trailer_mac));
	return info;
}

static inline struct log_saveset saveset_of(uint64_t number)
{
	struct log_saveset saveset = {.time_unix_s = 1000000 + number};
	memcpy(saveset.id.bytes, &number, sizeof(number));
	memcpy(saveset.record.bytes, &number, sizeof(number));
	return saveset;
}

/* One segment and one saveset with that number. */
static inline enum err_code try_append(struct log_bench *b, uint64_t number, struct err *err)
{
	struct segment_info info = segment_of(number);
	struct log_saveset saveset = saveset_of(number);
	struct log_change change = {.segments_added = &info, .segments_added_count = 1, .saveset_added = &saveset};
	return commit_log_append(b->log, &change, err);
}

static inline void append(struct log_bench *b, uint64_t first, uint64_t last)
{
	for (uint64_t number = first; number <= last; number++) {
		struct err err = {0};
		if (try_append(b, number, &err) != ERR_OK)
			fail_msg("append: %s", err.msg);
	}
}

/* The log has entries 1 to `count` as made by append. */
static inline void expect_entries(const struct log_bench *b, uint64_t count)
{
	const struct log_state *s = commit_log_state(b->log);
	assert_int_equal(s->segment_count, count);
	assert_int_equal(s->saveset_count, count);
	assert_int_equal(s->next_segment, count + 1);
	assert_int_equal(s->sequence, count + 1);
	for (uint64_t i = 0; i < count; i++) {
		struct segment_info info = segment_of(i + 1);
		struct log_saveset saveset = saveset_of(i + 1);
		assert_memory_equal(&s->segments[i], &info, sizeof(info));
		assert_memory_equal(&s->savesets[i], &saveset, sizeof(saveset));
	}
}

static inline uint8_t *read_file(struct log_bench *b, const char *name, size_t *ret_length)
{
	uint8_t *data = NULL;
	struct err err = {0};
	if (io_read_file(b->io, name, 16 << 20, &data, ret_length, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	return data;
}

static inline void write_at(struct log_bench *b, const char *name, uint64_t offset, const void *data, size_t length)
{
	struct io_file *file;
	struct err err = {0};
	assert_int_equal(io_open(b->io, name, IO_READ | IO_WRITE, &file, &err), ERR_OK);
	assert_int_equal(io_write(file, offset, data, length, &err), ERR_OK);
	io_file_close(file);
}

static inline void flip(struct log_bench *b, const char *name, uint64_t offset)
{
	struct err err = {0};
	assert_int_equal(io_sim_flip(b->io, name, offset, 3, &err), ERR_OK);
}

static inline void expect_same_files(struct log_bench *b)
{
	size_t length[2];
	uint8_t *a = read_file(b, "log-a", &length[0]);
	uint8_t *other = read_file(b, "log-b", &length[1]);
	assert_int_equal(length[0], length[1]);
	assert_int_equal(memcmp(a, other, length[0]), 0);
	free(a);
	free(other);
}

#endif
