/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the chunk index: its parts, and the manifest.
 *
 * The file index/manifest lists the runs that count, oldest first; a run file that is not in it is left over from an
 * interrupted flush. It is replaced as a whole. Little-endian:
 *
 *    0  8  magic "xenoidx\n"
 *    8  4  version, 1
 *   12  4  number of runs, at most 64
 *   16  8  covered segment number: the runs together have all records of live segments up to this one
 *   24  8  zero
 *   32     per run: file number u32 | zero u32 | XXH3-64 of the run's header, as it stands in it, u64
 *          XXH3-64 of everything before, u64
 *
 * Every run says in its header up to which segment the runs are complete with it. So when one is missing or damaged,
 * those before it still count, and what the others have is added again by the caller from the segments' directories. */
#ifndef STORE_CHUNK_INDEX_INTERNAL_H
#define STORE_CHUNK_INDEX_INTERNAL_H

#include "store/chunk_index.h"
#include "store/chunk_table.h"
#include "store/index_run.h"

#include <pthread.h>

#define MANIFEST_PATH "index/manifest"
#define MANIFEST_RUNS_MAX 64u
#define MANIFEST_HEAD_SIZE 32u
#define MANIFEST_RUN_SIZE 16u
#define MANIFEST_SIZE_MAX (MANIFEST_HEAD_SIZE + MANIFEST_RUNS_MAX * MANIFEST_RUN_SIZE + 8u)

struct index_manifest {
	uint64_t covered;
	unsigned run_count;
	struct {
		uint32_t number;
		uint64_t hash;
	} runs[MANIFEST_RUNS_MAX];
};

/* Returns the length. */
size_t index_manifest_encode(const struct index_manifest *manifest, uint8_t dst[static MANIFEST_SIZE_MAX]);
MUST_CHECK enum err_code index_manifest_decode(const uint8_t *data, size_t length, struct index_manifest *ret,
					       struct err *err);

struct chunk_index {
	struct io *io; /* kept */
	struct chunk_table *table;
	/* Guards covered, run_count and runs[]: lookups hold it for reading while they use runs, flush for writing
	 * while it swaps the list, not while it writes files. Outside the table's lock. */
	pthread_rwlock_t runs_lock;
	uint64_t covered;
	unsigned run_count;
	struct index_run *runs[MANIFEST_RUNS_MAX]; /* oldest first */
	bool manifest_stale;                       /* it lists runs that were ignored; flush's own */
};

/* The entries of one source of a merge, in ascending order. */
struct merge_source {
	struct index_run_cursor *cursor;       /* of a run, or NULL */
	const struct index_run_entry *entries; /* else an array */
	size_t count;
	struct index_run_entry head; /* the next entry, unless `end` */
	bool end;
};

typedef bool (*segment_is_live_fn)(void *user, uint64_t segment);

/* Merges `count` sources, oldest first, into `writer`: entries of dead segments are dropped; of several entries with
 * one ID the newest stays. Memory: what the sources have. */
MUST_CHECK enum err_code index_merge(struct merge_source *sources, size_t count, segment_is_live_fn is_live, void *user,
				     struct index_run_writer *writer, struct err *err);

/* The table's entries of live segments in (above, covered], sorted, each ID once. Gives *ret (free). */
MUST_CHECK enum err_code index_collect(const struct chunk_table *table, uint64_t above, uint64_t covered,
				       segment_is_live_fn is_live, void *user, struct index_run_entry **ret,
				       size_t *ret_count, struct err *err);

#endif
