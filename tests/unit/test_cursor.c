/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static const uint8_t bytes[15] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void test_cursor__reads_both_byte_orders(void **unused)
{
	(void)unused;
	struct cursor c = cursor_of(bytes, 15);
	assert_int_equal(cursor_u8(&c), 1);
	assert_int_equal(cursor_le16(&c), 0x0302);
	assert_int_equal(cursor_le32(&c), 0x07060504);
	assert_true(cursor_le64(&c) == UINT64_C(0x0f0e0d0c0b0a0908));
	assert_int_equal(cursor_finish(&c, "it", NULL), ERR_OK);
	c = cursor_of(bytes, 14);
	assert_int_equal(cursor_be16(&c), 0x0102);
	assert_int_equal(cursor_be32(&c), 0x03040506);
	assert_true(cursor_be64(&c) == UINT64_C(0x0708090a0b0c0d0e));
	assert_int_equal(cursor_finish(&c, "it", NULL), ERR_OK);
}

/* Puts and gets agree for values with the highest bit set, at any alignment. */
static void test_endian__round_trip(void **unused)
{
	(void)unused;
	uint8_t room[16];
	for (size_t shift = 0; shift < 8; shift++) {
		uint8_t *p = room + shift;
		le16_put(p, 0x8192);
		assert_int_equal(le16_get(p), 0x8192);
		assert_int_equal(be16_get(p), 0x9281);
		be16_put(p, 0x8192);
		assert_int_equal(be16_get(p), 0x8192);
		le32_put(p, 0x81920304);
		assert_true(le32_get(p) == 0x81920304 && be32_get(p) == 0x04039281);
		be32_put(p, 0xf1920304);
		assert_true(be32_get(p) == 0xf1920304);
		le64_put(p, UINT64_C(0xf192030485060708));
		assert_true(le64_get(p) == UINT64_C(0xf192030485060708));
		assert_true(be64_get(p) == UINT64_C(0x08070685040392f1));
		be64_put(p, UINT64_C(0xf192030485060708));
		assert_true(be64_get(p) == UINT64_C(0xf192030485060708));
	}
}

static void test_cursor__first_read_past_the_end_spoils_the_rest(void **unused)
{
	(void)unused;
	struct err err = {0};
	struct cursor c = cursor_of(bytes, 3);
	assert_int_equal(cursor_le16(&c), 0x0201);
	assert_int_equal(cursor_le32(&c), 0);
	assert_true(c.bad);
	/* One byte would be left, but what is there no longer means anything. */
	assert_int_equal(cursor_u8(&c), 0);
	assert_int_equal(cursor_finish(&c, "header of 'x'", &err), ERR_CORRUPT);
	assert_string_equal(err.msg, "header of 'x' is truncated or malformed");
}

static void test_cursor__every_kind_of_read_checks_the_end(void **unused)
{
	(void)unused;
	for (int kind = 0; kind < 10; kind++) {
		static const size_t needed[] = {1, 2, 4, 8, 2, 4, 8, 5, 5, 3};
		uint8_t out[5] = {9, 9, 9, 9, 9};
		struct cursor c = cursor_of(bytes, needed[kind] - 1);
		uint64_t value = 0;
		switch (kind) {
		case 0:
			value = cursor_u8(&c);
			break;
		case 1:
			value = cursor_le16(&c);
			break;
		case 2:
			value = cursor_le32(&c);
			break;
		case 3:
			value = cursor_le64(&c);
			break;
		case 4:
			value = cursor_be16(&c);
			break;
		case 5:
			value = cursor_be32(&c);
			break;
		case 6:
			value = cursor_be64(&c);
			break;
		case 7:
			assert_null(cursor_take(&c, 5));
			break;
		case 8:
			cursor_copy(&c, out, 5);
			assert_memory_equal(out, "\0\0\0\0\0", 5);
			break;
		default:
			cursor_zeroes(&c, 3);
		}
		assert_int_equal(value, 0);
		assert_true(c.bad);
	}
}

static void test_cursor_take__huge_lengths_do_not_wrap(void **unused)
{
	(void)unused;
	struct cursor c = cursor_of(bytes, 3);
	assert_null(cursor_take(&c, SIZE_MAX));
	assert_true(c.bad);
	c = cursor_of(NULL, 0);
	assert_int_equal(cursor_u8(&c), 0);
	assert_true(c.bad);
}

static void test_cursor_copy__takes_what_is_there(void **unused)
{
	(void)unused;
	uint8_t out[4];
	struct cursor c = cursor_of(bytes, 5);
	cursor_copy(&c, out, 4);
	assert_memory_equal(out, bytes, 4);
	assert_ptr_equal(cursor_take(&c, 1), bytes + 4);
	assert_int_equal(cursor_finish(&c, "it", NULL), ERR_OK);
}

static void test_cursor_zeroes__anything_else_is_bad(void **unused)
{
	(void)unused;
	static const uint8_t reserved[4] = {0, 0, 0, 1};
	struct cursor c = cursor_of(reserved, 4);
	cursor_zeroes(&c, 3);
	assert_false(c.bad);
	cursor_zeroes(&c, 1);
	assert_true(c.bad);
}

static void test_cursor_finish__refuses_what_is_left_over(void **unused)
{
	(void)unused;
	struct err err = {0};
	struct cursor c = cursor_of(bytes, 3);
	cursor_u8(&c);
	assert_int_equal(cursor_finish(&c, "footer of 'x'", &err), ERR_CORRUPT);
	assert_string_equal(err.msg, "footer of 'x' has 2 bytes too many");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cursor__reads_both_byte_orders),
		cmocka_unit_test(test_endian__round_trip),
		cmocka_unit_test(test_cursor__first_read_past_the_end_spoils_the_rest),
		cmocka_unit_test(test_cursor__every_kind_of_read_checks_the_end),
		cmocka_unit_test(test_cursor_take__huge_lengths_do_not_wrap),
		cmocka_unit_test(test_cursor_copy__takes_what_is_there),
		cmocka_unit_test(test_cursor_zeroes__anything_else_is_bad),
		cmocka_unit_test(test_cursor_finish__refuses_what_is_left_over),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
