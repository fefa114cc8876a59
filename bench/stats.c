/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/stats.h"

#include <stdlib.h>
#include <string.h>

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

struct spread spread_of(const double *values, size_t count)
{
	double sorted[REPEAT_MAX];
	if (count > REPEAT_MAX)
		count = REPEAT_MAX;
	if (count == 0)
		return (struct spread){0};
	memcpy(sorted, values, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_doubles);
	return (struct spread){
		.median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2,
		.least = sorted[0],
		.most = sorted[count - 1],
	};
}

double median_of(const double *values, size_t count)
{
	return spread_of(values, count).median;
}
