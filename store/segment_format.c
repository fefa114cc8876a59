/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment_format.h"

#include "base/cursor.h"
#include "base/size.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

static const uint8_t header_magic[8] = {'X', 'L', 'S', 'E', 'G', 'M', 'N', 'T'};
static const uint8_t stripe_magic[8] = {'X', 'L', 'S', 'T', 'R', 'I', 'P', 'E'};
static const uint8_t footer_magic[8] = {'X', 'L', 'F', 'O', 'O', 'T', 'E', 'R'};
static const uint8_t trailer_magic[8] = {'X', 'L', 'T', 'R', 'A', 'I', 'L', 'R'};

_Static_assert(SEGMENT_HEADER_FIXED + SEGMENT_KEY_SLOTS_MAX * SEGMENT_KEY_SLOT_SIZE + 32 <= SEGMENT_HEADER_MAX,
	       "the largest header holds the most key slots");

void segment_path(enum segment_kind kind, uint64_t number, char dst[static SEGMENT_PATH_SIZE])
{
	snprintf(dst, SEGMENT_PATH_SIZE, "segments/%s/%010" PRIx64 ".seg", kind == SEGMENT_DATA ? "data" : "meta",
		 number);
}

/* ---- Writing fields: a pointer that moves on ---- */

static void put_bytes(uint8_t **p, const void *src, size_t n)
{
	memcpy(*p, src, n);
	*p += n;
}

static void put_u16(uint8_t **p, uint16_t v)
{
	le16_put(*p, v);
	*p += 2;
}

static void put_u32(uint8_t **p, uint32_t v)
{
	le32_put(*p, v);
	*p += 4;
}

static void put_u64(uint8_t **p, uint64_t v)
{
	le64_put(*p, v);
	*p += 8;
}

static bool mac_matches(const uint8_t auth_key[static KEY_SIZE], const void *data, size_t length, const uint8_t *mac)
{
	uint8_t expected[32];
	struct mac_part part = {data, length};
	key_mac(auth_key, &part, 1, expected);
	return sodium_memcmp(expected, mac, sizeof(expected)) == 0;
}

/* ---- Header ---- */

uint32_t segment_header_length(unsigned key_slots)
{
	return (uint32_t)round_up(SEGMENT_HEADER_FIXED + key_slots * SEGMENT_KEY_SLOT_SIZE + 32, 4096);
}

void segment_header_encode(const struct segment_header *header, const uint8_t auth_key[static KEY_SIZE], uint8_t *dst)
{
	memset(dst, 0, header->length);
	uint8_t *p = dst;
	put_bytes(&p, header_magic, 8);
	put_u32(&p, SEGMENT_VERSION);
	put_u32(&p, header->length);
	put_bytes(&p, header->id.bytes, 16);
	put_bytes(&p, header->store_id.bytes, 16);
	put_u64(&p, header->number);
	put_u32(&p, (uint32_t)header->kind);
	put_u16(&p, header->key_slot_count);
	put_u16(&p, 0);
	put_u64(&p, header->created_unix_s);
	put_bytes(&p, header->recovery_public, KEY_SIZE);
	put_bytes(&p, header->master_sealed, KEY_SEALED_SIZE);
	p = dst + SEGMENT_HEADER_FIXED;
	for (unsigned i = 0; i < header->key_slot_count; i++) {
		const struct segment_key_slot *slot = &header->key_slots[i];
		put_bytes(&p, slot->origin.bytes, 16);
		*p++ = slot->cipher;
		*p++ = slot->wrapped_set;
		p += 6;
		put_bytes(&p, slot->commitment, 32);
		put_bytes(&p, slot->wrapped, KEY_WRAPPED_SIZE);
		put_bytes(&p, slot->sealed, KEY_SEALED_SIZE);
	}
	struct mac_part part = {dst, header->length - 32};
	key_mac(auth_key, &part, 1, dst + header->length - 32);
}

static void decode_key_slot(struct cursor *c, struct segment_key_slot *slot)
{
	cursor_copy(c, slot->origin.bytes, 16);
	slot->cipher = cursor_u8(c);
	uint8_t wrapped_set = cursor_u8(c);
	slot->wrapped_set = wrapped_set == 1;
	c->bad |= wrapped_set > 1;
	cursor_zeroes(c, 6);
	cursor_copy(c, slot->commitment, 32);
	cursor_copy(c, slot->wrapped, KEY_WRAPPED_SIZE);
	c->bad |= !slot->wrapped_set && !sodium_is_zero(slot->wrapped, KEY_WRAPPED_SIZE);
	cursor_copy(c, slot->sealed, KEY_SEALED_SIZE);
}

enum err_code segment_header_decode(const uint8_t *data, size_t length, const uint8_t auth_key[static KEY_SIZE],
				    struct segment_header *ret, struct err *err)
{
	struct segment_header h = {0};
	struct cursor c = cursor_of(data, length);
	const uint8_t *magic = cursor_take(&c, 8);
	if (!magic || memcmp(magic, header_magic, 8) != 0)
		return err_set(err, ERR_CORRUPT, 0, "no segment header");
	uint32_t version = cursor_le32(&c);
	h.length = cursor_le32(&c);
	if (h.length < 4096 || h.length > SEGMENT_HEADER_MAX || h.length % 4096 || h.length > length)
		return err_set(err, ERR_CORRUPT, 0, "segment header of impossible length %" PRIu32, h.length);
	if (!mac_matches(auth_key, data, h.length - 32, data + h.length - 32))
		return err_set(err, ERR_CORRUPT, 0, "segment header is damaged or of another store");
	if (version != SEGMENT_VERSION)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "segment of format version %" PRIu32 ", newer than this program", version);
	cursor_copy(&c, h.id.bytes, 16);
	cursor_copy(&c, h.store_id.bytes, 16);
	h.number = cursor_le64(&c);
	uint32_t kind = cursor_le32(&c);
	h.key_slot_count = cursor_le16(&c);
	cursor_zeroes(&c, 2);
	h.created_unix_s = cursor_le64(&c);
	cursor_copy(&c, h.recovery_public, KEY_SIZE);
	cursor_copy(&c, h.master_sealed, KEY_SEALED_SIZE);
	cursor_zeroes(&c, (size_t)(data + SEGMENT_HEADER_FIXED - c.p));
	if (c.bad || (kind != SEGMENT_DATA && kind != SEGMENT_META) || h.key_slot_count == 0 ||
	    h.key_slot_count > SEGMENT_KEY_SLOTS_MAX || segment_header_length(h.key_slot_count) != h.length)
		return err_set(err, ERR_CORRUPT, 0, "segment header is malformed");
	h.kind = (enum segment_kind)kind;
	h.key_slots = calloc(h.key_slot_count, sizeof(*h.key_slots));
	if (!h.key_slots)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a segment header");
	c = cursor_of(data + SEGMENT_HEADER_FIXED, h.length - SEGMENT_HEADER_FIXED - 32);
	for (unsigned i = 0; i < h.key_slot_count; i++)
		decode_key_slot(&c, &h.key_slots[i]);
	cursor_zeroes(&c, c.left);
	enum err_code code = cursor_finish(&c, "segment header", err);
	if (code != ERR_OK) {
		segment_header_release(&h);
		return code;
	}
	*ret = h;
	return ERR_OK;
}

bool segment_header_is_foreign(const uint8_t data[static SEGMENT_HEADER_FIXED], const struct uuid *store_id)
{
	return memcmp(data, header_magic, 8) == 0 && memcmp(data + 32, store_id->bytes, 16) != 0;
}

void segment_header_release(struct segment_header *header)
{
	free(header->key_slots);
	header->key_slots = NULL;
	header->key_slot_count = 0;
}

void segment_key_commitment(const uint8_t key[static KEY_SIZE], const struct uuid *origin, uint8_t ret[static 32])
{
	struct mac_part parts[] = {{"commitment", 10}, {origin->bytes, 16}};
	key_mac(key, parts, 2, ret);
}

/* ---- Directory entries ---- */

void record_entry_encode(const struct record_entry *entry, uint8_t dst[static RECORD_ENTRY_SIZE])
{
	uint8_t *p = dst;
	put_bytes(&p, entry->id.bytes, 32);
	put_u32(&p, entry->offset);
	put_u32(&p, entry->stored_length);
	put_u32(&p, entry->raw_length);
	put_u32(&p, entry->ordinal);
	put_u16(&p, entry->key_slot);
	*p++ = entry->kind;
	*p++ = entry->codec;
	put_u32(&p, 0);
	put_u64(&p, entry->xxh3);
}

static bool entry_lengths_fit(const struct record_entry *e)
{
	uint32_t raw_max = e->kind == RECORD_CHUNK ? BLOCK_SIZE : RECORD_RAW_MAX;
	if (e->raw_length == 0 || e->raw_length > raw_max || e->stored_length <= AEAD_TAG_SIZE)
		return false;
	uint32_t sealed = e->stored_length - AEAD_TAG_SIZE;
	return e->codec == CODEC_RAW ? sealed == e->raw_length : e->codec == CODEC_ZSTD && sealed < e->raw_length;
}

enum err_code record_entry_decode(const uint8_t src[static RECORD_ENTRY_SIZE], uint32_t first, uint32_t end,
				  unsigned key_slots, struct record_entry *ret, struct err *err)
{
	struct record_entry e;
	struct cursor c = cursor_of(src, RECORD_ENTRY_SIZE);
	cursor_copy(&c, e.id.bytes, 32);
	e.offset = cursor_le32(&c);
	e.stored_length = cursor_le32(&c);
	e.raw_length = cursor_le32(&c);
	e.ordinal = cursor_le32(&c);
	e.key_slot = cursor_le16(&c);
	e.kind = cursor_u8(&c);
	e.codec = cursor_u8(&c);
	cursor_zeroes(&c, 4);
	e.xxh3 = cursor_le64(&c);
	TRY(cursor_finish(&c, "directory entry", err));
	if (e.offset < first || e.offset > end || e.stored_length > end - e.offset || e.key_slot >= key_slots ||
	    e.kind < RECORD_CHUNK || e.kind > RECORD_LOG || !entry_lengths_fit(&e))
		return err_set(err, ERR_CORRUPT, 0, "directory entry for offset %" PRIu32 " is out of bounds",
			       e.offset);
	*ret = e;
	return ERR_OK;
}

/* ---- Stripes ---- */

static void stripe_mac(const uint8_t *stripe, const uint8_t *directory, uint32_t record_count,
		       const uint8_t auth_key[static KEY_SIZE], uint8_t ret[static 32])
{
	struct mac_part parts[] = {{stripe, STRIPE_HEAD_SIZE - 32},
				   {directory, (size_t)record_count * RECORD_ENTRY_SIZE}};
	key_mac(auth_key, parts, 2, ret);
}

void stripe_head_encode(const struct stripe_head *head, const uint8_t auth_key[static KEY_SIZE], uint8_t *stripe)
{
	memset(stripe, 0, STRIPE_HEAD_SIZE);
	uint8_t *p = stripe;
	put_bytes(&p, stripe_magic, 8);
	put_bytes(&p, head->segment_id.bytes, 16);
	put_u32(&p, head->index);
	put_u32(&p, head->first_slot);
	put_u32(&p, head->record_count);
	put_u32(&p, head->length);
	put_u32(&p, head->dir_offset);
	stripe_mac(stripe, stripe + head->dir_offset, head->record_count, auth_key, stripe + STRIPE_HEAD_SIZE - 32);
}

enum err_code stripe_head_peek(const uint8_t *data, size_t length, struct stripe_head *ret, struct err *err)
{
	struct stripe_head h;
	struct cursor c = cursor_of(data, length < STRIPE_HEAD_SIZE ? length : STRIPE_HEAD_SIZE);
	const uint8_t *magic = cursor_take(&c, 8);
	if (!magic || memcmp(magic, stripe_magic, 8) != 0)
		return err_set(err, ERR_NOT_FOUND, 0, "no stripe");
	cursor_copy(&c, h.segment_id.bytes, 16);
	h.index = cursor_le32(&c);
	h.first_slot = cursor_le32(&c);
	h.record_count = cursor_le32(&c);
	h.length = cursor_le32(&c);
	h.dir_offset = cursor_le32(&c);
	cursor_zeroes(&c, STRIPE_HEAD_SIZE - 32 - 44);
	cursor_take(&c, 32);
	TRY(cursor_finish(&c, "stripe head", err));
	if (h.record_count == 0 || h.record_count > SEGMENT_RECORDS_MAX || h.length % 4096 ||
	    h.length > STRIPE_SIZE_MAX || h.dir_offset < STRIPE_HEAD_SIZE || h.dir_offset > h.length ||
	    (uint64_t)h.record_count * RECORD_ENTRY_SIZE > h.length - h.dir_offset)
		return err_set(err, ERR_CORRUPT, 0, "stripe head is malformed");
	*ret = h;
	return ERR_OK;
}

enum err_code stripe_authenticate(const uint8_t *stripe, size_t length, const struct stripe_head *head,
				  const uint8_t auth_key[static KEY_SIZE], struct err *err)
{
	if (length < head->length)
		return err_set(err, ERR_CORRUPT, 0, "stripe %" PRIu32 " is truncated", head->index);
	uint8_t mac[32];
	stripe_mac(stripe, stripe + head->dir_offset, head->record_count, auth_key, mac);
	if (sodium_memcmp(mac, stripe + STRIPE_HEAD_SIZE - 32, 32) != 0)
		return err_set(err, ERR_CORRUPT, 0, "directory of stripe %" PRIu32 " is damaged", head->index);
	return ERR_OK;
}

/* ---- Footer head and trailer ---- */

struct trailer_layout trailer_layout(const struct trailer *t)
{
	struct trailer_layout l;
	uint64_t parity_length = (uint64_t)SEGMENT_PARITY_COLUMNS * t->column_length;
	l.cell_count = (t->covered + parity_length) / SEGMENT_CELL_SIZE;
	l.table_length = round_up(l.cell_count * 4, 4096);
	l.first_table = t->covered;
	l.parity = l.first_table + l.table_length;
	l.second_table = l.parity + parity_length;
	l.header_copy = l.second_table + l.table_length;
	l.trailer = l.header_copy + t->header_length;
	l.file_length = l.trailer + TRAILER_SIZE;
	return l;
}

void trailer_encode(const struct trailer *t, const uint8_t auth_key[static KEY_SIZE], uint8_t dst[static TRAILER_SIZE],
		    uint8_t *ret_mac)
{
	memset(dst, 0, TRAILER_SIZE);
	uint8_t *p = dst;
	put_bytes(&p, t->is_trailer ? trailer_magic : footer_magic, 8);
	put_u32(&p, SEGMENT_VERSION);
	put_u32(&p, t->header_length);
	put_bytes(&p, t->id.bytes, 16);
	put_bytes(&p, t->store_id.bytes, 16);
	put_u64(&p, t->number);
	put_u32(&p, (uint32_t)t->kind);
	put_u32(&p, t->stripe_count);
	put_u32(&p, t->record_count);
	put_u32(&p, t->column_length);
	put_u64(&p, t->data_end);
	put_u64(&p, t->covered);
	put_u64(&p, t->stored_bytes);
	put_u64(&p, t->raw_bytes);
	put_u64(&p, t->sealed_unix_s);
	put_bytes(&p, t->directory_digest, 32);
	put_bytes(&p, t->crc_digest, 32);
	uint8_t *mac = dst + TRAILER_SIZE - 32;
	struct mac_part part = {dst, TRAILER_SIZE - 32};
	key_mac(auth_key, &part, 1, mac);
	if (ret_mac)
		memcpy(ret_mac, mac, 32);
}

/* The positions must be those that a writer makes: everything else follows from them. */
static bool trailer_is_consistent(const struct trailer *t)
{
	uint64_t directory = round_up((uint64_t)t->record_count * RECORD_ENTRY_SIZE, 4096);
	return (t->kind == SEGMENT_DATA || t->kind == SEGMENT_META) && t->header_length >= 4096 &&
	       t->header_length <= SEGMENT_HEADER_MAX && t->header_length % 4096 == 0 && t->record_count >= 1 &&
	       t->record_count <= SEGMENT_RECORDS_MAX && t->data_end % 4096 == 0 && t->data_end > t->header_length &&
	       t->data_end <= SEGMENT_SIZE_MAX && t->covered == t->data_end + TRAILER_SIZE + directory &&
	       t->column_length % 4096 == 0 && t->column_length > 0 &&
	       t->column_length <= SEGMENT_SIZE_MAX / SEGMENT_COLUMNS + (1u << 20) &&
	       t->covered <= (uint64_t)t->column_length * SEGMENT_COLUMNS && t->stripe_count >= 1 &&
	       t->stripe_count <= t->record_count;
}

enum err_code trailer_decode(const uint8_t src[static TRAILER_SIZE], const uint8_t auth_key[static KEY_SIZE],
			     struct trailer *ret, uint8_t *ret_mac, struct err *err)
{
	struct trailer t = {0};
	struct cursor c = cursor_of(src, TRAILER_SIZE - 32);
	const uint8_t *magic = cursor_take(&c, 8);
	t.is_trailer = memcmp(magic, trailer_magic, 8) == 0;
	if (!t.is_trailer && memcmp(magic, footer_magic, 8) != 0)
		return err_set(err, ERR_CORRUPT, 0, "no segment trailer");
	if (!mac_matches(auth_key, src, TRAILER_SIZE - 32, src + TRAILER_SIZE - 32))
		return err_set(err, ERR_CORRUPT, 0, "segment trailer is damaged or of another store");
	uint32_t version = cursor_le32(&c);
	if (version != SEGMENT_VERSION)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "segment of format version %" PRIu32 ", newer than this program", version);
	t.header_length = cursor_le32(&c);
	cursor_copy(&c, t.id.bytes, 16);
	cursor_copy(&c, t.store_id.bytes, 16);
	t.number = cursor_le64(&c);
	t.kind = (enum segment_kind)cursor_le32(&c);
	t.stripe_count = cursor_le32(&c);
	t.record_count = cursor_le32(&c);
	t.column_length = cursor_le32(&c);
	t.data_end = cursor_le64(&c);
	t.covered = cursor_le64(&c);
	t.stored_bytes = cursor_le64(&c);
	t.raw_bytes = cursor_le64(&c);
	t.sealed_unix_s = cursor_le64(&c);
	cursor_copy(&c, t.directory_digest, 32);
	cursor_copy(&c, t.crc_digest, 32);
	cursor_zeroes(&c, c.left);
	TRY(cursor_finish(&c, "segment trailer", err));
	if (!trailer_is_consistent(&t))
		return err_set(err, ERR_CORRUPT, 0, "segment trailer is malformed");
	if (ret_mac)
		memcpy(ret_mac, src + TRAILER_SIZE - 32, 32);
	*ret = t;
	return ERR_OK;
}

void record_associated_data(const struct uuid *origin, const struct record_entry *entry,
			    uint8_t dst[static RECORD_AD_SIZE])
{
	uint8_t *p = dst;
	put_bytes(&p, origin->bytes, 16);
	put_u32(&p, entry->ordinal);
	put_u32(&p, entry->raw_length);
	put_u32(&p, entry->stored_length);
	*p++ = entry->kind;
	*p++ = entry->codec;
	put_u16(&p, 0);
	put_bytes(&p, entry->id.bytes, 32);
}
