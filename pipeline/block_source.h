/* SPDX-License-Identifier: Apache-2.0 */
/* What the pipeline reads disks from. One source is one virtual disk; ingest/ implements the table for each format.
 *
 * There are two ways to be read:
 *  - random access: every lane opens a reader and keeps several reads of up to 1 MiB in flight, straight into its own
 *    buffers; `extent` tells which parts of the disk need no read at all;
 *  - sequential (a stream): one lane at a time asks for the next leaf's worth of data (8 MiB of disk) with read_next.
 *
 * Bytes of a disk that a source does not hold (holes, blocks never allocated) are zero. The block grid starts at offset
 * 0.
 *
 * Threads: `extent` and `reader_open` may be called from many threads; a reader belongs to one lane; the pipeline
 * serialises read_next, and calls of all sources with the same `sequence` pointer. */
#ifndef PIPELINE_BLOCK_SOURCE_H
#define PIPELINE_BLOCK_SOURCE_H

#include "base/err.h"
#include "base/uuid.h"
#include "store/chunk_id.h"
#include "store/io.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCE_READ_MAX (1u << 20) /* most bytes of one read */
#define SOURCE_NAME_MAX 255

struct block_source;
struct block_reader;

/* A run of disk bytes. */
struct block_extent {
	uint64_t offset;
	uint64_t length;
	bool zero; /* known to read as zeroes: need not be read */
};

/* One read in flight. The caller fills offset, length and data and lends the struct until `done`. */
struct block_read {
	uint64_t offset;  /* of the disk, a multiple of BLOCK_SIZE */
	uint32_t length;  /* 1..SOURCE_READ_MAX; a multiple of BLOCK_SIZE except at the end of the disk */
	uint8_t *data;    /* room for SOURCE_READ_MAX bytes, 4096-aligned; the lane's registered memory */
	bool done;        /* set when the read has ended, well or not */
	struct err err;   /* why it failed; code ERR_OK otherwise */
	unsigned pending; /* the reader's: parts still in flight */
	void *parts;      /* the reader's */
};

/* What read_next delivers: up to 8 MiB, one leaf of the disk map. */
#define SOURCE_LEAF_BUFFERS 8
struct source_leaf {
	uint64_t
		leaf; /* covers disk bytes from leaf * 8 MiB; ascends from call to call, all-zero leaves are left out */
	bool end;     /* the disk is complete; nothing was delivered */
	uint8_t present[16]; /* bit i of byte i/8: block i of the leaf was delivered (others are zero); block i lies at
				buffers[i / 16] + (i % 16) * 65536, zero-padded if it is the disk's last */
};

struct block_source_ops {
	const char *format; /* "raw", "vhd", "xva", "qcow2", "nbd", ... */

	/* The extent that contains byte `offset` (below size_bytes); *ret starts at or before it and ends after it.
	 * NULL: all is data. Cost: a lookup; may ask the kernel or server. */
	enum err_code (*extent)(struct block_source *source, uint64_t offset, struct block_extent *ret,
				struct err *err);

	/* Random access. Opens a reader for one lane. `queue` is the lane's io_uring queue on a real tree (never NULL
	 * in the product; sources in memory ignore it). At most `depth` reads will be in flight. Gives *ret. */
	enum err_code (*reader_open)(struct block_source *source, struct io_queue *queue, unsigned depth,
				     struct block_reader **ret, struct err *err);

	/* Sequential. Fills buffers[0..7] (1 MiB each, 4096-aligned). NULL for random access. */
	enum err_code (*read_next)(struct block_source *source, uint8_t *const buffers[SOURCE_LEAF_BUFFERS],
				   struct source_leaf *ret, struct err *err);

	/* Called once after all data was read and before anything is committed: checks that the source is as it was
	 * (size unchanged, stream ended properly, children exited well). May be NULL. */
	enum err_code (*finish)(struct block_source *source, struct err *err);

	void (*close)(struct block_source *source);
};

struct block_source {
	const struct block_source_ops *ops;
	char name[SOURCE_NAME_MAX + 1]; /* what the user called it, or the disk's name inside a container */
	struct uuid uuid;               /* the disk's identity if the format carries one, else null */
	uint64_t size_bytes;            /* virtual size, 1 or more */
	uint64_t data_bytes_hint;       /* how much will be read at most, for progress; size_bytes if unknown */
	bool notice_set;                /* `notice` holds something the user should know ("reading buffered: ...") */
	char notice[256];
	const void *sequence; /* not NULL: a part of a stream shared with others; read in array order */
};

struct block_reader_ops {
	/* Starts a read. Never fails: errors are in read->err when it is done. */
	void (*submit)(struct block_reader *reader, struct block_read *read);
	/* Blocks until at least one read of this reader that was not done is done. Called only when one is in
	 * flight. */
	enum err_code (*wait)(struct block_reader *reader, struct err *err);
	/* Waits for what is in flight and frees. */
	void (*close)(struct block_reader *reader);
};

struct block_reader {
	const struct block_reader_ops *ops;
};

/* Closes a source; NULL is allowed. */
static inline void block_source_close(struct block_source *source)
{
	if (source)
		source->ops->close(source);
}

/* A source in memory: `data` (size bytes, borrowed). Random access; a twin for tests and benchmarks. */
MUST_CHECK enum err_code memory_source_new(const char *name, const void *data, uint64_t size_bytes,
					   struct block_source **ret, struct err *err);

#endif
