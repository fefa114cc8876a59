/* SPDX-License-Identifier: Apache-2.0 */
/* QCOW2: the active L1 table names L2 tables, which name the clusters of the disk. Files end within a cluster when the
 * last one is compressed, holds subclusters, or the L1 table alone, so the clusters are looked at one by one. */
#include "base/cleanup.h"
#include "base/endian.h"
#include "base/size.h"
#include "ingest/qemu_whole_internal.h"

#include <stdbool.h>
#include <zlib.h>
#include <zstd.h>

#define SECTOR_BYTES 512
#define SUBCLUSTERS 32

/* QCOW2 specification, "Header": size of a cluster as a power of two at byte 20, of the disk at 24, entries and offset
 * of the L1 table at 36 and 40; from version 3 on incompatible features at 72, and at 104 the compression type. */
#define HEADER_BYTES 112
#define HEADER_BYTES_V2 72
#define FEATURE_COMPRESSION_TYPE (1u << 3)
#define FEATURE_EXTENDED_L2 (1u << 4)
#define COMPRESSION_ZSTD 1

/* "Cluster mapping" */
#define OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define ENTRY_COMPRESSED (UINT64_C(1) << 62)
#define ENTRY_ZEROES UINT64_C(1)

/* Compressed clusters that end in one sector; each has a byte at least. */
#define TAILS_MAX SECTOR_BYTES

struct qcow2 {
	struct image_file *file;
	uint64_t disk_bytes;
	uint64_t cluster_bytes;
	unsigned cluster_bits;
	uint64_t l1_offset;
	uint32_t l1_entries;
	uint32_t version;
	bool extended;
	bool zstd;
	unsigned tails; /* compressed clusters tried, see check_tail */
	uint8_t *table; /* one cluster */
};

/* True if the zlib stream (without a header) ends within `length` bytes. */
static bool deflate_ends(const uint8_t *data, size_t length, uint8_t *room, size_t room_bytes)
{
	z_stream z = {0};
	z.next_in = (Bytef *)(uintptr_t)data; /* zlib reads only */
	z.avail_in = (uInt)length;
	z.next_out = room;
	z.avail_out = (uInt)room_bytes;
	if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
		return false;
	int result = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return result == Z_STREAM_END;
}

/* The same for a zstd frame. */
static bool zstd_ends(const uint8_t *data, size_t length)
{
	return !ZSTD_isError(ZSTD_findFrameCompressedSize(data, length));
}

/* An entry counts compressed data in whole sectors, but not every writer fills up the file's last one. Whether all of
 * the data is there is told by the data. */
static enum err_code check_tail(struct qcow2 *image, uint64_t offset, uint64_t length, struct err *err)
{
	uint64_t size = image->file->size_bytes;
	if (round_up(size, SECTOR_BYTES) != offset + length || ++image->tails > TAILS_MAX)
		return image_file_need(image->file, offset, length, err);
	size_t left = (size_t)(size - offset);
	AUTO_FREE uint8_t *data = malloc(left + 1);
	AUTO_FREE uint8_t *room = malloc(image->cluster_bytes);
	if (!data || !room)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to check '%s'", image->file->path);
	TRY(image_file_read(image->file, offset, data, left, err));
	if (image->zstd ? zstd_ends(data, left) : deflate_ends(data, left, room, image->cluster_bytes))
		return ERR_OK;
	return image_file_need(image->file, offset, length, err);
}

static enum err_code check_compressed(struct qcow2 *image, uint64_t entry, struct err *err)
{
	unsigned size_shift = 62 - (image->cluster_bits - 8);
	uint64_t offset = entry & ((UINT64_C(1) << size_shift) - 1);
	uint64_t sectors = ((entry & ~(UINT64_C(3) << 62)) >> size_shift) + 1;
	uint64_t length = sectors * SECTOR_BYTES - offset % SECTOR_BYTES;
	if (image_file_need(image->file, offset, length, NULL) == ERR_OK)
		return ERR_OK;
	if (offset >= image->file->size_bytes)
		return image_file_need(image->file, offset, length, err);
	return check_tail(image, offset, length, err);
}

/* `entry` is of the cluster at `start` of the disk; `subclusters` is 0 without extended L2 entries. */
static enum err_code check_entry(struct qcow2 *image, uint64_t start, uint64_t entry, uint64_t subclusters,
				 struct err *err)
{
	uint64_t length = image->cluster_bytes;
	if (entry & ENTRY_COMPRESSED)
		return check_compressed(image, entry, err);
	if ((entry & OFFSET_MASK) == 0)
		return ERR_OK;
	if (image->extended) {
		uint32_t allocated = (uint32_t)subclusters;
		if (allocated == 0)
			return ERR_OK;
		length = (length / SUBCLUSTERS) * (SUBCLUSTERS - (unsigned)__builtin_clz(allocated));
	} else if (image->version >= 3 && (entry & ENTRY_ZEROES)) {
		return ERR_OK;
	}
	return image_file_need(image->file, entry & OFFSET_MASK, min_u64(length, image->disk_bytes - start), err);
}

/* Checks the L2 table at `offset`, whose first cluster is the one at `start` of the disk. */
static enum err_code check_l2(struct qcow2 *image, uint64_t offset, uint64_t start, struct err *err)
{
	size_t entry_bytes = image->extended ? 16 : 8;
	TRY(image_file_read(image->file, offset, image->table, image->cluster_bytes, err));
	for (size_t at = 0; at < image->cluster_bytes && start < image->disk_bytes; at += entry_bytes) {
		const uint8_t *entry = image->table + at;
		TRY(check_entry(image, start, be64_get(entry), image->extended ? be64_get(entry + 8) : 0, err));
		start += image->cluster_bytes;
	}
	return ERR_OK;
}

static enum err_code read_header(struct qcow2 *image, struct err *err)
{
	uint8_t header[HEADER_BYTES] = {0};
	struct image_file *file = image->file;
	size_t length = (size_t)max_u64(HEADER_BYTES_V2, min_u64(file->size_bytes, sizeof(header)));
	TRY(image_file_read(file, 0, header, length, err));
	image->version = be32_get(header + 4);
	image->cluster_bits = be32_get(header + 20);
	image->disk_bytes = be64_get(header + 24);
	image->l1_entries = be32_get(header + 36);
	image->l1_offset = be64_get(header + 40);
	if (image->version >= 3) {
		uint64_t features = be64_get(header + 72);
		image->extended = features & FEATURE_EXTENDED_L2;
		image->zstd = (features & FEATURE_COMPRESSION_TYPE) && header[104] == COMPRESSION_ZSTD;
	}
	if (image->cluster_bits < 9 || image->cluster_bits > 21 || image->disk_bytes > INT64_MAX)
		return err_set(err, ERR_CORRUPT, 0, "'%s' has an absurd header", file->path);
	image->cluster_bytes = UINT64_C(1) << image->cluster_bits;
	return ERR_OK;
}

enum err_code qcow2_whole_check(struct image_file *file, struct err *err)
{
	struct qcow2 image = {.file = file};
	TRY(read_header(&image, err));
	AUTO_FREE uint8_t *table = malloc(image.cluster_bytes);
	if (!table)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to check '%s'", file->path);
	image.table = table;
	uint64_t covered = image.cluster_bytes / (image.extended ? 16 : 8) * image.cluster_bytes;
	TRY(image_file_need(file, image.l1_offset, (uint64_t)image.l1_entries * 8, err));
	uint64_t start = 0;
	for (uint32_t i = 0; i < image.l1_entries && start < image.disk_bytes; i++, start += covered) {
		uint8_t entry[8];
		TRY(image_file_read(file, image.l1_offset + i * UINT64_C(8), entry, sizeof(entry), err));
		uint64_t offset = be64_get(entry) & OFFSET_MASK;
		if (offset)
			TRY(check_l2(&image, offset, start, err));
	}
	return ERR_OK;
}
