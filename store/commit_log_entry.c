/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of log entries: docs/FORMAT.md, "Commit log". Free of I/O. */
#include "store/commit_log_internal.h"

#include "base/cursor.h"
#include "base/size.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>

static const uint8_t entry_magic[8] = {'X', 'L', 'L', 'O', 'G', 'E', 'N', 'T'};

enum { LOG_VERSION = 1, FLAG_CHECKPOINT = 1 };
enum item_type { ITEM_SEGMENT = 1, ITEM_SAVESET = 2, ITEM_COUNTERS = 3 };
enum { ITEM_HEAD = 8, SEGMENT_BODY = 104, SAVESET_BODY = 56, COUNTERS_BODY = 16 };

void log_state_release(struct log_state *state)
{
	free(state->segments);
	free(state->savesets);
	*state = (struct log_state){0};
}

/* ---- Encoding ---- */

static uint8_t *put_item_head(uint8_t *p, enum item_type type, uint32_t length)
{
	le16_put(p, (uint16_t)type);
	le16_put(p + 2, 0);
	le32_put(p + 4, length);
	return p + ITEM_HEAD;
}

static uint8_t *put_segment(uint8_t *p, const struct segment_info *info)
{
	p = put_item_head(p, ITEM_SEGMENT, SEGMENT_BODY);
	le64_put(p, info->number);
	memcpy(p + 8, info->id.bytes, 16);
	le32_put(p + 24, (uint32_t)info->kind);
	le32_put(p + 28, info->record_count);
	le64_put(p + 32, info->file_length);
	le64_put(p + 40, info->stored_bytes);
	le64_put(p + 48, info->raw_bytes);
	memcpy(p + 56, info->trailer_mac, 32);
	memset(p + 88, 0, 16);
	return p + SEGMENT_BODY;
}

static uint8_t *put_saveset(uint8_t *p, const struct log_saveset *saveset)
{
	p = put_item_head(p, ITEM_SAVESET, SAVESET_BODY);
	memcpy(p, saveset->id.bytes, 16);
	memcpy(p + 16, saveset->record.bytes, 32);
	le64_put(p + 48, saveset->time_unix_s);
	return p + SAVESET_BODY;
}

enum err_code log_entry_encode(const struct log_entry_content *content, const struct store_keys *keys, uint8_t **ret,
			       size_t *ret_length, uint8_t ret_mac[static 32], struct err *err)
{
	size_t payload = ITEM_HEAD + COUNTERS_BODY + content->segment_count * (ITEM_HEAD + SEGMENT_BODY) +
			 content->saveset_count * (ITEM_HEAD + SAVESET_BODY);
	size_t length = round_up(LOG_ENTRY_HEAD + payload, LOG_PAGE);
	uint8_t *data = aligned_alloc(LOG_PAGE, length);
	if (!data || payload > UINT32_MAX) {
		free(data);
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a log entry of %zu bytes", length);
	}
	memset(data, 0, length);
	memcpy(data, entry_magic, 8);
	le32_put(data + 8, LOG_VERSION);
	le32_put(data + 12, content->checkpoint ? FLAG_CHECKPOINT : 0);
	memcpy(data + 16, keys->store_id.bytes, 16);
	le64_put(data + 32, content->sequence);
	le64_put(data + 40, content->time_unix_s);
	le32_put(data + 48, (uint32_t)payload);
	le32_put(data + 52, (uint32_t)(1 + content->segment_count + content->saveset_count));
	memcpy(data + 56, content->previous_mac, 32);
	uint8_t *p = put_item_head(data + LOG_ENTRY_HEAD, ITEM_COUNTERS, COUNTERS_BODY);
	le64_put(p, content->next_segment);
	p += COUNTERS_BODY;
	for (size_t i = 0; i < content->segment_count; i++)
		p = put_segment(p, &content->segments[i]);
	for (size_t i = 0; i < content->saveset_count; i++)
		p = put_saveset(p, &content->savesets[i]);
	struct mac_part parts[] = {{data, LOG_ENTRY_HEAD - 32}, {data + LOG_ENTRY_HEAD, payload}};
	key_mac(keys->auth, parts, 2, data + LOG_ENTRY_HEAD - 32);
	memcpy(ret_mac, data + LOG_ENTRY_HEAD - 32, 32);
	*ret = data;
	*ret_length = length;
	return ERR_OK;
}

/* ---- State ---- */

static enum err_code grow(void **array, size_t count, size_t extra, size_t element, struct err *err)
{
	/* Room doubles at powers of two: the array is exactly as large as the next power of two above its count. */
	size_t room = 16;
	while (room < count + extra)
		room *= 2;
	void *grown = reallocarray(*array, room, element);
	if (!grown)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the commit log's state");
	*array = grown;
	return ERR_OK;
}

enum err_code log_state_add_segment(struct log_state *state, const struct segment_info *info, struct err *err)
{
	size_t at = state->segment_count;
	while (at > 0 && state->segments[at - 1].number > info->number)
		at--;
	if (at > 0 && state->segments[at - 1].number == info->number)
		return err_set(err, ERR_CORRUPT, 0, "the log lists segment %" PRIu64 " twice", info->number);
	void *array = state->segments;
	TRY(grow(&array, state->segment_count, 1, sizeof(*state->segments), err));
	state->segments = array;
	memmove(&state->segments[at + 1], &state->segments[at], (state->segment_count - at) * sizeof(*state->segments));
	state->segments[at] = *info;
	state->segment_count++;
	return ERR_OK;
}

enum err_code log_state_add_saveset(struct log_state *state, const struct log_saveset *saveset, struct err *err)
{
	void *array = state->savesets;
	TRY(grow(&array, state->saveset_count, 1, sizeof(*state->savesets), err));
	state->savesets = array;
	state->savesets[state->saveset_count++] = *saveset;
	return ERR_OK;
}

/* ---- Decoding ---- */

static enum err_code apply_segment(struct cursor *c, struct log_state *state, struct err *err)
{
	struct segment_info info = {0};
	info.number = cursor_le64(c);
	cursor_copy(c, info.id.bytes, 16);
	info.kind = (enum segment_kind)cursor_le32(c);
	info.record_count = cursor_le32(c);
	info.file_length = cursor_le64(c);
	info.stored_bytes = cursor_le64(c);
	info.raw_bytes = cursor_le64(c);
	cursor_copy(c, info.trailer_mac, 32);
	cursor_zeroes(c, 16);
	TRY(cursor_finish(c, "segment item of the log", err));
	if ((info.kind != SEGMENT_DATA && info.kind != SEGMENT_META) || info.record_count > SEGMENT_RECORDS_MAX)
		return err_set(err, ERR_CORRUPT, 0, "segment item of the log is malformed");
	return log_state_add_segment(state, &info, err);
}

static enum err_code apply_saveset(struct cursor *c, struct log_state *state, struct err *err)
{
	struct log_saveset saveset;
	cursor_copy(c, saveset.id.bytes, 16);
	cursor_copy(c, saveset.record.bytes, 32);
	saveset.time_unix_s = cursor_le64(c);
	TRY(cursor_finish(c, "saveset item of the log", err));
	return log_state_add_saveset(state, &saveset, err);
}

static enum err_code apply_items(struct cursor payload, uint32_t count, struct log_state *state, struct err *err)
{
	for (uint32_t i = 0; i < count; i++) {
		uint16_t type = cursor_le16(&payload);
		cursor_zeroes(&payload, 2);
		uint32_t length = cursor_le32(&payload);
		const uint8_t *body = cursor_take(&payload, length);
		if (!body)
			break;
		struct cursor item = cursor_of(body, length);
		switch (type) {
		case ITEM_SEGMENT:
			TRY(apply_segment(&item, state, err));
			break;
		case ITEM_SAVESET:
			TRY(apply_saveset(&item, state, err));
			break;
		case ITEM_COUNTERS:
			state->next_segment = max_u64(state->next_segment, cursor_le64(&item));
			cursor_zeroes(&item, 8);
			TRY(cursor_finish(&item, "counters of the log", err));
			break;
		default:
			return err_set(err, ERR_UNSUPPORTED, 0,
				       "log item of unknown type %u: the store is newer than this program", type);
		}
	}
	return cursor_finish(&payload, "log entry", err);
}

enum err_code log_entry_peek(const uint8_t *data, size_t length, const struct store_keys *keys,
			     struct log_entry_head *ret, struct err *err)
{
	if (length < LOG_ENTRY_HEAD || memcmp(data, entry_magic, 8) != 0)
		return err_set(err, ERR_NOT_FOUND, 0, "no log entry");
	struct log_entry_head h = {
		.version = le32_get(data + 8),
		.checkpoint = le32_get(data + 12) & FLAG_CHECKPOINT,
		.sequence = le64_get(data + 32),
		.time_unix_s = le64_get(data + 40),
		.payload = le32_get(data + 48),
		.item_count = le32_get(data + 52),
	};
	memcpy(h.previous_mac, data + 56, 32);
	memcpy(h.mac, data + LOG_ENTRY_HEAD - 32, 32);
	if (h.payload > length - LOG_ENTRY_HEAD)
		return err_set(err, ERR_CORRUPT, 0, "log entry is truncated");
	uint8_t mac[32];
	struct mac_part parts[] = {{data, LOG_ENTRY_HEAD - 32}, {data + LOG_ENTRY_HEAD, h.payload}};
	key_mac(keys->auth, parts, 2, mac);
	if (sodium_memcmp(mac, h.mac, sizeof(mac)) != 0 || memcmp(data + 16, keys->store_id.bytes, 16) != 0)
		return err_set(err, ERR_CORRUPT, 0, "log entry is damaged");
	*ret = h;
	return ERR_OK;
}

/* An entry of the chain that says what this program does not know: going on without it would lose it. Entries behind
 * the chain may say what they like. */
static enum err_code check_known(const struct log_entry_head *h, const uint8_t *data, struct err *err)
{
	if (h->version != LOG_VERSION)
		return err_set(err, ERR_UNSUPPORTED, 0, "log entry of version %" PRIu32 ", newer than this program",
			       h->version);
	if (le32_get(data + 12) & ~(uint32_t)FLAG_CHECKPOINT || le64_get(data + 88) != 0)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "log entry %" PRIu64 " has flags that only a newer program knows", h->sequence);
	return ERR_OK;
}

enum err_code log_entry_apply(const uint8_t *data, size_t length, const struct store_keys *keys,
			      struct log_chain *chain, struct log_state *state, size_t *ret_length, struct err *err)
{
	struct log_entry_head h;
	TRY(log_entry_peek(data, length, keys, &h, err));
	bool starts = chain->next_sequence == 0;
	if (starts ? !h.checkpoint
		   : h.sequence != chain->next_sequence || memcmp(h.previous_mac, chain->previous_mac, 32) != 0)
		return err_set(err, ERR_NOT_FOUND, 0, "log entry %" PRIu64 " does not continue the chain", h.sequence);
	TRY(check_known(&h, data, err));
	if (h.checkpoint)
		log_state_release(state);
	TRY(apply_items(cursor_of(data + LOG_ENTRY_HEAD, h.payload), h.item_count, state, err));
	state->sequence = h.sequence;
	state->time_unix_s = max_u64(state->time_unix_s, h.time_unix_s);
	chain->next_sequence = h.sequence + 1;
	memcpy(chain->previous_mac, h.mac, 32);
	*ret_length = round_up(LOG_ENTRY_HEAD + h.payload, LOG_PAGE);
	return ERR_OK;
}
