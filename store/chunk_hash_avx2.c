/* SPDX-License-Identifier: Apache-2.0 */
/* Eight blocks as two times four in the elements of 256-bit registers. AVX2 has no rotation: those by whole bytes are
 * byte shuffles, the one by 63 is a doubling and a shift. */
#include "store/chunk_hash_internal.h"

#if defined(__x86_64__)

#include <string.h>

#define LANES 4
#define LANES_FN static inline __attribute__((always_inline, target("avx2")))

typedef uint64_t vec __attribute__((vector_size(32)));
typedef uint32_t vec32 __attribute__((vector_size(32)));
typedef uint8_t vec8 __attribute__((vector_size(32)));

LANES_FN vec rotr32(vec x)
{
	vec32 w = (vec32)x;
	return (vec)__builtin_shufflevector(w, w, 1, 0, 3, 2, 5, 4, 7, 6);
}

LANES_FN vec rotr24(vec x)
{
	vec8 b = (vec8)x;
	return (vec)__builtin_shufflevector(b, b, 3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10, 19, 20, 21, 22,
					    23, 16, 17, 18, 27, 28, 29, 30, 31, 24, 25, 26);
}

LANES_FN vec rotr16(vec x)
{
	vec8 b = (vec8)x;
	return (vec)__builtin_shufflevector(b, b, 2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9, 18, 19, 20, 21,
					    22, 23, 16, 17, 26, 27, 28, 29, 30, 31, 24, 25);
}

LANES_FN vec rotr63(vec x)
{
	return x >> 63 | (x + x);
}

LANES_FN vec load_lane(const uint8_t *p)
{
	vec v;
	memcpy(&v, p, sizeof(v));
	return v;
}

/* Four words of four blocks: a 4 x 4 transposition. */
LANES_FN void load_quarter(vec m[static 4], const uint8_t *const data[static LANES], size_t offset)
{
	vec a = load_lane(data[0] + offset), b = load_lane(data[1] + offset);
	vec c = load_lane(data[2] + offset), d = load_lane(data[3] + offset);
	vec ab02 = __builtin_shufflevector(a, b, 0, 4, 2, 6);
	vec ab13 = __builtin_shufflevector(a, b, 1, 5, 3, 7);
	vec cd02 = __builtin_shufflevector(c, d, 0, 4, 2, 6);
	vec cd13 = __builtin_shufflevector(c, d, 1, 5, 3, 7);
	m[0] = __builtin_shufflevector(ab02, cd02, 0, 1, 4, 5);
	m[1] = __builtin_shufflevector(ab13, cd13, 0, 1, 4, 5);
	m[2] = __builtin_shufflevector(ab02, cd02, 2, 3, 6, 7);
	m[3] = __builtin_shufflevector(ab13, cd13, 2, 3, 6, 7);
}

LANES_FN void load_message(vec m[static 16], const uint8_t *const data[static LANES], size_t offset)
{
	for (size_t i = 0; i < 4; i++)
		load_quarter(m + 4 * i, data, offset + 32 * i);
}

#include "store/chunk_hash_lanes.h"

__attribute__((target("avx2"))) void chunk_hash_group_avx2(const uint8_t key[static 32],
							   const uint8_t *const blocks[static CHUNK_HASH_LANES],
							   struct chunk_id ret_ids[static CHUNK_HASH_LANES])
{
	hash_lanes(key, blocks, ret_ids);
	hash_lanes(key, blocks + LANES, ret_ids + LANES);
}

#endif
