/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define COLUMNS_MAX 16
#define CELL_MAX 512

/* Columns of the terminal that `text` takes; bytes where it is not text of this locale. */
static size_t text_width(const char *text)
{
	size_t width = 0;
	mbstate_t state;
	memset(&state, 0, sizeof(state));
	size_t left = strlen(text);
	for (const char *p = text; left;) {
		wchar_t c;
		size_t n = mbrtowc(&c, p, left, &state);
		if (n == 0 || n > left)
			return strlen(text);
		int columns = wcwidth(c);
		width += columns > 0 ? (size_t)columns : 0;
		p += n;
		left -= n;
	}
	return width;
}

void table_init(struct table *table, const char *const headings[], size_t columns)
{
	memset(table, 0, sizeof(*table));
	table->columns = columns < COLUMNS_MAX ? columns : COLUMNS_MAX;
	for (size_t i = 0; i < table->columns; i++)
		table_cell(table, "%s", headings[i]);
}

void table_cell(struct table *table, const char *format, ...)
{
	if (table->count == table->room) {
		size_t room = table->room ? 2 * table->room : 64;
		char **cells = reallocarray(table->cells, room, sizeof(*cells));
		if (!cells) {
			table->failed = true;
			return;
		}
		table->cells = cells;
		table->room = room;
	}
	char text[CELL_MAX];
	char clean[CELL_MAX];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	char *cell = strdup(output_clean(text, clean, sizeof(clean)));
	if (cell)
		table->cells[table->count++] = cell;
	else
		table->failed = true;
}

static void print_row(const struct table *table, size_t row, const size_t widths[], struct output *output,
		      const char *indent)
{
	fputs(indent, output->results);
	size_t owed = 0; /* blanks, paid only where something follows */
	for (size_t i = 0; i < table->columns; i++) {
		const char *cell = table->cells[row * table->columns + i];
		if (*cell) {
			fprintf(output->results, "%*s%s", (int)owed, "", cell);
			owed = 0;
		}
		owed += widths[i] - text_width(cell) + 2;
	}
	fputc('\n', output->results);
}

void table_print(const struct table *table, struct output *output, const char *indent)
{
	if (output->json)
		return;
	size_t widths[COLUMNS_MAX] = {0};
	for (size_t i = 0; i < table->count; i++) {
		size_t width = text_width(table->cells[i]);
		if (width > widths[i % table->columns])
			widths[i % table->columns] = width;
	}
	output_lock(output);
	for (size_t row = 0; row < table->count / table->columns; row++)
		print_row(table, row, widths, output, indent);
	if (table->failed)
		fputs("(out of memory: the table is not complete)\n", output->results);
	output_unlock(output);
}

void table_release(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	memset(table, 0, sizeof(*table));
}
