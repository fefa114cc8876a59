/* SPDX-License-Identifier: Apache-2.0 */
/* A lane's fixed memory: one huge-page mapping, touched before the work begins, cut into buffers, registered with the
 * lane's queue. Nothing is allocated per block. */
#ifndef PIPELINE_ARENA_H
#define PIPELINE_ARENA_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct arena {
	uint8_t *base;
	size_t size;
	size_t used;
};

/* Maps and touches `size` bytes, zeroed. */
MUST_CHECK enum err_code arena_init(struct arena *arena, size_t size, struct err *err);

/* The next `size` bytes, 4096-aligned. The sum of all takes is known when the arena is made: running out is a bug. */
uint8_t *arena_take(struct arena *arena, size_t size);

void arena_release(struct arena *arena);

#endif
