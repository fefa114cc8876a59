/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a segment from its stripes: after a crash left it unsealed, or when its directory copy is damaged. */
#include "store/segment_internal.h"

#include "base/cleanup.h"
#include "base/size.h"

#include <inttypes.h>
#include <stdlib.h>
#include <xxhash.h>

DEFINE_CLEANUP(segment, struct segment, segment_unref)

static enum err_code append_entry(struct segment *segment, const struct record_entry *entry, struct err *err)
{
	if (segment->entry_count == segment->entry_room) {
		uint32_t room = segment->entry_room ? segment->entry_room * 2 : 256;
		struct record_entry *grown = reallocarray(segment->entries, room, sizeof(*grown));
		if (!grown)
			return err_set(err, ERR_NO_MEMORY, 0, "no memory for a segment's directory");
		segment->entries = grown;
		segment->entry_room = room;
	}
	segment->entries[segment->entry_count++] = *entry;
	return ERR_OK;
}

/* Appends the records of one authentic stripe at `offset` of the file. */
static enum err_code append_stripe(struct segment *segment, const uint8_t *stripe, const struct stripe_head *head,
				   uint64_t offset, bool check_records, uint32_t *left_out, struct err *err)
{
	uint32_t first = (uint32_t)offset + STRIPE_HEAD_SIZE;
	uint32_t end = (uint32_t)offset + head->dir_offset;
	for (uint32_t i = 0; i < head->record_count; i++) {
		struct record_entry entry;
		const uint8_t *src = stripe + head->dir_offset + (size_t)i * RECORD_ENTRY_SIZE;
		TRY(record_entry_decode(src, first, end, segment->header.key_slot_count, &entry, err));
		if (check_records && XXH3_64bits(stripe + (entry.offset - offset), entry.stored_length) != entry.xxh3)
			++*left_out;
		else
			TRY(append_entry(segment, &entry, err));
	}
	return ERR_OK;
}

/* The stripe at `at`, read into `buffer` (STRIPE_SIZE_MAX bytes) and authenticated. ERR_NOT_FOUND or ERR_CORRUPT if
 * there is none. */
static enum err_code read_stripe(struct segment *segment, const struct store_keys *keys, uint64_t at, uint64_t limit,
				 uint32_t index, uint8_t *buffer, struct stripe_head *ret, struct err *err)
{
	TRY(io_read_exact(segment->file, at, buffer, 4096, err));
	TRY(stripe_head_peek(buffer, 4096, ret, err));
	if (ret->length > limit - at || ret->index != index || !uuid_equal(&ret->segment_id, &segment->header.id))
		return err_set(err, ERR_CORRUPT, 0, "stripe %" PRIu32 " does not belong here", index);
	TRY(io_read_exact(segment->file, at, buffer, ret->length, err));
	return stripe_authenticate(buffer, ret->length, ret, keys->auth, err);
}

enum err_code segment_collect_stripes(struct segment *segment, const struct store_keys *keys, uint64_t limit,
				      bool check_records, uint64_t *ret_end, uint32_t *ret_left_out, struct err *err)
{
	AUTO_FREE uint8_t *buffer = aligned_alloc(IO_ALIGN, STRIPE_SIZE_MAX);
	if (!buffer)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a stripe");
	uint64_t at = segment->header.length;
	uint32_t left_out = 0;
	for (uint32_t index = 0; at + 4096 <= limit; index++) {
		struct stripe_head head;
		struct err why = {0};
		enum err_code code = read_stripe(segment, keys, at, limit, index, buffer, &head, &why);
		if (code == ERR_NO_MEMORY || code == ERR_IO)
			return err_set(err, code, 0, "%s", why.msg);
		if (code != ERR_OK)
			break;
		TRY(append_stripe(segment, buffer, &head, at, check_records, &left_out, err));
		at += head.length;
	}
	*ret_end = at;
	*ret_left_out = left_out;
	return ERR_OK;
}

static bool is_of_another_store(const struct segment *segment, const struct store_keys *keys)
{
	_Alignas(IO_ALIGN) uint8_t page[IO_ALIGN];
	return io_read_exact(segment->file, 0, page, sizeof(page), NULL) == ERR_OK &&
	       segment_header_is_foreign(page, &keys->store_id);
}

enum err_code segment_salvage(struct io *io, const struct store_keys *keys, enum segment_kind kind, uint64_t number,
			      struct segment **ret, struct err *err)
{
	char path[SEGMENT_PATH_SIZE];
	segment_path(kind, number, path);
	struct io_file *file;
	TRY(io_open(io, path, IO_READ | IO_DIRECT, &file, err));
	AUTO(cleanup_segment) struct segment *segment = NULL;
	TRY(segment_object_new(file, &segment, err));
	struct err why = {0};
	enum err_code code = segment_read_header(segment, keys, 0, &why);
	if (code == ERR_CORRUPT && is_of_another_store(segment, keys))
		return err_set(err, ERR_AUTH, 0, "segment '%s' belongs to another store", path);
	if (code != ERR_OK && code != ERR_CORRUPT)
		return err_set(err, code, 0, "segment '%s': %s", path, why.msg);
	if (code != ERR_OK || segment->header.number != number || segment->header.kind != kind)
		return err_set(err, ERR_NOT_FOUND, 0, "segment '%s' has no usable header", path);
	TRY(segment_unwrap_keys(segment, keys, err));
	uint64_t size;
	TRY(io_file_size(segment->file, &size, err));
	uint64_t end;
	uint32_t left_out;
	TRY(segment_collect_stripes(segment, keys, round_down(min_u64(size, SEGMENT_SIZE_MAX), 4096), true, &end,
				    &left_out, err));
	*ret = TAKE_PTR(segment);
	return ERR_OK;
}
