/* SPDX-License-Identifier: Apache-2.0 */
/* What the disks give to the way the lanes ask: the same queue (store/io.h on io_uring, O_DIRECT, registered memory),
 * the same sizes and depths, the same number of threads, and nothing done with the bytes.
 *
 * Reads and writes are mixed in the proportion that the scenario has: a disk that reads and writes at once gives less
 * of each, and how much less depends on the proportion. So one number for reading and one for writing would not do.
 *
 * Threads: a probe starts its own and ends them. */
#ifndef BENCH_DISK_PROBE_H
#define BENCH_DISK_PROBE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* As the lanes do it (docs/ARCHITECTURE.md): reads of 1 MiB, 8 in flight per lane; stripes of 2 MiB, 4 in flight. */
#define PROBE_READ_SIZE (1u << 20)
#define PROBE_READ_DEPTH 8u
#define PROBE_WRITE_SIZE (2u << 20)
#define PROBE_WRITE_DEPTH 4u
#define PROBE_FILE_SIZE (64u << 20) /* fresh files of a segment's size, each synced when it is full */

struct disk_probe {
	const char *const *read_files; /* read from the front, extent by extent, again from the front at the end */
	size_t read_file_count;
	const char *write_directory; /* fresh files are made here and removed afterwards */
	uint64_t read_bytes;         /* rounded to whole requests per lane; 0: no reads */
	uint64_t write_bytes;        /* likewise */
	unsigned lanes;
};

struct disk_probe_result {
	double wall_s;
	double cpu_s; /* of this process, kernel included */
	uint64_t read_bytes;
	uint64_t write_bytes;
};

/* Runs the probe. ERR_INVALID if there is nothing to read. */
MUST_CHECK enum err_code disk_probe_run(const struct disk_probe *probe, struct disk_probe_result *ret, struct err *err);

#endif
