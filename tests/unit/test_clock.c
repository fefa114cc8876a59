/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void test_clock_format_utc__writes_rfc_3339(void **unused)
{
	(void)unused;
	static const struct {
		uint64_t unix_s;
		const char *text;
	} cases[] = {
		{0, "1970-01-01T00:00:00Z"},
		{951782400, "2000-02-29T00:00:00Z"},
		{1795340880, "2026-11-22T09:48:00Z"},
		{4102444799, "2099-12-31T23:59:59Z"},
		{UINT64_C(253402300799), "9999-12-31T23:59:59Z"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[CLOCK_TEXT_SIZE];
		uint64_t parsed = 77;
		assert_ptr_equal(clock_format_utc(cases[i].unix_s, text), text);
		assert_string_equal(text, cases[i].text);
		assert_true(clock_parse_utc(text, &parsed));
		assert_true(parsed == cases[i].unix_s);
	}
}

static void test_clock_format__survives_absurd_times(void **unused)
{
	(void)unused;
	char text[CLOCK_TEXT_SIZE];
	assert_true(strlen(clock_format_utc(UINT64_MAX / 2, text)) > 0);
	assert_true(strlen(clock_format_utc(UINT64_MAX, text)) > 0);
	assert_true(strlen(clock_format_local(UINT64_MAX, text)) > 0);
}

static void test_clock_format_local__follows_the_zone(void **unused)
{
	(void)unused;
	char text[CLOCK_TEXT_SIZE];
	assert_int_equal(setenv("TZ", "XXX-1", 1), 0);
	tzset();
	assert_string_equal(clock_format_local(1795340880, text), "2026-11-22 10:48:00");
	assert_int_equal(setenv("TZ", "XXX+5:30", 1), 0);
	tzset();
	assert_string_equal(clock_format_local(1795340880, text), "2026-11-22 04:18:00");
	unsetenv("TZ");
	tzset();
}

static void test_clock_parse_utc__refuses_other_forms(void **unused)
{
	(void)unused;
	static const char *const bad[] = {
		"",
		"now",
		"2026-11-22",
		"2026-11-22T09:48:00",
		"2026-11-22 09:48:00Z",
		"2026-11-22T09:48:00ZZ",
		"2026-11-22T09:48:00+01:00",
		"2026-13-22T09:48:00Z",
		"2026-11-32T09:48:00Z",
		"2026-11-22T24:48:00Z",
		"1969-12-31T23:59:59Z",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t parsed = 77;
		if (clock_parse_utc(bad[i], &parsed))
			fail_msg("'%s' was accepted", bad[i]);
		assert_int_equal(parsed, 77);
	}
}

static void test_clock_mono_ns__never_goes_back(void **unused)
{
	(void)unused;
	uint64_t last = clock_mono_ns();
	uint64_t cpu = clock_thread_cpu_ns();
	for (int i = 0; i < 1000; i++) {
		uint64_t now = clock_mono_ns();
		assert_true(now >= last);
		last = now;
	}
	assert_true(clock_thread_cpu_ns() > cpu);
}

static void test_clock_unix_s__is_the_time_of_day(void **unused)
{
	(void)unused;
	uint64_t before = (uint64_t)time(NULL);
	uint64_t now = clock_unix_s();
	/* time() reads a coarser clock, which may lag by a tick. */
	assert_true(now + 1 >= before && now <= (uint64_t)time(NULL) + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clock_format_utc__writes_rfc_3339),
		cmocka_unit_test(test_clock_format__survives_absurd_times),
		cmocka_unit_test(test_clock_format_local__follows_the_zone),
		cmocka_unit_test(test_clock_parse_utc__refuses_other_forms),
		cmocka_unit_test(test_clock_mono_ns__never_goes_back),
		cmocka_unit_test(test_clock_unix_s__is_the_time_of_day),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
