/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/block_target.h"

#include <stdio.h>
#include <stdlib.h>

static void null_writer_submit(struct block_writer *writer, struct block_write *write)
{
	(void)writer;
	write->err = (struct err){0};
	write->done = true;
}

static enum err_code null_writer_zero(struct block_writer *writer, uint64_t offset, uint64_t length, struct err *err)
{
	(void)writer;
	(void)offset;
	(void)length;
	(void)err;
	return ERR_OK;
}

static enum err_code null_writer_wait(struct block_writer *writer, struct err *err)
{
	(void)writer;
	(void)err;
	return ERR_OK;
}

static void null_writer_close(struct block_writer *writer)
{
	free(writer);
}

static const struct block_writer_ops null_writer_ops = {
	.submit = null_writer_submit,
	.zero = null_writer_zero,
	.wait = null_writer_wait,
	.close = null_writer_close,
};

static enum err_code null_writer_open(struct block_target *target, struct io_queue *queue, unsigned depth,
				      struct block_writer **ret, struct err *err)
{
	(void)queue;
	(void)depth;
	struct block_writer *writer = calloc(1, sizeof(*writer));
	if (!writer)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a writer of disk '%s'", target->name);
	writer->ops = &null_writer_ops;
	*ret = writer;
	return ERR_OK;
}

static enum err_code null_target_finish(struct block_target *target, struct err *err)
{
	(void)target;
	(void)err;
	return ERR_OK;
}

static void null_target_close(struct block_target *target)
{
	free(target);
}

static const struct block_target_ops null_target_ops = {
	.format = "null",
	.writer_open = null_writer_open,
	.finish = null_target_finish,
	.close = null_target_close,
};

enum err_code null_target_new(const char *name, uint64_t size_bytes, struct block_target **ret, struct err *err)
{
	struct block_target *target = calloc(1, sizeof(*target));
	if (!target)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for disk '%s'", name);
	target->ops = &null_target_ops;
	snprintf(target->name, sizeof(target->name), "%s", name);
	target->size_bytes = size_bytes;
	*ret = target;
	return ERR_OK;
}
