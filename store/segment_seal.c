/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing: the footer that repeats the directories, the CRC tables, the parity, the copy of the header and the
 * trailer. */
#include "store/segment_writer_internal.h"

#include "base/clock.h"
#include "base/endian.h"
#include "base/size.h"
#include "store/parity.h"

#include <sodium.h>
#include <xxhash.h>

/* Writes footer head and directory copy to `dst`; they begin at trailer->data_end of the file. */
static void compose_footer(struct segment_writer *w, struct trailer *t, uint8_t *dst)
{
	size_t directory_length = (size_t)t->record_count * RECORD_ENTRY_SIZE;
	uint8_t *directory = dst + TRAILER_SIZE;
	memset(directory, 0, t->covered - t->data_end - TRAILER_SIZE);
	for (uint32_t i = 0; i < t->record_count; i++)
		record_entry_encode(&w->entries[i], directory + (size_t)i * RECORD_ENTRY_SIZE);
	crypto_generichash(t->directory_digest, sizeof(t->directory_digest), directory, directory_length, NULL, 0);
	t->is_trailer = false;
	trailer_encode(t, w->context.keys->auth, dst, NULL);
}

/* A segment sealed before it is full has shorter columns, so that its parity stays 4/64 of it: what was accumulated for
 * full columns is of no use, and the file is read once more. */
static enum err_code recompute_parity(struct segment_writer *w, const struct trailer *t)
{
	struct open_segment *s = writer_current(w);
	uint8_t *parity = w->parity[w->current];
	while (s->pending || w->reading)
		TRY(writer_wait(w));
	memset(parity, 0, (size_t)SEGMENT_PARITY_COLUMNS * t->column_length);
	for (uint64_t at = 0; at < t->data_end;) {
		size_t n = (size_t)min_u64(t->data_end - at, w->context.stripe_size);
		TRY(io_read_exact(s->file, at, w->readback, n, &w->err));
		parity_update(parity, t->column_length, at, w->readback, n);
		at += n;
	}
	return ERR_OK;
}

/* The CRC table of the covered part (crcs[] has it) and the parity. */
static void compose_table(struct segment_writer *w, const struct trailer *t, const struct trailer_layout *layout,
			  uint8_t *dst)
{
	writer_checksum_cells(w, t->covered, w->parity[w->current], (size_t)SEGMENT_PARITY_COLUMNS * t->column_length);
	memset(dst, 0, layout->table_length);
	for (uint64_t i = 0; i < layout->cell_count; i++)
		le32_put(dst + 4 * i, w->crcs[i]);
}

static struct trailer describe(struct segment_writer *w)
{
	const struct open_segment *s = writer_current(w);
	struct trailer t = {
		.id = s->info.id,
		.store_id = s->header.store_id,
		.number = s->info.number,
		.kind = w->kind,
		.header_length = s->header.length,
		.stripe_count = w->stripe_count,
		.record_count = s->info.record_count,
		.data_end = w->data_end,
		.stored_bytes = s->info.stored_bytes,
		.raw_bytes = s->info.raw_bytes,
		.sealed_unix_s = clock_unix_s(),
	};
	t.covered = t.data_end + TRAILER_SIZE + round_up((uint64_t)t.record_count * RECORD_ENTRY_SIZE, 4096);
	t.column_length = (uint32_t)round_up((t.covered + SEGMENT_COLUMNS - 1) / SEGMENT_COLUMNS, SEGMENT_CELL_SIZE);
	return t;
}

enum err_code writer_seal(struct segment_writer *w)
{
	while (writer_closing(w)->file)
		TRY(writer_wait(w));
	struct open_segment *s = writer_current(w);
	while (s->unverified) /* readback needs the key that is wiped below */
		TRY(writer_wait(w));
	struct trailer t = describe(w);
	/* A nearly full segment takes full columns: at most 1/16 more parity, and no second reading. */
	bool full = t.column_length > full_column(&w->context) - full_column(&w->context) / 16;
	if (full)
		t.column_length = full_column(&w->context);
	else
		TRY(recompute_parity(w, &t));
	struct trailer_layout layout = trailer_layout(&t);
	uint64_t start = clock_mono_ns();
	uint8_t *footer = w->tail;
	compose_footer(w, &t, footer);
	size_t footer_length = (size_t)(t.covered - t.data_end);
	parity_update(w->parity[w->current], t.column_length, t.data_end, footer, footer_length);
	writer_checksum_cells(w, t.data_end, footer, footer_length);
	uint8_t *first_table = footer + footer_length;
	compose_table(w, &t, &layout, first_table);
	crypto_generichash(t.crc_digest, sizeof(t.crc_digest), first_table, layout.table_length, NULL, 0);
	uint8_t *second_table = first_table + layout.table_length;
	memcpy(second_table, first_table, layout.table_length);
	uint8_t *header_copy = second_table + layout.table_length;
	memcpy(header_copy, w->header_page[w->current], t.header_length);
	t.is_trailer = true;
	trailer_encode(&t, w->context.keys->auth, header_copy + t.header_length, s->info.trailer_mac);
	s->info.file_length = layout.file_length;
	w->times.parity_ns += clock_mono_ns() - start;

	writer_submit(w, s, &w->tail_ops[0], t.data_end, footer, footer_length + layout.table_length);
	writer_submit(w, s, &w->tail_ops[1], layout.parity, w->parity[w->current],
		      (size_t)SEGMENT_PARITY_COLUMNS * t.column_length);
	writer_submit(w, s, &w->tail_ops[2], layout.second_table, second_table,
		      layout.table_length + t.header_length + TRAILER_SIZE);
	s->sealed = true;
	sodium_memzero(w->key, KEY_SIZE);
	w->current = 1 - w->current;
	return writer_pump(w);
}
