/* SPDX-License-Identifier: Apache-2.0 */
/* The input is the start of a VHD file and, in its last 512 bytes, the footer. It is tried as it is and with its
 * checksums made right, which no mutation would find; parsed in memory, and opened as a file with room for a few
 * blocks. */
#include "base/endian.h"
#include "base/size.h"
#include "ingest/vhd.h"
#include "ingest/vhd_chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define INPUT_MAX (64u << 10)
#define ROOM (3u << 20)
#define PIECES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void try_locators(const struct vhd_header *header, const uint8_t *data, size_t size)
{
	char path[VHD_LOCATOR_MAX * 3 / 2 + 1];
	for (size_t i = 0; i < VHD_LOCATOR_COUNT; i++) {
		const struct vhd_locator *locator = &header->locators[i];
		if (locator->offset > size || locator->length > size - locator->offset)
			continue;
		bool found =
			vhd_locator_path(locator->code, data + locator->offset, locator->length, path, sizeof(path));
		check(found == (path[0] != '\0') && strlen(path) < sizeof(path));
	}
}

static void try_table(const struct vhd_footer *footer, const struct vhd_header *header, const uint8_t *data,
		      size_t size)
{
	if (header->table_offset > size)
		return;
	struct vhd_bat *bat = NULL;
	if (vhd_bat_new(vhd_block_count(footer->size_bytes, header->block_bytes), &bat, NULL) != ERR_OK)
		return;
	const struct vhd_region regions[] = {{0, VHD_FOOTER_SIZE, "footer"}, {header->table_offset, 512, "table"}};
	size_t length = (size - (size_t)header->table_offset) & ~(size_t)3;
	if (vhd_bat_fill(bat, data + header->table_offset, length, NULL) == ERR_OK) {
		(void)!vhd_bat_check(bat, header->block_bytes, size, regions, 2, "input", NULL);
		(void)!vhd_bat_check(bat, header->block_bytes, UINT64_MAX, regions, 2, "input", NULL);
	}
	vhd_bat_free(bat);
}

static void try_bytes(const uint8_t *data, size_t size)
{
	struct vhd_footer footer;
	struct vhd_header header;
	bool copy_used;
	if (vhd_footer_choose(data + size - VHD_FOOTER_SIZE, data, "input", &footer, &copy_used, NULL) != ERR_OK)
		return;
	uint8_t again[VHD_FOOTER_SIZE];
	struct vhd_footer parsed;
	vhd_footer_encode(&footer, again);
	check(vhd_footer_parse(again, "again", &parsed, NULL) == ERR_OK && parsed.size_bytes == footer.size_bytes);
	if (footer.type == VHD_FIXED || footer.header_offset > size || VHD_HEADER_SIZE > size - footer.header_offset)
		return;
	if (vhd_header_parse(data + footer.header_offset, &footer, "input", &header, NULL) != ERR_OK)
		return;
	try_locators(&header, data, size);
	try_table(&footer, &header, data, size);
}

/* Every piece lies inside its file and moves on. */
static void walk(struct vhd_chain *chain)
{
	uint64_t size = chain->levels[0]->footer.size_bytes;
	uint64_t at = 0;
	for (unsigned i = 0; i < PIECES_MAX && at < size; i++) {
		struct file_piece piece;
		if (vhd_chain_find(chain, at, size - at, &piece, NULL) != ERR_OK)
			return;
		check(piece.length > 0 && piece.length <= size - at);
		if (piece.file)
			check(piece.offset <= piece.file->size_bytes &&
			      piece.length <= piece.file->size_bytes - piece.offset);
		at += piece.length;
	}
}

static void try_file(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	check(fd >= 0);
	uint64_t end = round_up(size + ROOM, VHD_SECTOR);
	check(pwrite(fd, data, size, 0) == (ssize_t)size);
	check(pwrite(fd, data + size - VHD_FOOTER_SIZE, VHD_FOOTER_SIZE, (off_t)end) == VHD_FOOTER_SIZE);
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	struct vhd_chain chain;
	struct err err = {0};
	if (vhd_chain_open(path, &chain, &err) == ERR_OK)
		walk(&chain);
	else
		check(err.code != ERR_OK && err.msg[0]);
	vhd_chain_release(&chain);
	close(fd);
}

static void seal(uint8_t *data, size_t length, size_t checksum_at)
{
	be32_put(data + checksum_at, vhd_checksum(data, length, checksum_at));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t copy[INPUT_MAX];
	if (size < VHD_FOOTER_SIZE || size > INPUT_MAX)
		return 0;
	try_bytes(data, size);
	memcpy(copy, data, size);
	if (size >= VHD_FOOTER_SIZE + VHD_HEADER_SIZE) {
		uint64_t header_at = be64_get(copy + 16);
		if (header_at >= VHD_FOOTER_SIZE && header_at <= size - VHD_HEADER_SIZE)
			seal(copy + header_at, VHD_HEADER_SIZE, 36);
		seal(copy, VHD_FOOTER_SIZE, 64);
	}
	seal(copy + size - VHD_FOOTER_SIZE, VHD_FOOTER_SIZE, 64);
	try_bytes(copy, size);
	try_file(copy, size);
	return 0;
}
