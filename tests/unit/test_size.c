/* SPDX-License-Identifier: Apache-2.0 */
#include "base/size.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <string.h>

static void test_size_parse__reads_numbers_with_units(void **unused)
{
	(void)unused;
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
		{"0", 0},
		{"64", 64},
		{"64B", 64},
		{"64K", 64 * KIB},
		{"64k", 64 * KIB},
		{"64KB", 64 * KIB},
		{"64KiB", 64 * KIB},
		{"64kib", 64 * KIB},
		{"10MiB", 10 * MIB},
		{"1.5G", GIB + GIB / 2},
		{"0.5K", 512},
		{"1.25M", MIB + MIB / 4},
		{"2TiB", 2 * TIB},
		{"3P", 3 * 1024 * TIB},
		{"0000001K", KIB},
		{"4096P", UINT64_C(1) << 62},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 0;
		struct err err = {0};
		if (size_parse(cases[i].text, &bytes, &err) != ERR_OK)
			fail_msg("'%s': %s", cases[i].text, err.msg);
		if (bytes != cases[i].bytes)
			fail_msg("'%s' is %" PRIu64, cases[i].text, bytes);
	}
}

static void test_size_parse__refuses_nonsense_and_names_it(void **unused)
{
	(void)unused;
	static const char *const bad[] = {
		"",     "K",   "-1",  "+1",   " 1",  "1 ",   "1 K",   "1KK",    "1X", "1Ki", "1KiBs",
		"0x10", "1e3", ".5G", "1,5G", "1.5", "1.5B", "1..5G", "1.5.1G", "G1", "١",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t bytes = 77;
		struct err err = {0};
		if (size_parse(bad[i], &bytes, &err) != ERR_INVALID)
			fail_msg("'%s' was accepted as %" PRIu64, bad[i], bytes);
		assert_int_equal(err.code, ERR_INVALID);
		assert_non_null(strstr(err.msg, bad[i]));
		assert_non_null(strstr(err.msg, "is not a size"));
		assert_int_equal(bytes, 77);
	}
}

static void test_size_parse__refuses_overflow(void **unused)
{
	(void)unused;
	static const char *const bad[] = {
		"18446744073709551615",  "18446744073709551616", "99999999999999999999999999", "8192P", "16777216T",
		"18446744073709551615K", "9223372036854775808",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t bytes = 77;
		struct err err = {0};
		assert_int_equal(size_parse(bad[i], &bytes, &err), ERR_INVALID);
		assert_non_null(strstr(err.msg, "too large"));
		assert_int_equal(bytes, 77);
	}
}

static void test_number_parse__keeps_to_its_range(void **unused)
{
	(void)unused;
	uint64_t n = 77;
	struct err err = {0};
	assert_int_equal(number_parse("10", "lanes", 1, 10, &n, &err), ERR_OK);
	assert_int_equal(n, 10);
	assert_int_equal(number_parse("1", "lanes", 1, 10, &n, &err), ERR_OK);
	assert_int_equal(number_parse("18446744073709551615", "n", 0, UINT64_MAX, &n, &err), ERR_OK);
	assert_true(n == UINT64_MAX);
	assert_int_equal(err.code, ERR_OK);
	assert_int_equal(number_parse("0", "lanes", 1, 10, &n, &err), ERR_INVALID);
	assert_string_equal(err.msg, "lanes '0' is not a number from 1 to 10");

	static const char *const bad[] = {
		"", "11", "-1", "+1", " 1", "1 ", "1.0", "0x1", "1a", "18446744073709551617", "999999999999999999999"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		n = 77;
		assert_int_equal(number_parse(bad[i], "lanes", 1, 10, &n, NULL), ERR_INVALID);
		assert_int_equal(n, 77);
	}
	assert_int_equal(number_parse("18446744073709551616", "n", 0, UINT64_MAX, &n, NULL), ERR_INVALID);
}

static void test_size_format__has_three_digits(void **unused)
{
	(void)unused;
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{1, "1 B"},
		{512, "512 B"},
		{1023, "1023 B"},
		{1024, "1.00 KiB"},
		{1536, "1.50 KiB"},
		{10 * KIB, "10.0 KiB"},
		{100 * KIB, "100 KiB"},
		{1000 * KIB, "1000 KiB"},
		{MIB - 1, "1.00 MiB"},
		{16 * GIB / 5, "3.20 GiB"},
		{64 * TIB, "64.0 TiB"},
		{UINT64_MAX, "16.0 EiB"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[SIZE_TEXT_SIZE];
		assert_ptr_equal(size_format(cases[i].bytes, text), text);
		assert_string_equal(text, cases[i].text);
	}
}

static void test_duration_format__picks_two_units(void **unused)
{
	(void)unused;
	static const struct {
		uint64_t seconds;
		const char *text;
	} cases[] = {
		{0, "0s"},         {12, "12s"},      {59, "59s"},       {60, "1m00s"},
		{185, "3m05s"},    {3599, "59m59s"}, {3600, "1h00m"},   {7380, "2h03m"},
		{86399, "23h59m"}, {86400, "1d00h"}, {349200, "4d01h"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[SIZE_TEXT_SIZE];
		assert_string_equal(duration_format(cases[i].seconds, text), cases[i].text);
	}
	char text[SIZE_TEXT_SIZE];
	assert_true(strlen(duration_format(UINT64_MAX, text)) < SIZE_TEXT_SIZE);
}

static void test_rounding__goes_to_the_neighbouring_multiples(void **unused)
{
	(void)unused;
	assert_int_equal(round_up(0, 4096), 0);
	assert_int_equal(round_up(1, 4096), 4096);
	assert_int_equal(round_up(4096, 4096), 4096);
	assert_int_equal(round_up(4097, 4096), 8192);
	assert_int_equal(round_down(4095, 4096), 0);
	assert_int_equal(round_down(4096, 4096), 4096);
	assert_int_equal(round_down(8191, 4096), 4096);
	assert_int_equal(min_u64(3, 5), 3);
	assert_int_equal(max_u64(3, 5), 5);
	assert_true(min_u64(UINT64_MAX, 5) == 5 && max_u64(UINT64_MAX, 5) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size_parse__reads_numbers_with_units),
		cmocka_unit_test(test_size_parse__refuses_nonsense_and_names_it),
		cmocka_unit_test(test_size_parse__refuses_overflow),
		cmocka_unit_test(test_number_parse__keeps_to_its_range),
		cmocka_unit_test(test_size_format__has_three_digits),
		cmocka_unit_test(test_duration_format__picks_two_units),
		cmocka_unit_test(test_rounding__goes_to_the_neighbouring_multiples),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
