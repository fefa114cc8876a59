/* SPDX-License-Identifier: Apache-2.0 */
/* The cost of each stage's primitive on this CPU, on real blocks, in nanoseconds of CPU time per byte.
 *
 * An input stands where a lane finds it: the zero test, the hash and the opening of records take theirs from memory, as
 * a device leaves it there; all others work on groups of 16 blocks that are in the core's cache already, as after the
 * stage before. One call per block or record, contexts reused.
 *
 * Threads: primitives_measure starts its own. A record_set is read-only once made. */
#ifndef BENCH_PRIMITIVES_H
#define BENCH_PRIMITIVES_H

#include "base/err.h"
#include "bench/survey.h"

#include <stddef.h>
#include <stdint.h>

enum primitive {
	PRIMITIVE_MEMCPY,     /* for reference only: nothing is copied on the data path */
	PRIMITIVE_ZERO_DATA,  /* zero test of blocks that are not zero */
	PRIMITIVE_ZERO,       /* zero test of zeroes */
	PRIMITIVE_HASH,       /* chunk IDs, eight blocks at a time */
	PRIMITIVE_COMPRESS,   /* zstd */
	PRIMITIVE_SEAL,       /* AEAD, encrypting, per stored byte */
	PRIMITIVE_XXH3,       /* XXH3-64, per stored byte */
	PRIMITIVE_CRC,        /* CRC32C per 4 KiB cell, per file byte */
	PRIMITIVE_PARITY,     /* Reed-Solomon 64+4, per file byte */
	PRIMITIVE_OPEN,       /* AEAD, decrypting, per stored byte */
	PRIMITIVE_DECOMPRESS, /* zstd, per plain byte */
	PRIMITIVE_COUNT,
};

const char *primitive_name(enum primitive primitive);

/* A sample compressed and sealed as the store does it. */
struct record_set {
	const struct block_sample *sample; /* borrowed */
	int level;
	uint8_t key[32];
	uint8_t *sealed; /* ciphertexts with tags, back to back */
	size_t *offsets; /* of record i in `sealed`; sample->count + 1 of them */
	uint8_t *raw;    /* raw[i]: record i did not shrink and is stored as it is */
	uint64_t stored_bytes;
	uint64_t raw_records;
};

/* Makes the records of `sample` at zstd `level`. */
MUST_CHECK enum err_code record_set_init(struct record_set *set, const struct block_sample *sample, int level,
					 struct err *err);
void record_set_release(struct record_set *set);

struct primitive_costs {
	double ns_per_byte[PRIMITIVE_COUNT];
};

/* One pass of all primitives over the sample, by `threads` threads at once, each over its own share of it; the cost is
 * the mean of the threads'. */
MUST_CHECK enum err_code primitives_measure(const struct record_set *set, unsigned threads, struct primitive_costs *ret,
					    struct err *err);

/* One pass over the sample at another zstd level. */
struct level_cost {
	int level;
	double compress_ns_per_byte;
	double decompress_ns_per_byte; /* per plain byte, of all blocks */
	double ratio;                  /* plain to stored, with tags */
};
MUST_CHECK enum err_code level_measure(const struct block_sample *sample, int level, struct level_cost *ret,
				       struct err *err);

#endif
