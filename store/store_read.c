/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_internal.h"

#include "base/cleanup.h"
#include "base/size.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(segment, struct segment, segment_unref)

/* ---- The cache of open segments ---- */

static struct segment *find_cached(struct store *store, uint64_t number)
{
	LOCK_SCOPE(&store->cache_mutex);
	for (unsigned i = 0; i < SEGMENT_CACHE_SIZE; i++) {
		struct cached_segment *c = &store->cache[i];
		if (!c->segment || segment_number(c->segment) != number)
			continue;
		c->used = ++store->cache_tick;
		return segment_ref(c->segment);
	}
	return NULL;
}

/* Puts a segment in the place of the one that was used longest ago. */
static void remember(struct store *store, struct segment *segment)
{
	LOCK_SCOPE(&store->cache_mutex);
	struct cached_segment *oldest = &store->cache[0];
	for (unsigned i = 1; i < SEGMENT_CACHE_SIZE && oldest->segment; i++)
		if (!store->cache[i].segment || store->cache[i].used < oldest->used)
			oldest = &store->cache[i];
	segment_unref(oldest->segment);
	*oldest = (struct cached_segment){.segment = segment_ref(segment), .used = ++store->cache_tick};
}

/* What the log says of a segment. The log may be appended to by another thread meanwhile. */
static bool live_info(struct store *store, uint64_t number, struct segment_info *ret)
{
	LOCK_SCOPE(&store->commit_mutex);
	const struct segment_info *info = commit_log_segment(store->log, number);
	if (info)
		*ret = *info;
	return info != NULL;
}

enum err_code store_segment(struct store *store, uint64_t number, struct segment **ret, struct err *err)
{
	struct segment *segment = find_cached(store, number);
	if (!segment) {
		struct segment_info info;
		if (!live_info(store, number, &info))
			return err_set(err, ERR_NOT_FOUND, 0, "segment %" PRIu64 " is not in the log", number);
		TRY(segment_open(store->io, store->keys, info.kind, number, &info, &segment, err));
		remember(store, segment);
	}
	*ret = segment;
	return ERR_OK;
}

/* ---- Finding a record ---- */

/* True if the segment holds that ID at that slot: the only proof that counts. */
static bool prove(struct store *store, const struct chunk_id *id, struct chunk_location where,
		  struct segment **ret_segment, const struct record_entry **ret_entry)
{
	AUTO(cleanup_segment) struct segment *segment = NULL;
	if (store_segment(store, where.segment, &segment, NULL) != ERR_OK)
		return false;
	uint32_t count;
	const struct record_entry *entries = segment_entries(segment, &count);
	if (where.slot >= count || !chunk_id_equal(&entries[where.slot].id, id))
		return false;
	*ret_entry = &entries[where.slot];
	*ret_segment = TAKE_PTR(segment);
	return true;
}

static bool find_proven(struct store *store, const struct chunk_id *id, struct segment **ret_segment,
			const struct record_entry **ret_entry, uint32_t *ret_slot)
{
	struct chunk_location where;
	for (unsigned nth = 0; chunk_index_find(store->index, id, nth, &where); nth++)
		if (prove(store, id, where, ret_segment, ret_entry)) {
			*ret_slot = where.slot;
			return true;
		}
	return false;
}

/* The index is advice: before a record counts as lost, the directories of all live segments are read, once. */
static enum err_code load_all_directories(struct store *store, struct err *err)
{
	{
		LOCK_SCOPE(&store->cache_mutex);
		if (store->all_directories_loaded)
			return ERR_OK;
		store->all_directories_loaded = true;
	}
	const struct log_state *state = commit_log_state(store->log);
	for (size_t i = 0; i < state->segment_count; i++) {
		const struct segment_info *info = &state->segments[i];
		AUTO(cleanup_segment) struct segment *segment = NULL;
		if (segment_open(store->io, store->keys, info->kind, info->number, info, &segment, NULL) != ERR_OK)
			continue;
		uint32_t count;
		const struct record_entry *entries = segment_entries(segment, &count);
		for (uint32_t slot = 0; slot < count; slot++)
			TRY(chunk_index_add(store->index, &entries[slot].id,
					    (struct chunk_location){.segment = info->number, .slot = slot}, err));
	}
	return ERR_OK;
}

enum err_code store_find(struct store *store, const struct chunk_id *id, struct segment **ret_segment,
			 const struct record_entry **ret_entry, uint32_t *ret_slot, struct err *err)
{
	if (find_proven(store, id, ret_segment, ret_entry, ret_slot))
		return ERR_OK;
	TRY(load_all_directories(store, err));
	if (find_proven(store, id, ret_segment, ret_entry, ret_slot))
		return ERR_OK;
	char text[CHUNK_ID_TEXT_SIZE];
	return err_set(err, ERR_NOT_FOUND, 0, "record %.16s is in no readable segment",
		       hex_format(id->bytes, 32, text));
}

/* How far a guess looks: duplicates and blocks of another lane leave small gaps. */
enum { NEAR_SLOTS = 4 };

bool store_guess_hits(struct store_guess *guess, const struct chunk_id *id)
{
	if (!guess->segment)
		return false;
	uint32_t count;
	const struct record_entry *entries = segment_entries(guess->segment, &count);
	for (uint32_t i = guess->slot; i < count && i < guess->slot + NEAR_SLOTS; i++)
		if (chunk_id_equal(&entries[i].id, id)) {
			guess->slot = i;
			return true;
		}
	return false;
}

void store_guess_set(struct store_guess *guess, struct segment *segment, uint32_t slot)
{
	segment_unref(guess->segment);
	guess->segment = segment;
	guess->slot = slot;
}

void store_guess_release(struct store_guess *guess)
{
	store_guess_set(guess, NULL, 0);
}

enum err_code store_find_near(struct store *store, const struct chunk_id *id, struct store_guess *guess,
			      const struct record_entry **ret_entry, struct err *err)
{
	if (!store_guess_hits(guess, id)) {
		struct segment *segment;
		uint32_t slot;
		TRY(store_find(store, id, &segment, ret_entry, &slot, err));
		store_guess_set(guess, segment, slot);
		return ERR_OK;
	}
	uint32_t count;
	*ret_entry = &segment_entries(guess->segment, &count)[guess->slot];
	return ERR_OK;
}

/* ---- Reading one record ---- */

static enum err_code check_id(struct store *store, const struct record_entry *entry, const uint8_t *content,
			      struct err *err)
{
	/* Nodes are hashed by their readers over the logical content. */
	if (entry->kind == RECORD_NODE)
		return ERR_OK;
	struct chunk_id id;
	chunk_hash(entry->kind == RECORD_CHUNK ? &store->chunk_hasher : &store->node_hasher, content, entry->raw_length,
		   &id);
	if (chunk_id_equal(&id, &entry->id))
		return ERR_OK;
	return err_set(err, ERR_CORRUPT, 0, "the record at %" PRIu32 " does not match its ID", entry->offset);
}

static enum err_code open_record(struct store *store, const struct segment *segment, const struct record_entry *entry,
				 uint8_t *dst, struct err *err)
{
	AUTO_FREE uint8_t *stored = malloc(entry->stored_length);
	if (!stored)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a record");
	TRY(io_read_exact(segment_file(segment), entry->offset, stored, entry->stored_length, err));
	{
		LOCK_SCOPE(&store->cache_mutex);
		TRY(record_open(store->opener, segment, entry, stored, dst, err));
	}
	return check_id(store, entry, dst, err);
}

enum err_code store_read_record(struct store *store, enum record_kind kind, const struct chunk_id *id, void *dst,
				size_t capacity, size_t *ret_length, struct err *err)
{
	AUTO(cleanup_segment) struct segment *segment = NULL;
	const struct record_entry *entry;
	uint32_t slot;
	TRY(store_find(store, id, &segment, &entry, &slot, err));
	if (entry->kind != kind)
		return err_set(err, ERR_CORRUPT, 0, "segment %" PRIu64 ": the record at %" PRIu32 " is of another kind",
			       segment_number(segment), entry->offset);
	if (entry->raw_length > capacity)
		return err_set(err, ERR_LIMIT, 0, "a record of %" PRIu32 " bytes is too large here", entry->raw_length);
	if (open_record(store, segment, entry, dst, err) != ERR_OK)
		return err ? err_context(err, "segment %" PRIu64, segment_number(segment)) : ERR_CORRUPT;
	*ret_length = entry->raw_length;
	return ERR_OK;
}

/* ---- Map nodes ---- */

static enum err_code get_node(void *user, const struct chunk_id *id, uint8_t *dst, size_t *ret_length, struct err *err)
{
	return store_read_record(user, RECORD_NODE, id, dst, DISK_MAP_PAYLOAD_MAX, ret_length, err);
}

static void hash_node(void *user, const void *data, size_t length, struct chunk_id *ret)
{
	const struct store *store = user;
	chunk_hash(&store->node_hasher, data, length, ret);
}

struct node_store store_nodes(struct store *store)
{
	return (struct node_store){.get = get_node, .hash = hash_node, .user = store};
}

/* ---- Savesets ---- */

enum err_code store_load_saveset(struct store *store, const struct log_saveset *entry, struct saveset **ret,
				 struct err *err)
{
	char short_id[SAVESET_SHORT_SIZE];
	AUTO_FREE uint8_t *data = malloc(RECORD_RAW_MAX);
	if (!data)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a saveset's description");
	size_t length = 0;
	struct err why = {0};
	enum err_code code =
		store_read_record(store, RECORD_SAVESET, &entry->record, data, RECORD_RAW_MAX, &length, &why);
	if (code == ERR_OK)
		code = saveset_decode(data, length, ret, &why);
	if (code != ERR_OK) /* what the log lists and no segment has is lost, not unknown */
		return err_set(err, code == ERR_NOT_FOUND ? ERR_CORRUPT : code, 0, "saveset %s: %s",
			       saveset_short_id(&entry->id, short_id), why.msg);
	if (uuid_equal(&(*ret)->id, &entry->id))
		return ERR_OK;
	saveset_free(TAKE_PTR(*ret));
	return err_set(err, ERR_CORRUPT, 0, "saveset %s: its description is of another saveset",
		       saveset_short_id(&entry->id, short_id));
}

static bool same_identity(const struct uuid *a, const char *a_name, const struct uuid *b, const char *b_name)
{
	if (!uuid_is_null(a) && !uuid_is_null(b))
		return uuid_equal(a, b);
	return strcmp(a_name, b_name) == 0;
}

/* The saveset's disk with that UUID, else the one with that name: exports of one disk carry a new UUID each time. A
 * disk taken for another costs comparisons that find nothing equal, no more. */
static const struct saveset_disk *find_disk(const struct saveset *s, const char *name, const struct uuid *uuid)
{
	for (size_t i = 0; i < s->disk_count; i++)
		if (!uuid_is_null(uuid) && uuid_equal(&s->disks[i].uuid, uuid))
			return &s->disks[i];
	for (size_t i = 0; i < s->disk_count; i++)
		if (strcmp(s->disks[i].name, name) == 0)
			return &s->disks[i];
	return NULL;
}

enum err_code store_find_previous(struct store *store, const char *vm_name, const struct uuid *vm_uuid,
				  const char *disk_name, const struct uuid *disk_uuid, struct disk_map *ret,
				  struct err *err)
{
	const struct log_state *state = commit_log_state(store->log);
	for (size_t i = state->saveset_count; i-- > 0;) {
		struct saveset *s;
		/* One that cannot be read is no base; the checks say that it is damaged. */
		if (store_load_saveset(store, &state->savesets[i], &s, NULL) != ERR_OK)
			continue;
		bool same_vm = same_identity(&s->vm_uuid, s->vm_name, vm_uuid, vm_name);
		const struct saveset_disk *disk = same_vm ? find_disk(s, disk_name, disk_uuid) : NULL;
		if (disk)
			*ret = disk->map;
		saveset_free(s);
		if (disk)
			return ERR_OK;
	}
	return err_set(err, ERR_NOT_FOUND, 0, "no earlier saveset of disk '%s' of '%s'", disk_name, vm_name);
}
