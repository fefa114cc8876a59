/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/verify_marks.h"

#include <stdlib.h>

enum err_code record_marks_init(struct record_marks *marks, const struct log_state *state, struct err *err)
{
	marks->state = state;
	marks->bits = calloc(state->segment_count + 1, sizeof(*marks->bits));
	return marks->bits ? ERR_OK : err_set(err, ERR_NO_MEMORY, 0, "no memory for a set of records");
}

void record_marks_release(struct record_marks *marks)
{
	for (size_t i = 0; marks->bits && i < marks->state->segment_count; i++)
		free(marks->bits[i]);
	free(marks->bits);
	marks->bits = NULL;
}

size_t record_marks_place(const struct record_marks *marks, uint64_t segment)
{
	size_t low = 0;
	size_t high = marks->state->segment_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (marks->state->segments[middle].number < segment)
			low = middle + 1;
		else
			high = middle;
	}
	bool found = low < marks->state->segment_count && marks->state->segments[low].number == segment;
	return found ? low : marks->state->segment_count;
}

enum err_code record_marks_set(struct record_marks *marks, size_t place, uint32_t slot, struct err *err)
{
	uint64_t **bits = &marks->bits[place];
	if (!*bits)
		*bits = calloc(SEGMENT_RECORDS_MAX / 64, sizeof(**bits));
	if (!*bits)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a set of records");
	(*bits)[slot / 64] |= UINT64_C(1) << (slot % 64);
	return ERR_OK;
}

bool record_marks_has(const struct record_marks *marks, size_t place, uint32_t slot)
{
	return marks->bits[place] && marks->bits[place][slot / 64] >> (slot % 64) & 1;
}
