/* SPDX-License-Identifier: Apache-2.0 */
/* One lane. Reads are issued ahead of the work, in the order in which they will be worked off:
 *
 *      head                    head + count
 *        v                         v
 *   [ filled | reading | reading | free ... ]      eight slots of 1 MiB, a ring
 *        |                         ^
 *        work: zero test, groups   issue: next 1 MiB part of the leaf, or claim the next leaf
 *
 * At most two leaves are in progress, the one being worked off and the one whose reads are being issued. */
#include "pipeline/backup_internal.h"

#include "base/clock.h"
#include "base/size.h"
#include "pipeline/zero_test.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Reads in pieces, stripes, a seal's parts, a readback. */
enum { LANE_QUEUE_DEPTH = 128 };

size_t backup_lane_memory(const struct store *store)
{
	return READ_SLOTS * (size_t)SOURCE_READ_MAX + store_writer_arena_size(store);
}

enum err_code lane_init(struct lane *lane, struct backup_job *job, unsigned number, struct err *err)
{
	lane->job = job;
	lane->number = number;
	lane->level = 1;
	lane->readers = calloc(job->disk_count, sizeof(*lane->readers));
	lane->base_maps = calloc(job->disk_count, sizeof(*lane->base_maps));
	if (!lane->readers || !lane->base_maps)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a lane");
	TRY(arena_init(&lane->arena, backup_lane_memory(job->store), err));
	for (unsigned i = 0; i < READ_SLOTS; i++) {
		lane->slots[i].buffer = arena_take(&lane->arena, SOURCE_READ_MAX);
		lane->slots[i].read.data = lane->slots[i].buffer;
	}
	return ERR_OK;
}

void lane_release(struct lane *lane)
{
	free(lane->readers);
	free(lane->base_maps);
	arena_release(&lane->arena);
}

/* ---- Issuing reads ---- */

/* Holds a read back until the rate limit allows it. */
static void keep_rate(struct backup_job *job, uint32_t bytes)
{
	uint64_t rate = job->request->read_limit_bytes_per_s;
	if (!rate)
		return;
	pthread_mutex_lock(&job->mutex);
	uint64_t now = clock_mono_ns();
	uint64_t start = max_u64(now, job->limit_next_ns);
	job->limit_next_ns = start + (uint64_t)((double)bytes * 1e9 / (double)rate);
	pthread_mutex_unlock(&job->mutex);
	while (start > now && !job_stopped(job)) {
		uint64_t pause = min_u64(start - now, 100000000u);
		nanosleep(&(struct timespec){.tv_nsec = (long)pause}, NULL);
		now = clock_mono_ns();
	}
}

static struct read_slot *take_slot(struct lane *lane, struct leaf_work *work, unsigned part, enum slot_state state)
{
	struct read_slot *slot = &lane->slots[(lane->head + lane->count) % READ_SLOTS];
	lane->count++;
	slot->work = work;
	slot->part = part;
	slot->state = state;
	slot->refs = 0;
	work->slots_left++;
	return slot;
}

static enum err_code reader_for(struct lane *lane, struct job_disk *disk, struct block_reader **ret, struct err *err)
{
	struct block_reader **reader = &lane->readers[disk - lane->job->disks];
	if (!*reader)
		TRY(disk->source->ops->reader_open(disk->source, lane->queue, READ_SLOTS, reader, err));
	*ret = *reader;
	return ERR_OK;
}

/* The first and last needed block of a 1 MiB part; false if there is none. */
static bool part_range(const struct leaf_work *work, unsigned part, unsigned *first, unsigned *last)
{
	unsigned bits = work->needed[(size_t)2 * part] | (unsigned)work->needed[(size_t)2 * part + 1] << 8;
	if (!bits)
		return false;
	*first = (unsigned)__builtin_ctz(bits);
	*last = 31 - (unsigned)__builtin_clz(bits);
	return true;
}

static enum err_code issue_part(struct lane *lane, struct leaf_work *work, unsigned part, struct err *err)
{
	unsigned first;
	unsigned last;
	if (!part_range(work, part, &first, &last))
		return ERR_OK;
	struct block_reader *reader;
	TRY(reader_for(lane, work->disk, &reader, err));
	struct read_slot *slot = take_slot(lane, work, part, SLOT_READING);
	uint64_t offset = work->leaf * DISK_MAP_LEAF_BYTES + (uint64_t)(part * SLOT_BLOCKS + first) * BLOCK_SIZE;
	uint64_t length = min_u64((uint64_t)(last - first + 1) * BLOCK_SIZE, work->disk->source->size_bytes - offset);
	slot->read = (struct block_read){
		.offset = offset,
		.length = (uint32_t)length,
		.data = slot->buffer + (size_t)first * BLOCK_SIZE,
	};
	keep_rate(lane->job, slot->read.length);
	uint64_t start = clock_mono_ns();
	reader->ops->submit(reader, &slot->read);
	lane->times.ns[STAGE_READ_SUBMIT] += clock_mono_ns() - start;
	return ERR_OK;
}

/* A stream's data is there already: it fills all slots at once. */
static void take_streamed(struct lane *lane, struct leaf_work *work)
{
	unsigned first;
	unsigned last;
	for (unsigned part = 0; part < READ_SLOTS; part++)
		if (part_range(work, part, &first, &last)) {
			/* The buffers were given from head on; a part without data keeps its place in the ring. */
			struct read_slot *slot = take_slot(lane, work, part, SLOT_FILLED);
			slot->read = (struct block_read){
				.offset = work->leaf * DISK_MAP_LEAF_BYTES + (uint64_t)part * SOURCE_READ_MAX,
				.length = SOURCE_READ_MAX,
				.data = slot->buffer,
				.done = true,
			};
		} else {
			take_slot(lane, work, part, SLOT_FILLED)->read.length = 0;
		}
	work->all_issued = true;
}

/* Claims the next leaf if there is room for one. */
static enum err_code claim_work(struct lane *lane, struct err *err)
{
	struct leaf_work *work = &lane->works[(lane->work_issuing + 1) % 2];
	uint8_t *buffers[READ_SLOTS];
	for (unsigned i = 0; i < READ_SLOTS; i++)
		buffers[i] = lane->slots[(lane->head + i) % READ_SLOTS].buffer;
	bool idle = lane->count == 0;
	bool claimed;
	bool streamed;
	bool stream_waits;
	uint64_t start = clock_mono_ns();
	TRY(job_claim(lane->job, lane->number, idle ? buffers : NULL, work, &claimed, &streamed, &stream_waits, err));
	if (streamed || stream_waits)
		lane->times.ns[STAGE_READ_WAIT] += clock_mono_ns() - start;
	if (!claimed) {
		lane->drained = !stream_waits;
		return ERR_OK;
	}
	lane->work_issuing = (lane->work_issuing + 1) % 2;
	lane->work_count++;
	if (streamed)
		take_streamed(lane, work);
	return ERR_OK;
}

static enum err_code issue_reads(struct lane *lane, struct err *err)
{
	while (lane->count < READ_SLOTS) {
		struct leaf_work *work = &lane->works[lane->work_issuing];
		if (lane->work_count > 0 && !work->all_issued) {
			TRY(issue_part(lane, work, work->next_slot++, err));
			work->all_issued = work->next_slot == READ_SLOTS;
			continue;
		}
		if (lane->drained || lane->work_count == 2)
			return ERR_OK;
		unsigned before = lane->work_count;
		TRY(claim_work(lane, err));
		if (lane->work_count == before)
			return ERR_OK;
	}
	return ERR_OK;
}

/* ---- Working off ---- */

/* The leaf being worked off is the older of the two. */
static struct leaf_work *oldest_work(struct lane *lane)
{
	return lane->work_count == 2 ? &lane->works[(lane->work_issuing + 1) % 2] : &lane->works[lane->work_issuing];
}

static enum err_code wait_for(struct lane *lane, struct read_slot *slot, struct err *err)
{
	uint64_t start = clock_mono_ns();
	struct block_reader *reader = NULL;
	if (slot->state == SLOT_READING) {
		TRY(reader_for(lane, slot->work->disk, &reader, err));
		while (!slot->read.done)
			TRY(reader->ops->wait(reader, err));
		slot->state = SLOT_FILLED;
	}
	lane->times.ns[STAGE_READ_WAIT] += clock_mono_ns() - start;
	if (slot->read.err.code) {
		if (err && !err->code)
			*err = slot->read.err;
		return slot->read.err.code;
	}
	return ERR_OK;
}

/* Zeroes what a read did not fill of the disk's last block. */
static void pad_last_block(struct read_slot *slot)
{
	uint32_t tail = slot->read.length % BLOCK_SIZE;
	if (tail)
		memset(slot->read.data + slot->read.length, 0, BLOCK_SIZE - tail);
}

static enum err_code work_slot(struct lane *lane, struct read_slot *slot, struct err *err)
{
	struct leaf_work *work = slot->work;
	struct job_disk *disk = work->disk;
	pad_last_block(slot);
	uint64_t bytes = slot->read.length;
	lane->times.read_bytes += bytes;
	atomic_fetch_add_explicit(&disk->read_bytes, bytes, memory_order_relaxed);
	for (unsigned i = 0; i < SLOT_BLOCKS; i++) {
		unsigned index = slot->part * SLOT_BLOCKS + i;
		if (!(work->needed[index / 8] >> (index % 8) & 1))
			continue;
		const uint8_t *data = slot->buffer + (size_t)i * BLOCK_SIZE;
		uint64_t start = clock_mono_ns();
		bool zero = is_all_zero(data, BLOCK_SIZE);
		lane->times.ns[STAGE_ZERO] += clock_mono_ns() - start;
		if (!zero)
			TRY(lane_add_block(lane, slot, data, index, err));
	}
	if (lane->job->request->progress)
		progress_add(&lane->job->request->progress->done_bytes, bytes);
	slot->state = SLOT_WORKED;
	work->slots_left--;
	return ERR_OK;
}

/* AUTO: what the lane waits for decides how hard it compresses. Waiting for reads or writes leaves time for a better
 * ratio; a lane that never waits is the limit itself and takes a faster level. Steps of one level, a decision every 200
 * ms. */
static void adapt_level(struct lane *lane)
{
	if (lane->job->request->compression.kind != COMPRESS_AUTO)
		return;
	uint64_t now = clock_mono_ns();
	if (now - lane->level_start_ns < 200000000u)
		return;
	struct segment_write_times written;
	segment_writer_times(lane->writer, &written);
	uint64_t waited = lane->times.ns[STAGE_READ_WAIT] + written.wait_ns;
	uint64_t share = 100 * (waited - lane->level_wait_ns) / (now - lane->level_start_ns);
	static const int levels[] = {-3, -1, 1, 2, 3};
	unsigned at = 0;
	while (levels[at] < lane->level)
		at++;
	if (share > 25 && at + 1 < sizeof(levels) / sizeof(levels[0]))
		at++;
	else if (share < 5 && at > 0)
		at--;
	lane->level = levels[at];
	segment_writer_set_level(lane->writer, lane->level);
	lane->level_wait_ns = waited;
	lane->level_start_ns = now;
}

/* Ends leaves whose parts are all worked off. */
static enum err_code finish_leaves(struct lane *lane, struct err *err)
{
	while (lane->work_count > 0) {
		struct leaf_work *work = oldest_work(lane);
		if (!work->all_issued || work->slots_left > 0)
			return ERR_OK;
		TRY(lane_flush_group(lane, err));
		uint64_t start = clock_mono_ns();
		if (!leaf_queue_put(&work->disk->leaves, work->sequence, work->leaf, &work->node))
			return err_set(err, ERR_CANCELLED, 0, "the job was stopped");
		lane->times.ns[STAGE_MAP] += clock_mono_ns() - start;
		lane->work_count--;
		adapt_level(lane);
	}
	return ERR_OK;
}

/* Frees slots from the front whose blocks are all stored. */
static void free_slots(struct lane *lane)
{
	while (lane->count > 0) {
		struct read_slot *slot = &lane->slots[lane->head];
		if (slot->state != SLOT_WORKED || slot->refs > 0)
			return;
		slot->state = SLOT_FREE;
		lane->head = (lane->head + 1) % READ_SLOTS;
		lane->count--;
	}
}

/* The oldest slot that was not worked off yet, or NULL. */
static struct read_slot *next_slot(struct lane *lane)
{
	for (unsigned i = 0; i < lane->count; i++) {
		struct read_slot *slot = &lane->slots[(lane->head + i) % READ_SLOTS];
		if (slot->state != SLOT_WORKED)
			return slot;
	}
	return NULL;
}

/* Does a group that is not full hold slots which reads could use, while the lane would only wait? */
static bool group_blocks_reads(const struct lane *lane, const struct read_slot *next)
{
	return lane->group_count > 0 && lane->count == READ_SLOTS && next->state == SLOT_READING && !next->read.done;
}

static enum err_code run(struct lane *lane, struct err *err)
{
	for (;;) {
		if (job_stopped(lane->job))
			return err_set(err, ERR_CANCELLED, 0, "the job was stopped");
		TRY(issue_reads(lane, err));
		struct read_slot *slot = next_slot(lane);
		if (slot && group_blocks_reads(lane, slot)) {
			TRY(lane_flush_group(lane, err));
			free_slots(lane);
			continue;
		}
		if (slot) {
			TRY(wait_for(lane, slot, err));
			TRY(work_slot(lane, slot, err));
		}
		TRY(finish_leaves(lane, err));
		free_slots(lane);
		if (!slot && lane->drained && lane->work_count == 0)
			return ERR_OK;
	}
}

/* ---- The thread ---- */

static void collect_times(struct lane *lane, uint64_t start_ns, uint64_t start_cpu_ns)
{
	struct stage_times *t = &lane->times;
	t->lanes = 1;
	t->lane_ns = clock_mono_ns() - start_ns;
	t->lane_cpu_ns = clock_thread_cpu_ns() - start_cpu_ns;
	t->buffer_bytes = lane->arena.size;
	if (lane->writer) {
		struct segment_write_times w;
		segment_writer_times(lane->writer, &w);
		t->ns[STAGE_COMPRESS] = w.compress_ns;
		t->ns[STAGE_SEAL] = w.aead_ns;
		t->ns[STAGE_CHECKSUM] = w.checksum_ns;
		t->ns[STAGE_PARITY] = w.parity_ns;
		t->ns[STAGE_WRITE_SUBMIT] = w.submit_ns;
		t->ns[STAGE_WRITE_WAIT] = w.wait_ns;
		t->ns[STAGE_VERIFY_NEW] = w.verify_ns;
		t->new_bytes = w.raw_bytes;
		t->stored_bytes = w.stored_bytes;
		t->file_bytes = w.file_bytes;
	}
	uint64_t known = 0;
	for (unsigned i = 0; i < STAGE_OTHER; i++)
		known += t->ns[i];
	t->ns[STAGE_OTHER] = t->lane_ns > known ? t->lane_ns - known : 0;
}

static void close_readers(struct lane *lane)
{
	for (size_t i = 0; i < lane->job->disk_count; i++) {
		if (lane->readers[i])
			lane->readers[i]->ops->close(lane->readers[i]);
		disk_map_reader_free(lane->base_maps[i]);
	}
}

/* The queue is made by the thread that uses it. */
static enum err_code start(struct lane *lane, struct err *err)
{
	struct backup_job *job = lane->job;
	TRY(io_queue_new(store_io(job->store), LANE_QUEUE_DEPTH, lane->arena.base, lane->arena.size, &lane->queue,
			 err));
	uint8_t *arena = arena_take(&lane->arena, store_writer_arena_size(job->store));
	return store_txn_writer(job->txn, job->request->compression, lane->queue, arena, &lane->writer, err);
}

void *lane_main(void *user)
{
	struct lane *lane = user;
	uint64_t start_ns = clock_mono_ns();
	uint64_t start_cpu_ns = clock_thread_cpu_ns();
	lane->level_start_ns = start_ns;
	struct err err = {0};
	enum err_code code = start(lane, &err);
	if (code == ERR_OK)
		code = run(lane, &err);
	if (code != ERR_OK)
		job_fail(lane->job, &err);
	close_readers(lane);
	/* After a cancellation too: what is durable is found again by the next run. */
	struct err finish_err = {0};
	if (lane->writer && segment_writer_finish(lane->writer, &finish_err) != ERR_OK)
		job_fail(lane->job, &finish_err);
	collect_times(lane, start_ns, start_cpu_ns);
	store_guess_release(&lane->guess);
	segment_writer_free(lane->writer);
	io_queue_free(lane->queue);
	job_lane_ended(lane->job);
	return NULL;
}
