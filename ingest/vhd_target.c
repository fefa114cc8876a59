/* SPDX-License-Identifier: Apache-2.0 */
/* A dynamic VHD, written by many lanes in any order.
 *
 *   | footer copy 512 | header 1024 | block table | gap | block | block | ... | footer 512 |
 *   block: | gap 3584 | bitmap 512 | data 2 MiB |
 *
 * The gap in front of each bitmap puts the data on a multiple of 4 KiB, so that it can be written directly; blktap
 * leaves it too. A block gets its place, and its bitmap with all bits set, when the first byte of it is written; what
 * is never written to it is a hole of the file and so zero. The structures that make it a VHD are written at the end.
 */
#include "ingest/formats.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/endian.h"
#include "base/size.h"
#include "ingest/file_writer.h"
#include "ingest/target_file.h"
#include "ingest/vhd.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES VHD_BLOCK_MAX /* the only size that XenServer takes */
#define LEAD_BYTES IO_ALIGN       /* gap and bitmap */
#define BITMAP_BYTES 512u
#define TABLE_OFFSET (VHD_FOOTER_SIZE + VHD_HEADER_SIZE)
#define TABLE_WRITE_BYTES (64u << 10)

static_assert(BLOCK_BYTES / VHD_SECTOR / 8 == BITMAP_BYTES, "the bitmap fills a sector");

struct vhd_target {
	struct block_target base;
	struct target_file *file;
	uint64_t disk_bytes; /* as the VHD has it: a multiple of a sector */
	uint32_t block_count;
	uint8_t (*leads)[LEAD_BYTES]; /* [0] for all blocks but the last, [1] for that */
	pthread_mutex_t lock;         /* guards what follows */
	uint64_t next_offset;         /* where the next new block goes; a multiple of IO_ALIGN */
	uint32_t *table;              /* per block: sector of its bitmap, or VHD_UNUSED */
};

/* Finds a block's place, giving it one if it has none; *ret_is_new tells. */
static uint64_t place_of_block(struct vhd_target *target, uint32_t block, bool *ret_is_new)
{
	LOCK_SCOPE(&target->lock);
	*ret_is_new = target->table[block] == VHD_UNUSED;
	if (*ret_is_new) {
		target->table[block] = (uint32_t)((target->next_offset + LEAD_BYTES - BITMAP_BYTES) / VHD_SECTOR);
		target->next_offset += LEAD_BYTES + BLOCK_BYTES;
	}
	return (uint64_t)target->table[block] * VHD_SECTOR + BITMAP_BYTES;
}

static enum err_code vhd_next(void *user, uint64_t offset, uint32_t length, const uint8_t *data,
			      struct transfer_step *ret, struct err *err)
{
	struct vhd_target *target = user;
	uint64_t size = target->base.size_bytes;
	if (offset > size || length > size - offset)
		return err_set(err, ERR_BUG, 0, "write past the end of disk '%s'", target->base.name);
	uint32_t block = (uint32_t)(offset / BLOCK_BYTES);
	uint32_t inside = (uint32_t)(offset % BLOCK_BYTES);
	bool is_new;
	uint64_t place = place_of_block(target, block, &is_new);
	if (is_new) {
		*ret = (struct transfer_step){
			.file = target->file->file,
			.offset = place - LEAD_BYTES,
			.length = LEAD_BYTES,
			.extra = target->leads[block == target->block_count - 1],
		};
		return ERR_OK;
	}
	length = (uint32_t)min_u64(length, BLOCK_BYTES - inside);
	return target_file_step(target->file, place + inside, length, data, ret, err);
}

static enum err_code vhd_writer_open(struct block_target *base, struct io_queue *queue, unsigned depth,
				     struct block_writer **ret, struct err *err)
{
	return file_writer_open(vhd_next, /* zero= */ NULL, base, queue, depth, ret, err);
}

static enum err_code write_table(const struct vhd_target *target, struct err *err)
{
	uint32_t entries = (uint32_t)round_up(target->block_count, VHD_SECTOR / 4);
	uint8_t buffer[TABLE_WRITE_BYTES];
	uint64_t offset = TABLE_OFFSET;
	for (uint32_t i = 0; i < entries;) {
		size_t length = 0;
		for (; i < entries && length < sizeof(buffer); i++, length += 4)
			be32_put(buffer + length, i < target->block_count ? target->table[i] : VHD_UNUSED);
		TRY(target_file_write(target->file, offset, buffer, length, err));
		offset += length;
	}
	return ERR_OK;
}

static enum err_code vhd_finish(struct block_target *base, struct err *err)
{
	struct vhd_target *target = (struct vhd_target *)base;
	/* The creator decides how QEMU reads the size: by geometry, which is too small, unless it knows the writer as
	 * one that means what it says. "win " (Windows) is such a one, and promises nothing beyond the specification,
	 * while "tap" promises blktap's map of whole blocks behind the table. */
	struct vhd_footer footer = {
		.header_offset = VHD_FOOTER_SIZE,
		.timestamp = (uint32_t)(clock_unix_s() - VHD_EPOCH_UNIX_S),
		.creator = {'w', 'i', 'n', ' '},
		.creator_version = 0x000A0000,
		.size_bytes = target->disk_bytes,
		.type = VHD_DYNAMIC,
		.uuid = uuid_random(),
	};
	struct vhd_header header = {
		.table_offset = TABLE_OFFSET, .table_entries = target->block_count, .block_bytes = BLOCK_BYTES};
	uint8_t start[VHD_FOOTER_SIZE + VHD_HEADER_SIZE];
	vhd_footer_encode(&footer, start);
	vhd_header_encode(&header, start + VHD_FOOTER_SIZE);
	TRY(write_table(target, err));
	TRY(target_file_write(target->file, 0, start, sizeof(start), err));
	TRY(target_file_write(target->file, target->next_offset, start, VHD_FOOTER_SIZE, err));
	return target_file_finish(target->file, err);
}

static void vhd_close(struct block_target *base)
{
	struct vhd_target *target = (struct vhd_target *)base;
	target_file_close(target->file);
	pthread_mutex_destroy(&target->lock);
	free(target->leads);
	free(target->table);
	free(target);
}

static const struct block_target_ops vhd_target_ops = {
	.format = "vhd",
	.ordered = false,
	.writer_open = vhd_writer_open,
	.finish = vhd_finish,
	.close = vhd_close,
};

/* A lead whose bitmap has the first `sectors` bits set. */
static void fill_lead(uint8_t lead[static LEAD_BYTES], uint32_t sectors)
{
	uint8_t *bitmap = lead + LEAD_BYTES - BITMAP_BYTES;
	memset(lead, 0, LEAD_BYTES);
	memset(bitmap, 0xFF, sectors / 8);
	if (sectors % 8)
		bitmap[sectors / 8] = (uint8_t)(0xFF << (8 - sectors % 8));
}

static enum err_code make_table(struct vhd_target *target, const char *path, struct err *err)
{
	target->disk_bytes = round_up(target->base.size_bytes, VHD_SECTOR);
	target->block_count = vhd_block_count(target->disk_bytes, BLOCK_BYTES);
	target->next_offset = round_up(TABLE_OFFSET + (uint64_t)target->block_count * 4, IO_ALIGN);
	target->table = malloc((size_t)target->block_count * sizeof(*target->table));
	void *leads = NULL;
	if (!target->table || posix_memalign(&leads, IO_ALIGN, 2 * sizeof(target->leads[0])) != 0)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to write '%s'", path);
	target->leads = leads;
	memset(target->table, 0xFF, (size_t)target->block_count * sizeof(*target->table));
	uint64_t before_last = (uint64_t)(target->block_count - 1) * BLOCK_BYTES;
	fill_lead(target->leads[0], BLOCK_BYTES / VHD_SECTOR);
	fill_lead(target->leads[1], (uint32_t)((target->disk_bytes - before_last) / VHD_SECTOR));
	return ERR_OK;
}

DEFINE_CLEANUP(target, struct block_target, block_target_close)

enum err_code vhd_target_open(const char *path, const struct target_options *options, const char *disk_name,
			      uint64_t size_bytes, struct block_target **ret, struct err *err)
{
	if (size_bytes == 0)
		return err_set(err, ERR_INVALID, 0, "disk '%s' is empty", disk_name);
	if (size_bytes > VHD_WRITE_SIZE_MAX)
		return err_set(err, ERR_LIMIT, 0,
			       "disk '%s' of %" PRIu64
			       " bytes is too large for a VHD, which XenServer takes up to 2040 GiB; "
			       "restore it as raw",
			       disk_name, size_bytes);
	struct vhd_target *target = calloc(1, sizeof(*target));
	if (!target)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", path);
	AUTO(cleanup_target) struct block_target *base = &target->base;
	base->ops = &vhd_target_ops;
	base->size_bytes = size_bytes;
	snprintf(base->name, sizeof(base->name), "%s", path);
	pthread_mutex_init(&target->lock, NULL);
	TRY(make_table(target, path, err));
	TRY(target_file_open(path, options->overwrite, disk_name, /* device_bytes= */ 0, &target->file, err));
	target_file_notice(target->file, base);
	if (target->disk_bytes != size_bytes) {
		base->notice_set = true;
		snprintf(base->notice, sizeof(base->notice),
			 "disk of %" PRIu64 " bytes is rounded up to %" PRIu64 ", whole sectors, as a VHD needs it",
			 size_bytes, target->disk_bytes);
	}
	*ret = TAKE_PTR(base);
	return ERR_OK;
}
