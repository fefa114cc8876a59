/* SPDX-License-Identifier: Apache-2.0 */
/* Reed-Solomon parity of a segment: 64 data columns, 4 parity columns, GF(2^8) with polynomial 0x11d and ISA-L's Cauchy
 * matrix (row i of the parity, column j: the inverse of (64 + i) xor j). Data columns are consecutive stretches of the
 * file of `column_length` bytes each; what lies beyond the covered end is zero.
 *
 * Threads: tables are made once; a parity accumulator belongs to one thread. */
#ifndef STORE_PARITY_H
#define STORE_PARITY_H

#include <stddef.h>
#include <stdint.h>

/* Folds `length` bytes that stand at `offset` of the file into the four parity columns (4 x column_length bytes back to
 * back, zeroed before the first call). Order does not matter; every byte must be folded exactly once. */
void parity_update(uint8_t *columns, uint32_t column_length, uint64_t offset, const uint8_t *data, size_t length);

#endif
