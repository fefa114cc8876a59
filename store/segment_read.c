/* SPDX-License-Identifier: Apache-2.0 */
#include "store/segment_internal.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/size.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>

DEFINE_CLEANUP(segment, struct segment, segment_unref)

enum err_code segment_object_new(struct io_file *file, struct segment **ret, struct err *err)
{
	struct segment *s = calloc(1, sizeof(*s));
	if (!s) {
		io_file_close(file);
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a segment");
	}
	atomic_init(&s->refs, 1);
	s->file = file;
	*ret = s;
	return ERR_OK;
}

struct segment *segment_ref(struct segment *segment)
{
	atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed);
	return segment;
}

void segment_unref(struct segment *segment)
{
	/* Release, then acquire by the last one: what other threads did with the segment happens before it is freed. */
	if (!segment || atomic_fetch_sub_explicit(&segment->refs, 1, memory_order_acq_rel) != 1)
		return;
	io_file_close(segment->file);
	segment_header_release(&segment->header);
	if (segment->keys)
		sodium_free(segment->keys);
	free(segment->has_key);
	free(segment->entries);
	free(segment);
}

uint64_t segment_number(const struct segment *segment)
{
	return segment->header.number;
}

enum segment_kind segment_kind_of(const struct segment *segment)
{
	return segment->header.kind;
}

bool segment_was_damaged(const struct segment *segment)
{
	return segment->damaged;
}

const struct record_entry *segment_entries(const struct segment *segment, uint32_t *ret_count)
{
	*ret_count = segment->entry_count;
	return segment->entries;
}

struct io_file *segment_file(const struct segment *segment)
{
	return segment->file;
}

const struct segment_key_slot *segment_key_slots(const struct segment *segment, unsigned *ret_count)
{
	*ret_count = segment->header.key_slot_count;
	return segment->header.key_slots;
}

void segment_describe(const struct segment *segment, struct segment_info *ret)
{
	const struct trailer *t = &segment->trailer;
	*ret = (struct segment_info){
		.number = t->number,
		.id = t->id,
		.kind = t->kind,
		.file_length = trailer_layout(t).file_length,
		.record_count = t->record_count,
		.stored_bytes = t->stored_bytes,
		.raw_bytes = t->raw_bytes,
	};
	memcpy(ret->trailer_mac, segment->trailer_mac, sizeof(ret->trailer_mac));
}

enum err_code segment_read_header(struct segment *segment, const struct store_keys *keys, uint64_t offset,
				  struct err *err)
{
	uint64_t size;
	TRY(io_file_size(segment->file, &size, err));
	if (offset >= size)
		return err_set(err, ERR_CORRUPT, 0, "segment file ends before its header");
	size_t length = (size_t)min_u64(size - offset, SEGMENT_HEADER_MAX);
	AUTO_FREE uint8_t *data = aligned_alloc(IO_ALIGN, SEGMENT_HEADER_MAX);
	if (!data)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a segment header");
	/* Most headers are one page: the second read is for segments that compaction made of many. */
	size_t first = length < 4096 ? length : 4096;
	TRY(io_read_exact(segment->file, offset, data, first, err));
	uint32_t wanted = first >= 16 ? le32_get(data + 12) : 0;
	if (wanted > first && wanted <= length)
		TRY(io_read_exact(segment->file, offset, data, wanted, err));
	else
		wanted = (uint32_t)first;
	struct segment_header header;
	TRY(segment_header_decode(data, wanted, keys->auth, &header, err));
	segment_header_release(&segment->header);
	segment->header = header;
	return ERR_OK;
}

/* Unwraps one data key: for the appliance if it may, else with the recovery key if that is at hand. */
static bool unwrap_key(const struct segment_key_slot *slot, enum segment_kind kind, const struct store_keys *keys,
		       uint8_t ret[static KEY_SIZE])
{
	const uint8_t *wrap = kind == SEGMENT_META ? keys->meta_wrap : keys->data_wrap;
	if (slot->wrapped_set && key_unwrap(wrap, &slot->origin, slot->wrapped, ret, NULL) == ERR_OK)
		return true;
	return keys->has_recovery_secret &&
	       key_unseal(keys->recovery_public, keys->recovery_secret, slot->sealed, ret, NULL) == ERR_OK;
}

enum err_code segment_unwrap_keys(struct segment *segment, const struct store_keys *keys, struct err *err)
{
	unsigned count = segment->header.key_slot_count;
	segment->keys = sodium_malloc((size_t)count * KEY_SIZE);
	segment->has_key = calloc(count, sizeof(*segment->has_key));
	if (!segment->keys || !segment->has_key)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a segment's keys");
	for (unsigned i = 0; i < count; i++) {
		const struct segment_key_slot *slot = &segment->header.key_slots[i];
		uint8_t *key = segment->keys + (size_t)i * KEY_SIZE;
		if (!unwrap_key(slot, segment->header.kind, keys, key))
			continue;
		uint8_t commitment[32];
		segment_key_commitment(key, &slot->origin, commitment);
		if (sodium_memcmp(commitment, slot->commitment, sizeof(commitment)) != 0)
			return err_set(err, ERR_CORRUPT, 0,
				       "segment %" PRIu64 ": key slot %u does not fit its commitment",
				       segment->header.number, i);
		segment->has_key[i] = true;
	}
	return ERR_OK;
}

/* ---- Trailer ---- */

/* Looks for the footer head page by page: the trailer is lost. */
static enum err_code find_footer_head(struct segment *segment, const struct store_keys *keys, uint64_t size,
				      struct err *err)
{
	enum { PIECE = 1 << 20 };
	AUTO_FREE uint8_t *piece = aligned_alloc(IO_ALIGN, PIECE);
	if (!piece)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a segment");
	for (uint64_t at = 0; at + TRAILER_SIZE <= size; at += PIECE) {
		size_t got;
		TRY(io_read(segment->file, at, piece, (size_t)min_u64(PIECE, size - at), &got, err));
		for (size_t i = 0; i + TRAILER_SIZE <= got; i += 4096) {
			struct trailer t;
			if (memcmp(piece + i, "XLFOOTER", 8) != 0 ||
			    trailer_decode(piece + i, keys->auth, &t, NULL, NULL) != ERR_OK)
				continue;
			if (t.data_end != at + i)
				continue;
			segment->trailer = t;
			return ERR_OK;
		}
	}
	return err_set(err, ERR_CORRUPT, 0, "neither trailer nor footer is whole");
}

static enum err_code read_trailer(struct segment *segment, const struct store_keys *keys,
				  const struct segment_info *info, struct err *err)
{
	uint64_t size;
	TRY(io_file_size(segment->file, &size, err));
	uint8_t *mac = segment->trailer_mac;
	_Alignas(4096) uint8_t page[TRAILER_SIZE];
	uint64_t expected_size = info ? info->file_length : round_down(size, 4096);
	if (expected_size >= TRAILER_SIZE && expected_size <= size) {
		if (io_read_exact(segment->file, expected_size - TRAILER_SIZE, page, sizeof(page), NULL) == ERR_OK &&
		    trailer_decode(page, keys->auth, &segment->trailer, mac, NULL) == ERR_OK &&
		    segment->trailer.is_trailer && trailer_layout(&segment->trailer).file_length == expected_size &&
		    (!info || sodium_memcmp(mac, info->trailer_mac, 32) == 0))
			return ERR_OK;
	}
	segment->damaged = true;
	return find_footer_head(segment, keys, size, err);
}

/* ---- Directory ---- */

static enum err_code read_directory_copy(struct segment *segment, struct err *err)
{
	const struct trailer *t = &segment->trailer;
	size_t length = (size_t)(t->covered - t->data_end - TRAILER_SIZE);
	AUTO_FREE uint8_t *data = aligned_alloc(IO_ALIGN, length);
	segment->entries = calloc(t->record_count, sizeof(*segment->entries));
	if (!data || !segment->entries)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a segment's directory");
	TRY(io_read_exact(segment->file, t->data_end + TRAILER_SIZE, data, length, err));
	uint8_t digest[32];
	crypto_generichash(digest, sizeof(digest), data, (size_t)t->record_count * RECORD_ENTRY_SIZE, NULL, 0);
	if (sodium_memcmp(digest, t->directory_digest, sizeof(digest)) != 0)
		return err_set(err, ERR_CORRUPT, 0, "directory copy is damaged");
	for (uint32_t i = 0; i < t->record_count; i++)
		TRY(record_entry_decode(data + (size_t)i * RECORD_ENTRY_SIZE, segment->header.length,
					(uint32_t)t->data_end, segment->header.key_slot_count, &segment->entries[i],
					err));
	segment->entry_count = t->record_count;
	return ERR_OK;
}

static enum err_code read_directory(struct segment *segment, const struct store_keys *keys, struct err *err)
{
	struct err first = {0};
	enum err_code code = read_directory_copy(segment, &first);
	if (code != ERR_CORRUPT && code != ERR_IO) {
		if (code != ERR_OK && err)
			*err = first;
		return code;
	}
	segment->damaged = true;
	free(segment->entries);
	segment->entries = NULL;
	segment->entry_count = 0;
	uint64_t end;
	uint32_t left_out;
	TRY(segment_collect_stripes(segment, keys, segment->trailer.data_end, false, &end, &left_out, err));
	/* Slots count from the front, so those before the damage keep their numbers. */
	if (segment->entry_count == 0)
		return err_set(err, ERR_CORRUPT, 0, "the directory copy is damaged, and stripes at %" PRIu64 " are too",
			       end);
	return ERR_OK;
}

/* Neither trailer nor footer is left: what stands in whole stripes at the front of a segment that the log knows can
 * still be had. */
static enum err_code open_front(struct segment *segment, const struct store_keys *keys, const struct segment_info *info,
				struct err *err)
{
	uint64_t size;
	TRY(io_file_size(segment->file, &size, err));
	if (segment_read_header(segment, keys, 0, NULL) != ERR_OK || segment->header.number != info->number ||
	    segment->header.kind != info->kind || !uuid_equal(&segment->header.id, &info->id))
		return err_set(err, ERR_CORRUPT, 0, "neither header, trailer nor footer is whole");
	TRY(segment_unwrap_keys(segment, keys, err));
	uint64_t end;
	uint32_t left_out;
	TRY(segment_collect_stripes(segment, keys, round_down(min_u64(size, SEGMENT_SIZE_MAX), 4096), false, &end,
				    &left_out, err));
	if (segment->entry_count == 0)
		return err_set(err, ERR_CORRUPT, 0, "neither trailer, footer nor the first stripe is whole");
	segment->trailer = (struct trailer){0};
	return ERR_OK;
}

static enum err_code open_file(struct segment *segment, const struct store_keys *keys, enum segment_kind kind,
			       uint64_t number, const struct segment_info *info, struct err *err)
{
	struct err why = {0};
	enum err_code code = read_trailer(segment, keys, info, &why);
	if (code == ERR_CORRUPT && info)
		return open_front(segment, keys, info, err);
	if (code != ERR_OK)
		return err_set(err, code, 0, "%s", why.msg);
	const struct trailer *t = &segment->trailer;
	if (t->number != number || t->kind != kind || !uuid_equal(&t->store_id, &keys->store_id) ||
	    (info && !uuid_equal(&info->id, &t->id)))
		return err_set(err, ERR_CORRUPT, 0, "it is another segment (number %" PRIu64 ")", t->number);
	if (segment_read_header(segment, keys, 0, NULL) != ERR_OK) {
		segment->damaged = true;
		TRY(segment_read_header(segment, keys, trailer_layout(t).header_copy, err));
	}
	if (segment->header.number != number || segment->header.length != t->header_length ||
	    !uuid_equal(&segment->header.id, &t->id))
		return err_set(err, ERR_CORRUPT, 0, "header and trailer are of two segments");
	TRY(segment_unwrap_keys(segment, keys, err));
	return read_directory(segment, keys, err);
}

enum err_code segment_open(struct io *io, const struct store_keys *keys, enum segment_kind kind, uint64_t number,
			   const struct segment_info *info, struct segment **ret, struct err *err)
{
	char path[SEGMENT_PATH_SIZE];
	segment_path(kind, number, path);
	struct io_file *file;
	TRY(io_open(io, path, IO_READ | IO_DIRECT, &file, err));
	AUTO(cleanup_segment) struct segment *segment = NULL;
	TRY(segment_object_new(file, &segment, err));
	if (open_file(segment, keys, kind, number, info, err) != ERR_OK)
		return err ? err_context(err, "segment '%s'", path) : ERR_CORRUPT;
	*ret = TAKE_PTR(segment);
	return ERR_OK;
}
