/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/disk_probe.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "bench/disk_probe_internal.h"
#include "bench/extents.h"
#include "store/io_uring.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

void probe_file_path(const struct probe_lane *lane, size_t index, char dst[static PROBE_PATH_SIZE])
{
	snprintf(dst, PROBE_PATH_SIZE, "%s/probe-%u-%zu", lane->plan->probe->write_directory, lane->number, index);
}

static double process_cpu_s(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Cuts the data extents of one file into reads. */
static enum err_code add_pieces(struct probe_plan *plan, const char *path, struct io_file *file, struct err *err)
{
	AUTO_FREE struct extent *extents = NULL;
	size_t count;
	uint64_t size;
	TRY(data_extents(path, &extents, &count, &size, err));
	size_t more = 0;
	for (size_t i = 0; i < count; i++)
		more += (size_t)((extents[i].length + PROBE_READ_SIZE - 1) / PROBE_READ_SIZE);
	struct probe_piece *grown = reallocarray(plan->pieces, plan->piece_count + more, sizeof(*grown));
	if (!grown)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the disk probe");
	plan->pieces = grown;
	for (size_t i = 0; i < count; i++) {
		for (uint64_t at = 0; at < extents[i].length; at += PROBE_READ_SIZE) {
			/* A tail that does not fill a sector is left out: direct reads are whole. */
			uint64_t length = round_down(min_u64(extents[i].length - at, PROBE_READ_SIZE), IO_ALIGN);
			if (length)
				plan->pieces[plan->piece_count++] = (struct probe_piece){
					.file = file, .offset = extents[i].offset + at, .length = (uint32_t)length};
		}
	}
	return ERR_OK;
}

static enum err_code open_reads(struct probe_plan *plan, struct io_file **files, struct err *err)
{
	const struct disk_probe *probe = plan->probe;
	for (size_t i = 0; probe->read_bytes && i < probe->read_file_count; i++) {
		TRY(io_uring_open_external(probe->read_files[i], IO_READ | IO_DIRECT, &files[i], err));
		TRY(add_pieces(plan, probe->read_files[i], files[i], err));
	}
	if (probe->read_bytes && plan->piece_count == 0)
		return err_set(err, ERR_INVALID, 0, "the disk probe has nothing to read");
	return ERR_OK;
}

static enum err_code lane_init(struct probe_lane *lane, struct probe_plan *plan, unsigned number, struct err *err)
{
	const struct disk_probe *probe = plan->probe;
	lane->plan = plan;
	lane->number = number;
	lane->next_piece = (size_t)number * 8;
	lane->read_quota = probe->read_bytes / probe->lanes;
	lane->write_quota = round_up(probe->write_bytes / probe->lanes, PROBE_WRITE_SIZE);
	lane->file_count = (size_t)(lane->write_quota / PROBE_FILE_SIZE + 1);
	lane->files = calloc(lane->file_count, sizeof(*lane->files));
	lane->arena = mmap(NULL, PROBE_ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (lane->arena == MAP_FAILED)
		lane->arena = NULL;
	if (!lane->files || !lane->arena)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the disk probe");
	madvise(lane->arena, PROBE_ARENA_SIZE, MADV_HUGEPAGE);
	/* Not zero and not repeating, lest a clever device compresses it. */
	for (size_t i = 0; i < PROBE_ARENA_SIZE; i += 8) {
		uint64_t value = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
		memcpy(lane->arena + i, &value, 8);
	}
	return ERR_OK;
}

static void lane_release(struct probe_lane *lane)
{
	for (size_t i = 0; lane->files && i < lane->file_count; i++) {
		if (!lane->files[i].file)
			continue;
		char path[PROBE_PATH_SIZE];
		probe_file_path(lane, i, path);
		io_file_close(lane->files[i].file);
		unlink(path);
	}
	free(lane->files);
	if (lane->arena)
		munmap(lane->arena, PROBE_ARENA_SIZE);
}

static enum err_code run_lanes(struct probe_plan *plan, struct probe_lane *lanes, struct disk_probe_result *ret,
			       struct err *err)
{
	unsigned count = plan->probe->lanes, started = 0;
	pthread_t threads[256];
	pthread_barrier_init(&plan->start, NULL, count + 1);
	for (; started < count; started++)
		if (pthread_create(&threads[started], NULL, probe_lane_run, &lanes[started]) != 0)
			break;
	if (started < count) {
		/* The others wait at a barrier that can no longer be crossed; without threads there is no benchmark. */
		fprintf(stderr, "xenolith-bench: cannot start %u threads\n", count);
		_exit(1);
	}
	double cpu = process_cpu_s();
	uint64_t start = clock_mono_ns();
	pthread_barrier_wait(&plan->start);
	for (unsigned i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	ret->wall_s = (double)(clock_mono_ns() - start) / 1e9;
	ret->cpu_s = process_cpu_s() - cpu;
	pthread_barrier_destroy(&plan->start);
	for (unsigned i = 0; i < count; i++) {
		if (lanes[i].err.code)
			return err_set(err, lanes[i].err.code, 0, "disk probe: %s", lanes[i].err.msg);
		ret->read_bytes += lanes[i].read_done;
		ret->write_bytes += lanes[i].write_done;
	}
	return ERR_OK;
}

enum err_code disk_probe_run(const struct disk_probe *probe, struct disk_probe_result *ret, struct err *err)
{
	struct probe_plan plan = {.probe = probe};
	struct probe_lane *lanes = calloc(probe->lanes, sizeof(*lanes));
	struct io_file **files = calloc(probe->read_file_count + 1, sizeof(struct io_file *));
	enum err_code code = ERR_OK;
	*ret = (struct disk_probe_result){0};
	if (!lanes || !files)
		code = err_set(err, ERR_NO_MEMORY, 0, "no memory for the disk probe");
	if (code == ERR_OK)
		code = io_uring_anonymous_new(&plan.io, err);
	if (code == ERR_OK)
		code = open_reads(&plan, files, err);
	for (unsigned i = 0; code == ERR_OK && i < probe->lanes; i++)
		code = lane_init(&lanes[i], &plan, i, err);
	if (code == ERR_OK)
		code = run_lanes(&plan, lanes, ret, err);
	for (unsigned i = 0; lanes && i < probe->lanes; i++)
		lane_release(&lanes[i]);
	for (size_t i = 0; files && i < probe->read_file_count; i++)
		io_file_close(files[i]);
	io_free(plan.io);
	free(plan.pieces);
	free(files);
	free(lanes);
	return code;
}
