/* SPDX-License-Identifier: Apache-2.0 */
#include "store/index_run.h"

#include "base/cleanup.h"
#include "base/size.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define BUFFER_PAGES 64u /* 256 KiB per write */

struct index_run_writer {
	struct io_file *file;
	struct index_run_header header;
	uint64_t entries_max;
	uint8_t *filter;
	uint8_t last[INDEX_RUN_PREFIX_SIZE];
	uint64_t page;                                    /* number of the page being filled */
	unsigned page_entries;                            /* in it */
	uint8_t pages[BUFFER_PAGES][INDEX_RUN_PAGE_SIZE]; /* page n is at n % BUFFER_PAGES */
};

DEFINE_CLEANUP(writer, struct index_run_writer, index_run_writer_free)

enum err_code index_run_writer_new(struct io *io, uint32_t number, uint64_t entries_max, uint64_t covered,
				   struct index_run_writer **ret, struct err *err)
{
	AUTO(cleanup_writer) struct index_run_writer *writer = calloc(1, sizeof(*writer));
	if (!writer)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to write an index run");
	writer->entries_max = entries_max;
	writer->header.covered = covered;
	writer->header.home_pages = max_u64((entries_max + INDEX_RUN_PAGE_FILL - 1) / INDEX_RUN_PAGE_FILL, 1);
	writer->header.filter_length = index_run_filter_length(entries_max);
	writer->filter = calloc(1, (size_t)writer->header.filter_length);
	if (!writer->filter)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the filter of %" PRIu64 " chunks", entries_max);
	char path[INDEX_RUN_PATH_SIZE];
	index_run_path(number, path);
	TRY(io_open(io, path, IO_WRITE | IO_CREATE, &writer->file, err));
	*ret = TAKE_PTR(writer);
	return ERR_OK;
}

void index_run_writer_free(struct index_run_writer *writer)
{
	if (!writer)
		return;
	io_file_close(writer->file);
	free(writer->filter);
	free(writer);
}

uint64_t index_run_writer_count(const struct index_run_writer *writer)
{
	return writer->header.entry_count;
}

/* Writes the buffered pages before `end`. */
static enum err_code write_pages(struct index_run_writer *writer, uint64_t end, struct err *err)
{
	uint64_t count = end % BUFFER_PAGES ? end % BUFFER_PAGES : BUFFER_PAGES;
	uint64_t first = end - count;
	TRY(io_write(writer->file, INDEX_RUN_PAGE_SIZE * (1 + first), writer->pages, count * INDEX_RUN_PAGE_SIZE, err));
	memset(writer->pages, 0, sizeof(writer->pages));
	return ERR_OK;
}

/* Seals the current page and begins the next one. */
static enum err_code end_page(struct index_run_writer *writer, bool spills, struct err *err)
{
	uint8_t *page = writer->pages[writer->page % BUFFER_PAGES];
	index_run_page_set(page, writer->page_entries, spills);
	index_run_page_seal(page, writer->page);
	writer->page++;
	writer->page_entries = 0;
	return writer->page % BUFFER_PAGES == 0 ? write_pages(writer, writer->page, err) : ERR_OK;
}

enum err_code index_run_writer_add(struct index_run_writer *writer, const struct index_run_entry *entry,
				   struct err *err)
{
	if (writer->header.entry_count == writer->entries_max ||
	    (writer->header.entry_count && memcmp(writer->last, entry->prefix, sizeof(writer->last)) >= 0))
		return err_set(err, ERR_BUG, 0, "entries of index run '%s' are too many or not in order",
			       writer->file->path);
	uint64_t home = index_run_home_page(entry->prefix, writer->header.home_pages);
	while (writer->page < home)
		TRY(end_page(writer, /* spills= */ false, err));
	if (writer->page_entries == INDEX_RUN_PAGE_ENTRIES)
		TRY(end_page(writer, /* spills= */ true, err));
	index_run_entry_put(writer->pages[writer->page % BUFFER_PAGES], writer->page_entries++, entry);
	index_run_filter_add(writer->filter, writer->header.filter_length, entry->prefix);
	memcpy(writer->last, entry->prefix, sizeof(writer->last));
	writer->header.entry_count++;
	return ERR_OK;
}

enum err_code index_run_writer_finish(struct index_run_writer *writer, struct err *err)
{
	struct index_run_header *header = &writer->header;
	do {
		TRY(end_page(writer, /* spills= */ false, err));
	} while (writer->page < header->home_pages);
	if (writer->page % BUFFER_PAGES)
		TRY(write_pages(writer, writer->page, err));
	header->pages = writer->page;
	header->filter_offset = INDEX_RUN_PAGE_SIZE * (1 + header->pages);
	header->filter_hash = XXH3_64bits(writer->filter, (size_t)header->filter_length);
	TRY(io_write(writer->file, header->filter_offset, writer->filter, (size_t)header->filter_length, err));
	uint8_t first[INDEX_RUN_PAGE_SIZE];
	index_run_header_encode(header, first);
	TRY(io_write(writer->file, 0, first, sizeof(first), err));
	return io_sync(writer->file, err);
}
