/* SPDX-License-Identifier: Apache-2.0 */
/* What a crash leaves: segment files that the log does not list. A sealed one whose every cell is whole is adopted as
 * it is; from an unsealed one the whole records are carried over into a fresh segment, verbatim and with their keys, so
 * that no data key is needed. Nothing here is referred to by a saveset: what is lost is work, not data. */
#include "store/segment_format.h"
#include "store/store_internal.h"

#include "base/cleanup.h"
#include "base/size.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

DEFINE_CLEANUP(segment, struct segment, segment_unref)

struct orphan {
	enum segment_kind kind;
	uint64_t number;
};

struct recovery {
	struct store *store;
	enum segment_kind kind; /* of the directory being listed */
	struct orphan *orphans;
	size_t orphan_count;
	struct segment_info *added; /* adopted or made by carrying over */
	size_t added_count;
	unsigned adopted;
	unsigned carried;
	struct orphan *removable; /* their content is elsewhere now, or there was none */
	size_t removable_count;
};

/* ---- Finding orphans ---- */

/* The number in "0123456789.seg"; false for any other name. */
static bool parse_segment_name(const char *name, uint64_t *ret)
{
	if (strlen(name) != 14 || strcmp(name + 10, ".seg") != 0)
		return false;
	uint64_t number = 0;
	for (unsigned i = 0; i < 10; i++) {
		const char *digits = "0123456789abcdef";
		const char *digit = memchr(digits, name[i], 16);
		if (!digit)
			return false;
		number = number << 4 | (uint64_t)(digit - digits);
	}
	*ret = number;
	return true;
}

static enum err_code note_file(void *user, const char *name, struct err *err)
{
	struct recovery *r = user;
	uint64_t number;
	if (!parse_segment_name(name, &number))
		return ERR_OK;
	uint64_t next = atomic_load_explicit(&r->store->next_segment, memory_order_relaxed);
	if (number >= next)
		atomic_store_explicit(&r->store->next_segment, number + 1, memory_order_relaxed);
	if (commit_log_segment(r->store->log, number))
		return ERR_OK;
	struct orphan *grown = reallocarray(r->orphans, r->orphan_count + 1, sizeof(*grown));
	if (!grown)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for recovery");
	r->orphans = grown;
	grown[r->orphan_count++] = (struct orphan){.kind = r->kind, .number = number};
	return ERR_OK;
}

static enum err_code list_orphans(struct recovery *r, struct err *err)
{
	r->kind = SEGMENT_DATA;
	TRY(io_list(r->store->io, "segments/data", note_file, r, err));
	r->kind = SEGMENT_META;
	return io_list(r->store->io, "segments/meta", note_file, r, err);
}

static enum err_code note_added(void *user, const struct segment_info *info, struct err *err)
{
	struct recovery *r = user;
	struct segment_info *grown = reallocarray(r->added, r->added_count + 1, sizeof(*grown));
	if (!grown)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for recovery");
	r->added = grown;
	grown[r->added_count++] = *info;
	return ERR_OK;
}

static enum err_code note_removable(struct recovery *r, const struct orphan *orphan, struct err *err)
{
	struct orphan *grown = reallocarray(r->removable, r->removable_count + 1, sizeof(*grown));
	if (!grown)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for recovery");
	r->removable = grown;
	grown[r->removable_count++] = *orphan;
	return ERR_OK;
}

/* ---- One orphan ---- */

static uint64_t next_number(void *user)
{
	struct recovery *r = user;
	return atomic_fetch_add_explicit(&r->store->next_segment, 1, memory_order_relaxed);
}

static void note_damage(void *user, const struct cell_damage *damage)
{
	bool *damaged = user;
	*damaged |= damage->count > 0;
}

/* Adopts a sealed segment if every byte of it is what was written, and makes that durable. */
static enum err_code adopt(struct recovery *r, const struct orphan *orphan, struct io_queue *queue, uint8_t *arena,
			   bool *ret_adopted, struct err *err)
{
	struct store *store = r->store;
	AUTO(cleanup_segment) struct segment *segment = NULL;
	*ret_adopted = false;
	if (segment_open(store->io, store->keys, orphan->kind, orphan->number, NULL, &segment, NULL) != ERR_OK ||
	    segment_was_damaged(segment))
		return ERR_OK;
	bool damaged = false;
	uint64_t bytes;
	size_t piece = store->config.stripe_size;
	if (segment_scrub(segment, queue, arena, piece, 4, note_damage, &damaged, &bytes, NULL) != ERR_OK || damaged)
		return ERR_OK;
	char path[SEGMENT_PATH_SIZE];
	segment_path(orphan->kind, orphan->number, path);
	struct io_file *file;
	TRY(io_open(store->io, path, IO_READ | IO_WRITE, &file, err));
	enum err_code code = io_sync(file, err);
	io_file_close(file);
	TRY(code);
	*ret_adopted = true;
	r->adopted++;
	struct segment_info info;
	segment_describe(segment, &info);
	return note_added(r, &info, err);
}

/* Copies all records of `segment` into fresh segments. */
static enum err_code copy_records(struct recovery *r, const struct segment *segment, struct io_queue *queue,
				  uint8_t *arena, struct err *err)
{
	uint32_t count;
	segment_entries(segment, &count);
	AUTO_FREE uint32_t *slots = calloc(count, sizeof(*slots));
	if (!slots)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for recovery");
	for (uint32_t i = 0; i < count; i++)
		slots[i] = i;
	struct segment_context context = store_segment_context(r->store, VERIFY_NEW_OFF);
	context.next_number = next_number;
	context.sealed = note_added;
	context.user = r;
	struct segment_writer *writer;
	TRY(segment_writer_new(&context, segment_kind_of(segment), COMPRESSION_DEFAULT, queue, arena, &writer, err));
	uint32_t left_out;
	enum err_code code = segment_writer_copy(writer, segment, slots, count, &left_out, err);
	segment_writer_free(writer);
	return code;
}

/* Removes a copy that did not get to its end: the segments from number `first` on. */
static void remove_copy(struct recovery *r, enum segment_kind kind, uint64_t first)
{
	uint64_t next = atomic_load_explicit(&r->store->next_segment, memory_order_relaxed);
	while (r->added_count > 0 && r->added[r->added_count - 1].number >= first)
		r->added_count--;
	for (uint64_t number = first; number < next; number++) {
		char path[SEGMENT_PATH_SIZE];
		segment_path(kind, number, path);
		ERR_IGNORE(io_remove(r->store->io, path, NULL)); /* what stays is an orphan of the next opening */
	}
}

/* Carries the whole records of a segment over that is not sealed, or not whole. */
static enum err_code carry_over(struct recovery *r, const struct orphan *orphan, struct io_queue *queue, uint8_t *arena,
				struct err *err)
{
	struct store *store = r->store;
	AUTO(cleanup_segment) struct segment *segment = NULL;
	uint32_t count = 0;
	struct err why = {0};
	enum err_code code = segment_open(store->io, store->keys, orphan->kind, orphan->number, NULL, &segment, NULL);
	if (code != ERR_OK)
		code = segment_salvage(store->io, store->keys, orphan->kind, orphan->number, &segment, &why);
	if (code == ERR_OK)
		segment_entries(segment, &count);
	if (count > 0) {
		uint64_t first = atomic_load_explicit(&store->next_segment, memory_order_relaxed);
		code = copy_records(r, segment, queue, arena, &why);
		if (code != ERR_OK && code != ERR_NO_SPACE)
			return err_set(err, code, 0, "%s", why.msg);
		if (code == ERR_NO_SPACE)
			remove_copy(r, orphan->kind, first);
		else
			r->carried++;
	}
	/* Copied, or a file that was just begun: nothing of it had reached the disk. */
	if (code == ERR_OK || code == ERR_NOT_FOUND)
		return note_removable(r, orphan, err);
	/* What cannot be read, or not be copied to a full disk, stays; it must not keep the store closed. */
	store_add_notice(store, "%s; segment %" PRIu64 ", which is not in the log, was left for the next time", why.msg,
			 orphan->number);
	return ERR_OK;
}

static enum err_code recover_orphans(struct recovery *r, struct err *err)
{
	struct store *store = r->store;
	size_t arena_size = store_writer_arena_size(store);
	uint8_t *arena = mmap(NULL, arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena == MAP_FAILED)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for recovery");
	struct io_queue *queue = NULL;
	enum err_code code = io_queue_new(store->io, 32, arena, arena_size, &queue, err);
	for (size_t i = 0; i < r->orphan_count && code == ERR_OK; i++) {
		bool adopted;
		code = adopt(r, &r->orphans[i], queue, arena, &adopted, err);
		if (code == ERR_OK && !adopted)
			code = carry_over(r, &r->orphans[i], queue, arena, err);
	}
	io_queue_free(queue);
	munmap(arena, arena_size);
	return code;
}

/* ---- The whole ---- */

static enum err_code sync_segment_names(struct store *store, struct err *err)
{
	TRY(io_sync_dir(store->io, "segments/data", err));
	return io_sync_dir(store->io, "segments/meta", err);
}

static enum err_code commit_recovered(struct recovery *r, struct err *err)
{
	struct store *store = r->store;
	TRY(sync_segment_names(store, err));
	struct log_change change = {.segments_added = r->added, .segments_added_count = r->added_count};
	if (r->added_count)
		TRY(commit_log_append(store->log, &change, err));
	for (size_t i = 0; i < r->removable_count; i++) {
		char path[SEGMENT_PATH_SIZE];
		segment_path(r->removable[i].kind, r->removable[i].number, path);
		TRY(io_remove(store->io, path, err));
	}
	if (r->removable_count) /* or the next power cut would bring them back */
		TRY(sync_segment_names(store, err));
	if (r->adopted || r->carried)
		store_add_notice(store, "an interrupted job's work was kept: %u segments adopted, %u carried over",
				 r->adopted, r->carried);
	return ERR_OK;
}

enum err_code store_recover(struct store *store, struct err *err)
{
	struct recovery r = {.store = store};
	atomic_store_explicit(&store->next_segment, max_u64(commit_log_state(store->log)->next_segment, 1),
			      memory_order_relaxed);
	enum err_code code = list_orphans(&r, err);
	if (code == ERR_OK && r.orphan_count)
		code = recover_orphans(&r, err);
	if (code == ERR_OK && r.orphan_count)
		code = commit_recovered(&r, err);
	if (code != ERR_OK)
		err_context(err, "recovering the store");
	free(r.orphans);
	free(r.added);
	free(r.removable);
	return code;
}
