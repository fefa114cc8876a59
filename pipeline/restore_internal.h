/* SPDX-License-Identifier: Apache-2.0 */
/* What the sources of a restore share.
 *
 *   restore.c        the job: lanes, claims, the document reader
 *   restore_lane.c   one lane: plans a leaf, reads records ahead in segment order, opens them, writes blocks
 *   damage_list.c    what was lost
 */
#ifndef PIPELINE_RESTORE_INTERNAL_H
#define PIPELINE_RESTORE_INTERNAL_H

#include "pipeline/arena.h"
#include "pipeline/restore.h"

#include <pthread.h>
#include <stdatomic.h>

/* Adds blocks to the list; beyond the maximum only the count goes on. */
void damage_list_add(struct damage_list *list, uint64_t first_block, uint64_t count, const char *reason);
/* Sorts and merges. */
void damage_list_finish(struct damage_list *list);

struct restore_job {
	struct store *store;
	struct node_store nodes;
	const struct restore_request *request;
	unsigned lane_count;
	atomic_bool stop; /* relaxed */

	pthread_mutex_t mutex; /* guards everything below */
	pthread_cond_t turn_changed;
	struct disk_map_reader *reader;
	uint64_t next_leaf;
	uint64_t zero_from; /* disk bytes before this one were handed out */
	uint64_t next_claim;
	uint64_t turn; /* of an ordered target: the claim that may write now */
	struct err err;
	struct damage_list *damage;
};

/* A leaf handed to a lane, and the holes before it. */
struct restore_claim {
	uint64_t sequence;
	uint64_t leaf;
	struct map_node node;
	bool has_leaf; /* false: only the zeroes at the end of the disk */
	uint64_t zero_offset;
	uint64_t zero_length;
};

/* *ret_claimed is false when the disk is done. */
enum err_code restore_claim(struct restore_job *job, struct restore_claim *ret, bool *ret_claimed, struct err *err);

void restore_fail(struct restore_job *job, const struct err *err);
bool restore_stopped(struct restore_job *job);

/* Waits until the claim may write to an ordered target; false if the job stopped. */
bool restore_await_turn(struct restore_job *job, uint64_t sequence);
void restore_pass_turn(struct restore_job *job);

/* A block that cannot be had: ERR_OK if the job goes on without it, else the error that ends it. */
enum err_code restore_lose_block(struct restore_job *job, uint64_t block, const struct err *why, struct err *err);

struct restore_lane;
size_t restore_lane_size(void);
void *restore_lane_main(void *lane);
enum err_code restore_lane_init(struct restore_lane *lane, struct restore_job *job, struct err *err);
void restore_lane_release(struct restore_lane *lane, struct stage_times *times);

#endif
