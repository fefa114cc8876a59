/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a long test is done: everything, or a sixth with XENOLITH_TIER=quick and under sanitizers. */
#ifndef TESTS_CRASH_TIER_H
#define TESTS_CRASH_TIER_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TIER_SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TIER_SANITIZED 1
#endif

static inline bool tier_is_quick(void)
{
	const char *tier = getenv("XENOLITH_TIER");
	if (tier)
		return strcmp(tier, "quick") == 0;
#ifdef TIER_SANITIZED
	return true;
#else
	return false;
#endif
}

static inline unsigned tier_count(unsigned full)
{
	return tier_is_quick() ? (full + 5) / 6 : full;
}

#endif
