/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/uuid.h"
#include "store/chunk_hash.h"
#include "store/io_sim.h"
#include "store/parity.h"
#include "store/segment_format.h"

#include <isa-l/crc.h>
#include <isa-l/erasure_code.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { SEGMENT_SIZE = 1 << 20, STRIPE_SIZE = 128 << 10, SEALED_MAX = 64 };

/* A writer on the simulated disk with keys of its own. */
struct bench {
	struct io *io;
	struct io_queue *queue;
	struct store_keys *keys;
	struct segment_context context;
	void *arena;
	struct segment_writer *writer;
	uint64_t next;
	struct segment_info sealed[SEALED_MAX];
	unsigned sealed_count;
};

static uint64_t next_number(void *user)
{
	return ((struct bench *)user)->next++;
}

static enum err_code note_sealed(void *user, const struct segment_info *info, struct err *err)
{
	(void)err;
	struct bench *b = user;
	assert_true(b->sealed_count < SEALED_MAX);
	b->sealed[b->sealed_count++] = *info;
	return ERR_OK;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct err err = {0};
	if (!b || sodium_init() < 0 || io_sim_new(3, 0, &b->io, &err) != ERR_OK)
		return -1;
	b->keys = calloc(1, sizeof(*b->keys));
	if (!b->keys)
		return -1;
	randombytes_buf(b->keys, sizeof(*b->keys));
	b->keys->has_recovery_secret = false;
	uint8_t secret[32];
	crypto_box_keypair(b->keys->recovery_public, secret);
	memcpy(b->keys->recovery_secret, secret, sizeof(secret));
	b->context = (struct segment_context){
		.io = b->io,
		.keys = b->keys,
		.segment_size = SEGMENT_SIZE,
		.stripe_size = STRIPE_SIZE,
		.verify_new = VERIFY_NEW_ALL,
		.next_number = next_number,
		.sealed = note_sealed,
		.user = b,
	};
	b->next = 1;
	size_t size = segment_writer_arena_size(&b->context);
	b->arena = aligned_alloc(4096, size);
	if (!b->arena)
		return -1;
	memset(b->arena, 0, size);
	static const char *const dirs[] = {"segments", "segments/data", "segments/meta"};
	for (unsigned i = 0; i < 3; i++)
		if (io_make_dir(b->io, dirs[i], &err) != ERR_OK)
			return -1;
	if (io_queue_new(b->io, 64, b->arena, size, &b->queue, &err) != ERR_OK ||
	    segment_writer_new(&b->context, SEGMENT_DATA, COMPRESSION_DEFAULT, b->queue, b->arena, &b->writer, &err) !=
		    ERR_OK)
		return -1;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;
	segment_writer_free(b->writer);
	io_queue_free(b->queue);
	io_free(b->io);
	free(b->arena);
	free(b->keys);
	free(b);
	return 0;
}

static void fill(uint8_t *block, uint32_t number, bool compressible)
{
	if (compressible)
		for (uint32_t i = 0; i < BLOCK_SIZE; i++)
			block[i] = (uint8_t)((i / 16 + number) % 23);
	else
		randombytes_buf_deterministic(block, BLOCK_SIZE,
					      (const uint8_t[randombytes_SEEDBYTES]){(uint8_t)number, 1});
}

static struct chunk_id put(struct bench *b, uint32_t number, bool compressible, struct chunk_location *ret)
{
	uint8_t *block = malloc(BLOCK_SIZE);
	assert_non_null(block);
	fill(block, number, compressible);
	struct chunk_hasher hasher;
	chunk_hasher_init(&hasher, b->keys->chunk_id);
	struct chunk_id id;
	chunk_hash(&hasher, block, BLOCK_SIZE, &id);
	struct err err = {0};
	enum err_code code = segment_writer_put(b->writer, RECORD_CHUNK, &id, block, BLOCK_SIZE, ret, &err);
	free(block);
	if (code != ERR_OK)
		fail_msg("put: %s", err.msg);
	return id;
}

static void finish(struct bench *b)
{
	struct err err = {0};
	if (segment_writer_finish(b->writer, &err) != ERR_OK)
		fail_msg("finish: %s", err.msg);
}

static struct segment *open_sealed(struct bench *b, unsigned index)
{
	struct segment *segment = NULL;
	struct err err = {0};
	const struct segment_info *info = &b->sealed[index];
	if (segment_open(b->io, b->keys, info->kind, info->number, info, &segment, &err) != ERR_OK)
		fail_msg("open: %s", err.msg);
	return segment;
}

/* Opens record `slot` and compares it with block `number`. */
static enum err_code read_back(struct segment *segment, uint32_t slot, uint32_t number, bool compressible,
			       struct err *err)
{
	uint32_t count;
	const struct record_entry *entries = segment_entries(segment, &count);
	assert_true(slot < count);
	const struct record_entry *entry = &entries[slot];
	uint8_t *stored = malloc(entry->stored_length);
	uint8_t *plain = malloc(BLOCK_SIZE);
	uint8_t *expected = malloc(BLOCK_SIZE);
	assert_true(stored && plain && expected);
	fill(expected, number, compressible);
	struct record_opener *opener = NULL;
	assert_int_equal(record_opener_new(&opener, err), ERR_OK);
	assert_int_equal(io_read_exact(segment_file(segment), entry->offset, stored, entry->stored_length, err),
			 ERR_OK);
	enum err_code code = record_open(opener, segment, entry, stored, plain, err);
	if (code == ERR_OK)
		assert_memory_equal(plain, expected, BLOCK_SIZE);
	record_opener_free(opener);
	free(stored);
	free(plain);
	free(expected);
	return code;
}

static void path_of(const struct bench *b, unsigned index, char dst[static SEGMENT_PATH_SIZE])
{
	segment_path(b->sealed[index].kind, b->sealed[index].number, dst);
}

static void test_segment__records_come_back(void **state)
{
	struct bench *b = *state;
	struct chunk_location where[60];
	for (uint32_t i = 0; i < 60; i++)
		put(b, i, i % 3 == 0, &where[i]);
	finish(b);
	assert_true(b->sealed_count > 1);
	for (uint32_t i = 0; i < 60; i++) {
		unsigned index = (unsigned)(where[i].segment - 1);
		struct segment *segment = open_sealed(b, index);
		struct err err = {0};
		assert_int_equal(read_back(segment, where[i].slot, i, i % 3 == 0, &err), ERR_OK);
		assert_false(segment_was_damaged(segment));
		segment_unref(segment);
	}
}

static void test_segment__incompressible_records_are_stored_raw(void **state)
{
	struct bench *b = *state;
	struct chunk_location where;
	put(b, 1, false, &where);
	put(b, 2, true, &where);
	finish(b);
	struct segment *segment = open_sealed(b, 0);
	uint32_t count;
	const struct record_entry *entries = segment_entries(segment, &count);
	assert_int_equal(count, 2);
	assert_int_equal(entries[0].codec, CODEC_RAW);
	assert_int_equal(entries[0].stored_length, BLOCK_SIZE + AEAD_TAG_SIZE);
	assert_int_equal(entries[1].codec, CODEC_ZSTD);
	assert_true(entries[1].stored_length < BLOCK_SIZE / 10);
	segment_unref(segment);
}

static void test_segment__a_writer_without_records_makes_no_file(void **state)
{
	struct bench *b = *state;
	finish(b);
	assert_int_equal(b->sealed_count, 0);
	assert_int_equal(b->next, 1);
}

static void flip_and_open(struct bench *b, uint64_t offset, bool opens)
{
	struct io *clone = NULL;
	struct err err = {0};
	char path[SEGMENT_PATH_SIZE];
	path_of(b, 0, path);
	assert_int_equal(io_sim_clone(b->io, &clone, &err), ERR_OK);
	assert_int_equal(io_sim_flip(clone, path, offset, 2, &err), ERR_OK);
	struct segment *segment = NULL;
	const struct segment_info *info = &b->sealed[0];
	enum err_code code = segment_open(clone, b->keys, info->kind, info->number, info, &segment, &err);
	if (opens) {
		assert_int_equal(code, ERR_OK);
		assert_true(segment_was_damaged(segment));
		assert_int_equal(read_back(segment, 0, 0, false, &err), ERR_OK);
	} else {
		assert_int_equal(code, ERR_CORRUPT);
		assert_non_null(strstr(err.msg, path));
	}
	segment_unref(segment);
	io_free(clone);
}

static void test_segment__every_structure_has_a_second_copy(void **state)
{
	struct bench *b = *state;
	struct chunk_location where;
	for (uint32_t i = 0; i < 5; i++)
		put(b, i, false, &where);
	finish(b);
	struct segment *segment = open_sealed(b, 0);
	struct err err = {0};
	uint64_t length = b->sealed[0].file_length;
	uint8_t page[TRAILER_SIZE];
	struct trailer t;
	assert_int_equal(io_read_exact(segment_file(segment), length - TRAILER_SIZE, page, sizeof(page), &err), ERR_OK);
	assert_int_equal(trailer_decode(page, b->keys->auth, &t, NULL, &err), ERR_OK);
	segment_unref(segment);
	flip_and_open(b, 100, true);                            /* header: the copy serves */
	flip_and_open(b, length - 4000, true);                  /* trailer: the footer head serves */
	flip_and_open(b, t.data_end + TRAILER_SIZE + 70, true); /* directory copy: the stripes serve */
}

static void test_segment__one_of_another_store_is_refused(void **state)
{
	struct bench *b = *state;
	struct chunk_location where;
	put(b, 1, true, &where);
	finish(b);
	struct store_keys other = *b->keys;
	other.auth[0] ^= 1;
	struct segment *segment = NULL;
	struct err err = {0};
	assert_int_equal(segment_open(b->io, &other, SEGMENT_DATA, 1, NULL, &segment, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.msg, "segments/data/0000000001.seg"));
}

static void test_segment__a_sealed_store_needs_the_recovery_key(void **state)
{
	struct bench *b = *state;
	segment_writer_free(b->writer);
	b->context.sealed_store = true;
	struct err err = {0};
	assert_int_equal(segment_writer_new(&b->context, SEGMENT_DATA, COMPRESSION_DEFAULT, b->queue, b->arena,
					    &b->writer, &err),
			 ERR_OK);
	struct chunk_location where;
	put(b, 4, true, &where);
	finish(b);
	struct segment *segment = open_sealed(b, 0);
	assert_int_equal(read_back(segment, 0, 4, true, &err), ERR_AUTH);
	segment_unref(segment);
	b->keys->has_recovery_secret = true;
	segment = open_sealed(b, 0);
	err = (struct err){0};
	assert_int_equal(read_back(segment, 0, 4, true, &err), ERR_OK);
	segment_unref(segment);
}

static void count_damage(void *user, const struct cell_damage *damage)
{
	uint64_t *cells = user;
	*cells += damage->count;
}

static enum err_code scrub(struct bench *b, struct io *io, uint64_t *ret_cells)
{
	struct segment *segment = NULL;
	struct err err = {0};
	uint64_t bytes;
	*ret_cells = 0;
	assert_int_equal(segment_open(io, b->keys, SEGMENT_DATA, b->sealed[0].number, &b->sealed[0], &segment, &err),
			 ERR_OK);
	uint8_t *buffers = aligned_alloc(4096, 4 << 16);
	assert_non_null(buffers);
	struct io_queue *queue = NULL;
	assert_int_equal(io_queue_new(io, 8, NULL, 0, &queue, &err), ERR_OK);
	enum err_code code = segment_scrub(segment, queue, buffers, 1 << 16, 4, count_damage, ret_cells, &bytes, &err);
	io_queue_free(queue);
	free(buffers);
	segment_unref(segment);
	return code;
}

static void test_scrub__finds_a_flipped_bit_in_every_cell(void **state)
{
	struct bench *b = *state;
	struct chunk_location where;
	for (uint32_t i = 0; i < 3; i++)
		put(b, i, false, &where);
	finish(b);
	uint64_t cells;
	assert_int_equal(scrub(b, b->io, &cells), ERR_OK);
	assert_int_equal(cells, 0);
	char path[SEGMENT_PATH_SIZE];
	path_of(b, 0, path);
	/* All but the trailer, whose damage segment_open reports. */
	for (uint64_t offset = 17; offset < b->sealed[0].file_length - TRAILER_SIZE; offset += 4096) {
		struct io *clone = NULL;
		struct err err = {0};
		assert_int_equal(io_sim_clone(b->io, &clone, &err), ERR_OK);
		assert_int_equal(io_sim_flip(clone, path, offset, 5, &err), ERR_OK);
		assert_int_equal(scrub(b, clone, &cells), ERR_OK);
		assert_true(cells >= 1);
		io_free(clone);
	}
}

/* Rebuilds lost columns from the rest, the way a repair does. */
static void test_parity__four_lost_columns_come_back(void **state)
{
	struct bench *b = *state;
	struct chunk_location where;
	for (uint32_t i = 0; i < 9; i++)
		put(b, i, i % 2, &where);
	finish(b);
	struct segment *segment = open_sealed(b, 0);
	struct err err = {0};
	uint64_t length = b->sealed[0].file_length;
	uint8_t *file = malloc(length);
	assert_non_null(file);
	assert_int_equal(io_read_exact(segment_file(segment), 0, file, length, &err), ERR_OK);
	segment_unref(segment);
	struct trailer t;
	assert_int_equal(trailer_decode(file + length - TRAILER_SIZE, b->keys->auth, &t, NULL, &err), ERR_OK);
	struct trailer_layout l = trailer_layout(&t);
	uint32_t column = t.column_length;
	assert_true(t.covered <= (uint64_t)column * 64);

	uint8_t *columns = calloc(68, column);
	assert_non_null(columns);
	memcpy(columns, file, t.covered);
	memcpy(columns + (size_t)64 * column, file + l.parity, (size_t)4 * column);
	uint8_t *original = malloc((size_t)68 * column);
	assert_non_null(original);
	memcpy(original, columns, (size_t)68 * column);

	/* ISA-L's documented way: invert the rows that survive, multiply. */
	static const unsigned lost[4] = {0, 1, 17, 66};
	uint8_t matrix[68 * 64];
	uint8_t rows[64 * 64];
	uint8_t inverse[64 * 64];
	uint8_t *sources[64];
	unsigned n = 0;
	gf_gen_cauchy1_matrix(matrix, 68, 64);
	for (unsigned i = 0; i < 68 && n < 64; i++) {
		if (i == lost[0] || i == lost[1] || i == lost[2] || i == lost[3])
			continue;
		memcpy(rows + n * 64, matrix + i * 64, 64);
		sources[n] = columns + (size_t)i * column;
		n++;
	}
	assert_int_equal(n, 64);
	assert_int_equal(gf_invert_matrix(rows, inverse, 64), 0);
	uint8_t decode[3 * 64];
	uint8_t *outputs[3];
	for (unsigned i = 0; i < 3; i++) {
		memcpy(decode + i * 64, inverse + lost[i] * 64, 64);
		outputs[i] = columns + (size_t)lost[i] * column;
		memset(outputs[i], 0xaa, column);
	}
	uint8_t *tables = malloc(32 * 64 * 3);
	assert_non_null(tables);
	ec_init_tables(64, 3, decode, tables);
	ec_encode_data((int)column, 64, 3, tables, sources, outputs);
	for (unsigned i = 0; i < 3; i++)
		assert_memory_equal(outputs[i], original + (size_t)lost[i] * column, column);
	free(tables);
	free(columns);
	free(original);
	free(file);
}

static void test_salvage__finds_whole_records_of_an_unsealed_segment(void **state)
{
	struct bench *b = *state;
	struct chunk_location where[6];
	for (uint32_t i = 0; i < 6; i++)
		put(b, i, false, &where[i]);
	/* Every record of this size closes the stripe before it; the last one is still open. Nothing is sealed. */
	struct err err = {0};
	while (b->queue->in_flight)
		assert_int_equal(io_queue_wait(b->queue, 1, &err), ERR_OK);
	struct segment *segment = NULL;
	assert_int_equal(segment_salvage(b->io, b->keys, SEGMENT_DATA, 1, &segment, &err), ERR_OK);
	uint32_t count;
	segment_entries(segment, &count);
	assert_true(count >= 4 && count < 6);
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(read_back(segment, i, i, false, &err), ERR_OK);
	segment_unref(segment);
}

static void test_copy__moves_records_with_their_keys(void **state)
{
	struct bench *b = *state;
	struct chunk_location where;
	for (uint32_t i = 0; i < 8; i++)
		put(b, i, false, &where);
	finish(b);
	struct segment *from = open_sealed(b, 0);
	static const uint32_t slots[] = {1, 3, 6};
	uint32_t left_out = 99;
	struct err err = {0};
	unsigned before = b->sealed_count;
	assert_int_equal(segment_writer_copy(b->writer, from, slots, 3, &left_out, &err), ERR_OK);
	assert_int_equal(left_out, 0);
	segment_unref(from);
	assert_int_equal(b->sealed_count, before + 1);
	struct segment *copy = open_sealed(b, before);
	uint32_t count;
	const struct record_entry *entries = segment_entries(copy, &count);
	assert_int_equal(count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(entries[i].ordinal, slots[i]);
		assert_int_equal(read_back(copy, i, slots[i], false, &err), ERR_OK);
	}
	segment_unref(copy);
}

static void test_crc__is_castagnoli(void **state)
{
	(void)state;
	/* RFC 3720, appendix B.4, uses the same polynomial; the check value of "123456789" is that of the CRC
	 * catalogues. */
	uint8_t digits[] = "123456789";
	assert_int_equal(crc32_iscsi(digits, 9, 0xffffffffu) ^ 0xffffffffu, 0xe3069283u);
}

static void test_trailer__refuses_positions_that_no_writer_makes(void **state)
{
	struct bench *b = *state;
	struct trailer good = {
		.is_trailer = true,
		.store_id = b->keys->store_id,
		.number = 1,
		.kind = SEGMENT_DATA,
		.header_length = 4096,
		.stripe_count = 1,
		.record_count = 1,
		.column_length = 4096,
		.data_end = 8192,
		.covered = 8192 + 4096 + 4096,
	};
	uint8_t page[TRAILER_SIZE];
	struct trailer t;
	struct err err = {0};
	trailer_encode(&good, b->keys->auth, page, NULL);
	assert_int_equal(trailer_decode(page, b->keys->auth, &t, NULL, &err), ERR_OK);
	struct trailer bad = good;
	bad.record_count = SEGMENT_RECORDS_MAX + 1;
	trailer_encode(&bad, b->keys->auth, page, NULL);
	assert_int_equal(trailer_decode(page, b->keys->auth, &t, NULL, &err), ERR_CORRUPT);
	bad = good;
	bad.covered += 4096;
	trailer_encode(&bad, b->keys->auth, page, NULL);
	assert_int_equal(trailer_decode(page, b->keys->auth, &t, NULL, NULL), ERR_CORRUPT);
	bad = good;
	bad.column_length = 0;
	trailer_encode(&bad, b->keys->auth, page, NULL);
	assert_int_equal(trailer_decode(page, b->keys->auth, &t, NULL, NULL), ERR_CORRUPT);
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BENCH_TEST(test_segment__records_come_back),
		BENCH_TEST(test_segment__incompressible_records_are_stored_raw),
		BENCH_TEST(test_segment__a_writer_without_records_makes_no_file),
		BENCH_TEST(test_segment__every_structure_has_a_second_copy),
		BENCH_TEST(test_segment__one_of_another_store_is_refused),
		BENCH_TEST(test_segment__a_sealed_store_needs_the_recovery_key),
		BENCH_TEST(test_scrub__finds_a_flipped_bit_in_every_cell),
		BENCH_TEST(test_parity__four_lost_columns_come_back),
		BENCH_TEST(test_salvage__finds_whole_records_of_an_unsealed_segment),
		BENCH_TEST(test_copy__moves_records_with_their_keys),
		BENCH_TEST(test_crc__is_castagnoli),
		BENCH_TEST(test_trailer__refuses_positions_that_no_writer_makes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
