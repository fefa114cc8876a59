/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/options.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

#define ROWS_MAX 48
#define LONG_ONLY 256 /* getopt's value for row i is LONG_ONLY + i, so that it is never a letter */
#define HELP_COLUMN 32

/* All rows of a command, side by side, in getopt's shape. */
struct getopt_tables {
	struct option longs[ROWS_MAX + 1];
	char letters[2 * ROWS_MAX + 3];
	const struct option_row *rows[ROWS_MAX];
	void *values[ROWS_MAX];
	size_t count;
};

static enum err_code build_tables(const struct option_group groups[], size_t group_count, struct getopt_tables *tables,
				  struct err *err)
{
	char *letter = tables->letters;
	*letter++ = ':'; /* makes getopt tell a missing value from an unknown option */
	for (size_t g = 0; g < group_count; g++)
		for (const struct option_row *row = groups[g].rows; row && row->name; row++) {
			if (tables->count == ROWS_MAX)
				return err_set(err, ERR_BUG, 0, "too many options");
			int has_value = row->kind == OPTION_FLAG ? no_argument : required_argument;
			tables->longs[tables->count] =
				(struct option){row->name, has_value, NULL, LONG_ONLY + (int)tables->count};
			tables->rows[tables->count] = row;
			tables->values[tables->count] = (char *)groups[g].values + row->offset;
			tables->count++;
			if (!row->letter)
				continue;
			*letter++ = row->letter;
			if (has_value)
				*letter++ = ':';
		}
	return ERR_OK;
}

enum err_code text_list_add(struct text_list *list, const char *text, struct err *err)
{
	const char **texts = reallocarray(list->texts, list->count + 1, sizeof(*texts));
	if (!texts)
		return err_set(err, ERR_NO_MEMORY, 0, "out of memory");
	texts[list->count++] = text;
	list->texts = texts;
	return ERR_OK;
}

void text_list_release(struct text_list *list)
{
	free(list->texts);
	*list = (struct text_list){0};
}

/* The number (from 1) of `text` among the words of `choices`; 0 if it is none of them. */
static unsigned find_choice(const char *choices, const char *text)
{
	size_t length = strlen(text);
	unsigned number = 1;
	for (const char *word = choices; length; number++) {
		size_t n = strcspn(word, "|");
		if (n == length && strncmp(word, text, n) == 0)
			return number;
		if (!word[n])
			break;
		word += n + 1;
	}
	return 0;
}

static enum err_code take_value(const struct option_row *row, void *value, const char *text, struct err *err)
{
	switch (row->kind) {
	case OPTION_FLAG:
		*(bool *)value = true;
		return ERR_OK;
	case OPTION_TEXT:
		*(const char **)value = text;
		return ERR_OK;
	case OPTION_TEXTS:
		return text_list_add(value, text, err);
	case OPTION_SIZE:
		return size_parse(text, value, err);
	case OPTION_NUMBER:
		return number_parse(text, row->name, row->min, row->max, value, err);
	case OPTION_CHOICE:
		*(unsigned *)value = find_choice(row->value, text);
		if (*(unsigned *)value)
			return ERR_OK;
		return err_set(err, ERR_INVALID, 0, "'%s' is none of %s", text, row->value);
	}
	return err_set(err, ERR_BUG, 0, "option '--%s' has no kind", row->name);
}

/* The row that getopt's answer `c` means. */
static size_t find_row(const struct getopt_tables *tables, int c)
{
	if (c >= LONG_ONLY)
		return (size_t)(c - LONG_ONLY);
	size_t i = 0;
	while (i < tables->count && tables->rows[i]->letter != c)
		i++;
	return i;
}

/* `c` is getopt's complaint. It has moved on to the next argument, except from within a cluster of letters. */
static enum err_code refuse_option(const char *program, int c, char **argv, struct err *err)
{
	char letter[3] = {'-', (char)optopt, '\0'};
	bool is_letter = optopt > 0 && optopt < LONG_ONLY;
	const char *name = is_letter ? letter : argv[optind - 1];
	if (c == ':')
		return err_set(err, ERR_INVALID, 0, "option '%s' needs a value; see '%s --help'", name, program);
	return err_set(err, ERR_INVALID, 0, "option '%s' is unknown, ambiguous or takes no value; see '%s --help'",
		       name, program);
}

enum err_code options_parse(const char *program, const struct option_group groups[], size_t group_count, int argc,
			    char **argv, int *ret_first, struct err *err)
{
	struct getopt_tables tables;
	memset(&tables, 0, sizeof(tables));
	TRY(build_tables(groups, group_count, &tables, err));
	optind = 0; /* GNU: start over, also with a new set of options */
	opterr = 0;
	for (;;) {
		int c = getopt_long(argc, argv, tables.letters, tables.longs, NULL);
		if (c == -1)
			break;
		if (c == '?' || c == ':')
			return refuse_option(program, c, argv, err);
		size_t i = find_row(&tables, c);
		if (i == tables.count)
			return err_set(err, ERR_BUG, 0, "option '-%c' has no row", c);
		if (take_value(tables.rows[i], tables.values[i], optarg, err) != ERR_OK)
			return err_context(err, "option '--%s'", tables.rows[i]->name);
	}
	*ret_first = optind;
	return ERR_OK;
}

void options_print_help(const struct option_row *rows)
{
	for (const struct option_row *row = rows; row && row->name; row++) {
		char left[128];
		char letter[4] = "   ";
		if (row->letter)
			snprintf(letter, sizeof(letter), "-%c,", row->letter);
		snprintf(left, sizeof(left), "  %s --%s%s%s", letter, row->name, row->value ? " " : "",
			 row->value ? row->value : "");
		if (strlen(left) >= HELP_COLUMN)
			printf("%s\n%*s%s\n", left, HELP_COLUMN, "", row->help);
		else
			printf("%-*s%s\n", HELP_COLUMN, left, row->help);
	}
}
