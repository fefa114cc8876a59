/* SPDX-License-Identifier: Apache-2.0 */
/* Makes VHD files byte by byte, apart from the code under test: differencing ones too, which no tool here makes. */
#ifndef TESTS_VHD_BUILDER_H
#define TESTS_VHD_BUILDER_H

#include "disk_helpers.h"

#include "base/endian.h"

#define BUILD_HEADER_AT 512u
#define BUILD_LOCATOR_AT 1536u /* one sector per locator */
#define BUILD_TABLE_AT 4096u

struct vhd_build {
	uint32_t type; /* 2 fixed, 3 dynamic, 4 differencing */
	uint64_t size;
	uint32_t block_bytes;
	uint8_t uuid;        /* every byte of it */
	uint8_t parent_uuid; /* likewise */
	uint32_t timestamp;
	uint32_t parent_timestamp;
	const char *parent_name; /* ASCII; NULL: none */
	const char *w2ru, *w2ku, *macx;
	const uint8_t *data;    /* the whole disk, `size` bytes */
	const uint8_t *sectors; /* one byte per sector: 1 if this file has it. NULL: it has all */
	bool no_tail;           /* leave the footer at the end away */
};

static inline uint32_t build_sum(const uint8_t *data, size_t length)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < length; i++)
		sum += data[i];
	return ~sum;
}

static inline void build_seal(uint8_t *data, size_t length, size_t at)
{
	memset(data + at, 0, 4);
	be32_put(data + at, build_sum(data, length));
}

static inline void build_footer(const struct vhd_build *b, uint8_t dst[static 512])
{
	memset(dst, 0, 512);
	memcpy(dst, "conectix", 8);
	be32_put(dst + 8, 2);
	be32_put(dst + 12, 0x00010000);
	be64_put(dst + 16, b->type == 2 ? UINT64_MAX : BUILD_HEADER_AT);
	be32_put(dst + 24, b->timestamp);
	memcpy(dst + 28, "test", 4);
	be64_put(dst + 40, b->size);
	be64_put(dst + 48, b->size);
	be32_put(dst + 60, b->type);
	memset(dst + 68, b->uuid, 16);
	build_seal(dst, 512, 64);
}

static inline void build_locator(uint8_t *file, unsigned index, const char *code, const uint8_t *text, size_t length)
{
	uint8_t *entry = file + BUILD_HEADER_AT + 576 + index * 24;
	uint64_t offset = BUILD_LOCATOR_AT + index * 512;
	memcpy(entry, code, 4);
	be32_put(entry + 4, 1);
	be32_put(entry + 8, (uint32_t)length);
	be64_put(entry + 16, offset);
	memcpy(file + offset, text, length);
}

static inline void build_utf16_locator(uint8_t *file, unsigned index, const char *code, const char *text)
{
	uint8_t utf16[512] = {0};
	for (size_t i = 0; text[i]; i++)
		utf16[2 * i] = (uint8_t)text[i];
	build_locator(file, index, code, utf16, 2 * strlen(text));
}

static inline void build_header(const struct vhd_build *b, uint8_t *file)
{
	uint8_t *header = file + BUILD_HEADER_AT;
	memcpy(header, "cxsparse", 8);
	memset(header + 8, 0xFF, 8);
	be64_put(header + 16, BUILD_TABLE_AT);
	be32_put(header + 24, 0x00010000);
	be32_put(header + 28, (uint32_t)((b->size + b->block_bytes - 1) / b->block_bytes));
	be32_put(header + 32, b->block_bytes);
	if (b->type == 4) {
		memset(header + 40, b->parent_uuid, 16);
		be32_put(header + 56, b->parent_timestamp);
	}
	for (size_t i = 0; b->parent_name && b->parent_name[i]; i++)
		be16_put(header + 64 + 2 * i, (uint8_t)b->parent_name[i]);
	if (b->macx)
		build_locator(file, 0, "MacX", (const uint8_t *)b->macx, strlen(b->macx));
	if (b->w2ku)
		build_utf16_locator(file, 1, "W2ku", b->w2ku);
	if (b->w2ru)
		build_utf16_locator(file, 2, "W2ru", b->w2ru);
	build_seal(header, 1024, 36);
}

static inline bool build_has(const struct vhd_build *b, uint64_t sector)
{
	return !b->sectors || b->sectors[sector];
}

/* Writes one block at byte `at` of the file; false if the file has nothing of it. */
static inline bool build_block(const struct vhd_build *b, uint64_t block, uint8_t *at)
{
	uint64_t first = block * b->block_bytes / 512;
	uint64_t end = min_u64(first + b->block_bytes / 512, b->size / 512);
	bool any = false;
	for (uint64_t sector = first; sector < end; sector++) {
		if (!build_has(b, sector)) {
			/* What is behind a clear bit must never be read. */
			memset(at + 512 + (sector - first) * 512, 0x5A, 512);
			continue;
		}
		any = true;
		at[(sector - first) / 8] |= (uint8_t)(0x80 >> ((sector - first) % 8));
		memcpy(at + 512 + (sector - first) * 512, b->data + sector * 512, 512);
	}
	return any;
}

/* Gives the bytes of the file; free them. Blocks are laid down last first. */
static inline uint8_t *build_vhd_bytes(const struct vhd_build *b, size_t *ret_length)
{
	uint64_t blocks = b->type == 2 ? 0 : (b->size + b->block_bytes - 1) / b->block_bytes;
	uint64_t table = round_up(blocks * 4, 512);
	size_t most = (size_t)(BUILD_TABLE_AT + table + blocks * (512 + b->block_bytes) + 512 + b->size);
	uint8_t *file = calloc(1, most);
	assert_non_null(file);
	size_t used = 0;
	if (b->type == 2) {
		memcpy(file, b->data, b->size);
		used = b->size;
	} else {
		build_footer(b, file);
		build_header(b, file);
		memset(file + BUILD_TABLE_AT, 0xFF, table);
		used = BUILD_TABLE_AT + table;
		for (uint64_t block = blocks; block-- > 0;) {
			if (!build_block(b, block, file + used)) {
				memset(file + used, 0, 512 + b->block_bytes);
				continue;
			}
			be32_put(file + BUILD_TABLE_AT + block * 4, (uint32_t)(used / 512));
			used += 512 + b->block_bytes;
		}
	}
	if (!b->no_tail) {
		build_footer(b, file + used);
		used += 512;
	}
	*ret_length = used;
	return file;
}

static inline void build_vhd(const struct vhd_build *b, const char *path)
{
	size_t length = 0;
	uint8_t *file = build_vhd_bytes(b, &length);
	unlink(path);
	write_file_at(path, 0, file, length);
	free(file);
}

#endif
