/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/qemu_whole.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/size.h"
#include "ingest/qemu_whole_internal.h"

#include <inttypes.h>
#include <string.h>

#define SECTOR_BYTES 512

/* VirtualBox's VDICore.h, VDIHEADER1PLUS: offsets of the block map and of the data at bytes 340 and 344, the disk's
 * size at 368, the size of a block at 376, the count of blocks at 384. */
#define VDI_HEADER_BYTES 388
/* Values from here on say that a block was never written, or was discarded. */
#define VDI_NO_BLOCK 0xfffffffe

/* Parallels image specification, "Header": the size of a cluster in sectors at byte 28, the count of entries in the BAT
 * at 32, the disk's size in sectors at 36; the BAT follows the header. */
#define PARALLELS_HEADER_BYTES 64

/* An image of one table: the place of each block of the disk. */
struct flat_table {
	const struct image_file *file;
	uint64_t disk_bytes;
	uint64_t block_bytes;
	uint64_t data_offset; /* of block 0 in the file */
	uint64_t unit_bytes;  /* of the table's values */
	uint32_t none_first;  /* values from this one to none_last mean that there is no block */
	uint32_t none_last;
};

static enum err_code check_block(void *context, uint64_t index, uint32_t value, struct err *err)
{
	const struct flat_table *table = context;
	uint64_t start = index * table->block_bytes;
	if ((value >= table->none_first && value <= table->none_last) || start >= table->disk_bytes)
		return ERR_OK;
	return image_file_need(table->file, table->data_offset + value * table->unit_bytes,
			       min_u64(table->block_bytes, table->disk_bytes - start), err);
}

/* The table has `count` entries from `offset`. */
static enum err_code check_table(struct image_file *file, struct flat_table *table, uint64_t offset, uint64_t count,
				 struct err *err)
{
	if (table->block_bytes > INT32_MAX || table->disk_bytes > INT64_MAX)
		return err_set(err, ERR_CORRUPT, 0, "'%s' has an absurd header", file->path);
	return image_file_each_le32(file, offset, count, check_block, table, err);
}

static enum err_code vdi_whole_check(struct image_file *file, struct err *err)
{
	uint8_t header[VDI_HEADER_BYTES];
	TRY(image_file_read(file, 0, header, sizeof(header), err));
	struct flat_table table = {
		.file = file,
		.disk_bytes = le64_get(header + 368),
		.block_bytes = le32_get(header + 376),
		.data_offset = le32_get(header + 344),
		.unit_bytes = le32_get(header + 376),
		.none_first = VDI_NO_BLOCK,
		.none_last = UINT32_MAX,
	};
	return check_table(file, &table, le32_get(header + 340), le32_get(header + 384), err);
}

static enum err_code parallels_whole_check(struct image_file *file, struct err *err)
{
	static const char counts_sectors[] = "WithoutFreeSpace";
	uint8_t header[PARALLELS_HEADER_BYTES];
	TRY(image_file_read(file, 0, header, sizeof(header), err));
	uint64_t cluster_bytes = (uint64_t)le32_get(header + 28) * SECTOR_BYTES;
	bool sectors = memcmp(header, counts_sectors, sizeof(counts_sectors) - 1) == 0;
	uint64_t disk_sectors = sectors ? le32_get(header + 36) : le64_get(header + 36);
	struct flat_table table = {
		.file = file,
		.disk_bytes = disk_sectors > INT64_MAX / SECTOR_BYTES ? UINT64_MAX : disk_sectors * SECTOR_BYTES,
		.block_bytes = cluster_bytes,
		.unit_bytes = sectors ? SECTOR_BYTES : cluster_bytes,
	};
	return check_table(file, &table, sizeof(header), le32_get(header + 32), err);
}

/* Where QEMU's own checks reach to the end, they count in sectors. */
static enum err_code sectors_whole_check(struct image_file *file, struct err *err)
{
	if (file->size_bytes % SECTOR_BYTES == 0)
		return ERR_OK;
	return err_set(err, ERR_CORRUPT, 0,
		       "'%s' is truncated: its size of %" PRIu64 " bytes is no multiple of %d; get a whole copy of it",
		       file->path, file->size_bytes, SECTOR_BYTES);
}

static const struct whole_format {
	const char *name;
	enum err_code (*check)(struct image_file *file, struct err *err);
} formats[] = {
	{"qcow2", qcow2_whole_check},         {"vmdk", vmdk_whole_check},   {"vdi", vdi_whole_check},
	{"parallels", parallels_whole_check}, {"qed", sectors_whole_check}, /* the rest by qemu-img check */
	{"vhdx", sectors_whole_check},                                      /* likewise */
	{"vpc", sectors_whole_check}, /* the rest by QEMU when it opens the image */
	{"raw", sectors_whole_check},
};

static const struct whole_format *find_format(const char *name)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	return NULL;
}

bool qemu_whole_knows(const char *format)
{
	return find_format(format) != NULL;
}

enum err_code qemu_whole_check(const char *path, const char *format, struct err *err)
{
	const struct whole_format *known = find_format(format);
	if (!known)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s': whether an image in format '%s' is whole can't be told; convert it with qemu-img",
			       path, format);
	AUTO(image_file_close) struct image_file file = IMAGE_FILE_NONE;
	TRY(image_file_open(path, &file, err));
	return known->check(&file, err);
}
