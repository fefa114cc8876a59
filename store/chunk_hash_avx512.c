/* SPDX-License-Identifier: Apache-2.0 */
/* Eight blocks in the eight elements of 512-bit registers. */
#include "store/chunk_hash_internal.h"

#if defined(__x86_64__)

#include <string.h>

#define AVX512_TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq")))
#define LANES 8
#define LANES_FN static inline __attribute__((always_inline, target("avx512f,avx512vl,avx512bw,avx512dq")))

typedef uint64_t vec __attribute__((vector_size(64)));

/* Both compilers make one vprorq of this. */
#define ROTR(x, n) ((x) >> (n) | (x) << (64 - (n)))
#define rotr32(x) ROTR(x, 32)
#define rotr24(x) ROTR(x, 24)
#define rotr16(x) ROTR(x, 16)
#define rotr63(x) ROTR(x, 63)

/* Elements 0, 2, 4, 6 of a with those of b, in pairs; and 1, 3, 5, 7. */
#define PAIR_EVEN(a, b) __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14)
#define PAIR_ODD(a, b) __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
/* Pairs 0 and 2 of a, then those of b; and pairs 1 and 3. */
#define QUAD_EVEN(a, b) __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13)
#define QUAD_ODD(a, b) __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15)

LANES_FN vec load_lane(const uint8_t *p)
{
	vec v;
	memcpy(&v, p, sizeof(v));
	return v;
}

/* Eight words of eight blocks: an 8 x 8 transposition. */
LANES_FN void load_half(vec m[static 8], const uint8_t *const data[static LANES], size_t offset)
{
	vec even[4];
	vec odd[4];
	for (size_t i = 0; i < 4; i++) {
		vec a = load_lane(data[2 * i] + offset);
		vec b = load_lane(data[2 * i + 1] + offset);
		even[i] = PAIR_EVEN(a, b);
		odd[i] = PAIR_ODD(a, b);
	}
	/* Words 0 and 4 of blocks 0..3 and of blocks 4..7; then words 2 and 6; then the odd words in the same way. */
	vec low04 = QUAD_EVEN(even[0], even[1]), high04 = QUAD_EVEN(even[2], even[3]);
	vec low26 = QUAD_ODD(even[0], even[1]), high26 = QUAD_ODD(even[2], even[3]);
	vec low15 = QUAD_EVEN(odd[0], odd[1]), high15 = QUAD_EVEN(odd[2], odd[3]);
	vec low37 = QUAD_ODD(odd[0], odd[1]), high37 = QUAD_ODD(odd[2], odd[3]);
	m[0] = QUAD_EVEN(low04, high04);
	m[4] = QUAD_ODD(low04, high04);
	m[2] = QUAD_EVEN(low26, high26);
	m[6] = QUAD_ODD(low26, high26);
	m[1] = QUAD_EVEN(low15, high15);
	m[5] = QUAD_ODD(low15, high15);
	m[3] = QUAD_EVEN(low37, high37);
	m[7] = QUAD_ODD(low37, high37);
}

LANES_FN void load_message(vec m[static 16], const uint8_t *const data[static LANES], size_t offset)
{
	load_half(m, data, offset);
	load_half(m + 8, data, offset + 64);
}

#include "store/chunk_hash_lanes.h"

AVX512_TARGET void chunk_hash_group_avx512(const uint8_t key[static 32],
					   const uint8_t *const blocks[static CHUNK_HASH_LANES],
					   struct chunk_id ret_ids[static CHUNK_HASH_LANES])
{
	hash_lanes(key, blocks, ret_ids);
}

#endif
