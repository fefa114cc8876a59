/* SPDX-License-Identifier: Apache-2.0 */
#include "store/index_run.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/size.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define READ_STEP (UINT64_C(1) << 20) /* bytes of the filter per read */
#define CURSOR_PAGES 64u              /* pages per read of a cursor: 256 KiB */

DEFINE_CLEANUP(run, struct index_run, index_run_close)

void index_run_path(uint32_t number, char dst[static INDEX_RUN_PATH_SIZE])
{
	snprintf(dst, INDEX_RUN_PATH_SIZE, "index/%08" PRIu32 ".run", number);
}

static enum err_code load_filter(struct index_run *run, struct err *err)
{
	uint64_t length = run->header.filter_length;
	/* A block is one cache line. */
	run->filter = length <= SIZE_MAX ? aligned_alloc(INDEX_RUN_FILTER_BLOCK, (size_t)length) : NULL;
	if (!run->filter)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for its filter of %" PRIu64 " bytes", length);
	for (uint64_t at = 0; at < length; at += READ_STEP)
		TRY(io_read_exact(run->file, run->header.filter_offset + at, run->filter + at,
				  (size_t)min_u64(READ_STEP, length - at), err));
	if (XXH3_64bits(run->filter, (size_t)length) != run->header.filter_hash)
		return err_set(err, ERR_CORRUPT, 0, "its filter is damaged");
	return ERR_OK;
}

static enum err_code load(struct index_run *run, struct err *err)
{
	uint64_t size = 0;
	uint8_t page[INDEX_RUN_PAGE_SIZE];
	TRY(io_file_size(run->file, &size, err));
	TRY(io_read_exact(run->file, 0, page, sizeof(page), err));
	TRY(index_run_header_decode(page, size, &run->header, err));
	return load_filter(run, err);
}

enum err_code index_run_open(struct io *io, uint32_t number, struct index_run **ret, struct err *err)
{
	char path[INDEX_RUN_PATH_SIZE];
	index_run_path(number, path);
	AUTO(cleanup_run) struct index_run *run = calloc(1, sizeof(*run));
	if (!run)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for index run '%s'", path);
	run->number = number;
	TRY(io_open(io, path, IO_READ, &run->file, err));
	enum err_code code = load(run, err);
	if (code != ERR_OK) {
		err_context(err, "index run '%s'", path);
		return code;
	}
	*ret = TAKE_PTR(run);
	return ERR_OK;
}

void index_run_close(struct index_run *run)
{
	if (!run)
		return;
	io_file_close(run->file);
	free(run->filter);
	free(run);
}

void index_run_prefetch(const struct index_run *run, const struct chunk_id *id)
{
	index_run_filter_prefetch(run->filter, run->header.filter_length, id->bytes);
}

static void mark(bool *flag, const struct index_run *run, const struct err *err)
{
	__atomic_store_n(flag, true, __ATOMIC_RELAXED);
	log_debug("store", "index run %08" PRIu32 ": %s, storing anew what it had", run->number, err->msg);
}

bool index_run_is_damaged(const struct index_run *run)
{
	return __atomic_load_n(&run->damaged, __ATOMIC_RELAXED) || __atomic_load_n(&run->failed, __ATOMIC_RELAXED);
}

/* Reads and checks one page; false, with the run marked, if it cannot be had. */
static bool read_page(struct index_run *run, uint64_t number, uint8_t page[static INDEX_RUN_PAGE_SIZE])
{
	struct err err = {0};
	enum err_code code =
		io_read_exact(run->file, INDEX_RUN_PAGE_SIZE * (1 + number), page, INDEX_RUN_PAGE_SIZE, &err);
	if (code == ERR_OK && index_run_page_is_valid(page, number))
		return true;
	if (code == ERR_OK)
		code = err_set(&err, ERR_CORRUPT, 0, "page %" PRIu64 " is damaged", number);
	mark(code == ERR_CORRUPT ? &run->damaged : &run->failed, run, &err);
	return false;
}

bool index_run_find(struct index_run *run, const struct chunk_id *id, struct chunk_location *ret)
{
	if (__atomic_load_n(&run->failed, __ATOMIC_RELAXED) ||
	    !index_run_filter_has(run->filter, run->header.filter_length, id->bytes))
		return false;
	uint64_t home = index_run_home_page(id->bytes, run->header.home_pages);
	uint64_t end = min_u64(home + INDEX_RUN_SPILL_MAX, run->header.pages);
	for (uint64_t number = home; number < end; number++) {
		uint8_t page[INDEX_RUN_PAGE_SIZE];
		bool more = false;
		if (!read_page(run, number, page))
			return false;
		if (index_run_page_find(page, id->bytes, ret, &more))
			return true;
		if (!more)
			return false;
	}
	return false;
}

struct index_run_cursor {
	struct index_run *run;
	uint64_t next_page;  /* first page behind the buffer */
	unsigned page_count; /* pages in the buffer */
	unsigned page;       /* the current one */
	unsigned entry;      /* the next one in it */
	bool started;        /* last[] is set */
	uint8_t last[INDEX_RUN_PREFIX_SIZE];
	uint8_t pages[CURSOR_PAGES][INDEX_RUN_PAGE_SIZE];
};

enum err_code index_run_cursor_new(struct index_run *run, struct index_run_cursor **ret, struct err *err)
{
	struct index_run_cursor *cursor = malloc(sizeof(*cursor));
	if (!cursor)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read an index run");
	cursor->run = run;
	cursor->next_page = 0;
	cursor->page_count = cursor->page = cursor->entry = 0;
	cursor->started = false;
	*ret = cursor;
	return ERR_OK;
}

void index_run_cursor_free(struct index_run_cursor *cursor)
{
	free(cursor);
}

static enum err_code run_damaged(struct index_run *run, uint64_t page, const char *how, struct err *err)
{
	__atomic_store_n(&run->damaged, true, __ATOMIC_RELAXED);
	return err_set(err, ERR_CORRUPT, 0, "index run %08" PRIu32 ": page %" PRIu64 " is %s", run->number, page, how);
}

/* Reads the next pages into the buffer. */
static enum err_code fill(struct index_run_cursor *cursor, struct err *err)
{
	struct index_run *run = cursor->run;
	unsigned count = (unsigned)min_u64(CURSOR_PAGES, run->header.pages - cursor->next_page);
	enum err_code code = io_read_exact(run->file, INDEX_RUN_PAGE_SIZE * (1 + cursor->next_page), cursor->pages,
					   (size_t)count * INDEX_RUN_PAGE_SIZE, err);
	if (code != ERR_OK) {
		__atomic_store_n(&run->damaged, true, __ATOMIC_RELAXED);
		return code;
	}
	for (unsigned i = 0; i < count; i++)
		if (!index_run_page_is_valid(cursor->pages[i], cursor->next_page + i))
			return run_damaged(run, cursor->next_page + i, "damaged", err);
	cursor->next_page += count;
	cursor->page_count = count;
	cursor->page = cursor->entry = 0;
	return ERR_OK;
}

enum err_code index_run_cursor_next(struct index_run_cursor *cursor, struct index_run_entry *ret, bool *ret_end,
				    struct err *err)
{
	for (;;) {
		if (cursor->page == cursor->page_count) {
			*ret_end = cursor->next_page == cursor->run->header.pages;
			if (*ret_end)
				return ERR_OK;
			TRY(fill(cursor, err));
		}
		if (cursor->entry < index_run_page_count(cursor->pages[cursor->page]))
			break;
		cursor->page++;
		cursor->entry = 0;
	}
	struct index_run_entry entry = index_run_entry_get(cursor->pages[cursor->page], cursor->entry++);
	if (cursor->started && memcmp(cursor->last, entry.prefix, sizeof(entry.prefix)) >= 0)
		return run_damaged(cursor->run, cursor->next_page - cursor->page_count + cursor->page, "out of order",
				   err);
	memcpy(cursor->last, entry.prefix, sizeof(entry.prefix));
	cursor->started = true;
	*ret = entry;
	*ret_end = false;
	return ERR_OK;
}
