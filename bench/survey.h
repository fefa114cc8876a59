/* SPDX-License-Identifier: Apache-2.0 */
/* What a disk holds, counted without the product: blocks that must be read, that are not zero, and that no disk
 * surveyed before has; and a random sample of the latter in memory, for measuring primitives with.
 *
 * Threads: one owner. */
#ifndef BENCH_SURVEY_H
#define BENCH_SURVEY_H

#include "base/err.h"
#include "store/chunk_id.h"

#include <stddef.h>
#include <stdint.h>

/* All values in bytes. */
struct disk_survey {
	uint64_t size;
	uint64_t read;  /* in extents that hold data, whole blocks */
	uint64_t data;  /* in blocks that are not zero, as they are read (a last block counts whole) */
	uint64_t fresh; /* in blocks of a content that was not seen before, each content once */
};

/* `count` blocks of BLOCK_SIZE bytes, back to back. */
struct block_sample {
	uint8_t *data;
	size_t count;
};

/* Contents seen so far. Opaque; zero-initialise, release at the end. */
struct survey_memory {
	uint64_t *contents; /* open addressing; 0 is free */
	size_t capacity;
	size_t count;
};

void survey_memory_release(struct survey_memory *memory);

/* Reads the disk at `path` once, with O_DIRECT where possible. `sample_blocks` is how many fresh blocks are wanted,
 * drawn evenly from all of the disk. Gives ret_sample->data (block_sample_release). */
MUST_CHECK enum err_code survey_disk(const char *path, size_t sample_blocks, struct survey_memory *memory,
				     struct disk_survey *ret, struct block_sample *ret_sample, struct err *err);

void block_sample_release(struct block_sample *sample);

#endif
