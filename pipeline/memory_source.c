/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/block_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct memory_source {
	struct block_source base;
	const uint8_t *data;
};

struct memory_reader {
	struct block_reader base;
	const struct memory_source *source;
};

static void memory_reader_submit(struct block_reader *reader, struct block_read *read)
{
	const struct memory_source *source = ((struct memory_reader *)reader)->source;
	uint64_t size = source->base.size_bytes;
	read->err = (struct err){0};
	if (read->length > SOURCE_READ_MAX || read->offset > size || read->length > size - read->offset)
		err_set(&read->err, ERR_BUG, 0, "read past the end of disk '%s'", source->base.name);
	else
		memcpy(read->data, source->data + read->offset, read->length);
	read->done = true;
}

static enum err_code memory_reader_wait(struct block_reader *reader, struct err *err)
{
	(void)reader;
	(void)err;
	return ERR_OK;
}

static void memory_reader_close(struct block_reader *reader)
{
	free(reader);
}

static const struct block_reader_ops memory_reader_ops = {
	.submit = memory_reader_submit,
	.wait = memory_reader_wait,
	.close = memory_reader_close,
};

static enum err_code memory_reader_open(struct block_source *source, struct io_queue *queue, unsigned depth,
					struct block_reader **ret, struct err *err)
{
	(void)queue;
	(void)depth;
	struct memory_reader *reader = calloc(1, sizeof(*reader));
	if (!reader)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a reader of disk '%s'", source->name);
	reader->base.ops = &memory_reader_ops;
	reader->source = (const struct memory_source *)source;
	*ret = &reader->base;
	return ERR_OK;
}

static void memory_source_close(struct block_source *source)
{
	free(source);
}

static const struct block_source_ops memory_source_ops = {
	.format = "memory",
	.reader_open = memory_reader_open,
	.close = memory_source_close,
};

enum err_code memory_source_new(const char *name, const void *data, uint64_t size_bytes, struct block_source **ret,
				struct err *err)
{
	if (size_bytes == 0)
		return err_set(err, ERR_INVALID, 0, "disk '%s' is empty", name);
	struct memory_source *source = calloc(1, sizeof(*source));
	if (!source)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for disk '%s'", name);
	source->base.ops = &memory_source_ops;
	snprintf(source->base.name, sizeof(source->base.name), "%s", name);
	source->base.size_bytes = size_bytes;
	source->base.data_bytes_hint = size_bytes;
	source->data = data;
	*ret = &source->base;
	return ERR_OK;
}
