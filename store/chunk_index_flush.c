/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the index. The order of steps makes every crash harmless:
 *
 *   1. a new run file is written, synced, and its name synced       (nothing refers to it)
 *   2. the manifest is replaced                                     (from here on the new list counts)
 *   3. run files that are not in the list are removed               (nothing refers to them)
 *
 * A run file's number may have been used before by a file that is gone; the manifest names a run by its header's hash
 * too, so an old manifest never takes the new file for the old one. */
#include "store/chunk_index.h"

#include "base/cleanup.h"
#include "base/size.h"
#include "store/chunk_index_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NUMBER_MAX 99999999u /* eight digits */

DEFINE_CLEANUP(run_writer, struct index_run_writer, index_run_writer_free)

/* Run files in the directory, in no order. */
struct run_files {
	uint32_t *numbers;
	size_t count, capacity;
};

static void release_files(struct run_files *files)
{
	free(files->numbers);
}

/* True if `name` is that of a run file: eight digits and ".run". */
static bool parse_name(const char *name, uint32_t *ret)
{
	uint32_t number = 0;
	for (unsigned i = 0; i < 8; i++) {
		if (name[i] < '0' || name[i] > '9')
			return false;
		number = number * 10 + (uint32_t)(name[i] - '0');
	}
	*ret = number;
	return strcmp(name + 8, ".run") == 0;
}

static enum err_code note_file(void *user, const char *name, struct err *err)
{
	struct run_files *files = user;
	uint32_t number;
	if (!parse_name(name, &number))
		return ERR_OK;
	if (files->count == files->capacity) {
		size_t capacity = files->capacity ? files->capacity * 2 : 32;
		uint32_t *numbers = reallocarray(files->numbers, capacity, sizeof(*numbers));
		if (!numbers)
			return err_set(err, ERR_NO_MEMORY, 0, "no memory to list the index");
		files->numbers = numbers;
		files->capacity = capacity;
	}
	files->numbers[files->count++] = number;
	return ERR_OK;
}

static int compare_numbers(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

/* The lowest number that no file has. */
static uint32_t free_number(struct run_files *files)
{
	uint32_t number = 1;
	if (files->count)
		qsort(files->numbers, files->count, sizeof(*files->numbers), compare_numbers);
	for (size_t i = 0; i < files->count; i++)
		number += files->numbers[i] == number;
	return number;
}

/* What the index will consist of. */
struct plan {
	struct chunk_index *index;
	uint64_t covered;
	segment_is_live_fn is_live;
	void *user;
	unsigned kept; /* the first runs, which stay */
	bool merge;    /* the others go into the new run */
	bool shrink;   /* the others are left out of the manifest, though this process goes on with them */
	struct index_run_entry *entries; /* new ones, from the table */
	size_t entry_count;
	struct index_run *added; /* the new run, if any */
};

/* Merges the table's entries, and the runs if wanted, into `writer`. */
static enum err_code fill_run(const struct plan *plan, struct index_run_writer *writer, struct err *err)
{
	struct chunk_index *index = plan->index;
	struct merge_source sources[MANIFEST_RUNS_MAX + 1] = {0};
	size_t count = 0;
	enum err_code code = ERR_OK;
	for (unsigned i = plan->kept; plan->merge && i < index->run_count && code == ERR_OK; i++) {
		code = index_run_cursor_new(index->runs[i], &sources[count].cursor, err);
		count += code == ERR_OK;
	}
	sources[count].entries = plan->entries;
	sources[count].count = plan->entry_count;
	if (code == ERR_OK)
		code = index_merge(sources, count + 1, plan->is_live, plan->user, writer, err);
	for (size_t i = 0; i < count; i++)
		index_run_cursor_free(sources[i].cursor);
	return code;
}

static uint64_t entries_max(const struct plan *plan)
{
	uint64_t entries = plan->entry_count;
	for (unsigned i = plan->kept; plan->merge && i < plan->index->run_count; i++)
		entries += plan->index->runs[i]->header.entry_count;
	return entries;
}

/* Writes file `number` and opens it for reading, which also checks it. *ret stays NULL if nothing is left to write. */
static enum err_code write_run(const struct plan *plan, uint32_t number, struct index_run **ret, struct err *err)
{
	struct io *io = plan->index->io;
	AUTO(cleanup_run_writer) struct index_run_writer *writer = NULL;
	TRY(index_run_writer_new(io, number, entries_max(plan), plan->covered, &writer, err));
	TRY(fill_run(plan, writer, err));
	if (index_run_writer_count(writer) == 0)
		return ERR_OK;
	TRY(index_run_writer_finish(writer, err));
	TRY(io_sync_dir(io, "index", err));
	return index_run_open(io, number, ret, err);
}

static enum err_code write_manifest(const struct plan *plan, struct err *err)
{
	struct index_manifest manifest = {.covered = plan->covered};
	for (unsigned i = 0; i < plan->kept; i++) {
		manifest.runs[manifest.run_count].number = plan->index->runs[i]->number;
		manifest.runs[manifest.run_count++].hash = plan->index->runs[i]->header.hash;
	}
	if (plan->added) {
		manifest.runs[manifest.run_count].number = plan->added->number;
		manifest.runs[manifest.run_count++].hash = plan->added->header.hash;
	}
	uint8_t data[MANIFEST_SIZE_MAX];
	size_t length = index_manifest_encode(&manifest, data);
	return io_write_file(plan->index->io, MANIFEST_PATH, data, length, err);
}

/* Makes the new list the one that lookups use. */
static void swap_runs(struct plan *plan)
{
	struct chunk_index *index = plan->index;
	struct index_run *gone[MANIFEST_RUNS_MAX];
	unsigned gone_count = 0;
	pthread_rwlock_wrlock(&index->runs_lock);
	while (!plan->shrink && index->run_count > plan->kept)
		gone[gone_count++] = index->runs[--index->run_count];
	if (plan->added)
		index->runs[index->run_count++] = TAKE_PTR(plan->added);
	index->covered = plan->covered;
	index->manifest_stale = false;
	pthread_rwlock_unlock(&index->runs_lock);
	for (unsigned i = 0; i < gone_count; i++)
		index_run_close(gone[i]);
}

static bool is_listed(const struct chunk_index *index, uint32_t number)
{
	for (unsigned i = 0; i < index->run_count; i++)
		if (index->runs[i]->number == number)
			return true;
	return false;
}

/* A file that cannot be removed now stays until the next flush: it only takes space. */
static void remove_unlisted(const struct chunk_index *index, const struct run_files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		char path[INDEX_RUN_PATH_SIZE];
		index_run_path(files->numbers[i], path);
		if (!is_listed(index, files->numbers[i]) && io_remove(index->io, path, NULL) != ERR_OK)
			return;
	}
}

/* Runs before the first damaged one. */
static unsigned whole_runs(const struct chunk_index *index)
{
	unsigned whole = 0;
	while (whole < index->run_count && !index_run_is_damaged(index->runs[whole]))
		whole++;
	return whole;
}

/* If a run turned out damaged, plans to shrink the index on disk to the runs before it. The next open finds a lower
 * chunk_index_covered then, and the caller adds the rest again. */
static bool plan_shrinks(struct plan *plan)
{
	const struct chunk_index *index = plan->index;
	unsigned whole = whole_runs(index);
	if (whole == index->run_count)
		return false;
	plan->kept = whole;
	plan->merge = false;
	plan->shrink = true;
	plan->covered = whole ? index->runs[whole - 1]->header.covered : 0;
	return true;
}

static enum err_code add_run(struct plan *plan, struct run_files *files, struct err *err)
{
	uint32_t number = free_number(files);
	if (number > FILE_NUMBER_MAX)
		return err_set(err, ERR_LIMIT, 0, "directory 'index' is full of run files; delete it");
	enum err_code code = write_run(plan, number, &plan->added, err);
	if (plan->added)
		return code;
	char path[INDEX_RUN_PATH_SIZE];
	index_run_path(number, path);
	(void)!io_remove(plan->index->io, path, NULL); /* nothing refers to it; what is left the next flush removes */
	return code;
}

/* Decides what is kept and merged, and writes the new run if there has to be one. */
static enum err_code make_plan(struct plan *plan, struct run_files *files, struct err *err)
{
	struct chunk_index *index = plan->index;
	if (plan_shrinks(plan))
		return ERR_OK;
	TRY(index_collect(index->table, index->covered, plan->covered, plan->is_live, plan->user, &plan->entries,
			  &plan->entry_count, err));
	plan->merge = index->run_count + (plan->entry_count > 0) > CHUNK_INDEX_RUNS_MAX;
	plan->kept = plan->merge ? 0 : index->run_count;
	if (!plan->merge && !plan->entry_count)
		return ERR_OK;
	struct err local = {0};
	enum err_code code = add_run(plan, files, &local);
	if (code == ERR_OK || plan_shrinks(plan))
		return ERR_OK;
	return err_set(err, code, 0, "%s", local.msg);
}

/* True if the manifest on disk says already what the plan says. */
static bool is_unchanged(const struct plan *plan)
{
	return !plan->index->manifest_stale && !plan->added && plan->kept == plan->index->run_count &&
	       plan->covered == plan->index->covered;
}

static enum err_code carry_out(struct plan *plan, struct run_files *files, struct err *err)
{
	TRY(make_plan(plan, files, err));
	if (!is_unchanged(plan)) {
		TRY(write_manifest(plan, err));
		swap_runs(plan);
	}
	remove_unlisted(plan->index, files);
	return ERR_OK;
}

enum err_code chunk_index_flush(struct chunk_index *index, uint64_t covered, segment_is_live_fn is_live, void *user,
				struct err *err)
{
	if (covered >> 40)
		return err_set(err, ERR_INVALID, 0, "the index can't cover segment %" PRIu64, covered);
	AUTO(release_files) struct run_files files = {0};
	TRY(io_make_dir(index->io, "index", err));
	TRY(io_sync_dir(index->io, "", err));
	TRY(io_list(index->io, "index", note_file, &files, err));
	struct plan plan = {
		.index = index, .covered = max_u64(covered, index->covered), .is_live = is_live, .user = user};
	enum err_code code = carry_out(&plan, &files, err);
	/* If only the manifest failed, it may be on disk or not, so the new file has to stay; the next flush settles
	 * it. */
	index_run_close(plan.added);
	free(plan.entries);
	return code;
}
