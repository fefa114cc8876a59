/* SPDX-License-Identifier: Apache-2.0 */
/* The least that a scenario can cost on this machine, from what was measured without the product.
 *
 *   CPU seconds   the sum, over the stages that a byte goes through, of bytes x the primitive's cost per byte
 *   disk seconds  what the disk probe needs for as many bytes read and written, with as many lanes
 *   wall seconds  max(CPU seconds / lanes, disk seconds)
 *
 * Stages and their bytes:
 *
 *   backup    L x read + (L - N) x zero test of zeroes + N x (zero test of data + hash) + U x compress
 *             + S x (seal + xxh3) + F x (crc32c + write) + F x 64/68 x parity + V x (read + open) + V' x (decompress +
 * hash) restore   S x (read + open) + N x (decompress + hash + write) verify    S x (read + open) + U x (decompress +
 * hash) scrub     F x (read + crc32c)
 *
 * L: bytes in extents that hold data; N: in blocks that are not zero; U: in blocks of a content that the store does not
 * have; S: stored bytes of the records; F: bytes of files; V, V': stored and plain bytes of what is read back to check
 * new records. L, N and U of a backup are counted by the survey of the disk, not by the product. Nothing is counted for
 * looking up the index, for disk maps, for commits and for the code between the stages: that is the product's to keep
 * small.
 *
 * Threads: pure functions. */
#ifndef BENCH_ROOFLINE_H
#define BENCH_ROOFLINE_H

#include "bench/primitives.h"

#include <stddef.h>

/* What one lane's costs are: primitives and the CPU time of the I/O itself. */
struct lane_costs {
	struct primitive_costs primitives;
	double read_ns_per_byte;
	double write_ns_per_byte;
};

/* The bytes of a scenario; see above. Those that a scenario does not have are zero. */
struct scenario_bytes {
	double read;         /* L */
	double data;         /* N */
	double fresh;        /* U */
	double stored;       /* S */
	double file;         /* F */
	double check_stored; /* V */
	double check_plain;  /* V' */
};

struct roofline_term {
	const char *stage;
	double bytes;
	double ns_per_byte;
};

#define ROOFLINE_TERMS_MAX 16

struct roofline {
	struct roofline_term terms[ROOFLINE_TERMS_MAX];
	size_t term_count;
	double cpu_s;
};

struct roofline roofline_backup(const struct scenario_bytes *bytes, const struct lane_costs *costs);
struct roofline roofline_restore(const struct scenario_bytes *bytes, const struct lane_costs *costs);
struct roofline roofline_verify(const struct scenario_bytes *bytes, const struct lane_costs *costs);
struct roofline roofline_scrub(const struct scenario_bytes *bytes, const struct lane_costs *costs);

#endif
