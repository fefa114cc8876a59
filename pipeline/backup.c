/* SPDX-License-Identifier: Apache-2.0 */
/* The job: prepares the disks, starts the lanes, builds the disk maps from the leaves that they finish, and commits.
 * The calling thread does all metadata, so that no lane ever waits for it but when it is a window of leaves behind. */
#include "pipeline/backup_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Finished leaves that may wait per lane for an older one: 4 KiB each. */
enum { WINDOW_PER_LANE = 4 };

void job_fail(struct backup_job *job, const struct err *err)
{
	{
		LOCK_SCOPE(&job->mutex);
		if (!job->err.code)
			job->err = *err;
	}
	atomic_store_explicit(&job->stop, true, memory_order_relaxed);
	for (size_t i = 0; i < job->disk_count; i++)
		leaf_queue_close(&job->disks[i].leaves);
}

bool job_stopped(struct backup_job *job)
{
	return atomic_load_explicit(&job->stop, memory_order_relaxed) || progress_is_cancelled(job->request->progress);
}

void job_lane_ended(struct backup_job *job)
{
	LOCK_SCOPE(&job->signal.mutex);
	job->lanes_running--;
	pthread_cond_broadcast(&job->signal.changed);
}

static void set_phase(const struct backup_request *request, const char *phase)
{
	if (request->progress)
		atomic_store(&request->progress->phase, phase);
}

/* ---- Disks ---- */

static enum err_code prepare_disk(struct backup_job *job, struct job_disk *disk, const struct saveset *saveset,
				  struct err *err)
{
	const struct block_source *source = disk->source;
	if (source->size_bytes == 0 || source->size_bytes > UINT64_C(1) << 58)
		return err_set(err, ERR_UNSUPPORTED, 0, "disk '%s' of %" PRIu64 " bytes cannot be backed up",
			       source->name, source->size_bytes);
	uint64_t blocks = (source->size_bytes + BLOCK_SIZE - 1) >> BLOCK_SHIFT;
	disk->leaf_count = disk_map_leaf_count(blocks);
	disk->has_base = !disk->is_document && !job->request->no_compare &&
			 store_find_previous(job->store, saveset->vm_name, &saveset->vm_uuid, source->name,
					     &source->uuid, &disk->base, NULL) == ERR_OK;
	TRY(leaf_queue_init(&disk->leaves, &job->signal, (size_t)WINDOW_PER_LANE * job->lane_count, err));
	return disk_map_builder_new(&job->write_nodes, blocks, disk->has_base ? &disk->base : NULL, &disk->builder,
				    err);
}

static enum err_code check_names(const struct backup_request *request, struct err *err)
{
	for (size_t i = 0; i < request->source_count; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(request->sources[i]->name, request->sources[j]->name) == 0)
				return err_set(err, ERR_INVALID, 0,
					       "two disks are called '%s'; give them names of their own",
					       request->sources[i]->name);
	return ERR_OK;
}

static enum err_code prepare_disks(struct backup_job *job, const struct saveset *saveset, struct err *err)
{
	const struct backup_request *request = job->request;
	TRY(check_names(request, err));
	uint64_t total = 0;
	for (size_t i = 0; i < request->source_count; i++) {
		job->disks[i].source = request->sources[i];
		total += min_u64(request->sources[i]->data_bytes_hint, request->sources[i]->size_bytes);
	}
	for (size_t i = 0; i < request->document_count; i++) {
		struct job_disk *disk = &job->disks[request->source_count + i];
		const struct backup_document *document = &request->documents[i];
		disk->is_document = true;
		TRY(memory_source_new(document->name, document->data, document->length, &disk->source, err));
	}
	for (size_t i = 0; i < job->disk_count; i++)
		TRY(prepare_disk(job, &job->disks[i], saveset, err));
	if (request->progress)
		atomic_store(&request->progress->total_bytes, total);
	return ERR_OK;
}

static void release_disks(struct backup_job *job)
{
	for (size_t i = 0; i < job->disk_count; i++) {
		struct job_disk *disk = &job->disks[i];
		disk_map_builder_free(disk->builder);
		leaf_queue_release(&disk->leaves);
		pthread_mutex_destroy(&disk->mutex);
		if (disk->is_document)
			block_source_close(disk->source);
	}
}

/* ---- Lanes ---- */

/* Puts what is ready into the maps. *ret_any: something was. */
static enum err_code drain_leaves(struct backup_job *job, bool *ret_any, struct err *err)
{
	struct map_node node;
	uint64_t leaf;
	*ret_any = false;
	for (size_t i = 0; i < job->disk_count; i++)
		while (leaf_queue_take(&job->disks[i].leaves, &leaf, &node)) {
			*ret_any = true;
			TRY(disk_map_builder_put(job->disks[i].builder, leaf, &node, err));
		}
	return ERR_OK;
}

static bool leaf_is_ready(struct backup_job *job)
{
	for (size_t i = 0; i < job->disk_count; i++) {
		const struct leaf_queue *q = &job->disks[i].leaves;
		if (q->ring[q->next % q->window].present)
			return true;
	}
	return false;
}

/* Builds the maps while the lanes run. */
static void build_maps(struct backup_job *job)
{
	for (;;) {
		bool ended;
		{
			LOCK_SCOPE(&job->signal.mutex);
			while (job->lanes_running > 0 && !leaf_is_ready(job))
				pthread_cond_wait(&job->signal.changed, &job->signal.mutex);
			ended = job->lanes_running == 0;
		}
		bool any;
		struct err err = {0};
		if (drain_leaves(job, &any, &err) != ERR_OK)
			job_fail(job, &err);
		if (ended && (!any || err.code))
			return;
	}
}

static enum err_code run_lanes(struct backup_job *job, struct lane *lanes, struct stage_times *times, struct err *err)
{
	unsigned started = 0;
	enum err_code code = ERR_OK;
	for (unsigned i = 0; i < job->lane_count && code == ERR_OK; i++)
		code = lane_init(&lanes[i], job, i, err);
	job->lanes_running = code == ERR_OK ? job->lane_count : 0;
	for (; started < job->lane_count && code == ERR_OK; started++) {
		int failed = pthread_create(&lanes[started].thread, NULL, lane_main, &lanes[started]);
		if (failed) {
			struct err create = {0};
			err_set(&create, ERR_NO_MEMORY, failed, "cannot start lane %u", started);
			job_fail(job, &create);
			LOCK_SCOPE(&job->signal.mutex);
			job->lanes_running -= job->lane_count - started;
			break;
		}
	}
	if (code == ERR_OK)
		build_maps(job);
	for (unsigned i = 0; i < started; i++) {
		pthread_join(lanes[i].thread, NULL);
		stage_times_add(times, &lanes[i].times);
	}
	for (unsigned i = 0; i < job->lane_count; i++)
		lane_release(&lanes[i]);
	if (code == ERR_OK && job->err.code) {
		code = job->err.code;
		if (err && !err->code)
			*err = job->err;
	}
	if (code == ERR_OK && progress_is_cancelled(job->request->progress))
		code = err_set(err, ERR_CANCELLED, 0, "the backup was stopped");
	return code;
}

/* ---- The saveset ---- */

static enum err_code describe_disk(struct job_disk *disk, struct saveset *saveset, struct err *err)
{
	struct disk_map map;
	TRY(disk_map_builder_finish(disk->builder, &map, err));
	if (disk->is_document) {
		struct saveset_document *document;
		TRY(saveset_add_document(saveset, disk->source->name, &document, err));
		document->length = disk->source->size_bytes;
		document->map = map;
		return ERR_OK;
	}
	struct saveset_disk *described;
	TRY(saveset_add_disk(saveset, disk->source->name, &described, err));
	described->format = strdup(disk->source->ops->format);
	if (!described->format)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a saveset's description");
	described->uuid = disk->source->uuid;
	described->map = map;
	described->compared = disk->has_base;
	described->bytes = (struct saveset_bytes){
		.size = disk->source->size_bytes,
		.data = atomic_load(&disk->data_bytes),
		.read = atomic_load(&disk->read_bytes),
		.changed = atomic_load(&disk->changed_bytes),
		.fresh = atomic_load(&disk->new_bytes),
		.stored = atomic_load(&disk->stored_bytes),
	};
	return ERR_OK;
}

static enum err_code finish_sources(struct backup_job *job, struct err *err)
{
	for (size_t i = 0; i < job->disk_count; i++) {
		struct block_source *source = job->disks[i].source;
		if (source->ops->finish)
			TRY(source->ops->finish(source, err));
	}
	return ERR_OK;
}

static enum err_code run_job(struct backup_job *job, struct saveset *saveset, struct stage_times *times,
			     struct err *err)
{
	AUTO_FREE struct lane *lanes = calloc(job->lane_count, sizeof(*lanes));
	if (!lanes)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for lanes");
	job->read_nodes = store_nodes(job->store);
	job->write_nodes = store_txn_nodes(job->txn);
	TRY(prepare_disks(job, saveset, err));
	set_phase(job->request, "read");
	TRY(run_lanes(job, lanes, times, err));
	TRY(finish_sources(job, err));
	set_phase(job->request, "commit");
	for (size_t i = 0; i < job->disk_count; i++)
		TRY(describe_disk(&job->disks[i], saveset, err));
	return ERR_OK;
}

static unsigned lane_count(const struct backup_request *request)
{
	long cpus = request->lanes ? (long)request->lanes : sysconf(_SC_NPROCESSORS_ONLN);
	return (unsigned)min_u64(cpus < 1 ? 1 : (uint64_t)cpus, LANES_MAX);
}

enum err_code backup_run(struct store *store, const struct backup_request *request, struct saveset *saveset,
			 struct stage_times *ret_times, struct err *err)
{
	struct stage_times times = {0};
	struct backup_job job = {
		.store = store,
		.request = request,
		.disk_count = request->source_count + request->document_count,
		.lane_count = lane_count(request),
	};
	if (request->source_count == 0)
		return err_set(err, ERR_INVALID, 0, "there is no disk to back up");
	job.disks = calloc(job.disk_count, sizeof(*job.disks));
	if (!job.disks)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a job");
	pthread_mutex_init(&job.mutex, NULL);
	leaf_signal_init(&job.signal);
	for (size_t i = 0; i < job.disk_count; i++)
		pthread_mutex_init(&job.disks[i].mutex, NULL);
	saveset->start_unix_s = clock_unix_s();
	enum err_code code = store_txn_begin(store, request->verify_new, &job.txn, err);
	if (code == ERR_OK) {
		code = run_job(&job, saveset, &times, err);
		if (code == ERR_OK)
			code = store_txn_commit(job.txn, saveset, err);
		else
			store_txn_abort(job.txn);
	}
	release_disks(&job);
	leaf_signal_release(&job.signal);
	pthread_mutex_destroy(&job.mutex);
	free(job.disks);
	if (ret_times)
		*ret_times = times;
	return code;
}
