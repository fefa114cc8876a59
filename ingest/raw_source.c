/* SPDX-License-Identifier: Apache-2.0 */
/* A raw disk image or a block device. Holes come from the file system (SEEK_DATA, SEEK_HOLE); a file system or device
 * that does not tell is read whole. */
#include "ingest/formats.h"

#include "base/cleanup.h"
#include "ingest/file_reader.h"
#include "ingest/source_file.h"

#include <stdlib.h>

struct raw_source {
	struct block_source base;
	struct source_file *file;
};

static enum err_code raw_extent(struct block_source *base, uint64_t offset, struct block_extent *ret, struct err *err)
{
	return source_file_extent(((struct raw_source *)base)->file, offset, ret, err);
}

static enum err_code raw_map(void *user, uint64_t offset, uint64_t length, struct file_piece *ret, struct err *err)
{
	struct raw_source *source = user;
	(void)err;
	*ret = (struct file_piece){.file = source->file, .offset = offset, .length = length};
	return ERR_OK;
}

static enum err_code raw_reader_open(struct block_source *base, struct io_queue *queue, unsigned depth,
				     struct block_reader **ret, struct err *err)
{
	return file_reader_open(raw_map, base, queue, depth, ret, err);
}

static enum err_code raw_finish(struct block_source *base, struct err *err)
{
	struct raw_source *source = (struct raw_source *)base;
	bool touched = false;
	TRY(source_file_check(source->file, &touched, err));
	if (touched)
		source_notice(base, "'%s' was written to while it was read", source_file_path(source->file));
	return ERR_OK;
}

static void raw_close(struct block_source *base)
{
	struct raw_source *source = (struct raw_source *)base;
	source_file_close(source->file);
	free(source);
}

static const struct block_source_ops raw_source_ops = {
	.format = "raw",
	.extent = raw_extent,
	.reader_open = raw_reader_open,
	.finish = raw_finish,
	.close = raw_close,
};

DEFINE_CLEANUP(source, struct block_source, block_source_close)

enum err_code raw_source_open(const char *path, struct source_set *ret, struct err *err)
{
	struct raw_source *source = calloc(1, sizeof(*source));
	if (!source)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", path);
	AUTO(cleanup_source) struct block_source *base = &source->base;
	base->ops = &raw_source_ops;
	TRY(source_file_open(path, &source->file, err));
	if (source->file->size_bytes == 0)
		return err_set(err, ERR_INVALID, 0, "'%s' is empty: there is no disk in it", path);
	source_set_name(base, path);
	base->size_bytes = source->file->size_bytes;
	TRY(source_file_count_data(source->file, base->size_bytes, &base->data_bytes_hint, err));
	source_notice_buffered(base, source->file);
	TRY(source_set_of_one(base, ret, err));
	base = NULL;
	return ERR_OK;
}
