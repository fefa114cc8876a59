/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers of property tests: the seed is printed, TEST_SEED= replays it. */
#ifndef TESTS_SEED_H
#define TESTS_SEED_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The seed from the environment, or a new one; either way it is printed. */
static inline uint64_t test_seed(const char *test)
{
	const char *given = getenv("TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003 + (uint64_t)clock();
	printf("%s: TEST_SEED=%" PRIu64 "\n", test, seed);
	fflush(stdout);
	return seed;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static inline uint64_t test_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Below `limit`, which is not 0. */
static inline uint64_t test_random_below(uint64_t *state, uint64_t limit)
{
	return test_random(state) % limit;
}

#endif
