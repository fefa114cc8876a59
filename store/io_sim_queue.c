/* SPDX-License-Identifier: Apache-2.0 */
#include "store/io_sim_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

static struct sim_queue *queue_of(struct io_queue *queue)
{
	return (struct sim_queue *)queue;
}

enum err_code sim_queue_new(struct io *io, unsigned depth, void *arena, size_t arena_length, struct io_queue **ret,
			    struct err *err)
{
	(void)arena;
	(void)arena_length;
	struct sim *sim = sim_of(io);
	struct sim_queue *queue = calloc(1, sizeof(*queue) + depth * sizeof(queue->slots[0]));
	if (!queue)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a queue of the simulated disk");
	queue->base.ops = &sim_ops;
	queue->base.depth = depth;
	queue->sim = sim;
	LOCK_SCOPE(&sim->lock);
	queue->random = sim_random(&sim->random);
	queue->next = sim->queues;
	sim->queues = queue;
	*ret = &queue->base;
	return ERR_OK;
}

void sim_queue_submit(struct io_queue *base, struct io_op *op)
{
	struct sim_queue *queue = queue_of(base);
	LOCK_SCOPE(&queue->sim->lock);
	queue->slots[base->in_flight++] = (struct sim_slot){.op = op, .sequence = queue->sim->sequence};
}

static int64_t carry_out(const struct sim_slot *slot)
{
	struct io_op *op = slot->op;
	struct sim_file *file = sim_file_of(op->file);
	if (op->kind == IO_OP_SYNC)
		return sim_sync(file, slot->sequence);
	if ((op->offset | op->length | (uintptr_t)op->data) & (op->file->align - 1))
		return -EINVAL;
	if (op->kind == IO_OP_READ)
		return sim_read(file, op->offset, op->data, op->length);
	return sim_write(file, op->offset, op->data, op->length);
}

/* Carries out one op, any of those in the queue, and completes it. */
static void complete_one(struct sim_queue *queue)
{
	pthread_mutex_lock(&queue->sim->lock);
	unsigned chosen = (unsigned)sim_random_below(&queue->random, queue->base.in_flight);
	struct sim_slot slot = queue->slots[chosen];
	queue->slots[chosen] = queue->slots[--queue->base.in_flight];
	slot.op->result = carry_out(&slot);
	pthread_mutex_unlock(&queue->sim->lock);
	slot.op->complete(slot.op);
}

enum err_code sim_queue_wait(struct io_queue *base, unsigned min, struct err *err)
{
	(void)err;
	struct sim_queue *queue = queue_of(base);
	/* As on a real disk, more than asked for may have completed. */
	uint64_t count = sim_random_below(&queue->random, (uint64_t)base->in_flight + 1);
	if (count < min)
		count = min;
	for (; count > 0 && base->in_flight > 0; count--)
		complete_one(queue);
	return ERR_OK;
}

void sim_queue_free(struct io_queue *base)
{
	struct sim_queue *queue = queue_of(base);
	struct sim *sim = queue->sim;
	while (base->in_flight > 0)
		complete_one(queue);
	{
		LOCK_SCOPE(&sim->lock);
		struct sim_queue **link = &sim->queues;
		while (*link != queue)
			link = &(*link)->next;
		*link = queue->next;
	}
	free(queue);
}
