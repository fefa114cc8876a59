/* SPDX-License-Identifier: Apache-2.0 */
/* The block_writer of every target whose disk bytes go to places in a file. */
#ifndef INGEST_FILE_WRITER_H
#define INGEST_FILE_WRITER_H

#include "base/err.h"
#include "ingest/file_transfer.h"
#include "pipeline/block_target.h"

#include <stdint.h>

/* Makes [offset, offset + length) of the disk read as zeroes. */
typedef enum err_code (*file_zero_fn)(void *user, uint64_t offset, uint64_t length, struct err *err);

/* Opens a writer for one lane; `next` says where bytes go, `zero` is NULL where all that is not written is zero. Keeps
 * `user` and `queue`. */
MUST_CHECK enum err_code file_writer_open(transfer_next_fn next, file_zero_fn zero, void *user, struct io_queue *queue,
					  unsigned depth, struct block_writer **ret, struct err *err);

#endif
