/* SPDX-License-Identifier: Apache-2.0 */
/* What follows from the measurements: medians, rooflines and their ratios; all that a report prints.
 *
 * Threads: pure functions. */
#ifndef BENCH_SUMMARY_H
#define BENCH_SUMMARY_H

#include "bench/bench.h"

struct scenario_summary {
	enum scenario scenario;
	unsigned lanes;
	size_t repeats;
	struct spread wall_s;
	struct spread cpu_s; /* user and system of the whole process */
	double user_s, system_s;
	struct roofline roofline; /* with the primitives' cost when all lanes are busy */
	double roofline_cpu_s;    /* = roofline.cpu_s */
	double disk_s;
	double roofline_wall_s;
	bool disk_bound;             /* the disk is the limit, not the CPU */
	double cpu_efficiency;       /* roofline CPU seconds / CPU seconds used */
	double cpu_efficiency_alone; /* the same with the cost of primitives that have the machine for themselves */
	double occupancy;  /* CPU-bound: share of the lanes' time that is work; disk-bound: share of the disk's rate */
	double wall_share; /* roofline wall / wall */
	double bytes;      /* that the rate counts: of the disk that are read, or of files that are checked */
	double rate;       /* bytes per wall second */
	double read_bytes, written_bytes;
	uint64_t peak_memory, start_memory, buffer_memory, index_memory, index_chunks;
	struct stage_times times; /* of the repetition with the median wall time */
};

struct bench_summary {
	struct scenario_summary scenarios[SCENARIO_COUNT * LANE_COUNTS_MAX];
	size_t scenario_count;
	/* By thread count as in struct bench. */
	struct primitive_costs primitives[DISK_COUNT][LANE_COUNTS_MAX + 1];
	struct spread read_rate[LANE_COUNTS_MAX], write_rate[LANE_COUNTS_MAX]; /* bytes per second */
	double read_cpu[LANE_COUNTS_MAX], write_cpu[LANE_COUNTS_MAX];          /* ns per byte */
	/* First full: wall time of lanes[0] over that of lanes[i]; 0 if not measured. */
	double speedup[LANE_COUNTS_MAX];
};

void bench_summarise(const struct bench *bench, struct bench_summary *ret);

#endif
