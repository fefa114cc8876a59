/* SPDX-License-Identifier: Apache-2.0 */
/* An image that lost its end, or whose tables are damaged, is refused; one that is whole never is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/size.h"
#include "ingest/image_file.h"
#include "ingest/qemu_image.h"
#include "ingest/qemu_whole.h"
#include "tests/nbd_server.h"

#include <sys/stat.h>

#define DISK_SIZE (6 * MIB)

struct fixture {
	char directory[64];
	struct qemu_image image;
};

static const char *path_of(const struct fixture *f, const char *name)
{
	static char path[256];
	snprintf(path, sizeof(path), "%s/%s", f->directory, name);
	return path;
}

/* Makes disk.raw: noise around 4 MiB of zeroes, and text.raw, which compresses. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint8_t *disk = malloc(DISK_SIZE);
	test_directory_make(f->directory);
	fill_noise(disk, DISK_SIZE, 7);
	memset(disk + MIB, 0, 4 * MIB);
	write_file(path_of(f, "disk.raw"), disk, DISK_SIZE);
	fill_noise(disk, DISK_SIZE, 8);
	for (size_t i = 0; i < DISK_SIZE; i++)
		disk[i] = (uint8_t)('a' + disk[i] % 8);
	write_file(path_of(f, "text.raw"), disk, DISK_SIZE);
	free(disk);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	qemu_image_release(&f->image);
	test_directory_remove(f->directory);
	free(f);
	return 0;
}

/* Runs a shell command in the fixture's directory. */
__attribute__((format(printf, 2, 3))) static void run(const struct fixture *f, const char *format, ...)
{
	char command[2048];
	int n = snprintf(command, sizeof(command), "cd %s && (", f->directory);
	va_list args;
	va_start(args, format);
	n += vsnprintf(command + n, sizeof(command) - (size_t)n, format, args);
	va_end(args);
	snprintf(command + n, sizeof(command) - (size_t)n, ") >/dev/null");
	assert_int_equal(system(command), 0);
}

static uint64_t size_of(const struct fixture *f, const char *name)
{
	struct stat st;
	assert_int_equal(stat(path_of(f, name), &st), 0);
	return (uint64_t)st.st_size;
}

static void cut(const struct fixture *f, const char *name, uint64_t bytes)
{
	assert_int_equal(truncate(path_of(f, name), (off_t)(size_of(f, name) - bytes)), 0);
}

static enum err_code check(struct fixture *f, const char *name, const char *format, struct err *err)
{
	qemu_image_release(&f->image);
	return qemu_image_check(path_of(f, name), format, /* follow= */ true, &f->image, err);
}

static void expect_whole(struct fixture *f, const char *name, const char *format)
{
	struct err err = {0};
	if (check(f, name, format, &err) != ERR_OK)
		fail_msg("%s: %s", format, err.msg);
	assert_string_equal(f->image.path, path_of(f, name));
	assert_string_equal(f->image.notice, "");
}

/* The message must name `culprit` and hold `text`. */
static void expect_refusal(struct fixture *f, const char *name, const char *format, const char *culprit,
			   const char *text)
{
	struct err err = {0};
	if (check(f, name, format, &err) != ERR_CORRUPT)
		fail_msg("%s %s is not refused: %s", format, culprit, err.msg);
	if (!strstr(err.msg, path_of(f, culprit)) || !strstr(err.msg, text))
		fail_msg("not both '%s' and '%s' in: %s", path_of(f, culprit), text, err.msg);
}

static const struct image_kind {
	const char *format;
	const char *options;
	const char *file; /* that is cut */
} kinds[] = {
	{"qcow2", "", "image"},
	{"qcow2", "-o compat=0.10", "image"},
	{"qcow2", "-o cluster_size=512", "image"},
	{"qcow2", "-o extended_l2=on", "image"},
	{"qcow2", "-o preallocation=full", "image"},
	{"qed", "", "image"},
	{"parallels", "", "image"},
	{"vdi", "", "image"},
	{"vdi", "-o static=on", "image"},
	{"vhdx", "-o block_size=1M", "image"},
	{"vhdx", "-o subformat=fixed,block_size=1M", "image"},
	{"vmdk", "-o subformat=monolithicSparse", "image"},
	{"vmdk", "-o subformat=monolithicFlat", "image-flat"},
	{"vmdk", "-o subformat=twoGbMaxExtentSparse", "image-s001"},
	{"vmdk", "-o subformat=twoGbMaxExtentFlat", "image-f001"},
	{"vmdk", "-o subformat=streamOptimized", "image"},
};

static void test_whole__no_format_loses_its_end_unseen(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const struct image_kind *kind = &kinds[i];
		run(f, "rm -f image*; qemu-img convert -f raw -O %s %s disk.raw image", kind->format, kind->options);
		uint64_t size = size_of(f, kind->file);
		const uint64_t cuts[] = {1, 512, 65536, size / 10, size / 2, size - 70000, size - 3000};
		expect_whole(f, "image", kind->format);
		for (size_t k = 0; k < sizeof(cuts) / sizeof(cuts[0]); k++) {
			run(f, "cp --sparse=always %s kept", kind->file);
			cut(f, kind->file, cuts[k]);
			expect_refusal(f, "image", kind->format, "image", "");
			run(f, "mv kept %s", kind->file);
		}
		cut(f, kind->file, size); /* empty */
		expect_refusal(f, "image", kind->format, "image", "");
	}
}

static void test_whole__what_ends_within_a_cluster_is_whole(void **state)
{
	struct fixture *f = *state;
	run(f, "head -c 3146240 text.raw >odd.raw"); /* 3 MiB and a sector */
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const char *format = kinds[i].format;
		run(f, "rm -f image*; qemu-img convert -f raw -O %s %s odd.raw image", format, kinds[i].options);
		expect_whole(f, "image", format);
		if (strstr(kinds[i].options, "streamOptimized"))
			continue; /* is written in one go */
		run(f, "rm -f image*; qemu-img create -q -f %s %s image 10000384", format, kinds[i].options);
		expect_whole(f, "image", format);
		run(f, "qemu-io -f %s -c 'write 5000192 512' image", format);
		expect_whole(f, "image", format);
		run(f, "qemu-io -f %s -c 'write 9999872 512' -c 'write -z 64k 1M' -c 'discard 5M 1M' image", format);
		expect_whole(f, "image", format);
	}
}

/* Cuts the zeroes after the last of the compressed data, which is whole then, and then more of it. */
static void check_compressed_tail(struct fixture *f, const char *options)
{
	run(f, "qemu-img convert -f raw -O qcow2 -c %s text.raw image", options);
	expect_whole(f, "image", "qcow2");
	run(f, "/usr/bin/python3 -c \"d = open('image', 'rb').read().rstrip(bytes(1)); "
	       "open('image', 'wb').write(d + bytes([0] * (len(d) %% 512 == 0)))\"");
	expect_whole(f, "image", "qcow2");
	for (unsigned i = 0; i < 3; i++) {
		cut(f, "image", i == 0 ? 4 : 700);
		expect_refusal(f, "image", "qcow2", "image", "is truncated: it ends at byte");
	}
}

static void test_whole__compressed_qcow2_is_told_by_its_data(void **state)
{
	check_compressed_tail(*state, "");
	check_compressed_tail(*state, "-o compression_type=zstd");
	check_compressed_tail(*state, "-o cluster_size=4k");
}

static void test_whole__vmdk_footer_is_looked_for(void **state)
{
	/* As VMware writes them: the directory's place is in a footer, before a marker of the stream's end. */
	static const char script[] = "d = bytearray(open('image', 'rb').read()); "
				     "marker = (1).to_bytes(8, 'little') + bytes(4) + (3).to_bytes(4, 'little'); "
				     "footer = bytes(d[:512]); d[56:64] = bytes([255] * 8); "
				     "d += marker.ljust(512, bytes(1)) + footer + bytes(512); "
				     "open('image', 'wb').write(d)";
	struct fixture *f = *state;
	run(f, "qemu-img convert -f raw -O vmdk -o subformat=streamOptimized text.raw image");
	run(f, "/usr/bin/python3 -c \"%s\"", script);
	expect_whole(f, "image", "vmdk");
	struct err err = {0};
	assert_int_equal(qemu_whole_check(path_of(f, "image"), "vmdk", NULL), ERR_OK);
	cut(f, "image", 512);
	assert_int_equal(qemu_whole_check(path_of(f, "image"), "vmdk", &err), ERR_CORRUPT);
	assert_non_null(strstr(err.msg, "its footer is not at its end"));
	expect_refusal(f, "image", "vmdk", "image", "");
}

static void test_whole__esx_extents_are_checked(void **state)
{
	/* One table of 4096 grains of 64 KiB each, the disk's data from sector 128 on. */
	static const char script[] = "import struct; d = open('disk.raw', 'rb').read(); "
				     "h = b'COWD' + struct.pack('<IIIIII', 1, 3, 12288, 128, 4, 1); "
				     "h = h.ljust(512, bytes(1)) + b'CID=11111111\\nparentCID=ffffffff\\n'; "
				     "gd = struct.pack('<I', 5).ljust(512, bytes(1)); "
				     "gt = struct.pack('<96I', *range(128, 128 * 97, 128)); "
				     "f = (h.ljust(2048, bytes(1)) + gd + gt).ljust(65536, bytes(1)) + d; "
				     "open('image', 'wb').write(f)";
	struct fixture *f = *state;
	run(f, "/usr/bin/python3 -c \"%s\"", script);
	expect_whole(f, "image", "vmdk");
	cut(f, "image", 1);
	expect_refusal(f, "image", "vmdk", "image", "is truncated: it ends at byte");
	cut(f, "image", size_of(f, "image") - 4000);
	expect_refusal(f, "image", "vmdk", "image", "");
}

static void test_whole__flat_extents_with_an_offset_are_measured(void **state)
{
	struct fixture *f = *state;
	run(f, "printf '# Disk DescriptorFile\\nversion=1\\nCID=11111111\\nparentCID=ffffffff\\n"
	       "createType=\"monolithicFlat\"\\nRW 8192 FLAT \"disk.raw\" 4096\\n' >image");
	expect_whole(f, "image", "vmdk");
	run(f, "sed -i s/4096/4097/ image");
	expect_refusal(f, "image", "vmdk", "disk.raw", "is truncated: it ends at byte 6291456");
	run(f, "sed -i 's/FLAT/VMFS/;s/4097//' image");
	expect_whole(f, "image", "vmdk");
	run(f, "sed -i 's/8192/12289/' image");
	expect_refusal(f, "image", "vmdk", "disk.raw", "is truncated");
	run(f, "sed -i 's/12289/36028797018963968/' image");
	expect_refusal(f, "image", "vmdk", "disk.raw", "is truncated");
}

static void test_whole__backing_files_are_checked_too(void **state)
{
	struct fixture *f = *state;
	run(f,
	    "qemu-img convert -f raw -O qcow2 disk.raw base && qemu-img create -q -f qcow2 -b base -F qcow2 middle && "
	    "qemu-img create -q -f qcow2 -b middle -F qcow2 top 20M");
	expect_whole(f, "top", "qcow2");
	cut(f, "base", 512);
	expect_refusal(f, "top", "qcow2", "base", "is truncated");
	run(f,
	    "qemu-img convert -f raw -O vpc disk.raw base.vhd && qemu-img create -q -f qcow2 -b base.vhd -F vpc top");
	expect_whole(f, "top", "qcow2");
	cut(f, "base.vhd", 4096);
	expect_refusal(f, "top", "qcow2", "base.vhd", "truncated");
}

static void test_whole__raw_backing_file_that_is_short_is_told(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	run(f, "qemu-img create -q -f qcow2 -b disk.raw -F raw top");
	expect_whole(f, "top", "qcow2");
	cut(f, "disk.raw", 512);
	assert_int_equal(check(f, "top", "qcow2", &err), ERR_OK);
	assert_non_null(strstr(f->image.notice, "the raw backing file 'disk.raw' is shorter than the image above it"));
	cut(f, "disk.raw", 1);
	expect_refusal(f, "top", "qcow2", "disk.raw", "is no multiple of 512");
}

static void test_whole__formats_that_cannot_be_told_are_refused(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	run(f, "qemu-img convert -f raw -O qcow disk.raw base && qemu-img create -q -f qcow2 -b base -F qcow top");
	assert_int_equal(check(f, "top", "qcow2", &err), ERR_UNSUPPORTED);
	assert_non_null(strstr(err.msg, "whether an image in format 'qcow' is whole can't be told"));
	assert_false(qemu_whole_knows("qcow"));
	assert_true(qemu_whole_knows("qcow2"));
}

static void test_whole__damaged_tables_are_refused(void **state)
{
	/* The first two clusters of the disk become the same one, which QEMU counts. */
	static const char script[] = "d = bytearray(open('image', 'rb').read()); "
				     "l1 = int.from_bytes(d[40:48], 'big'); "
				     "l2 = int.from_bytes(d[l1:l1 + 8], 'big') & 0x00fffffffffffe00; "
				     "d[l2 + 8:l2 + 16] = d[l2:l2 + 8]; open('image', 'wb').write(d)";
	struct fixture *f = *state;
	run(f, "qemu-img convert -f raw -O qcow2 disk.raw image && /usr/bin/python3 -c \"%s\"", script);
	expect_refusal(f, "image", "qcow2", "image", "is damaged (qemu-img check: ERROR");
}

static void test_whole__leaked_clusters_are_harmless(void **state)
{
	static const char script[] = "d = bytearray(open('image', 'rb').read()); "
				     "l1 = int.from_bytes(d[40:48], 'big'); "
				     "l2 = int.from_bytes(d[l1:l1 + 8], 'big') & 0x00fffffffffffe00; "
				     "d[l2:l2 + 8] = bytes(8); open('image', 'wb').write(d)";
	struct fixture *f = *state;
	run(f, "qemu-img convert -f raw -O qcow2 disk.raw image && /usr/bin/python3 -c \"%s\"", script);
	run(f, "qemu-img check image 2>&1; test $? = 3");
	expect_whole(f, "image", "qcow2");
}

/* Runs the check with a qemu-img that answers "check" with a script's lines. */
static enum err_code check_with(struct fixture *f, const char *lines, struct err *err)
{
	char *path = strdup(getenv("PATH"));
	run(f,
	    "mkdir -p bin && printf '#!/bin/sh\\n[ \"$1\" = info ] && exec /usr/bin/qemu-img \"$@\"\\n%s\\n' "
	    ">bin/qemu-img "
	    "&& chmod +x bin/qemu-img",
	    lines);
	setenv("PATH", path_of(f, "bin"), /* overwrite= */ 1);
	enum err_code code = check(f, "image", "qcow2", err);
	setenv("PATH", path, /* overwrite= */ 1);
	free(path);
	return code;
}

static void test_whole__each_answer_of_qemu_img_is_understood(void **state)
{
	static const struct {
		const char *lines;
		enum err_code code;
		const char *text;
	} cases[] = {
		{"echo leaks >&2; exit 3", ERR_OK, ""},
		{"echo no >&2; exit 63", ERR_OK, ""},
		{"exit 2", ERR_CORRUPT, "is damaged (qemu-img check: ended with code 2)"},
		{"echo >&2; echo first >&2; echo last >&2; exit 2", ERR_CORRUPT, "(qemu-img check: first)"},
		{"echo first >&2; echo last >&2; exit 1", ERR_CORRUPT, "cannot be followed (qemu-img check: first)"},
		{"echo first >&2; echo last >&2; exit 77", ERR_IO, "cannot be checked (qemu-img check: last)"},
		{"kill -9 $$", ERR_IO, "cannot be checked (qemu-img check: killed by signal 9)"},
		{"case \"$*\" in *-r*) exit 0;; \"check -f qcow2 --output=json -- \"*) exit 3;; esac; exit 2", ERR_OK,
		 ""},
	};
	struct fixture *f = *state;
	run(f, "qemu-img create -q -f qcow2 image 6M");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = {0};
		assert_int_equal(check_with(f, cases[i].lines, &err), cases[i].code);
		if (!strstr(err.msg, cases[i].text))
			fail_msg("no '%s' in: %s", cases[i].text, err.msg);
	}
}

static void test_image_file__bounds_hold_for_all_values(void **state)
{
	struct fixture *f = *state;
	struct image_file file;
	uint8_t data[16];
	assert_int_equal(image_file_open(path_of(f, "gone"), &file, NULL), ERR_NOT_FOUND);
	image_file_close(&file);
	assert_int_equal(image_file_open(path_of(f, "."), &file, NULL), ERR_UNSUPPORTED);
	image_file_close(&file);
	assert_int_equal(image_file_open(path_of(f, "disk.raw"), &file, NULL), ERR_OK);
	assert_int_equal(image_file_need(&file, 0, DISK_SIZE, NULL), ERR_OK);
	assert_int_equal(image_file_need(&file, DISK_SIZE, 0, NULL), ERR_OK);
	assert_int_equal(image_file_need(&file, 1, DISK_SIZE, NULL), ERR_CORRUPT);
	assert_int_equal(image_file_need(&file, UINT64_MAX, UINT64_MAX, NULL), ERR_CORRUPT);
	assert_int_equal(image_file_read(&file, DISK_SIZE - 15, data, sizeof(data), NULL), ERR_CORRUPT);
	assert_int_equal(image_file_read(&file, DISK_SIZE - 16, data, sizeof(data), NULL), ERR_OK);
	assert_int_equal(image_file_each_le32(&file, 0, UINT64_MAX / 4 + 2, NULL, NULL, NULL), ERR_CORRUPT);
	/* Tables that are read again and again end. */
	struct err err = {0};
	uint8_t *whole = malloc(DISK_SIZE);
	assert_int_equal(image_file_read(&file, 0, whole, DISK_SIZE, NULL), ERR_OK);
	assert_int_equal(image_file_read(&file, 0, whole, DISK_SIZE, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.msg, "has tables that overlap"));
	free(whole);
	image_file_close(&file);
	image_file_close(&file);
}

int main(void)
{
	if (!test_has_program("qemu-img") || !test_has_program("qemu-io"))
		return test_skip("qemu-utils is not installed");
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_whole__no_format_loses_its_end_unseen),
		TEST(test_whole__what_ends_within_a_cluster_is_whole),
		TEST(test_whole__compressed_qcow2_is_told_by_its_data),
		TEST(test_whole__vmdk_footer_is_looked_for),
		TEST(test_whole__esx_extents_are_checked),
		TEST(test_whole__flat_extents_with_an_offset_are_measured),
		TEST(test_whole__backing_files_are_checked_too),
		TEST(test_whole__raw_backing_file_that_is_short_is_told),
		TEST(test_whole__formats_that_cannot_be_told_are_refused),
		TEST(test_whole__damaged_tables_are_refused),
		TEST(test_whole__leaked_clusters_are_harmless),
		TEST(test_whole__each_answer_of_qemu_img_is_understood),
		TEST(test_image_file__bounds_hold_for_all_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
