/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment_writer_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "store/compress_level.h"
#include "store/parity.h"

#include <inttypes.h>
#include <isa-l/crc.h>
#include <sodium.h>
#include <stdlib.h>
#include <xxhash.h>

/* What shrinks by less than 3 % is stored raw: opening it again would cost more than the space is worth. */
#define RAW_ABOVE(raw_length) ((raw_length) - (raw_length) / 32)

static size_t table_max(const struct segment_context *context)
{
	struct trailer t = {
		.covered = context->segment_size,
		.column_length = full_column(context),
		.header_length = SEGMENT_HEADER_MAX,
	};
	return trailer_layout(&t).table_length;
}

static size_t tail_size(const struct segment_context *context)
{
	return TRAILER_SIZE + SEGMENT_RECORDS_MAX * RECORD_ENTRY_SIZE + 2 * table_max(context) + SEGMENT_HEADER_MAX +
	       TRAILER_SIZE;
}

size_t segment_writer_arena_size(const struct segment_context *context)
{
	return (WRITER_STRIPES + 1) * (size_t)context->stripe_size +
	       2 * (size_t)SEGMENT_PARITY_COLUMNS * full_column(context) + (size_t)2 * SEGMENT_HEADER_MAX +
	       tail_size(context);
}

/* Cuts the arena into the writer's buffers. */
static void lay_out_arena(struct segment_writer *w, uint8_t *p)
{
	for (unsigned i = 0; i < WRITER_STRIPES; i++, p += w->context.stripe_size) {
		w->stripes[i].data = p;
		w->stripes[i].writer = w;
	}
	w->readback = p;
	p += w->context.stripe_size;
	for (unsigned i = 0; i < 2; i++, p += (size_t)SEGMENT_PARITY_COLUMNS * full_column(&w->context))
		w->parity[i] = p;
	for (unsigned i = 0; i < 2; i++, p += SEGMENT_HEADER_MAX)
		w->header_page[i] = p;
	w->tail = p;
}

enum err_code segment_writer_new(const struct segment_context *context, enum segment_kind kind,
				 struct compression compression, struct io_queue *queue, void *arena,
				 struct segment_writer **ret, struct err *err)
{
	struct segment_writer *w = calloc(1, sizeof(*w));
	if (!w)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a segment writer");
	w->context = *context;
	w->kind = kind;
	w->queue = queue;
	w->store_raw = compression.kind == COMPRESS_NONE;
	lay_out_arena(w, arena);
	w->entries = malloc(SEGMENT_RECORDS_MAX * sizeof(*w->entries));
	w->crcs = malloc(table_max(context));
	w->zstd = ZSTD_createCCtx();
	w->unzstd = ZSTD_createDCtx();
	w->key = sodium_malloc(KEY_SIZE);
	enum err_code code = ERR_OK;
	if (!w->entries || !w->crcs || !w->zstd || !w->unzstd || !w->key)
		code = err_set(err, ERR_NO_MEMORY, 0, "no memory for a segment writer");
	else
		code = aead_new(aead_preferred(), &w->aead, err);
	if (code != ERR_OK) {
		segment_writer_free(w);
		return code;
	}
	segment_writer_set_level(w, compression.kind == COMPRESS_ZSTD ? compression.level : 1);
	*ret = w;
	return ERR_OK;
}

void segment_writer_set_level(struct segment_writer *w, int level)
{
	compress_level_set(w->zstd, level);
}

static void release_open_segment(struct open_segment *segment)
{
	io_file_close(segment->file);
	segment_header_release(&segment->header);
	*segment = (struct open_segment){0};
}

void segment_writer_free(struct segment_writer *w)
{
	if (!w)
		return;
	/* The kernel may still own stripes: wait for it, whatever the outcome. */
	for (unsigned i = 0; i < 2; i++)
		while ((w->segments[i].pending || w->segments[i].syncing) && io_queue_wait(w->queue, 1, NULL) == ERR_OK)
			;
	while (w->reading && w->reading->state == STRIPE_READING && io_queue_wait(w->queue, 1, NULL) == ERR_OK)
		;
	release_open_segment(&w->segments[0]);
	release_open_segment(&w->segments[1]);
	aead_free(w->aead);
	if (w->key)
		sodium_free(w->key);
	ZSTD_freeCCtx(w->zstd);
	ZSTD_freeDCtx(w->unzstd);
	free(w->crcs);
	free(w->entries);
	free(w);
}

void segment_writer_times(const struct segment_writer *w, struct segment_write_times *ret)
{
	*ret = w->times;
}

/* ---- Writes in flight ---- */

static void write_completed(struct io_op *op)
{
	struct open_segment *owner = op->user;
	owner->pending--;
}

void writer_submit(struct segment_writer *w, struct open_segment *owner, struct io_op *op, uint64_t offset, void *data,
		   size_t length)
{
	*op = (struct io_op){
		.kind = IO_OP_WRITE,
		.file = owner->file,
		.offset = offset,
		.data = data,
		.length = (uint32_t)length,
		.complete = write_completed,
		.user = owner,
	};
	owner->pending++;
	w->times.file_bytes += length;
	io_queue_submit(w->queue, op);
}

static void stripe_written(struct io_op *op)
{
	struct stripe *stripe = op->user;
	struct segment_writer *w = stripe->writer;
	stripe->owner->pending--;
	if (!w->err.code)
		ERR_IGNORE(io_op_check(op, &w->err));
	stripe->state = STRIPE_WRITTEN;
}

/* The header and tail ops carry their result until here. */
static void check_completed_ops(struct segment_writer *w, struct open_segment *segment, struct io_op *ops,
				unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (ops[i].user == segment && !w->err.code)
			ERR_IGNORE(io_op_check(&ops[i], &w->err));
}

static void sync_completed(struct io_op *op)
{
	struct open_segment *segment = op->user;
	segment->syncing = false;
	segment->synced = true;
}

/* Moves a sealed segment on: sync when all its writes are there, tell the store when it is synced. */
static enum err_code pump_closing(struct segment_writer *w)
{
	struct open_segment *closing = writer_closing(w);
	if (!closing->file || closing->pending || closing->unverified || closing->syncing)
		return ERR_OK;
	if (!closing->synced) {
		check_completed_ops(w, closing, w->tail_ops, 3);
		check_completed_ops(w, closing, &w->header_op[1 - w->current], 1);
		if (w->err.code)
			return w->err.code;
		closing->syncing = true;
		w->sync_op = (struct io_op){
			.kind = IO_OP_SYNC,
			.file = closing->file,
			.complete = sync_completed,
			.user = closing,
		};
		io_queue_submit(w->queue, &w->sync_op);
		return ERR_OK;
	}
	TRY(io_op_check(&w->sync_op, &w->err));
	struct segment_info info = closing->info;
	release_open_segment(closing);
	return w->context.sealed(w->context.user, &info, &w->err);
}

enum err_code writer_pump(struct segment_writer *w)
{
	if (w->err.code)
		return w->err.code;
	for (unsigned i = 0; i < WRITER_STRIPES; i++)
		if (w->stripes[i].state == STRIPE_WRITTEN && !w->stripes[i].verify)
			w->stripes[i].state = STRIPE_FREE;
	if (writer_pump_readback(w) != ERR_OK)
		return w->err.code;
	return pump_closing(w);
}

enum err_code writer_wait(struct segment_writer *w)
{
	if (writer_pump(w) != ERR_OK)
		return w->err.code;
	uint64_t start = clock_mono_ns();
	enum err_code code = io_queue_wait(w->queue, w->queue->in_flight ? 1 : 0, &w->err);
	w->times.wait_ns += clock_mono_ns() - start;
	return code != ERR_OK ? code : writer_pump(w);
}

/* ---- Segments ---- */

/* A fresh data key, wrapped for those who may read. */
static enum err_code make_key_slot(struct segment_writer *w, const struct uuid *id, struct segment_key_slot *slot)
{
	const struct store_keys *keys = w->context.keys;
	randombytes_buf(w->key, KEY_SIZE);
	slot->origin = *id;
	slot->cipher = (uint8_t)aead_preferred();
	segment_key_commitment(w->key, id, slot->commitment);
	key_seal(keys->recovery_public, w->key, slot->sealed);
	slot->wrapped_set = w->kind == SEGMENT_META || !w->context.sealed_store;
	if (slot->wrapped_set)
		key_wrap(w->kind == SEGMENT_META ? keys->meta_wrap : keys->data_wrap, id, w->key, slot->wrapped);
	return aead_set_key(w->aead, w->key, &w->err);
}

/* Makes the file and writes the header. */
static enum err_code start_segment(struct segment_writer *w)
{
	struct open_segment *s = writer_current(w);
	const struct store_keys *keys = w->context.keys;
	unsigned slot_count = w->copy_slots ? w->copy_slot_count : 1;
	struct segment_key_slot *slots = calloc(slot_count, sizeof(*slots));
	if (!slots)
		return err_set(&w->err, ERR_NO_MEMORY, 0, "no memory for a segment header");
	s->header = (struct segment_header){
		.id = uuid_random(),
		.store_id = keys->store_id,
		.number = w->context.next_number(w->context.user),
		.kind = w->kind,
		.length = segment_header_length(slot_count),
		.created_unix_s = clock_unix_s(),
		.key_slot_count = (uint16_t)slot_count,
		.key_slots = slots,
	};
	memcpy(s->header.recovery_public, keys->recovery_public, KEY_SIZE);
	memcpy(s->header.master_sealed, keys->master_sealed, KEY_SEALED_SIZE);
	s->info = (struct segment_info){.number = s->header.number, .id = s->header.id, .kind = w->kind};
	if (w->copy_slots)
		memcpy(slots, w->copy_slots, slot_count * sizeof(*slots));
	else if (make_key_slot(w, &s->header.id, slots) != ERR_OK)
		return w->err.code;
	char path[SEGMENT_PATH_SIZE];
	segment_path(w->kind, s->header.number, path);
	if (io_open(w->context.io, path, IO_READ | IO_WRITE | IO_CREATE | IO_DIRECT, &s->file, &w->err) != ERR_OK)
		return w->err.code;
	uint8_t *page = w->header_page[w->current];
	segment_header_encode(&s->header, keys->auth, page);
	memset(w->parity[w->current], 0, (size_t)SEGMENT_PARITY_COLUMNS * full_column(&w->context));
	parity_update(w->parity[w->current], full_column(&w->context), 0, page, s->header.length);
	writer_checksum_cells(w, 0, page, s->header.length);
	writer_submit(w, s, &w->header_op[w->current], 0, page, s->header.length);
	w->data_end = s->header.length;
	w->stripe_count = 0;
	w->verify_stripe = randombytes_uniform(w->context.segment_size / w->context.stripe_size);
	return ERR_OK;
}

/* Room for one more stripe of any content, and the footer that then follows? */
static bool segment_has_room(const struct segment_writer *w, uint32_t record_count)
{
	uint64_t footer =
		TRAILER_SIZE + round_up((uint64_t)(record_count + STRIPE_RECORDS_MAX) * RECORD_ENTRY_SIZE, 4096);
	return w->data_end + w->context.stripe_size + footer <= w->context.segment_size &&
	       record_count + STRIPE_RECORDS_MAX <= SEGMENT_RECORDS_MAX;
}

void writer_checksum_cells(struct segment_writer *w, uint64_t offset, const uint8_t *data, size_t length)
{
	union {
		const uint8_t *in;
		uint8_t *out;
	} unconst = {.in = data}; /* ISA-L takes non-const data but only reads it */
	uint64_t cell = offset / SEGMENT_CELL_SIZE;
	for (size_t at = 0; at < length; at += SEGMENT_CELL_SIZE, cell++)
		w->crcs[cell] = crc32_iscsi(unconst.out + at, SEGMENT_CELL_SIZE, 0xffffffffu) ^ 0xffffffffu;
}

/* ---- Stripes ---- */

static bool wants_readback(const struct segment_writer *w)
{
	switch (w->context.verify_new) {
	case VERIFY_NEW_OFF:
		return false;
	case VERIFY_NEW_SAMPLE:
		return w->kind == SEGMENT_META || w->stripe_count == w->verify_stripe;
	case VERIFY_NEW_ALL:
		return true;
	}
	return true;
}

/* Completes the open stripe with its directory and hands it to the kernel. */
static enum err_code flush_stripe(struct segment_writer *w)
{
	struct stripe *stripe = TAKE_PTR(w->open);
	struct open_segment *s = writer_current(w);
	uint64_t start = clock_mono_ns();
	uint8_t *p = stripe->data + stripe->used;
	for (uint32_t i = 0; i < stripe->record_count; i++, p += RECORD_ENTRY_SIZE)
		record_entry_encode(&w->entries[stripe->first_slot + i], p);
	uint32_t end = (uint32_t)(p - stripe->data);
	stripe->length = (uint32_t)round_up(end, SEGMENT_CELL_SIZE);
	memset(p, 0, stripe->length - end);
	struct stripe_head head = {
		.segment_id = s->info.id,
		.index = w->stripe_count,
		.first_slot = stripe->first_slot,
		.record_count = stripe->record_count,
		.length = stripe->length,
		.dir_offset = stripe->used,
	};
	stripe_head_encode(&head, w->context.keys->auth, stripe->data);
	writer_checksum_cells(w, w->data_end, stripe->data, stripe->length);
	uint64_t checked = clock_mono_ns();
	parity_update(w->parity[w->current], full_column(&w->context), w->data_end, stripe->data, stripe->length);
	uint64_t folded = clock_mono_ns();
	stripe->offset = w->data_end;
	stripe->owner = s;
	stripe->state = STRIPE_WRITING;
	stripe->verify = wants_readback(w);
	s->unverified += stripe->verify;
	writer_submit(w, s, &stripe->op, stripe->offset, stripe->data, stripe->length);
	stripe->op.complete = stripe_written;
	stripe->op.user = stripe;
	w->data_end += stripe->length;
	w->stripe_count++;
	w->times.checksum_ns += checked - start;
	w->times.parity_ns += folded - checked;
	enum err_code code = io_queue_wait(w->queue, 0, &w->err);
	w->times.submit_ns += clock_mono_ns() - folded;
	if (code != ERR_OK)
		return code;
	return segment_has_room(w, s->info.record_count) ? ERR_OK : writer_seal(w);
}

static struct stripe *free_stripe(struct segment_writer *w)
{
	for (unsigned i = 0; i < WRITER_STRIPES; i++)
		if (w->stripes[i].state == STRIPE_FREE)
			return &w->stripes[i];
	return NULL;
}

/* Makes sure that a stripe is open with room for a record of at most `room` sealed bytes. */
static enum err_code open_stripe(struct segment_writer *w, size_t room)
{
	if (w->open) {
		size_t needed = w->open->used + room + (size_t)(w->open->record_count + 1) * RECORD_ENTRY_SIZE;
		if (needed <= w->context.stripe_size && w->open->record_count < STRIPE_RECORDS_MAX)
			return ERR_OK;
		if (flush_stripe(w) != ERR_OK)
			return w->err.code;
	}
	if (STRIPE_HEAD_SIZE + room + RECORD_ENTRY_SIZE > w->context.stripe_size)
		return err_set(&w->err, ERR_LIMIT, 0, "a record of %zu bytes does not fit a stripe of this store",
			       room);
	if (!writer_current(w)->file && start_segment(w) != ERR_OK)
		return w->err.code;
	struct stripe *stripe;
	if (writer_pump(w) != ERR_OK)
		return w->err.code;
	while (!(stripe = free_stripe(w)))
		if (writer_wait(w) != ERR_OK)
			return w->err.code;
	stripe->state = STRIPE_OPEN;
	stripe->used = STRIPE_HEAD_SIZE;
	stripe->record_count = 0;
	stripe->first_slot = writer_current(w)->info.record_count;
	w->open = stripe;
	return ERR_OK;
}

/* Enters a sealed record, whose bytes already stand in the open stripe, into the directory. */
static void add_record(struct segment_writer *w, struct record_entry *entry, struct chunk_location *ret)
{
	struct stripe *stripe = w->open;
	struct open_segment *s = writer_current(w);
	uint8_t *stored = stripe->data + stripe->used;
	entry->offset = (uint32_t)(w->data_end + stripe->used);
	entry->xxh3 = XXH3_64bits(stored, entry->stored_length);
	*ret = (struct chunk_location){.segment = s->info.number, .slot = s->info.record_count};
	w->entries[s->info.record_count++] = *entry;
	s->info.stored_bytes += entry->stored_length;
	s->info.raw_bytes += entry->raw_length;
	stripe->used += entry->stored_length;
	stripe->record_count++;
	w->times.records++;
	w->times.raw_bytes += entry->raw_length;
	w->times.stored_bytes += entry->stored_length;
}

enum err_code segment_writer_put(struct segment_writer *w, enum record_kind kind, const struct chunk_id *id,
				 const void *raw, size_t raw_length, struct chunk_location *ret, struct err *err)
{
	if (w->err.code)
		goto failed;
	size_t bound = ZSTD_compressBound(raw_length) + AEAD_TAG_SIZE;
	if (open_stripe(w, bound) != ERR_OK)
		goto failed;
	struct open_segment *s = writer_current(w);
	uint8_t *dst = w->open->data + w->open->used;
	uint64_t start = clock_mono_ns();
	/* Map nodes are hashes: nothing to gain. */
	size_t packed = raw_length;
	if (!w->store_raw && kind != RECORD_NODE)
		packed = ZSTD_compress2(w->zstd, dst, bound, raw, raw_length);
	bool is_raw = ZSTD_isError(packed) || packed >= RAW_ABOVE(raw_length);
	if (is_raw)
		packed = raw_length;
	uint64_t compressed = clock_mono_ns();
	struct record_entry entry = {
		.id = *id,
		.stored_length = (uint32_t)(packed + AEAD_TAG_SIZE),
		.raw_length = (uint32_t)raw_length,
		.ordinal = s->info.record_count,
		.kind = (uint8_t)kind,
		.codec = is_raw ? CODEC_RAW : CODEC_ZSTD,
	};
	uint8_t ad[RECORD_AD_SIZE];
	record_associated_data(&s->info.id, &entry, ad);
	if (aead_seal(w->aead, entry.ordinal, ad, sizeof(ad), is_raw ? raw : dst, packed, dst, &w->err) != ERR_OK)
		goto failed;
	uint64_t sealed = clock_mono_ns();
	add_record(w, &entry, ret);
	w->times.compress_ns += compressed - start;
	w->times.aead_ns += sealed - compressed;
	w->times.checksum_ns += clock_mono_ns() - sealed;
	return ERR_OK;
failed:
	if (err && !err->code)
		*err = w->err;
	return w->err.code;
}

/* Gives up a segment that got no record: nothing refers to it. */
static void drop_empty_segment(struct segment_writer *w)
{
	struct open_segment *s = writer_current(w);
	while (w->err.code == ERR_OK && s->pending)
		ERR_IGNORE(writer_wait(w));
	char path[SEGMENT_PATH_SIZE];
	segment_path(w->kind, s->info.number, path);
	release_open_segment(s);
	if (w->err.code == ERR_OK)
		ERR_IGNORE(io_remove(w->context.io, path, &w->err));
}

enum err_code segment_writer_finish(struct segment_writer *w, struct err *err)
{
	if (w->err.code == ERR_OK && w->open && w->open->record_count > 0)
		ERR_IGNORE(flush_stripe(w));
	if (w->open) {
		w->open->state = STRIPE_FREE;
		w->open = NULL;
	}
	if (w->err.code == ERR_OK && writer_current(w)->file) {
		if (writer_current(w)->info.record_count > 0)
			ERR_IGNORE(writer_seal(w));
		else
			drop_empty_segment(w);
	}
	while (w->err.code == ERR_OK && writer_closing(w)->file)
		ERR_IGNORE(writer_wait(w));
	if (w->err.code && err && !err->code)
		*err = w->err;
	return w->err.code;
}

/* ---- Copying ---- */

/* Copies one record; *ret_left_out if its checksum does not fit. */
static enum err_code copy_record(struct segment_writer *w, const struct segment *from, struct record_entry entry,
				 bool *ret_left_out)
{
	if (open_stripe(w, entry.stored_length) != ERR_OK)
		return w->err.code;
	uint8_t *dst = w->open->data + w->open->used;
	if (io_read_exact(segment_file(from), entry.offset, dst, entry.stored_length, &w->err) != ERR_OK)
		return w->err.code;
	*ret_left_out = XXH3_64bits(dst, entry.stored_length) != entry.xxh3;
	struct chunk_location where;
	if (!*ret_left_out)
		add_record(w, &entry, &where);
	return ERR_OK;
}

enum err_code segment_writer_copy(struct segment_writer *w, const struct segment *from, const uint32_t slots[],
				  size_t count, uint32_t *ret_left_out, struct err *err)
{
	uint32_t left_out = 0;
	uint32_t entry_count;
	const struct record_entry *entries = segment_entries(from, &entry_count);
	w->copy_slots = segment_key_slots(from, &w->copy_slot_count);
	for (size_t i = 0; i < count && w->err.code == ERR_OK; i++) {
		bool bad = false;
		ERR_IGNORE(copy_record(w, from, entries[slots[i]], &bad));
		left_out += bad;
	}
	if (segment_writer_finish(w, err) == ERR_OK)
		*ret_left_out = left_out;
	w->copy_slots = NULL;
	return w->err.code;
}
