/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the MACs and digests of patched files fit, as somebody could who has the authentication key of the store and
 * no other. */
#ifndef TESTS_FUZZ_FUZZ_SEAL_H
#define TESTS_FUZZ_FUZZ_SEAL_H

#include "base/endian.h"
#include "base/size.h"
#include "store/commit_log_internal.h"
#include "store/segment_format.h"
#include "tests/fuzz/fuzz.h"

#include <sodium.h>

/* What is made to fit in a segment. */
enum {
	SEAL_STRIPES = 1 << 0,
	SEAL_HEADER = 1 << 1,
	SEAL_HEADER_COPY = 1 << 2,
	SEAL_DIRECTORY = 1 << 3,
	SEAL_TABLE = 1 << 4,
	SEAL_FOOTER = 1 << 5,
	SEAL_TRAILER = 1 << 6,
	SEAL_ALL = 0x7f,
};

/* Where the digests stand in a trailer. */
enum { TRAILER_RECORD_COUNT_AT = 64, TRAILER_DIRECTORY_DIGEST_AT = 112, TRAILER_TABLE_DIGEST_AT = 144 };

/* A page, or more, whose MAC is its end. */
static inline void seal_page(uint8_t *bytes, size_t length, const uint8_t key[static KEY_SIZE])
{
	struct mac_part part = {bytes, length - 32};
	key_mac(key, &part, 1, bytes + length - 32);
}

static inline void seal_stripes(uint8_t *bytes, const struct trailer *shape, const uint8_t key[static KEY_SIZE])
{
	struct stripe_head head;
	for (uint64_t at = shape->header_length; at < shape->data_end; at += head.length) {
		if (stripe_head_peek(bytes + at, shape->data_end - at, &head, NULL) != ERR_OK ||
		    head.length > shape->data_end - at)
			return;
		stripe_head_encode(&head, key, bytes + at);
	}
}

static inline void seal_directory(const uint8_t *bytes, const struct trailer *shape, uint8_t *page)
{
	uint64_t length = (uint64_t)le32_get(page + TRAILER_RECORD_COUNT_AT) * RECORD_ENTRY_SIZE;
	uint64_t start = shape->data_end + TRAILER_SIZE;
	length = min_u64(length, shape->covered - start);
	crypto_generichash(page + TRAILER_DIRECTORY_DIGEST_AT, 32, bytes + start, length, NULL, 0);
}

/* `shape`: the trailer from before the patches, which says where everything is. */
static inline void seal_segment(uint8_t *bytes, const struct trailer *shape, unsigned seals,
				const uint8_t key[static KEY_SIZE])
{
	struct trailer_layout layout = trailer_layout(shape);
	uint8_t *footer = bytes + shape->data_end;
	uint8_t *trailer = bytes + layout.trailer;
	if (seals & SEAL_STRIPES)
		seal_stripes(bytes, shape, key);
	if (seals & SEAL_HEADER)
		seal_page(bytes, shape->header_length, key);
	if (seals & SEAL_HEADER_COPY)
		seal_page(bytes + layout.header_copy, shape->header_length, key);
	if (seals & SEAL_DIRECTORY) {
		seal_directory(bytes, shape, footer);
		seal_directory(bytes, shape, trailer);
	}
	if (seals & SEAL_TABLE)
		crypto_generichash(trailer + TRAILER_TABLE_DIGEST_AT, 32, bytes + layout.first_table,
				   layout.table_length, NULL, 0);
	if (seals & SEAL_FOOTER)
		seal_page(footer, TRAILER_SIZE, key);
	if (seals & SEAL_TRAILER)
		seal_page(trailer, TRAILER_SIZE, key);
}

/* A file of the commit log; with `chain` each entry is made to follow the one before. */
static inline void seal_log(uint8_t *file, size_t length, bool chain, const uint8_t key[static KEY_SIZE])
{
	uint64_t sequence = 0;
	uint8_t mac[32] = {0};
	for (size_t at = 0; at + LOG_PAGE <= length; at += LOG_PAGE) {
		uint8_t *entry = file + at;
		uint32_t payload = le32_get(entry + 48);
		if (memcmp(entry, "XLLOGENT", 8) != 0 || payload > length - at - LOG_ENTRY_HEAD)
			continue;
		if (chain && sequence) {
			le64_put(entry + 32, sequence + 1);
			memcpy(entry + 56, mac, 32);
		}
		struct mac_part parts[] = {{entry, LOG_ENTRY_HEAD - 32}, {entry + LOG_ENTRY_HEAD, payload}};
		key_mac(key, parts, 2, entry + LOG_ENTRY_HEAD - 32);
		memcpy(mac, entry + LOG_ENTRY_HEAD - 32, 32);
		sequence = le64_get(entry + 32);
	}
}

#endif
