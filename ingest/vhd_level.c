/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/vhd_level.h"

#include "base/cleanup.h"
#include "base/size.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_READ_BYTES (64u << 10)

/* How many blocks ahead the kernel is asked to fetch a bitmap, so that a lane seldom waits for one: lanes take 8 MiB,
 * four blocks, at a time. */
#define BITMAPS_AHEAD 16u

DEFINE_CLEANUP(vhd_level, struct vhd_level, vhd_level_close)

static enum err_code read_footer(struct vhd_level *level, struct err *err)
{
	const char *name = source_file_path(level->file);
	uint64_t size = level->file->size_bytes;
	if (size < VHD_FOOTER_SIZE)
		return err_set(err, ERR_CORRUPT, 0, "'%s' is too short for a VHD: %" PRIu64 " bytes", name, size);
	uint8_t tail[VHD_FOOTER_SIZE];
	uint8_t head[VHD_FOOTER_SIZE];
	/* A file cut short may end anywhere; then there is no footer at its end, whatever the last bytes are. */
	TRY(source_file_read(level->file, size - VHD_FOOTER_SIZE, tail, sizeof(tail), err));
	TRY(source_file_read(level->file, 0, head, sizeof(head), err));
	return vhd_footer_choose(tail, head, name, &level->footer, &level->copy_used, err);
}

static enum err_code read_header(struct vhd_level *level, struct err *err)
{
	const char *name = source_file_path(level->file);
	uint64_t size = level->file->size_bytes;
	uint64_t offset = level->footer.header_offset;
	if (offset > size || VHD_HEADER_SIZE > size - offset)
		return err_set(err, ERR_CORRUPT, 0, "'%s' has its header at byte %" PRIu64 ", past the end of the file",
			       name, offset);
	uint8_t data[VHD_HEADER_SIZE];
	TRY(source_file_read(level->file, offset, data, sizeof(data), err));
	TRY(vhd_header_parse(data, &level->footer, name, &level->header, err));
	level->block_shift = (unsigned)__builtin_ctz(level->header.block_bytes);
	level->bitmap_bytes = vhd_bitmap_bytes(level->header.block_bytes);
	return ERR_OK;
}

static enum err_code check_fixed(const struct vhd_level *level, struct err *err)
{
	uint64_t room = level->file->size_bytes - VHD_FOOTER_SIZE;
	if (level->footer.size_bytes > room)
		return err_set(err, ERR_CORRUPT, 0,
			       "'%s' is truncated: it is a fixed VHD of %" PRIu64 " bytes but holds %" PRIu64,
			       source_file_path(level->file), level->footer.size_bytes, room);
	return ERR_OK;
}

enum err_code vhd_level_open(const char *path, struct vhd_level **ret, struct err *err)
{
	AUTO(cleanup_vhd_level) struct vhd_level *level = calloc(1, sizeof(*level));
	if (!level)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", path);
	pthread_mutex_init(&level->lock, NULL);
	TRY(source_file_open(path, &level->file, err));
	TRY(read_footer(level, err));
	if (level->footer.type == VHD_FIXED)
		TRY(check_fixed(level, err));
	else
		TRY(read_header(level, err));
	/* Bitmaps are read here and there; reading ahead of them would only fetch data that is read directly anyway. */
	(void)posix_fadvise(source_file_fd(level->file), 0, 0, POSIX_FADV_RANDOM);
	*ret = TAKE_PTR(level);
	return ERR_OK;
}

enum err_code vhd_level_load(struct vhd_level *level, struct err *err)
{
	if (level->footer.type == VHD_FIXED)
		return ERR_OK;
	const struct vhd_header *header = &level->header;
	const char *name = source_file_path(level->file);
	uint64_t limit = level->file->size_bytes - (level->copy_used ? 0 : VHD_FOOTER_SIZE);
	uint64_t table_bytes = round_up((uint64_t)header->table_entries * 4, VHD_SECTOR);
	if (header->table_offset > limit || table_bytes > limit - header->table_offset)
		return err_set(err, ERR_CORRUPT, 0,
			       "block table of '%s' (%" PRIu64 " bytes at byte %" PRIu64
			       ") ends past the end of the file: it is truncated or damaged",
			       name, table_bytes, header->table_offset);
	uint32_t blocks = vhd_block_count(level->footer.size_bytes, header->block_bytes);
	TRY(vhd_bat_new(blocks, &level->bat, err));
	uint8_t buffer[TABLE_READ_BYTES];
	uint64_t left = (uint64_t)blocks * 4;
	for (uint64_t at = 0; left > 0;) {
		size_t length = left < sizeof(buffer) ? (size_t)left : sizeof(buffer);
		TRY(source_file_read(level->file, header->table_offset + at, buffer, length, err));
		TRY(vhd_bat_fill(level->bat, buffer, length, err));
		at += length;
		left -= length;
	}
	const struct vhd_region regions[] = {
		{0, VHD_FOOTER_SIZE, "footer's copy"},
		{level->footer.header_offset, VHD_HEADER_SIZE, "header"},
		{header->table_offset, table_bytes, "block table"},
	};
	return vhd_bat_check(level->bat, header->block_bytes, limit, regions, sizeof(regions) / sizeof(regions[0]),
			     name, err);
}

void vhd_level_close(struct vhd_level *level)
{
	if (!level)
		return;
	source_file_close(level->file);
	vhd_bat_free(level->bat);
	pthread_mutex_destroy(&level->lock);
	free(level);
}

/* Sectors of a block that the disk has: fewer than a block's in the last one. */
static uint32_t block_sectors(const struct vhd_level *level, uint32_t block)
{
	uint64_t start = (uint64_t)block << level->block_shift;
	return (uint32_t)(min_u64(level->header.block_bytes, level->footer.size_bytes - start) / VHD_SECTOR);
}

static bool bit_is_set(const uint8_t *bits, uint32_t sector)
{
	return bits[sector / 8] >> (7 - sector % 8) & 1;
}

/* How many sectors from `sector` on, up to `end`, have the same bit. */
static uint32_t bit_run(const uint8_t *bits, uint32_t sector, uint32_t end)
{
	bool set = bit_is_set(bits, sector);
	uint8_t same = set ? 0xFF : 0;
	uint32_t at = sector + 1;
	while (at < end) {
		if (at % 8 == 0 && end - at >= 8 && bits[at / 8] == same)
			at += 8;
		else if (bit_is_set(bits, at) == set)
			at++;
		else
			break;
	}
	return at - sector;
}

static enum vhd_block_state classify(const uint8_t *bits, uint32_t sectors)
{
	if (bit_run(bits, 0, sectors) < sectors)
		return VHD_BLOCK_PARTIAL;
	return bit_is_set(bits, 0) ? VHD_BLOCK_WHOLE : VHD_BLOCK_EMPTY;
}

static uint64_t bitmap_offset(const struct vhd_level *level, uint32_t block)
{
	return (uint64_t)vhd_bat_get(level->bat, block) * VHD_SECTOR;
}

static void fetch_ahead(const struct vhd_level *level, uint32_t block)
{
	uint32_t ahead = block + BITMAPS_AHEAD;
	if (vhd_bat_get(level->bat, ahead) != VHD_UNUSED)
		(void)posix_fadvise(source_file_fd(level->file), (off_t)bitmap_offset(level, ahead), VHD_SECTOR,
				    POSIX_FADV_WILLNEED);
}

/* Reads the part of the bitmap that counts, notes what it says, and copies it to `bits`. */
static enum err_code load_bitmap(struct vhd_level *level, uint32_t block, uint8_t bits[static VHD_BITMAP_MAX],
				 struct err *err)
{
	struct vhd_bitmap *slot = &level->bitmaps[block % VHD_BITMAP_SLOTS];
	uint32_t sectors = block_sectors(level, block);
	size_t length = (sectors + 7) / 8;
	pthread_mutex_lock(&level->lock);
	bool found = slot->set && slot->block == block;
	if (found)
		memcpy(bits, slot->bits, length);
	pthread_mutex_unlock(&level->lock);
	if (found)
		return ERR_OK;
	fetch_ahead(level, block);
	TRY(source_file_read(level->file, bitmap_offset(level, block), bits, length, err));
	enum vhd_block_state state = classify(bits, sectors);
	vhd_bat_set_state(level->bat, block, state);
	if (state == VHD_BLOCK_PARTIAL) {
		LOCK_SCOPE(&level->lock);
		slot->block = block;
		slot->set = true;
		memcpy(slot->bits, bits, length);
	}
	return ERR_OK;
}

/* A fixed VHD has everything, but its file may have holes. */
static enum err_code find_in_fixed(struct vhd_level *level, uint64_t offset, uint64_t length, struct vhd_run *ret,
				   struct err *err)
{
	struct block_extent extent;
	TRY(source_file_extent(level->file, offset, &extent, err));
	/* Whole sectors, so that runs stay multiples of them; what is in part a hole is read. */
	uint64_t run = round_down(extent.offset + extent.length - offset, VHD_SECTOR);
	bool hole = extent.zero && run > 0;
	*ret = (struct vhd_run){.here = !hole, .offset = offset, .length = min_u64(length, max_u64(run, VHD_SECTOR))};
	return ERR_OK;
}

enum err_code vhd_level_find(struct vhd_level *level, uint64_t offset, uint64_t length, struct vhd_run *ret,
			     struct err *err)
{
	length = min_u64(length, level->footer.size_bytes - offset);
	if (level->footer.type == VHD_FIXED)
		return find_in_fixed(level, offset, length, ret, err);
	uint32_t block = (uint32_t)(offset >> level->block_shift);
	uint32_t inside = (uint32_t)(offset & (level->header.block_bytes - 1));
	uint32_t sector = inside / VHD_SECTOR;
	uint32_t unused = vhd_bat_unused_run(level->bat, block);
	uint64_t run = ((uint64_t)(unused ? unused : 1) << level->block_shift) - inside;
	if (vhd_bat_get(level->bat, block) == VHD_UNUSED) {
		*ret = (struct vhd_run){.here = false, .length = min_u64(length, run)};
		return ERR_OK;
	}
	length = min_u64(length, run);
	uint8_t bits[VHD_BITMAP_MAX];
	enum vhd_block_state state = vhd_bat_state(level->bat, block);
	if (state == VHD_BLOCK_UNKNOWN || state == VHD_BLOCK_PARTIAL) {
		TRY(load_bitmap(level, block, bits, err));
		state = vhd_bat_state(level->bat, block);
	}
	bool here = state == VHD_BLOCK_WHOLE;
	if (state == VHD_BLOCK_PARTIAL) {
		here = bit_is_set(bits, sector);
		length = min_u64(length, (uint64_t)bit_run(bits, sector, block_sectors(level, block)) * VHD_SECTOR);
	}
	*ret = (struct vhd_run){
		.here = here, .offset = bitmap_offset(level, block) + level->bitmap_bytes + inside, .length = length};
	return ERR_OK;
}

bool vhd_level_has_block(const struct vhd_level *level, uint64_t offset)
{
	if (offset >= level->footer.size_bytes)
		return false;
	if (level->footer.type == VHD_FIXED)
		return true;
	return vhd_bat_get(level->bat, (uint32_t)(offset >> level->block_shift)) != VHD_UNUSED;
}

bool vhd_level_is_aligned(const struct vhd_level *level, uint32_t align)
{
	if (level->footer.type == VHD_FIXED)
		return true;
	uint32_t blocks = vhd_block_count(level->footer.size_bytes, level->header.block_bytes);
	for (uint32_t block = 0; block < blocks; block++) {
		uint32_t unused = vhd_bat_unused_run(level->bat, block);
		if (unused)
			block += unused - 1;
		else if (vhd_bat_get(level->bat, block) != VHD_UNUSED &&
			 (bitmap_offset(level, block) + level->bitmap_bytes) % align)
			return false;
	}
	return true;
}
