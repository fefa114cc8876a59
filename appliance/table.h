/* SPDX-License-Identifier: Apache-2.0 */
/* A table for people: cells are gathered, then printed with columns just wide enough, all left-aligned.
 *
 * Threads: one owner. */
#ifndef APPLIANCE_TABLE_H
#define APPLIANCE_TABLE_H

#include "appliance/output.h"

#include <stddef.h>

struct table {
	size_t columns;
	char **cells; /* row by row */
	size_t count;
	size_t room;
	bool failed; /* memory ran out; printing says so */
};

/* A table whose first row is `headings` (`columns` of them). */
void table_init(struct table *table, const char *const headings[], size_t columns);

/* Adds the next cell of the current row; copies. */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints it to the results, each line behind `indent`; nothing in JSON mode. */
void table_print(const struct table *table, struct output *output, const char *indent);
void table_release(struct table *table);

#endif
