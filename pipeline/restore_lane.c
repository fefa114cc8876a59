/* SPDX-License-Identifier: Apache-2.0 */
/* One lane of a restore. Three leaves are in progress: the records of one are being read ahead, those of another are
 * being opened, the blocks of the third are being written. Reads are worked off in the order in which they were
 * issued. */
#include "pipeline/restore_plan.h"

#include "base/clock.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>

enum {
	LEAVES = 3,
	FETCH_SLOTS = 6,
	RESTORE_QUEUE_DEPTH = 256,
	WRITES_MAX = DISK_MAP_FANOUT, /* every second block present: 64 runs; one more per 1 MiB */
};

enum leaf_state { LEAF_FREE, LEAF_FETCHING, LEAF_WRITING };

struct restore_leaf {
	enum leaf_state state;
	struct restore_claim claim;
	struct fetch_plan plan;
	unsigned next_run;  /* to be issued */
	unsigned runs_left; /* not yet opened */
	uint8_t *blocks;    /* DISK_MAP_LEAF_BYTES of plain blocks, each at its place */
	struct block_write writes[WRITES_MAX];
	unsigned write_count;
};

struct fetch_slot {
	struct io_op op;
	bool done;
	uint8_t *data;
	struct restore_leaf *leaf;
	const struct fetch_run *run;
};

/* A block that was opened and waits for its hash to be checked. */
struct opened_block {
	struct restore_leaf *leaf;
	const struct fetch_item *item;
};

struct restore_lane {
	struct restore_job *job;
	struct arena arena;
	struct io_queue *queue;
	struct block_writer *writer;
	struct record_opener *opener;
	struct restore_leaf leaves[LEAVES]; /* a ring, in claim order */
	unsigned leaf_head;
	unsigned leaf_count;
	struct fetch_slot slots[FETCH_SLOTS]; /* a ring, in order of issue */
	unsigned slot_head;
	unsigned slot_count;
	struct opened_block group[CHUNK_HASH_LANES];
	unsigned group_count;
	struct store_guess guess;
	bool drained;
	struct stage_times times;
};

size_t restore_lane_size(void)
{
	return sizeof(struct restore_lane);
}

enum err_code restore_lane_init(struct restore_lane *lane, struct restore_job *job, struct err *err)
{
	lane->job = job;
	size_t fetch_size = FETCH_MAX + IO_ALIGN;
	TRY(arena_init(&lane->arena, LEAVES * DISK_MAP_LEAF_BYTES + FETCH_SLOTS * fetch_size, err));
	for (unsigned i = 0; i < LEAVES; i++)
		lane->leaves[i].blocks = arena_take(&lane->arena, DISK_MAP_LEAF_BYTES);
	for (unsigned i = 0; i < FETCH_SLOTS; i++)
		lane->slots[i].data = arena_take(&lane->arena, fetch_size);
	return record_opener_new(&lane->opener, err);
}

void restore_lane_release(struct restore_lane *lane, struct stage_times *times)
{
	stage_times_add(times, &lane->times);
	for (unsigned i = 0; i < LEAVES; i++)
		fetch_plan_release(&lane->leaves[i].plan);
	store_guess_release(&lane->guess);
	record_opener_free(lane->opener);
	arena_release(&lane->arena);
}

/* ---- Fetching ---- */

static void fetched(struct io_op *op)
{
	struct fetch_slot *slot = op->user;
	slot->done = true;
}

static void issue_run(struct restore_lane *lane, struct restore_leaf *leaf)
{
	const struct fetch_run *run = &leaf->plan.runs[leaf->next_run++];
	struct fetch_slot *slot = &lane->slots[(lane->slot_head + lane->slot_count++) % FETCH_SLOTS];
	slot->done = false;
	slot->leaf = leaf;
	slot->run = run;
	slot->op = (struct io_op){
		.kind = IO_OP_READ,
		.file = segment_file(leaf->plan.items[run->first].segment),
		.offset = run->offset,
		.length = run->length,
		.data = slot->data,
		.complete = fetched,
		.user = slot,
	};
	uint64_t start = clock_mono_ns();
	io_queue_submit(lane->queue, &slot->op);
	lane->times.ns[STAGE_READ_SUBMIT] += clock_mono_ns() - start;
	lane->times.read_bytes += run->length;
}

/* The newest leaf still has runs to issue? */
static struct restore_leaf *leaf_to_issue(struct restore_lane *lane)
{
	for (unsigned i = 0; i < lane->leaf_count; i++) {
		struct restore_leaf *leaf = &lane->leaves[(lane->leaf_head + i) % LEAVES];
		if (leaf->state == LEAF_FETCHING && leaf->next_run < leaf->plan.run_count)
			return leaf;
	}
	return NULL;
}

static enum err_code claim_leaf(struct restore_lane *lane, struct err *err)
{
	struct restore_leaf *leaf = &lane->leaves[(lane->leaf_head + lane->leaf_count) % LEAVES];
	uint64_t start = clock_mono_ns();
	bool claimed;
	TRY(restore_claim(lane->job, &leaf->claim, &claimed, err));
	if (!claimed) {
		lane->drained = true;
		return ERR_OK;
	}
	lane->leaf_count++;
	leaf->state = LEAF_FETCHING;
	leaf->next_run = 0;
	leaf->write_count = 0;
	leaf->plan.item_count = 0;
	TRY(fetch_plan_make(&leaf->plan, lane->job, &leaf->claim, &lane->guess, err));
	leaf->runs_left = leaf->plan.run_count;
	lane->times.ns[STAGE_LOOKUP] += clock_mono_ns() - start;
	return ERR_OK;
}

static enum err_code issue_fetches(struct restore_lane *lane, struct err *err)
{
	while (lane->slot_count < FETCH_SLOTS) {
		struct restore_leaf *leaf = leaf_to_issue(lane);
		if (leaf) {
			issue_run(lane, leaf);
			continue;
		}
		if (lane->drained || lane->leaf_count == LEAVES)
			return ERR_OK;
		TRY(claim_leaf(lane, err));
	}
	return ERR_OK;
}

/* ---- Opening ---- */

static uint8_t *block_at(const struct restore_leaf *leaf, unsigned block)
{
	return leaf->blocks + (size_t)block * BLOCK_SIZE;
}

static enum err_code lose_block(struct restore_lane *lane, struct restore_leaf *leaf, unsigned block,
				const struct err *why, struct err *err)
{
	TRY(restore_lose_block(lane->job, leaf->claim.leaf * DISK_MAP_FANOUT + block, why, err));
	leaf->claim.node.present[block / 8] &= (uint8_t) ~(1u << (block % 8));
	return ERR_OK;
}

/* Compares the hashes of what was opened with the IDs in the map. */
static enum err_code check_group(struct restore_lane *lane, struct err *err)
{
	if (lane->group_count == 0)
		return ERR_OK;
	const uint8_t *blocks[CHUNK_HASH_LANES];
	struct chunk_id ids[CHUNK_HASH_LANES];
	for (unsigned i = 0; i < lane->group_count; i++)
		blocks[i] = block_at(lane->group[i].leaf, lane->group[i].item->block);
	uint64_t start = clock_mono_ns();
	chunk_hash_blocks(store_chunk_hasher(lane->job->store), blocks, lane->group_count, ids);
	lane->times.ns[STAGE_HASH] += clock_mono_ns() - start;
	lane->times.data_bytes += (uint64_t)lane->group_count * BLOCK_SIZE;
	unsigned count = lane->group_count;
	lane->group_count = 0;
	for (unsigned i = 0; i < count; i++) {
		struct restore_leaf *leaf = lane->group[i].leaf;
		unsigned block = lane->group[i].item->block;
		if (chunk_id_equal(&ids[i], &leaf->claim.node.ids[block]))
			continue;
		struct err why = {0};
		err_set(&why, ERR_CORRUPT, 0, "the content does not match its chunk ID");
		TRY(lose_block(lane, leaf, block, &why, err));
	}
	return ERR_OK;
}

static enum err_code open_item(struct restore_lane *lane, struct fetch_slot *slot, unsigned index, struct err *err)
{
	struct restore_leaf *leaf = slot->leaf;
	const struct fetch_item *item = &leaf->plan.items[index];
	uint8_t *dst = block_at(leaf, item->block);
	struct err why = {0};
	if (item->same_as_before) {
		/* Opening destroys the sealed bytes, so the plain ones are copied; if the first was lost, its hash
		 * tells. */
		memcpy(dst, block_at(leaf, leaf->plan.items[index - 1].block), BLOCK_SIZE);
	} else {
		uint8_t *stored = slot->data + (item->entry->offset - slot->run->offset);
		lane->times.stored_bytes += item->entry->stored_length;
		if (record_open(lane->opener, item->segment, item->entry, stored, dst, &why) != ERR_OK) {
			memset(dst, 0, BLOCK_SIZE);
			return lose_block(lane, leaf, item->block, &why, err);
		}
	}
	lane->group[lane->group_count++] = (struct opened_block){.leaf = leaf, .item = item};
	return lane->group_count == CHUNK_HASH_LANES ? check_group(lane, err) : ERR_OK;
}

static enum err_code open_slot(struct restore_lane *lane, struct fetch_slot *slot, struct err *err)
{
	struct restore_leaf *leaf = slot->leaf;
	const struct fetch_run *run = slot->run;
	struct err why = {0};
	bool read_failed = io_op_check(&slot->op, &why) != ERR_OK;
	for (unsigned i = run->first; i < run->first + run->count; i++)
		TRY(read_failed ? lose_block(lane, leaf, leaf->plan.items[i].block, &why, err)
				: open_item(lane, slot, i, err));
	leaf->runs_left--;
	return leaf->runs_left == 0 ? check_group(lane, err) : ERR_OK;
}

/* ---- Writing ---- */

/* The length of the run of blocks from `block` on that are all present, or all absent. */
static unsigned run_length(const struct map_node *node, unsigned block, unsigned end)
{
	bool present = map_node_has(node, block);
	unsigned n = 1;
	while (block + n < end && map_node_has(node, block + n) == present &&
	       n < (present ? TARGET_WRITE_MAX / BLOCK_SIZE : end))
		n++;
	return n;
}

static enum err_code put_zeroes(struct restore_lane *lane, uint64_t offset, uint64_t length, struct err *err)
{
	return length ? lane->writer->ops->zero(lane->writer, offset, length, err) : ERR_OK;
}

static void put_write(struct restore_lane *lane, struct restore_leaf *leaf, uint64_t offset, uint64_t length,
		      unsigned block)
{
	struct block_write *write = &leaf->writes[leaf->write_count++];
	*write = (struct block_write){.offset = offset, .length = (uint32_t)length, .data = block_at(leaf, block)};
	uint64_t start = clock_mono_ns();
	lane->writer->ops->submit(lane->writer, write);
	lane->times.ns[STAGE_WRITE_SUBMIT] += clock_mono_ns() - start;
	lane->times.file_bytes += length;
	if (lane->job->request->progress) {
		progress_add(&lane->job->request->progress->done_bytes, length);
		progress_add(&lane->job->request->progress->stored_bytes, length);
	}
}

static enum err_code write_blocks(struct restore_lane *lane, struct restore_leaf *leaf, struct err *err)
{
	TRY(put_zeroes(lane, leaf->claim.zero_offset, leaf->claim.zero_length, err));
	if (!leaf->claim.has_leaf)
		return ERR_OK;
	uint64_t start = leaf->claim.leaf * DISK_MAP_LEAF_BYTES;
	uint64_t size = min_u64(lane->job->request->size_bytes - start, DISK_MAP_LEAF_BYTES);
	unsigned end = (unsigned)((size + BLOCK_SIZE - 1) / BLOCK_SIZE);
	for (unsigned block = 0, n; block < end; block += n) {
		n = run_length(&leaf->claim.node, block, end);
		uint64_t from = (uint64_t)block * BLOCK_SIZE;
		uint64_t length = min_u64((uint64_t)n * BLOCK_SIZE, size - from);
		if (map_node_has(&leaf->claim.node, block))
			put_write(lane, leaf, start + from, length, block);
		else
			TRY(put_zeroes(lane, start + from, length, err));
	}
	return ERR_OK;
}

/* Waits for a leaf's writes and looks at their results. */
static enum err_code await_writes(struct restore_lane *lane, struct restore_leaf *leaf, struct err *err)
{
	uint64_t start = clock_mono_ns();
	for (unsigned i = 0; i < leaf->write_count; i++) {
		struct block_write *write = &leaf->writes[i];
		while (!write->done)
			TRY(lane->writer->ops->wait(lane->writer, err));
		if (write->err.code) {
			if (err && !err->code)
				*err = write->err;
			return write->err.code;
		}
	}
	lane->times.ns[STAGE_WRITE_WAIT] += clock_mono_ns() - start;
	return ERR_OK;
}

static enum err_code write_leaf(struct restore_lane *lane, struct restore_leaf *leaf, struct err *err)
{
	bool ordered = lane->job->request->target->ops->ordered;
	uint64_t start = clock_mono_ns();
	if (ordered && !restore_await_turn(lane->job, leaf->claim.sequence))
		return err_set(err, ERR_CANCELLED, 0, "the restore was stopped");
	if (ordered)
		lane->times.ns[STAGE_WRITE_WAIT] += clock_mono_ns() - start;
	TRY(write_blocks(lane, leaf, err));
	fetch_plan_release(&leaf->plan);
	leaf->state = LEAF_WRITING;
	if (!ordered)
		return ERR_OK;
	TRY(await_writes(lane, leaf, err));
	restore_pass_turn(lane->job);
	return ERR_OK;
}

/* Starts writing leaves whose blocks are all open, oldest first. */
static enum err_code write_leaves(struct restore_lane *lane, struct err *err)
{
	for (unsigned i = 0; i < lane->leaf_count; i++) {
		struct restore_leaf *leaf = &lane->leaves[(lane->leaf_head + i) % LEAVES];
		if (leaf->state == LEAF_FETCHING && leaf->runs_left > 0)
			return ERR_OK;
		if (leaf->state == LEAF_FETCHING)
			TRY(write_leaf(lane, leaf, err));
	}
	return ERR_OK;
}

static bool writes_done(const struct restore_leaf *leaf)
{
	for (unsigned i = 0; i < leaf->write_count; i++)
		if (!leaf->writes[i].done)
			return false;
	return true;
}

/* Gives leaves back whose blocks are written; waits for the oldest one if the lane has nothing else to do. */
static enum err_code free_leaves(struct restore_lane *lane, bool wait, struct err *err)
{
	while (lane->leaf_count > 0) {
		struct restore_leaf *leaf = &lane->leaves[lane->leaf_head];
		if (leaf->state != LEAF_WRITING || (!wait && !writes_done(leaf)))
			return ERR_OK;
		TRY(await_writes(lane, leaf, err));
		leaf->state = LEAF_FREE;
		lane->leaf_head = (lane->leaf_head + 1) % LEAVES;
		lane->leaf_count--;
		wait = false;
	}
	return ERR_OK;
}

/* ---- The thread ---- */

static enum err_code run(struct restore_lane *lane, struct err *err)
{
	for (;;) {
		if (restore_stopped(lane->job))
			return err_set(err, ERR_CANCELLED, 0, "the restore was stopped");
		TRY(issue_fetches(lane, err));
		if (lane->slot_count > 0) {
			struct fetch_slot *slot = &lane->slots[lane->slot_head];
			uint64_t start = clock_mono_ns();
			while (!slot->done)
				TRY(io_queue_wait(lane->queue, 1, err));
			lane->times.ns[STAGE_READ_WAIT] += clock_mono_ns() - start;
			TRY(open_slot(lane, slot, err));
			lane->slot_head = (lane->slot_head + 1) % FETCH_SLOTS;
			lane->slot_count--;
		}
		TRY(write_leaves(lane, err));
		bool nothing_to_read = lane->slot_count == 0 && (lane->drained || lane->leaf_count == LEAVES);
		TRY(free_leaves(lane, nothing_to_read, err));
		if (lane->drained && lane->leaf_count == 0)
			return ERR_OK;
	}
}

static enum err_code start(struct restore_lane *lane, struct err *err)
{
	TRY(io_queue_new(store_io(lane->job->store), RESTORE_QUEUE_DEPTH, lane->arena.base, lane->arena.size,
			 &lane->queue, err));
	struct block_target *target = lane->job->request->target;
	return target->ops->writer_open(target, lane->queue, WRITES_MAX, &lane->writer, err);
}

static void collect_times(struct restore_lane *lane, uint64_t start_ns, uint64_t start_cpu_ns)
{
	struct stage_times *t = &lane->times;
	struct record_open_times opened;
	record_opener_times(lane->opener, &opened);
	t->lanes = 1;
	t->ns[STAGE_OPEN] = opened.aead_ns;
	t->ns[STAGE_DECOMPRESS] = opened.decompress_ns;
	t->lane_ns = clock_mono_ns() - start_ns;
	t->lane_cpu_ns = clock_thread_cpu_ns() - start_cpu_ns;
	t->buffer_bytes = lane->arena.size;
	uint64_t known = 0;
	for (unsigned i = 0; i < STAGE_OTHER; i++)
		known += t->ns[i];
	t->ns[STAGE_OTHER] = t->lane_ns > known ? t->lane_ns - known : 0;
}

void *restore_lane_main(void *user)
{
	struct restore_lane *lane = user;
	uint64_t start_ns = clock_mono_ns();
	uint64_t start_cpu_ns = clock_thread_cpu_ns();
	struct err err = {0};
	enum err_code code = start(lane, &err);
	if (code == ERR_OK)
		code = run(lane, &err);
	if (code != ERR_OK)
		restore_fail(lane->job, &err);
	if (lane->writer)
		lane->writer->ops->close(lane->writer);
	io_queue_free(lane->queue);
	collect_times(lane, start_ns, start_cpu_ns);
	return NULL;
}
