/* SPDX-License-Identifier: Apache-2.0 */
/* What the sources of a backup share.
 *
 *   backup.c        the job: starts lanes, builds the disk maps from their leaves, commits
 *   backup_claim.c  who works on which leaf: the cursors over disks
 *   backup_lane.c   one lane: reads ahead, takes finished reads in order
 *   backup_group.c  up to eight blocks: hash, compare, look up, store
 *   leaf_queue.c    finished leaves from the lanes to the job's thread, in order
 */
#ifndef PIPELINE_BACKUP_INTERNAL_H
#define PIPELINE_BACKUP_INTERNAL_H

#include "pipeline/arena.h"
#include "pipeline/backup.h"
#include "pipeline/leaf_queue.h"

#include <pthread.h>
#include <stdatomic.h>

/* Reads of 1 MiB in flight per lane. One leaf's worth: a stream fills them all at once, and on random access eight keep
 * the measured disk at its full rate. */
#define READ_SLOTS SOURCE_LEAF_BUFFERS
#define SLOT_BLOCKS (SOURCE_READ_MAX / BLOCK_SIZE)

/* A disk of the job, or a document in memory that is stored like one. */
struct job_disk {
	struct block_source *source;
	bool is_document;
	bool has_base;
	struct disk_map base;
	uint64_t leaf_count;

	pthread_mutex_t mutex; /* guards the cursor below (and read_next of a stream) */
	uint64_t next_leaf;
	uint64_t next_claim; /* sequence number of the next leaf handed out */
	bool exhausted;
	struct block_extent extent; /* the last one asked */
	bool extent_set;

	struct leaf_queue leaves;
	struct disk_map_builder *builder;

	_Atomic uint64_t read_bytes; /* relaxed sums of all lanes */
	_Atomic uint64_t data_bytes;
	_Atomic uint64_t changed_bytes;
	_Atomic uint64_t new_bytes;
	_Atomic uint64_t stored_bytes;
};

struct backup_job {
	struct store *store;
	struct store_txn *txn;
	struct node_store read_nodes;  /* of committed savesets, for the lanes */
	struct node_store write_nodes; /* of the transaction, for the job's thread */
	const struct backup_request *request;
	struct job_disk *disks;
	size_t disk_count;
	unsigned lane_count;
	atomic_bool stop; /* relaxed: a lane that sees it late does a little more work */
	_Atomic unsigned next_disk;
	struct leaf_signal signal;
	unsigned lanes_running; /* guarded by signal.mutex */

	pthread_mutex_t mutex; /* guards err and the rate limit */
	struct err err;        /* the first error of any lane */
	uint64_t limit_next_ns;
};

/* Remembers the first error and stops all lanes. */
void job_fail(struct backup_job *job, const struct err *err);
bool job_stopped(struct backup_job *job);

/* Called by a lane's thread as its last act on the job. */
void job_lane_ended(struct backup_job *job);

/* ---- Claims ---- */

/* One leaf of one disk, handed to a lane. */
struct leaf_work {
	struct job_disk *disk;
	uint64_t leaf;
	uint64_t sequence;   /* of the disk's claims */
	uint8_t needed[16];  /* bit per block: must be read (random access) or was delivered (stream) */
	unsigned next_slot;  /* of the leaf's 1 MiB parts: the next to be issued */
	unsigned slots_left; /* issued and not yet worked off */
	bool all_issued;
	bool base_loaded;
	bool has_base_leaf;
	struct map_node base_leaf;
	struct map_node node; /* the result */
};

/* Claims a leaf. For a stream, its data is read into `buffers` (all free) before the call returns; *ret_streamed is
 * then true. With `buffers` NULL streams are not considered (*ret_stream_waits says that there is one). *ret_claimed is
 * false if nothing is left. */
enum err_code job_claim(struct backup_job *job, unsigned lane, uint8_t *const buffers[], struct leaf_work *ret,
			bool *ret_claimed, bool *ret_streamed, bool *ret_stream_waits, struct err *err);

/* ---- Lanes ---- */

enum slot_state {
	SLOT_FREE,
	SLOT_READING,
	SLOT_FILLED,
	SLOT_WORKED, /* its blocks are stored, or wait in the group */
};

struct read_slot {
	struct block_read read;
	uint8_t *buffer;
	enum slot_state state;
	struct leaf_work *work;
	unsigned part; /* which 1 MiB of the leaf */
	unsigned refs; /* blocks of it that wait in the group */
};

/* A block that waits for its group to be full. */
struct pending_block {
	struct read_slot *slot;
	const uint8_t *data;
	unsigned index; /* in the leaf */
};

struct lane {
	struct backup_job *job;
	unsigned number;
	pthread_t thread;
	struct arena arena;
	struct io_queue *queue; /* of the store; sources in real files use it too */
	struct segment_writer *writer;
	struct block_reader **readers;      /* per disk, opened when first needed */
	struct disk_map_reader **base_maps; /* likewise */

	struct read_slot slots[READ_SLOTS];
	unsigned head;  /* the oldest slot that is not free */
	unsigned count; /* slots that are not free, from head on */
	struct leaf_work works[2];
	unsigned work_issuing; /* index of the leaf whose reads are being issued */
	unsigned work_count;   /* leaves in progress: 0, 1 or 2 */
	bool drained;          /* nothing is left to claim */

	struct pending_block group[CHUNK_HASH_LANES];
	unsigned group_count;
	struct store_guess guess; /* where the last known block was */

	int level;              /* zstd level of compression AUTO */
	uint64_t level_wait_ns; /* read-wait at the last decision */
	uint64_t level_start_ns;
	struct stage_times times;
};

enum err_code lane_init(struct lane *lane, struct backup_job *job, unsigned number, struct err *err);
void *lane_main(void *lane);
void lane_release(struct lane *lane);

/* Adds a block to the group and works the group off when it is full. */
enum err_code lane_add_block(struct lane *lane, struct read_slot *slot, const uint8_t *data, unsigned index,
			     struct err *err);
enum err_code lane_flush_group(struct lane *lane, struct err *err);

#endif
