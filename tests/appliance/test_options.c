/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "appliance/options.h"

struct values {
	bool flag;
	const char *text;
	struct text_list texts;
	uint64_t size;
	uint64_t number;
	unsigned choice;
};

static const struct option_row rows[] = {
	{'f', "flag", OPTION_FLAG, offsetof(struct values, flag), NULL, "a flag", 0, 0},
	{'t', "text", OPTION_TEXT, offsetof(struct values, text), "TEXT", "a text", 0, 0},
	{0, "texts", OPTION_TEXTS, offsetof(struct values, texts), "TEXT", "many texts", 0, 0},
	{0, "size", OPTION_SIZE, offsetof(struct values, size), "SIZE", "a size", 0, 0},
	{'n', "number", OPTION_NUMBER, offsetof(struct values, number), "N", "a number", 1, 9},
	{0, "choice", OPTION_CHOICE, offsetof(struct values, choice), "off|some|all", "a word", 0, 0},
	OPTIONS_END,
};

#define ARGUMENTS_MAX 16

struct parsed {
	struct values values;
	char *argv[ARGUMENTS_MAX + 1];
	char text[512];
	int argc;
	int first;
	struct err err;
};

/* Parses the words of `line`, which are separated by single blanks. */
static enum err_code parse(struct parsed *parsed, const char *line)
{
	memset(parsed, 0, sizeof(*parsed));
	snprintf(parsed->text, sizeof(parsed->text), "prog %s", line);
	char *rest = parsed->text;
	for (char *word = strsep(&rest, " "); word && parsed->argc < ARGUMENTS_MAX; word = strsep(&rest, " "))
		parsed->argv[parsed->argc++] = word;
	const struct option_group groups[] = {{NULL, NULL}, {rows, &parsed->values}};
	return options_parse("xenolith test", groups, 2, parsed->argc, parsed->argv, &parsed->first, &parsed->err);
}

static void test_options__takes_every_kind(void **state)
{
	(void)state;
	struct parsed p;
	assert_int_equal(parse(&p, "one -f --text=a --texts x two --texts y --size 1.5K -n9 --choice all three"),
			 ERR_OK);
	assert_true(p.values.flag);
	assert_string_equal(p.values.text, "a");
	assert_int_equal(p.values.texts.count, 2);
	assert_string_equal(p.values.texts.texts[0], "x");
	assert_string_equal(p.values.texts.texts[1], "y");
	assert_int_equal(p.values.size, 1536);
	assert_int_equal(p.values.number, 9);
	assert_int_equal(p.values.choice, 3);
	assert_int_equal(p.argc - p.first, 3);
	assert_string_equal(p.argv[p.first], "one");
	assert_string_equal(p.argv[p.first + 2], "three");
	text_list_release(&p.values.texts);
	assert_int_equal(p.values.texts.count, 0);
}

static void test_options__leaves_what_is_not_given(void **state)
{
	(void)state;
	struct parsed p;
	assert_int_equal(parse(&p, "-- --flag -"), ERR_OK);
	assert_false(p.values.flag);
	assert_null(p.values.text);
	assert_int_equal(p.values.choice, 0);
	assert_string_equal(p.argv[p.first], "--flag");
	assert_string_equal(p.argv[p.first + 1], "-");
}

static void test_options__can_be_parsed_again(void **state)
{
	(void)state;
	struct parsed p;
	assert_int_equal(parse(&p, "a b c --flag"), ERR_OK);
	assert_int_equal(parse(&p, "-t x d"), ERR_OK);
	assert_false(p.values.flag);
	assert_string_equal(p.values.text, "x");
	assert_string_equal(p.argv[p.first], "d");
}

/* Parses `line`, which must be refused with a message that contains `part`. */
static void expect_refusal(const char *line, const char *part)
{
	struct parsed p;
	assert_int_equal(parse(&p, line), ERR_INVALID);
	if (!strstr(p.err.msg, part))
		fail_msg("'%s' is not in '%s'", part, p.err.msg);
	assert_null(strchr(p.err.msg, '\n'));
	text_list_release(&p.values.texts);
}

static void test_options__names_what_it_refuses(void **state)
{
	(void)state;
	expect_refusal("--nonsense", "'--nonsense'");
	expect_refusal("-x", "'-x'");
	expect_refusal("-fx", "'-x'");
	expect_refusal("--flag=yes", "'--flag=yes'");
	expect_refusal("--te x", "'--te'");
	expect_refusal("--text", "'--text' needs a value");
	expect_refusal("-t", "'-t' needs a value");
	expect_refusal("--texts a --size big", "option '--size': 'big'");
	expect_refusal("--number 0", "number '0' is not a number from 1 to 9");
	expect_refusal("--number 10", "from 1 to 9");
	expect_refusal("--number -1", "from 1 to 9");
	expect_refusal("--choice some|all", "'some|all' is none of off|some|all");
	expect_refusal("--choice so", "'so'");
	expect_refusal("--choice=", "''");
	expect_refusal("--nonsense", "see 'xenolith test --help'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options__takes_every_kind),
		cmocka_unit_test(test_options__leaves_what_is_not_given),
		cmocka_unit_test(test_options__can_be_parsed_again),
		cmocka_unit_test(test_options__names_what_it_refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
