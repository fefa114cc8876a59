/* SPDX-License-Identifier: Apache-2.0 */
/* Reading back what was written, while the plain key is still at hand: a stripe is read from the device, opened,
 * decompressed, and its records are hashed again. Catches what no checksum made from memory can: a compressor's or
 * CPU's wrong bytes, a write that went elsewhere. */
#include "store/segment_writer_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/chunk_hash.h"
#include "store/disk_map.h"

#include <inttypes.h>
#include <stdlib.h>

static void read_completed(struct io_op *op)
{
	struct stripe *stripe = op->user;
	stripe->state = STRIPE_TO_VERIFY;
}

static void start_readback(struct segment_writer *w, struct stripe *stripe)
{
	stripe->state = STRIPE_READING;
	w->reading = stripe;
	stripe->op = (struct io_op){
		.kind = IO_OP_READ,
		.file = stripe->owner->file,
		.offset = stripe->offset,
		.data = w->readback,
		.length = stripe->length,
		.complete = read_completed,
		.user = stripe,
	};
	io_queue_submit(w->queue, &stripe->op);
}

/* Blocks that were opened and wait to be hashed together. */
struct opened_group {
	const uint8_t *content[CHUNK_HASH_LANES];
	const struct record_entry *entries[CHUNK_HASH_LANES];
	unsigned count;
};

static enum err_code wrong_content(struct segment_writer *w)
{
	return err_set(&w->err, ERR_CORRUPT, 0, "content does not match its ID");
}

static enum err_code check_group(struct segment_writer *w, struct opened_group *group)
{
	if (group->count == 0)
		return ERR_OK;
	struct chunk_hasher hasher;
	struct chunk_id ids[CHUNK_HASH_LANES];
	chunk_hasher_init(&hasher, w->context.keys->chunk_id);
	chunk_hash_blocks(&hasher, group->content, group->count, ids);
	chunk_hasher_wipe(&hasher);
	unsigned count = group->count;
	group->count = 0;
	for (unsigned i = 0; i < count; i++)
		if (!chunk_id_equal(&ids[i], &group->entries[i]->id))
			return wrong_content(w);
	return ERR_OK;
}

/* Metadata. A delta node's ID hashes what it does not carry: the AEAD tag stands for it. */
static enum err_code check_metadata(struct segment_writer *w, const struct record_entry *entry, const uint8_t *content)
{
	bool is_node = entry->kind == RECORD_NODE;
	if (is_node && content[0] != NODE_PAYLOAD_WHOLE)
		return ERR_OK;
	struct chunk_hasher hasher;
	struct chunk_id id;
	chunk_hasher_init(&hasher, w->context.keys->node_id);
	chunk_hash(&hasher, content + is_node, entry->raw_length - is_node, &id);
	chunk_hasher_wipe(&hasher);
	return chunk_id_equal(&id, &entry->id) ? ERR_OK : wrong_content(w);
}

/* Opens one record as it came from the device. `plain` is where it may be decompressed to; *ret_content is where it
 * is. */
static enum err_code open_record(struct segment_writer *w, const struct stripe *stripe,
				 const struct record_entry *entry, uint8_t *plain, const uint8_t **ret_content)
{
	uint8_t ad[RECORD_AD_SIZE];
	record_associated_data(&stripe->owner->info.id, entry, ad);
	size_t length = entry->stored_length - AEAD_TAG_SIZE;
	uint8_t *packed = w->readback + (entry->offset - stripe->offset);
	TRY(aead_open(w->aead, entry->ordinal, ad, sizeof(ad), packed, length, packed, &w->err));
	*ret_content = packed;
	if (entry->codec == CODEC_RAW)
		return ERR_OK;
	size_t n = ZSTD_decompressDCtx(w->unzstd, plain, entry->raw_length, packed, length);
	if (ZSTD_isError(n) || n != entry->raw_length)
		return err_set(&w->err, ERR_CORRUPT, 0, "zstd does not give back what it was given");
	*ret_content = plain;
	return ERR_OK;
}

/* `plain` has RECORD_RAW_MAX bytes: room for a group of blocks, or for one large record. */
static enum err_code verify_records(struct segment_writer *w, const struct stripe *stripe, uint8_t *plain)
{
	struct opened_group group = {.count = 0};
	for (uint32_t i = 0; i < stripe->record_count; i++) {
		const struct record_entry *entry = &w->entries[stripe->first_slot + i];
		bool is_block = entry->kind == RECORD_CHUNK && entry->raw_length == BLOCK_SIZE;
		const uint8_t *content;
		TRY(open_record(w, stripe, entry, is_block ? plain + (size_t)group.count * BLOCK_SIZE : plain,
				&content));
		if (!is_block) {
			TRY(check_metadata(w, entry, content));
			continue;
		}
		group.content[group.count] = content;
		group.entries[group.count++] = entry;
		if (group.count == CHUNK_HASH_LANES)
			TRY(check_group(w, &group));
	}
	return check_group(w, &group);
}

static enum err_code verify_stripe(struct segment_writer *w, const struct stripe *stripe)
{
	TRY(io_op_check(&stripe->op, &w->err));
	if (memcmp(w->readback, stripe->data, stripe->length) != 0)
		return err_set(&w->err, ERR_CORRUPT, 0, "the device gave back other bytes than were written");
	if (w->copy_slots) /* copied records have keys that this process may not know */
		return ERR_OK;
	AUTO_FREE uint8_t *plain = malloc(RECORD_RAW_MAX);
	if (!plain)
		return err_set(&w->err, ERR_NO_MEMORY, 0, "no memory for reading back");
	return verify_records(w, stripe, plain);
}

static enum err_code finish_readback(struct segment_writer *w)
{
	struct stripe *stripe = w->reading;
	uint64_t start = clock_mono_ns();
	enum err_code code = verify_stripe(w, stripe);
	if (code != ERR_OK)
		err_context(&w->err, "segment %" PRIu64 ", stripe at %" PRIu64 ", read back after writing",
			    stripe->owner->info.number, stripe->offset);
	w->times.verify_ns += clock_mono_ns() - start;
	stripe->owner->unverified--;
	stripe->state = STRIPE_FREE;
	w->reading = NULL;
	return code;
}

enum err_code writer_pump_readback(struct segment_writer *w)
{
	if (w->reading && w->reading->state == STRIPE_TO_VERIFY)
		TRY(finish_readback(w));
	for (unsigned i = 0; i < WRITER_STRIPES && !w->reading; i++)
		if (w->stripes[i].state == STRIPE_WRITTEN && w->stripes[i].verify)
			start_readback(w, &w->stripes[i]);
	return ERR_OK;
}
