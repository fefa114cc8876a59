/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/primitives_internal.h"

#include "base/clock.h"
#include "base/size.h"
#include "store/parity.h"
#include "store/segment.h"

#include <isa-l/crc.h>
#include <stdlib.h>
#include <xxhash.h>

/* Keeps the compiler from dropping a computation whose result nobody needs. */
static void use(uint64_t value)
{
	__asm__ volatile("" : : "r"(value) : "memory");
}

static const uint8_t *block_at(const struct primitive_worker *w, size_t i)
{
	return w->set->sample->data + i * BLOCK_SIZE;
}

static size_t stored_length(const struct primitive_worker *w, size_t i)
{
	return w->set->offsets[i + 1] - w->set->offsets[i];
}

static size_t group_end(const struct primitive_worker *w, size_t first)
{
	return first + GROUP < w->end ? first + GROUP : w->end;
}

static void account(struct primitive_worker *w, enum primitive primitive, uint64_t start, uint64_t bytes)
{
	uint64_t ns = clock_thread_cpu_ns() - start;
	w->ns[primitive] += ns > w->clock_cost_ns ? ns - w->clock_cost_ns : 0;
	w->bytes[primitive] += bytes;
}

/* Puts the ciphertexts of a group into the cache, back to back. Returns their bytes. */
static size_t load_sealed(struct primitive_worker *w, size_t first, size_t end)
{
	size_t length = w->set->offsets[end] - w->set->offsets[first];
	memcpy(w->group, w->set->sealed + w->set->offsets[first], length);
	return length;
}

/* Opens a group's records into w->group, record i at (i - first) * RECORD_ROOM. */
static void load_opened(struct primitive_worker *w, size_t first, size_t end)
{
	for (size_t i = first; i < end && !w->err.code; i++)
		(void)(aead_open(w->open, i, NULL, 0, w->set->sealed + w->set->offsets[i],
				 stored_length(w, i) - AEAD_TAG_SIZE, w->group + (i - first) * RECORD_ROOM,
				 &w->err) == ERR_OK);
}

static void run_memcpy(struct primitive_worker *w)
{
	for (size_t i = w->first; i < w->end; i += GROUP) {
		size_t length = (group_end(w, i) - i) * BLOCK_SIZE;
		uint64_t start = clock_thread_cpu_ns();
		memcpy(w->output, block_at(w, i), length);
		account(w, PRIMITIVE_MEMCPY, start, length);
	}
}

/* The lanes' zero test: the first word decides for nearly all data. */
static bool is_zero(const uint8_t *block)
{
	uint64_t word;
	memcpy(&word, block, 8);
	return word == 0 && memcmp(block, block + 8, BLOCK_SIZE - 8) == 0;
}

static void run_zero_data(struct primitive_worker *w)
{
	uint64_t start = clock_thread_cpu_ns();
	for (size_t i = w->first; i < w->end; i++)
		use(is_zero(block_at(w, i)));
	account(w, PRIMITIVE_ZERO_DATA, start, (w->end - w->first) * BLOCK_SIZE);
}

static void run_zero(struct primitive_worker *w)
{
	uint64_t start = clock_thread_cpu_ns();
	for (size_t i = w->first; i < w->end; i++)
		use(is_zero(w->zeroes + (i - w->first) % GROUP * BLOCK_SIZE));
	account(w, PRIMITIVE_ZERO, start, (w->end - w->first) * BLOCK_SIZE);
}

static void run_hash(struct primitive_worker *w)
{
	const uint8_t *blocks[CHUNK_HASH_LANES];
	struct chunk_id ids[CHUNK_HASH_LANES];
	for (size_t i = w->first; i + CHUNK_HASH_LANES <= w->end; i += CHUNK_HASH_LANES) {
		uint64_t start = clock_thread_cpu_ns();
		for (size_t j = 0; j < CHUNK_HASH_LANES; j++)
			blocks[j] = block_at(w, i + j);
		chunk_hash_blocks(&w->hasher, blocks, CHUNK_HASH_LANES, ids);
		use(ids[0].bytes[0]);
		account(w, PRIMITIVE_HASH, start, (uint64_t)CHUNK_HASH_LANES * BLOCK_SIZE);
	}
}

size_t compress_block(ZSTD_CCtx *compressor, const uint8_t *block, uint8_t *dst)
{
	size_t packed = ZSTD_compress2(compressor, dst, RECORD_ROOM, block, BLOCK_SIZE);
	return ZSTD_isError(packed) || packed >= BLOCK_SIZE - BLOCK_SIZE / 32 ? 0 : packed;
}

static void run_compress(struct primitive_worker *w)
{
	for (size_t first = w->first; first < w->end; first += GROUP) {
		size_t end = group_end(w, first);
		memcpy(w->group, block_at(w, first), (end - first) * BLOCK_SIZE);
		uint64_t start = clock_thread_cpu_ns();
		for (size_t i = first; i < end; i++)
			use(compress_block(w->compressor, w->group + (i - first) * BLOCK_SIZE,
					   w->output + (i - first) * RECORD_ROOM));
		account(w, PRIMITIVE_COMPRESS, start, (end - first) * BLOCK_SIZE);
	}
}

static void run_seal(struct primitive_worker *w)
{
	for (size_t first = w->first; first < w->end; first += GROUP) {
		size_t end = group_end(w, first);
		load_opened(w, first, end);
		uint64_t start = clock_thread_cpu_ns();
		for (size_t i = first; i < end && !w->err.code; i++) {
			uint8_t *record = w->group + (i - first) * RECORD_ROOM;
			(void)(aead_seal(w->seal, w->ordinal++, NULL, 0, record, stored_length(w, i) - AEAD_TAG_SIZE,
					 record, &w->err) == ERR_OK);
		}
		account(w, PRIMITIVE_SEAL, start, w->set->offsets[end] - w->set->offsets[first]);
	}
}

static void run_xxh3(struct primitive_worker *w)
{
	for (size_t first = w->first; first < w->end; first += GROUP) {
		size_t end = group_end(w, first), length = load_sealed(w, first, end), at = 0;
		uint64_t start = clock_thread_cpu_ns();
		for (size_t i = first; i < end; at += stored_length(w, i), i++)
			use(XXH3_64bits(w->group + at, stored_length(w, i)));
		account(w, PRIMITIVE_XXH3, start, length);
	}
}

static void run_crc(struct primitive_worker *w)
{
	for (size_t first = w->first; first < w->end; first += GROUP) {
		size_t length = load_sealed(w, first, group_end(w, first)) & ~(size_t)(SEGMENT_CELL_SIZE - 1);
		uint64_t start = clock_thread_cpu_ns();
		for (size_t at = 0; at < length; at += SEGMENT_CELL_SIZE)
			use(crc32_iscsi(w->group + at, SEGMENT_CELL_SIZE, 0xffffffffu));
		account(w, PRIMITIVE_CRC, start, length);
	}
}

static void run_parity(struct primitive_worker *w)
{
	const uint32_t column = SEGMENT_SIZE_DEFAULT / SEGMENT_COLUMNS;
	uint64_t offset = 0;
	for (size_t first = w->first; first < w->end; first += GROUP) {
		size_t length = load_sealed(w, first, group_end(w, first)) & ~(size_t)(SEGMENT_CELL_SIZE - 1);
		if (offset + length > SEGMENT_SIZE_DEFAULT)
			offset = 0;
		uint64_t start = clock_thread_cpu_ns();
		parity_update(w->columns, column, offset, w->group, length);
		account(w, PRIMITIVE_PARITY, start, length);
		offset += length;
	}
}

static void run_open(struct primitive_worker *w)
{
	for (size_t first = w->first; first < w->end; first += GROUP) {
		size_t end = group_end(w, first);
		uint64_t start = clock_thread_cpu_ns();
		load_opened(w, first, end);
		account(w, PRIMITIVE_OPEN, start, w->set->offsets[end] - w->set->offsets[first]);
	}
}

static void run_decompress(struct primitive_worker *w)
{
	for (size_t first = w->first; first < w->end; first += GROUP) {
		size_t end = group_end(w, first);
		load_opened(w, first, end);
		uint64_t start = clock_thread_cpu_ns();
		for (size_t i = first; i < end; i++) {
			/* What is stored raw is opened straight into its place. */
			if (w->set->raw[i])
				continue;
			use(ZSTD_decompressDCtx(w->decompressor, w->output + (i - first) * BLOCK_SIZE, BLOCK_SIZE,
						w->group + (i - first) * RECORD_ROOM,
						stored_length(w, i) - AEAD_TAG_SIZE));
		}
		account(w, PRIMITIVE_DECOMPRESS, start, (end - first) * BLOCK_SIZE);
	}
}

const primitive_fn primitive_functions[PRIMITIVE_COUNT] = {
	[PRIMITIVE_MEMCPY] = run_memcpy,
	[PRIMITIVE_ZERO_DATA] = run_zero_data,
	[PRIMITIVE_ZERO] = run_zero,
	[PRIMITIVE_HASH] = run_hash,
	[PRIMITIVE_COMPRESS] = run_compress,
	[PRIMITIVE_SEAL] = run_seal,
	[PRIMITIVE_XXH3] = run_xxh3,
	[PRIMITIVE_CRC] = run_crc,
	[PRIMITIVE_PARITY] = run_parity,
	[PRIMITIVE_OPEN] = run_open,
	[PRIMITIVE_DECOMPRESS] = run_decompress,
};
