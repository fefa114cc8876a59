/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share. A target is one file fuzz_NAME.c with the one function below; its seeds, and the inputs
 * that once broke something, are files in corpus/NAME/. libFuzzer calls the function with what it makes of them;
 * replay_main.c calls it with each file as it is.
 *
 * Much of what Xenolith reads is authenticated, and no mutation finds a MAC. The first byte of such an input says
 * whether the target makes the MACs right before it lets the parser see the bytes: with it, the fuzzer plays somebody
 * who has the keys; without, somebody who has not. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "store/keys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the program unless `holds`: the input that did it is a finding. */
static inline void require(bool holds)
{
	if (!holds)
		abort();
}

/* An error must come with its text. */
static inline void require_message(enum err_code code, const struct err *err)
{
	require(code == err->code && code != ERR_OK && code != ERR_BUG && err->msg[0]);
}

/* Where and how a target makes MACs right. */
enum { FUZZ_SEAL = 1 << 0 };

/* The keys of all targets: every byte the same, so that seeds stay good. */
static const struct uuid fuzz_store_id = {"fuzzed store id"};
static const uint8_t fuzz_key[KEY_SIZE] = {"the key of everything here"};

/* A copy of the bytes with zeroes behind them, `length` in all (at least `size`), in memory of its own so that
 * AddressSanitizer sees a read past its end. Gives it (free). */
static inline uint8_t *fuzz_pad(const uint8_t *data, size_t size, size_t length)
{
	uint8_t *copy = calloc(1, length ? length : 1);
	require(copy && size <= length);
	if (size)
		memcpy(copy, data, size);
	return copy;
}

/* Overwrites parts of `bytes` as the input says: patches { offset (3, little-endian), length (1), bytes }. Returns the
 * offset of the last one, or `length` if there was none. */
static inline size_t fuzz_patch(uint8_t *bytes, size_t length, const uint8_t *data, size_t size)
{
	size_t last = length;
	while (size >= 4) {
		size_t offset = (data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) % length;
		size_t n = data[3];
		if (n > size - 4)
			n = size - 4;
		size_t used = n;
		if (n > length - offset)
			n = length - offset;
		memcpy(bytes + offset, data + 4, n);
		last = offset;
		data += 4 + used;
		size -= 4 + used;
	}
	return last;
}

#endif
