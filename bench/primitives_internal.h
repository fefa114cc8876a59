/* SPDX-License-Identifier: Apache-2.0 */
/* What the sources of primitives.h share: one thread's tools and buffers. */
#ifndef BENCH_PRIMITIVES_INTERNAL_H
#define BENCH_PRIMITIVES_INTERNAL_H

#include "bench/primitives.h"
#include "store/aead.h"
#include "store/chunk_hash.h"

#include <pthread.h>
#include <zstd.h>

/* Blocks of a lane's batch; they and what becomes of them fit the core's second-level cache. */
#define GROUP ((size_t)16)

/* Room for one record, whatever its content. */
#define RECORD_ROOM (BLOCK_SIZE + (BLOCK_SIZE >> 8) + 512u)

/* One thread's share of the work. Its CPU time, which other programs' load does not touch much, is added up in `ns`,
 * and the bytes that went through in `bytes`. */
struct primitive_worker {
	const struct record_set *set;
	size_t first, end; /* records of the sample */
	pthread_barrier_t *start;
	struct chunk_hasher hasher;
	struct aead *seal; /* its own key: every ordinal is used once */
	struct aead *open; /* the set's key */
	uint64_t ordinal;
	uint64_t clock_cost_ns; /* of asking for the time once */
	ZSTD_CCtx *compressor;
	ZSTD_DCtx *decompressor;
	uint8_t *group;   /* GROUP x RECORD_ROOM: the input in cache */
	uint8_t *output;  /* GROUP x RECORD_ROOM */
	uint8_t *zeroes;  /* GROUP blocks */
	uint8_t *columns; /* parity */
	uint64_t ns[PRIMITIVE_COUNT];
	uint64_t bytes[PRIMITIVE_COUNT];
	struct err err;
};

MUST_CHECK enum err_code primitive_worker_init(struct primitive_worker *worker, const struct record_set *set,
					       struct err *err);
void primitive_worker_release(struct primitive_worker *worker);

/* Runs one primitive over the worker's records. Failures (which would be bugs or lack of memory) are in worker->err. */
typedef void (*primitive_fn)(struct primitive_worker *worker);
extern const primitive_fn primitive_functions[PRIMITIVE_COUNT];

/* Stored at `level`, or as it is if it does not shrink by 3 %: the store's rule. Returns the length, or 0 for "as it
 * is". */
size_t compress_block(ZSTD_CCtx *compressor, const uint8_t *block, uint8_t *dst);

#endif
