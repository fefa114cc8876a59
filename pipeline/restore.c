/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/restore_internal.h"

#include "base/cleanup.h"
#include "base/size.h"
#include "pipeline/backup.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void restore_fail(struct restore_job *job, const struct err *err)
{
	LOCK_SCOPE(&job->mutex);
	if (!job->err.code)
		job->err = *err;
	atomic_store_explicit(&job->stop, true, memory_order_relaxed);
	pthread_cond_broadcast(&job->turn_changed);
}

bool restore_stopped(struct restore_job *job)
{
	return atomic_load_explicit(&job->stop, memory_order_relaxed) || progress_is_cancelled(job->request->progress);
}

bool restore_await_turn(struct restore_job *job, uint64_t sequence)
{
	LOCK_SCOPE(&job->mutex);
	while (job->turn != sequence && !restore_stopped(job))
		pthread_cond_wait(&job->turn_changed, &job->mutex);
	return job->turn == sequence;
}

void restore_pass_turn(struct restore_job *job)
{
	LOCK_SCOPE(&job->mutex);
	job->turn++;
	pthread_cond_broadcast(&job->turn_changed);
}

static enum err_code lose(struct restore_job *job, uint64_t first_block, uint64_t count, const struct err *why,
			  struct err *err)
{
	damage_list_add(job->damage, first_block, count, why->msg);
	if (job->request->keep_going && why->code != ERR_AUTH && why->code != ERR_NO_MEMORY)
		return ERR_OK;
	enum err_code code = why->code == ERR_NOT_FOUND ? ERR_CORRUPT : why->code;
	return err_set(err, code, 0, "block %" PRIu64 ": %s", first_block, why->msg);
}

enum err_code restore_lose_block(struct restore_job *job, uint64_t block, const struct err *why, struct err *err)
{
	LOCK_SCOPE(&job->mutex);
	return lose(job, block, 1, why, err);
}

/* ---- Claims ---- */

/* Steps over leaves whose map nodes are lost, noting their blocks. *ret_found is the next leaf that can be read, or the
 * leaf count. */
static enum err_code find_leaf(struct restore_job *job, uint64_t leaf_count, uint64_t *ret_found,
			       const struct map_node **ret_node, struct err *err)
{
	const struct disk_map *map = job->request->map;
	while (job->next_leaf < leaf_count) {
		uint64_t lost = 1;
		struct err why = {0};
		uint64_t leaf = job->next_leaf;
		enum err_code code = disk_map_reader_next(job->reader, leaf, &leaf, &lost, &why);
		if (code == ERR_OK && leaf >= leaf_count)
			break;
		if (code == ERR_OK) {
			lost = 1;
			code = disk_map_reader_leaf(job->reader, leaf, ret_node, &lost, &why);
			if (code == ERR_OK && *ret_node) {
				*ret_found = leaf;
				job->next_leaf = leaf + 1;
				return ERR_OK;
			}
		}
		if (code != ERR_OK) {
			uint64_t first = leaf * DISK_MAP_FANOUT;
			uint64_t count = min_u64(max_u64(lost, 1) * DISK_MAP_FANOUT, map->block_count - first);
			TRY(lose(job, first, count, &why, err));
		}
		job->next_leaf = leaf + max_u64(lost, 1);
	}
	*ret_found = leaf_count;
	job->next_leaf = leaf_count;
	return ERR_OK;
}

enum err_code restore_claim(struct restore_job *job, struct restore_claim *ret, bool *ret_claimed, struct err *err)
{
	LOCK_SCOPE(&job->mutex);
	uint64_t size = job->request->size_bytes;
	uint64_t leaf_count = disk_map_leaf_count(job->request->map->block_count);
	*ret_claimed = job->zero_from < size;
	if (!*ret_claimed)
		return ERR_OK;
	uint64_t leaf = leaf_count;
	const struct map_node *node = NULL;
	TRY(find_leaf(job, leaf_count, &leaf, &node, err));
	uint64_t start = min_u64(leaf * DISK_MAP_LEAF_BYTES, size);
	ret->sequence = job->next_claim++;
	ret->leaf = leaf;
	ret->has_leaf = leaf < leaf_count;
	if (ret->has_leaf)
		ret->node = *node;
	ret->zero_offset = job->zero_from;
	ret->zero_length = start - job->zero_from;
	job->zero_from = ret->has_leaf ? min_u64(start + DISK_MAP_LEAF_BYTES, size) : size;
	return ERR_OK;
}

/* ---- The job ---- */

static enum err_code run_lanes(struct restore_job *job, struct stage_times *times, struct err *err)
{
	AUTO_FREE pthread_t *threads = calloc(job->lane_count, sizeof(*threads));
	AUTO_FREE uint8_t *lanes = calloc(job->lane_count, restore_lane_size());
	if (!threads || !lanes)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for lanes");
	unsigned ready = 0;
	enum err_code code = ERR_OK;
	for (; ready < job->lane_count && code == ERR_OK; ready++)
		code = restore_lane_init((struct restore_lane *)(void *)(lanes + ready * restore_lane_size()), job,
					 err);
	unsigned started = 0;
	for (; started < job->lane_count && code == ERR_OK; started++) {
		int failed = pthread_create(&threads[started], NULL, restore_lane_main,
					    lanes + started * restore_lane_size());
		if (failed)
			code = err_set(err, ERR_NO_MEMORY, failed, "cannot start lane %u", started);
		if (failed)
			break;
	}
	if (code != ERR_OK && err)
		restore_fail(job, err);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < ready; i++)
		restore_lane_release((struct restore_lane *)(void *)(lanes + i * restore_lane_size()), times);
	if (code == ERR_OK && job->err.code) {
		code = job->err.code;
		if (err && !err->code)
			*err = job->err;
	}
	if (code == ERR_OK && progress_is_cancelled(job->request->progress))
		code = err_set(err, ERR_CANCELLED, 0, "the restore was stopped");
	return code;
}

static enum err_code run_job(struct restore_job *job, struct stage_times *times, struct err *err)
{
	const struct restore_request *request = job->request;
	TRY(disk_map_reader_new(&job->nodes, request->map, &job->reader, err));
	TRY(run_lanes(job, times, err));
	TRY(request->target->ops->finish(request->target, err));
	if (job->damage->lost_blocks)
		return err_set(err, ERR_CORRUPT, 0,
			       "%" PRIu64 " blocks could not be restored and were written as zeroes",
			       job->damage->lost_blocks);
	return ERR_OK;
}

enum err_code restore_run(struct store *store, const struct restore_request *request, struct damage_list *ret_damage,
			  struct stage_times *ret_times, struct err *err)
{
	*ret_damage = (struct damage_list){0};
	if (request->map->block_count != (request->size_bytes + BLOCK_SIZE - 1) / BLOCK_SIZE)
		return err_set(err, ERR_CORRUPT, 0, "the disk's map does not fit its size");
	long cpus = request->lanes ? (long)request->lanes : sysconf(_SC_NPROCESSORS_ONLN);
	struct restore_job job = {
		.store = store,
		.nodes = store_nodes(store),
		.request = request,
		.lane_count = (unsigned)min_u64(cpus < 1 ? 1 : (uint64_t)cpus, LANES_MAX),
		.damage = ret_damage,
	};
	pthread_mutex_init(&job.mutex, NULL);
	pthread_cond_init(&job.turn_changed, NULL);
	if (request->progress)
		atomic_store(&request->progress->phase, "restore");
	struct stage_times times = {0};
	enum err_code code = run_job(&job, &times, err);
	damage_list_finish(ret_damage);
	disk_map_reader_free(job.reader);
	pthread_cond_destroy(&job.turn_changed);
	pthread_mutex_destroy(&job.mutex);
	if (ret_times)
		*ret_times = times;
	return code;
}

enum err_code restore_document(struct store *store, const struct saveset_document *document, uint8_t **ret,
			       size_t *ret_length, struct err *err)
{
	enum { DOCUMENT_MAX = 256 << 20 };
	if (document->length > DOCUMENT_MAX)
		return err_set(err, ERR_LIMIT, 0, "document '%s' of %" PRIu64 " bytes is too large", document->name,
			       document->length);
	AUTO_FREE uint8_t *data = calloc(1, document->length + 1);
	if (!data)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for document '%s'", document->name);
	struct block_target *target = NULL;
	TRY(memory_target_new(document->name, data, document->length, &target, err));
	struct restore_request request = {
		.map = &document->map,
		.size_bytes = document->length,
		.target = target,
		.lanes = 1,
	};
	struct damage_list damage;
	enum err_code code = restore_run(store, &request, &damage, NULL, err);
	damage_list_release(&damage);
	block_target_close(target);
	if (code != ERR_OK)
		return err ? err_context(err, "document '%s'", document->name) : code;
	*ret = TAKE_PTR(data);
	*ret_length = document->length;
	return ERR_OK;
}
