/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_index_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* What chunk_table_each hands its entries to. */
struct collection {
	uint64_t above, covered;
	segment_is_live_fn is_live;
	void *user;
	struct index_run_entry *entries;
	size_t count, capacity;
	bool no_memory;
};

static bool is_wanted(const struct collection *c, uint64_t segment)
{
	return segment > c->above && segment <= c->covered && (!c->is_live || c->is_live(c->user, segment));
}

static void collect(void *user, const uint8_t prefix[static 16], struct chunk_location location)
{
	struct collection *c = user;
	if (c->no_memory || !is_wanted(c, location.segment))
		return;
	if (c->count == c->capacity) {
		size_t capacity = c->capacity ? c->capacity * 2 : 1024;
		struct index_run_entry *entries = reallocarray(c->entries, capacity, sizeof(*entries));
		c->no_memory = !entries;
		if (!entries)
			return;
		c->entries = entries;
		c->capacity = capacity;
	}
	struct index_run_entry *entry = &c->entries[c->count++];
	memcpy(entry->prefix, prefix, sizeof(entry->prefix));
	entry->location = location;
}

/* Ascending by ID; of one ID the newest segment first. */
static int compare_entries(const void *a, const void *b)
{
	const struct index_run_entry *x = a, *y = b;
	int order = memcmp(x->prefix, y->prefix, sizeof(x->prefix));
	if (order)
		return order;
	return (x->location.segment < y->location.segment) - (x->location.segment > y->location.segment);
}

static size_t drop_doubles(struct index_run_entry *entries, size_t count)
{
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (!kept || memcmp(entries[kept - 1].prefix, entries[i].prefix, sizeof(entries[i].prefix)) != 0)
			entries[kept++] = entries[i];
	return kept;
}

enum err_code index_collect(const struct chunk_table *table, uint64_t above, uint64_t covered,
			    segment_is_live_fn is_live, void *user, struct index_run_entry **ret, size_t *ret_count,
			    struct err *err)
{
	struct collection c = {.above = above, .covered = covered, .is_live = is_live, .user = user};
	chunk_table_each(table, collect, &c);
	if (c.no_memory) {
		free(c.entries);
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to sort the chunk index");
	}
	if (c.count)
		qsort(c.entries, c.count, sizeof(*c.entries), compare_entries);
	*ret_count = drop_doubles(c.entries, c.count);
	*ret = c.entries;
	return ERR_OK;
}

static enum err_code advance(struct merge_source *source, struct err *err)
{
	if (source->cursor)
		return index_run_cursor_next(source->cursor, &source->head, &source->end, err);
	source->end = source->count == 0;
	if (!source->end) {
		source->head = *source->entries++;
		source->count--;
	}
	return ERR_OK;
}

/* Advances to the next entry of a live segment. */
static enum err_code advance_live(struct merge_source *source, segment_is_live_fn is_live, void *user, struct err *err)
{
	do {
		TRY(advance(source, err));
	} while (!source->end && is_live && !is_live(user, source->head.location.segment));
	return ERR_OK;
}

/* The source with the lowest head, of equal ones the newest (last); NULL when all are at their end. A run list is
 * short, so a plain search does. */
static struct merge_source *lowest(struct merge_source *sources, size_t count)
{
	struct merge_source *best = NULL;
	for (size_t i = 0; i < count; i++)
		if (!sources[i].end &&
		    (!best || memcmp(sources[i].head.prefix, best->head.prefix, INDEX_RUN_PREFIX_SIZE) <= 0))
			best = &sources[i];
	return best;
}

enum err_code index_merge(struct merge_source *sources, size_t count, segment_is_live_fn is_live, void *user,
			  struct index_run_writer *writer, struct err *err)
{
	for (size_t i = 0; i < count; i++)
		TRY(advance_live(&sources[i], is_live, user, err));
	struct merge_source *source;
	while ((source = lowest(sources, count))) {
		struct index_run_entry entry = source->head;
		TRY(index_run_writer_add(writer, &entry, err));
		for (size_t i = 0; i < count; i++)
			while (!sources[i].end &&
			       memcmp(sources[i].head.prefix, entry.prefix, INDEX_RUN_PREFIX_SIZE) == 0)
				TRY(advance_live(&sources[i], is_live, user, err));
	}
	return ERR_OK;
}
