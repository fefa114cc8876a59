/* SPDX-License-Identifier: Apache-2.0 */
/* Where a chunk is: chunk ID -> (segment, slot).
 *
 * The index is advice. It may be deleted, old, damaged or hostile: a hit counts only after the caller has seen the same
 * 256-bit ID in the authenticated directory of a live segment (store_find_chunk does that), so a wrong index costs
 * space or time, never data.
 *
 *   chunk_table   in memory, lock-free: what this process stored, and what was committed since the last run was written
 *   runs          index/NNNNNNNN.run: sorted, 4 KiB pages chosen by ID prefix, each run behind a blocked Bloom filter
 *
 * Needed memory: 24 bytes / 0.6 load per chunk in the table, 1.5 bytes per chunk in runs (the filter).
 *
 * Threads: lookups and inserts may run in many threads at once; open, flush and close are called by one. */
#ifndef STORE_CHUNK_INDEX_H
#define STORE_CHUNK_INDEX_H

#include "base/err.h"
#include "store/chunk_id.h"
#include "store/io.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chunk_location {
	uint64_t segment; /* number, below 2^40 */
	uint32_t slot;    /* record within the segment, below 2^16 */
};

struct chunk_index;

/* Opens the index of a store (directory "index" of `io`). Runs carry a plain checksum; a run that does not pass is
 * ignored, those written after it too, and *ret_ignored counts them (1 for a damaged manifest). After the call,
 * chunk_index_covered tells up to which segment number the runs are complete; the caller adds the records of all later
 * live segments with chunk_index_add. Errors are out-of-memory only. */
MUST_CHECK enum err_code chunk_index_open(struct io *io, struct chunk_index **ret, unsigned *ret_ignored,
					  struct err *err);

/* All records of live segments with a number up to this one are in the runs; 0 if there are none. Segments count
 * from 1. */
uint64_t chunk_index_covered(const struct chunk_index *index);

/* What chunk_index_claim found. */
enum chunk_claim {
	CHUNK_CLAIM_NEW,     /* unknown: now marked as being stored by the caller, who must call chunk_index_set */
	CHUNK_CLAIM_PENDING, /* another lane of this process is storing it now, or has stored it in this job */
	CHUNK_CLAIM_KNOWN,   /* in the table: committed, or set by this process; location in *ret */
	CHUNK_CLAIM_MAYBE, /* found in a run: *ret must be checked against the directory; if it proves wrong, the caller
			      calls chunk_index_claim_new */
};

/* Looks up `count` (up to 16) IDs and claims the unknown ones, so that two lanes do not store the same content. Results
 * in claims[] and locations[] (for KNOWN and MAYBE). ERR_IO if a run cannot be read: such a run counts as ignored from
 * then on and the call still succeeds, so errors are out-of-memory only. */
MUST_CHECK enum err_code chunk_index_claim(struct chunk_index *index, const struct chunk_id ids[], size_t count,
					   enum chunk_claim claims[], struct chunk_location locations[],
					   struct err *err);

/* Claims an ID whose MAYBE proved wrong. NEW or PENDING/KNOWN as above. */
MUST_CHECK enum err_code chunk_index_claim_new(struct chunk_index *index, const struct chunk_id *id,
					       enum chunk_claim *ret_claim, struct chunk_location *ret,
					       struct err *err);

/* Says where a chunk claimed NEW was put. */
void chunk_index_set(struct chunk_index *index, const struct chunk_id *id, struct chunk_location location);

/* Makes an ID that was claimed or set unknown to the table again: its lane gives up, or what it wrote did not become
 * durable. Every claim that is not set must be forgotten, or later jobs take the chunk for one that is being stored. */
void chunk_index_forget(struct chunk_index *index, const struct chunk_id *id);

/* Adds a chunk known from a segment's directory. Later adds of the same ID are ignored. */
MUST_CHECK enum err_code chunk_index_add(struct chunk_index *index, const struct chunk_id *id,
					 struct chunk_location location, struct err *err);

/* Looks up without claiming: true if found (in the table, else the newest run that has it). `nth` 0 is the first
 * candidate; a caller whose candidate proved wrong asks for the next one. */
bool chunk_index_find(struct chunk_index *index, const struct chunk_id *id, unsigned nth, struct chunk_location *ret);

/* Writes the table's entries of segments up to `covered` as a new run, merging all runs into one when there are more
 * than CHUNK_INDEX_RUNS_MAX, dropping entries for which `is_live` says no (NULL: all are live). Crash-safe at any
 * point; on error the index on disk is as before. The in-memory table stays. If a run turned out damaged, the index on
 * disk shrinks to the runs before it instead, and chunk_index_covered with it. Lookups and inserts may go on meanwhile.
 */
#define CHUNK_INDEX_RUNS_MAX 8
MUST_CHECK enum err_code chunk_index_flush(struct chunk_index *index, uint64_t covered,
					   bool (*is_live)(void *user, uint64_t segment), void *user, struct err *err);

struct chunk_index_stats {
	uint64_t table_entries;
	uint64_t run_entries;
	unsigned runs;
	uint64_t memory_bytes; /* table and filters */
	unsigned runs_damaged; /* runs of which a page could not be read or trusted since the index was opened */
};
void chunk_index_stats(const struct chunk_index *index, struct chunk_index_stats *ret);

void chunk_index_close(struct chunk_index *index);

#endif
