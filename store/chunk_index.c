/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_index.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "store/chunk_index_internal.h"

#include <stdlib.h>

DEFINE_CLEANUP(index, struct chunk_index, chunk_index_close)

static void unlock_runs(pthread_rwlock_t **lock)
{
	pthread_rwlock_unlock(*lock);
}

static pthread_rwlock_t *lock_runs(const struct chunk_index *index)
{
	/* A lock is not part of the value that const promises to leave alone. */
	pthread_rwlock_t *lock = (pthread_rwlock_t *)(uintptr_t)&index->runs_lock;
	pthread_rwlock_rdlock(lock);
	return lock;
}

/* Holds the run list for reading until the scope ends. */
#define RUNS_SCOPE(index) AUTO(unlock_runs) __attribute__((unused)) pthread_rwlock_t *runs_scope = lock_runs(index)

static enum err_code index_new(struct io *io, struct chunk_index **ret, struct err *err)
{
	AUTO_FREE struct chunk_index *index = calloc(1, sizeof(*index));
	if (!index)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the chunk index");
	index->io = io;
	TRY(chunk_table_new(&index->table, err));
	/* glibc prefers readers by default, and lanes read without a pause: a flush would never get its turn. */
	pthread_rwlockattr_t attr;
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&index->runs_lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	*ret = TAKE_PTR(index);
	return ERR_OK;
}

void chunk_index_close(struct chunk_index *index)
{
	if (!index)
		return;
	for (unsigned i = 0; i < index->run_count; i++)
		index_run_close(index->runs[i]);
	pthread_rwlock_destroy(&index->runs_lock);
	chunk_table_free(index->table);
	free(index);
}

/* Opens the runs of the manifest up to the first that fails; those behind it would leave a gap. */
static enum err_code open_runs(struct chunk_index *index, const struct index_manifest *manifest, unsigned *ret_ignored)
{
	for (unsigned i = 0; i < manifest->run_count; i++) {
		struct err err = {0};
		struct index_run *run = NULL;
		enum err_code code = index_run_open(index->io, manifest->runs[i].number, &run, &err);
		if (code == ERR_OK && run->header.hash != manifest->runs[i].hash)
			code = err_set(&err, ERR_CORRUPT, 0, "index run '%08u' is not the one that '%s' lists",
				       manifest->runs[i].number, MANIFEST_PATH);
		if (code != ERR_OK) {
			index_run_close(run);
			log_debug("store", "%s, reading segment directories instead", err.msg);
			*ret_ignored = manifest->run_count - i;
			return code == ERR_NO_MEMORY ? code : ERR_OK;
		}
		index->covered = run->header.covered;
		index->runs[index->run_count++] = run;
	}
	index->covered = manifest->covered;
	return ERR_OK;
}

static enum err_code open_manifest(struct chunk_index *index, unsigned *ret_ignored)
{
	struct err err = {0};
	AUTO_FREE uint8_t *data = NULL;
	size_t length = 0;
	enum err_code code = io_read_file(index->io, MANIFEST_PATH, MANIFEST_SIZE_MAX, &data, &length, &err);
	if (code == ERR_NOT_FOUND)
		return ERR_OK;
	struct index_manifest manifest;
	if (code == ERR_OK)
		code = index_manifest_decode(data, length, &manifest, &err);
	if (code == ERR_OK)
		return open_runs(index, &manifest, ret_ignored);
	log_debug("store", "%s, reading segment directories instead", err.msg);
	*ret_ignored = 1;
	return code == ERR_NO_MEMORY ? code : ERR_OK;
}

enum err_code chunk_index_open(struct io *io, struct chunk_index **ret, unsigned *ret_ignored, struct err *err)
{
	AUTO(cleanup_index) struct chunk_index *index = NULL;
	unsigned ignored = 0;
	TRY(index_new(io, &index, err));
	if (open_manifest(index, &ignored) != ERR_OK)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the filters of the chunk index");
	index->manifest_stale = ignored > 0;
	*ret_ignored = ignored;
	*ret = TAKE_PTR(index);
	return ERR_OK;
}

uint64_t chunk_index_covered(const struct chunk_index *index)
{
	RUNS_SCOPE(index);
	return index->covered;
}

/* True if a run has `id`; candidates before number `nth` are passed over. */
static bool find_in_runs(const struct chunk_index *index, const struct chunk_id *id, unsigned nth,
			 struct chunk_location *ret)
{
	for (unsigned i = index->run_count; i-- > 0;)
		if (index_run_find(index->runs[i], id, ret) && nth-- == 0)
			return true;
	return false;
}

static enum chunk_claim known_or_pending(enum chunk_table_state state)
{
	return state == CHUNK_TABLE_SET ? CHUNK_CLAIM_KNOWN : CHUNK_CLAIM_PENDING;
}

enum err_code chunk_index_claim_new(struct chunk_index *index, const struct chunk_id *id, enum chunk_claim *ret_claim,
				    struct chunk_location *ret, struct err *err)
{
	bool is_new;
	enum chunk_table_state state;
	TRY(chunk_table_claim(index->table, id, &is_new, &state, ret, err));
	*ret_claim = is_new ? CHUNK_CLAIM_NEW : known_or_pending(state);
	return ERR_OK;
}

static enum err_code claim_one(struct chunk_index *index, const struct chunk_id *id, enum chunk_claim *ret_claim,
			       struct chunk_location *ret, struct err *err)
{
	enum chunk_table_state state;
	if (chunk_table_find(index->table, id, &state, ret))
		*ret_claim = known_or_pending(state);
	else if (find_in_runs(index, id, 0, ret))
		*ret_claim = CHUNK_CLAIM_MAYBE;
	else
		return chunk_index_claim_new(index, id, ret_claim, ret, err);
	return ERR_OK;
}

enum err_code chunk_index_claim(struct chunk_index *index, const struct chunk_id ids[], size_t count,
				enum chunk_claim claims[], struct chunk_location locations[], struct err *err)
{
	RUNS_SCOPE(index); /* once per batch */
	for (size_t i = 0; i < count; i++) {
		chunk_table_prefetch(index->table, &ids[i]);
		for (unsigned run = 0; run < index->run_count; run++)
			index_run_prefetch(index->runs[run], &ids[i]);
	}
	for (size_t i = 0; i < count; i++) {
		enum err_code code = claim_one(index, &ids[i], &claims[i], &locations[i], err);
		if (code == ERR_OK)
			continue;
		/* Nobody will set what this batch has claimed. */
		while (i-- > 0)
			if (claims[i] == CHUNK_CLAIM_NEW)
				chunk_table_forget(index->table, &ids[i]);
		return code;
	}
	return ERR_OK;
}

void chunk_index_set(struct chunk_index *index, const struct chunk_id *id, struct chunk_location location)
{
	chunk_table_set(index->table, id, location);
}

void chunk_index_forget(struct chunk_index *index, const struct chunk_id *id)
{
	chunk_table_forget(index->table, id);
}

enum err_code chunk_index_add(struct chunk_index *index, const struct chunk_id *id, struct chunk_location location,
			      struct err *err)
{
	return chunk_table_add(index->table, id, location, err);
}

bool chunk_index_find(struct chunk_index *index, const struct chunk_id *id, unsigned nth, struct chunk_location *ret)
{
	enum chunk_table_state state;
	struct chunk_location location;
	if (chunk_table_find(index->table, id, &state, &location) && state == CHUNK_TABLE_SET && nth-- == 0) {
		*ret = location;
		return true;
	}
	RUNS_SCOPE(index);
	return find_in_runs(index, id, nth, ret);
}

void chunk_index_stats(const struct chunk_index *index, struct chunk_index_stats *ret)
{
	RUNS_SCOPE(index);
	struct chunk_index_stats stats = {.table_entries = chunk_table_count(index->table),
					  .memory_bytes = sizeof(*index) + chunk_table_memory_bytes(index->table),
					  .runs = index->run_count};
	for (unsigned i = 0; i < index->run_count; i++) {
		stats.run_entries += index->runs[i]->header.entry_count;
		stats.memory_bytes += sizeof(*index->runs[i]) + index->runs[i]->header.filter_length;
		stats.runs_damaged += index_run_is_damaged(index->runs[i]);
	}
	*ret = stats;
}
