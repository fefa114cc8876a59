/* SPDX-License-Identifier: Apache-2.0 */
/* Index run files and manifests. The input is a whole file; its checksums are made to fit first, since the fuzzer would
 * not get past them and a forger would. Needs no real disk: the file is the input. */
#include "store/chunk_index_internal.h"
#include "store/index_run.h"

#include "base/endian.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The tree with one file. */
struct fuzz_io {
	struct io io;
	uint8_t *data;
	size_t size;
};

struct fuzz_file {
	struct io_file file;
	struct fuzz_io *io;
	char path[8];
};

static void close_file(struct io_file *file)
{
	free(file);
}

static enum err_code size_of(struct io_file *file, uint64_t *ret_bytes, struct err *err)
{
	(void)err;
	*ret_bytes = ((struct fuzz_file *)file)->io->size;
	return ERR_OK;
}

static enum err_code read_bytes(struct io_file *file, uint64_t offset, void *data, size_t length, size_t *ret_got,
				struct err *err)
{
	(void)err;
	const struct fuzz_io *io = ((struct fuzz_file *)file)->io;
	*ret_got = offset < io->size ? (size_t)min_u64(length, io->size - offset) : 0;
	if (*ret_got)
		memcpy(data, io->data + offset, *ret_got);
	return ERR_OK;
}

static enum err_code open_file(struct io *io, const char *path, unsigned flags, struct io_file **ret, struct err *err);

static const struct io_ops fuzz_ops = {.open = open_file, .close = close_file, .size = size_of, .read = read_bytes};

static enum err_code open_file(struct io *io, const char *path, unsigned flags, struct io_file **ret, struct err *err)
{
	(void)path;
	(void)flags;
	struct fuzz_file *file = calloc(1, sizeof(*file));
	if (!file)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory");
	memcpy(file->path, "input", 6);
	file->file = (struct io_file){.ops = &fuzz_ops, .path = file->path, .align = 1};
	file->io = (struct fuzz_io *)io;
	*ret = &file->file;
	return ERR_OK;
}

/* Makes the checksums of filter, pages and header right, as far as the header's sizes make sense. */
static void forge(struct fuzz_io *io)
{
	uint64_t filter = le64_get(io->data + 48), length = le64_get(io->data + 56);
	if (filter <= io->size && length <= io->size - filter)
		le64_put(io->data + 64, XXH3_64bits(io->data + filter, (size_t)length));
	for (uint64_t page = 0; (page + 2) * INDEX_RUN_PAGE_SIZE <= min_u64(filter, io->size); page++)
		index_run_page_seal(io->data + (page + 1) * INDEX_RUN_PAGE_SIZE, page);
	le64_put(io->data + 4088, XXH3_64bits(io->data, 4088));
}

static void use_run(struct fuzz_io *io)
{
	struct index_run *run = NULL;
	if (index_run_open(&io->io, 1, &run, NULL) != ERR_OK)
		return;
	for (size_t at = 0; at + 32 <= io->size && at < 64 * 509; at += 509) {
		struct chunk_id id;
		struct chunk_location location;
		memcpy(id.bytes, io->data + at, sizeof(id.bytes));
		index_run_prefetch(run, &id);
		(void)index_run_find(run, &id, &location);
	}
	struct index_run_cursor *cursor = NULL;
	struct index_run_entry entry;
	bool end = false;
	if (index_run_cursor_new(run, &cursor, NULL) == ERR_OK)
		while (!end && index_run_cursor_next(cursor, &entry, &end, NULL) == ERR_OK)
			;
	index_run_cursor_free(cursor);
	index_run_close(run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_io io = {.io = {.ops = &fuzz_ops}, .data = malloc(size + 1), .size = size};
	if (!io.data)
		return 0;
	memcpy(io.data, data, size);
	if (size >= 8 && size < INDEX_RUN_PAGE_SIZE) {
		struct index_manifest manifest;
		le64_put(io.data + size - 8, XXH3_64bits(io.data, size - 8));
		(void)!index_manifest_decode(io.data, size, &manifest, NULL);
	} else if (size >= INDEX_RUN_PAGE_SIZE) {
		forge(&io);
		use_run(&io);
	}
	free(io.data);
	return 0;
}
