/* SPDX-License-Identifier: Apache-2.0 */
/* Checking a sealed segment at disk speed: every 4 KiB cell against the CRC table, whose digest the authenticated
 * trailer holds. No decryption key is needed. */
#include "store/segment_internal.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/size.h"

#include <inttypes.h>
#include <isa-l/crc.h>
#include <sodium.h>
#include <stdlib.h>

/* One read in flight. */
struct piece {
	struct io_op op;
	bool done;
};

struct scrub {
	const struct segment *segment;
	struct trailer_layout layout;
	uint8_t *table;
	cell_damage_fn fn;
	void *user;
	struct cell_damage run; /* being collected */
};

static void report(struct scrub *scrub, uint64_t cell, bool bad)
{
	if (bad && scrub->run.count && scrub->run.first_cell + scrub->run.count == cell) {
		scrub->run.count++;
		return;
	}
	if (!bad)
		return;
	if (scrub->run.count)
		scrub->fn(scrub->user, &scrub->run);
	scrub->run = (struct cell_damage){.first_cell = cell, .count = 1};
}

static void report_range(struct scrub *scrub, uint64_t offset, uint64_t length)
{
	for (uint64_t at = 0; at < length; at += SEGMENT_CELL_SIZE)
		report(scrub, (offset + at) / SEGMENT_CELL_SIZE, true);
}

/* One copy of the table; false if it is damaged. */
static bool read_table(struct scrub *scrub, uint64_t offset)
{
	uint8_t digest[32];
	if (io_read_exact(scrub->segment->file, offset, scrub->table, scrub->layout.table_length, NULL) != ERR_OK)
		return false;
	crypto_generichash(digest, sizeof(digest), scrub->table, scrub->layout.table_length, NULL, 0);
	return sodium_memcmp(digest, scrub->segment->trailer.crc_digest, sizeof(digest)) == 0;
}

/* Loads the table from whichever copy is whole. The second copy, the header's copy and the trailer stand outside of the
 * cells: they are checked here. */
static enum err_code load_table(struct scrub *scrub, struct err *err)
{
	const struct segment *s = scrub->segment;
	const struct trailer_layout *l = &scrub->layout;
	if (!s->trailer.is_trailer)
		return err_set(err, ERR_CORRUPT, 0,
			       "segment %" PRIu64 ": the trailer is lost, its checksums cannot be trusted",
			       s->header.number);
	scrub->table = aligned_alloc(IO_ALIGN, l->table_length);
	if (!scrub->table)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a CRC table");
	bool second = read_table(scrub, l->second_table);
	bool first = read_table(scrub, l->first_table);
	if (!first && !(second && read_table(scrub, l->second_table)))
		return err_set(err, ERR_CORRUPT, 0, "segment %" PRIu64 ": both CRC tables are damaged",
			       s->header.number);
	if (!first)
		report_range(scrub, l->first_table, l->table_length);
	if (!second)
		report_range(scrub, l->second_table, l->table_length);
	return ERR_OK;
}

/* The header copy is equal to the header, whose cells are in the table. */
static enum err_code check_header_copy(struct scrub *scrub, struct err *err)
{
	uint32_t length = scrub->segment->header.length;
	AUTO_FREE uint8_t *copy = aligned_alloc(IO_ALIGN, length);
	if (!copy)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a segment header");
	bool whole = io_read_exact(scrub->segment->file, scrub->layout.header_copy, copy, length, NULL) == ERR_OK;
	union {
		const uint8_t *in;
		uint8_t *out;
	} cell = {.in = copy};
	for (uint32_t i = 0; whole && i < length / SEGMENT_CELL_SIZE; i++)
		whole = (crc32_iscsi(cell.out + (size_t)i * SEGMENT_CELL_SIZE, SEGMENT_CELL_SIZE, 0xffffffffu) ^
			 0xffffffffu) == le32_get(scrub->table + (size_t)4 * i);
	if (!whole)
		report_range(scrub, scrub->layout.header_copy, length);
	return ERR_OK;
}

static void check_piece(struct scrub *scrub, const struct io_op *op)
{
	const struct trailer_layout *l = &scrub->layout;
	uint64_t covered = scrub->segment->trailer.covered;
	uint8_t *data = op->data;
	size_t got = op->result < 0 ? 0 : (size_t)op->result;
	for (size_t at = 0; at < op->length; at += SEGMENT_CELL_SIZE) {
		uint64_t offset = op->offset + at;
		/* Cells of the parity follow those of the covered part in the table. */
		uint64_t index = offset < covered ? offset / SEGMENT_CELL_SIZE
						  : (offset - l->parity + covered) / SEGMENT_CELL_SIZE;
		bool good = at + SEGMENT_CELL_SIZE <= got && (crc32_iscsi(data + at, SEGMENT_CELL_SIZE, 0xffffffffu) ^
							      0xffffffffu) == le32_get(scrub->table + 4 * index);
		report(scrub, offset / SEGMENT_CELL_SIZE, !good);
	}
}

static void piece_completed(struct io_op *op)
{
	struct piece *piece = op->user;
	piece->done = true;
}

/* Where the next read goes: the covered part, then the parity; nothing in between. False at the end. */
static bool next_piece(const struct scrub *scrub, uint64_t *at, size_t buffer_size, struct io_op *op)
{
	uint64_t covered = scrub->segment->trailer.covered;
	if (*at == covered)
		*at = scrub->layout.parity;
	uint64_t end = *at < covered ? covered : scrub->layout.second_table;
	if (*at >= end)
		return false;
	*op = (struct io_op){
		.kind = IO_OP_READ,
		.file = scrub->segment->file,
		.offset = *at,
		.length = (uint32_t)min_u64(buffer_size, end - *at),
		.data = op->data,
		.complete = piece_completed,
		.user = op->user,
	};
	*at += op->length;
	return true;
}

static enum err_code scrub_cells(struct scrub *scrub, struct io_queue *queue, struct piece *pieces, size_t buffer_size,
				 unsigned count, uint64_t *ret_bytes, struct err *err)
{
	uint64_t at = 0;
	uint64_t bytes = 0;
	unsigned active = 0;
	for (unsigned i = 0; i < count; i++, active++) {
		if (!next_piece(scrub, &at, buffer_size, &pieces[i].op))
			break;
		io_queue_submit(queue, &pieces[i].op);
	}
	/* In order, so that runs of damage are reported whole. */
	for (unsigned i = 0; active > 0; i = (i + 1) % count) {
		struct piece *piece = &pieces[i];
		while (!piece->done)
			TRY(io_queue_wait(queue, 1, err));
		piece->done = false;
		active--;
		bytes += piece->op.length;
		check_piece(scrub, &piece->op);
		if (next_piece(scrub, &at, buffer_size, &piece->op)) {
			io_queue_submit(queue, &piece->op);
			active++;
		}
	}
	*ret_bytes = bytes;
	return ERR_OK;
}

enum err_code segment_scrub(const struct segment *segment, struct io_queue *queue, uint8_t *buffers, size_t buffer_size,
			    unsigned buffer_count, cell_damage_fn fn, void *user, uint64_t *ret_bytes, struct err *err)
{
	struct scrub scrub = {
		.segment = segment,
		.layout = trailer_layout(&segment->trailer),
		.fn = fn,
		.user = user,
	};
	AUTO_FREE struct piece *pieces = calloc(buffer_count, sizeof(*pieces));
	if (!pieces)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for scrubbing");
	for (unsigned i = 0; i < buffer_count; i++) {
		pieces[i].op.data = buffers + i * buffer_size;
		pieces[i].op.user = &pieces[i];
	}
	enum err_code code = load_table(&scrub, err);
	if (code == ERR_OK)
		code = scrub_cells(&scrub, queue, pieces, buffer_size, buffer_count, ret_bytes, err);
	if (code == ERR_OK)
		code = check_header_copy(&scrub, err);
	if (scrub.run.count)
		fn(user, &scrub.run);
	free(scrub.table);
	return code;
}
