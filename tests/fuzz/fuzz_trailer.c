/* SPDX-License-Identifier: Apache-2.0 */
/* Trailers and footer heads: what is accepted encodes to the bytes it came from, and the positions that follow from it
 * are in order and bounded. */
#include "store/segment_format.h"

#include "tests/fuzz/fuzz.h"

static void check_layout(const struct trailer *t)
{
	struct trailer_layout l = trailer_layout(t);
	require(t->header_length < t->data_end && t->data_end < t->covered && t->covered <= l.first_table);
	require(l.first_table < l.parity && l.parity < l.second_table && l.second_table < l.header_copy);
	require(l.header_copy < l.trailer && l.trailer + TRAILER_SIZE == l.file_length && l.file_length % 4096 == 0);
	require(l.cell_count * 4 <= l.table_length && l.file_length < 2 * (uint64_t)SEGMENT_SIZE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t page[TRAILER_SIZE] = {0}, again[TRAILER_SIZE], mac[32];
	struct trailer trailer;
	struct err err = {0};
	if (size < 1)
		return 0;
	memcpy(page, data + 1, size - 1 < sizeof(page) ? size - 1 : sizeof(page));
	if (data[0] & FUZZ_SEAL) {
		struct mac_part part = {page, TRAILER_SIZE - 32};
		key_mac(fuzz_key, &part, 1, page + TRAILER_SIZE - 32);
	}
	enum err_code code = trailer_decode(page, fuzz_key, &trailer, mac, &err);
	if (code != ERR_OK) {
		require_message(code, &err);
		return 0;
	}
	check_layout(&trailer);
	trailer_encode(&trailer, fuzz_key, again, NULL);
	require(memcmp(again, page, sizeof(page)) == 0 && memcmp(mac, page + TRAILER_SIZE - 32, 32) == 0);
	return 0;
}
