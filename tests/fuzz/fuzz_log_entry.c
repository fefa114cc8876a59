/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of log entries: the state that they make is sorted, and written as one checkpoint it is the same state
 * again. */
#include "store/commit_log_internal.h"

#include "base/endian.h"
#include "base/size.h"
#include "tests/fuzz/fuzz.h"

#define LOG_MAX (64u << 10)

/* Also makes the sequence and the chaining right. */
enum { FUZZ_CHAIN = 1 << 1 };

static struct store_keys keys;

static void seal(uint8_t *entry, size_t length, const struct log_chain *chain, bool chained)
{
	uint32_t payload = le32_get(entry + 48);
	if (payload > length - LOG_ENTRY_HEAD)
		return;
	memcpy(entry + 16, fuzz_store_id.bytes, 16);
	if (chained && chain->next_sequence) {
		le64_put(entry + 32, chain->next_sequence);
		memcpy(entry + 56, chain->previous_mac, 32);
	}
	struct mac_part parts[] = {{entry, LOG_ENTRY_HEAD - 32}, {entry + LOG_ENTRY_HEAD, payload}};
	key_mac(fuzz_key, parts, 2, entry + LOG_ENTRY_HEAD - 32);
}

static void require_same(const struct log_state *a, const struct log_state *b)
{
	require(a->sequence == b->sequence && a->next_segment == b->next_segment && a->time_unix_s == b->time_unix_s);
	require(a->segment_count == b->segment_count && a->saveset_count == b->saveset_count);
	for (size_t i = 0; i < a->segment_count; i++) {
		const struct segment_info *x = &a->segments[i], *y = &b->segments[i];
		require(x->number == y->number && uuid_equal(&x->id, &y->id) && x->kind == y->kind &&
			x->file_length == y->file_length && x->record_count == y->record_count &&
			x->stored_bytes == y->stored_bytes && x->raw_bytes == y->raw_bytes &&
			memcmp(x->trailer_mac, y->trailer_mac, 32) == 0);
		require(i == 0 || a->segments[i - 1].number < x->number);
	}
	for (size_t i = 0; i < a->saveset_count; i++)
		require(uuid_equal(&a->savesets[i].id, &b->savesets[i].id) &&
			memcmp(&a->savesets[i].record, &b->savesets[i].record, sizeof(struct chunk_id)) == 0 &&
			a->savesets[i].time_unix_s == b->savesets[i].time_unix_s);
}

static void check_state(const struct log_state *state)
{
	struct log_entry_content content = {
		.checkpoint = true,
		.sequence = state->sequence,
		.time_unix_s = state->time_unix_s,
		.next_segment = state->next_segment,
		.segments = state->segments,
		.segment_count = state->segment_count,
		.savesets = state->savesets,
		.saveset_count = state->saveset_count,
	};
	uint8_t *entry, mac[32];
	size_t length, used;
	struct log_state again = {0};
	struct log_chain chain = {0};
	require(log_entry_encode(&content, &keys, &entry, &length, mac, NULL) == ERR_OK);
	require(log_entry_apply(entry, length, &keys, &chain, &again, &used, NULL) == ERR_OK && used == length);
	require_same(state, &again);
	log_state_release(&again);
	free(entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct log_state state = {0};
	struct log_chain chain = {0};
	if (size < 1 || size > LOG_MAX)
		return 0;
	keys.store_id = fuzz_store_id;
	memcpy(keys.auth, fuzz_key, KEY_SIZE);
	size_t length = round_up(size - 1, LOG_PAGE);
	uint8_t *log = fuzz_pad(data + 1, size - 1, length);
	size_t used = 0;
	for (size_t at = 0; at < length; at += used) {
		struct err err = {0};
		if (data[0] & FUZZ_SEAL)
			seal(log + at, length - at, &chain, data[0] & FUZZ_CHAIN);
		enum err_code code = log_entry_apply(log + at, length - at, &keys, &chain, &state, &used, &err);
		if (code != ERR_OK) {
			require_message(code, &err);
			break;
		}
		require(used >= LOG_PAGE && used % LOG_PAGE == 0 && used <= length - at);
		check_state(&state);
	}
	log_state_release(&state);
	free(log);
	return 0;
}
