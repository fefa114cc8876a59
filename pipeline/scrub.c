/* SPDX-License-Identifier: Apache-2.0 */
/* Scrub: lanes take segments one by one and check every cell. */
#include "pipeline/arena.h"
#include "pipeline/backup.h"
#include "pipeline/check_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads in flight per lane. */
enum { SCRUB_BUFFERS = 6, SCRUB_BUFFER_SIZE = 1 << 20 };

struct scrub_job {
	struct check_job check;
	struct store *store;
	_Atomic size_t next; /* index into the log's segments */
};

struct scrub_lane {
	struct scrub_job *job;
	const struct segment_info *info; /* being scrubbed */
	bool damaged;
	uint64_t bytes;
	uint64_t lane_ns;
	uint64_t cpu_ns;
};

static void note_cells(void *user, const struct cell_damage *damage)
{
	struct scrub_lane *lane = user;
	lane->damaged = true;
	struct finding f = {
		.kind = FINDING_SEGMENT,
		.segment = lane->info->number,
		.offset = damage->first_cell * SEGMENT_CELL_SIZE,
		.length = damage->count * SEGMENT_CELL_SIZE,
	};
	snprintf(f.text, sizeof(f.text), "segment %" PRIu64 ": %" PRIu64 " bytes at %" PRIu64 " are damaged", f.segment,
		 f.length, f.offset);
	check_report_finding(&lane->job->check, &f);
}

static void note_segment(struct scrub_lane *lane, const char *text)
{
	lane->damaged = true;
	struct finding f = {.kind = FINDING_SEGMENT, .segment = lane->info->number, .length = lane->info->file_length};
	snprintf(f.text, sizeof(f.text), "%s", text);
	check_report_finding(&lane->job->check, &f);
}

static enum err_code scrub_one(struct scrub_lane *lane, struct io_queue *queue, uint8_t *buffers, struct err *err)
{
	struct store *store = lane->job->store;
	struct err why = {0};
	struct segment *segment;
	lane->damaged = false;
	enum err_code code = segment_open(store_io(store), store_keys_of(store), lane->info->kind, lane->info->number,
					  lane->info, &segment, &why);
	if (code == ERR_NO_MEMORY)
		return err_set(err, code, 0, "%s", why.msg);
	if (code != ERR_OK) {
		note_segment(lane, why.msg);
		return ERR_OK;
	}
	uint64_t bytes = 0;
	code = segment_scrub(segment, queue, buffers, SCRUB_BUFFER_SIZE, SCRUB_BUFFERS, note_cells, lane, &bytes, &why);
	if (code == ERR_OK && segment_was_damaged(segment) && !lane->damaged) {
		snprintf(why.msg, sizeof(why.msg), "segment %" PRIu64 ": its directory or trailer is damaged",
			 lane->info->number);
		code = ERR_CORRUPT;
	}
	segment_unref(segment);
	lane->bytes += bytes;
	if (code == ERR_CORRUPT || code == ERR_IO) {
		note_segment(lane, why.msg);
		return ERR_OK;
	}
	return code == ERR_OK ? code : err_set(err, code, 0, "%s", why.msg);
}

static enum err_code scrub_segments(struct scrub_lane *lane, struct err *err)
{
	struct scrub_job *job = lane->job;
	const struct log_state *state = store_state(job->store);
	struct arena arena = {0};
	struct io_queue *queue = NULL;
	TRY(arena_init(&arena, (size_t)SCRUB_BUFFERS * SCRUB_BUFFER_SIZE, err));
	uint8_t *buffers = arena_take(&arena, (size_t)SCRUB_BUFFERS * SCRUB_BUFFER_SIZE);
	enum err_code code = io_queue_new(store_io(job->store), 2 * SCRUB_BUFFERS, arena.base, arena.size, &queue, err);
	while (code == ERR_OK && !check_stopped(&job->check)) {
		size_t i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
		if (i >= state->segment_count)
			break;
		lane->info = &state->segments[i];
		code = scrub_one(lane, queue, buffers, err);
		check_add(&job->check.report.segments, 1);
		check_add(&job->check.report.damaged_segments, lane->damaged);
		if (job->check.request->progress)
			progress_add(&job->check.request->progress->done_bytes, lane->info->file_length);
	}
	io_queue_free(queue);
	arena_release(&arena);
	return code;
}

static void *scrub_main(void *user)
{
	struct scrub_lane *lane = user;
	uint64_t start = clock_mono_ns();
	uint64_t start_cpu = clock_thread_cpu_ns();
	struct err err = {0};
	if (scrub_segments(lane, &err) != ERR_OK)
		check_fail(&lane->job->check, &err);
	lane->lane_ns = clock_mono_ns() - start;
	lane->cpu_ns = clock_thread_cpu_ns() - start_cpu;
	return NULL;
}

enum err_code scrub_run(struct store *store, const struct check_request *request, struct check_report *ret,
			struct stage_times *ret_times, struct err *err)
{
	struct scrub_job job = {.store = store};
	check_init(&job.check, request, "scrub");
	check_log(&job.check, store);
	const struct log_state *state = store_state(store);
	uint64_t total = 0;
	for (size_t i = 0; i < state->segment_count; i++)
		total += state->segments[i].file_length;
	if (request->progress)
		atomic_store(&request->progress->total_bytes, total);
	unsigned count = check_lane_count(request);
	AUTO_FREE struct scrub_lane *lanes = calloc(count, sizeof(*lanes));
	if (!lanes)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for lanes");
	for (unsigned i = 0; i < count; i++)
		lanes[i].job = &job;
	check_run_lanes(&job.check, scrub_main, lanes, sizeof(*lanes), count);
	struct stage_times times = {.lanes = count,
				    .buffer_bytes = (uint64_t)count * (size_t)SCRUB_BUFFERS * SCRUB_BUFFER_SIZE};
	for (unsigned i = 0; i < count; i++) {
		job.check.report.bytes_read += lanes[i].bytes;
		times.read_bytes += lanes[i].bytes;
		times.lane_ns += lanes[i].lane_ns;
		times.lane_cpu_ns += lanes[i].cpu_ns;
	}
	if (ret_times)
		*ret_times = times;
	return check_finish(&job.check, ret, err);
}
