/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/open.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/size.h"
#include "tests/nbd_server.h"

#include <fcntl.h>

#define DISK_SIZE (2 * MIB)

struct fixture {
	char directory[64];
	struct source_set set;
	struct block_target *target;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	test_directory_make(f->directory);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	source_set_release(&f->set);
	block_target_close(f->target);
	test_directory_remove(f->directory);
	free(f);
	return 0;
}

static const char *path_of(const struct fixture *f, const char *name)
{
	static char path[256];
	snprintf(path, sizeof(path), "%s/%s", f->directory, name);
	return path;
}

static void run(struct fixture *f, const char *command)
{
	char line[512];
	snprintf(line, sizeof(line), "cd %s && %s", f->directory, command);
	assert_int_equal(system(line), 0);
}

static void expect_format(struct fixture *f, const char *name, const char *given, const char *format)
{
	struct err err = {0};
	if (source_open(path_of(f, name), given, &f->set, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	assert_int_equal(f->set.count, 1);
	assert_string_equal(f->set.sources[0]->ops->format, format);
	assert_int_equal(f->set.document_count, 0);
	source_set_release(&f->set);
	assert_null(f->set.sources);
}

static void expect_source_error(struct fixture *f, const char *spec, const char *format, enum err_code code,
				const char *text)
{
	struct err err = {0};
	assert_int_equal(source_open(spec, format, &f->set, &err), code);
	assert_null(f->set.sources);
	if (!strstr(err.msg, text))
		fail_msg("'%s' is not in: %s", text, err.msg);
}

static void test_open__names_of_formats(void **state)
{
	(void)state;
	assert_string_equal(source_format_names(), "raw, vhd, xva, nbd, qcow2, vmdk, vhdx, vdi, qed, parallels");
	assert_string_equal(target_format_names(), "raw, vhd, nbd");
	assert_ptr_equal(source_format_names(), source_format_names());
}

static void test_open__detects_by_content_whatever_the_name(void **state)
{
	static const char *const formats[] = {"raw", "vhd", "qcow2", "vmdk", "vhdx", "vdi", "qed", "parallels"};
	struct fixture *f = *state;
	if (!test_has_program("qemu-img") || !test_has_program("qemu-nbd"))
		skip();
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		char command[128];
		snprintf(command, sizeof(command), "rm -f x.raw; qemu-img create -q -f %s x.raw 2M",
			 strcmp(formats[i], "vhd") == 0 ? "vpc" : formats[i]);
		run(f, command);
		expect_format(f, "x.raw", /* given= */ NULL, formats[i]);
		expect_format(f, "x.raw", /* given= */ "raw", "raw");
	}
}

static void test_open__detected_image_pulls_in_no_other_file(void **state)
{
	struct fixture *f = *state;
	if (!test_has_program("qemu-img") || !test_has_program("qemu-nbd"))
		skip();
	run(f, "truncate -s 2M secret && qemu-img create -q -f qcow2 -b secret -F raw guest.raw");
	expect_source_error(f, path_of(f, "guest.raw"), /* format= */ NULL, ERR_UNSUPPORTED, "names 'secret'");
	expect_format(f, "guest.raw", "qcow2", "qcow2");
	expect_format(f, "guest.raw", "raw", "raw");
}

static void test_open__what_makes_no_sense_is_refused(void **state)
{
	struct fixture *f = *state;
	expect_source_error(f, "", NULL, ERR_INVALID, "the name of a disk is empty");
	expect_source_error(f, "x", "floppy", ERR_INVALID, "there is no format 'floppy'; known are raw, vhd, xva");
	expect_source_error(f, "-", "raw", ERR_UNSUPPORTED, "standard input is read as xva only");
	expect_source_error(f, "http://host/x", NULL, ERR_UNSUPPORTED,
			    "'http://host/x' is no address that can be read");
	expect_source_error(f, "nbd+vsock:///", "nbd", ERR_UNSUPPORTED, "is no address that can be read");
	expect_source_error(f, "nbd://127.0.0.1:1/", "qcow2", ERR_UNSUPPORTED, "is read as it is");
	expect_source_error(f, "nbd://127.0.0.1:1/", NULL, ERR_NET, "Connection refused");
	expect_source_error(f, path_of(f, "x"), "nbd", ERR_INVALID, "is not an nbd address");
	expect_source_error(f, path_of(f, "gone"), NULL, ERR_NOT_FOUND, "gone");
	expect_source_error(f, path_of(f, "gone"), "raw", ERR_NOT_FOUND, "gone");
	expect_source_error(f, f->directory, NULL, ERR_INVALID, "is neither a file");
}

static void expect_target_error(struct fixture *f, const char *spec, const char *format, enum err_code code,
				const char *text)
{
	const struct target_options options = {.format = format};
	struct err err = {0};
	assert_int_equal(target_open(spec, &options, "disk", DISK_SIZE, &f->target, &err), code);
	assert_null(f->target);
	if (!strstr(err.msg, text))
		fail_msg("'%s' is not in: %s", text, err.msg);
}

static void test_target__what_makes_no_sense_is_refused(void **state)
{
	struct fixture *f = *state;
	expect_target_error(f, "", NULL, ERR_INVALID, "the name of the target is empty");
	expect_target_error(f, "x", "floppy", ERR_INVALID,
			    "there is no target format 'floppy'; known are raw, vhd, nbd");
	expect_target_error(f, "-", "vhd", ERR_UNSUPPORTED, "standard output can be written as raw only");
	expect_target_error(f, "x", "nbd", ERR_UNSUPPORTED, "cannot be written in format nbd");
	expect_target_error(f, "nbd://127.0.0.1:1/", "vhd", ERR_UNSUPPORTED, "cannot be written in format vhd");
	expect_target_error(f, "ssh://host/x", NULL, ERR_UNSUPPORTED, "is no address that can be written");
	expect_target_error(f, "nbd://127.0.0.1:1/", NULL, ERR_NET, "Connection refused");
}

static void test_target__path_is_raw_unless_told_otherwise(void **state)
{
	static const struct {
		const char *given;
		const char *format;
	} cases[] = {{NULL, "raw"}, {"raw", "raw"}, {"vhd", "vhd"}};
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct target_options options = {.format = cases[i].given};
		struct err err = {0};
		if (target_open(path_of(f, "out"), &options, "disk", DISK_SIZE, &f->target, &err) != ERR_OK)
			fail_msg("%s", err.msg);
		assert_string_equal(f->target->ops->format, cases[i].format);
		assert_int_equal(f->target->size_bytes, DISK_SIZE);
		block_target_close(f->target);
		f->target = NULL;
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_open__names_of_formats),
		TEST(test_open__detects_by_content_whatever_the_name),
		TEST(test_open__detected_image_pulls_in_no_other_file),
		TEST(test_open__what_makes_no_sense_is_refused),
		TEST(test_target__what_makes_no_sense_is_refused),
		TEST(test_target__path_is_raw_unless_told_otherwise),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
