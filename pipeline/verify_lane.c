/* SPDX-License-Identifier: Apache-2.0 */
/* One lane of verify: takes segments one by one, reads the wanted records in the order in which they lie, opens each
 * and hashes the blocks eight at a time. */
#include "pipeline/verify_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "pipeline/arena.h"
#include "store/chunk_hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_SIZE = 1 << 20, PIECES = 6 };
/* A record may begin anywhere: a piece has room for the largest one behind its nominal end. */
enum { PIECE_ROOM = PIECE_SIZE + RECORD_RAW_MAX + 2 * IO_ALIGN };

/* One read: wanted records that lie close together. */
struct piece {
	struct io_op op;
	bool done;
	uint8_t *data;
	uint32_t first; /* slot of the first record */
	uint32_t end;   /* slot behind the last one */
};

/* A block that waits for its hash. */
struct waiting {
	uint8_t *plain;
	uint32_t slot;
};

struct worker {
	struct verify_lane *lane;
	struct io_queue *queue;
	struct record_opener *opener;
	struct piece pieces[PIECES];
	unsigned head;
	unsigned count;
	uint8_t *plain; /* CHUNK_HASH_LANES blocks */
	uint8_t *large; /* RECORD_RAW_MAX bytes */
	struct waiting group[CHUNK_HASH_LANES];
	unsigned group_count;

	size_t place; /* of the segment in the log's array */
	struct segment *segment;
	const struct record_entry *entries;
	uint32_t entry_count;
	bool damaged;
};

static void report_record(struct worker *w, uint32_t slot, const char *text)
{
	struct verify_job *job = w->lane->job;
	const struct record_entry *entry = &w->entries[slot];
	struct finding f = {
		.kind = FINDING_RECORD,
		.segment = segment_number(w->segment),
		.offset = entry->offset,
		.length = entry->stored_length,
	};
	snprintf(f.text, sizeof(f.text), "%.255s", text);
	w->damaged = true;
	check_add(&job->check.report.damaged_records, 1);
	check_report_finding(&job->check, &f);
}

static enum err_code lose_record(struct worker *w, uint32_t slot, const char *text, struct err *err)
{
	report_record(w, slot, text);
	/* A segment is worked on by one lane, so its marks are this lane's. */
	return record_marks_set(&w->lane->job->bad, w->place, slot, err);
}

/* ---- Opening ---- */

static enum err_code check_group(struct worker *w, struct err *err)
{
	unsigned count = w->group_count;
	if (count == 0)
		return ERR_OK;
	const uint8_t *blocks[CHUNK_HASH_LANES];
	struct chunk_id ids[CHUNK_HASH_LANES];
	for (unsigned i = 0; i < count; i++)
		blocks[i] = w->group[i].plain;
	uint64_t start = clock_mono_ns();
	chunk_hash_blocks(store_chunk_hasher(w->lane->job->store), blocks, count, ids);
	w->lane->times.ns[STAGE_HASH] += clock_mono_ns() - start;
	w->group_count = 0;
	for (unsigned i = 0; i < count; i++) {
		uint32_t slot = w->group[i].slot;
		if (chunk_id_equal(&ids[i], &w->entries[slot].id))
			continue;
		char text[128];
		snprintf(text, sizeof(text),
			 "segment %" PRIu64 ": the record at %" PRIu32 " does not match its chunk ID",
			 segment_number(w->segment), w->entries[slot].offset);
		TRY(lose_record(w, slot, text, err));
	}
	return ERR_OK;
}

static enum err_code open_record(struct worker *w, const struct piece *piece, uint32_t slot, struct err *err)
{
	const struct record_entry *entry = &w->entries[slot];
	bool is_block = entry->kind == RECORD_CHUNK && entry->raw_length == BLOCK_SIZE;
	uint8_t *plain = is_block ? w->plain + (size_t)w->group_count * BLOCK_SIZE : w->large;
	struct err why = {0};
	enum err_code code = record_open(w->opener, w->segment, entry, piece->data + (entry->offset - piece->op.offset),
					 plain, &why);
	if (code == ERR_AUTH)
		return err_set(err, code, 0, "%s", why.msg);
	if (code != ERR_OK)
		return lose_record(w, slot, why.msg, err);
	w->lane->times.stored_bytes += entry->stored_length;
	w->lane->times.data_bytes += entry->raw_length;
	check_add(&w->lane->job->check.report.records, 1);
	/* Map nodes are hashed where they are read, with the maps; other metadata is bound by its tag and read with the
	 * savesets. */
	if (!is_block)
		return ERR_OK;
	w->group[w->group_count++] = (struct waiting){.plain = plain, .slot = slot};
	return w->group_count == CHUNK_HASH_LANES ? check_group(w, err) : ERR_OK;
}

static bool is_wanted(const struct worker *w, uint32_t slot)
{
	return record_marks_has(&w->lane->job->wanted, w->place, slot);
}

static enum err_code open_piece(struct worker *w, struct piece *piece, struct err *err)
{
	struct err why = {0};
	bool read_failed = io_op_check(&piece->op, &why) != ERR_OK;
	uint64_t stored = 0;
	for (uint32_t slot = piece->first; slot < piece->end; slot++) {
		if (!is_wanted(w, slot))
			continue;
		stored += w->entries[slot].stored_length;
		TRY(read_failed ? lose_record(w, slot, why.msg, err) : open_record(w, piece, slot, err));
	}
	if (w->lane->job->check.request->progress)
		progress_add(&w->lane->job->check.request->progress->done_bytes, stored);
	return ERR_OK;
}

/* ---- Reading ---- */

static void piece_read(struct io_op *op)
{
	struct piece *piece = op->user;
	piece->done = true;
}

/* Plans and issues the next read of the segment. False if no wanted record is left from *slot on. Directory order is
 * file order. */
static bool issue_piece(struct worker *w, uint32_t *slot)
{
	while (*slot < w->entry_count && !is_wanted(w, *slot))
		++*slot;
	if (*slot == w->entry_count)
		return false;
	struct piece *piece = &w->pieces[(w->head + w->count++) % PIECES];
	uint64_t start = round_down(w->entries[*slot].offset, IO_ALIGN);
	uint64_t end = start;
	piece->first = *slot;
	for (; *slot < w->entry_count; ++*slot) {
		const struct record_entry *e = &w->entries[*slot];
		uint64_t record_end = round_up((uint64_t)e->offset + e->stored_length, IO_ALIGN);
		if (!is_wanted(w, *slot))
			continue;
		if (end > start && (record_end - start > PIECE_SIZE || e->offset > end + PIECE_SIZE / 8))
			break;
		end = record_end;
	}
	piece->end = *slot;
	piece->done = false;
	piece->op = (struct io_op){
		.kind = IO_OP_READ,
		.file = segment_file(w->segment),
		.offset = start,
		.length = (uint32_t)(end - start),
		.data = piece->data,
		.complete = piece_read,
		.user = piece,
	};
	w->lane->times.read_bytes += piece->op.length;
	io_queue_submit(w->queue, &piece->op);
	return true;
}

static enum err_code verify_segment(struct worker *w, struct err *err)
{
	uint32_t slot = 0;
	bool more = true;
	for (;;) {
		while (more && w->count < PIECES)
			more = issue_piece(w, &slot);
		if (w->count == 0)
			return check_group(w, err);
		struct piece *piece = &w->pieces[w->head];
		uint64_t start = clock_mono_ns();
		while (!piece->done)
			TRY(io_queue_wait(w->queue, 1, err));
		w->lane->times.ns[STAGE_READ_WAIT] += clock_mono_ns() - start;
		TRY(open_piece(w, piece, err));
		w->head = (w->head + 1) % PIECES;
		w->count--;
		if (check_stopped(&w->lane->job->check))
			more = false;
	}
}

/* A segment that cannot be opened, or only its first `from` records, loses all others that are wanted. */
static enum err_code lose_segment(struct worker *w, const struct segment_info *info, uint32_t from, const char *text,
				  struct err *err)
{
	struct verify_job *job = w->lane->job;
	struct finding f = {.kind = FINDING_SEGMENT, .segment = info->number, .length = info->file_length};
	snprintf(f.text, sizeof(f.text), "%.255s", text);
	check_report_finding(&job->check, &f);
	check_add(&job->check.report.damaged_segments, 1);
	for (uint32_t slot = from; slot < info->record_count && slot < SEGMENT_RECORDS_MAX; slot++)
		if (is_wanted(w, slot))
			TRY(record_marks_set(&job->bad, w->place, slot, err));
	return ERR_OK;
}

static enum err_code work_on(struct worker *w, struct err *err)
{
	struct verify_job *job = w->lane->job;
	const struct segment_info *info = &store_state(job->store)->segments[w->place];
	if (!job->wanted.bits[w->place])
		return ERR_OK;
	struct err why = {0};
	enum err_code code = store_segment(job->store, info->number, &w->segment, &why);
	if (code == ERR_NO_MEMORY)
		return err_set(err, code, 0, "%s", why.msg);
	if (code != ERR_OK)
		return lose_segment(w, info, 0, why.msg, err);
	w->entries = segment_entries(w->segment, &w->entry_count);
	w->damaged = false;
	code = verify_segment(w, err);
	if (code == ERR_OK && w->entry_count < info->record_count) {
		err_set(&why, ERR_CORRUPT, 0,
			"segment %" PRIu64 ": %" PRIu32 " of %" PRIu32 " records can still be found", info->number,
			w->entry_count, info->record_count);
		code = lose_segment(w, info, w->entry_count, why.msg, err);
	}
	check_add(&job->check.report.segments, 1);
	check_add(&job->check.report.damaged_segments, w->damaged);
	segment_unref(w->segment);
	w->segment = NULL;
	return code;
}

/* ---- The thread ---- */

static enum err_code run(struct verify_lane *lane, struct err *err)
{
	struct verify_job *job = lane->job;
	size_t piece_room = round_up(PIECE_ROOM, IO_ALIGN);
	struct arena arena = {0};
	TRY(arena_init(&arena, PIECES * piece_room + (size_t)CHUNK_HASH_LANES * BLOCK_SIZE + RECORD_RAW_MAX, err));
	lane->times.buffer_bytes = arena.size;
	struct worker w = {.lane = lane};
	for (unsigned i = 0; i < PIECES; i++)
		w.pieces[i].data = arena_take(&arena, piece_room);
	w.plain = arena_take(&arena, (size_t)CHUNK_HASH_LANES * BLOCK_SIZE);
	w.large = arena_take(&arena, RECORD_RAW_MAX);
	enum err_code code = io_queue_new(store_io(job->store), 2 * PIECES, arena.base, arena.size, &w.queue, err);
	if (code == ERR_OK)
		code = record_opener_new(&w.opener, err);
	while (code == ERR_OK && !check_stopped(&job->check)) {
		w.place = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
		if (w.place >= store_state(job->store)->segment_count)
			break;
		code = work_on(&w, err);
	}
	io_queue_free(w.queue);
	if (w.opener) {
		struct record_open_times opened;
		record_opener_times(w.opener, &opened);
		lane->times.ns[STAGE_OPEN] = opened.aead_ns;
		lane->times.ns[STAGE_DECOMPRESS] = opened.decompress_ns;
	}
	record_opener_free(w.opener);
	segment_unref(w.segment);
	arena_release(&arena);
	return code;
}

void *verify_lane_main(void *user)
{
	struct verify_lane *lane = user;
	uint64_t start = clock_mono_ns();
	uint64_t start_cpu = clock_thread_cpu_ns();
	struct err err = {0};
	if (run(lane, &err) != ERR_OK)
		check_fail(&lane->job->check, &err);
	lane->times.lanes = 1;
	lane->times.lane_ns = clock_mono_ns() - start;
	lane->times.lane_cpu_ns = clock_thread_cpu_ns() - start_cpu;
	uint64_t known = 0;
	for (unsigned i = 0; i < STAGE_OTHER; i++)
		known += lane->times.ns[i];
	lane->times.ns[STAGE_OTHER] = lane->times.lane_ns > known ? lane->times.lane_ns - known : 0;
	return NULL;
}
