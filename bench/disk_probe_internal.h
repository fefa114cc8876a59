/* SPDX-License-Identifier: Apache-2.0 */
/* What disk_probe.c and disk_probe_lane.c share. */
#ifndef BENCH_DISK_PROBE_INTERNAL_H
#define BENCH_DISK_PROBE_INTERNAL_H

#include "bench/disk_probe.h"
#include "store/io.h"

#include <pthread.h>

/* One read to make. */
struct probe_piece {
	struct io_file *file;
	uint64_t offset;
	uint32_t length;
};

/* What all lanes use. */
struct probe_plan {
	const struct disk_probe *probe;
	struct io *io;
	struct probe_piece *pieces; /* all reads of one pass over the files */
	size_t piece_count;
	pthread_barrier_t start;
};

/* A file being written. */
struct probe_file {
	struct io_file *file;
	uint64_t written; /* completed */
	struct io_op sync;
};

struct probe_lane {
	struct probe_plan *plan;
	unsigned number;
	struct io_queue *queue; /* made by the lane's own thread */
	uint8_t *arena;
	struct io_op reads[PROBE_READ_DEPTH];
	struct io_op writes[PROBE_WRITE_DEPTH];
	bool read_busy[PROBE_READ_DEPTH];
	bool write_busy[PROBE_WRITE_DEPTH];
	size_t next_piece;
	uint64_t read_quota, read_submitted, read_done;
	uint64_t write_quota, write_submitted, write_done;
	struct probe_file *files;
	size_t file_count;
	struct err err;
};

#define PROBE_ARENA_SIZE ((size_t)PROBE_READ_DEPTH * PROBE_READ_SIZE + (size_t)PROBE_WRITE_DEPTH * PROBE_WRITE_SIZE)

/* The body of a lane's thread; the outcome is in lane->err. */
void *probe_lane_run(void *lane);

/* The path of file `index` of a lane. */
#define PROBE_PATH_SIZE 4200
void probe_file_path(const struct probe_lane *lane, size_t index, char dst[static PROBE_PATH_SIZE]);

#endif
