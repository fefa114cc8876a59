/* SPDX-License-Identifier: Apache-2.0 */
/* From the store to a block target: one disk. Every block's chunk ID is checked on the way. */
#ifndef PIPELINE_RESTORE_H
#define PIPELINE_RESTORE_H

#include "base/err.h"
#include "base/progress.h"
#include "pipeline/block_target.h"
#include "pipeline/stage_times.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A run of blocks that could not be restored. */
struct lost_range {
	uint64_t first_block;
	uint64_t block_count;
	char reason[160];
};

struct damage_list {
	struct lost_range
		*ranges; /* ascending, merged; at most DAMAGE_RANGES_MAX, `truncated` says that there are more */
	size_t count;
	uint64_t lost_blocks;
	bool truncated;
};
#define DAMAGE_RANGES_MAX 65536

void damage_list_release(struct damage_list *list);

struct restore_request {
	const struct disk_map *map;
	uint64_t size_bytes; /* of the disk */
	struct block_target *target;
	unsigned lanes;            /* 0: one per CPU */
	bool keep_going;           /* on damage write what is whole (lost blocks as zeroes) and go on */
	struct progress *progress; /* may be NULL; done_bytes counts disk bytes that are not holes */
};

/* Restores and finishes the target. ERR_CORRUPT if anything was lost (without keep_going: at the first loss, the target
 * is then not finished; with it: after everything else was written and finished); `ret_damage` names the ranges either
 * way. */
MUST_CHECK enum err_code restore_run(struct store *store, const struct restore_request *request,
				     struct damage_list *ret_damage, struct stage_times *ret_times, struct err *err);

/* Reads a document of a saveset whole. Gives *ret (free), with a zero byte behind. */
MUST_CHECK enum err_code restore_document(struct store *store, const struct saveset_document *document, uint8_t **ret,
					  size_t *ret_length, struct err *err);

#endif
