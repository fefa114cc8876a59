/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/leaf_queue.h"

#include "base/cleanup.h"

void leaf_signal_init(struct leaf_signal *signal)
{
	pthread_mutex_init(&signal->mutex, NULL);
	pthread_cond_init(&signal->changed, NULL);
}

void leaf_signal_release(struct leaf_signal *signal)
{
	pthread_mutex_destroy(&signal->mutex);
	pthread_cond_destroy(&signal->changed);
}

enum err_code leaf_queue_init(struct leaf_queue *queue, struct leaf_signal *signal, size_t window, struct err *err)
{
	*queue = (struct leaf_queue){.signal = signal, .window = window};
	queue->ring = calloc(window, sizeof(*queue->ring));
	if (!queue->ring)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a queue of leaves");
	return ERR_OK;
}

void leaf_queue_release(struct leaf_queue *queue)
{
	free(queue->ring);
	queue->ring = NULL;
}

bool leaf_queue_put(struct leaf_queue *queue, uint64_t sequence, uint64_t leaf, const struct map_node *node)
{
	LOCK_SCOPE(&queue->signal->mutex);
	while (!queue->closed && sequence >= queue->next + queue->window)
		pthread_cond_wait(&queue->signal->changed, &queue->signal->mutex);
	if (queue->closed)
		return false;
	struct leaf_result *place = &queue->ring[sequence % queue->window];
	place->leaf = leaf;
	place->node = *node;
	place->present = true;
	if (sequence == queue->next)
		pthread_cond_broadcast(&queue->signal->changed);
	return true;
}

bool leaf_queue_take(struct leaf_queue *queue, uint64_t *ret_leaf, struct map_node *ret_node)
{
	LOCK_SCOPE(&queue->signal->mutex);
	struct leaf_result *place = &queue->ring[queue->next % queue->window];
	if (!place->present)
		return false;
	*ret_leaf = place->leaf;
	*ret_node = place->node;
	place->present = false;
	queue->next++;
	pthread_cond_broadcast(&queue->signal->changed);
	return true;
}

void leaf_queue_close(struct leaf_queue *queue)
{
	LOCK_SCOPE(&queue->signal->mutex);
	queue->closed = true;
	pthread_cond_broadcast(&queue->signal->changed);
}
