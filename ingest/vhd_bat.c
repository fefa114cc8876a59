/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/vhd_bat.h"

#include "base/cleanup.h"
#include "base/endian.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_ENTRIES 1024u

struct bat_page {
	uint32_t sectors[PAGE_ENTRIES];
	/* Relaxed: a state says nothing about other memory, and all who find one out find the same. */
	_Atomic uint8_t states[PAGE_ENTRIES];
};

struct vhd_bat {
	uint32_t entries;
	uint32_t filled; /* entries taken in so far */
	uint32_t used;   /* of them not VHD_UNUSED */
	struct bat_page *pages[];
};

enum err_code vhd_bat_new(uint32_t entries, struct vhd_bat **ret, struct err *err)
{
	size_t pages = ((size_t)entries + PAGE_ENTRIES - 1) / PAGE_ENTRIES;
	struct vhd_bat *bat = calloc(1, sizeof(*bat) + pages * sizeof(bat->pages[0]));
	if (!bat)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a block table of %" PRIu32 " entries", entries);
	bat->entries = entries;
	*ret = bat;
	return ERR_OK;
}

void vhd_bat_free(struct vhd_bat *bat)
{
	if (!bat)
		return;
	for (size_t i = 0; i * PAGE_ENTRIES < bat->entries; i++)
		free(bat->pages[i]);
	free(bat);
}

static struct bat_page *page_new(void)
{
	struct bat_page *page = calloc(1, sizeof(*page));
	if (page)
		memset(page->sectors, 0xFF, sizeof(page->sectors));
	return page;
}

enum err_code vhd_bat_fill(struct vhd_bat *bat, const uint8_t *data, size_t length, struct err *err)
{
	for (size_t at = 0; length - at >= 4 && bat->filled < bat->entries; at += 4, bat->filled++) {
		uint32_t sector = be32_get(data + at);
		if (sector == VHD_UNUSED)
			continue;
		struct bat_page **page = &bat->pages[bat->filled / PAGE_ENTRIES];
		if (!*page)
			*page = page_new();
		if (!*page)
			return err_set(err, ERR_NO_MEMORY, 0, "no memory for a block table of %" PRIu32 " entries",
				       bat->entries);
		(*page)->sectors[bat->filled % PAGE_ENTRIES] = sector;
		bat->used++;
	}
	return ERR_OK;
}

static int sector_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

/* The used entries in ascending order; gives *ret. */
static enum err_code sorted_sectors(const struct vhd_bat *bat, uint32_t **ret, struct err *err)
{
	uint32_t *sectors = calloc((size_t)bat->used + 1, sizeof(*sectors));
	if (!sectors)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to check a block table of %" PRIu32 " entries",
			       bat->entries);
	size_t count = 0;
	bool ascending = true;
	for (uint32_t block = 0; block < bat->entries; block++) {
		uint32_t sector = vhd_bat_get(bat, block);
		if (sector == VHD_UNUSED) {
			uint32_t run = vhd_bat_unused_run(bat, block);
			block += run ? run - 1 : 0;
			continue;
		}
		ascending = ascending && (count == 0 || sectors[count - 1] < sector);
		sectors[count++] = sector;
	}
	if (!ascending)
		qsort(sectors, count, sizeof(*sectors), sector_compare);
	*ret = sectors;
	return ERR_OK;
}

enum err_code vhd_bat_check(const struct vhd_bat *bat, uint32_t block_bytes, uint64_t limit,
			    const struct vhd_region *regions, size_t region_count, const char *name, struct err *err)
{
	AUTO_FREE uint32_t *sectors = NULL;
	TRY(sorted_sectors(bat, &sectors, err));
	const uint64_t span = vhd_bitmap_bytes(block_bytes) + (uint64_t)block_bytes;
	for (uint32_t i = 0; i < bat->used; i++) {
		uint64_t start = (uint64_t)sectors[i] * VHD_SECTOR;
		if (start > limit || span > limit - start)
			return err_set(err, ERR_CORRUPT, 0,
				       "block table of '%s' names a block at byte %" PRIu64
				       ", past the end of the file: it is truncated or damaged",
				       name, start);
		if (i > 0 && start - (uint64_t)sectors[i - 1] * VHD_SECTOR < span)
			return err_set(err, ERR_CORRUPT, 0,
				       "block table of '%s' has overlapping blocks at byte %" PRIu64, name, start);
		for (size_t r = 0; r < region_count; r++)
			if (start < regions[r].offset + regions[r].length && regions[r].offset < start + span)
				return err_set(err, ERR_CORRUPT, 0,
					       "block table of '%s' names a block at byte %" PRIu64
					       ", on top of the %s",
					       name, start, regions[r].what);
	}
	return ERR_OK;
}

uint32_t vhd_bat_get(const struct vhd_bat *bat, uint32_t block)
{
	if (block >= bat->entries || !bat->pages[block / PAGE_ENTRIES])
		return VHD_UNUSED;
	return bat->pages[block / PAGE_ENTRIES]->sectors[block % PAGE_ENTRIES];
}

uint32_t vhd_bat_unused_run(const struct vhd_bat *bat, uint32_t block)
{
	if (block >= bat->entries || bat->pages[block / PAGE_ENTRIES])
		return 0;
	return PAGE_ENTRIES - block % PAGE_ENTRIES;
}

enum vhd_block_state vhd_bat_state(const struct vhd_bat *bat, uint32_t block)
{
	const struct bat_page *page = bat->pages[block / PAGE_ENTRIES];
	return (enum vhd_block_state)atomic_load_explicit(&page->states[block % PAGE_ENTRIES], memory_order_relaxed);
}

void vhd_bat_set_state(struct vhd_bat *bat, uint32_t block, enum vhd_block_state state)
{
	struct bat_page *page = bat->pages[block / PAGE_ENTRIES];
	atomic_store_explicit(&page->states[block % PAGE_ENTRIES], (uint8_t)state, memory_order_relaxed);
}
