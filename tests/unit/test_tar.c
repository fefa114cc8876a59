/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/tar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void make(const char *name, uint64_t size, uint8_t record[TAR_RECORD_SIZE])
{
	struct err err = {0};
	assert_int_equal(tar_header_make(name, size, record, &err), ERR_OK);
}

/* Puts the right checksum into a changed header. */
static void seal(uint8_t record[TAR_RECORD_SIZE])
{
	unsigned sum = 0;
	memset(record + 148, ' ', 8);
	for (size_t i = 0; i < TAR_RECORD_SIZE; i++)
		sum += record[i];
	snprintf((char *)record + 148, 7, "%06o", sum);
	record[155] = ' ';
}

static void assert_refused(const uint8_t record[TAR_RECORD_SIZE], const char *message)
{
	struct err err = {0};
	struct tar_header header = {.size = 77};
	assert_int_equal(tar_header_parse(record, &header, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.msg, message));
	assert_int_equal(header.size, 77);
}

static void test_tar__reads_what_it_makes(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		uint64_t size;
	} cases[] = {
		{"ova.xml", 1},
		{"Ref:10/00000000", 1048576},
		{"Ref:10/00000000.xxhash", 0},
		{"a", TAR_MAKE_SIZE_MAX},
		{"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
		 9},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t record[TAR_RECORD_SIZE];
		struct tar_header header;
		struct err err = {0};
		make(cases[i].name, cases[i].size, record);
		assert_int_equal(tar_header_parse(record, &header, &err), ERR_OK);
		assert_string_equal(header.name, cases[i].name);
		assert_int_equal(header.size, cases[i].size);
		assert_int_equal(header.type, '0');
		assert_false(tar_record_is_zero(record));
	}
}

static void test_tar__makes_no_header_that_cannot_hold_it(void **state)
{
	(void)state;
	char name[102];
	uint8_t record[TAR_RECORD_SIZE];
	struct err err = {0};
	memset(name, 'x', 101);
	name[101] = '\0';
	assert_int_equal(tar_header_make(name, 1, record, &err), ERR_INVALID);
	assert_int_equal(tar_header_make("", 1, record, NULL), ERR_INVALID);
	assert_int_equal(tar_header_make("x", TAR_MAKE_SIZE_MAX + 1, record, NULL), ERR_INVALID);
}

static void test_tar__tool_reads_our_header(void **state)
{
	(void)state;
	uint8_t archive[4 * TAR_RECORD_SIZE] = {0};
	make("Ref:1/00000000", 5, archive);
	memcpy(archive + TAR_RECORD_SIZE, "hello", 5);
	char path[] = "/tmp/xenolith-tar-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, archive, sizeof(archive)), sizeof(archive));
	close(fd);
	char command[128], line[64] = "";
	snprintf(command, sizeof(command), "tar -xOf %s Ref:1/00000000 --force-local", path);
	FILE *out = popen(command, "r");
	assert_non_null(out);
	char *got = fgets(line, sizeof(line), out);
	int status = pclose(out);
	unlink(path);
	assert_non_null(got);
	assert_int_equal(status, 0);
	assert_string_equal(line, "hello");
}

static void test_tar__every_flipped_bit_is_noticed_or_harmless(void **state)
{
	(void)state;
	uint8_t record[TAR_RECORD_SIZE];
	unsigned accepted = 0;
	make("Ref:10/00000123", 1048576, record);
	for (size_t bit = 0; bit < TAR_RECORD_SIZE * 8; bit++) {
		struct tar_header header = {0};
		record[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (tar_header_parse(record, &header, NULL) == ERR_OK) {
			/* In the checksum's own field a blank may stand for a leading zero or for the zero byte at its
			 * end. */
			assert_in_range(bit / 8, 148, 155);
			assert_string_equal(header.name, "Ref:10/00000123");
			assert_int_equal(header.size, 1048576);
			accepted++;
		}
		record[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_in_range(accepted, 0, 16);
}

static void test_tar__accepts_old_headers_without_mark(void **state)
{
	(void)state;
	uint8_t record[TAR_RECORD_SIZE];
	struct tar_header header;
	make("ova.xml", 4711, record);
	memset(record + 257, 0, 255);
	record[156] = 0;
	seal(record);
	assert_int_equal(tar_header_parse(record, &header, NULL), ERR_OK);
	assert_int_equal(header.size, 4711);
	assert_int_equal(header.type, '0');
}

static void test_tar__joins_prefix_only_with_the_posix_mark(void **state)
{
	(void)state;
	uint8_t record[TAR_RECORD_SIZE];
	struct tar_header header;
	make("00000000", 1, record);
	memcpy(record + 345, "Ref:7", 5);
	seal(record);
	assert_int_equal(tar_header_parse(record, &header, NULL), ERR_OK);
	assert_string_equal(header.name, "Ref:7/00000000");
	memcpy(record + 257, "ustar  ", 8);
	seal(record);
	assert_int_equal(tar_header_parse(record, &header, NULL), ERR_OK);
	assert_string_equal(header.name, "00000000");
	memcpy(record + 257, "ustar\0", 6);
	memset(record, 'n', 100);
	memset(record + 345, 'p', 155);
	seal(record);
	assert_int_equal(tar_header_parse(record, &header, NULL), ERR_OK);
	assert_int_equal(strlen(header.name), TAR_NAME_MAX);
}

static void test_tar__reads_all_forms_of_a_size(void **state)
{
	(void)state;
	static const struct {
		const char field[13];
		uint64_t size;
	} cases[] = {
		{"00000000012", 10},
		{"      12 ", 10},
		{"12", 10},
		{"777777777777", UINT64_C(0xfffffffff)},
		{"\x80\0\0\0\0\0\0\2\0\0\0\0", UINT64_C(0x200000000)},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t record[TAR_RECORD_SIZE];
		struct tar_header header;
		make("x", 1, record);
		memcpy(record + 124, cases[i].field, 12);
		seal(record);
		assert_int_equal(tar_header_parse(record, &header, NULL), ERR_OK);
		assert_int_equal(header.size, cases[i].size);
	}
}

static void test_tar__refuses_sizes_that_are_none(void **state)
{
	(void)state;
	static const char cases[][13] = {"",
					 "            ",
					 "9",
					 "-1",
					 "12x",
					 "0x10",
					 "\x80\x01\0\0\0\0\0\0\0\0\0\0",
					 "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t record[TAR_RECORD_SIZE];
		make("x", 1, record);
		memcpy(record + 124, cases[i], 12);
		seal(record);
		assert_refused(record, "the tar header of 'x' has no usable size");
	}
}

static void test_tar__refuses_names_unfit_for_a_terminal(void **state)
{
	(void)state;
	uint8_t record[TAR_RECORD_SIZE];
	make("x\033[2J", 1, record);
	assert_refused(record, "no usable name");
	memset(record, 0, 100);
	seal(record);
	assert_refused(record, "no usable name");
}

static void test_tar__knows_the_end_record(void **state)
{
	(void)state;
	uint8_t record[TAR_RECORD_SIZE] = {0};
	assert_true(tar_record_is_zero(record));
	assert_refused(record, "checksum is wrong");
	for (size_t i = 0; i < TAR_RECORD_SIZE; i++) {
		record[i] = 1;
		assert_false(tar_record_is_zero(record));
		record[i] = 0;
	}
}

static void test_tar__pads_to_records(void **state)
{
	(void)state;
	assert_int_equal(tar_padding(0), 0);
	assert_int_equal(tar_padding(1), 511);
	assert_int_equal(tar_padding(511), 1);
	assert_int_equal(tar_padding(512), 0);
	assert_int_equal(tar_padding(1048577), 511);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tar__reads_what_it_makes),
		cmocka_unit_test(test_tar__makes_no_header_that_cannot_hold_it),
		cmocka_unit_test(test_tar__tool_reads_our_header),
		cmocka_unit_test(test_tar__every_flipped_bit_is_noticed_or_harmless),
		cmocka_unit_test(test_tar__accepts_old_headers_without_mark),
		cmocka_unit_test(test_tar__joins_prefix_only_with_the_posix_mark),
		cmocka_unit_test(test_tar__reads_all_forms_of_a_size),
		cmocka_unit_test(test_tar__refuses_sizes_that_are_none),
		cmocka_unit_test(test_tar__refuses_names_unfit_for_a_terminal),
		cmocka_unit_test(test_tar__knows_the_end_record),
		cmocka_unit_test(test_tar__pads_to_records),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
