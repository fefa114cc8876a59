/* SPDX-License-Identifier: Apache-2.0 */
/* A whole segment file, opened, salvaged, scrubbed and copied on the simulated disk. A segment that the writer made is
 * the ground; the input says what is changed in it:
 *
 *   flags (1), seals (1), then any number of patches as fuzz_patch takes them
 *
 * `seals` chooses the digests and MACs that are made to fit the patched bytes. So a few bytes of input reach every
 * field of a file of many pages. */
#include "base/size.h"
#include "store/io_sim.h"
#include "store/segment_internal.h"
#include "tests/fuzz/fuzz_seal.h"

#include <sodium.h>
#include <stdio.h>

enum {
	FLAG_INFO = 1 << 0,    /* the log knows the segment */
	FLAG_SALVAGE = 1 << 1, /* take it as one that was never sealed */
	FLAG_COPY = 1 << 2,    /* carry its records over into a fresh segment */
	FLAG_CUT = 1 << 3,     /* the file ends at the last patch */
};

#define NUMBER 1u
#define RECORDS 12u

static struct store_keys keys;
static struct segment_context context;
static struct segment_info info; /* of the last segment that was sealed */
static struct segment_info ground_info;
static struct trailer ground;
static uint8_t *ground_bytes;
static uint8_t *arena;

/* ---- The ground ---- */

static uint64_t next_number(void *user)
{
	return ++*(uint64_t *)user;
}

static enum err_code segment_sealed(void *user, const struct segment_info *sealed, struct err *err)
{
	(void)user;
	(void)err;
	info = *sealed;
	return ERR_OK;
}

static void make_keys(void)
{
	uint8_t seed[crypto_box_SEEDBYTES] = {"seed of the recovery key"};
	require(sodium_init() >= 0);
	keys.store_id = fuzz_store_id;
	memcpy(keys.auth, fuzz_key, KEY_SIZE);
	memset(keys.meta_wrap, 'm', KEY_SIZE);
	memset(keys.data_wrap, 'd', KEY_SIZE);
	require(crypto_box_seed_keypair(keys.recovery_public, keys.recovery_secret, seed) == 0);
	keys.has_recovery_secret = true;
}

static struct io *new_disk(void)
{
	struct io *io;
	require(io_sim_new(1, 0, &io, NULL) == ERR_OK && io_make_dir(io, "segments", NULL) == ERR_OK &&
		io_make_dir(io, "segments/data", NULL) == ERR_OK);
	return io;
}

/* Records that compress and records that do not, over several stripes. */
static void put_records(struct segment_writer *writer)
{
	uint8_t raw[900];
	for (unsigned i = 0; i < RECORDS; i++) {
		struct chunk_id id = {{(uint8_t)i}};
		struct chunk_location where;
		uint8_t seed[randombytes_SEEDBYTES] = {(uint8_t)i};
		if (i % 2)
			randombytes_buf_deterministic(raw, sizeof(raw), seed);
		else
			memset(raw, 'a' + (int)i, sizeof(raw));
		require(segment_writer_put(writer, RECORD_CHUNK, &id, raw, sizeof(raw), &where, NULL) == ERR_OK);
	}
}

static struct segment_writer *new_writer(struct io *io, struct io_queue **ret_queue)
{
	struct segment_writer *writer;
	size_t size = segment_writer_arena_size(&context);
	context.io = io;
	if (!arena)
		arena = aligned_alloc(IO_ALIGN, round_up(size, IO_ALIGN));
	require(arena != NULL);
	memset(arena, 0, size);
	require(io_queue_new(io, 16, arena, size, ret_queue, NULL) == ERR_OK);
	require(segment_writer_new(&context, SEGMENT_DATA, COMPRESSION_DEFAULT, *ret_queue, arena, &writer, NULL) ==
		ERR_OK);
	return writer;
}

static void make_ground(void)
{
	static uint64_t number;
	make_keys();
	number = NUMBER - 1;
	context = (struct segment_context){
		.keys = &keys,
		.segment_size = SEGMENT_SIZE_MIN,
		.stripe_size = 4096, /* a store's are larger: this makes several of few records */
		.next_number = next_number,
		.sealed = segment_sealed,
		.user = &number,
	};
	struct io *io = new_disk();
	struct io_queue *queue;
	struct segment_writer *writer = new_writer(io, &queue);
	put_records(writer);
	require(segment_writer_finish(writer, NULL) == ERR_OK);
	segment_writer_free(writer);
	io_queue_free(queue);
	char path[SEGMENT_PATH_SIZE];
	size_t length;
	segment_path(SEGMENT_DATA, NUMBER, path);
	ground_info = info;
	require(io_read_file(io, path, 1 << 20, &ground_bytes, &length, NULL) == ERR_OK && length == info.file_length);
	require(trailer_decode(ground_bytes + length - TRAILER_SIZE, fuzz_key, &ground, NULL, NULL) == ERR_OK);
	io_free(io);
}

/* ---- Patching ---- */

/* The patched file. Returns its length. */
static size_t patch(uint8_t *bytes, unsigned flags, unsigned seals, const uint8_t *data, size_t size)
{
	size_t length = ground_info.file_length;
	memcpy(bytes, ground_bytes, length);
	size_t cut = fuzz_patch(bytes, length, data, size);
	seal_segment(bytes, &ground, seals, fuzz_key);
	return flags & FLAG_CUT ? cut : length;
}

/* ---- What is done with it ---- */

static void open_records(struct segment *segment)
{
	static uint8_t stored[RECORD_RAW_MAX + AEAD_TAG_SIZE], raw[RECORD_RAW_MAX];
	uint32_t count;
	const struct record_entry *entries = segment_entries(segment, &count);
	struct record_opener *opener;
	require(record_opener_new(&opener, NULL) == ERR_OK);
	for (uint32_t i = 0; i < count && i < 64; i++) {
		struct err err = {0};
		require(entries[i].stored_length <= sizeof(stored) && entries[i].raw_length <= sizeof(raw));
		enum err_code code =
			io_read_exact(segment_file(segment), entries[i].offset, stored, entries[i].stored_length, &err);
		if (code == ERR_OK)
			code = record_open(opener, segment, &entries[i], stored, raw, &err);
		if (code != ERR_OK)
			require_message(code, &err);
	}
	record_opener_free(opener);
}

struct damage_sum {
	uint64_t cells;
	uint64_t end;
};

static void add_damage(void *user, const struct cell_damage *damage)
{
	struct damage_sum *sum = user;
	require(damage->count > 0);
	sum->cells += damage->count;
	sum->end = max_u64(sum->end, damage->first_cell + damage->count);
}

static enum err_code scrub(struct io *io, const struct segment *segment, struct damage_sum *ret)
{
	enum { PIECE = 8192, PIECES = 2 };
	static _Alignas(IO_ALIGN) uint8_t buffers[PIECE * PIECES];
	struct io_queue *queue;
	struct err err = {0};
	uint64_t bytes;
	*ret = (struct damage_sum){0};
	require(io_queue_new(io, PIECES, buffers, sizeof(buffers), &queue, NULL) == ERR_OK);
	enum err_code code = segment_scrub(segment, queue, buffers, PIECE, PIECES, add_damage, ret, &bytes, &err);
	if (code != ERR_OK)
		require_message(code, &err);
	io_queue_free(queue);
	return code;
}

/* What the writer makes of anything is whole. */
static void copy_records(struct io *io, const struct segment *from)
{
	uint32_t count, copied, left_out = 0;
	uint32_t slots[64];
	(void)segment_entries(from, &count);
	count = (uint32_t)min_u64(count, 64);
	for (uint32_t i = 0; i < count; i++)
		slots[i] = i;
	struct io_queue *queue;
	struct segment_writer *writer = new_writer(io, &queue);
	struct err err = {0};
	info = (struct segment_info){0};
	enum err_code code = segment_writer_copy(writer, from, slots, count, &left_out, &err);
	segment_writer_free(writer);
	io_queue_free(queue);
	if (code != ERR_OK) {
		require_message(code, &err);
		return;
	}
	require(left_out <= count);
	if (left_out == count)
		return;
	struct segment *copy;
	struct damage_sum damage;
	require(segment_open(io, &keys, SEGMENT_DATA, info.number, &info, &copy, &err) == ERR_OK);
	(void)segment_entries(copy, &copied);
	require(!segment_was_damaged(copy) && copied == count - left_out);
	require(scrub(io, copy, &damage) == ERR_OK && damage.cells == 0);
	segment_unref(copy);
}

static void use(struct io *io, unsigned flags)
{
	struct segment *segment = NULL;
	struct err err = {0};
	enum err_code code = flags & FLAG_SALVAGE
				     ? segment_salvage(io, &keys, SEGMENT_DATA, NUMBER, &segment, &err)
				     : segment_open(io, &keys, SEGMENT_DATA, NUMBER,
						    flags & FLAG_INFO ? &ground_info : NULL, &segment, &err);
	if (code != ERR_OK) {
		require_message(code, &err);
		return;
	}
	struct damage_sum damage;
	open_records(segment);
	if (!(flags & FLAG_SALVAGE))
		(void)scrub(io, segment, &damage);
	if (flags & FLAG_COPY)
		copy_records(io, segment);
	segment_unref(segment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!ground_bytes)
		make_ground();
	if (size < 2)
		return 0;
	uint8_t *bytes = malloc(ground_info.file_length);
	require(bytes != NULL);
	size_t length = patch(bytes, data[0], data[1], data + 2, size - 2);
	struct io *io = new_disk();
	struct io_file *file;
	char path[SEGMENT_PATH_SIZE];
	segment_path(SEGMENT_DATA, NUMBER, path);
	require(io_open(io, path, IO_WRITE | IO_CREATE, &file, NULL) == ERR_OK);
	require(!length || io_write(file, 0, bytes, length, NULL) == ERR_OK);
	io_file_close(file);
	free(bytes);
	use(io, data[0]);
	io_free(io);
	return 0;
}
