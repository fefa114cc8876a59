/* SPDX-License-Identifier: Apache-2.0 */
/* A store: the directory that holds everything (docs/FORMAT.md).
 *
 *   store.conf   format version and parameters, readable         segments/data/  chunks
 *   lock         who writes now                                   segments/meta/  map nodes, savesets, log copies
 *   keys/        key slots and the recovery key's public half     index/          may be deleted at any time
 *   log-a log-b  the commit log
 *
 * One process may have it open for writing (the lock says who); readers go on beside it and see the state as of their
 * opening.
 *
 * Threads: a store may be used by many threads; what belongs to one thread says so. Lock order: txn, commit, cache. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/err.h"
#include "base/uuid.h"
#include "store/chunk_hash.h"
#include "store/chunk_index.h"
#include "store/commit_log.h"
#include "store/disk_map.h"
#include "store/io.h"
#include "store/keys.h"
#include "store/saveset.h"
#include "store/segment.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_FORMAT_VERSION 1u

struct store;
struct store_txn;

/* What store.conf says. */
struct store_config {
	uint32_t format_version;
	struct uuid id;
	bool sealed; /* no data key is kept for the appliance: restoring needs the recovery key */
	uint32_t segment_size;
	uint32_t stripe_size;
	uint64_t created_unix_s;
};

struct store_init_options {
	bool sealed;
	uint32_t segment_size;        /* 0: SEGMENT_SIZE_DEFAULT */
	uint32_t stripe_size;         /* 0: STRIPE_SIZE_DEFAULT */
	uint64_t log_size;            /* of each log file; 0: 1 MiB */
	enum key_slot_kind slot_kind; /* of the first key slot */
	const void *secret;           /* of the first key slot */
	size_t secret_length;
	const char *slot_name;
	struct passphrase_cost cost;
};

/* Makes a store in the empty directory of `io`. The recovery secret (the caller prints it and wipes it) is kept
 * nowhere. Crash-safe: before the last step the directory is no store and init may be run again over what it left.
 * ERR_EXISTS if the directory holds a store or anything else. */
MUST_CHECK enum err_code store_init(struct io *io, const struct store_init_options *options,
				    uint8_t ret_recovery_secret[static KEY_SIZE], struct store_config *ret_config,
				    struct err *err);

/* Reads store.conf alone: no key needed. ERR_NO_STORE if there is none, ERR_UNSUPPORTED for a newer format. */
MUST_CHECK enum err_code store_read_config(struct io *io, struct store_config *ret, struct err *err);

enum store_mode {
	STORE_READ,
	STORE_WRITE, /* takes the lock, ends what a crash left (orphans are adopted or carried over) */
};

/* Opens. Keeps `io` until store_close (which does not free it). ERR_NO_STORE, ERR_UNSUPPORTED (newer format), ERR_AUTH
 * (wrong secret), ERR_BUSY (says who writes and since when), ERR_CORRUPT. */
MUST_CHECK enum err_code store_open(struct io *io, enum store_mode mode, const struct unlock *unlock,
				    struct store **ret, struct err *err);
void store_close(struct store *store);

const struct store_config *store_config(const struct store *store);
const struct store_keys *store_keys_of(const struct store *store);
const struct log_state *store_state(const struct store *store);
struct io *store_io(const struct store *store);
const struct chunk_hasher *store_chunk_hasher(const struct store *store);
void store_index_stats(const struct store *store, struct chunk_index_stats *ret);

/* Things that the user should know about this opening: a damaged log copy, an ignored index run, what was recovered
 * after a crash. NULL-terminated list of lines; the store's. */
const char *const *store_notices(const struct store *store);

/* What is wrong with the commit log as this opening found it: a damaged copy, or entries lost in both. NULL if nothing
 * is. */
const char *store_log_damage(const struct store *store);

/* ---- Reading ---- */

/* A live segment by number, from a cache; unref it. ERR_NOT_FOUND if the log does not list it. */
MUST_CHECK enum err_code store_segment(struct store *store, uint64_t number, struct segment **ret, struct err *err);

/* Where a record is, proven by the directory of a live segment. ERR_NOT_FOUND if it is in no live segment. Gives
 * *ret_segment (unref it); *ret_entry is the segment's. */
MUST_CHECK enum err_code store_find(struct store *store, const struct chunk_id *id, struct segment **ret_segment,
				    const struct record_entry **ret_entry, uint32_t *ret_slot, struct err *err);

/* Where a lane found its last record: neighbours on a disk mostly lie in neighbouring slots, so that is where it looks
 * first. One per lane; zeroed before use, store_guess_release in the end. */
struct store_guess {
	struct segment *segment; /* one reference, or NULL */
	uint32_t slot;
};
void store_guess_release(struct store_guess *guess);

/* store_find that looks at the guess before the index, and leaves in it where the record is (guess->segment stays the
 * guess's). */
MUST_CHECK enum err_code store_find_near(struct store *store, const struct chunk_id *id, struct store_guess *guess,
					 const struct record_entry **ret_entry, struct err *err);

/* Reads one record and checks its ID; for metadata. `dst` has `capacity` bytes. ERR_NOT_FOUND, ERR_CORRUPT, ERR_AUTH,
 * ERR_LIMIT if it does not fit. Thread-safe. */
MUST_CHECK enum err_code store_read_record(struct store *store, enum record_kind kind, const struct chunk_id *id,
					   void *dst, size_t capacity, size_t *ret_length, struct err *err);

/* Map nodes of committed savesets; read-only. */
struct node_store store_nodes(struct store *store);

/* The description of a visible saveset. Gives *ret (saveset_free). */
MUST_CHECK enum err_code store_load_saveset(struct store *store, const struct log_saveset *entry, struct saveset **ret,
					    struct err *err);

/* The newest visible saveset with a disk of that identity: of the VM with `vm_uuid` if both are known, else with that
 * name; the disk with `disk_uuid`, else with that name. ERR_NOT_FOUND. Gives the disk's map. */
MUST_CHECK enum err_code store_find_previous(struct store *store, const char *vm_name, const struct uuid *vm_uuid,
					     const char *disk_name, const struct uuid *disk_uuid, struct disk_map *ret,
					     struct err *err);

/* ---- Writing ---- */

/* Begins a transaction: one job's segments and in the end its saveset. */
MUST_CHECK enum err_code store_txn_begin(struct store *store, enum verify_new verify_new, struct store_txn **ret,
					 struct err *err);

/* A writer of data segments for one lane; free it with segment_writer_free before the transaction ends. `arena` as for
 * segment_writer_new; its size is store_writer_arena_size. */
size_t store_writer_arena_size(const struct store *store);
MUST_CHECK enum err_code store_txn_writer(struct store_txn *txn, struct compression compression, struct io_queue *queue,
					  void *arena, struct segment_writer **ret, struct err *err);

/* Looks up and claims up to CHUNK_HASH_LANES chunks as chunk_index_claim does, with every answer proven: claims[] are
 * NEW (store it, then call store_txn_stored), PENDING or KNOWN. What lies where the lane's guess says needs no look-up
 * at all. */
MUST_CHECK enum err_code store_txn_claim(struct store_txn *txn, struct store_guess *guess, const struct chunk_id ids[],
					 size_t count, enum chunk_claim claims[], struct err *err);
void store_txn_stored(struct store_txn *txn, const struct chunk_id *id, struct chunk_location location);

/* Map nodes of this transaction: what has() does not know is written to the transaction's metadata segment. For the
 * thread that began the transaction. */
struct node_store store_txn_nodes(struct store_txn *txn);

/* Makes everything durable and the saveset visible. All lane writers must have been finished. On ERR_OK the saveset
 * restores, whatever happens next. On any error it is not visible (or, if the log itself failed, the error says that it
 * is unknown). */
MUST_CHECK enum err_code store_txn_commit(struct store_txn *txn, struct saveset *saveset, struct err *err);

/* Ends a transaction without a saveset. Segments that are sealed are kept for later runs to find. */
void store_txn_abort(struct store_txn *txn);

#endif
