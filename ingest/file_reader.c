/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/file_reader.h"

#include "ingest/file_transfer.h"

#include <stdlib.h>

struct file_reader {
	struct block_reader base;
	struct transfer *transfer;
	file_map_fn map;
	void *user;
};

static enum err_code reader_next(void *user, uint64_t offset, uint32_t length, const uint8_t *data,
				 struct transfer_step *ret, struct err *err)
{
	struct file_reader *reader = user;
	struct file_piece piece;
	TRY(reader->map(reader->user, offset, length, &piece, err));
	ret->length = piece.length < length ? (uint32_t)piece.length : length;
	ret->offset = piece.offset;
	if (piece.file)
		ret->file = source_file_handle(piece.file, piece.offset, data, &ret->length);
	return ERR_OK;
}

static void reader_submit(struct block_reader *base, struct block_read *read)
{
	struct file_reader *reader = (struct file_reader *)base;
	transfer_submit(reader->transfer, read->offset, read->length, read->data, &read->done, &read->err);
}

static enum err_code reader_wait(struct block_reader *base, struct err *err)
{
	return transfer_wait(((struct file_reader *)base)->transfer, err);
}

static void reader_close(struct block_reader *base)
{
	transfer_free(((struct file_reader *)base)->transfer);
	free(base);
}

static const struct block_reader_ops file_reader_ops = {
	.submit = reader_submit,
	.wait = reader_wait,
	.close = reader_close,
};

enum err_code file_reader_open(file_map_fn map, void *user, struct io_queue *queue, unsigned depth,
			       struct block_reader **ret, struct err *err)
{
	struct file_reader *reader = calloc(1, sizeof(*reader));
	if (!reader)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a reader");
	reader->base.ops = &file_reader_ops;
	reader->map = map;
	reader->user = user;
	enum err_code code = transfer_new(queue, IO_OP_READ, depth, reader_next, reader, &reader->transfer, err);
	if (code != ERR_OK) {
		free(reader);
		return code;
	}
	*ret = &reader->base;
	return ERR_OK;
}
