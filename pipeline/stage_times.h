/* SPDX-License-Identifier: Apache-2.0 */
/* Where the lanes' time went: nanoseconds per stage, summed over lanes, measured inside them, and the bytes that went
 * through. */
#ifndef PIPELINE_STAGE_TIMES_H
#define PIPELINE_STAGE_TIMES_H

#include <stdbool.h>
#include <stdint.h>

enum stage {
	STAGE_READ_SUBMIT, /* handing reads to the kernel or library */
	STAGE_READ_WAIT,   /* idle: nothing read yet */
	STAGE_ZERO,        /* zero test */
	STAGE_HASH,        /* chunk IDs */
	STAGE_LOOKUP,      /* previous map and index */
	STAGE_COMPRESS,
	STAGE_SEAL,     /* AEAD, encrypting */
	STAGE_CHECKSUM, /* XXH3, CRC, directory MAC */
	STAGE_PARITY,
	STAGE_WRITE_SUBMIT,
	STAGE_WRITE_WAIT, /* idle: no free stripe or target buffer */
	STAGE_VERIFY_NEW, /* reading back what was written */
	STAGE_MAP,        /* disk map nodes */
	STAGE_OPEN,       /* AEAD, decrypting */
	STAGE_DECOMPRESS,
	STAGE_OTHER, /* the rest of the lanes' wall time */
	STAGE_COUNT,
};

struct stage_times {
	uint64_t ns[STAGE_COUNT];
	uint64_t lane_ns;     /* wall time of all lanes together */
	uint64_t lane_cpu_ns; /* CPU time of all lanes together, kernel included */
	unsigned lanes;
	uint64_t read_bytes;   /* from the source, or from the store when restoring */
	uint64_t data_bytes;   /* not zero: hashed */
	uint64_t new_bytes;    /* compressed and sealed, plain */
	uint64_t stored_bytes; /* ciphertext put or opened */
	uint64_t file_bytes;   /* written to segments with directories and parity, or to the target */
	uint64_t buffer_bytes; /* fixed memory of all lanes */
};

/* "read-wait", "compress", ...: the name in tables and JSON. */
const char *stage_name(enum stage stage);

/* True for the two waits: time that is not work. */
static inline bool stage_is_idle(enum stage stage)
{
	return stage == STAGE_READ_WAIT || stage == STAGE_WRITE_WAIT;
}

/* Adds `from` to `into`. */
void stage_times_add(struct stage_times *into, const struct stage_times *from);

#endif
