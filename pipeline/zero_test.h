/* SPDX-License-Identifier: Apache-2.0 */
/* Is a block all zeroes? Real data answers within the first vector; zeroes are read at memory speed. */
#ifndef PIPELINE_ZERO_TEST_H
#define PIPELINE_ZERO_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `length` is a multiple of 256, `data` 64-aligned. */
static inline bool is_all_zero(const uint8_t *data, size_t length)
{
	typedef uint64_t vec __attribute__((vector_size(64), may_alias));
	const vec *p = (const vec *)(const void *)data;
	for (size_t i = 0; i < length / sizeof(vec); i += 4) {
		vec any = (p[i] | p[i + 1]) | (p[i + 2] | p[i + 3]);
		if (any[0] | any[1] | any[2] | any[3] | any[4] | any[5] | any[6] | any[7])
			return false;
	}
	return true;
}

#endif
