/* SPDX-License-Identifier: Apache-2.0 */
/* Medians and spreads of repeated measurements.
 *
 * Threads: pure functions. */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stddef.h>

/* Most repetitions of anything that is measured. */
#define REPEAT_MAX 64

struct spread {
	double median;
	double least;
	double most;
};

/* Of `count` (0..REPEAT_MAX) values; all zero when there are none. */
struct spread spread_of(const double *values, size_t count);

double median_of(const double *values, size_t count);

#endif
