/* SPDX-License-Identifier: Apache-2.0 */
/* The commit log: the one root of truth. What it lists exists; everything else is an orphan.
 *
 * Two files, log-a and log-b, written with zeroes in advance, each hold the same chain of entries: a checkpoint (the
 * whole state) and the changes after it. An entry is written and synced in log-a first (that is the commit) and then in
 * log-b, so at every instant at least one of them is whole. Entries are chained by MAC and authenticated.
 *
 * Threads: commit_log_append is serialised by the caller; the state may be read while nobody appends. */
#ifndef STORE_COMMIT_LOG_H
#define STORE_COMMIT_LOG_H

#include "base/err.h"
#include "base/uuid.h"
#include "store/chunk_id.h"
#include "store/io.h"
#include "store/keys.h"
#include "store/segment.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A visible saveset. */
struct log_saveset {
	struct uuid id;
	struct chunk_id record; /* ID of its RECORD_SAVESET record */
	uint64_t time_unix_s;   /* of the commit */
};

/* Everything that the log says. Arrays are sorted: segments by number, savesets by commit order. */
struct log_state {
	uint64_t sequence; /* of the last entry */
	uint64_t next_segment;
	uint64_t time_unix_s; /* highest time ever seen in the log */
	struct segment_info *segments;
	size_t segment_count;
	struct log_saveset *savesets;
	size_t saveset_count;
};

/* One change; any of the parts may be empty. */
struct log_change {
	const struct segment_info *segments_added;
	size_t segments_added_count;
	const struct log_saveset *saveset_added; /* NULL: none */
};

struct commit_log;

/* Makes both files with an empty checkpoint, durable but for their names. `file_size` is a multiple of 4096, 64 KiB or
 * more. */
MUST_CHECK enum err_code commit_log_create(struct io *io, const struct store_keys *keys, uint64_t file_size,
					   struct err *err);

/* Reads both files and takes the longest whole chain. With `writable` the shorter or damaged one is brought up to date.
 * ERR_CORRUPT if no chain is whole, or if (writable) entries after the chain prove that committed ones are lost.
 * `ret_notice` (512 bytes, set to "" first) tells of a damaged copy. */
MUST_CHECK enum err_code commit_log_open(struct io *io, const struct store_keys *keys, bool writable,
					 struct commit_log **ret, char ret_notice[static 512], struct err *err);

const struct log_state *commit_log_state(const struct commit_log *log);

/* The segment with that number, or NULL if it is not live. */
const struct segment_info *commit_log_segment(const struct commit_log *log, uint64_t number);

/* Commits a change: on ERR_OK it is durable and in the state. After an error the log refuses everything until it is
 * reopened (the change may or may not be durable). */
MUST_CHECK enum err_code commit_log_append(struct commit_log *log, const struct log_change *change, struct err *err);

/* The last entry's bytes as written (for the copy in the next metadata segment); the log's until the next append. */
const uint8_t *commit_log_last_entry(const struct commit_log *log, size_t *ret_length);

void commit_log_close(struct commit_log *log);

/* Parser of one entry, free of I/O, for the fuzzer and the log itself: applies the entry in `data` to `state` after
 * checking store id, sequence, chain and MAC. *ret_length is the bytes it takes. ERR_NOT_FOUND if there is no entry
 * here (zeroes or an older one), ERR_CORRUPT if there is a damaged one. */
struct log_chain {
	uint64_t next_sequence; /* 0: any checkpoint starts the chain */
	uint8_t previous_mac[32];
};
MUST_CHECK enum err_code log_entry_apply(const uint8_t *data, size_t length, const struct store_keys *keys,
					 struct log_chain *chain, struct log_state *state, size_t *ret_length,
					 struct err *err);
void log_state_release(struct log_state *state);

#endif
