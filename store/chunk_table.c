/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_table.h"

#include "base/cleanup.h"
#include "base/endian.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_SHIFT 15  /* 2^15 entries: 768 KiB, 1.2 GiB of blocks */
#define LOAD_PERCENT 60 /* linear probing: 1.8 probes for a hit, 3.6 for a miss (Knuth 6.4) */
#define LEVELS_MAX 24   /* 2^39 entries: more than memory */

/* Memory orders. `hi` and `lo` carry nothing but themselves: relaxed. `state` is stored with release by set, add and
 * forget, and loaded with acquire by find and claim: who sees a location sees what was done before it was set. */
struct entry {
	uint64_t hi;
	uint64_t lo;
	uint64_t state;
};

#define STATE_PENDING UINT64_C(0)
#define STATE_GONE UINT64_C(1)
#define STATE_SET (UINT64_C(1) << 63) /* | segment << 16 | slot */

struct level {
	uint64_t mask; /* entries - 1 */
	uint64_t used; /* relaxed: only decides when to grow */
	struct entry *entries;
};

struct chunk_table {
	struct level levels[LEVELS_MAX]; /* oldest and smallest first */
	unsigned level_count;            /* release in grow, acquire in every lookup: levels below it are complete */
	pthread_mutex_t grow_lock;       /* guards the appending of levels; innermost, nothing is called under it */
};

struct key {
	uint64_t hi, lo;
};

static struct key key_of(const struct chunk_id *id)
{
	struct key key = {be64_get(id->bytes), be64_get(id->bytes + 8)};
	key.hi += key.hi == 0;
	key.lo += key.lo == 0;
	return key;
}

static uint64_t state_of(struct chunk_location location)
{
	assert(location.segment >> 40 == 0 && location.slot >> 16 == 0);
	return STATE_SET | location.segment << 16 | location.slot;
}

static struct chunk_location location_of(uint64_t state)
{
	return (struct chunk_location){.segment = (state & ~STATE_SET) >> 16, .slot = (uint32_t)(state & 0xffff)};
}

static enum err_code level_init(struct level *level, unsigned shift, struct err *err)
{
	size_t count = (size_t)1 << shift;
	level->entries = calloc(count, sizeof(*level->entries));
	if (!level->entries)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a chunk table of 2^%u entries", shift);
	level->mask = count - 1;
	level->used = 0;
	return ERR_OK;
}

enum err_code chunk_table_new(struct chunk_table **ret, struct err *err)
{
	AUTO_FREE struct chunk_table *table = calloc(1, sizeof(*table));
	if (!table)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a chunk table");
	TRY(level_init(&table->levels[0], FIRST_SHIFT, err));
	table->level_count = 1;
	pthread_mutex_init(&table->grow_lock, NULL);
	*ret = TAKE_PTR(table);
	return ERR_OK;
}

void chunk_table_free(struct chunk_table *table)
{
	if (!table)
		return;
	for (unsigned i = 0; i < table->level_count; i++)
		free(table->levels[i].entries);
	pthread_mutex_destroy(&table->grow_lock);
	free(table);
}

static unsigned level_count(const struct chunk_table *table)
{
	return __atomic_load_n(&table->level_count, __ATOMIC_ACQUIRE); /* with the release in grow */
}

static bool is_crowded(const struct level *level)
{
	return __atomic_load_n(&level->used, __ATOMIC_RELAXED) >= (level->mask + 1) / 100 * LOAD_PERCENT;
}

/* Puts a table of twice the size in front, unless another thread just did. */
static enum err_code grow(struct chunk_table *table, unsigned seen_levels, struct err *err)
{
	LOCK_SCOPE(&table->grow_lock);
	if (level_count(table) != seen_levels)
		return ERR_OK;
	if (seen_levels == LEVELS_MAX)
		return err_set(err, ERR_LIMIT, 0, "the chunk table is full");
	TRY(level_init(&table->levels[seen_levels], FIRST_SHIFT + seen_levels, err));
	__atomic_store_n(&table->level_count, seen_levels + 1, __ATOMIC_RELEASE);
	return ERR_OK;
}

void chunk_table_prefetch(const struct chunk_table *table, const struct chunk_id *id)
{
	struct key key = key_of(id);
	for (unsigned i = level_count(table); i-- > 0;)
		__builtin_prefetch(&table->levels[i].entries[key.lo & table->levels[i].mask]);
}

/* The entry of `key` in `level`, or NULL. An entry whose lo is not set yet belongs to nobody. */
static struct entry *level_find(const struct level *level, struct key key)
{
	for (uint64_t probe = 0; probe <= level->mask; probe++) {
		struct entry *entry = &level->entries[(key.lo + probe) & level->mask];
		uint64_t hi = __atomic_load_n(&entry->hi, __ATOMIC_RELAXED);
		if (hi == 0)
			return NULL;
		if (hi == key.hi && __atomic_load_n(&entry->lo, __ATOMIC_RELAXED) == key.lo)
			return entry;
	}
	return NULL;
}

static struct entry *table_find(const struct chunk_table *table, struct key key)
{
	for (unsigned i = level_count(table); i-- > 0;) {
		struct entry *entry = level_find(&table->levels[i], key);
		if (entry)
			return entry;
	}
	return NULL;
}

/* Sets an empty word to `value`, or finds it there. Relaxed: see struct entry. */
static bool take_word(uint64_t *word, uint64_t value, bool *ret_mine)
{
	uint64_t found = 0;
	*ret_mine = __atomic_compare_exchange_n(word, &found, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return *ret_mine || found == value;
}

/* Finds or takes the entry of `key`; *ret_mine if this call took it, as PENDING. NULL if the level is full. */
static struct entry *level_take(struct level *level, struct key key, bool *ret_mine)
{
	for (uint64_t probe = 0; probe <= level->mask; probe++) {
		struct entry *entry = &level->entries[(key.lo + probe) & level->mask];
		bool mine;
		if (take_word(&entry->hi, key.hi, &mine) && take_word(&entry->lo, key.lo, ret_mine)) {
			if (*ret_mine)
				__atomic_fetch_add(&level->used, 1, __ATOMIC_RELAXED);
			return entry;
		}
	}
	return NULL;
}

/* Finds or takes the entry of `key` in the whole table. */
static enum err_code table_take(struct chunk_table *table, struct key key, struct entry **ret, bool *ret_mine,
				struct err *err)
{
	*ret_mine = false;
	*ret = table_find(table, key);
	while (!*ret) {
		unsigned levels = level_count(table);
		struct level *newest = &table->levels[levels - 1];
		if (is_crowded(newest))
			TRY(grow(table, levels, err));
		else
			*ret = level_take(newest, key, ret_mine);
	}
	return ERR_OK;
}

static enum chunk_table_state describe(uint64_t state, struct chunk_location *ret_location)
{
	if (!(state & STATE_SET))
		return CHUNK_TABLE_PENDING;
	*ret_location = location_of(state);
	return CHUNK_TABLE_SET;
}

bool chunk_table_find(const struct chunk_table *table, const struct chunk_id *id, enum chunk_table_state *ret_state,
		      struct chunk_location *ret_location)
{
	struct entry *entry = table_find(table, key_of(id));
	if (!entry)
		return false;
	uint64_t state = __atomic_load_n(&entry->state, __ATOMIC_ACQUIRE); /* with set, add and forget */
	if (state == STATE_GONE)
		return false;
	*ret_state = describe(state, ret_location);
	return true;
}

enum err_code chunk_table_claim(struct chunk_table *table, const struct chunk_id *id, bool *ret_new,
				enum chunk_table_state *ret_state, struct chunk_location *ret_location, struct err *err)
{
	struct entry *entry;
	bool mine;
	TRY(table_take(table, key_of(id), &entry, &mine, err));
	uint64_t state = STATE_GONE;
	/* An entry that was forgotten is claimed by whoever swaps GONE for PENDING; acquire as in find. */
	if (!mine)
		mine = __atomic_compare_exchange_n(&entry->state, &state, STATE_PENDING, false, __ATOMIC_ACQUIRE,
						   __ATOMIC_ACQUIRE);
	*ret_new = mine;
	*ret_state = mine ? CHUNK_TABLE_PENDING : describe(state, ret_location);
	return ERR_OK;
}

enum err_code chunk_table_add(struct chunk_table *table, const struct chunk_id *id, struct chunk_location location,
			      struct err *err)
{
	struct entry *entry;
	bool mine;
	TRY(table_take(table, key_of(id), &entry, &mine, err));
	uint64_t expected = mine ? STATE_PENDING : STATE_GONE;
	__atomic_compare_exchange_n(&entry->state, &expected, state_of(location), false, __ATOMIC_RELEASE,
				    __ATOMIC_RELAXED); /* with find and claim */
	return ERR_OK;
}

/* Stores `state` in every entry of `id`; after a lost race of growth there may be two. */
static void store_state(struct chunk_table *table, const struct chunk_id *id, uint64_t state)
{
	struct key key = key_of(id);
	for (unsigned i = level_count(table); i-- > 0;) {
		struct entry *entry = level_find(&table->levels[i], key);
		if (entry)
			__atomic_store_n(&entry->state, state, __ATOMIC_RELEASE); /* with find and claim */
	}
}

void chunk_table_set(struct chunk_table *table, const struct chunk_id *id, struct chunk_location location)
{
	store_state(table, id, state_of(location));
}

void chunk_table_forget(struct chunk_table *table, const struct chunk_id *id)
{
	store_state(table, id, STATE_GONE);
}

void chunk_table_each(const struct chunk_table *table, chunk_table_fn fn, void *user)
{
	for (unsigned i = level_count(table); i-- > 0;) {
		const struct level *level = &table->levels[i];
		for (uint64_t at = 0; at <= level->mask; at++) {
			const struct entry *entry = &level->entries[at];
			uint64_t state = __atomic_load_n(&entry->state, __ATOMIC_ACQUIRE); /* with set and add */
			if (!(state & STATE_SET))
				continue;
			uint8_t prefix[16];
			be64_put(prefix, __atomic_load_n(&entry->hi, __ATOMIC_RELAXED));
			be64_put(prefix + 8, __atomic_load_n(&entry->lo, __ATOMIC_RELAXED));
			fn(user, prefix, location_of(state));
		}
	}
}

uint64_t chunk_table_count(const struct chunk_table *table)
{
	uint64_t count = 0;
	for (unsigned i = level_count(table); i-- > 0;)
		count += __atomic_load_n(&table->levels[i].used, __ATOMIC_RELAXED);
	return count;
}

uint64_t chunk_table_memory_bytes(const struct chunk_table *table)
{
	uint64_t bytes = sizeof(*table);
	for (unsigned i = level_count(table); i-- > 0;)
		bytes += (table->levels[i].mask + 1) * sizeof(struct entry);
	return bytes;
}
