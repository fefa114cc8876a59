/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/progress_line.h"
#include "base/size.h"

static char text[PROGRESS_TEXT_SIZE];

static struct progress *progress_of(struct progress *progress, uint64_t done, uint64_t total)
{
	atomic_store(&progress->phase, "read");
	atomic_store(&progress->done_bytes, done);
	atomic_store(&progress->total_bytes, total);
	atomic_store(&progress->stored_bytes, 10 * MIB);
	return progress;
}

static void test_progress_line__tells_share_rate_and_time_left(void **state)
{
	(void)state;
	static struct progress progress;
	progress_of(&progress, 256 * MIB, GIB);
	assert_string_equal(
		progress_line_format(&progress, "backup of 'web'", 10, 8.0 * MIB, text),
		"backup of 'web': read   25.0%  256 MiB of 1.00 GiB  8.00 MiB/s  written 10.0 MiB  1m36s left");
	assert_string_equal(progress_line_format(&progress, NULL, 10, 8.0 * MIB, text),
			    "read   25.0%  256 MiB of 1.00 GiB  8.00 MiB/s  written 10.0 MiB  1m36s left");
}

static void test_progress_line__tells_the_time_gone_where_the_rest_is_unknown(void **state)
{
	(void)state;
	static struct progress progress;
	progress_of(&progress, 256 * MIB, 0);
	assert_string_equal(progress_line_format(&progress, "read", 70, 8.0 * MIB, text),
			    "read  256 MiB  8.00 MiB/s  written 10.0 MiB  1m10s");
	progress_of(&progress, 0, GIB);
	assert_string_equal(progress_line_format(&progress, "read", 3, 0, text),
			    "read    0.0%  0 B of 1.00 GiB  0 B/s  written 10.0 MiB  3s");
}

static void test_progress_line__never_passes_its_total(void **state)
{
	(void)state;
	static struct progress progress;
	progress_of(&progress, 2 * GIB, GIB);
	assert_string_equal(progress_line_format(&progress, "read", 3, 8.0 * MIB, text),
			    "read  100.0%  2.00 GiB of 1.00 GiB  8.00 MiB/s  written 10.0 MiB  3s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_progress_line__tells_share_rate_and_time_left),
		cmocka_unit_test(test_progress_line__tells_the_time_gone_where_the_rest_is_unknown),
		cmocka_unit_test(test_progress_line__never_passes_its_total),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
