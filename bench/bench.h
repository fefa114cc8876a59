/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmark as a whole: what was asked for, what was measured, and what follows from it.
 *
 * Threads: one owner. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "base/err.h"
#include "bench/disk_probe.h"
#include "bench/generate.h"
#include "bench/primitives.h"
#include "bench/roofline.h"
#include "bench/scenario_job.h"
#include "bench/stats.h"
#include "bench/survey.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order in which they run on one store. */
enum scenario {
	SCENARIO_FIRST,     /* first full backup of the disk */
	SCENARIO_UNCHANGED, /* full backup of the same disk again: everything is read */
	SCENARIO_CHANGED,   /* full backup of the disk after it changed */
	SCENARIO_SECOND_VM, /* first full backup of another VM of the same template */
	SCENARIO_RESTORE,   /* the newest saveset of the first VM to a file */
	SCENARIO_VERIFY,    /* the whole store: open, decompress, hash */
	SCENARIO_SCRUB,     /* the whole store: checksums */
	SCENARIO_COUNT,
};

const char *scenario_name(enum scenario scenario);  /* "first": in options and JSON */
const char *scenario_title(enum scenario scenario); /* "first full": in reports */

/* The disks; a path that was not given is empty. */
enum bench_disk {
	DISK_FIRST,
	DISK_CHANGED,
	DISK_SECOND_VM,
	DISK_COUNT,
};

const char *bench_disk_name(enum bench_disk disk);

/* The disk that a scenario reads, or whose content it mostly meets. */
enum bench_disk scenario_disk(enum scenario scenario);

#define LANE_COUNTS_MAX 8
#define LEVELS_MAX 16

struct bench_options {
	char disks[DISK_COUNT][PATH_MAX];
	bool generated;
	struct generate_options generate;
	char work[PATH_MAX]; /* stores, targets and generated disks are made here */
	unsigned lanes[LANE_COUNTS_MAX];
	size_t lane_count;
	size_t repeat;
	bool scenarios[SCENARIO_COUNT];
	int levels[LEVELS_MAX]; /* further zstd levels to measure */
	size_t level_count;
	struct compression compression;
	enum verify_new verify_new;
	uint64_t sample_bytes;
	uint64_t probe_bytes; /* most bytes of one disk probe */
	bool keep;            /* leave the last store behind */
	const char *json;     /* files for reports, or NULL */
	const char *html;
};

/* One repetition of one scenario, and the disk probe of the same proportions right after it. */
struct scenario_run {
	struct scenario_result result;
	struct disk_probe_result probe;
	double disk_s; /* what the probe says for the scenario's bytes */
};

struct scenario_runs {
	struct scenario_run *runs; /* options.repeat of them */
	size_t count;
};

struct bench {
	struct bench_options options;
	struct disk_survey surveys[DISK_COUNT];
	struct block_sample samples[DISK_COUNT];
	struct record_set records[DISK_COUNT];
	struct survey_memory memory;
	/* Primitives by disk and number of threads: index 0 is one thread, index 1 + i as many as lanes[i]. */
	struct primitive_costs *passes[DISK_COUNT][LANE_COUNTS_MAX + 1];
	size_t pass_count;
	struct level_cost levels[LEVELS_MAX];
	/* The disk alone, by lane count and repetition. */
	struct disk_probe_result *reads[LANE_COUNTS_MAX];
	struct disk_probe_result *writes[LANE_COUNTS_MAX];
	size_t probe_count;
	struct scenario_runs runs[SCENARIO_COUNT][LANE_COUNTS_MAX];
	bool restore_compared; /* a restored file was compared with its disk, byte by byte */
};

/* Parses the command line; prints help, version and usage errors itself. Returns false when the program is to end with
 * *ret_status. */
bool bench_options_parse(struct bench_options *options, int argc, char **argv, int *ret_status);

/* Measures everything that the options ask for; tells its progress on standard error. */
MUST_CHECK enum err_code bench_run(struct bench *bench, struct err *err);
void bench_release(struct bench *bench);

/* All repetitions of one scenario with its lanes, in stores of its own. Called by bench_run. */
MUST_CHECK enum err_code bench_run_scenarios(struct bench *bench, size_t lane_index, size_t repetition,
					     struct err *err);

/* True if both files have the same bytes. */
MUST_CHECK enum err_code files_are_equal(const char *a, const char *b, bool *ret_equal, struct err *err);

/* Removes a directory and all below it; silent about what is not there. */
void remove_tree(const char *path);

#endif
