/* SPDX-License-Identifier: Apache-2.0 */
/* What a restore writes disks to. One target is one disk; ingest/ implements the table for each format.
 *
 * Every byte of the disk is covered exactly once: by a write, or by a zero range. Lanes write in any order unless the
 * target is `ordered`, in which case the pipeline delivers ascending, without overlap, from one thread at a time (not
 * always the same thread).
 *
 * Threads: a writer belongs to one lane; finish and close are called by one thread after all writers are closed. */
#ifndef PIPELINE_BLOCK_TARGET_H
#define PIPELINE_BLOCK_TARGET_H

#include "base/err.h"
#include "store/io.h"

#include <stdbool.h>
#include <stdint.h>

#define TARGET_WRITE_MAX (1u << 20)

struct block_target;
struct block_writer;

/* One write in flight; lent to the writer until `done`. */
struct block_write {
	uint64_t offset;     /* of the disk, a multiple of 64 KiB */
	uint32_t length;     /* 1..TARGET_WRITE_MAX; a multiple of 64 KiB except at the end of the disk, where `data` is
				zero-padded to a multiple of 4096 in memory */
	const uint8_t *data; /* 4096-aligned, the lane's registered memory */
	bool done;
	struct err err;
	unsigned pending; /* the writer's */
	void *parts;      /* the writer's */
};

struct block_target_ops {
	const char *format;
	bool ordered;
	/* Opens a writer for one lane; `queue` as for block_source. */
	enum err_code (*writer_open)(struct block_target *target, struct io_queue *queue, unsigned depth,
				     struct block_writer **ret, struct err *err);
	/* Makes everything durable and complete (footers, sizes, flush). The target is good only after this
	 * succeeded. */
	enum err_code (*finish)(struct block_target *target, struct err *err);
	/* Closes; without finish the target is left as incomplete as it is (a file created by the target is
	 * removed). */
	void (*close)(struct block_target *target);
};

struct block_target {
	const struct block_target_ops *ops;
	char name[256];
	uint64_t size_bytes; /* of the disk being restored */
	bool notice_set;
	char notice[256];
};

struct block_writer_ops {
	/* Starts a write; errors are in write->err when done. For an ordered target it may block and be done on
	 * return. */
	void (*submit)(struct block_writer *writer, struct block_write *write);
	/* Makes [offset, offset + length) read as zeroes; cheap where the target is known to be zero there. May be
	 * large. */
	enum err_code (*zero)(struct block_writer *writer, uint64_t offset, uint64_t length, struct err *err);
	enum err_code (*wait)(struct block_writer *writer, struct err *err);
	void (*close)(struct block_writer *writer);
};

struct block_writer {
	const struct block_writer_ops *ops;
};

static inline void block_target_close(struct block_target *target)
{
	if (target)
		target->ops->close(target);
}

/* A target that drops everything: restore rehearsals and benchmarks. */
MUST_CHECK enum err_code null_target_new(const char *name, uint64_t size_bytes, struct block_target **ret,
					 struct err *err);

/* A target in memory: writes into `data` (size_bytes, borrowed). A twin for tests. */
MUST_CHECK enum err_code memory_target_new(const char *name, void *data, uint64_t size_bytes, struct block_target **ret,
					   struct err *err);

#endif
