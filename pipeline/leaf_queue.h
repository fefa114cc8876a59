/* SPDX-License-Identifier: Apache-2.0 */
/* Finished leaves of one disk, from many lanes to one consumer, put back into the order in which they were claimed.
 *
 * A ring of `window` places; the leaf with claim number n has place n % window. A lane whose leaf is more than the
 * window ahead of the consumer waits. It cannot wait for ever: the lane that holds the oldest leaf never waits.
 *
 * Threads: many lanes put, one takes. */
#ifndef PIPELINE_LEAF_QUEUE_H
#define PIPELINE_LEAF_QUEUE_H

#include "base/err.h"
#include "store/disk_map.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct leaf_result {
	bool present; /* the place is taken */
	uint64_t leaf;
	struct map_node node;
};

/* Wakes the consumer of all queues of a job. */
struct leaf_signal {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
};

struct leaf_queue {
	struct leaf_signal *signal; /* its mutex guards everything here */
	struct leaf_result *ring;
	size_t window;
	uint64_t next; /* claim number that the consumer waits for */
	bool closed;
};

void leaf_signal_init(struct leaf_signal *signal);
void leaf_signal_release(struct leaf_signal *signal);

MUST_CHECK enum err_code leaf_queue_init(struct leaf_queue *queue, struct leaf_signal *signal, size_t window,
					 struct err *err);
void leaf_queue_release(struct leaf_queue *queue);

/* Puts the result of claim `sequence`; waits while it is too far ahead. False if the queue was closed: the result is
 * dropped. */
bool leaf_queue_put(struct leaf_queue *queue, uint64_t sequence, uint64_t leaf, const struct map_node *node);

/* Takes the next result in order if it is there. */
bool leaf_queue_take(struct leaf_queue *queue, uint64_t *ret_leaf, struct map_node *ret_node);

/* Lets all waiting lanes go: the job has failed. */
void leaf_queue_close(struct leaf_queue *queue);

#endif
