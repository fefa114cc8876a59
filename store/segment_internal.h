/* SPDX-License-Identifier: Apache-2.0 */
/* The body of an open segment, shared by segment_read.c, segment_salvage.c, segment_scrub.c and record_open.c. */
#ifndef STORE_SEGMENT_INTERNAL_H
#define STORE_SEGMENT_INTERNAL_H

#include "store/segment_format.h"

#include <stdatomic.h>

struct segment {
	atomic_uint refs;
	struct io_file *file;
	struct segment_header header;
	struct trailer trailer; /* a salvaged segment has none: record_count 0 */
	struct record_entry *entries;
	uint32_t entry_count;
	uint32_t entry_room;
	uint8_t *keys; /* header.key_slot_count x KEY_SIZE, in locked memory */
	bool *has_key; /* which of them could be unwrapped */
	uint8_t trailer_mac[32];
	bool damaged;
};

/* A segment object around an open file (taken, also on failure) with no content. */
enum err_code segment_object_new(struct io_file *file, struct segment **ret, struct err *err);

/* Reads the header that stands at `offset`. */
enum err_code segment_read_header(struct segment *segment, const struct store_keys *keys, uint64_t offset,
				  struct err *err);

/* Unwraps what data keys can be unwrapped. ERR_CORRUPT if one does not fit its commitment. */
enum err_code segment_unwrap_keys(struct segment *segment, const struct store_keys *keys, struct err *err);

/* Appends the records of all authentic stripes from the header on, up to `limit` bytes of the file. With
 * `check_records` those whose checksum does not fit are left out and counted. Stops at the first thing that is no
 * authentic stripe; *ret_end is where. */
enum err_code segment_collect_stripes(struct segment *segment, const struct store_keys *keys, uint64_t limit,
				      bool check_records, uint64_t *ret_end, uint32_t *ret_left_out, struct err *err);

#endif
