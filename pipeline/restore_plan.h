/* SPDX-License-Identifier: Apache-2.0 */
/* Where the blocks of one leaf lie in the store, and the reads that fetch them: sorted by segment and offset,
 * neighbours joined. Private to pipeline/. */
#ifndef PIPELINE_RESTORE_PLAN_H
#define PIPELINE_RESTORE_PLAN_H

#include "pipeline/restore_internal.h"

/* Bytes of one read, and the gap that is read over rather than skipped: on flash both ways cost the same there, a
 * spinning disk would seek for it. */
#define FETCH_MAX (1u << 20)
#define FETCH_GAP (64u << 10)

/* A block and its record. */
struct fetch_item {
	struct segment *segment; /* one reference */
	const struct record_entry *entry;
	uint8_t block;       /* in the leaf */
	bool same_as_before; /* the item before has the same record: its plain bytes serve */
};

/* One read. */
struct fetch_run {
	unsigned first; /* item */
	unsigned count;
	uint64_t offset; /* aligned envelope in the segment */
	uint32_t length;
};

struct fetch_plan {
	struct fetch_item items[DISK_MAP_FANOUT];
	unsigned item_count;
	struct fetch_run runs[DISK_MAP_FANOUT];
	unsigned run_count;
};

/* Finds every present block of the claim's leaf. A block without a record is lost (restore_lose_block) and taken out of
 * `node`. */
enum err_code fetch_plan_make(struct fetch_plan *plan, struct restore_job *job, struct restore_claim *claim,
			      struct store_guess *guess, struct err *err);

/* Drops the references. */
void fetch_plan_release(struct fetch_plan *plan);

#endif
