/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/roofline.h"

#include "store/segment.h"

#include <assert.h>
#include <string.h>

/* Parity is made of everything in a segment but itself. */
#define COVERED_SHARE ((double)SEGMENT_COLUMNS / (SEGMENT_COLUMNS + SEGMENT_PARITY_COLUMNS))

/* Adds a term; a stage that has one already gets more bytes. */
static void add(struct roofline *r, const char *stage, double bytes, double ns_per_byte)
{
	if (bytes <= 0)
		return;
	r->cpu_s += bytes * ns_per_byte / 1e9;
	for (size_t i = 0; i < r->term_count; i++) {
		if (strcmp(r->terms[i].stage, stage) != 0)
			continue;
		r->terms[i].bytes += bytes;
		return;
	}
	assert(r->term_count < ROOFLINE_TERMS_MAX);
	r->terms[r->term_count++] = (struct roofline_term){.stage = stage, .bytes = bytes, .ns_per_byte = ns_per_byte};
}

static void add_primitive(struct roofline *r, enum primitive primitive, double bytes, const struct lane_costs *costs)
{
	add(r, primitive_name(primitive), bytes, costs->primitives.ns_per_byte[primitive]);
}

/* Records from the disk to plain, checked blocks. */
static void add_reading_records(struct roofline *r, double stored, double plain, const struct lane_costs *costs)
{
	add(r, "read", stored, costs->read_ns_per_byte);
	add_primitive(r, PRIMITIVE_OPEN, stored, costs);
	add_primitive(r, PRIMITIVE_DECOMPRESS, plain, costs);
	add_primitive(r, PRIMITIVE_HASH, plain, costs);
}

struct roofline roofline_backup(const struct scenario_bytes *bytes, const struct lane_costs *costs)
{
	struct roofline r = {0};
	add(&r, "read", bytes->read, costs->read_ns_per_byte);
	add_primitive(&r, PRIMITIVE_ZERO, bytes->read - bytes->data, costs);
	add_primitive(&r, PRIMITIVE_ZERO_DATA, bytes->data, costs);
	add_primitive(&r, PRIMITIVE_HASH, bytes->data, costs);
	add_primitive(&r, PRIMITIVE_COMPRESS, bytes->fresh, costs);
	add_primitive(&r, PRIMITIVE_SEAL, bytes->stored, costs);
	add_primitive(&r, PRIMITIVE_XXH3, bytes->stored, costs);
	add_primitive(&r, PRIMITIVE_CRC, bytes->file, costs);
	add_primitive(&r, PRIMITIVE_PARITY, bytes->file * COVERED_SHARE, costs);
	add(&r, "write", bytes->file, costs->write_ns_per_byte);
	add_reading_records(&r, bytes->check_stored, bytes->check_plain, costs);
	return r;
}

struct roofline roofline_restore(const struct scenario_bytes *bytes, const struct lane_costs *costs)
{
	struct roofline r = {0};
	add_reading_records(&r, bytes->stored, bytes->data, costs);
	add(&r, "write", bytes->data, costs->write_ns_per_byte);
	return r;
}

struct roofline roofline_verify(const struct scenario_bytes *bytes, const struct lane_costs *costs)
{
	struct roofline r = {0};
	add_reading_records(&r, bytes->stored, bytes->fresh, costs);
	return r;
}

struct roofline roofline_scrub(const struct scenario_bytes *bytes, const struct lane_costs *costs)
{
	struct roofline r = {0};
	add(&r, "read", bytes->file, costs->read_ns_per_byte);
	add_primitive(&r, PRIMITIVE_CRC, bytes->file, costs);
	return r;
}
