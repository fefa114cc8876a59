/* SPDX-License-Identifier: Apache-2.0 */
/* The structures of a VHD file, to and from bytes (Virtual Hard Disk Image Format Specification 1.0; all integers are
 * big-endian). Nothing here touches a file: parsers get bytes and refuse what is damaged or hostile.
 *
 *   fixed:      | data ... | footer |
 *   otherwise:  | footer copy | header | parent locators | block allocation table | blocks ... | footer |
 *   block:      | bitmap, one bit per sector, most significant first, padded to a sector | data |
 *
 * A bit that is not set, or a block that is not in the table: the sector comes from the parent, or is zero. */
#ifndef INGEST_VHD_H
#define INGEST_VHD_H

#include "base/err.h"
#include "base/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VHD_SECTOR 512u
#define VHD_FOOTER_SIZE 512u
#define VHD_HEADER_SIZE 1024u
#define VHD_UNUSED 0xFFFFFFFFu /* table entry of a block that is not in the file */
#define VHD_BLOCK_MIN (512u << 10)
#define VHD_BLOCK_MAX (2u << 20)
#define VHD_READ_SIZE_MAX (UINT64_C(2) << 40)     /* the table's 32-bit sector numbers end there */
#define VHD_WRITE_SIZE_MAX (UINT64_C(2040) << 30) /* what XenServer takes */
#define VHD_EPOCH_UNIX_S UINT64_C(946684800)      /* 2000-01-01 00:00:00 UTC, from which time stamps count */

enum vhd_type {
	VHD_FIXED = 2,
	VHD_DYNAMIC = 3,
	VHD_DIFFERENCING = 4,
};

struct vhd_footer {
	uint64_t header_offset;
	uint32_t timestamp; /* 0: not known */
	uint8_t creator[4];
	uint32_t creator_version;
	uint64_t size_bytes; /* of the disk; a multiple of VHD_SECTOR */
	enum vhd_type type;
	struct uuid uuid;
};

#define VHD_LOCATOR_COUNT 8
#define VHD_LOCATOR_W2RU 0x57327275u /* relative Windows path, UTF-16LE */
#define VHD_LOCATOR_W2KU 0x57326B75u /* absolute Windows path, UTF-16LE */
#define VHD_LOCATOR_MACX 0x4D616358u /* file URL, UTF-8 */
#define VHD_LOCATOR_MAX 4096u        /* longest locator text that is read, in bytes */

struct vhd_locator {
	uint32_t code; /* 0: none */
	uint32_t length;
	uint64_t offset;
};

#define VHD_PARENT_NAME_SIZE 800 /* 256 UTF-16 units in UTF-8 and the terminating zero */

struct vhd_header {
	uint64_t table_offset;
	uint32_t table_entries; /* at least as many as the disk has blocks */
	uint32_t block_bytes;   /* a power of two, VHD_BLOCK_MIN..VHD_BLOCK_MAX */
	struct uuid parent_uuid;
	uint32_t parent_timestamp;
	char parent_name[VHD_PARENT_NAME_SIZE]; /* "" if there is none or it is no text */
	struct vhd_locator locators[VHD_LOCATOR_COUNT];
};

/* One's complement of the sum of all bytes, the four at `checksum_at` counted as zeroes. */
uint32_t vhd_checksum(const uint8_t *data, size_t length, size_t checksum_at);

/* Parses a footer. `name` is the file's, for messages. ERR_CORRUPT, ERR_UNSUPPORTED. */
MUST_CHECK enum err_code vhd_footer_parse(const uint8_t data[static VHD_FOOTER_SIZE], const char *name,
					  struct vhd_footer *ret, struct err *err);

/* Parses the footer from the end of the file, or, if that is damaged, its copy from the start (which only dynamic and
 * differencing files have); *ret_copy_used tells. ERR_CORRUPT if both are damaged. */
MUST_CHECK enum err_code vhd_footer_choose(const uint8_t tail[static VHD_FOOTER_SIZE],
					   const uint8_t head[static VHD_FOOTER_SIZE], const char *name,
					   struct vhd_footer *ret, bool *ret_copy_used, struct err *err);

/* Parses the header of a file with this footer and checks that the disk's blocks fit the table. */
MUST_CHECK enum err_code vhd_header_parse(const uint8_t data[static VHD_HEADER_SIZE], const struct vhd_footer *footer,
					  const char *name, struct vhd_header *ret, struct err *err);

/* Writes the bytes of a footer, with geometry and checksum. */
void vhd_footer_encode(const struct vhd_footer *footer, uint8_t dst[static VHD_FOOTER_SIZE]);

/* Writes the bytes of a header without a parent. */
void vhd_header_encode(const struct vhd_header *header, uint8_t dst[static VHD_HEADER_SIZE]);

struct vhd_geometry {
	uint16_t cylinders;
	uint8_t heads;
	uint8_t sectors;
};

/* The geometry that the specification's appendix gives to a size. It usually covers less than the disk. */
struct vhd_geometry vhd_geometry(uint64_t size_bytes);

/* Bytes of the bitmap in front of a block's data. */
static inline uint32_t vhd_bitmap_bytes(uint32_t block_bytes)
{
	uint32_t bytes = block_bytes / VHD_SECTOR / 8;
	return (bytes + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
}

/* Blocks of a disk; the last may be partly behind its end. */
static inline uint32_t vhd_block_count(uint64_t size_bytes, uint32_t block_bytes)
{
	return (uint32_t)((size_bytes + block_bytes - 1) / block_bytes);
}

/* Turns UTF-16 text (it ends at a zero or after `length` bytes) into UTF-8 with a terminating zero. False if it is
 * malformed, has control characters or does not fit `size`; dst is "" then. */
bool vhd_utf16_decode(const uint8_t *data, size_t length, bool big_endian, char *dst, size_t size);

/* The path that a parent locator names, with slashes; relative, or absolute with a leading slash. False if the locator
 * is of a kind that does not help here or its text is malformed. */
bool vhd_locator_path(uint32_t code, const uint8_t *data, size_t length, char *dst, size_t size);

#endif
