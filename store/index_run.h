/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the chunk index: the files index/NNNNNNNN.run. A run is written once, in ascending order of IDs, and never
 * changed. All integers are little-endian unless said otherwise.
 *
 *   offset 0                    header, 4096 bytes
 *   4096 x (1 + n)              page n, 4096 bytes each
 *   4096 x (1 + pages)          filter, up to the end of the file
 *
 *   header   0  8  magic "xenorun\n"
 *            8  4  version, 1
 *           12  4  zero
 *           16  8  entries in the file
 *           24  8  home pages: what the page number of an ID is scaled to
 *           32  8  pages, home pages and those that take what spills past the last of them
 *           40  8  covered segment number: with the runs before it in the manifest, the run has all records of live
 *                  segments up to this one
 *           48  8  offset of the filter
 *           56  8  length of the filter, a multiple of 64
 *           64  8  XXH3-64 of the filter
 *           72     zero
 *         4088  8  XXH3-64 of the 4088 bytes before
 *
 *   page     0  4  low 32 bits of XXH3-64 of the 4092 bytes behind, seeded with the page number
 *            4  2  entries in the page, at most 204
 *            6  2  flags: 1 means that entries that belong here continue in the next page
 *            8     entries, 20 bytes each, then zeroes
 *
 *   entry    0 13  the ID's first 13 bytes; ascending, as unsigned bytes, through the whole file, each once
 *           13  5  segment number
 *           18  2  slot
 *
 * An ID's home page is (its first 8 bytes as a big-endian number x home pages) >> 64. IDs are keyed hashes, so pages
 * fill evenly; they are sized for 170 entries on average, and what does not fit spills into the next page, which is
 * flagged.
 *
 * The filter is a blocked Bloom filter: blocks of 64 bytes, that is eight 64-bit words. An ID has one bit in each word
 * of one block, so a look-up touches one cache line. The block is (first 8 bytes, big-endian, x blocks) >> 64; the bit
 * in word i is (bytes 5 to 12, big-endian, >> 6 i) & 63. Bits of the ID serve as they are, without hashing again. With
 * 12 bits per entry about 0.45 % of unknown IDs pass. */
#ifndef STORE_INDEX_RUN_H
#define STORE_INDEX_RUN_H

#include "base/err.h"
#include "store/chunk_id.h"
#include "store/chunk_index.h"
#include "store/io.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INDEX_RUN_PAGE_SIZE 4096u
#define INDEX_RUN_PREFIX_SIZE 13u
#define INDEX_RUN_ENTRY_SIZE 20u
#define INDEX_RUN_PAGE_ENTRIES 204u /* (4096 - 8) / 20 */
#define INDEX_RUN_PAGE_FILL 170u    /* 204 is 2.6 standard deviations above: 1 page in 200 spills */
#define INDEX_RUN_SPILL_MAX 64u     /* pages that a look-up follows; keyed hashes need 2 or 3 */
#define INDEX_RUN_FILTER_BITS 12u   /* per entry */
#define INDEX_RUN_FILTER_BLOCK 64u

struct index_run_entry {
	uint8_t prefix[INDEX_RUN_PREFIX_SIZE];
	struct chunk_location location;
};

struct index_run_header {
	uint64_t entry_count;
	uint64_t home_pages;
	uint64_t pages;
	uint64_t covered;
	uint64_t filter_offset;
	uint64_t filter_length;
	uint64_t filter_hash;
	uint64_t hash; /* of the header itself: names the run's content in the manifest */
};

/* The format, free of I/O (index_run_format.c). */

void index_run_header_encode(struct index_run_header *header, uint8_t dst[static INDEX_RUN_PAGE_SIZE]);

/* Decodes the header of a file of `file_size` bytes; the sizes in it fit the file exactly then. ERR_CORRUPT, or
 * ERR_UNSUPPORTED for a newer version. */
MUST_CHECK enum err_code index_run_header_decode(const uint8_t src[static INDEX_RUN_PAGE_SIZE], uint64_t file_size,
						 struct index_run_header *ret, struct err *err);

/* Sets the checksum of page `number`. */
void index_run_page_seal(uint8_t page[static INDEX_RUN_PAGE_SIZE], uint64_t number);

/* True if page `number` is as it was sealed, and its count within bounds. */
bool index_run_page_is_valid(const uint8_t page[static INDEX_RUN_PAGE_SIZE], uint64_t number);

unsigned index_run_page_count(const uint8_t *page);
bool index_run_page_spills(const uint8_t *page);
void index_run_page_set(uint8_t *page, unsigned count, bool spills);

void index_run_entry_put(uint8_t *page, unsigned i, const struct index_run_entry *entry);
struct index_run_entry index_run_entry_get(const uint8_t *page, unsigned i);

/* Looks for `prefix` in a valid page. *ret_more if it may stand in the next page instead. */
bool index_run_page_find(const uint8_t *page, const uint8_t prefix[static INDEX_RUN_PREFIX_SIZE],
			 struct chunk_location *ret, bool *ret_more);

/* Page of an ID, given its first 8 bytes or more. */
uint64_t index_run_home_page(const uint8_t *prefix, uint64_t home_pages);

uint64_t index_run_filter_length(uint64_t entries);
void index_run_filter_add(uint8_t *filter, uint64_t length, const uint8_t prefix[static INDEX_RUN_PREFIX_SIZE]);
bool index_run_filter_has(const uint8_t *filter, uint64_t length, const uint8_t prefix[static INDEX_RUN_PREFIX_SIZE]);
void index_run_filter_prefetch(const uint8_t *filter, uint64_t length, const uint8_t *prefix);

/* An open run: the filter in memory, pages read when asked for (index_run.c). */

struct index_run {
	struct io_file *file;
	struct index_run_header header;
	uint8_t *filter;
	uint32_t number;
	/* Set (relaxed: a hint that needs no order) when a page could not be read, or read but not trusted. */
	bool failed;  /* the device: the run is not asked any more */
	bool damaged; /* it is not complete any more */
};

/* Opens run `number` and loads its filter. ERR_CORRUPT, ERR_UNSUPPORTED, ERR_NOT_FOUND, ERR_IO. */
MUST_CHECK enum err_code index_run_open(struct io *io, uint32_t number, struct index_run **ret, struct err *err);
void index_run_close(struct index_run *run);

void index_run_prefetch(const struct index_run *run, const struct chunk_id *id);

/* True if the run has `id`. Reads a page or two if the filter lets it pass. A page that can't be read or is damaged
 * counts as one without the ID and marks the run. Thread-safe. */
bool index_run_find(struct index_run *run, const struct chunk_id *id, struct chunk_location *ret);

bool index_run_is_damaged(const struct index_run *run);

#define INDEX_RUN_PATH_SIZE 32
void index_run_path(uint32_t number, char dst[static INDEX_RUN_PATH_SIZE]);

/* All entries of a run in order. Borrows the run until it is freed. */
struct index_run_cursor;
MUST_CHECK enum err_code index_run_cursor_new(struct index_run *run, struct index_run_cursor **ret, struct err *err);
void index_run_cursor_free(struct index_run_cursor *cursor);

/* The next entry; *ret_end if there is none. ERR_CORRUPT for a page that is damaged or out of order. */
MUST_CHECK enum err_code index_run_cursor_next(struct index_run_cursor *cursor, struct index_run_entry *ret,
					       bool *ret_end, struct err *err);

/* Writing a run (index_run_write.c). */

struct index_run_writer;

/* Makes run `number`, for at most `entries_max` entries (1 or more). Memory: the filter and 256 KiB. */
MUST_CHECK enum err_code index_run_writer_new(struct io *io, uint32_t number, uint64_t entries_max, uint64_t covered,
					      struct index_run_writer **ret, struct err *err);

/* Adds an entry; prefixes must ascend (ERR_BUG). */
MUST_CHECK enum err_code index_run_writer_add(struct index_run_writer *writer, const struct index_run_entry *entry,
					      struct err *err);

/* Writes filter and header and syncs the file. The file's name is not durable yet (io_sync_dir). */
MUST_CHECK enum err_code index_run_writer_finish(struct index_run_writer *writer, struct err *err);

/* Entries added so far. */
uint64_t index_run_writer_count(const struct index_run_writer *writer);

/* Closes the file, which stays where it is. */
void index_run_writer_free(struct index_run_writer *writer);

#endif
