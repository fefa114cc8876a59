/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/disk_probe_internal.h"

#include "store/io_uring.h"

#include <fcntl.h>
#include <stdio.h>

/* How far reads may run ahead of writes, or writes ahead of reads, as a share of the whole: about two rounds of
 * requests. */
static double slack(const struct probe_lane *lane)
{
	uint64_t most = lane->read_quota > lane->write_quota ? lane->read_quota : lane->write_quota;
	return 32.0 * PROBE_READ_SIZE / (double)most;
}

static double share(uint64_t done, uint64_t quota)
{
	return quota ? (double)done / (double)quota : 2;
}

static void read_completed(struct io_op *op)
{
	struct probe_lane *lane = op->user;
	lane->read_busy[op - lane->reads] = false;
	lane->read_done += op->length;
	if (!lane->err.code)
		(void)(io_op_check(op, &lane->err) == ERR_OK);
}

static void sync_completed(struct io_op *op)
{
	struct probe_lane *lane = op->user;
	if (!lane->err.code)
		(void)(io_op_check(op, &lane->err) == ERR_OK);
}

static void write_completed(struct io_op *op)
{
	struct probe_lane *lane = op->user;
	lane->write_busy[op - lane->writes] = false;
	lane->write_done += op->length;
	if (!lane->err.code && io_op_check(op, &lane->err) != ERR_OK)
		return;
	for (size_t i = 0; i < lane->file_count; i++) {
		struct probe_file *file = &lane->files[i];
		if (file->file != op->file)
			continue;
		file->written += op->length;
		if (file->written < PROBE_FILE_SIZE)
			continue;
		file->sync = (struct io_op){
			.kind = IO_OP_SYNC, .file = file->file, .complete = sync_completed, .user = lane};
		io_queue_submit(lane->queue, &file->sync);
	}
}

static void submit_read(struct probe_lane *lane, unsigned slot)
{
	const struct probe_plan *plan = lane->plan;
	const struct probe_piece *piece = &plan->pieces[lane->next_piece % plan->piece_count];
	/* Runs of 8 pieces go to the lanes in turn, as the leaves of a disk map do. */
	if (++lane->next_piece % 8 == 0)
		lane->next_piece += 8 * (size_t)(plan->probe->lanes - 1);
	lane->reads[slot] = (struct io_op){
		.kind = IO_OP_READ,
		.file = piece->file,
		.offset = piece->offset,
		.length = piece->length,
		.data = lane->arena + (size_t)slot * PROBE_READ_SIZE,
		.complete = read_completed,
		.user = lane,
	};
	lane->read_busy[slot] = true;
	lane->read_submitted += piece->length;
	io_queue_submit(lane->queue, &lane->reads[slot]);
}

static void submit_write(struct probe_lane *lane, unsigned slot)
{
	struct probe_file *file = &lane->files[lane->write_submitted / PROBE_FILE_SIZE];
	if (!file->file) {
		char path[PROBE_PATH_SIZE];
		probe_file_path(lane, (size_t)(file - lane->files), path);
		if (io_uring_open_external(path, IO_READ | IO_WRITE | IO_CREATE | IO_DIRECT, &file->file, &lane->err) !=
		    ERR_OK)
			return;
	}
	lane->writes[slot] = (struct io_op){
		.kind = IO_OP_WRITE,
		.file = file->file,
		.offset = lane->write_submitted % PROBE_FILE_SIZE,
		.length = PROBE_WRITE_SIZE,
		.data = lane->arena + (size_t)PROBE_READ_DEPTH * PROBE_READ_SIZE + (size_t)slot * PROBE_WRITE_SIZE,
		.complete = write_completed,
		.user = lane,
	};
	lane->write_busy[slot] = true;
	lane->write_submitted += PROBE_WRITE_SIZE;
	io_queue_submit(lane->queue, &lane->writes[slot]);
}

/* Starts what may be started now: whoever is behind always may, so this never comes to a stop before both quotas are
 * met. */
static void submit_some(struct probe_lane *lane)
{
	double ahead = slack(lane);
	for (unsigned i = 0; i < PROBE_READ_DEPTH && !lane->err.code; i++)
		if (!lane->read_busy[i] && lane->read_submitted < lane->read_quota &&
		    share(lane->read_submitted, lane->read_quota) <= share(lane->write_done, lane->write_quota) + ahead)
			submit_read(lane, i);
	for (unsigned i = 0; i < PROBE_WRITE_DEPTH && !lane->err.code; i++)
		if (!lane->write_busy[i] && lane->write_submitted < lane->write_quota &&
		    share(lane->write_submitted, lane->write_quota) <= share(lane->read_done, lane->read_quota) + ahead)
			submit_write(lane, i);
}

void *probe_lane_run(void *user)
{
	struct probe_lane *lane = user;
	unsigned depth = PROBE_READ_DEPTH + 2 * PROBE_WRITE_DEPTH;
	bool ready =
		io_queue_new(lane->plan->io, depth, lane->arena, PROBE_ARENA_SIZE, &lane->queue, &lane->err) == ERR_OK;
	/* The clock starts when all lanes are ready. */
	pthread_barrier_wait(&lane->plan->start);
	if (!ready)
		return NULL;
	while (!lane->err.code) {
		submit_some(lane);
		if (lane->queue->in_flight == 0)
			break;
		if (io_queue_wait(lane->queue, 1, &lane->err) != ERR_OK)
			break;
	}
	while (lane->queue->in_flight > 0)
		if (io_queue_wait(lane->queue, 1, NULL) != ERR_OK)
			break;
	io_queue_free(lane->queue);
	return NULL;
}
