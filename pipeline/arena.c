/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/arena.h"

#include "base/size.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

enum err_code arena_init(struct arena *arena, size_t size, struct err *err)
{
	size = round_up(size, HUGE_PAGE);
	/* One huge page more than asked, so that the arena can begin on a huge-page boundary. */
	uint8_t *map = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return err_errno(err, "cannot map %zu bytes for a lane", size);
	uint8_t *base = map + (HUGE_PAGE - (uintptr_t)map % HUGE_PAGE) % HUGE_PAGE;
	if (base > map)
		munmap(map, (size_t)(base - map));
	munmap(base + size, HUGE_PAGE - (size_t)(base - map));
	/* Advice only: without huge pages it works, a little slower. */
	(void)madvise(base, size, MADV_HUGEPAGE);
	memset(base, 0, size);
	*arena = (struct arena){.base = base, .size = size};
	return ERR_OK;
}

uint8_t *arena_take(struct arena *arena, size_t size)
{
	size = round_up(size, 4096);
	assert(size <= arena->size - arena->used);
	uint8_t *p = arena->base + arena->used;
	arena->used += size;
	return p;
}

void arena_release(struct arena *arena)
{
	if (arena->base)
		munmap(arena->base, arena->size);
	*arena = (struct arena){0};
}
