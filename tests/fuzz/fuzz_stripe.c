/* SPDX-License-Identifier: Apache-2.0 */
/* Stripe heads and directories: what is accepted lies inside of the stripe, and encodes to the bytes it came from. */
#include "store/segment_format.h"

#include "base/endian.h"
#include "base/size.h"
#include "tests/fuzz/fuzz.h"

#define STRIPE_MAX (64u << 10)
#define KEY_SLOTS 3
#define STRIPE_LENGTH_AT 36 /* of the stripe's length in its head */

static void check_entry(const uint8_t *src, const struct stripe_head *head, uint32_t at)
{
	struct record_entry entry;
	struct err err = {0};
	uint32_t first = at + STRIPE_HEAD_SIZE;
	uint32_t end = at + head->dir_offset;
	enum err_code code = record_entry_decode(src, first, end, KEY_SLOTS, &entry, &err);
	if (code != ERR_OK) {
		require_message(code, &err);
		return;
	}
	require(entry.offset >= first && entry.stored_length > AEAD_TAG_SIZE);
	require((uint64_t)entry.offset + entry.stored_length <= end);
	require(entry.raw_length >= 1 && entry.raw_length <= RECORD_RAW_MAX && entry.key_slot < KEY_SLOTS);
	uint8_t again[RECORD_ENTRY_SIZE];
	record_entry_encode(&entry, again);
	require(memcmp(again, src, sizeof(again)) == 0);
}

static void try_stripe(uint8_t *stripe, size_t length, bool sealed)
{
	struct stripe_head head;
	struct err err = {0};
	enum err_code code = stripe_head_peek(stripe, length, &head, &err);
	if (code == ERR_OK && sealed && head.length <= length) {
		uint8_t before[STRIPE_HEAD_SIZE];
		memcpy(before, stripe, sizeof(before));
		stripe_head_encode(&head, fuzz_key, stripe);
		require(memcmp(stripe, before, STRIPE_HEAD_SIZE - 32) == 0);
	}
	if (code == ERR_OK)
		code = stripe_authenticate(stripe, length, &head, fuzz_key, &err);
	if (code != ERR_OK) {
		require_message(code, &err);
		return;
	}
	for (uint32_t i = 0; i < head.record_count; i++)
		check_entry(stripe + head.dir_offset + (size_t)i * RECORD_ENTRY_SIZE, &head, /* at= */ 4096);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > STRIPE_MAX)
		return 0;
	/* A stripe is whole pages; what a sealed input leaves out at the end is zero. */
	bool sealed = *data++ & FUZZ_SEAL;
	size--;
	size_t length = sealed ? round_up(size, 4096) : size;
	if (sealed && size >= STRIPE_LENGTH_AT + 4)
		length = max_u64(length, min_u64(le32_get(data + STRIPE_LENGTH_AT), STRIPE_MAX));
	uint8_t *stripe = fuzz_pad(data, size, length);
	try_stripe(stripe, length, sealed);
	free(stripe);
	return 0;
}
