/* SPDX-License-Identifier: Apache-2.0 */
/* One lane's asynchronous transfers between a disk and the files behind it. A job is a run of disk bytes and its
 * memory; a callback says step by step where the next bytes of a job lie, and the engine keeps the steps in flight on
 * the lane's io_uring queue. Memory is fixed when the engine is made: jobs that find no free slot are continued as
 * others end.
 *
 * Threads: an engine belongs to one lane. */
#ifndef INGEST_FILE_TRANSFER_H
#define INGEST_FILE_TRANSFER_H

#include "base/err.h"
#include "store/io.h"

#include <stdbool.h>
#include <stdint.h>

/* Where the next bytes of a job lie. */
struct transfer_step {
	struct io_file *file; /* NULL: nowhere; the bytes of a read are zeroes, those of a write are dropped */
	uint64_t offset;      /* in the file */
	uint32_t length;      /* 1 or more; at most what was asked for, unless `extra` is set */
	const void *extra; /* not NULL: write these bytes first; none of the job's bytes are used up by this step. The
			      memory stays until the engine is freed */
};

/* Says where disk bytes from `offset` on lie (`length` of them are wanted); `data` is their memory, to check alignment.
 */
typedef enum err_code (*transfer_next_fn)(void *user, uint64_t offset, uint32_t length, const uint8_t *data,
					  struct transfer_step *ret, struct err *err);

struct transfer;

/* Makes an engine for jobs of one kind (IO_OP_READ or IO_OP_WRITE), `depth` of them in flight at most. Keeps `user` and
 * `queue`. Gives *ret; free it with transfer_free. */
MUST_CHECK enum err_code transfer_new(struct io_queue *queue, enum io_op_kind kind, unsigned depth,
				      transfer_next_fn next, void *user, struct transfer **ret, struct err *err);

/* Starts a job. `data`, `done` and `job_err` are lent until *done is true; *job_err says how it ended. */
void transfer_submit(struct transfer *transfer, uint64_t offset, uint32_t length, uint8_t *data, bool *done,
		     struct err *job_err);

/* Blocks until a job that was not done is done. Returns at once when there is none. */
MUST_CHECK enum err_code transfer_wait(struct transfer *transfer, struct err *err);

/* Waits for what is in flight and frees. NULL is allowed. */
void transfer_free(struct transfer *transfer);

#endif
