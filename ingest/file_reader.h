/* SPDX-License-Identifier: Apache-2.0 */
/* The block_reader of every source whose disk bytes lie in files: a raw image, a chain of VHDs. The source says piece
 * by piece where bytes lie; what O_DIRECT can't read for want of alignment goes through the page cache. */
#ifndef INGEST_FILE_READER_H
#define INGEST_FILE_READER_H

#include "base/err.h"
#include "ingest/source_file.h"
#include "pipeline/block_source.h"

#include <stdint.h>

/* A run of disk bytes that lies in one place. */
struct file_piece {
	const struct source_file *file; /* NULL: zeroes */
	uint64_t offset;                /* in the file */
	uint64_t length;                /* 1 or more, at most what was asked for */
};

/* Says where the disk bytes from `offset` on lie, of which `length` are wanted. Called from many lanes. */
typedef enum err_code (*file_map_fn)(void *user, uint64_t offset, uint64_t length, struct file_piece *ret,
				     struct err *err);

/* Opens a reader for one lane. Keeps `user` and `queue`. */
MUST_CHECK enum err_code file_reader_open(file_map_fn map, void *user, struct io_queue *queue, unsigned depth,
					  struct block_reader **ret, struct err *err);

#endif
