/* SPDX-License-Identifier: Apache-2.0 */
/* What the sources of the segment writer share: segment_write.c (records into stripes, stripes to the disk),
 * segment_seal.c (footer, parity, trailer, sync) and segment_readback.c (reading back what was written).
 *
 *   a stripe:   FREE -> OPEN (records are put) -> WRITING (the kernel owns it) -> WRITTEN -> FREE
 *                                                                           (readback) \-> READING -> TO_VERIFY -> FREE
 *   a segment:  open_segment in `current` -> moved to `closing` by seal -> synced -> told to the store -> gone
 *
 * At most one segment is closing while the next one fills; its parity and tail buffers are not touched until it is
 * synced. */
#ifndef STORE_SEGMENT_WRITER_INTERNAL_H
#define STORE_SEGMENT_WRITER_INTERNAL_H

#include "store/segment_format.h"

#include <zstd.h>

/* One being filled, two being written, one for the write that a slow device still holds: with fewer the lane waits for
 * the disk although the disk is not the limit. */
#define WRITER_STRIPES 4
/* Bounds the footer's growth by one stripe. */
#define STRIPE_RECORDS_MAX 1024u

enum stripe_state {
	STRIPE_FREE,
	STRIPE_OPEN,
	STRIPE_WRITING,
	STRIPE_WRITTEN,
	STRIPE_READING,
	STRIPE_TO_VERIFY,
};

/* A segment on its way to the disk. */
struct open_segment {
	struct io_file *file; /* NULL: none */
	struct segment_info info;
	struct segment_header header; /* key_slots owned */
	unsigned pending;             /* writes in flight */
	unsigned unverified;          /* stripes that wait for their readback */
	bool sealed;                  /* all writes were submitted */
	bool syncing;
	bool synced;
};

struct stripe {
	uint8_t *data;
	enum stripe_state state;
	uint32_t used; /* bytes of head and records */
	uint32_t record_count;
	uint32_t first_slot; /* of its records in the segment */
	uint32_t length;     /* as written */
	uint64_t offset;     /* in the file */
	bool verify;         /* read back after writing */
	struct open_segment *owner;
	struct io_op op;
	struct segment_writer *writer;
};

struct segment_writer {
	struct segment_context context;
	enum segment_kind kind;
	struct io_queue *queue;
	struct err err; /* the first failure; the writer is dead then */

	ZSTD_CCtx *zstd;
	ZSTD_DCtx *unzstd; /* readback */
	bool store_raw;    /* no compression */
	struct aead *aead;
	uint8_t *key; /* of the current segment; sodium_malloc */

	struct stripe stripes[WRITER_STRIPES];
	struct stripe *open; /* NULL: none */
	uint8_t *readback;   /* stripe_size bytes */
	struct stripe *reading;

	struct open_segment segments[2]; /* current and closing, swapped by seal */
	unsigned current;
	uint64_t data_end; /* of the current segment: where the next stripe goes */
	uint32_t stripe_count;
	uint32_t verify_stripe;       /* index of the stripe to read back in SAMPLE mode */
	struct record_entry *entries; /* of the current segment */
	uint32_t *crcs;               /* of its cells */
	uint8_t *parity[2];           /* 4 columns each; parity[current] is accumulated */
	uint8_t *header_page[2];      /* header as written */
	uint8_t *tail;                /* footer and first table, second table, header copy, trailer */
	struct io_op header_op[2];
	struct io_op tail_ops[3];
	struct io_op sync_op;

	const struct segment_key_slot
		*copy_slots; /* copying: the keys of the records' origin; NULL: the segment gets its own */
	unsigned copy_slot_count;

	struct segment_write_times times;
};

static inline struct open_segment *writer_current(struct segment_writer *w)
{
	return &w->segments[w->current];
}

static inline struct open_segment *writer_closing(struct segment_writer *w)
{
	return &w->segments[1 - w->current];
}

/* Parity column length of a full segment. */
static inline uint32_t full_column(const struct segment_context *context)
{
	return context->segment_size / SEGMENT_COLUMNS;
}

/* Makes progress without waiting: frees written stripes, starts readbacks and the sync of a sealed segment, tells the
 * store of a synced one. */
enum err_code writer_pump(struct segment_writer *w);

/* Waits for at least one completion and pumps. */
enum err_code writer_wait(struct segment_writer *w);

/* Seals the current segment (all stripes were submitted): makes it `closing`. */
enum err_code writer_seal(struct segment_writer *w);

/* Starts, continues and ends readbacks; called by writer_pump. */
enum err_code writer_pump_readback(struct segment_writer *w);

/* Fills crcs[] for `length` bytes (whole cells) at `offset` of the current segment. */
void writer_checksum_cells(struct segment_writer *w, uint64_t offset, const uint8_t *data, size_t length);

/* Submits a write of the current segment's file. */
void writer_submit(struct segment_writer *w, struct open_segment *owner, struct io_op *op, uint64_t offset, void *data,
		   size_t length);

#endif
