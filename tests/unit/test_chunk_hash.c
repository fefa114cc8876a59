/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PADDING 64 /* room to move blocks off their alignment */

static const char *const names[] = {"avx512", "avx2", "plain"};
#define NAMES (sizeof(names) / sizeof(names[0]))

struct state {
	uint8_t *memory; /* CHUNK_HASH_LANES blocks and padding */
	struct chunk_hasher hasher;
	const char *initial; /* the implementation chosen at start */
};

static struct state state;

static int setup(void **unused)
{
	(void)unused;
	uint8_t key[32];
	if (sodium_init() < 0)
		return -1;
	state.initial = chunk_hash_implementation();
	state.memory = malloc(CHUNK_HASH_LANES * (BLOCK_SIZE + PADDING));
	randombytes_buf(key, sizeof(key));
	chunk_hasher_init(&state.hasher, key);
	return state.memory ? 0 : -1;
}

static int teardown(void **unused)
{
	(void)unused;
	chunk_hash_force(state.initial);
	chunk_hasher_wipe(&state.hasher);
	free(state.memory);
	return 0;
}

/* The block with number i, `shift` bytes off its alignment. */
static uint8_t *block(size_t i, size_t shift)
{
	return state.memory + i * (BLOCK_SIZE + PADDING) + shift;
}

static void reference(const uint8_t *data, struct chunk_id *ret_id)
{
	crypto_generichash(ret_id->bytes, 32, data, BLOCK_SIZE, state.hasher.key, 32);
}

/* Hashes `count` blocks by the implementation in use and compares each with libsodium; ids behind them stay. */
static void check_count(size_t count, size_t shift)
{
	const uint8_t *blocks[CHUNK_HASH_LANES] = {0};
	struct chunk_id ids[CHUNK_HASH_LANES];
	struct chunk_id untouched;
	memset(ids, 0xa5, sizeof(ids));
	memset(&untouched, 0xa5, sizeof(untouched));
	for (size_t i = 0; i < count; i++)
		blocks[i] = block(i, shift);
	chunk_hash_blocks(&state.hasher, blocks, count, ids);
	for (size_t i = 0; i < count; i++) {
		struct chunk_id expected;
		reference(blocks[i], &expected);
		assert_memory_equal(ids[i].bytes, expected.bytes, 32);
	}
	for (size_t i = count; i < CHUNK_HASH_LANES; i++)
		assert_memory_equal(ids[i].bytes, untouched.bytes, 32);
}

static void each_implementation(void (*check)(void))
{
	size_t ran = 0;
	for (size_t i = 0; i < NAMES; i++) {
		if (!chunk_hash_force(names[i])) {
			print_message("this CPU has no %s\n", names[i]);
			continue;
		}
		assert_string_equal(chunk_hash_implementation(), names[i]);
		check();
		ran++;
	}
	assert_true(ran >= 1);
}

static void check_random(void)
{
	for (size_t count = 1; count <= CHUNK_HASH_LANES; count++) {
		for (size_t i = 0; i < CHUNK_HASH_LANES; i++)
			randombytes_buf(block(i, 0), BLOCK_SIZE);
		check_count(count, 0);
	}
}

static void test_chunk_hash__random_blocks_hash_like_libsodium_in_every_count(void **unused)
{
	(void)unused;
	each_implementation(check_random);
}

static void check_patterns(void)
{
	static const uint8_t fill[] = {0x00, 0xff, 0x80, 0x01, 0x7f};
	for (size_t f = 0; f < sizeof(fill); f++) {
		for (size_t i = 0; i < CHUNK_HASH_LANES; i++)
			memset(block(i, 0), fill[f], BLOCK_SIZE);
		/* One bit in another place of each block: no lane may answer for its neighbour. */
		for (size_t i = 0; i < CHUNK_HASH_LANES; i++)
			block(i, 0)[(i * 8191 + f) % BLOCK_SIZE] ^= 1;
		check_count(CHUNK_HASH_LANES, 0);
	}
}

static void test_chunk_hash__patterns_hash_like_libsodium(void **unused)
{
	(void)unused;
	each_implementation(check_patterns);
}

static void check_alignment(void)
{
	for (size_t shift = 1; shift < PADDING; shift += 9) {
		for (size_t i = 0; i < CHUNK_HASH_LANES; i++)
			randombytes_buf(block(i, shift), BLOCK_SIZE);
		check_count(CHUNK_HASH_LANES, shift);
	}
}

static void test_chunk_hash__blocks_may_lie_anywhere(void **unused)
{
	(void)unused;
	each_implementation(check_alignment);
}

static void check_same_block(void)
{
	const uint8_t *blocks[CHUNK_HASH_LANES];
	struct chunk_id ids[CHUNK_HASH_LANES];
	struct chunk_id expected;
	for (size_t i = 0; i < CHUNK_HASH_LANES; i++)
		blocks[i] = block(0, 0);
	reference(block(0, 0), &expected);
	chunk_hash_blocks(&state.hasher, blocks, CHUNK_HASH_LANES, ids);
	for (size_t i = 0; i < CHUNK_HASH_LANES; i++)
		assert_true(chunk_id_equal(&ids[i], &expected));
}

static void test_chunk_hash__one_block_may_come_many_times(void **unused)
{
	(void)unused;
	randombytes_buf(block(0, 0), BLOCK_SIZE);
	each_implementation(check_same_block);
}

static void test_chunk_hash__another_key_gives_another_id(void **unused)
{
	(void)unused;
	struct chunk_hasher other = state.hasher;
	struct chunk_id a, b;
	const uint8_t *blocks[] = {block(0, 0)};
	other.key[31] ^= 1;
	chunk_hash_blocks(&state.hasher, blocks, 1, &a);
	chunk_hash_blocks(&other, blocks, 1, &b);
	assert_false(chunk_id_equal(&a, &b));
}

/* An answer that does not come from libsodium: Python's hashlib.blake2b(bytes(65536), digest_size=32,
 * key=bytes(range(32))). */
static void check_known_answer(void)
{
	static const uint8_t expected[32] = {0x05, 0xd2, 0xb3, 0x49, 0xc6, 0x7e, 0x1a, 0x30, 0x8a, 0x60, 0x28,
					     0x08, 0xe7, 0xc2, 0xde, 0x20, 0x49, 0x56, 0x93, 0x29, 0xee, 0xb5,
					     0xc1, 0xce, 0xc5, 0x07, 0x45, 0x0c, 0x73, 0x5d, 0x1d, 0x8a};
	uint8_t key[32];
	struct chunk_hasher hasher;
	const uint8_t *blocks[CHUNK_HASH_LANES];
	struct chunk_id ids[CHUNK_HASH_LANES];
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	chunk_hasher_init(&hasher, key);
	memset(block(0, 0), 0, BLOCK_SIZE);
	for (size_t i = 0; i < CHUNK_HASH_LANES; i++)
		blocks[i] = block(0, 0);
	chunk_hash_blocks(&hasher, blocks, CHUNK_HASH_LANES, ids);
	for (size_t i = 0; i < CHUNK_HASH_LANES; i++)
		assert_memory_equal(ids[i].bytes, expected, 32);
}

static void test_chunk_hash__zeroes_have_the_known_answer(void **unused)
{
	(void)unused;
	each_implementation(check_known_answer);
}

static void test_chunk_hash__any_length_hashes_like_libsodium(void **unused)
{
	(void)unused;
	static const size_t lengths[] = {0, 1, 127, 128, 129, 4096, BLOCK_SIZE - 1, BLOCK_SIZE};
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct chunk_id id, expected;
		chunk_hash(&state.hasher, block(0, 0), lengths[i], &id);
		crypto_generichash(expected.bytes, 32, block(0, 0), lengths[i], state.hasher.key, 32);
		assert_memory_equal(id.bytes, expected.bytes, 32);
	}
}

static void test_chunk_hash__unknown_implementation_is_refused(void **unused)
{
	(void)unused;
	assert_true(chunk_hash_force("plain"));
	assert_false(chunk_hash_force("abacus"));
	assert_string_equal(chunk_hash_implementation(), "plain");
}

static void test_chunk_hasher__wipe_forgets_the_key(void **unused)
{
	(void)unused;
	struct chunk_hasher hasher;
	memset(&hasher, 7, sizeof(hasher));
	chunk_hasher_wipe(&hasher);
	assert_true(sodium_is_zero(hasher.key, sizeof(hasher.key)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunk_hash__random_blocks_hash_like_libsodium_in_every_count),
		cmocka_unit_test(test_chunk_hash__patterns_hash_like_libsodium),
		cmocka_unit_test(test_chunk_hash__blocks_may_lie_anywhere),
		cmocka_unit_test(test_chunk_hash__one_block_may_come_many_times),
		cmocka_unit_test(test_chunk_hash__another_key_gives_another_id),
		cmocka_unit_test(test_chunk_hash__zeroes_have_the_known_answer),
		cmocka_unit_test(test_chunk_hash__any_length_hashes_like_libsodium),
		cmocka_unit_test(test_chunk_hash__unknown_implementation_is_refused),
		cmocka_unit_test(test_chunk_hasher__wipe_forgets_the_key),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
