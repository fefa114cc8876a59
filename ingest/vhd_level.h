/* SPDX-License-Identifier: Apache-2.0 */
/* One VHD file opened for reading: one level of a chain.
 *
 * Threads: opened by one; vhd_level_find may be called from many. */
#ifndef INGEST_VHD_LEVEL_H
#define INGEST_VHD_LEVEL_H

#include "base/err.h"
#include "ingest/source_file.h"
#include "ingest/vhd.h"
#include "ingest/vhd_bat.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define VHD_BITMAP_MAX (VHD_BLOCK_MAX / VHD_SECTOR / 8) /* bytes of the largest bitmap */
#define VHD_BITMAP_SLOTS 64u

struct vhd_level {
	struct source_file *file;
	struct vhd_footer footer;
	struct vhd_header header; /* unset if fixed */
	bool copy_used;           /* the footer at the end is damaged */
	unsigned block_shift;
	uint32_t bitmap_bytes;
	struct vhd_bat *bat; /* NULL if fixed or not loaded */
	/* Bitmaps of partial blocks that were asked last; a block has one slot it can be in. */
	pthread_mutex_t lock; /* guards `bitmaps` */
	struct vhd_bitmap {
		uint32_t block;
		bool set;
		uint8_t bits[VHD_BITMAP_MAX];
	} bitmaps[VHD_BITMAP_SLOTS];
};

/* Opens a file and reads footer and header. ERR_NOT_FOUND, ERR_CORRUPT, ERR_UNSUPPORTED, ERR_IO. Gives *ret. */
MUST_CHECK enum err_code vhd_level_open(const char *path, struct vhd_level **ret, struct err *err);

/* Reads and checks the block table, before the first vhd_level_find. */
MUST_CHECK enum err_code vhd_level_load(struct vhd_level *level, struct err *err);

/* NULL is allowed. */
void vhd_level_close(struct vhd_level *level);

/* Where a run of disk bytes is. */
struct vhd_run {
	bool here;       /* in this file, at `offset`; otherwise this level does not have it */
	uint64_t offset; /* in the file */
	uint64_t length; /* of the run, 1 or more, at most what was asked for */
};

/* Finds the disk bytes from `offset` on, of which `length` are wanted; both are multiples of VHD_SECTOR. `offset` is
 * below the level's size. May read a bitmap from the file. */
MUST_CHECK enum err_code vhd_level_find(struct vhd_level *level, uint64_t offset, uint64_t length, struct vhd_run *ret,
					struct err *err);

/* True if the block table (not the bitmaps) says that the level has something of the block that contains `offset`. */
bool vhd_level_has_block(const struct vhd_level *level, uint64_t offset);

/* True if the data of all blocks starts at a multiple of `align` in the file. */
bool vhd_level_is_aligned(const struct vhd_level *level, uint32_t align);

#endif
