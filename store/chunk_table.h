/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the chunk index: an insert-only hash table from chunk ID to location, without locks on lookups and
 * inserts.
 *
 * Open addressing with linear probing. An entry is three words: the first 128 bits of the ID as `hi` and `lo`, and
 * `state`:
 *
 *      claim            set
 *   ──────────▶ PENDING ───▶ SET (segment, slot)
 *                  ▲  └─forget─▶ GONE ◀─forget─┘
 *                  └───claim──────┘
 *
 * An entry is taken by two compare-and-swaps, hi from 0 and then lo from 0. Whoever sets lo owns it: a thread that
 * finds its own hi with lo still 0 may set lo itself, and the thread that came first then finds its ID there, or (64
 * equal bits of another ID) goes on to the next entry. So nobody ever waits. A word of an ID that is 0 is taken as 1;
 * two IDs that agree in 128 bits of a keyed hash do not happen.
 *
 * A table that is 60 % full is not rehashed: a new one of twice the size is put in front of it and takes all inserts
 * from then on; lookups go through all, newest first. The sizes double, so most entries are in the newest ones. A
 * thread that still inserts into the old table while another inserts the same ID into the new one makes both believe
 * that the chunk is new: it is stored twice, which costs its space once and nothing else. */
#ifndef STORE_CHUNK_TABLE_H
#define STORE_CHUNK_TABLE_H

#include "base/err.h"
#include "store/chunk_id.h"
#include "store/chunk_index.h"

struct chunk_table;

enum chunk_table_state {
	CHUNK_TABLE_PENDING,
	CHUNK_TABLE_SET,
};

MUST_CHECK enum err_code chunk_table_new(struct chunk_table **ret, struct err *err);
void chunk_table_free(struct chunk_table *table);

/* Starts to fetch the memory that a lookup of `id` will touch. */
void chunk_table_prefetch(const struct chunk_table *table, const struct chunk_id *id);

/* True if `id` is there; *ret_location is written if it is SET. */
bool chunk_table_find(const struct chunk_table *table, const struct chunk_id *id, enum chunk_table_state *ret_state,
		      struct chunk_location *ret_location);

/* Inserts `id` as PENDING (*ret_new), or finds it as chunk_table_find does. ERR_NO_MEMORY. */
MUST_CHECK enum err_code chunk_table_claim(struct chunk_table *table, const struct chunk_id *id, bool *ret_new,
					   enum chunk_table_state *ret_state, struct chunk_location *ret_location,
					   struct err *err);

/* Inserts `id` as SET unless it is PENDING or SET already. */
MUST_CHECK enum err_code chunk_table_add(struct chunk_table *table, const struct chunk_id *id,
					 struct chunk_location location, struct err *err);

/* Makes an ID that is there SET, whatever it was; does nothing for an unknown one. */
void chunk_table_set(struct chunk_table *table, const struct chunk_id *id, struct chunk_location location);

/* Makes an ID unknown: the next claim of it is new. */
void chunk_table_forget(struct chunk_table *table, const struct chunk_id *id);

/* Calls `fn` with the first 16 bytes of the ID and the location of every entry that is SET, in no order. */
typedef void (*chunk_table_fn)(void *user, const uint8_t prefix[static 16], struct chunk_location location);
void chunk_table_each(const struct chunk_table *table, chunk_table_fn fn, void *user);

/* Entries, forgotten ones too, and the memory they take. */
uint64_t chunk_table_count(const struct chunk_table *table);
uint64_t chunk_table_memory_bytes(const struct chunk_table *table);

#endif
