/* SPDX-License-Identifier: Apache-2.0 */
/* From block sources into the store: one saveset. docs/ARCHITECTURE.md, "The life of a block".
 *
 * Memory: lanes x backup_lane_memory() + the index + one map node per level and disk. */
#ifndef PIPELINE_BACKUP_H
#define PIPELINE_BACKUP_H

#include "base/err.h"
#include "base/progress.h"
#include "pipeline/block_source.h"
#include "pipeline/stage_times.h"
#include "store/store.h"

#include <stddef.h>
#include <stdint.h>

#define LANES_MAX 256

struct backup_document {
	const char *name;
	const void *data;
	size_t length;
};

struct backup_request {
	struct block_source **sources; /* borrowed; source->name is the disk's name in the saveset, unique in it */
	size_t source_count;
	const struct backup_document *documents;
	size_t document_count;
	unsigned lanes; /* 0: one per CPU */
	struct compression compression;
	enum verify_new verify_new;
	uint64_t read_limit_bytes_per_s; /* 0: none */
	bool no_compare;                 /* do not compare with the previous map of a disk */
	struct progress *progress;       /* may be NULL */
};

/* Backs up `sources` into `saveset` (made by the caller with vm name, tags, note and excluded disks; disks, documents,
 * times and warnings are filled in) and commits it. On an error or cancellation nothing becomes visible; what was
 * durable is found again by the next run. `ret_times` (may be NULL): where the lanes' time went. */
MUST_CHECK enum err_code backup_run(struct store *store, const struct backup_request *request, struct saveset *saveset,
				    struct stage_times *ret_times, struct err *err);

/* Bytes of memory that one lane takes. */
size_t backup_lane_memory(const struct store *store);

#endif
