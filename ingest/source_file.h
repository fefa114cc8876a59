/* SPDX-License-Identifier: Apache-2.0 */
/* A file or block device that a source reads: opened once past the page cache and once through it, and remembered so
 * that a change during the backup is noticed.
 *
 * Threads: everything but open and close may be called from many threads. */
#ifndef INGEST_SOURCE_FILE_H
#define INGEST_SOURCE_FILE_H

#include "base/err.h"
#include "pipeline/block_source.h"
#include "store/io.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct source_file {
	struct io_file *direct;   /* NULL where O_DIRECT is refused */
	struct io_file *buffered; /* for what is not aligned, and for the format's own structures */
	bool is_device;
	uint64_t size_bytes;
	dev_t device; /* with `inode`: which file it is, whatever its path */
	ino_t inode;
	struct timespec modified;
	pthread_mutex_t lock;     /* guards `last` */
	struct block_extent last; /* what the file system said last of holes; length 0: nothing yet */
};

/* Opens `path` for reading. ERR_NOT_FOUND, ERR_IO, ERR_INVALID if it is neither a regular file nor a block device.
 * Gives *ret; free it with source_file_close. */
MUST_CHECK enum err_code source_file_open(const char *path, struct source_file **ret, struct err *err);

/* NULL is allowed. */
void source_file_close(struct source_file *file);

const char *source_file_path(const struct source_file *file);

/* The descriptor of the buffered side; stays the file's. */
int source_file_fd(const struct source_file *file);

/* Reads exactly `length` bytes through the page cache; ERR_CORRUPT naming the file if it ends before. Blocks. */
MUST_CHECK enum err_code source_file_read(const struct source_file *file, uint64_t offset, void *data, size_t length,
					  struct err *err);

/* The extent of data or hole that contains `offset` (below the size), as far as file system or device tell; otherwise
 * all is data. It may start later than the true one does. */
MUST_CHECK enum err_code source_file_extent(struct source_file *file, uint64_t offset, struct block_extent *ret,
					    struct err *err);

/* Bytes of the first `length` that are not in holes, as far as that is quickly found out: an upper limit. */
MUST_CHECK enum err_code source_file_count_data(struct source_file *file, uint64_t length, uint64_t *ret,
						struct err *err);

/* Checks that the file is as it was when it was opened. ERR_IO if its size changed; *ret_touched tells whether it was
 * written to. */
MUST_CHECK enum err_code source_file_check(const struct source_file *file, bool *ret_touched, struct err *err);

/* The handle that a transfer at this place has to use, and in *length (in: wanted) how much of it. */
struct io_file *source_file_handle(const struct source_file *file, uint64_t offset, const uint8_t *data,
				   uint32_t *length);

/* Adds to what the user should know about a source. */
void source_notice(struct block_source *source, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds the notice that `file` is read through the page cache, if it is. */
void source_notice_buffered(struct block_source *source, const struct source_file *file);

/* Sets the source's name from the last part of `path`. */
void source_set_name(struct block_source *source, const char *path);

#endif
