/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/verify_internal.h"

#include "base/cleanup.h"
#include "base/size.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Calls fn for every map of a saveset: disks, then documents. */
typedef enum err_code (*map_fn)(struct verify_job *job, const struct saveset *saveset, const char *name,
				const struct disk_map *map, struct err *err);

static enum err_code each_map(struct verify_job *job, const struct saveset *saveset, map_fn fn, struct err *err)
{
	for (size_t i = 0; i < saveset->disk_count; i++)
		TRY(fn(job, saveset, saveset->disks[i].name, &saveset->disks[i].map, err));
	for (size_t i = 0; i < saveset->document_count; i++)
		TRY(fn(job, saveset, saveset->documents[i].name, &saveset->documents[i].map, err));
	return ERR_OK;
}

static void count_wanted(struct verify_job *job, uint64_t bytes)
{
	if (job->check.request->progress)
		progress_add(&job->check.request->progress->total_bytes, bytes);
}

/* Marks one record; *ret_new if it was not marked before. ERR_NOT_FOUND if it is nowhere. */
static enum err_code want(struct verify_job *job, const struct chunk_id *id, bool *ret_new, struct err *err)
{
	struct segment *segment;
	const struct record_entry *entry;
	uint32_t slot;
	TRY(store_find(job->store, id, &segment, &entry, &slot, err));
	size_t place = record_marks_place(&job->wanted, segment_number(segment));
	uint32_t stored = entry->stored_length;
	segment_unref(segment);
	*ret_new = !record_marks_has(&job->wanted, place, slot);
	if (!*ret_new)
		return ERR_OK;
	count_wanted(job, stored);
	return record_marks_set(&job->wanted, place, slot, err);
}

/* ---- Collecting ---- */

/* A node that was marked before has been walked before, and all below it. What is missing is found again by
 * verify_explain. */
static enum err_code collect_node(void *user, const struct chunk_id *id, unsigned level, uint64_t first_block,
				  bool *ret_skip, struct err *err)
{
	(void)level;
	(void)first_block;
	bool is_new = false;
	struct err why = {0};
	enum err_code code = want(user, id, &is_new, &why);
	if (code == ERR_NO_MEMORY)
		return err_set(err, code, 0, "%s", why.msg);
	*ret_skip = code != ERR_OK || !is_new;
	return ERR_OK;
}

static enum err_code collect_map(struct verify_job *job, const struct saveset *saveset, const char *name,
				 const struct disk_map *map, struct err *err)
{
	(void)saveset;
	(void)name;
	struct err why = {0};
	if (disk_map_visit(&job->nodes, map, collect_node, job, &why) == ERR_NO_MEMORY)
		return err_set(err, ERR_NO_MEMORY, 0, "%s", why.msg);
	struct disk_map_reader *reader;
	TRY(disk_map_reader_new(&job->nodes, map, &reader, err));
	uint64_t leaf_count = disk_map_leaf_count(map->block_count);
	enum err_code code = ERR_OK;
	for (uint64_t leaf = 0; leaf < leaf_count && code == ERR_OK && !check_stopped(&job->check);) {
		uint64_t lost = 1;
		const struct map_node *node = NULL;
		if (disk_map_reader_next(reader, leaf, &leaf, &lost, NULL) != ERR_OK) {
			leaf += max_u64(lost, 1);
			continue;
		}
		if (leaf >= leaf_count)
			break;
		if (disk_map_reader_leaf(reader, leaf, &node, &lost, NULL) != ERR_OK)
			node = NULL;
		for (unsigned i = 0; node && i < DISK_MAP_FANOUT && code == ERR_OK; i++) {
			bool is_new;
			if (map_node_has(node, i) && want(job, &node->ids[i], &is_new, &why) == ERR_NO_MEMORY)
				code = err_set(err, ERR_NO_MEMORY, 0, "%s", why.msg);
		}
		leaf++;
	}
	disk_map_reader_free(reader);
	return code;
}

enum err_code verify_collect(struct verify_job *job, struct err *err)
{
	for (size_t i = 0; i < job->saveset_count && !check_stopped(&job->check); i++) {
		struct saveset *saveset;
		bool is_new;
		struct err why = {0};
		if (want(job, &job->savesets[i].record, &is_new, &why) == ERR_NO_MEMORY)
			return err_set(err, ERR_NO_MEMORY, 0, "%s", why.msg);
		if (store_load_saveset(job->store, &job->savesets[i], &saveset, &why) != ERR_OK)
			continue;
		enum err_code code = each_map(job, saveset, collect_map, err);
		saveset_free(saveset);
		TRY(code);
	}
	return ERR_OK;
}

enum err_code verify_collect_all(struct verify_job *job, struct err *err)
{
	const struct log_state *state = store_state(job->store);
	for (size_t i = 0; i < state->segment_count; i++) {
		for (uint32_t slot = 0; slot < state->segments[i].record_count; slot++)
			TRY(record_marks_set(&job->wanted, i, slot, err));
		count_wanted(job, state->segments[i].stored_bytes);
	}
	return ERR_OK;
}

/* ---- Explaining ---- */

/* Lost blocks of one disk, joined to ranges. */
struct explain {
	struct verify_job *job;
	const struct saveset *saveset;
	const char *disk;
	struct finding range;
	bool any;
};

static void flush_range(struct explain *e)
{
	if (e->range.block_count == 0)
		return;
	char id[SAVESET_SHORT_SIZE];
	snprintf(e->range.text, sizeof(e->range.text),
		 "saveset %s of '%.60s', '%.60s': blocks %" PRIu64 " to %" PRIu64 " are lost",
		 saveset_short_id(&e->saveset->id, id), e->saveset->vm_name, e->disk, e->range.first_block,
		 e->range.first_block + e->range.block_count - 1);
	e->job->check.report.damaged_blocks += e->range.block_count;
	check_report_finding(&e->job->check, &e->range);
	e->range.block_count = 0;
}

static void lose_blocks(struct explain *e, uint64_t first, uint64_t count)
{
	e->any = true;
	if (e->range.block_count && e->range.first_block + e->range.block_count == first) {
		e->range.block_count += count;
		return;
	}
	flush_range(e);
	e->range = (struct finding){
		.kind = FINDING_DISK,
		.saveset = e->saveset->id,
		.first_block = first,
		.block_count = count,
	};
	snprintf(e->range.vm_name, sizeof(e->range.vm_name), "%s", e->saveset->vm_name);
	snprintf(e->range.disk_name, sizeof(e->range.disk_name), "%s", e->disk);
}

static bool is_lost(struct verify_job *job, const struct chunk_id *id)
{
	struct segment *segment;
	const struct record_entry *entry;
	uint32_t slot;
	if (store_find(job->store, id, &segment, &entry, &slot, NULL) != ERR_OK)
		return true;
	size_t place = record_marks_place(&job->bad, segment_number(segment));
	segment_unref(segment);
	return record_marks_has(&job->bad, place, slot);
}

static enum err_code explain_leaf(struct explain *e, struct disk_map_reader *reader, uint64_t *leaf,
				  uint64_t leaf_count, uint64_t block_count)
{
	uint64_t lost = 0;
	const struct map_node *node = NULL;
	enum err_code code = disk_map_reader_next(reader, *leaf, leaf, &lost, NULL);
	if (code == ERR_OK && *leaf < leaf_count)
		code = disk_map_reader_leaf(reader, *leaf, &node, &lost, NULL);
	if (*leaf >= leaf_count)
		return ERR_OK;
	uint64_t first = *leaf * DISK_MAP_FANOUT;
	if (code != ERR_OK) {
		lost = max_u64(lost, 1);
		lose_blocks(e, first, min_u64(lost * DISK_MAP_FANOUT, block_count - first));
		*leaf += lost;
		return ERR_OK;
	}
	for (unsigned i = 0; node && i < DISK_MAP_FANOUT; i++)
		if (map_node_has(node, i) && is_lost(e->job, &node->ids[i]))
			lose_blocks(e, first + i, 1);
	++*leaf;
	return ERR_OK;
}

static enum err_code explain_map(struct verify_job *job, const struct saveset *saveset, const char *name,
				 const struct disk_map *map, struct err *err)
{
	struct explain e = {.job = job, .saveset = saveset, .disk = name};
	struct disk_map_reader *reader;
	TRY(disk_map_reader_new(&job->nodes, map, &reader, err));
	uint64_t leaf_count = disk_map_leaf_count(map->block_count);
	enum err_code code = ERR_OK;
	for (uint64_t leaf = 0; leaf < leaf_count && code == ERR_OK && !check_stopped(&job->check);)
		code = explain_leaf(&e, reader, &leaf, leaf_count, map->block_count);
	flush_range(&e);
	disk_map_reader_free(reader);
	job->missing |= e.any;
	return code;
}

static void report_saveset(struct verify_job *job, const struct log_saveset *entry, const char *text)
{
	struct finding f = {.kind = FINDING_SAVESET, .saveset = entry->id};
	snprintf(f.text, sizeof(f.text), "%.255s", text);
	check_report_finding(&job->check, &f);
	job->check.report.damaged_savesets++;
}

enum err_code verify_explain(struct verify_job *job, struct err *err)
{
	for (size_t i = 0; i < job->saveset_count && !check_stopped(&job->check); i++) {
		struct err why = {0};
		struct saveset *saveset;
		enum err_code code = store_load_saveset(job->store, &job->savesets[i], &saveset, &why);
		if (code == ERR_NO_MEMORY)
			return err_set(err, code, 0, "%s", why.msg);
		if (code != ERR_OK) {
			report_saveset(job, &job->savesets[i], why.msg);
			continue;
		}
		job->missing = false;
		code = each_map(job, saveset, explain_map, err);
		job->check.report.damaged_savesets += job->missing;
		saveset_free(saveset);
		TRY(code);
	}
	return ERR_OK;
}
