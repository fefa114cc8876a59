/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sodium.h>
#include <string.h>

static const char text_form[] = "00112233-4455-6677-8899-aabbccddeeff";
static const struct uuid bytes_form = {
	{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}};

static void test_uuid_format__writes_the_usual_form(void **unused)
{
	(void)unused;
	char text[UUID_TEXT_SIZE];
	assert_ptr_equal(uuid_format(&bytes_form, text), text);
	assert_string_equal(text, text_form);
}

static void test_uuid_parse__reads_either_case(void **unused)
{
	(void)unused;
	struct uuid parsed;
	assert_true(uuid_parse(text_form, &parsed));
	assert_true(uuid_equal(&parsed, &bytes_form));
	memset(&parsed, 0, sizeof(parsed));
	assert_true(uuid_parse("00112233-4455-6677-8899-AABBCCDDEEFF", &parsed));
	assert_true(uuid_equal(&parsed, &bytes_form));
}

static void test_uuid_parse__refuses_anything_else_and_leaves_the_result(void **unused)
{
	(void)unused;
	static const char *const bad[] = {
		"",
		"0",
		"00112233445566778899aabbccddeeff",
		"00112233-4455-6677-8899-aabbccddeef",
		"00112233-4455-6677-8899-aabbccddeeff0",
		"00112233-4455-6677-8899-aabbccddeeff ",
		" 0112233-4455-6677-8899-aabbccddeeff",
		"{0112233-4455-6677-8899-aabbccddeef}",
		"0011223-34455-6677-8899-aabbccddeeff",
		"00112233-4455-6677-8899-aabbccddeefg",
		"00112233-4455-6677-8899-aabbccddee-f",
		"00112233x4455-6677-8899-aabbccddeeff",
		"------------------------------------",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct uuid parsed = bytes_form;
		if (uuid_parse(bad[i], &parsed))
			fail_msg("'%s' was accepted", bad[i]);
		assert_true(uuid_equal(&parsed, &bytes_form));
	}
}

static void test_uuid_equal__looks_at_every_byte(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof(bytes_form.bytes); i++) {
		struct uuid other = bytes_form;
		assert_true(uuid_equal(&other, &bytes_form));
		other.bytes[i] ^= 1;
		assert_false(uuid_equal(&other, &bytes_form));
	}
}

static void test_uuid_is_null__looks_at_every_byte(void **unused)
{
	(void)unused;
	struct uuid u = {{0}};
	assert_true(uuid_is_null(&u));
	for (size_t i = 0; i < sizeof(u.bytes); i++) {
		u.bytes[i] = 0x80;
		assert_false(uuid_is_null(&u));
		u.bytes[i] = 0;
	}
}

static void test_uuid_random__is_version_4_and_new_each_time(void **unused)
{
	(void)unused;
	struct uuid last = {{0}};
	for (int i = 0; i < 100; i++) {
		char text[UUID_TEXT_SIZE];
		struct uuid parsed;
		struct uuid u = uuid_random();
		assert_false(uuid_equal(&u, &last));
		uuid_format(&u, text);
		assert_int_equal(text[14], '4');
		assert_non_null(memchr("89ab", text[19], 4));
		assert_true(uuid_parse(text, &parsed));
		assert_true(uuid_equal(&u, &parsed));
		last = u;
	}
}

static void test_hex__round_trip(void **unused)
{
	(void)unused;
	uint8_t all[256], parsed[256];
	char text[2 * sizeof(all) + 1];
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	assert_ptr_equal(hex_format(all, sizeof(all), text), text);
	assert_int_equal(strlen(text), 512);
	assert_memory_equal(text, "000102", 6);
	assert_string_equal(text + 506, "fdfeff");
	assert_true(hex_parse(text, parsed, sizeof(parsed)));
	assert_memory_equal(parsed, all, sizeof(all));
	assert_string_equal(hex_format(all, 0, text), "");
	assert_true(hex_parse("", parsed, 0));
}

static void test_hex_parse__refuses_other_lengths_and_letters(void **unused)
{
	(void)unused;
	uint8_t out[2] = {7, 7};
	assert_false(hex_parse("abc", out, 2));
	assert_false(hex_parse("abcde", out, 2));
	assert_false(hex_parse("", out, 2));
	assert_false(hex_parse("abcg", out, 2));
	assert_false(hex_parse("ab c", out, 2));
	assert_false(hex_parse("0xab", out, 2));
	assert_int_equal(out[0], 7);
	assert_int_equal(out[1], 7);
	assert_true(hex_parse("aBCd", out, 2));
	assert_int_equal(out[0], 0xab);
	assert_int_equal(out[1], 0xcd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uuid_format__writes_the_usual_form),
		cmocka_unit_test(test_uuid_parse__reads_either_case),
		cmocka_unit_test(test_uuid_parse__refuses_anything_else_and_leaves_the_result),
		cmocka_unit_test(test_uuid_equal__looks_at_every_byte),
		cmocka_unit_test(test_uuid_is_null__looks_at_every_byte),
		cmocka_unit_test(test_uuid_random__is_version_4_and_new_each_time),
		cmocka_unit_test(test_hex__round_trip),
		cmocka_unit_test(test_hex_parse__refuses_other_lengths_and_letters),
	};
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
