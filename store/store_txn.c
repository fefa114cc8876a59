/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions. The order that makes a saveset safe (docs/FORMAT.md, "Write order"):
 *
 *   chunks, map nodes, saveset record -> all writes completed, all segments sealed and synced -> their names synced
 *   -> one log entry, synced: the commit.
 */
#include "store/store_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Sealed segments are entered into the log in groups of this many (1 GiB) while a job runs: what a killed job has
 * stored is then found by the next one. */
#define CHECKPOINT_SEGMENTS 16

/* Enough for the stripes, the parts of a seal and a readback. */
#define META_QUEUE_DEPTH 32

struct store_txn {
	struct store *store;
	struct segment_context context;

	pthread_mutex_t mutex; /* guards sealed; taken before the store's commit_mutex */
	struct segment_info *sealed;
	size_t sealed_count;
	size_t sealed_room;

	/* Metadata, written by the thread that began the transaction. */
	struct io_queue *meta_queue;
	void *meta_arena;
	size_t meta_arena_size;
	struct segment_writer *meta;
	struct store_guess meta_guess;
};

/* ---- Segments as they are sealed ---- */

static uint64_t next_number(void *user)
{
	struct store_txn *txn = user;
	return atomic_fetch_add_explicit(&txn->store->next_segment, 1, memory_order_relaxed);
}

static enum err_code sync_segment_names(struct store *store, struct err *err)
{
	TRY(io_sync_dir(store->io, "segments/data", err));
	return io_sync_dir(store->io, "segments/meta", err);
}

/* Commits the sealed segments and, in the end, a saveset. The transaction's mutex is held. */
static enum err_code commit_sealed(struct store_txn *txn, const struct log_saveset *saveset, struct err *err)
{
	struct log_change change = {
		.segments_added = txn->sealed,
		.segments_added_count = txn->sealed_count,
		.saveset_added = saveset,
	};
	LOCK_SCOPE(&txn->store->commit_mutex);
	TRY(sync_segment_names(txn->store, err));
	TRY(commit_log_append(txn->store->log, &change, err));
	txn->sealed_count = 0;
	return ERR_OK;
}

static enum err_code segment_sealed(void *user, const struct segment_info *info, struct err *err)
{
	struct store_txn *txn = user;
	LOCK_SCOPE(&txn->mutex);
	if (txn->sealed_count == txn->sealed_room) {
		size_t room = txn->sealed_room ? txn->sealed_room * 2 : CHECKPOINT_SEGMENTS;
		struct segment_info *grown = reallocarray(txn->sealed, room, sizeof(*grown));
		if (!grown)
			return err_set(err, ERR_NO_MEMORY, 0, "no memory for a list of segments");
		txn->sealed = grown;
		txn->sealed_room = room;
	}
	txn->sealed[txn->sealed_count++] = *info;
	return txn->sealed_count >= CHECKPOINT_SEGMENTS ? commit_sealed(txn, NULL, err) : ERR_OK;
}

/* ---- Life ---- */

struct segment_context store_segment_context(const struct store *store, enum verify_new verify_new)
{
	return (struct segment_context){
		.io = store->io,
		.keys = store->keys,
		.sealed_store = store->config.sealed,
		.segment_size = store->config.segment_size,
		.stripe_size = store->config.stripe_size,
		.verify_new = verify_new,
	};
}

enum err_code store_txn_begin(struct store *store, enum verify_new verify_new, struct store_txn **ret, struct err *err)
{
	if (store->mode != STORE_WRITE)
		return err_set(err, ERR_BUG, 0, "the store is open for reading only");
	struct store_txn *txn = calloc(1, sizeof(*txn));
	if (!txn)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a transaction");
	txn->store = store;
	txn->context = store_segment_context(store, verify_new);
	txn->context.next_number = next_number;
	txn->context.sealed = segment_sealed;
	txn->context.user = txn;
	pthread_mutex_init(&txn->mutex, NULL);
	enum err_code code = ERR_OK;
	{
		LOCK_SCOPE(&store->commit_mutex);
		if (store->txn_active)
			code = err_set(err, ERR_BUSY, 0, "another job of this process is writing to the store");
		else if (store->index_stale)
			code = store_load_index(store, err);
		if (code == ERR_OK) {
			store->index_stale = false;
			store->txn_active = true;
		}
	}
	if (code != ERR_OK) {
		pthread_mutex_destroy(&txn->mutex);
		free(txn);
		return code;
	}
	*ret = txn;
	return ERR_OK;
}

static void free_meta(struct store_txn *txn)
{
	segment_writer_free(txn->meta);
	io_queue_free(txn->meta_queue);
	if (txn->meta_arena)
		munmap(txn->meta_arena, txn->meta_arena_size);
	txn->meta = NULL;
	txn->meta_queue = NULL;
	txn->meta_arena = NULL;
}

static void txn_free(struct store_txn *txn, bool index_is_good)
{
	free_meta(txn);
	store_guess_release(&txn->meta_guess);
	{
		LOCK_SCOPE(&txn->store->commit_mutex);
		txn->store->txn_active = false;
		txn->store->index_stale |= !index_is_good;
	}
	pthread_mutex_destroy(&txn->mutex);
	free(txn->sealed);
	free(txn);
}

size_t store_writer_arena_size(const struct store *store)
{
	struct segment_context context = store_segment_context(store, VERIFY_NEW_OFF);
	return segment_writer_arena_size(&context);
}

enum err_code store_txn_writer(struct store_txn *txn, struct compression compression, struct io_queue *queue,
			       void *arena, struct segment_writer **ret, struct err *err)
{
	return segment_writer_new(&txn->context, SEGMENT_DATA, compression, queue, arena, ret, err);
}

/* ---- Chunks ---- */

/* True if the location that the index named holds the chunk; the guess then points to it. */
static bool is_proven(struct store *store, const struct chunk_id *id, struct chunk_location where,
		      struct store_guess *guess)
{
	struct segment *segment;
	if (store_segment(store, where.segment, &segment, NULL) != ERR_OK)
		return false;
	uint32_t count;
	const struct record_entry *entries = segment_entries(segment, &count);
	bool proven = where.slot < count && chunk_id_equal(&entries[where.slot].id, id);
	if (proven)
		store_guess_set(guess, segment, where.slot);
	else
		segment_unref(segment);
	return proven;
}

enum err_code store_txn_claim(struct store_txn *txn, struct store_guess *guess, const struct chunk_id ids[],
			      size_t count, enum chunk_claim claims[], struct err *err)
{
	struct chunk_id unknown[CHUNK_HASH_LANES];
	size_t which[CHUNK_HASH_LANES];
	size_t unknown_count = 0;
	for (size_t i = 0; i < count; i++) {
		claims[i] = CHUNK_CLAIM_KNOWN;
		if (store_guess_hits(guess, &ids[i]))
			continue;
		unknown[unknown_count] = ids[i];
		which[unknown_count++] = i;
	}
	if (unknown_count == 0)
		return ERR_OK;
	enum chunk_claim answers[CHUNK_HASH_LANES];
	struct chunk_location locations[CHUNK_HASH_LANES];
	TRY(chunk_index_claim(txn->store->index, unknown, unknown_count, answers, locations, err));
	for (size_t i = 0; i < unknown_count; i++) {
		if (answers[i] == CHUNK_CLAIM_MAYBE && is_proven(txn->store, &unknown[i], locations[i], guess))
			answers[i] = CHUNK_CLAIM_KNOWN;
		else if (answers[i] == CHUNK_CLAIM_MAYBE)
			TRY(chunk_index_claim_new(txn->store->index, &unknown[i], &answers[i], &locations[i], err));
		claims[which[i]] = answers[i];
	}
	return ERR_OK;
}

void store_txn_stored(struct store_txn *txn, const struct chunk_id *id, struct chunk_location location)
{
	chunk_index_set(txn->store->index, id, location);
}

/* ---- Metadata ---- */

static enum err_code start_meta(struct store_txn *txn, struct err *err)
{
	if (txn->meta)
		return ERR_OK;
	txn->meta_arena_size = segment_writer_arena_size(&txn->context);
	void *arena = mmap(NULL, txn->meta_arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena == MAP_FAILED)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the metadata writer");
	txn->meta_arena = arena;
	TRY(io_queue_new(txn->store->io, META_QUEUE_DEPTH, arena, txn->meta_arena_size, &txn->meta_queue, err));
	return segment_writer_new(&txn->context, SEGMENT_META, COMPRESSION_DEFAULT, txn->meta_queue, arena, &txn->meta,
				  err);
}

static enum err_code put_meta(struct store_txn *txn, enum record_kind kind, const struct chunk_id *id, const void *data,
			      size_t length, struct err *err)
{
	TRY(start_meta(txn, err));
	struct chunk_location where;
	TRY(segment_writer_put(txn->meta, kind, id, data, length, &where, err));
	if (kind == RECORD_NODE) { /* claimed by has_node */
		chunk_index_set(txn->store->index, id, where);
		return ERR_OK;
	}
	return chunk_index_add(txn->store->index, id, where, err);
}

static enum err_code put_node(void *user, const struct chunk_id *id, const uint8_t *payload, size_t length,
			      struct err *err)
{
	return put_meta(user, RECORD_NODE, id, payload, length, err);
}

static bool has_node(void *user, const struct chunk_id *id)
{
	struct store_txn *txn = user;
	enum chunk_claim claim;
	return store_txn_claim(txn, &txn->meta_guess, id, 1, &claim, NULL) == ERR_OK && claim != CHUNK_CLAIM_NEW;
}

static enum err_code get_node(void *user, const struct chunk_id *id, uint8_t *dst, size_t *ret_length, struct err *err)
{
	struct store_txn *txn = user;
	return store_read_record(txn->store, RECORD_NODE, id, dst, DISK_MAP_PAYLOAD_MAX, ret_length, err);
}

static void hash_node(void *user, const void *data, size_t length, struct chunk_id *ret)
{
	struct store_txn *txn = user;
	chunk_hash(&txn->store->node_hasher, data, length, ret);
}

struct node_store store_txn_nodes(struct store_txn *txn)
{
	return (struct node_store){.get = get_node, .put = put_node, .has = has_node, .hash = hash_node, .user = txn};
}

/* ---- The end ---- */

/* The last log entry travels with the next metadata, so that the log can be rebuilt from segments. One that is too
 * large for a record is a checkpoint of what earlier copies say already. */
static enum err_code put_log_copy(struct store_txn *txn, struct err *err)
{
	size_t length;
	const uint8_t *entry = commit_log_last_entry(txn->store->log, &length);
	if (length + 4096 > RECORD_RAW_MAX || length + 4096 > txn->context.stripe_size)
		return ERR_OK;
	struct chunk_id id;
	chunk_hash(&txn->store->node_hasher, entry, length, &id);
	return put_meta(txn, RECORD_LOG, &id, entry, length, err);
}

static enum err_code commit(struct store_txn *txn, struct saveset *saveset, struct err *err)
{
	saveset->stop_unix_s = clock_unix_s();
	AUTO_FREE char *text = NULL;
	size_t length;
	TRY(saveset_encode(saveset, &text, &length, err));
	struct log_saveset entry = {.id = saveset->id, .time_unix_s = saveset->stop_unix_s};
	chunk_hash(&txn->store->node_hasher, text, length, &entry.record);
	TRY(put_meta(txn, RECORD_SAVESET, &entry.record, text, length, err));
	TRY(put_log_copy(txn, err));
	TRY(segment_writer_finish(txn->meta, err));
	LOCK_SCOPE(&txn->mutex);
	return commit_sealed(txn, &entry, err);
}

enum err_code store_txn_commit(struct store_txn *txn, struct saveset *saveset, struct err *err)
{
	enum err_code code = commit(txn, saveset, err);
	txn_free(txn, code == ERR_OK);
	return code;
}

void store_txn_abort(struct store_txn *txn)
{
	if (!txn)
		return;
	struct err err = {0};
	if (txn->meta && segment_writer_finish(txn->meta, &err) != ERR_OK)
		log_debug("store", "metadata of an aborted job was left behind: %s", err.msg);
	{
		LOCK_SCOPE(&txn->mutex);
		err.code = ERR_OK;
		if (txn->sealed_count && commit_sealed(txn, NULL, &err) != ERR_OK)
			log_debug("store", "segments of an aborted job were left behind: %s", err.msg);
	}
	txn_free(txn, false);
}
