/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of records: one bit per slot of each live segment. Private to pipeline/.
 *
 * Threads: marks of one segment are set by one thread at a time. */
#ifndef PIPELINE_VERIFY_MARKS_H
#define PIPELINE_VERIFY_MARKS_H

#include "store/store.h"

struct record_marks {
	const struct log_state *state;
	uint64_t **bits; /* per segment of the state, NULL while empty */
};

MUST_CHECK enum err_code record_marks_init(struct record_marks *marks, const struct log_state *state, struct err *err);
void record_marks_release(struct record_marks *marks);

/* The place of a segment in the log's array; segment_count if it is not there. */
size_t record_marks_place(const struct record_marks *marks, uint64_t segment);

MUST_CHECK enum err_code record_marks_set(struct record_marks *marks, size_t place, uint32_t slot, struct err *err);
bool record_marks_has(const struct record_marks *marks, size_t place, uint32_t slot);

#endif
