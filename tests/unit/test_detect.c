/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/detect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/size.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define TAR_LENGTH (512u * 40)

/* The beginning of an archive: a header with the member's name and its sum, then noise. */
static void make_tar(uint8_t *tar, const char *name)
{
	uint32_t sum = 0;
	memset(tar, 0, 512);
	snprintf((char *)tar, 100, "%s", name);
	memcpy(tar + 257, "ustar", 5);
	memset(tar + 148, ' ', 8);
	for (size_t i = 0; i < 512; i++)
		sum += tar[i];
	snprintf((char *)tar + 148, 8, "%06o", sum);
	for (size_t i = 512; i < TAR_LENGTH; i++)
		tar[i] = (uint8_t)(i * 2654435761u >> 7);
}

static void test_detect__knows_the_magic_of_each_format(void **state)
{
	static const struct {
		const char *format;
		size_t offset;
		const char *magic;
		size_t length;
	} cases[] = {
		{"vhd", 0, "conectix", 8},
		{"vhdx", 0, "vhdxfile", 8},
		{"qcow2", 0, "QFI\xfb\0\0\0\2", 8},
		{"qcow2", 0, "QFI\xfb\0\0\0\3", 8},
		{"raw", 0, "QFI\xfb\0\0\0\1", 8},
		{"vmdk", 0, "KDMV", 4},
		{"vmdk", 0, "COWD", 4},
		{"vdi", 64, "\x7f\x10\xda\xbe", 4},
		{"raw", 60, "\x7f\x10\xda\xbe", 4},
		{"qed", 0, "QED\0", 4},
		{"parallels", 0, "WithoutFreeSpace", 16},
		{"parallels", 0, "WithouFreSpacExt", 16},
		{"raw", 1, "vhdxfile", 8},
		{"raw", 0, "vhdxfil", 7},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t head[512] = {0};
		memcpy(head + cases[i].offset, cases[i].magic, cases[i].length);
		assert_string_equal(detect_bytes(head, sizeof(head), MIB), cases[i].format);
		/* Cut in its middle it is nothing. */
		assert_string_equal(detect_bytes(head, cases[i].offset + cases[i].length - 1, MIB), "raw");
	}
	assert_string_equal(detect_bytes((const uint8_t *)"", 0, 0), "raw");
}

static void test_detect__vmdk_descriptor_is_a_short_text(void **state)
{
	static const char text[] = "# Disk DescriptorFile\nversion=1\n";
	uint8_t head[512] = {0};
	(void)state;
	assert_string_equal(detect_bytes((const uint8_t *)text, sizeof(text) - 1, sizeof(text) - 1), "vmdk");
	/* A raw disk on which a guest wrote the same words. */
	assert_string_equal(detect_bytes((const uint8_t *)text, sizeof(text) - 1, GIB), "raw");
	/* QEMU fills the sector up with zeroes; what has more behind them is no text. */
	memcpy(head, text, sizeof(text) - 1);
	assert_string_equal(detect_bytes(head, sizeof(head), sizeof(head)), "vmdk");
	head[sizeof(head) - 1] = 'x';
	assert_string_equal(detect_bytes(head, sizeof(head), sizeof(head)), "raw");
}

static void test_detect__xva_is_a_tar_that_starts_with_ova_xml(void **state)
{
	uint8_t tar[TAR_LENGTH];
	(void)state;
	make_tar(tar, "ova.xml");
	assert_string_equal(detect_bytes(tar, sizeof(tar), sizeof(tar)), "xva");
	assert_string_equal(detect_bytes(tar, 512, 512), "xva");
	assert_string_equal(detect_bytes(tar, 511, 511), "raw");
	tar[300] = 1; /* the sum is wrong now */
	assert_string_equal(detect_bytes(tar, sizeof(tar), sizeof(tar)), "raw");
	make_tar(tar, "ova.xml2");
	assert_string_equal(detect_bytes(tar, sizeof(tar), sizeof(tar)), "raw");
}

static size_t gzip(const uint8_t *data, size_t length, uint8_t *dst, size_t size)
{
	z_stream z = {0};
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)length;
	z.next_out = dst;
	z.avail_out = (uInt)size;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	size_t written = z.total_out;
	deflateEnd(&z);
	return written;
}

static void test_detect__sees_an_xva_through_compression(void **state)
{
	uint8_t tar[TAR_LENGTH];
	uint8_t packed[TAR_LENGTH + 4096];
	(void)state;
	for (int i = 0; i < 2; i++) {
		bool is_xva = i == 0;
		make_tar(tar, is_xva ? "ova.xml" : "other.xml");
		const char *expected = is_xva ? "xva" : "raw";
		size_t length = gzip(tar, sizeof(tar), packed, sizeof(packed));
		assert_string_equal(detect_bytes(packed, length, length), expected);
		assert_string_equal(detect_bytes(packed, 20, length), "raw");
		length = ZSTD_compress(packed, sizeof(packed), tar, sizeof(tar), 3);
		assert_false(ZSTD_isError(length));
		assert_string_equal(detect_bytes(packed, length, length), expected);
		assert_string_equal(detect_bytes(packed, 20, length), "raw");
	}
}

static void test_detect__sees_an_xva_behind_a_large_zstd_block(void **state)
{
	/* What zstd cannot shrink fills its blocks of 128 KiB, none of which gives a byte before it is there as a
	 * whole. */
	const size_t length = 300 * KIB;
	uint8_t *tar = malloc(length);
	uint8_t *packed = malloc(ZSTD_compressBound(length));
	(void)state;
	make_tar(tar, "ova.xml");
	uint32_t x = 1;
	for (size_t i = 512; i < length; i++) {
		x = x * 1664525 + 1013904223;
		tar[i] = (uint8_t)(x >> 24);
	}
	size_t n = ZSTD_compress(packed, ZSTD_compressBound(length), tar, length, 1);
	assert_false(ZSTD_isError(n));
	assert_true(n > DETECT_HEAD_BYTES);
	assert_string_equal(detect_bytes(packed, n, n), "xva");
	free(tar);
	free(packed);
}

static void test_detect__sees_an_xva_behind_a_skippable_zstd_frame(void **state)
{
	static const uint8_t skippable[] = {0x5e, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4};
	static uint8_t tar[TAR_LENGTH], packed[2 * TAR_LENGTH];
	(void)state;
	make_tar(tar, "ova.xml");
	memcpy(packed, skippable, sizeof(skippable));
	size_t n = ZSTD_compress(packed + sizeof(skippable), sizeof(packed) - sizeof(skippable), tar, TAR_LENGTH, 1);
	assert_false(ZSTD_isError(n));
	n += sizeof(skippable);
	assert_string_equal(detect_bytes(packed, n, n), "xva");
	assert_string_equal(detect_bytes(packed, sizeof(skippable), sizeof(skippable)), "raw");
	packed[3] ^= 1;
	assert_string_equal(detect_bytes(packed, n, n), "raw");
}

static void test_detect__kinds_of_files(void **state)
{
	char directory[] = "/tmp/xenolith-test-XXXXXX";
	char path[64];
	const char *format = NULL;
	struct err err = {0};
	(void)state;
	assert_non_null(mkdtemp(directory));
	assert_int_equal(detect_format(directory, &format, &err), ERR_INVALID);
	assert_non_null(strstr(err.msg, "is neither a file, a block device nor a pipe"));
	err = (struct err){0};
	assert_int_equal(detect_format("/dev/zero", &format, &err), ERR_INVALID);
	err = (struct err){0};
	snprintf(path, sizeof(path), "%s/x", directory);
	assert_int_equal(detect_format(path, &format, &err), ERR_NOT_FOUND);
	assert_non_null(strstr(err.msg, path));
	assert_null(format);

	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(detect_format(path, &format, &err), ERR_OK);
	assert_string_equal(format, "xva");
	unlink(path);

	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fputs("vhdxfile and more", f) >= 0, 1);
	fclose(f);
	assert_int_equal(detect_format(path, &format, &err), ERR_OK);
	assert_string_equal(format, "vhdx");
	assert_int_equal(truncate(path, 3), 0);
	assert_int_equal(detect_format(path, &format, &err), ERR_OK);
	assert_string_equal(format, "raw");
	unlink(path);
	rmdir(directory);
}

static void test_detect__fixed_vhd_is_told_by_its_end(void **state)
{
	char directory[] = "/tmp/xenolith-test-XXXXXX";
	char command[256];
	char path[64];
	const char *format = NULL;
	struct err err = {0};
	(void)state;
	if (system("command -v qemu-img >/dev/null 2>&1") != 0)
		skip();
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/x", directory);
	snprintf(command, sizeof(command), "qemu-img create -q -f vpc -o subformat=fixed %s 2M", path);
	assert_int_equal(system(command), 0);
	assert_int_equal(detect_format(path, &format, &err), ERR_OK);
	assert_string_equal(format, "vhd");
	unlink(path);
	rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_detect__knows_the_magic_of_each_format),
		cmocka_unit_test(test_detect__vmdk_descriptor_is_a_short_text),
		cmocka_unit_test(test_detect__xva_is_a_tar_that_starts_with_ova_xml),
		cmocka_unit_test(test_detect__sees_an_xva_through_compression),
		cmocka_unit_test(test_detect__sees_an_xva_behind_a_large_zstd_block),
		cmocka_unit_test(test_detect__sees_an_xva_behind_a_skippable_zstd_frame),
		cmocka_unit_test(test_detect__kinds_of_files),
		cmocka_unit_test(test_detect__fixed_vhd_is_told_by_its_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
