/* SPDX-License-Identifier: Apache-2.0 */
/* Segments: the files that hold all records, written once from front to back, sealed, and never changed.
 *
 *   header | stripe | stripe | ... | footer: all directories | CRC table | parity | CRC table | header copy | trailer
 *
 * docs/FORMAT.md, "Segments", has every byte. A record is one chunk, map node, saveset description or log copy:
 * compressed, then sealed by AEAD with the segment's own key. A stripe is one write: records back to back and the
 * authenticated directory that names them.
 *
 * Threads: a segment_writer belongs to one lane. A struct segment is read-only once opened and shared by counting. */
#ifndef STORE_SEGMENT_H
#define STORE_SEGMENT_H

#include "base/err.h"
#include "base/uuid.h"
#include "store/aead.h"
#include "store/chunk_id.h"
#include "store/chunk_index.h"
#include "store/io.h"
#include "store/keys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum segment_kind {
	SEGMENT_DATA = 1, /* chunks */
	SEGMENT_META = 2, /* map nodes, savesets, log copies */
};

enum record_kind {
	RECORD_CHUNK = 1,
	RECORD_NODE = 2,
	RECORD_SAVESET = 3,
	RECORD_LOG = 4,
};

enum record_codec {
	CODEC_RAW = 0,
	CODEC_ZSTD = 1,
};

#define SEGMENT_COLUMNS 64u /* data columns of the parity */
#define SEGMENT_PARITY_COLUMNS 4u
#define SEGMENT_CELL_SIZE 4096u          /* grain of the CRC table */
#define SEGMENT_RECORDS_MAX 16384u       /* keeps a directory at 1 MiB */
#define SEGMENT_SIZE_DEFAULT (64u << 20) /* header to footer */
#define SEGMENT_SIZE_MIN (1u << 20)
#define SEGMENT_SIZE_MAX (256u << 20)
#define STRIPE_SIZE_DEFAULT (2u << 20)
#define STRIPE_SIZE_MIN (128u << 10) /* room for one incompressible block with its directory */
#define STRIPE_SIZE_MAX (16u << 20)
#define RECORD_RAW_MAX (1u << 20) /* plain bytes of a record; chunks have BLOCK_SIZE at most */

/* One line of a directory. */
struct record_entry {
	struct chunk_id id;
	uint32_t offset;        /* of the ciphertext, in the segment */
	uint32_t stored_length; /* ciphertext and tag */
	uint32_t raw_length;    /* plain bytes */
	uint32_t ordinal;       /* nonce under the key of key_slot */
	uint16_t key_slot;      /* of the segment header */
	uint8_t kind;           /* enum record_kind */
	uint8_t codec;          /* enum record_codec */
	uint64_t xxh3;          /* XXH3-64 of the stored bytes */
};

/* What the log knows of a sealed segment. */
struct segment_info {
	uint64_t number; /* never used twice */
	struct uuid id;
	enum segment_kind kind;
	uint64_t file_length;
	uint32_t record_count;
	uint64_t stored_bytes; /* ciphertext of all records */
	uint64_t raw_bytes;    /* their plain bytes */
	uint8_t trailer_mac[32];
};

#define SEGMENT_PATH_SIZE 48

/* "segments/data/0000000001.seg" */
void segment_path(enum segment_kind kind, uint64_t number, char dst[static SEGMENT_PATH_SIZE]);

/* ---- Reading ---- */

struct segment;

/* Opens a sealed segment and its directory. Everything is authenticated: header, trailer and directory; where one copy
 * is damaged the other is used and *ret_notice (may be NULL) says so. ERR_NOT_FOUND: no file; ERR_CORRUPT: neither copy
 * is whole. With `info` (may be NULL) the segment must be the one that the log knows. Gives *ret with one reference. */
MUST_CHECK enum err_code segment_open(struct io *io, const struct store_keys *keys, enum segment_kind kind,
				      uint64_t number, const struct segment_info *info, struct segment **ret,
				      struct err *err);
struct segment *segment_ref(struct segment *segment);
void segment_unref(struct segment *segment);

uint64_t segment_number(const struct segment *segment);
enum segment_kind segment_kind_of(const struct segment *segment);

/* True if a copy of the header, the trailer or the directory was damaged and another served. */
bool segment_was_damaged(const struct segment *segment);

/* The directory, in slot order; the segment's. */
const struct record_entry *segment_entries(const struct segment *segment, uint32_t *ret_count);

/* The file, opened for direct reading; the segment's. */
struct io_file *segment_file(const struct segment *segment);

/* Opens records: one per lane. Keeps AEAD and zstd contexts and the last key. */
struct record_opener;
MUST_CHECK enum err_code record_opener_new(struct record_opener **ret, struct err *err);
void record_opener_free(struct record_opener *opener);

/* Decrypts and decompresses one record from its stored bytes `src` (entry->stored_length bytes, which may be
 * overwritten) into `dst` (entry->raw_length bytes). The chunk ID is NOT checked here: callers hash in groups.
 * ERR_CORRUPT names segment and slot; ERR_AUTH: the store is sealed and was opened without the recovery key. */
MUST_CHECK enum err_code record_open(struct record_opener *opener, const struct segment *segment,
				     const struct record_entry *entry, uint8_t *src, uint8_t *dst, struct err *err);

/* Time spent, for the stage table; all in nanoseconds. */
struct record_open_times {
	uint64_t aead_ns;
	uint64_t decompress_ns;
};
void record_opener_times(const struct record_opener *opener, struct record_open_times *ret);

/* ---- Writing ---- */

enum compression_kind {
	COMPRESS_ZSTD, /* at `level` */
	COMPRESS_AUTO, /* between zstd -3 and 3, following the side that waits */
	COMPRESS_NONE,
};

struct compression {
	enum compression_kind kind;
	int level; /* -7..19 */
};

#define COMPRESSION_DEFAULT ((struct compression){.kind = COMPRESS_ZSTD, .level = 1})

/* How much of what was written is read back, opened and hashed again before it is trusted. */
enum verify_new {
	VERIFY_NEW_OFF,
	VERIFY_NEW_SAMPLE, /* one random stripe of each segment, and all metadata */
	VERIFY_NEW_ALL,
};

/* What a writer needs from the store. */
struct segment_context {
	struct io *io;
	const struct store_keys *keys;
	bool sealed_store; /* do not wrap data keys for the appliance */
	uint32_t segment_size;
	uint32_t stripe_size;
	enum verify_new verify_new;
	/* Hands out the next segment number. Thread-safe. */
	uint64_t (*next_number)(void *user);
	/* Called in the writer's thread when a segment is sealed and its content synced. */
	enum err_code (*sealed)(void *user, const struct segment_info *info, struct err *err);
	void *user;
};

/* Per-stage time in nanoseconds and bytes, for the stage table. */
struct segment_write_times {
	uint64_t compress_ns;
	uint64_t aead_ns;
	uint64_t checksum_ns; /* XXH3, CRC, directory MAC */
	uint64_t parity_ns;
	uint64_t submit_ns; /* handing writes to the kernel */
	uint64_t wait_ns;   /* waiting for a stripe to be free again, or for a seal */
	uint64_t verify_ns; /* reading back new stripes */
	uint64_t raw_bytes;
	uint64_t stored_bytes;
	uint64_t file_bytes; /* all that was written, with directories and parity */
	uint64_t records;
};

/* Memory that one writer needs from its lane's arena, 4096-aligned. */
size_t segment_writer_arena_size(const struct segment_context *context);

struct segment_writer;

/* A writer of segments of one kind. `arena` (segment_writer_arena_size bytes, 4096-aligned, zeroed, inside the queue's
 * arena) is borrowed until the writer is freed. No file is made before the first record. */
MUST_CHECK enum err_code segment_writer_new(const struct segment_context *context, enum segment_kind kind,
					    struct compression compression, struct io_queue *queue, void *arena,
					    struct segment_writer **ret, struct err *err);

/* Appends a record: compresses and seals it into the open stripe. *ret says where it will be; it is durable only after
 * segment_writer_finish. Blocks when all stripes are being written. Errors poison the writer: all later calls fail. */
MUST_CHECK enum err_code segment_writer_put(struct segment_writer *writer, enum record_kind kind,
					    const struct chunk_id *id, const void *raw, size_t raw_length,
					    struct chunk_location *ret, struct err *err);

/* Copies records of `from` verbatim, ciphertext and key slots, into a fresh segment of this writer: recovery and
 * compaction. A record whose checksum does not fit is left out and counted in *ret_left_out. The writer must have no
 * segment open (fresh, or just finished); it is finished afterwards, so what was copied is durable. */
MUST_CHECK enum err_code segment_writer_copy(struct segment_writer *writer, const struct segment *from,
					     const uint32_t slots[], size_t count, uint32_t *ret_left_out,
					     struct err *err);

/* Changes the zstd level from the next record on (compression AUTO). */
void segment_writer_set_level(struct segment_writer *writer, int level);

/* Writes out, seals and syncs everything. After ERR_OK all records put so far are durable but for the directory entries
 * of their files (io_sync_dir). */
MUST_CHECK enum err_code segment_writer_finish(struct segment_writer *writer, struct err *err);

void segment_writer_times(const struct segment_writer *writer, struct segment_write_times *ret);

/* Frees; what was not finished stays behind as an unsealed file. NULL is allowed. */
void segment_writer_free(struct segment_writer *writer);

/* ---- Recovery ---- */

/* Opens an unsealed segment (a crash left it): the directory is made of the stripes from the front that are whole,
 * authenticated, and whose records' checksums fit. ERR_NOT_FOUND if not even the header is usable (nothing to
 * salvage). */
MUST_CHECK enum err_code segment_salvage(struct io *io, const struct store_keys *keys, enum segment_kind kind,
					 uint64_t number, struct segment **ret, struct err *err);

/* ---- Scrubbing ---- */

struct cell_damage {
	uint64_t first_cell; /* 4 KiB cells of the file */
	uint64_t count;
};

/* Receives one run of damaged cells. */
typedef void (*cell_damage_fn)(void *user, const struct cell_damage *damage);

/* Reads the whole file through `queue` in large pieces and checks every cell against the authenticated CRC table. Needs
 * no decryption key. `buffers`: `buffer_count` pieces of `buffer_size` bytes in the queue's arena. *ret_bytes: bytes
 * read. ERR_OK also when damage was found (told to fn); ERR_CORRUPT only if the CRC table or trailer itself is lost. */
MUST_CHECK enum err_code segment_scrub(const struct segment *segment, struct io_queue *queue, uint8_t *buffers,
				       size_t buffer_size, unsigned buffer_count, cell_damage_fn fn, void *user,
				       uint64_t *ret_bytes, struct err *err);

#endif
