/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/block_target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct memory_target {
	struct block_target base;
	uint8_t *data;
};

struct memory_writer {
	struct block_writer base;
	struct memory_target *target;
};

static enum err_code check_range(const struct memory_target *target, uint64_t offset, uint64_t length, struct err *err)
{
	uint64_t size = target->base.size_bytes;
	if (offset > size || length > size - offset)
		return err_set(err, ERR_BUG, 0, "write past the end of disk '%s'", target->base.name);
	return ERR_OK;
}

static void memory_writer_submit(struct block_writer *writer, struct block_write *write)
{
	struct memory_target *target = ((struct memory_writer *)writer)->target;
	write->err = (struct err){0};
	if (check_range(target, write->offset, write->length, &write->err) == ERR_OK)
		memcpy(target->data + write->offset, write->data, write->length);
	write->done = true;
}

static enum err_code memory_writer_zero(struct block_writer *writer, uint64_t offset, uint64_t length, struct err *err)
{
	struct memory_target *target = ((struct memory_writer *)writer)->target;
	TRY(check_range(target, offset, length, err));
	memset(target->data + offset, 0, (size_t)length);
	return ERR_OK;
}

static enum err_code memory_writer_wait(struct block_writer *writer, struct err *err)
{
	(void)writer;
	(void)err;
	return ERR_OK;
}

static void memory_writer_close(struct block_writer *writer)
{
	free(writer);
}

static const struct block_writer_ops memory_writer_ops = {
	.submit = memory_writer_submit,
	.zero = memory_writer_zero,
	.wait = memory_writer_wait,
	.close = memory_writer_close,
};

static enum err_code memory_writer_open(struct block_target *target, struct io_queue *queue, unsigned depth,
					struct block_writer **ret, struct err *err)
{
	(void)queue;
	(void)depth;
	struct memory_writer *writer = calloc(1, sizeof(*writer));
	if (!writer)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a writer of disk '%s'", target->name);
	writer->base.ops = &memory_writer_ops;
	writer->target = (struct memory_target *)target;
	*ret = &writer->base;
	return ERR_OK;
}

static enum err_code memory_target_finish(struct block_target *target, struct err *err)
{
	(void)target;
	(void)err;
	return ERR_OK;
}

static void memory_target_close(struct block_target *target)
{
	free(target);
}

static const struct block_target_ops memory_target_ops = {
	.format = "memory",
	.writer_open = memory_writer_open,
	.finish = memory_target_finish,
	.close = memory_target_close,
};

enum err_code memory_target_new(const char *name, void *data, uint64_t size_bytes, struct block_target **ret,
				struct err *err)
{
	struct memory_target *target = calloc(1, sizeof(*target));
	if (!target)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for disk '%s'", name);
	target->base.ops = &memory_target_ops;
	snprintf(target->base.name, sizeof(target->base.name), "%s", name);
	target->base.size_bytes = size_bytes;
	target->data = data;
	*ret = &target->base;
	return ERR_OK;
}
