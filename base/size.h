/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, rates, durations and counts as people write and read them: K, M, G, T are powers of 1024. */
#ifndef BASE_SIZE_H
#define BASE_SIZE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

/* Parses "64", "64K", "1.5G", "10MiB" (K M G T P, optionally followed by B or iB; either case). ERR_INVALID, with a
 * message naming `text`, for anything else: signs, blanks, trailing text, more than 2^63-1. */
MUST_CHECK enum err_code size_parse(const char *text, uint64_t *ret_bytes, struct err *err);

/* Parses a plain decimal integer within [min, max]; ERR_INVALID otherwise, naming `what`. */
MUST_CHECK enum err_code number_parse(const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *ret,
				      struct err *err);

#define SIZE_TEXT_SIZE 16

/* "0 B", "512 B", "3.20 GiB": three significant digits. Returns dst. */
char *size_format(uint64_t bytes, char dst[static SIZE_TEXT_SIZE]);

/* "12s", "3m05s", "2h03m", "4d01h". Returns dst. */
char *duration_format(uint64_t seconds, char dst[static SIZE_TEXT_SIZE]);

/* `value` rounded up to a multiple of `step` (a power of two). The caller makes sure that it does not overflow. */
static inline uint64_t round_up(uint64_t value, uint64_t step)
{
	return (value + step - 1) & ~(step - 1);
}

static inline uint64_t round_down(uint64_t value, uint64_t step)
{
	return value & ~(step - 1);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

#endif
