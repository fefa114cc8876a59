/* SPDX-License-Identifier: Apache-2.0 */
/* One disk of a saveset into one target, as restore, restore --xva and rehearse have in common: progress, damage
 * report, sums.
 *
 * Threads: one owner. */
#ifndef APPLIANCE_RESTORE_DISK_H
#define APPLIANCE_RESTORE_DISK_H

#include "appliance/verb.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "pipeline/block_target.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct restore_options {
	const char *format;
	bool overwrite;
	bool keep_going;
	uint64_t lanes;
	bool xva;
	unsigned xva_checksum; /* OPTION_CHOICE "xxhash|sha1" */
};

/* What was done, over all disks of a call. */
struct restore_sums {
	uint64_t disks;
	uint64_t size_bytes;
	uint64_t data_bytes;
	uint64_t lost_blocks;
	uint64_t start_ns;
};

/* Restores `disk` to `target` (borrowed) and tells about damage. `verb` is for the progress line. ERR_CORRUPT if blocks
 * are lost; with keep_going everything else is at its place then. */
MUST_CHECK enum err_code restore_disk(const struct invocation *invocation, struct store *store, const char *verb,
				      const struct saveset_disk *disk, struct block_target *target, bool keep_going,
				      unsigned lanes, struct restore_sums *sums, struct err *err);

/* Prints the sums. */
void restore_summary(const struct invocation *invocation, const char *verb, const struct restore_sums *sums);

/* Streams the whole saveset as an XVA to the file `path` ("-": standard output). */
MUST_CHECK enum err_code restore_xva(const struct invocation *invocation, struct store *store,
				     const struct saveset *saveset, const char *path,
				     const struct restore_options *options, struct restore_sums *sums, struct err *err);

DEFINE_CLEANUP(target, struct block_target, block_target_close)

#endif
