/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/file_writer.h"

#include <stdlib.h>

struct file_writer {
	struct block_writer base;
	struct transfer *transfer;
	file_zero_fn zero;
	void *user;
};

static void writer_submit(struct block_writer *base, struct block_write *write)
{
	struct file_writer *writer = (struct file_writer *)base;
	/* The queue takes one kind of pointer for both directions; a write only reads from it. */
	uint8_t *data = (uint8_t *)(uintptr_t)write->data;
	transfer_submit(writer->transfer, write->offset, write->length, data, &write->done, &write->err);
}

static enum err_code writer_zero(struct block_writer *base, uint64_t offset, uint64_t length, struct err *err)
{
	struct file_writer *writer = (struct file_writer *)base;
	return writer->zero ? writer->zero(writer->user, offset, length, err) : ERR_OK;
}

static enum err_code writer_wait(struct block_writer *base, struct err *err)
{
	return transfer_wait(((struct file_writer *)base)->transfer, err);
}

static void writer_close(struct block_writer *base)
{
	transfer_free(((struct file_writer *)base)->transfer);
	free(base);
}

static const struct block_writer_ops file_writer_ops = {
	.submit = writer_submit,
	.zero = writer_zero,
	.wait = writer_wait,
	.close = writer_close,
};

enum err_code file_writer_open(transfer_next_fn next, file_zero_fn zero, void *user, struct io_queue *queue,
			       unsigned depth, struct block_writer **ret, struct err *err)
{
	struct file_writer *writer = calloc(1, sizeof(*writer));
	if (!writer)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a writer");
	writer->base.ops = &file_writer_ops;
	writer->zero = zero;
	writer->user = user;
	enum err_code code = transfer_new(queue, IO_OP_WRITE, depth, next, user, &writer->transfer, err);
	if (code != ERR_OK) {
		free(writer);
		return code;
	}
	*ret = &writer->base;
	return ERR_OK;
}
