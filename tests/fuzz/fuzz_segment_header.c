/* SPDX-License-Identifier: Apache-2.0 */
/* Segment headers: what is accepted is bounded, and encodes to the bytes it came from. */
#include "store/segment_format.h"

#include "base/endian.h"
#include "tests/fuzz/fuzz.h"

/* The length that the header states, if it could be one, else what there is. */
static size_t stated_length(const uint8_t *data, size_t size)
{
	uint32_t length = size >= 16 ? le32_get(data + 12) : 0;
	return length >= 4096 && length >= size && length <= SEGMENT_HEADER_MAX ? length : size;
}

static void seal(uint8_t *bytes, size_t length)
{
	if (length < 4096 || length != le32_get(bytes + 12))
		return;
	struct mac_part part = {bytes, length - 32};
	key_mac(fuzz_key, &part, 1, bytes + length - 32);
}

static void check(const struct segment_header *header, const uint8_t *bytes)
{
	static uint8_t again[SEGMENT_HEADER_MAX];
	require(header->key_slot_count >= 1 && header->key_slot_count <= SEGMENT_KEY_SLOTS_MAX);
	require(header->length == segment_header_length(header->key_slot_count));
	segment_header_encode(header, fuzz_key, again);
	require(memcmp(again, bytes, header->length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	bool sealed = *data++ & FUZZ_SEAL;
	size--;
	size_t length = sealed ? stated_length(data, size) : size;
	uint8_t *bytes = fuzz_pad(data, size, length);
	if (sealed)
		seal(bytes, length);
	struct segment_header header;
	struct err err = {0};
	enum err_code code = segment_header_decode(bytes, length, fuzz_key, &header, &err);
	if (code == ERR_OK) {
		check(&header, bytes);
		segment_header_release(&header);
	} else {
		require_message(code, &err);
	}
	free(bytes);
	return 0;
}
