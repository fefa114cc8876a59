/* SPDX-License-Identifier: Apache-2.0 */
/* A VHD with all its parents, youngest first.
 *
 * Threads: opened by one; vhd_chain_find may be called from many. */
#ifndef INGEST_VHD_CHAIN_H
#define INGEST_VHD_CHAIN_H

#include "base/err.h"
#include "ingest/file_reader.h"
#include "ingest/vhd_level.h"

#include <stdint.h>

#define VHD_CHAIN_MAX 64u /* XenServer stops at 30 */

struct vhd_chain {
	unsigned count;
	struct vhd_level *levels[VHD_CHAIN_MAX]; /* [0] is the disk itself */
};

/* Opens `path` and all its parents. ERR_NOT_FOUND names a missing parent and where it was looked for; ERR_CORRUPT: a
 * parent that does not fit, a loop, more than VHD_CHAIN_MAX levels, damage. Release *ret also after failure. */
MUST_CHECK enum err_code vhd_chain_open(const char *path, struct vhd_chain *ret, struct err *err);

void vhd_chain_release(struct vhd_chain *chain);

/* Where the disk bytes from `offset` on lie, of which `length` are wanted (multiples of VHD_SECTOR, inside the disk).
 */
MUST_CHECK enum err_code vhd_chain_find(struct vhd_chain *chain, uint64_t offset, uint64_t length,
					struct file_piece *ret, struct err *err);

/* Finds and opens the parent of `child`, a differencing VHD; checks UUID and time stamp. Gives *ret. */
MUST_CHECK enum err_code vhd_parent_open(const struct vhd_level *child, struct vhd_level **ret, struct err *err);

#endif
