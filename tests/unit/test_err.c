/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

static void test_err_set__fills_code_errno_and_message(void **unused)
{
	(void)unused;
	struct err err = {0};
	assert_int_equal(err_set(&err, ERR_IO, EIO, "segment '%s': block %d", "a", 7), ERR_IO);
	assert_int_equal(err.code, ERR_IO);
	assert_int_equal(err.os_errno, EIO);
	assert_string_equal(err.msg, "segment 'a': block 7: Input/output error");
}

static void test_err_set__without_errno_adds_nothing(void **unused)
{
	(void)unused;
	struct err err = {0};
	assert_int_equal(err_set(&err, ERR_CORRUPT, 0, "bad"), ERR_CORRUPT);
	assert_string_equal(err.msg, "bad");
}

static void test_err_set__first_error_wins(void **unused)
{
	(void)unused;
	struct err err = {0};
	assert_int_equal(err_set(&err, ERR_AUTH, 0, "first"), ERR_AUTH);
	assert_int_equal(err_set(&err, ERR_IO, EIO, "second"), ERR_IO);
	assert_int_equal(err.code, ERR_AUTH);
	assert_int_equal(err.os_errno, 0);
	assert_string_equal(err.msg, "first");
}

static void test_err_set__null_only_returns_the_code(void **unused)
{
	(void)unused;
	assert_int_equal(err_set(NULL, ERR_BUSY, 0, "lock"), ERR_BUSY);
	assert_int_equal(err_context(NULL, "x"), ERR_OK);
	errno = ENOSPC;
	assert_int_equal(err_errno(NULL, "x"), ERR_NO_SPACE);
}

static void test_err_set__long_messages_are_cut(void **unused)
{
	(void)unused;
	struct err err = {0};
	char name[2000];
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	err_set(&err, ERR_IO, EIO, "file '%s'", name);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_memory_equal(err.msg, "file 'nnn", 9);
}

static void test_err_context__goes_in_front(void **unused)
{
	(void)unused;
	struct err err = {0};
	assert_int_equal(err_context(&err, "nothing"), ERR_OK);
	assert_string_equal(err.msg, "");
	err_set(&err, ERR_CORRUPT, 0, "bad tag");
	assert_int_equal(err_context(&err, "record %d", 3), ERR_CORRUPT);
	assert_int_equal(err_context(&err, "disk '%s'", "xvda"), ERR_CORRUPT);
	assert_string_equal(err.msg, "disk 'xvda': record 3: bad tag");
	assert_int_equal(err.code, ERR_CORRUPT);
}

static void test_err_context__long_messages_keep_their_front(void **unused)
{
	(void)unused;
	struct err err = {0};
	char name[2000];
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	err_set(&err, ERR_IO, 0, "%s", name);
	err_context(&err, "disk 'xvda'");
	assert_memory_equal(err.msg, "disk 'xvda': nnn", 16);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
}

static void test_err_errno__picks_the_code_that_fits(void **unused)
{
	(void)unused;
	static const struct {
		int os_errno;
		enum err_code code;
	} cases[] = {
		{EIO, ERR_IO},           {ENOSPC, ERR_NO_SPACE},   {EDQUOT, ERR_NO_SPACE}, {ENOMEM, ERR_NO_MEMORY},
		{ENOENT, ERR_NOT_FOUND}, {ENOTDIR, ERR_NOT_FOUND}, {EEXIST, ERR_EXISTS},   {EPERM, ERR_IO},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = {0};
		errno = cases[i].os_errno;
		assert_int_equal(err_errno(&err, "opening '%s'", "x"), cases[i].code);
		assert_int_equal(err.code, cases[i].code);
		assert_int_equal(err.os_errno, cases[i].os_errno);
		assert_memory_equal(err.msg, "opening 'x': ", 13);
		assert_string_equal(err.msg + 13, strerror(cases[i].os_errno));
	}
}

static void test_err_code_name__every_code_has_its_own(void **unused)
{
	(void)unused;
	for (int a = ERR_OK; a <= ERR_BUG; a++) {
		assert_string_not_equal(err_code_name((enum err_code)a), "unknown");
		for (int b = ERR_OK; b < a; b++)
			assert_string_not_equal(err_code_name((enum err_code)a), err_code_name((enum err_code)b));
	}
	assert_string_equal(err_code_name(ERR_NO_SPACE), "no-space");
	assert_string_equal(err_code_name((enum err_code)(ERR_BUG + 1)), "unknown");
	assert_string_equal(err_code_name((enum err_code) - 1), "unknown");
}

static enum err_code try_it(enum err_code code, int *reached)
{
	TRY(code);
	*reached = 1;
	return ERR_OK;
}

static void test_try__returns_on_failure_only(void **unused)
{
	(void)unused;
	int reached = 0;
	assert_int_equal(try_it(ERR_LIMIT, &reached), ERR_LIMIT);
	assert_int_equal(reached, 0);
	assert_int_equal(try_it(ERR_OK, &reached), ERR_OK);
	assert_int_equal(reached, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err_set__fills_code_errno_and_message),
		cmocka_unit_test(test_err_set__without_errno_adds_nothing),
		cmocka_unit_test(test_err_set__first_error_wins),
		cmocka_unit_test(test_err_set__null_only_returns_the_code),
		cmocka_unit_test(test_err_set__long_messages_are_cut),
		cmocka_unit_test(test_err_context__goes_in_front),
		cmocka_unit_test(test_err_context__long_messages_keep_their_front),
		cmocka_unit_test(test_err_errno__picks_the_code_that_fits),
		cmocka_unit_test(test_err_code_name__every_code_has_its_own),
		cmocka_unit_test(test_try__returns_on_failure_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
