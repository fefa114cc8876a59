/* SPDX-License-Identifier: Apache-2.0 */
/* Which implementation hashes, and how groups that are not full are filled up.
 *
 * Measured on one Zen 5 core (bytes per CPU second over 64 KiB blocks that lie in the L2 cache, median of 9 runs, GCC
 * 12 -O2; Clang 14 is within a tenth): AVX-512 is 8 times and AVX2 3.7 times as fast as libsodium. There the latency of
 * one round after another is the limit, not the number of instructions: two groups of eight interleaved would give a
 * quarter more, for twice the blocks in the cache. */
#include "store/chunk_hash.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>

#include "store/chunk_hash_internal.h"

struct implementation {
	const char *name;
	chunk_hash_group_fn hash_group; /* NULL: one block at a time */
	size_t worthwhile; /* from this count on a group is faster than one block after another (measured) */
	bool (*is_supported)(void);
};

#if defined(__x86_64__)
static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}
#endif

static bool always(void)
{
	return true;
}

/* The fastest first. */
static const struct implementation implementations[] = {
#if defined(__x86_64__)
	{"avx512", chunk_hash_group_avx512, 2, has_avx512},
	{"avx2", chunk_hash_group_avx2, 3, has_avx2},
#endif
	{"plain", NULL, SIZE_MAX, always},
};

#define IMPLEMENTATIONS (sizeof(implementations) / sizeof(implementations[0]))

static const struct implementation *chosen;
static pthread_once_t chosen_once = PTHREAD_ONCE_INIT;

static void choose(void)
{
	/* Lets libsodium choose its own fastest form; it works without, too. */
	int unused = sodium_init();
	(void)unused;
	size_t i = 0;
	while (!implementations[i].is_supported())
		i++;
	chosen = &implementations[i];
}

static const struct implementation *implementation(void)
{
	pthread_once(&chosen_once, choose);
	return chosen;
}

const char *chunk_hash_implementation(void)
{
	return implementation()->name;
}

bool chunk_hash_force(const char *name)
{
	pthread_once(&chosen_once, choose);
	for (size_t i = 0; i < IMPLEMENTATIONS; i++) {
		if (strcmp(implementations[i].name, name) != 0 || !implementations[i].is_supported())
			continue;
		chosen = &implementations[i];
		return true;
	}
	return false;
}

void chunk_hasher_init(struct chunk_hasher *hasher, const uint8_t key[static 32])
{
	memcpy(hasher->key, key, sizeof(hasher->key));
}

void chunk_hasher_wipe(struct chunk_hasher *hasher)
{
	sodium_memzero(hasher, sizeof(*hasher));
}

void chunk_hash(const struct chunk_hasher *hasher, const void *data, size_t length, struct chunk_id *ret_id)
{
	crypto_generichash(ret_id->bytes, sizeof(ret_id->bytes), data, length, hasher->key, sizeof(hasher->key));
}

void chunk_hash_blocks(const struct chunk_hasher *hasher, const uint8_t *const blocks[], size_t count,
		       struct chunk_id ret_ids[])
{
	const struct implementation *in_use = implementation();
	assert(count >= 1 && count <= CHUNK_HASH_LANES);
	if (count < in_use->worthwhile) {
		for (size_t i = 0; i < count; i++)
			chunk_hash(hasher, blocks[i], BLOCK_SIZE, &ret_ids[i]);
		return;
	}
	if (count == CHUNK_HASH_LANES) {
		in_use->hash_group(hasher->key, blocks, ret_ids);
		return;
	}
	const uint8_t *group[CHUNK_HASH_LANES];
	struct chunk_id ids[CHUNK_HASH_LANES];
	for (size_t i = 0; i < CHUNK_HASH_LANES; i++)
		group[i] = blocks[i < count ? i : 0];
	in_use->hash_group(hasher->key, group, ids);
	memcpy(ret_ids, ids, count * sizeof(ids[0]));
}
