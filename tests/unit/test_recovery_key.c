/* SPDX-License-Identifier: Apache-2.0 */
#include "store/recovery_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define PAPER_SIZE 512

/* The four lines as they stand on paper: `form` gets the line's number and words. */
static char *paper(const uint8_t secret[static KEY_SIZE], bool numbered, const char *between,
		   char dst[static PAPER_SIZE])
{
	char line[RECOVERY_LINE_SIZE];
	size_t used = 0;
	dst[0] = '\0';
	for (unsigned i = 0; i < RECOVERY_LINES; i++) {
		recovery_key_line(secret, i, line);
		if (numbered)
			used += (size_t)snprintf(dst + used, PAPER_SIZE - used, "%u: ", i + 1);
		used += (size_t)snprintf(dst + used, PAPER_SIZE - used, "%s%s", line, between);
	}
	return dst;
}

static void make_secret(uint8_t secret[static KEY_SIZE])
{
	for (size_t i = 0; i < KEY_SIZE; i++)
		secret[i] = (uint8_t)(i * 37 + 11);
}

static void expect_parsed(const char *text, const uint8_t secret[static KEY_SIZE])
{
	uint8_t parsed[KEY_SIZE];
	struct uuid id = uuid_random();
	struct err err = {0};
	if (recovery_key_parse(text, strlen(text), parsed, &id, &err) != ERR_OK)
		fail_msg("'%s': %s", text, err.msg);
	assert_memory_equal(parsed, secret, KEY_SIZE);
	assert_true(uuid_is_null(&id));
}

static void expect_refused(const char *text, enum err_code code, const char *message)
{
	uint8_t parsed[KEY_SIZE];
	uint8_t untouched[KEY_SIZE];
	struct uuid id;
	struct err err = {0};
	memset(parsed, 0x5a, sizeof(parsed));
	memset(untouched, 0x5a, sizeof(untouched));
	assert_int_equal(recovery_key_parse(text, strlen(text), parsed, &id, &err), code);
	if (!strstr(err.msg, message))
		fail_msg("'%s' is not in '%s'", message, err.msg);
	assert_memory_equal(parsed, untouched, KEY_SIZE);
}

/* From arXiv:0901.4016: 127.0.0.1 is lusab-babad, 63.84.220.193 gutih-tugad, 147.67.119.2 natag-lisaf. */
static void test_recovery_key__words_are_proquints(void **unused)
{
	(void)unused;
	static const uint8_t secret[KEY_SIZE] = {127, 0, 0, 1, 63, 84, 220, 193, 147, 67, 119, 2};
	char line[RECOVERY_LINE_SIZE];
	recovery_key_line(secret, 0, line);
	assert_memory_equal(line, "lusab babad gutih tugad ", 24);
	assert_int_equal(strlen(line), RECOVERY_LINE_SIZE - 1);
	recovery_key_line(secret, 1, line);
	assert_memory_equal(line, "natag lisaf babab babab ", 24);
}

/* Check words computed by Python: hashlib.blake2b(bytes([line]) + eight bytes, digest_size=32). */
static void test_recovery_key__check_words_have_the_known_answer(void **unused)
{
	(void)unused;
	static const uint8_t secret[KEY_SIZE] = {0};
	static const char *const expected[RECOVERY_LINES] = {
		"babab babab babab babab jakal", "babab babab babab babab zivud", "babab babab babab babab jubus",
		"babab babab babab babab bahor"};
	for (unsigned i = 0; i < RECOVERY_LINES; i++) {
		char line[RECOVERY_LINE_SIZE];
		recovery_key_line(secret, i, line);
		assert_string_equal(line, expected[i]);
	}
}

static void test_recovery_key__parses_what_it_wrote_in_any_dress(void **unused)
{
	(void)unused;
	uint8_t secret[KEY_SIZE];
	char text[PAPER_SIZE];
	for (int round = 0; round < 50; round++) {
		randombytes_buf(secret, sizeof(secret));
		expect_parsed(paper(secret, false, "\n", text), secret);
	}
	expect_parsed(paper(secret, true, "\r\n", text), secret);
	expect_parsed(paper(secret, true, " ", text), secret);
	expect_parsed(paper(secret, false, " \t-- \n\n", text), secret);
	paper(secret, true, "\n", text);
	for (char *p = text; *p; p++)
		*p = *p == ' ' ? '-' : (char)toupper((unsigned char)*p);
	expect_parsed(text, secret);
}

static void test_recovery_key__text_need_not_be_terminated(void **unused)
{
	(void)unused;
	uint8_t secret[KEY_SIZE], parsed[KEY_SIZE];
	char text[PAPER_SIZE];
	struct uuid id;
	make_secret(secret);
	paper(secret, false, "\n", text);
	size_t length = strlen(text);
	memcpy(text + length, "babab", 5);
	assert_int_equal(recovery_key_parse(text, length, parsed, &id, NULL), ERR_OK);
	assert_memory_equal(parsed, secret, KEY_SIZE);
}

/* Changes every letter to every other one: the key must never be accepted, and the right line be named. Two letters in
 * 65,536 may pass by chance, so a few are let through; a letter outside the alphabet never is. */
static void test_recovery_key__a_wrong_letter_names_its_line(void **unused)
{
	(void)unused;
	uint8_t secret[KEY_SIZE], parsed[KEY_SIZE];
	char text[PAPER_SIZE];
	struct uuid id;
	unsigned tried = 0, passed = 0;
	make_secret(secret);
	paper(secret, false, "\n", text);
	for (size_t i = 0; text[i]; i++) {
		char right = text[i];
		if (right == ' ' || right == '\n')
			continue;
		for (char wrong = 'a'; wrong <= 'z'; wrong++) {
			struct err err = {0};
			char expected[64];
			if (wrong == right)
				continue;
			text[i] = wrong;
			snprintf(expected, sizeof(expected), "line %u of the recovery key",
				 (unsigned)(i / RECOVERY_LINE_SIZE) + 1);
			tried++;
			if (recovery_key_parse(text, strlen(text), parsed, &id, &err) == ERR_OK)
				passed++;
			else if (err.code != ERR_INVALID || !strstr(err.msg, expected))
				fail_msg("letter %zu: '%s'", i, err.msg);
		}
		text[i] = right;
	}
	assert_int_equal(tried, 4 * 25 * 25);
	assert_true(passed <= 2);
}

static void test_recovery_key__messages_do_not_repeat_the_words(void **unused)
{
	(void)unused;
	uint8_t secret[KEY_SIZE], parsed[KEY_SIZE];
	char text[PAPER_SIZE];
	struct uuid id;
	struct err err = {0};
	make_secret(secret);
	paper(secret, false, "\n", text);
	text[2] = 'q';
	assert_int_equal(recovery_key_parse(text, strlen(text), parsed, &id, &err), ERR_INVALID);
	text[5] = '\0';
	assert_null(strstr(err.msg, text));
	assert_non_null(strstr(err.msg, "line 1 of the recovery key: word 1 is mistyped"));
}

static void test_recovery_key__swapped_lines_are_refused(void **unused)
{
	(void)unused;
	uint8_t secret[KEY_SIZE];
	char text[PAPER_SIZE], swapped[PAPER_SIZE];
	make_secret(secret);
	paper(secret, false, "\n", text);
	memcpy(swapped, text, PAPER_SIZE);
	memcpy(swapped + RECOVERY_LINE_SIZE, text + 2 * RECOVERY_LINE_SIZE, RECOVERY_LINE_SIZE);
	memcpy(swapped + 2 * RECOVERY_LINE_SIZE, text + RECOVERY_LINE_SIZE, RECOVERY_LINE_SIZE);
	expect_refused(swapped, ERR_INVALID, "line 2 of the recovery key is mistyped or in the wrong place");
}

static void test_recovery_key__missing_and_surplus_words_are_refused(void **unused)
{
	(void)unused;
	uint8_t secret[KEY_SIZE];
	char text[PAPER_SIZE];
	make_secret(secret);
	paper(secret, false, "\n", text);
	text[3 * RECOVERY_LINE_SIZE + 23] = '\0';
	expect_refused(text, ERR_INVALID, "line 4 of the recovery key has 4 of 5 words");
	text[3 * RECOVERY_LINE_SIZE] = '\0';
	expect_refused(text, ERR_INVALID, "line 4 of the recovery key has 0 of 5 words");
	paper(secret, false, "\n", text);
	strcat(text, "babab");
	expect_refused(text, ERR_INVALID, "words after line 4");
	expect_refused("", ERR_INVALID, "line 1 of the recovery key has 0 of 5 words");
	expect_refused("hello", ERR_INVALID, "line 1 of the recovery key: word 1 is mistyped");
	expect_refused("1: 2: 3:", ERR_INVALID, "line 1 of the recovery key has 0 of 5 words");
	char longer[1200];
	memset(longer, ' ', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	expect_refused(longer, ERR_INVALID, "this is 1199 bytes long");
}

static void test_recovery_key__a_line_typed_back_matches_only_itself(void **unused)
{
	(void)unused;
	uint8_t secret[KEY_SIZE], other[KEY_SIZE];
	char line[RECOVERY_LINE_SIZE], text[64];
	make_secret(secret);
	memcpy(other, secret, sizeof(other));
	for (unsigned i = 0; i < RECOVERY_LINES; i++) {
		recovery_key_line(secret, i, line);
		assert_true(recovery_key_line_matches(secret, i, line));
		snprintf(text, sizeof(text), "  %u: %s \n", i + 1, line);
		for (char *p = text; *p; p++)
			*p = *p == ' ' ? '-' : (char)toupper((unsigned char)*p);
		assert_true(recovery_key_line_matches(secret, i, text));
		assert_false(recovery_key_line_matches(secret, (i + 1) % RECOVERY_LINES, line));
		other[8 * i + 7] ^= 1;
		assert_false(recovery_key_line_matches(other, i, line));
		snprintf(text, sizeof(text), "%s babab", line);
		assert_false(recovery_key_line_matches(secret, i, text));
		line[RECOVERY_LINE_SIZE - 7] = '\0';
		assert_false(recovery_key_line_matches(secret, i, line));
		assert_false(recovery_key_line_matches(secret, i, ""));
	}
}

static void test_recovery_key__qr_text_has_the_form_in_the_header(void **unused)
{
	(void)unused;
	uint8_t secret[KEY_SIZE], parsed[KEY_SIZE];
	struct uuid id = {.bytes = {0xde, 0xad, 0xbe, 0xef, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}}, found;
	char text[RECOVERY_QR_TEXT_SIZE], padded[RECOVERY_QR_TEXT_SIZE + 8];
	memset(secret, 0xab, sizeof(secret));
	recovery_key_qr_text(secret, &id, text);
	assert_string_equal(text, "xenolith-recovery:1:deadbeef-0001-0203-0405-060708090a0b:"
				  "abababababababababababababababababababababababababababababababab");
	snprintf(padded, sizeof(padded), " \n%s\r\n", text);
	assert_int_equal(recovery_key_parse(padded, strlen(padded), parsed, &found, NULL), ERR_OK);
	assert_memory_equal(parsed, secret, KEY_SIZE);
	assert_true(uuid_equal(&found, &id));
}

static void test_recovery_key__damaged_qr_text_is_refused(void **unused)
{
	(void)unused;
	uint8_t secret[KEY_SIZE] = {1};
	struct uuid id = uuid_random();
	char text[RECOVERY_QR_TEXT_SIZE + 1];
	recovery_key_qr_text(secret, &id, text);
	size_t length = strlen(text);
	for (size_t cut = strlen("xenolith-recovery:"); cut < length; cut++) {
		char whole = text[cut];
		text[cut] = '\0';
		expect_refused(text, ERR_INVALID, "recovery code is not whole");
		text[cut] = whole;
	}
	strcat(text, "0");
	expect_refused(text, ERR_INVALID, "recovery code is not whole");
	text[length] = '\0';
	text[length - 1] = 'g';
	expect_refused(text, ERR_INVALID, "recovery code is not whole");
	text[length - 1] = '0';
	text[56] = '-';
	expect_refused(text, ERR_INVALID, "recovery code is not whole");
	text[56] = ':';
	text[18] = '2';
	expect_refused(text, ERR_UNSUPPORTED, "does not know");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recovery_key__words_are_proquints),
		cmocka_unit_test(test_recovery_key__check_words_have_the_known_answer),
		cmocka_unit_test(test_recovery_key__parses_what_it_wrote_in_any_dress),
		cmocka_unit_test(test_recovery_key__text_need_not_be_terminated),
		cmocka_unit_test(test_recovery_key__a_wrong_letter_names_its_line),
		cmocka_unit_test(test_recovery_key__messages_do_not_repeat_the_words),
		cmocka_unit_test(test_recovery_key__swapped_lines_are_refused),
		cmocka_unit_test(test_recovery_key__missing_and_surplus_words_are_refused),
		cmocka_unit_test(test_recovery_key__a_line_typed_back_matches_only_itself),
		cmocka_unit_test(test_recovery_key__qr_text_has_the_form_in_the_header),
		cmocka_unit_test(test_recovery_key__damaged_qr_text_is_refused),
	};
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
