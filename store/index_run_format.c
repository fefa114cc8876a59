/* SPDX-License-Identifier: Apache-2.0 */
#include "store/index_run.h"

#include "base/cursor.h"
#include "base/endian.h"
#include "base/size.h"

#include <assert.h>
#include <string.h>
#include <xxhash.h>

static const uint8_t run_magic[8] = {'x', 'e', 'n', 'o', 'r', 'u', 'n', '\n'};

#define RUN_VERSION 1u
#define HEADER_HASH_OFFSET (INDEX_RUN_PAGE_SIZE - 8)
#define PAGE_HEAD_SIZE 8u
#define PAGE_SPILLS 1u

static_assert(PAGE_HEAD_SIZE + INDEX_RUN_PAGE_ENTRIES * INDEX_RUN_ENTRY_SIZE <= INDEX_RUN_PAGE_SIZE, "entries fit");

void index_run_header_encode(struct index_run_header *header, uint8_t dst[static INDEX_RUN_PAGE_SIZE])
{
	memset(dst, 0, INDEX_RUN_PAGE_SIZE);
	memcpy(dst, run_magic, sizeof(run_magic));
	le32_put(dst + 8, RUN_VERSION);
	le64_put(dst + 16, header->entry_count);
	le64_put(dst + 24, header->home_pages);
	le64_put(dst + 32, header->pages);
	le64_put(dst + 40, header->covered);
	le64_put(dst + 48, header->filter_offset);
	le64_put(dst + 56, header->filter_length);
	le64_put(dst + 64, header->filter_hash);
	header->hash = XXH3_64bits(dst, HEADER_HASH_OFFSET);
	le64_put(dst + HEADER_HASH_OFFSET, header->hash);
}

/* Every number is bounded by the file's size, so nothing that is derived from one is larger than the file. */
static bool sizes_fit(const struct index_run_header *header, uint64_t file_size)
{
	return header->pages <= file_size / INDEX_RUN_PAGE_SIZE && header->home_pages >= 1 &&
	       header->home_pages <= header->pages && header->entry_count <= header->pages * INDEX_RUN_PAGE_ENTRIES &&
	       header->covered >> 40 == 0 && header->filter_offset == INDEX_RUN_PAGE_SIZE * (1 + header->pages) &&
	       header->filter_offset <= file_size && header->filter_length == file_size - header->filter_offset &&
	       header->filter_length >= INDEX_RUN_FILTER_BLOCK && header->filter_length % INDEX_RUN_FILTER_BLOCK == 0;
}

enum err_code index_run_header_decode(const uint8_t src[static INDEX_RUN_PAGE_SIZE], uint64_t file_size,
				      struct index_run_header *ret, struct err *err)
{
	struct cursor c = cursor_of(src, INDEX_RUN_PAGE_SIZE);
	const uint8_t *magic = cursor_take(&c, sizeof(run_magic));
	uint32_t version = cursor_le32(&c);
	if (!magic || memcmp(magic, run_magic, sizeof(run_magic)) != 0)
		return err_set(err, ERR_CORRUPT, 0, "it is not an index run");
	if (le64_get(src + HEADER_HASH_OFFSET) != XXH3_64bits(src, HEADER_HASH_OFFSET))
		return err_set(err, ERR_CORRUPT, 0, "its header is damaged");
	if (version != RUN_VERSION)
		return err_set(err, ERR_UNSUPPORTED, 0, "it has version %u, this program knows %u", version,
			       RUN_VERSION);
	struct index_run_header header = {0};
	cursor_zeroes(&c, 4);
	header.entry_count = cursor_le64(&c);
	header.home_pages = cursor_le64(&c);
	header.pages = cursor_le64(&c);
	header.covered = cursor_le64(&c);
	header.filter_offset = cursor_le64(&c);
	header.filter_length = cursor_le64(&c);
	header.filter_hash = cursor_le64(&c);
	cursor_zeroes(&c, HEADER_HASH_OFFSET - 72);
	header.hash = cursor_le64(&c);
	TRY(cursor_finish(&c, "its header", err));
	if (!sizes_fit(&header, file_size))
		return err_set(err, ERR_CORRUPT, 0, "the sizes in its header don't fit the file");
	*ret = header;
	return ERR_OK;
}

static uint32_t page_checksum(const uint8_t *page, uint64_t number)
{
	return (uint32_t)XXH3_64bits_withSeed(page + 4, INDEX_RUN_PAGE_SIZE - 4, number);
}

void index_run_page_seal(uint8_t page[static INDEX_RUN_PAGE_SIZE], uint64_t number)
{
	le32_put(page, page_checksum(page, number));
}

bool index_run_page_is_valid(const uint8_t page[static INDEX_RUN_PAGE_SIZE], uint64_t number)
{
	return le32_get(page) == page_checksum(page, number) && index_run_page_count(page) <= INDEX_RUN_PAGE_ENTRIES &&
	       (le16_get(page + 6) & ~PAGE_SPILLS) == 0;
}

unsigned index_run_page_count(const uint8_t *page)
{
	return le16_get(page + 4);
}

bool index_run_page_spills(const uint8_t *page)
{
	return le16_get(page + 6) & PAGE_SPILLS;
}

void index_run_page_set(uint8_t *page, unsigned count, bool spills)
{
	le16_put(page + 4, (uint16_t)count);
	le16_put(page + 6, spills ? PAGE_SPILLS : 0);
}

void index_run_entry_put(uint8_t *page, unsigned i, const struct index_run_entry *entry)
{
	uint8_t *p = page + PAGE_HEAD_SIZE + (size_t)i * INDEX_RUN_ENTRY_SIZE;
	memcpy(p, entry->prefix, INDEX_RUN_PREFIX_SIZE);
	le32_put(p + 13, (uint32_t)entry->location.segment);
	p[17] = (uint8_t)(entry->location.segment >> 32);
	le16_put(p + 18, (uint16_t)entry->location.slot);
}

struct index_run_entry index_run_entry_get(const uint8_t *page, unsigned i)
{
	const uint8_t *p = page + PAGE_HEAD_SIZE + (size_t)i * INDEX_RUN_ENTRY_SIZE;
	struct index_run_entry entry;
	memcpy(entry.prefix, p, INDEX_RUN_PREFIX_SIZE);
	entry.location.segment = le32_get(p + 13) | (uint64_t)p[17] << 32;
	entry.location.slot = le16_get(p + 18);
	return entry;
}

static int compare_at(const uint8_t *page, unsigned i, const uint8_t *prefix)
{
	return memcmp(page + PAGE_HEAD_SIZE + (size_t)i * INDEX_RUN_ENTRY_SIZE, prefix, INDEX_RUN_PREFIX_SIZE);
}

bool index_run_page_find(const uint8_t *page, const uint8_t prefix[static INDEX_RUN_PREFIX_SIZE],
			 struct chunk_location *ret, bool *ret_more)
{
	unsigned low = 0;
	unsigned count = index_run_page_count(page);
	for (unsigned high = count; low < high;) {
		unsigned middle = (low + high) / 2;
		if (compare_at(page, middle, prefix) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_more = low == count && index_run_page_spills(page);
	if (low == count || compare_at(page, low, prefix) != 0)
		return false;
	*ret = index_run_entry_get(page, low).location;
	return true;
}

/* Maps a uniform 64-bit number to [0, n). */
static uint64_t scale(uint64_t uniform, uint64_t n)
{
	return (uint64_t)((unsigned __int128)uniform * n >> 64);
}

uint64_t index_run_home_page(const uint8_t *prefix, uint64_t home_pages)
{
	return scale(be64_get(prefix), home_pages);
}

uint64_t index_run_filter_length(uint64_t entries)
{
	uint64_t bits = entries * INDEX_RUN_FILTER_BITS;
	return max_u64(round_up(bits, UINT64_C(8) * INDEX_RUN_FILTER_BLOCK) / 8, INDEX_RUN_FILTER_BLOCK);
}

static uint64_t filter_block(uint64_t length, const uint8_t *prefix)
{
	return scale(be64_get(prefix), length / INDEX_RUN_FILTER_BLOCK) * INDEX_RUN_FILTER_BLOCK;
}

void index_run_filter_add(uint8_t *filter, uint64_t length, const uint8_t prefix[static INDEX_RUN_PREFIX_SIZE])
{
	uint8_t *block = filter + filter_block(length, prefix);
	uint64_t bits = be64_get(prefix + 5);
	for (size_t word = 0; word < 8; word++, bits >>= 6)
		block[word * 8 + (bits >> 3 & 7)] |= (uint8_t)(1u << (bits & 7));
}

bool index_run_filter_has(const uint8_t *filter, uint64_t length, const uint8_t prefix[static INDEX_RUN_PREFIX_SIZE])
{
	const uint8_t *block = filter + filter_block(length, prefix);
	uint64_t bits = be64_get(prefix + 5);
	unsigned all = 1;
	for (size_t word = 0; word < 8; word++, bits >>= 6)
		all &= (unsigned)block[word * 8 + (bits >> 3 & 7)] >> (bits & 7);
	return all;
}

void index_run_filter_prefetch(const uint8_t *filter, uint64_t length, const uint8_t *prefix)
{
	__builtin_prefetch(filter + filter_block(length, prefix));
}
