/* SPDX-License-Identifier: Apache-2.0 */
/* The three forms in which the benchmark tells its results: text, JSON and one self-contained HTML page.
 *
 * Threads: one owner. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "bench/summary.h"

#include <stdio.h>

void report_text(FILE *out, const struct bench *bench, const struct bench_summary *summary);

/* ERR_IO if `out` cannot be written. */
MUST_CHECK enum err_code report_json(FILE *out, const struct bench *bench, const struct bench_summary *summary,
				     struct err *err);
MUST_CHECK enum err_code report_html(FILE *out, const struct bench *bench, const struct bench_summary *summary,
				     struct err *err);

/* ---- Shared by the reports ---- */

struct machine {
	char cpu[128];
	char kernel[160];
	long cpus;
	uint64_t memory_bytes;
};
void machine_describe(struct machine *ret);

/* The line that says what the disks are: files, or what they were generated from. */
#define DISKS_TEXT_SIZE 4400
void disks_describe(const struct bench *bench, char dst[static DISKS_TEXT_SIZE]);

/* The formula of a scenario's CPU seconds, as in bench/roofline.h. */
const char *roofline_formula(enum scenario scenario);

/* What limits a scenario: "disk" or "CPU". */
const char *limit_name(const struct scenario_summary *summary);

#endif
