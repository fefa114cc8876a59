/* SPDX-License-Identifier: Apache-2.0 */
/* Which parts of a disk image hold data: what a backup has to read of it.
 *
 * Threads: pure functions. */
#ifndef BENCH_EXTENTS_H
#define BENCH_EXTENTS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* A run of bytes; offset and length are multiples of BLOCK_SIZE except for the length at the end of the file. */
struct extent {
	uint64_t offset;
	uint64_t length;
};

/* The data extents of the file or device `path` (SEEK_DATA), rounded out to whole blocks and merged, ascending. Where
 * the file system cannot tell, it is one extent. Gives *ret (free). ERR_IO, ERR_NOT_FOUND. */
MUST_CHECK enum err_code data_extents(const char *path, struct extent **ret, size_t *ret_count, uint64_t *ret_size,
				      struct err *err);

#endif
