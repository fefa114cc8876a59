/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/vhd.h"

#include "base/cursor.h"
#include "base/endian.h"

#include <inttypes.h>
#include <string.h>

#define FOOTER_CHECKSUM_AT 64
#define HEADER_CHECKSUM_AT 36
#define VERSION_1_0 0x00010000u
#define NO_OFFSET UINT64_MAX
#define FEATURES_RESERVED 2u /* the specification wants this bit set always */

uint32_t vhd_checksum(const uint8_t *data, size_t length, size_t checksum_at)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < length; i++)
		if (i < checksum_at || i >= checksum_at + 4)
			sum += data[i];
	return ~sum;
}

static enum err_code footer_check(const struct vhd_footer *footer, uint32_t version, uint32_t type, const char *name,
				  struct err *err)
{
	if (version != VERSION_1_0)
		return err_set(err, ERR_UNSUPPORTED, 0, "'%s' is a VHD of version 0x%08" PRIx32 "; only 1.0 is read",
			       name, version);
	if (type != VHD_FIXED && type != VHD_DYNAMIC && type != VHD_DIFFERENCING)
		return err_set(err, ERR_UNSUPPORTED, 0, "'%s' is a VHD of unknown type %" PRIu32, name, type);
	if (footer->size_bytes == 0 || footer->size_bytes % VHD_SECTOR)
		return err_set(err, ERR_CORRUPT, 0, "footer of '%s' gives an impossible disk size: %" PRIu64 " bytes",
			       name, footer->size_bytes);
	/* blktap's first format had its bitmaps the other way round. */
	if (type != VHD_FIXED && memcmp(footer->creator, "tap", 4) == 0 && footer->creator_version == 1)
		return err_set(err, ERR_UNSUPPORTED, 0, "'%s' was written by blktap 0.1, whose bitmaps are not read",
			       name);
	return ERR_OK;
}

enum err_code vhd_footer_parse(const uint8_t data[static VHD_FOOTER_SIZE], const char *name, struct vhd_footer *ret,
			       struct err *err)
{
	if (memcmp(data, "conectix", 8) != 0)
		return err_set(err, ERR_CORRUPT, 0, "'%s' has no VHD footer", name);
	if (be32_get(data + FOOTER_CHECKSUM_AT) != vhd_checksum(data, VHD_FOOTER_SIZE, FOOTER_CHECKSUM_AT))
		return err_set(err, ERR_CORRUPT, 0, "footer of '%s' has a wrong checksum", name);
	struct cursor c = cursor_of(data + 12, VHD_FOOTER_SIZE - 12);
	struct vhd_footer footer;
	uint32_t version = cursor_be32(&c);
	footer.header_offset = cursor_be64(&c);
	footer.timestamp = cursor_be32(&c);
	cursor_copy(&c, footer.creator, 4);
	footer.creator_version = cursor_be32(&c);
	(void)cursor_be32(&c); /* creator's operating system */
	(void)cursor_be64(&c); /* original size */
	footer.size_bytes = cursor_be64(&c);
	(void)cursor_be32(&c); /* geometry: often covers less than the disk, so never believed */
	uint32_t type = cursor_be32(&c);
	(void)cursor_be32(&c); /* checksum */
	cursor_copy(&c, footer.uuid.bytes, sizeof(footer.uuid.bytes));
	TRY(footer_check(&footer, version, type, name, err));
	footer.type = (enum vhd_type)type;
	*ret = footer;
	return ERR_OK;
}

enum err_code vhd_footer_choose(const uint8_t tail[static VHD_FOOTER_SIZE], const uint8_t head[static VHD_FOOTER_SIZE],
				const char *name, struct vhd_footer *ret, bool *ret_copy_used, struct err *err)
{
	struct err tail_err = {0};
	if (vhd_footer_parse(tail, name, ret, &tail_err) == ERR_OK) {
		*ret_copy_used = false;
		return ERR_OK;
	}
	struct err head_err = {0};
	struct vhd_footer copy;
	enum err_code code = vhd_footer_parse(head, name, &copy, &head_err);
	if (code == ERR_OK && copy.type != VHD_FIXED) {
		*ret = copy;
		*ret_copy_used = true;
		return ERR_OK;
	}
	if (tail_err.code == ERR_UNSUPPORTED)
		return err_set(err, tail_err.code, 0, "%s", tail_err.msg);
	if (head_err.code == ERR_UNSUPPORTED)
		return err_set(err, head_err.code, 0, "%s", head_err.msg);
	return err_set(err, ERR_CORRUPT, 0, "%s, and there is no sound copy at the start", tail_err.msg);
}

static enum err_code header_check(const struct vhd_header *header, const struct vhd_footer *footer, const char *name,
				  struct err *err)
{
	uint32_t block = header->block_bytes;
	if (block == 0 || (block & (block - 1)))
		return err_set(err, ERR_CORRUPT, 0, "header of '%s' gives an impossible block size: %" PRIu32, name,
			       block);
	if (block < VHD_BLOCK_MIN || block > VHD_BLOCK_MAX)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s' has blocks of %" PRIu32 " bytes; 512 KiB to 2 MiB are read", name, block);
	if (footer->size_bytes > VHD_READ_SIZE_MAX)
		return err_set(err, ERR_CORRUPT, 0, "'%s' claims a disk of %" PRIu64 " bytes; such a VHD ends at 2 TiB",
			       name, footer->size_bytes);
	uint32_t needed = vhd_block_count(footer->size_bytes, block);
	if (header->table_entries < needed)
		return err_set(err, ERR_CORRUPT, 0,
			       "block table of '%s' has %" PRIu32 " entries, but the disk has %" PRIu32 " blocks", name,
			       header->table_entries, needed);
	if (header->table_offset % VHD_SECTOR)
		return err_set(err, ERR_CORRUPT, 0, "block table of '%s' does not start at a sector: byte %" PRIu64,
			       name, header->table_offset);
	if (footer->type == VHD_DIFFERENCING && uuid_is_null(&header->parent_uuid))
		return err_set(err, ERR_CORRUPT, 0, "'%s' is a differencing VHD that names no parent", name);
	return ERR_OK;
}

enum err_code vhd_header_parse(const uint8_t data[static VHD_HEADER_SIZE], const struct vhd_footer *footer,
			       const char *name, struct vhd_header *ret, struct err *err)
{
	if (memcmp(data, "cxsparse", 8) != 0)
		return err_set(err, ERR_CORRUPT, 0, "'%s' has no VHD header where its footer says", name);
	if (be32_get(data + HEADER_CHECKSUM_AT) != vhd_checksum(data, VHD_HEADER_SIZE, HEADER_CHECKSUM_AT))
		return err_set(err, ERR_CORRUPT, 0, "header of '%s' has a wrong checksum", name);
	struct cursor c = cursor_of(data + 16, VHD_HEADER_SIZE - 16);
	struct vhd_header header = {0};
	header.table_offset = cursor_be64(&c);
	uint32_t version = cursor_be32(&c);
	header.table_entries = cursor_be32(&c);
	header.block_bytes = cursor_be32(&c);
	(void)cursor_be32(&c); /* checksum */
	cursor_copy(&c, header.parent_uuid.bytes, sizeof(header.parent_uuid.bytes));
	header.parent_timestamp = cursor_be32(&c);
	(void)cursor_be32(&c);
	(void)!vhd_utf16_decode(cursor_take(&c, 512), 512, /* big_endian= */ true, header.parent_name,
				sizeof(header.parent_name));
	for (size_t i = 0; i < VHD_LOCATOR_COUNT; i++) {
		header.locators[i].code = cursor_be32(&c);
		(void)cursor_be32(&c); /* room; writers disagree about its unit */
		header.locators[i].length = cursor_be32(&c);
		(void)cursor_be32(&c);
		header.locators[i].offset = cursor_be64(&c);
	}
	if (version != VERSION_1_0)
		return err_set(err, ERR_UNSUPPORTED, 0, "header of '%s' has version 0x%08" PRIx32 "; only 1.0 is read",
			       name, version);
	TRY(header_check(&header, footer, name, err));
	*ret = header;
	return ERR_OK;
}

void vhd_footer_encode(const struct vhd_footer *footer, uint8_t dst[static VHD_FOOTER_SIZE])
{
	struct vhd_geometry geometry = vhd_geometry(footer->size_bytes);
	memset(dst, 0, VHD_FOOTER_SIZE);
	memcpy(dst, "conectix", 8);
	be32_put(dst + 8, FEATURES_RESERVED);
	be32_put(dst + 12, VERSION_1_0);
	be64_put(dst + 16, footer->type == VHD_FIXED ? NO_OFFSET : footer->header_offset);
	be32_put(dst + 24, footer->timestamp);
	memcpy(dst + 28, footer->creator, 4);
	be32_put(dst + 32, footer->creator_version);
	memcpy(dst + 36, "Wi2k", 4);
	be64_put(dst + 40, footer->size_bytes);
	be64_put(dst + 48, footer->size_bytes);
	be16_put(dst + 56, geometry.cylinders);
	dst[58] = geometry.heads;
	dst[59] = geometry.sectors;
	be32_put(dst + 60, footer->type);
	memcpy(dst + 68, footer->uuid.bytes, sizeof(footer->uuid.bytes));
	be32_put(dst + FOOTER_CHECKSUM_AT, vhd_checksum(dst, VHD_FOOTER_SIZE, FOOTER_CHECKSUM_AT));
}

void vhd_header_encode(const struct vhd_header *header, uint8_t dst[static VHD_HEADER_SIZE])
{
	memset(dst, 0, VHD_HEADER_SIZE);
	memcpy(dst, "cxsparse", 8);
	be64_put(dst + 8, NO_OFFSET);
	be64_put(dst + 16, header->table_offset);
	be32_put(dst + 24, VERSION_1_0);
	be32_put(dst + 28, header->table_entries);
	be32_put(dst + 32, header->block_bytes);
	be32_put(dst + HEADER_CHECKSUM_AT, vhd_checksum(dst, VHD_HEADER_SIZE, HEADER_CHECKSUM_AT));
}

struct vhd_geometry vhd_geometry(uint64_t size_bytes)
{
	const uint64_t most = UINT64_C(65535) * 16 * 255;
	uint64_t total = size_bytes / VHD_SECTOR;
	if (total > most)
		total = most;
	uint64_t sectors = 255;
	uint64_t heads = 16;
	uint64_t tracks = total / sectors;
	if (total < UINT64_C(65535) * 16 * 63) {
		sectors = 17;
		tracks = total / sectors;
		heads = (tracks + 1023) / 1024;
		if (heads < 4)
			heads = 4;
		if (tracks >= heads * 1024 || heads > 16) {
			sectors = 31;
			heads = 16;
			tracks = total / sectors;
		}
		if (tracks >= heads * 1024) {
			sectors = 63;
			heads = 16;
			tracks = total / sectors;
		}
	}
	return (struct vhd_geometry){
		.cylinders = (uint16_t)(tracks / heads), .heads = (uint8_t)heads, .sectors = (uint8_t)sectors};
}
