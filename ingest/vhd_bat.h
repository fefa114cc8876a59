/* SPDX-License-Identifier: Apache-2.0 */
/* A VHD's block allocation table in memory: pages of entries, none where a whole page is unused, so that the nearly
 * empty table of a young snapshot costs next to nothing. Beside each entry stands what is known of the block's bitmap.
 *
 * Threads: filled by one; then everything may be called from many. */
#ifndef INGEST_VHD_BAT_H
#define INGEST_VHD_BAT_H

#include "base/err.h"
#include "ingest/vhd.h"

#include <stddef.h>
#include <stdint.h>

/* What a block's bitmap says. */
enum vhd_block_state {
	VHD_BLOCK_UNKNOWN = 0, /* not looked at yet */
	VHD_BLOCK_WHOLE,       /* every sector is here */
	VHD_BLOCK_EMPTY,       /* no sector is here */
	VHD_BLOCK_PARTIAL,     /* the bitmap has to be asked */
};

/* A part of the file that no block may touch. */
struct vhd_region {
	uint64_t offset;
	uint64_t length;
	const char *what; /* for messages */
};

struct vhd_bat;

/* Makes an empty table for `entries` blocks. Gives *ret. */
MUST_CHECK enum err_code vhd_bat_new(uint32_t entries, struct vhd_bat **ret, struct err *err);

/* NULL is allowed. */
void vhd_bat_free(struct vhd_bat *bat);

/* Takes in the bytes of the next entries (`length` is a multiple of 4); what is beyond the table is ignored. */
MUST_CHECK enum err_code vhd_bat_fill(struct vhd_bat *bat, const uint8_t *data, size_t length, struct err *err);

/* Checks that all blocks (bitmap and `block_bytes` of data) lie in the first `limit` bytes of the file, and neither on
 * each other nor on the given regions. ERR_CORRUPT naming `name` and the block. */
MUST_CHECK enum err_code vhd_bat_check(const struct vhd_bat *bat, uint32_t block_bytes, uint64_t limit,
				       const struct vhd_region *regions, size_t region_count, const char *name,
				       struct err *err);

/* The sector where a block's bitmap starts, or VHD_UNUSED. Blocks beyond the table are unused. */
uint32_t vhd_bat_get(const struct vhd_bat *bat, uint32_t block);

/* How many blocks from `block` on are surely unused: more than 0 where a whole page of the table is. */
uint32_t vhd_bat_unused_run(const struct vhd_bat *bat, uint32_t block);

enum vhd_block_state vhd_bat_state(const struct vhd_bat *bat, uint32_t block);
void vhd_bat_set_state(struct vhd_bat *bat, uint32_t block, enum vhd_block_state state);

#endif
