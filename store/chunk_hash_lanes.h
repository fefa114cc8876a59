/* SPDX-License-Identifier: Apache-2.0 */
/* Keyed BLAKE2b-256 (RFC 7693) of several blocks side by side: a template, written once for any vector width. Element i
 * of every vector belongs to block i, so the rounds are the text of the RFC with vectors for words, and nothing crosses
 * lanes but the transposition of the message.
 *
 * The file that includes this defines before it:
 *   LANES                    blocks side by side
 *   LANES_FN                 `static inline` with always_inline and the instruction set as function attributes
 *   vec                      a vector of LANES uint64_t
 *   rotr32, rotr24, rotr16, rotr63     rotations to the right of every element
 *   load_message(m, data, offset)      message words 0..15 at data[0..LANES-1] + offset, word w of block i to m[w][i]
 * and gets hash_lanes(). */
#include "base/endian.h"

/* Without it GCC keeps the state in memory below -O3. */
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#define MESSAGE_SIZE 128u /* bytes of a BLAKE2b message block */

/* RFC 7693, section 2.6. */
static const uint64_t initial_vector[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

/* First word of the parameter block: digest length 32, key length 32, fanout 1, depth 1. */
#define PARAMETERS UINT64_C(0x01012020)

/* RFC 7693, section 3.1. The message word is added to `a` before `b` is: it is known early, `b` is the late one. */
#define MIX(a, b, c, d, x, y)               \
	do {                                \
		v[a] = v[a] + m[x] + v[b];  \
		v[d] = rotr32(v[d] ^ v[a]); \
		v[c] = v[c] + v[d];         \
		v[b] = rotr24(v[b] ^ v[c]); \
		v[a] = v[a] + m[y] + v[b];  \
		v[d] = rotr16(v[d] ^ v[a]); \
		v[c] = v[c] + v[d];         \
		v[b] = rotr63(v[b] ^ v[c]); \
	} while (0)

/* One round; the arguments are a row of the message schedule (RFC 7693, section 2.7). */
#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15) \
	do {                                                                        \
		MIX(0, 4, 8, 12, s0, s1);                                           \
		MIX(1, 5, 9, 13, s2, s3);                                           \
		MIX(2, 6, 10, 14, s4, s5);                                          \
		MIX(3, 7, 11, 15, s6, s7);                                          \
		MIX(0, 5, 10, 15, s8, s9);                                          \
		MIX(1, 6, 11, 12, s10, s11);                                        \
		MIX(2, 7, 8, 13, s12, s13);                                         \
		MIX(3, 4, 9, 14, s14, s15);                                         \
	} while (0)

/* The compression function F. `total` is the number of message bytes up to and including this block. */
/* Twelve rounds written out. NOLINTNEXTLINE(readability-function-size) */
LANES_FN void compress(vec h[static 8], const vec m[static 16], uint64_t total, bool is_last)
{
	vec v[16];
	UNROLL for (int i = 0; i < 8; i++)
	{
		v[i] = h[i];
		v[i + 8] = (vec){0} + initial_vector[i];
	}
	v[12] ^= total;
	if (is_last)
		v[14] = ~v[14];
	ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
	ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
	ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
	ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
	ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
	ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
	ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
	ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
	ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
	ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
	UNROLL for (int i = 0; i < 8; i++) h[i] ^= v[i] ^ v[i + 8];
}

/* Hashes LANES blocks of BLOCK_SIZE bytes. */
LANES_FN void hash_lanes(const uint8_t key[static 32], const uint8_t *const blocks[static LANES],
			 struct chunk_id ret_ids[static LANES])
{
	vec h[8];
	vec m[16];
	UNROLL for (int i = 0; i < 8; i++) h[i] = (vec){0} + initial_vector[i];
	h[0] ^= PARAMETERS;
	/* A key makes a first message block of its own, padded with zeroes. It goes through the same loop as the rest,
	 * so that the 5 KiB of unrolled rounds exist once. */
	UNROLL for (size_t i = 0; i < 16; i++) m[i] = (vec){0} + (i < 4 ? le64_get(key + 8 * i) : 0);
	for (uint32_t done = 0;; done += MESSAGE_SIZE) {
		compress(h, m, done + MESSAGE_SIZE, done == BLOCK_SIZE);
		if (done == BLOCK_SIZE)
			break;
		load_message(m, blocks, done);
	}
	for (size_t lane = 0; lane < LANES; lane++)
		for (size_t i = 0; i < 4; i++)
			le64_put(ret_ids[lane].bytes + 8 * i, h[i][lane]);
}
