/* SPDX-License-Identifier: Apache-2.0 */
#include "store/parity.h"

#include "store/segment.h"

#include <isa-l/erasure_code.h>
#include <pthread.h>

enum { K = SEGMENT_COLUMNS, ROWS = SEGMENT_PARITY_COLUMNS };

static uint8_t tables[32 * K * ROWS];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
	uint8_t matrix[(K + ROWS) * K];
	gf_gen_cauchy1_matrix(matrix, K + ROWS, K);
	ec_init_tables(K, ROWS, matrix + (size_t)K * K, tables);
}

void parity_update(uint8_t *columns, uint32_t column_length, uint64_t offset, const uint8_t *data, size_t length)
{
	pthread_once(&tables_once, make_tables);
	while (length > 0) {
		uint64_t column = offset / column_length;
		uint32_t at = (uint32_t)(offset % column_length);
		size_t n = column_length - at < length ? column_length - at : length;
		uint8_t *rows[ROWS];
		for (unsigned i = 0; i < ROWS; i++)
			rows[i] = columns + (size_t)i * column_length + at;
		/* ISA-L takes non-const data but only reads it. */
		union {
			const uint8_t *in;
			uint8_t *out;
		} unconst = {.in = data};
		ec_encode_data_update((int)n, K, ROWS, (int)column, tables, unconst.out, rows);
		data += n;
		offset += n;
		length -= n;
	}
}
