/* SPDX-License-Identifier: Apache-2.0 */
/* The one option parser: a table of rows says what a verb takes, and makes both the parsing and the help text.
 *
 * Threads: one owner. */
#ifndef APPLIANCE_OPTIONS_H
#define APPLIANCE_OPTIONS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* What a row's value is and what its place in the values' struct looks like. */
enum option_kind {
	OPTION_FLAG,   /* bool */
	OPTION_TEXT,   /* const char *; NULL if not given */
	OPTION_TEXTS,  /* struct text_list: may be given again and again */
	OPTION_SIZE,   /* uint64_t: 64K, 1.5G */
	OPTION_NUMBER, /* uint64_t within [min, max] */
	OPTION_CHOICE, /* unsigned: 0 if not given, else the number (from 1) of the word in `value` ("off|sample|all")
			*/
};

struct option_row {
	char letter; /* 0: none */
	const char *name;
	enum option_kind kind;
	size_t offset;     /* of the value in the values' struct */
	const char *value; /* what help calls the value; NULL for a flag */
	const char *help;  /* one line */
	uint64_t min, max;
};

#define OPTIONS_END          \
	{                    \
		.name = NULL \
	}

struct text_list {
	const char **texts; /* borrowed from argv */
	size_t count;
};

/* A table of rows, ended by OPTIONS_END, and the struct that takes its values. */
struct option_group {
	const struct option_row *rows;
	void *values;
};

/* Parses argv[1..argc-1]. What is no option is gathered in argv[*ret_first .. argc-1]; "--" ends the options.
 * ERR_INVALID with one line that names `program` ("xenolith backup") where to read on. Text lists are released with
 * text_list_release. */
MUST_CHECK enum err_code options_parse(const char *program, const struct option_group groups[], size_t group_count,
				       int argc, char **argv, int *ret_first, struct err *err);

MUST_CHECK enum err_code text_list_add(struct text_list *list, const char *text, struct err *err);
void text_list_release(struct text_list *list);

/* Writes one line of help per row to standard output. */
void options_print_help(const struct option_row *rows);

#endif
