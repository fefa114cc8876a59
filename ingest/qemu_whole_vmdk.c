/* SPDX-License-Identifier: Apache-2.0 */
/* A sparse extent: a grain directory names grain tables, which name the grains, all in sectors from the file's
 * start. */
#include "base/endian.h"
#include "base/size.h"
#include "ingest/qemu_whole_internal.h"

#include <stdbool.h>
#include <string.h>

#define SECTOR_BYTES UINT64_C(512)
#define HEADER_BYTES 80

/* VMDK 5.0, "Hosted Sparse Extent Header": flags at byte 8, capacity and size of a grain in sectors at 12 and 20,
 * entries per grain table at 44, sector of the grain directory at 56. */
#define FLAG_ZERO_GRAINS (1u << 2) /* an entry of 1 is a grain of zeroes */
#define FLAG_COMPRESSED (1u << 16)
#define FLAG_MARKERS (1u << 17)
/* The directory's place is in a copy of the header, the last sector but one. */
#define DIRECTORY_IN_FOOTER UINT64_MAX
#define FOOTER_FROM_END (2 * SECTOR_BYTES)

/* "Grain Marker": sector of the disk, 64 bits; size of the compressed data, 32 bits; the data,
 * filled up to a sector. */
#define MARKER_BYTES 12

/* "ESX Server Sparse Extents": capacity, grain, directory and its entries in sectors at bytes 12, 16, 20 and 24. */
#define COWD_TABLE_ENTRIES 4096

struct sparse_extent {
	struct image_file *file;
	uint64_t capacity; /* of the disk, in sectors, as all that follows */
	uint64_t grain;
	uint64_t directory;
	uint64_t directory_entries;
	uint32_t table_entries;
	uint32_t flags;
	uint64_t table_index; /* of the grain table that is being read */
};

static enum err_code check_compressed_grain(struct sparse_extent *extent, uint64_t offset, struct err *err)
{
	uint8_t marker[MARKER_BYTES];
	uint64_t grain_bytes = extent->grain * SECTOR_BYTES;
	/* QEMU takes no grain that compressed to more than this, so only the file's last ones have to be asked. */
	if (image_file_need(extent->file, offset, MARKER_BYTES + 2 * grain_bytes, NULL) == ERR_OK)
		return ERR_OK;
	if (!(extent->flags & FLAG_MARKERS)) /* the compressed data holds a sum of its own, which QEMU checks */
		return image_file_need(extent->file, offset, 1, err);
	TRY(image_file_read(extent->file, offset, marker, sizeof(marker), err));
	return image_file_need(extent->file, offset, round_up(sizeof(marker) + le32_get(marker + 8), SECTOR_BYTES),
			       err);
}

static enum err_code check_grain(void *context, uint64_t index, uint32_t value, struct err *err)
{
	struct sparse_extent *extent = context;
	uint64_t start = (extent->table_index * extent->table_entries + index) * extent->grain;
	if (value == 0 || (value == 1 && (extent->flags & FLAG_ZERO_GRAINS)) || start >= extent->capacity)
		return ERR_OK;
	uint64_t offset = value * SECTOR_BYTES;
	if (extent->flags & FLAG_COMPRESSED)
		return check_compressed_grain(extent, offset, err);
	return image_file_need(extent->file, offset, min_u64(extent->grain, extent->capacity - start) * SECTOR_BYTES,
			       err);
}

static enum err_code check_table(void *context, uint64_t index, uint32_t value, struct err *err)
{
	struct sparse_extent *extent = context;
	extent->table_index = index;
	if (value == 0)
		return ERR_OK;
	return image_file_each_le32(extent->file, value * SECTOR_BYTES, extent->table_entries, check_grain, extent,
				    err);
}

static enum err_code read_hosted(struct sparse_extent *extent, const uint8_t *header, struct err *err)
{
	uint8_t footer[HEADER_BYTES];
	uint64_t directory = le64_get(header + 56);
	if (directory == DIRECTORY_IN_FOOTER) {
		TRY(image_file_need(extent->file, 0, FOOTER_FROM_END, err));
		TRY(image_file_read(extent->file, extent->file->size_bytes - FOOTER_FROM_END, footer, sizeof(footer),
				    err));
		if (memcmp(footer, "KDMV", 4) != 0)
			return err_set(err, ERR_CORRUPT, 0,
				       "'%s' is truncated: its footer is not at its end; get a whole copy of it",
				       extent->file->path);
		header = footer;
	}
	extent->flags = le32_get(header + 8);
	extent->capacity = le64_get(header + 12);
	extent->grain = le64_get(header + 20);
	extent->table_entries = le32_get(header + 44);
	extent->directory = le64_get(header + 56);
	return ERR_OK;
}

static void read_esx(struct sparse_extent *extent, const uint8_t *header)
{
	extent->capacity = le32_get(header + 12);
	extent->grain = le32_get(header + 16);
	extent->directory = le32_get(header + 20);
	extent->table_entries = COWD_TABLE_ENTRIES;
}

enum err_code vmdk_whole_check(struct image_file *file, struct err *err)
{
	uint8_t header[HEADER_BYTES];
	struct sparse_extent extent = {.file = file};
	TRY(image_file_read(file, 0, header, sizeof(header), err));
	if (memcmp(header, "KDMV", 4) == 0)
		TRY(read_hosted(&extent, header, err));
	else if (memcmp(header, "COWD", 4) == 0)
		read_esx(&extent, header);
	else
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s' is an extent of a kind that can't be checked; convert it with qemu-img",
			       file->path);
	if (extent.grain == 0 || extent.grain > UINT32_MAX || extent.table_entries == 0 ||
	    extent.capacity > INT64_MAX / SECTOR_BYTES || extent.directory > INT64_MAX / SECTOR_BYTES)
		return err_set(err, ERR_CORRUPT, 0, "'%s' has an absurd header", file->path);
	uint64_t covered = extent.grain * extent.table_entries;
	extent.directory_entries = extent.capacity / covered + (extent.capacity % covered != 0);
	return image_file_each_le32(file, extent.directory * SECTOR_BYTES, extent.directory_entries, check_table,
				    &extent, err);
}
