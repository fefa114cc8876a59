/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the place of pipeline/arena.c in programs that run thousands of jobs of a few blocks each: memory that is not
 * touched in advance. Touching the 60 MiB of a restore, a verify and a backup would take nine tenths of the time of a
 * simulated power cut. Included by one source of a program. */
#ifndef TESTS_CRASH_LEAN_ARENA_H
#define TESTS_CRASH_LEAN_ARENA_H

#include "base/size.h"
#include "pipeline/arena.h"

#include <malloc.h>
#include <sys/mman.h>

/* Lets malloc keep the memory of disks, stores and contexts that come and go with every cut, instead of giving it
 * back. */
static inline void keep_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	mallopt(M_ARENA_MAX, 1);
}

enum err_code arena_init(struct arena *arena, size_t size, struct err *err)
{
	size = round_up(size, 4096);
	void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		return err_errno(err, "cannot map %zu bytes for a lane", size);
	*arena = (struct arena){.base = base, .size = size};
	return ERR_OK;
}

uint8_t *arena_take(struct arena *arena, size_t size)
{
	uint8_t *p = arena->base + arena->used;
	arena->used += round_up(size, 4096);
	return p;
}

void arena_release(struct arena *arena)
{
	if (arena->base)
		munmap(arena->base, arena->size);
	*arena = (struct arena){0};
}

#endif
