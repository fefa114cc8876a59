/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/primitives.h"

#include "base/clock.h"
#include "bench/primitives_internal.h"
#include "store/compress_level.h"
#include "store/segment.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PARITY_SIZE (SEGMENT_PARITY_COLUMNS * (size_t)(SEGMENT_SIZE_DEFAULT / SEGMENT_COLUMNS))
#define THREADS_MAX 256u

const char *primitive_name(enum primitive primitive)
{
	static const char *const names[PRIMITIVE_COUNT] = {
		[PRIMITIVE_MEMCPY] = "memcpy",
		[PRIMITIVE_ZERO_DATA] = "zero-test-data",
		[PRIMITIVE_ZERO] = "zero-test-zeroes",
		[PRIMITIVE_HASH] = "hash",
		[PRIMITIVE_COMPRESS] = "compress",
		[PRIMITIVE_SEAL] = "seal",
		[PRIMITIVE_XXH3] = "xxh3",
		[PRIMITIVE_CRC] = "crc32c",
		[PRIMITIVE_PARITY] = "parity",
		[PRIMITIVE_OPEN] = "open",
		[PRIMITIVE_DECOMPRESS] = "decompress",
	};
	return names[primitive];
}

/* ---- Records ---- */

static enum err_code seal_all(struct record_set *set, ZSTD_CCtx *compressor, struct aead *aead, uint8_t *scratch,
			      struct err *err)
{
	TRY(aead_set_key(aead, set->key, err));
	compress_level_set(compressor, set->level);
	size_t at = 0;
	for (size_t i = 0; i < set->sample->count; i++) {
		const uint8_t *block = set->sample->data + i * BLOCK_SIZE;
		size_t packed = compress_block(compressor, block, scratch);
		set->raw[i] = packed == 0;
		set->raw_records += packed == 0;
		size_t length = packed ? packed : BLOCK_SIZE;
		TRY(aead_seal(aead, i, NULL, 0, packed ? scratch : block, length, set->sealed + at, err));
		set->offsets[i] = at;
		at += length + AEAD_TAG_SIZE;
	}
	set->offsets[set->sample->count] = at;
	set->stored_bytes = at;
	return ERR_OK;
}

enum err_code record_set_init(struct record_set *set, const struct block_sample *sample, int level, struct err *err)
{
	*set = (struct record_set){.sample = sample, .level = level};
	randombytes_buf(set->key, sizeof(set->key));
	size_t count = sample->count;
	set->sealed = malloc(count * (BLOCK_SIZE + AEAD_TAG_SIZE) + 1);
	set->offsets = calloc(count + 1, sizeof(*set->offsets));
	set->raw = calloc(count + 1, 1);
	uint8_t *scratch = malloc(RECORD_ROOM);
	ZSTD_CCtx *compressor = ZSTD_createCCtx();
	struct aead *aead = NULL;
	enum err_code code = ERR_OK;
	if (!set->sealed || !set->offsets || !set->raw || !scratch || !compressor)
		code = err_set(err, ERR_NO_MEMORY, 0, "no memory for the records of the sample");
	if (code == ERR_OK)
		code = aead_new(aead_preferred(), &aead, err);
	if (code == ERR_OK)
		code = seal_all(set, compressor, aead, scratch, err);
	aead_free(aead);
	ZSTD_freeCCtx(compressor);
	free(scratch);
	if (code != ERR_OK)
		record_set_release(set);
	return code;
}

void record_set_release(struct record_set *set)
{
	free(set->sealed);
	free(set->offsets);
	free(set->raw);
	*set = (struct record_set){0};
}

/* ---- Threads ---- */

static uint64_t measure_clock(void)
{
	uint64_t least = UINT64_MAX;
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t start = clock_thread_cpu_ns(), ns = clock_thread_cpu_ns() - start;
		least = ns < least ? ns : least;
	}
	return least;
}

enum err_code primitive_worker_init(struct primitive_worker *w, const struct record_set *set, struct err *err)
{
	uint8_t key[AEAD_KEY_SIZE];
	*w = (struct primitive_worker){.set = set, .clock_cost_ns = measure_clock()};
	w->compressor = ZSTD_createCCtx();
	w->decompressor = ZSTD_createDCtx();
	w->group = aligned_alloc(4096, GROUP * 2 * (size_t)BLOCK_SIZE);
	w->output = aligned_alloc(4096, GROUP * 2 * (size_t)BLOCK_SIZE);
	w->zeroes = aligned_alloc(4096, GROUP * (size_t)BLOCK_SIZE);
	w->columns = aligned_alloc(4096, PARITY_SIZE);
	if (!w->compressor || !w->decompressor || !w->group || !w->output || !w->zeroes || !w->columns)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to measure primitives");
	memset(w->group, 0, GROUP * 2 * (size_t)BLOCK_SIZE);
	memset(w->output, 0, GROUP * 2 * (size_t)BLOCK_SIZE);
	memset(w->zeroes, 0, GROUP * (size_t)BLOCK_SIZE);
	memset(w->columns, 0, PARITY_SIZE);
	compress_level_set(w->compressor, set->level);
	randombytes_buf(key, sizeof(key));
	chunk_hasher_init(&w->hasher, key);
	TRY(aead_new(aead_preferred(), &w->seal, err));
	TRY(aead_new(aead_preferred(), &w->open, err));
	randombytes_buf(key, sizeof(key));
	TRY(aead_set_key(w->seal, key, err));
	return aead_set_key(w->open, set->key, err);
}

void primitive_worker_release(struct primitive_worker *w)
{
	ZSTD_freeCCtx(w->compressor);
	ZSTD_freeDCtx(w->decompressor);
	aead_free(w->seal);
	aead_free(w->open);
	free(w->group);
	free(w->output);
	free(w->zeroes);
	free(w->columns);
}

static void *run_worker(void *user)
{
	struct primitive_worker *w = user;
	for (unsigned p = 0; p < PRIMITIVE_COUNT; p++) {
		/* All threads do the same at the same time. */
		pthread_barrier_wait(w->start);
		primitive_functions[p](w);
	}
	return NULL;
}

static enum err_code run_workers(struct primitive_worker *workers, unsigned threads, struct err *err)
{
	pthread_t ids[THREADS_MAX];
	pthread_barrier_t start;
	pthread_barrier_init(&start, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		workers[i].start = &start;
		if (pthread_create(&ids[i], NULL, run_worker, &workers[i]) == 0)
			continue;
		/* The others wait at a barrier that can no longer be crossed; without threads there is no benchmark. */
		fprintf(stderr, "xenolith-bench: cannot start %u threads\n", threads);
		_exit(1);
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	pthread_barrier_destroy(&start);
	for (unsigned i = 0; i < threads; i++)
		if (workers[i].err.code)
			return err_set(err, workers[i].err.code, 0, "%s", workers[i].err.msg);
	return ERR_OK;
}

enum err_code primitives_measure(const struct record_set *set, unsigned threads, struct primitive_costs *ret,
				 struct err *err)
{
	if (threads > THREADS_MAX)
		threads = THREADS_MAX;
	struct primitive_worker *workers = calloc(threads, sizeof(*workers));
	if (!workers)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to measure primitives");
	enum err_code code = ERR_OK;
	size_t share = set->sample->count / threads;
	for (unsigned i = 0; code == ERR_OK && i < threads; i++) {
		code = primitive_worker_init(&workers[i], set, err);
		workers[i].first = i * share;
		workers[i].end = (i + 1) * share;
	}
	if (code == ERR_OK)
		code = run_workers(workers, threads, err);
	for (unsigned p = 0; code == ERR_OK && p < PRIMITIVE_COUNT; p++) {
		ret->ns_per_byte[p] = 0;
		for (unsigned i = 0; i < threads; i++)
			if (workers[i].bytes[p])
				ret->ns_per_byte[p] += (double)workers[i].ns[p] / (double)workers[i].bytes[p] / threads;
	}
	for (unsigned i = 0; i < threads; i++)
		primitive_worker_release(&workers[i]);
	free(workers);
	return code;
}

enum err_code level_measure(const struct block_sample *sample, int level, struct level_cost *ret, struct err *err)
{
	struct record_set set;
	TRY(record_set_init(&set, sample, level, err));
	struct primitive_worker worker;
	enum err_code code = primitive_worker_init(&worker, &set, err);
	if (code == ERR_OK) {
		worker.end = sample->count;
		primitive_functions[PRIMITIVE_COMPRESS](&worker);
		primitive_functions[PRIMITIVE_DECOMPRESS](&worker);
		double plain = (double)sample->count * BLOCK_SIZE;
		*ret = (struct level_cost){
			.level = level,
			.compress_ns_per_byte = (double)worker.ns[PRIMITIVE_COMPRESS] / plain,
			.decompress_ns_per_byte = (double)worker.ns[PRIMITIVE_DECOMPRESS] / plain,
			.ratio = plain / (double)set.stored_bytes,
		};
	}
	primitive_worker_release(&worker);
	record_set_release(&set);
	return code;
}
