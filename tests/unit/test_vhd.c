/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/endian.h"
#include "ingest/vhd.h"
#include "ingest/vhd_bat.h"
#include "vhd_builder.h"

static const struct vhd_build dynamic_disk = {
	.type = 3, .size = 10 * MIB, .block_bytes = 2u << 20, .uuid = 0x11, .timestamp = 5};

static void test_vhd_footer__is_parsed(void **state)
{
	(void)state;
	uint8_t bytes[VHD_FOOTER_SIZE];
	struct vhd_footer footer;
	build_footer(&dynamic_disk, bytes);
	check_ok(vhd_footer_parse(bytes, "x", &footer, e));
	assert_int_equal(footer.type, VHD_DYNAMIC);
	assert_int_equal(footer.size_bytes, 10 * MIB);
	assert_int_equal(footer.header_offset, 512);
	assert_int_equal(footer.timestamp, 5);
	assert_memory_equal(footer.creator, "test", 4);
	assert_int_equal(footer.uuid.bytes[15], 0x11);
}

static void refuse_footer(size_t at, uint32_t value, enum err_code code, const char *text)
{
	uint8_t bytes[VHD_FOOTER_SIZE];
	struct vhd_footer footer;
	struct err err = {0};
	build_footer(&dynamic_disk, bytes);
	be32_put(bytes + at, value);
	build_seal(bytes, sizeof(bytes), 64);
	assert_int_equal(vhd_footer_parse(bytes, "x", &footer, &err), code);
	check_error(&err, code, text);
}

static void test_vhd_footer__refuses_nonsense(void **state)
{
	(void)state;
	refuse_footer(0, 0x12345678, ERR_CORRUPT, "'x' has no VHD footer");
	refuse_footer(12, 0x00020000, ERR_UNSUPPORTED, "version 0x00020000");
	refuse_footer(60, 7, ERR_UNSUPPORTED, "unknown type 7");
	refuse_footer(52, 513, ERR_CORRUPT, "impossible disk size: 513");
	refuse_footer(52, 0, ERR_CORRUPT, "impossible disk size: 0");
}

static void test_vhd_footer__refuses_blktap_0_1(void **state)
{
	(void)state;
	uint8_t bytes[VHD_FOOTER_SIZE];
	struct vhd_footer footer;
	struct err err = {0};
	build_footer(&dynamic_disk, bytes);
	memcpy(bytes + 28, "tap\0\0\0\0\1", 8);
	build_seal(bytes, sizeof(bytes), 64);
	assert_int_equal(vhd_footer_parse(bytes, "x", &footer, &err), ERR_UNSUPPORTED);
	check_error(&err, ERR_UNSUPPORTED, "blktap 0.1");
}

static void test_vhd_footer__every_bit_is_under_the_checksum(void **state)
{
	(void)state;
	uint8_t bytes[VHD_FOOTER_SIZE];
	struct vhd_footer footer;
	build_footer(&dynamic_disk, bytes);
	for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
		assert_int_equal(vhd_footer_parse(bytes, "x", &footer, NULL), ERR_CORRUPT);
		bytes[bit / 8] ^= (uint8_t)(1 << (bit % 8));
	}
}

static void test_vhd_footer__the_copy_stands_in(void **state)
{
	(void)state;
	uint8_t good[VHD_FOOTER_SIZE];
	uint8_t bad[VHD_FOOTER_SIZE];
	struct vhd_footer footer;
	bool copy_used = true;
	struct err err = {0};
	build_footer(&dynamic_disk, good);
	memcpy(bad, good, sizeof(bad));
	bad[100] ^= 1;
	check_ok(vhd_footer_choose(good, bad, "x", &footer, &copy_used, e));
	assert_false(copy_used);
	check_ok(vhd_footer_choose(bad, good, "x", &footer, &copy_used, e));
	assert_true(copy_used);
	assert_int_equal(footer.size_bytes, 10 * MIB);
	assert_int_equal(vhd_footer_choose(bad, bad, "x", &footer, &copy_used, &err), ERR_CORRUPT);
	check_error(&err, ERR_CORRUPT, "wrong checksum, and there is no sound copy");
	/* A fixed VHD begins with guest data, which may happen to look like a footer. */
	struct vhd_build fixed = dynamic_disk;
	fixed.type = 2;
	build_footer(&fixed, good);
	assert_int_equal(vhd_footer_choose(bad, good, "x", &footer, &copy_used, NULL), ERR_CORRUPT);
}

static void test_vhd_footer__round_trips(void **state)
{
	(void)state;
	struct vhd_footer footer = {.header_offset = 512,
				    .timestamp = 99,
				    .creator = {'a', 'b', 'c', 'd'},
				    .creator_version = 3,
				    .size_bytes = 5 * GIB + 1536,
				    .type = VHD_DYNAMIC,
				    .uuid = uuid_random()};
	uint8_t bytes[VHD_FOOTER_SIZE];
	struct vhd_footer back = {0};
	vhd_footer_encode(&footer, bytes);
	check_ok(vhd_footer_parse(bytes, "x", &back, e));
	assert_int_equal(back.size_bytes, footer.size_bytes);
	assert_int_equal(back.timestamp, 99);
	assert_true(uuid_equal(&back.uuid, &footer.uuid));
	assert_int_equal(be32_get(bytes + 8), 2);
}

static void parse_header(const struct vhd_build *build, size_t at, uint32_t value, enum err_code code, const char *text)
{
	uint8_t file[BUILD_TABLE_AT] = {0};
	struct vhd_footer footer;
	struct vhd_header header;
	struct err err = {0};
	build_footer(build, file);
	build_header(build, file);
	if (at)
		be32_put(file + 512 + at, value);
	build_seal(file + 512, 1024, 36);
	check_ok(vhd_footer_parse(file, "x", &footer, e));
	assert_int_equal(vhd_header_parse(file + 512, &footer, "x", &header, &err), code);
	if (code != ERR_OK)
		check_error(&err, code, text);
}

static void test_vhd_header__refuses_nonsense(void **state)
{
	(void)state;
	parse_header(&dynamic_disk, 0, 0, ERR_OK, "");
	parse_header(&dynamic_disk, 24, 0x00020000, ERR_UNSUPPORTED, "version 0x00020000");
	parse_header(&dynamic_disk, 28, 4, ERR_CORRUPT, "4 entries, but the disk has 5 blocks");
	parse_header(&dynamic_disk, 32, 0, ERR_CORRUPT, "impossible block size");
	parse_header(&dynamic_disk, 32, 3u << 20, ERR_CORRUPT, "impossible block size");
	parse_header(&dynamic_disk, 32, 4u << 20, ERR_UNSUPPORTED, "blocks of 4194304 bytes");
	parse_header(&dynamic_disk, 32, 512, ERR_UNSUPPORTED, "blocks of 512 bytes");
	parse_header(&dynamic_disk, 20, 4097, ERR_CORRUPT, "does not start at a sector");
	struct vhd_build huge = dynamic_disk;
	huge.size = UINT64_C(1) << 60;
	parse_header(&huge, 28, UINT32_MAX, ERR_CORRUPT, "such a VHD ends at 2 TiB");
	struct vhd_build orphan = dynamic_disk;
	orphan.type = 4;
	parse_header(&orphan, 0, 0, ERR_CORRUPT, "names no parent");
}

static void test_vhd_header__gives_the_parent(void **state)
{
	(void)state;
	struct vhd_build child = dynamic_disk;
	child.type = 4;
	child.parent_uuid = 0x22;
	child.parent_timestamp = 77;
	child.parent_name = "base.vhd";
	child.macx = "file://./base.vhd";
	uint8_t file[BUILD_TABLE_AT] = {0};
	struct vhd_footer footer;
	struct vhd_header header;
	build_footer(&child, file);
	build_header(&child, file);
	check_ok(vhd_footer_parse(file, "x", &footer, e));
	check_ok(vhd_header_parse(file + 512, &footer, "x", &header, e));
	assert_string_equal(header.parent_name, "base.vhd");
	assert_int_equal(header.parent_timestamp, 77);
	assert_int_equal(header.parent_uuid.bytes[0], 0x22);
	assert_int_equal(header.locators[0].code, VHD_LOCATOR_MACX);
	assert_int_equal(header.locators[0].offset, BUILD_LOCATOR_AT);
	assert_int_equal(header.locators[0].length, strlen(child.macx));
}

static void test_vhd_geometry__follows_the_specification(void **state)
{
	(void)state;
	static const struct {
		uint64_t bytes;
		struct vhd_geometry want;
	} cases[] = {
		{512, {0, 4, 17}},
		{UINT64_C(40) << 20, {963, 5, 17}},
		{UINT64_C(200) << 20, {825, 16, 31}},
		{UINT64_C(1) << 30, {2080, 16, 63}},
		{UINT64_C(5) << 30, {10402, 16, 63}},
		{UINT64_C(100) << 30, {51400, 16, 255}},
		{UINT64_C(2040) << 30, {65535, 16, 255}},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vhd_geometry got = vhd_geometry(cases[i].bytes);
		assert_int_equal(got.cylinders, cases[i].want.cylinders);
		assert_int_equal(got.heads, cases[i].want.heads);
		assert_int_equal(got.sectors, cases[i].want.sectors);
	}
}

static void check_locator(uint32_t code, const void *data, size_t length, const char *want)
{
	char path[256];
	bool found = vhd_locator_path(code, data, length, path, sizeof(path));
	assert_int_equal(found, want != NULL);
	assert_string_equal(path, want ? want : "");
}

static void test_vhd_locator__gives_a_path(void **state)
{
	(void)state;
	check_locator(VHD_LOCATOR_W2RU, ".\0\\\0a\0.\0v\0h\0d\0", 14, "./a.vhd");
	check_locator(VHD_LOCATOR_W2RU, "a\0\0\0b\0", 6, "a");
	check_locator(VHD_LOCATOR_W2KU, "C\0:\0\\\0v\0\\\0b\0", 12, "/v/b");
	check_locator(VHD_LOCATOR_W2KU, "\xe4\0\x3d\xd8\x00\xde", 6, "\xc3\xa4\xf0\x9f\x98\x80");
	check_locator(VHD_LOCATOR_MACX, "file://./x%20y.vhd", 18, "./x y.vhd");
	check_locator(VHD_LOCATOR_MACX, "file:///srv/b.vhd\0\0", 19, "/srv/b.vhd");
	check_locator(VHD_LOCATOR_MACX, "file://localhost/srv/b", 22, "/srv/b");
	check_locator(VHD_LOCATOR_MACX, "100%.vhd", 8, "100%.vhd");
}

static void test_vhd_locator__refuses_what_is_no_path(void **state)
{
	(void)state;
	check_locator(VHD_LOCATOR_W2RU, "\0\xd8", 2, NULL);       /* half a pair */
	check_locator(VHD_LOCATOR_W2RU, "\0\xdc\0\xd8", 4, NULL); /* a pair the wrong way round */
	check_locator(VHD_LOCATOR_W2RU,
		      "\0\xd8"
		      "a\0",
		      4, NULL);
	check_locator(VHD_LOCATOR_W2RU, "a\0\n\0", 4, NULL); /* a control character */
	check_locator(VHD_LOCATOR_W2RU, "a", 1, NULL);
	check_locator(VHD_LOCATOR_MACX, "file://a%0ab", 12, NULL);
	check_locator(VHD_LOCATOR_MACX, "", 0, NULL);
	check_locator(0x4D616320, "whatever", 8, NULL);
	char small[4];
	assert_false(vhd_locator_path(VHD_LOCATOR_MACX, (const uint8_t *)"abcd", 4, small, sizeof(small)));
	assert_true(vhd_locator_path(VHD_LOCATOR_MACX, (const uint8_t *)"abc", 3, small, sizeof(small)));
}

/* Checks a table whose first entries are these. */
static enum err_code check_table(const uint32_t *sectors, size_t count, uint64_t limit, struct err *err)
{
	uint8_t bytes[64];
	struct vhd_bat *bat = NULL;
	for (size_t i = 0; i < count; i++)
		be32_put(bytes + 4 * i, sectors[i]);
	check_ok(vhd_bat_new((uint32_t)count, &bat, e));
	check_ok(vhd_bat_fill(bat, bytes, count * 4, e));
	const struct vhd_region regions[] = {{0, 512, "footer's copy"}, {1536, 512, "block table"}};
	enum err_code code = vhd_bat_check(bat, VHD_BLOCK_MIN, limit, regions, 2, "x", err);
	vhd_bat_free(bat);
	return code;
}

static void test_vhd_bat__refuses_blocks_that_can_not_be(void **state)
{
	(void)state;
	const uint32_t step = VHD_BLOCK_MIN / 512 + 1;
	const uint32_t good[] = {4 + step, VHD_UNUSED, 4};
	const uint64_t end = (4 + 2 * (uint64_t)step) * 512;
	struct err err = {0};
	assert_int_equal(check_table(good, 3, end, NULL), ERR_OK);
	assert_int_equal(check_table(good, 3, end - 1, &err), ERR_CORRUPT);
	check_error(&err, ERR_CORRUPT, "past the end of the file");
	err = (struct err){0};
	assert_int_equal(check_table((const uint32_t[]){0xFFFFFFFE}, 1, end, &err), ERR_CORRUPT);
	check_error(&err, ERR_CORRUPT, "past the end of the file");
	err = (struct err){0};
	assert_int_equal(check_table((const uint32_t[]){4 + step - 1, 4}, 2, end, &err), ERR_CORRUPT);
	check_error(&err, ERR_CORRUPT, "overlapping blocks");
	err = (struct err){0};
	assert_int_equal(check_table((const uint32_t[]){4, 4}, 2, end, &err), ERR_CORRUPT);
	check_error(&err, ERR_CORRUPT, "overlapping blocks");
	err = (struct err){0};
	assert_int_equal(check_table((const uint32_t[]){3}, 1, end, &err), ERR_CORRUPT);
	check_error(&err, ERR_CORRUPT, "on top of the block table");
	err = (struct err){0};
	assert_int_equal(check_table((const uint32_t[]){0}, 1, end, &err), ERR_CORRUPT);
	check_error(&err, ERR_CORRUPT, "on top of the footer's copy");
}

static void test_vhd_bat__keeps_no_page_for_unused_entries(void **state)
{
	(void)state;
	uint8_t bytes[4096];
	struct vhd_bat *bat = NULL;
	memset(bytes, 0xFF, sizeof(bytes));
	check_ok(vhd_bat_new(3000, &bat, e));
	check_ok(vhd_bat_fill(bat, bytes, sizeof(bytes), e));
	be32_put(bytes + 8, 1234);
	check_ok(vhd_bat_fill(bat, bytes, sizeof(bytes), e));
	assert_int_equal(vhd_bat_unused_run(bat, 0), 1024);
	assert_int_equal(vhd_bat_unused_run(bat, 1000), 24);
	assert_int_equal(vhd_bat_unused_run(bat, 1024), 0);
	assert_int_equal(vhd_bat_get(bat, 1026), 1234);
	assert_int_equal(vhd_bat_get(bat, 1025), VHD_UNUSED);
	assert_int_equal(vhd_bat_get(bat, 2999), VHD_UNUSED);
	assert_int_equal(vhd_bat_get(bat, 3000), VHD_UNUSED);
	assert_int_equal(vhd_bat_state(bat, 1026), VHD_BLOCK_UNKNOWN);
	vhd_bat_set_state(bat, 1026, VHD_BLOCK_WHOLE);
	assert_int_equal(vhd_bat_state(bat, 1026), VHD_BLOCK_WHOLE);
	vhd_bat_free(bat);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vhd_footer__is_parsed),
		cmocka_unit_test(test_vhd_footer__refuses_nonsense),
		cmocka_unit_test(test_vhd_footer__refuses_blktap_0_1),
		cmocka_unit_test(test_vhd_footer__every_bit_is_under_the_checksum),
		cmocka_unit_test(test_vhd_footer__the_copy_stands_in),
		cmocka_unit_test(test_vhd_footer__round_trips),
		cmocka_unit_test(test_vhd_header__refuses_nonsense),
		cmocka_unit_test(test_vhd_header__gives_the_parent),
		cmocka_unit_test(test_vhd_geometry__follows_the_specification),
		cmocka_unit_test(test_vhd_locator__gives_a_path),
		cmocka_unit_test(test_vhd_locator__refuses_what_is_no_path),
		cmocka_unit_test(test_vhd_bat__refuses_blocks_that_can_not_be),
		cmocka_unit_test(test_vhd_bat__keeps_no_page_for_unused_entries),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
