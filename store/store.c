/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOCK_TEXT_SIZE = 512 };

DEFINE_CLEANUP(store, struct store, store_close)

void store_add_notice(struct store *store, const char *format, ...)
{
	if (store->notice_count == NOTICES_MAX)
		return;
	char *text = NULL;
	va_list args;
	va_start(args, format);
	if (vasprintf(&text, format, args) >= 0)
		store->notices[store->notice_count++] = text;
	va_end(args);
}

const char *const *store_notices(const struct store *store)
{
	return (const char *const *)store->notices;
}

const char *store_log_damage(const struct store *store)
{
	return *store->log_damage ? store->log_damage : NULL;
}

const struct store_config *store_config(const struct store *store)
{
	return &store->config;
}

const struct store_keys *store_keys_of(const struct store *store)
{
	return store->keys;
}

const struct log_state *store_state(const struct store *store)
{
	return commit_log_state(store->log);
}

struct io *store_io(const struct store *store)
{
	return store->io;
}

const struct chunk_hasher *store_chunk_hasher(const struct store *store)
{
	return &store->chunk_hasher;
}

void store_index_stats(const struct store *store, struct chunk_index_stats *ret)
{
	chunk_index_stats(store->index, ret);
}

/* ---- The lock ---- */

static enum err_code say_who_writes(struct io_file *file, struct err *err)
{
	char text[LOCK_TEXT_SIZE] = "";
	size_t got = 0;
	if (io_read(file, 0, text, sizeof(text) - 1, &got, NULL) != ERR_OK)
		got = 0;
	text[got] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return err_set(err, ERR_BUSY, 0, "the store is being written by %s", *text ? text : "another process");
}

/* There already, else made, else there because another writer was faster. */
static enum err_code open_lock(struct io *io, struct io_file **ret, struct err *err)
{
	static const unsigned flags[] = {IO_READ | IO_WRITE, IO_READ | IO_WRITE | IO_CREATE, IO_READ | IO_WRITE};
	static const enum err_code go_on[] = {ERR_NOT_FOUND, ERR_EXISTS, ERR_OK};
	for (unsigned i = 0;; i++) {
		struct err why = {0};
		enum err_code code = io_open(io, "lock", flags[i], ret, &why);
		if (code == ERR_OK || code != go_on[i])
			return code == ERR_OK ? code : err_set(err, code, 0, "%s", why.msg);
	}
}

static enum err_code take_lock(struct store *store, struct err *err)
{
	TRY(open_lock(store->io, &store->lock, err));
	struct err why = {0};
	enum err_code code = io_lock(store->lock, &why);
	if (code == ERR_BUSY)
		return say_who_writes(store->lock, err);
	if (code != ERR_OK)
		return err_set(err, code, 0, "%s", why.msg);
	char host[128] = "";
	char since[CLOCK_TEXT_SIZE];
	gethostname(host, sizeof(host) - 1);
	char text[LOCK_TEXT_SIZE];
	memset(text, ' ', sizeof(text));
	int n = snprintf(text, sizeof(text), "process %ld on '%s' since %s\n", (long)getpid(), host,
			 clock_format_local(clock_unix_s(), since));
	text[n] = ' ';
	/* For people only: the lock itself is the kernel's and ends with the process. */
	return io_write(store->lock, 0, text, sizeof(text), err);
}

/* ---- Opening ---- */

enum err_code store_load_index(struct store *store, struct err *err)
{
	chunk_index_close(store->index);
	store->index = NULL;
	store->all_directories_loaded = false;
	unsigned ignored = 0;
	TRY(chunk_index_open(store->io, &store->index, &ignored, err));
	if (ignored)
		store_add_notice(
			store, "%u damaged index files were ignored: new backups may store again what is there already",
			ignored);
	uint64_t covered = chunk_index_covered(store->index);
	const struct log_state *state = commit_log_state(store->log);
	for (size_t i = 0; i < state->segment_count; i++) {
		const struct segment_info *info = &state->segments[i];
		if (info->number <= covered)
			continue;
		struct err why = {0};
		struct segment *segment;
		enum err_code code =
			segment_open(store->io, store->keys, info->kind, info->number, info, &segment, &why);
		if (code != ERR_OK) {
			/* What it holds cannot be found now; whoever needs it will say so. */
			store_add_notice(store, "%s", why.msg);
			continue;
		}
		uint32_t count;
		const struct record_entry *entries = segment_entries(segment, &count);
		for (uint32_t slot = 0; slot < count && code == ERR_OK; slot++)
			code = chunk_index_add(store->index, &entries[slot].id,
					       (struct chunk_location){.segment = info->number, .slot = slot}, err);
		segment_unref(segment);
		TRY(code);
	}
	return ERR_OK;
}

/* The user should know when data goes through the page cache: it is slower, and reading back proves less. */
static void note_buffered(struct store *store)
{
	struct io_file *file;
	if (io_open(store->io, "log-a", IO_READ | IO_DIRECT, &file, NULL) != ERR_OK)
		return;
	if (!file->direct)
		store_add_notice(
			store,
			"the store's file system does not allow O_DIRECT: everything goes through the page cache");
	io_file_close(file);
}

static enum err_code open_unlocked(struct store *store, const struct unlock *unlock, struct err *err)
{
	TRY(keys_unlock(store->io, &store->config.id, unlock, &store->keys, err));
	TRY(store_check_config(store->io, &store->config, store->keys, err));
	chunk_hasher_init(&store->chunk_hasher, store->keys->chunk_id);
	chunk_hasher_init(&store->node_hasher, store->keys->node_id);
	TRY(commit_log_open(store->io, store->keys, store->mode == STORE_WRITE, &store->log, store->log_damage, err));
	if (*store->log_damage)
		store_add_notice(store, "%s", store->log_damage);
	note_buffered(store);
	TRY(record_opener_new(&store->opener, err));
	if (store->mode == STORE_WRITE)
		TRY(store_recover(store, err));
	return store_load_index(store, err);
}

enum err_code store_open(struct io *io, enum store_mode mode, const struct unlock *unlock, struct store **ret,
			 struct err *err)
{
	AUTO(cleanup_store) struct store *store = calloc(1, sizeof(*store));
	if (!store)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a store");
	store->io = io;
	store->mode = mode;
	pthread_mutex_init(&store->commit_mutex, NULL);
	pthread_mutex_init(&store->cache_mutex, NULL);
	TRY(store_read_config(io, &store->config, err));
	if (mode == STORE_WRITE)
		TRY(take_lock(store, err));
	TRY(open_unlocked(store, unlock, err));
	*ret = TAKE_PTR(store);
	return ERR_OK;
}

static bool is_live(void *user, uint64_t segment)
{
	return commit_log_segment(user, segment) != NULL;
}

/* Keeps what this process learned for the next one. Losing it costs the next opening some time. */
static void save_index(struct store *store)
{
	const struct log_state *state = commit_log_state(store->log);
	if (store->mode != STORE_WRITE || store->index_stale || store->txn_active || state->segment_count == 0)
		return;
	uint64_t newest = state->segments[state->segment_count - 1].number;
	struct chunk_index_stats stats;
	chunk_index_stats(store->index, &stats);
	if (newest <= chunk_index_covered(store->index) || stats.table_entries == 0)
		return;
	struct err err = {0};
	if (chunk_index_flush(store->index, newest, is_live, store->log, &err) != ERR_OK)
		log_debug("store", "the index was not saved: %s", err.msg);
}

void store_close(struct store *store)
{
	if (!store)
		return;
	if (store->index && store->log)
		save_index(store);
	for (unsigned i = 0; i < SEGMENT_CACHE_SIZE; i++)
		segment_unref(store->cache[i].segment);
	record_opener_free(store->opener);
	chunk_index_close(store->index);
	commit_log_close(store->log);
	chunk_hasher_wipe(&store->chunk_hasher);
	chunk_hasher_wipe(&store->node_hasher);
	keys_free(store->keys);
	io_file_close(store->lock);
	for (unsigned i = 0; i < store->notice_count; i++)
		free(store->notices[i]);
	pthread_mutex_destroy(&store->commit_mutex);
	pthread_mutex_destroy(&store->cache_mutex);
	free(store);
}
