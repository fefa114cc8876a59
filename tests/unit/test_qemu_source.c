/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/size.h"
#include "ingest/formats.h"
#include "ingest/qemu_image.h"
#include "ingest/qemu_source.h"
#include "tests/nbd_server.h"

#include <dirent.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define DISK_SIZE (6 * MIB)

struct fixture {
	char directory[64];
	struct source_set set;
	uint8_t *disk;
	uint8_t *copy;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	test_directory_make(f->directory);
	f->disk = malloc(DISK_SIZE);
	f->copy = malloc(DISK_SIZE);
	fill_noise(f->disk, DISK_SIZE, 7);
	memset(f->disk + MIB, 0, 4 * MIB);
	char path[128];
	snprintf(path, sizeof(path), "%s/disk.raw", f->directory);
	write_file(path, f->disk, DISK_SIZE);
	/* qemu-nbd's socket goes here, so that a test can see it come and go. */
	setenv("XDG_RUNTIME_DIR", f->directory, /* overwrite= */ 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	source_set_release(&f->set);
	test_directory_remove(f->directory);
	free(f->disk);
	free(f->copy);
	free(f);
	return 0;
}

/* Runs a shell command in the fixture's directory. */
__attribute__((format(printf, 2, 3))) static void run(struct fixture *f, const char *format, ...)
{
	char command[1024];
	int n = snprintf(command, sizeof(command), "cd %s && (", f->directory);
	va_list args;
	va_start(args, format);
	n += vsnprintf(command + n, sizeof(command) - (size_t)n, format, args);
	va_end(args);
	snprintf(command + n, sizeof(command) - (size_t)n, ") >/dev/null");
	assert_int_equal(system(command), 0);
}

static const char *path_of(const struct fixture *f, const char *name)
{
	static char path[256];
	snprintf(path, sizeof(path), "%s/%s", f->directory, name);
	return path;
}

static unsigned count_servers(const struct fixture *f)
{
	unsigned count = 0;
	DIR *dir = opendir(f->directory);
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		count += strncmp(entry->d_name, "xenolith-", 9) == 0;
	closedir(dir);
	return count;
}

static void check_image(struct fixture *f, const char *name, const char *format, bool follow)
{
	struct err err = {0};
	uint64_t bytes_read;
	if (qemu_source_open_image(path_of(f, name), format, follow, &f->set, &err) != ERR_OK)
		fail_msg("%s: %s", name, err.msg);
	struct block_source *source = f->set.sources[0];
	assert_string_equal(source->ops->format, format);
	assert_string_equal(source->name, path_of(f, name));
	assert_int_equal(source->size_bytes, DISK_SIZE);
	assert_int_equal(count_servers(f), 1);
	if (read_whole(source, f->copy, &bytes_read, &err) != ERR_OK)
		fail_msg("%s: %s", name, err.msg);
	assert_memory_equal(f->copy, f->disk, DISK_SIZE);
	assert_int_equal(source->ops->finish(source, &err), ERR_OK);
	source_set_release(&f->set);
	assert_int_equal(count_servers(f), 0);
}

static void test_qemu__reads_each_format(void **state)
{
	static const struct {
		const char *format;
		const char *options;
	} cases[] = {
		{"qcow2", "-o compat=1.1"},
		{"qcow2", "-o compat=0.10"},
		{"qcow2", "-c -o compression_type=zstd"},
		{"vmdk", "-o subformat=monolithicSparse"},
		{"vmdk", "-o subformat=monolithicFlat"},
		{"vmdk", "-o subformat=twoGbMaxExtentSparse"},
		{"vmdk", "-o subformat=streamOptimized"},
		{"vhdx", ""},
		{"vhdx", "-o subformat=fixed"},
		{"vdi", ""},
		{"vdi", "-o static=on"},
		{"qed", ""},
		{"parallels", ""},
	};
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		run(f, "rm -f image*; qemu-img convert -f raw -O %s %s disk.raw image", cases[i].format,
		    cases[i].options);
		check_image(f, "image", cases[i].format, /* follow= */ false);
	}
}

static void test_qemu__skips_holes(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};
	uint64_t bytes_read;
	run(f, "qemu-img convert -f raw -O qcow2 disk.raw image");
	assert_int_equal(qemu_source_open(path_of(f, "image"), "qcow2", &f->set, &err), ERR_OK);
	assert_int_equal(read_whole(f->set.sources[0], f->copy, &bytes_read, &err), ERR_OK);
	assert_int_equal(bytes_read, 2 * MIB);
}

static void test_qemu__follows_a_chain_only_when_told(void **state)
{
	struct fixture *f = *state;
	run(f,
	    "qemu-img convert -f raw -O qcow2 disk.raw base && qemu-img create -q -f qcow2 -b base -F qcow2 middle && "
	    "qemu-img create -q -f qcow2 -b middle -F qcow2 top");
	check_image(f, "top", "qcow2", /* follow= */ true);
	struct err err = {0};
	assert_int_equal(qemu_source_open_image(path_of(f, "top"), "qcow2", /* follow= */ false, &f->set, &err),
			 ERR_UNSUPPORTED);
	assert_non_null(strstr(err.msg,
			       "names 'middle' as its backing file; if that is meant to be read, give --format qcow2"));
	run(f, "qemu-img create -q -f qcow2 -b disk.raw -F raw over");
	check_image(f, "over", "qcow2", /* follow= */ true);
}

static void expect_refusal(struct fixture *f, const char *name, const char *format, enum err_code code,
			   const char *text)
{
	struct err err = {0};
	assert_int_equal(qemu_source_open(path_of(f, name), format, &f->set, &err), code);
	assert_null(f->set.sources);
	assert_int_equal(count_servers(f), 0);
	if (!strstr(err.msg, text))
		fail_msg("'%s' is not in: %s", text, err.msg);
}

static void test_qemu__files_elsewhere_are_refused(void **state)
{
	struct fixture *f = *state;
	run(f, "mkdir other && cp disk.raw other/ && ln -s other/disk.raw link && cp /etc/passwd other/passwd");
	run(f, "qemu-img create -q -u -f qcow2 -b /etc/passwd -F raw evil 6M");
	expect_refusal(f, "evil", "qcow2", ERR_UNSUPPORTED,
		       "names '/etc/passwd' as its backing file, which lies in another");
	run(f, "qemu-img create -q -u -f qcow2 -b other/../other/disk.raw -F raw evil 6M");
	expect_refusal(f, "evil", "qcow2", ERR_UNSUPPORTED, "which lies in another directory");
	run(f, "qemu-img create -q -u -f qcow2 -b link -F raw evil 6M");
	expect_refusal(f, "evil", "qcow2", ERR_UNSUPPORTED, "which lies in another directory");
	run(f, "qemu-img create -q -u -f qcow2 -b nbd://127.0.0.1:1/ -F raw evil 6M");
	expect_refusal(f, "evil", "qcow2", ERR_UNSUPPORTED, "names 'nbd://127.0.0.1:1/' as its backing file");
	run(f, "qemu-img create -q -u -f qcow2 -b 'json:{\"driver\":\"file\",\"filename\":\"/etc/passwd\"}' -F raw "
	       "evil 6M");
	expect_refusal(f, "evil", "qcow2", ERR_UNSUPPORTED, "which is not a file");
	run(f, "qemu-img create -q -u -f qcow2 -b gone -F raw evil 6M");
	expect_refusal(f, "evil", "qcow2", ERR_NOT_FOUND, "gone");
	run(f, "qemu-img create -q -f qcow2 -b evil -F qcow2 -u outer 6M");
	expect_refusal(f, "outer", "qcow2", ERR_NOT_FOUND, "gone");
}

static void test_qemu__backing_file_without_format_is_refused(void **state)
{
	struct fixture *f = *state;
	run(f, "qemu-img create -q -f qcow2 -b disk.raw -F raw evil");
	/* The header extension with the backing format (0xe2792aca) becomes an unknown one. */
	run(f, "/usr/bin/python3 -c \"d = open('evil', 'rb').read(); "
	       "open('evil', 'wb').write(d.replace(bytes.fromhex('e2792aca'), bytes.fromhex('11111111'), 1))\"");
	expect_refusal(f, "evil", "qcow2", ERR_UNSUPPORTED,
		       "does not say which format its backing file 'disk.raw' has");
}

static void test_qemu__loops_and_external_data_are_refused(void **state)
{
	struct fixture *f = *state;
	run(f, "qemu-img create -q -f qcow2 -o data_file=data.raw evil 6M");
	expect_refusal(f, "evil", "qcow2", ERR_UNSUPPORTED, "keeps its data in an external file");
	run(f,
	    "qemu-img create -q -u -f qcow2 -b b -F qcow2 a 6M && qemu-img create -q -u -f qcow2 -b a -F qcow2 b 6M");
	expect_refusal(f, "a", "qcow2", ERR_LIMIT, "or a loop");
}

static void test_qemu__vmdk_extents_elsewhere_are_refused(void **state)
{
	static const char *const names[] = {"/etc/passwd", "../x", "nbd://127.0.0.1/", "json:{}"};
	struct fixture *f = *state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		run(f,
		    "printf '# Disk DescriptorFile\\nversion=1\\nCID=11111111\\nparentCID=ffffffff\\n"
		    "createType=\"monolithicFlat\"\\n  RW 8 FLAT \"%s\" 0\\n' >evil",
		    names[i]);
		expect_refusal(f, "evil", "vmdk", ERR_UNSUPPORTED,
			       "as an extent, which does not lie in its own directory");
	}
	run(f, "ln -s /etc/passwd link");
	run(f, "printf '# Disk DescriptorFile\\nversion=1\\nCID=11111111\\nparentCID=ffffffff\\n"
	       "createType=\"monolithicFlat\"\\nRW 8 FLAT \"link\" 0\\n' >evil");
	expect_refusal(f, "evil", "vmdk", ERR_UNSUPPORTED, "lies in another directory");
}

static void test_qemu__damaged_images_are_refused(void **state)
{
	struct fixture *f = *state;
	run(f, "head -c 100000 /dev/zero >evil");
	expect_refusal(f, "evil", "qcow2", ERR_CORRUPT, "cannot be read as qcow2: qemu-img: ");
	expect_refusal(f, "evil", "vhdx", ERR_CORRUPT, "cannot be read as vhdx");
	expect_refusal(f, "gone", "qcow2", ERR_NOT_FOUND, "cannot open");
	expect_refusal(f, ".", "qcow2", ERR_UNSUPPORTED, "is not a regular file");
	/* A header that asks for more memory than any image needs. */
	run(f, "qemu-img create -q -f qcow2 evil 6M");
	run(f, "printf '\\x7f\\xff\\xff\\xff' | dd of=evil bs=1 seek=36 conv=notrunc status=none");
	expect_refusal(f, "evil", "qcow2", ERR_CORRUPT, "cannot be read as qcow2");
}

static void test_qemu__absent_programs_are_named(void **state)
{
	struct fixture *f = *state;
	char *path = strdup(getenv("PATH"));
	run(f, "qemu-img create -q -f qcow2 image 6M && mkdir bin");
	setenv("PATH", path_of(f, "bin"), /* overwrite= */ 1);
	struct err err = {0};
	enum err_code first = qemu_source_open(path_of(f, "image"), "qcow2", &f->set, &err);
	char only_info[128];
	snprintf(only_info, sizeof(only_info), "%s/bin/qemu-img", f->directory);
	(void)!symlink("/usr/bin/qemu-img", only_info);
	struct err other = {0};
	enum err_code second = qemu_source_open(path_of(f, "image"), "qcow2", &f->set, &other);
	setenv("PATH", path, /* overwrite= */ 1);
	free(path);
	assert_int_equal(first, ERR_UNSUPPORTED);
	assert_non_null(strstr(err.msg, "qemu-img is absent; install qemu-utils"));
	assert_int_equal(second, ERR_UNSUPPORTED);
	assert_non_null(strstr(other.msg, "qemu-nbd is absent; install qemu-utils"));
	assert_int_equal(count_servers(f), 0);
}

static void test_qemu__server_that_fails_is_quoted(void **state)
{
	struct fixture *f = *state;
	char *path = strdup(getenv("PATH"));
	run(f, "qemu-img create -q -f qcow2 image 6M && mkdir bin && ln -s /usr/bin/qemu-img bin/ && "
	       "printf '#!/bin/sh\\necho noise >&2\\necho \"the reason\" >&2\\nexit 3\\n' >bin/qemu-nbd && chmod +x "
	       "bin/qemu-nbd");
	setenv("PATH", path_of(f, "bin"), /* overwrite= */ 1);
	struct err err = {0};
	enum err_code code = qemu_source_open(path_of(f, "image"), "qcow2", &f->set, &err);
	setenv("PATH", path, /* overwrite= */ 1);
	free(path);
	assert_int_equal(code, ERR_UNSUPPORTED);
	assert_non_null(strstr(err.msg, "as qcow2: the reason"));
	assert_int_equal(count_servers(f), 0);
}

/* True if somebody listens on the socket of the one server whose directory is in the fixture's. */
static bool server_listens(const struct fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	DIR *dir = opendir(f->directory);
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		if (strncmp(entry->d_name, "xenolith-", 9) == 0)
			snprintf(address.sun_path, sizeof(address.sun_path), "%s/%.32s/s", f->directory, entry->d_name);
	closedir(dir);
	assert_true(address.sun_path[0] == '/');
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	int result = connect(fd, (const struct sockaddr *)&address, sizeof(address));
	close(fd);
	return result == 0;
}

static void test_qemu__server_dies_with_us(void **state)
{
	struct fixture *f = *state;
	int ready[2];
	char byte = 0;
	run(f, "qemu-img create -q -f qcow2 image 6M");
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (qemu_source_open(path_of(f, "image"), "qcow2", &f->set, NULL) == ERR_OK)
			(void)!write(ready[1], "y", 1);
		pause();
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	assert_true(server_listens(f));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	uint64_t deadline_ns = clock_mono_ns() + UINT64_C(30000000000);
	while (server_listens(f)) {
		assert_true(clock_mono_ns() < deadline_ns);
		usleep(1000);
	}
}

static void test_vmdk__extents_are_found(void **state)
{
	static const char text[] = "RW 1 FLAT \"one\" 0\nx RW 1 FLAT \"not\"\n\v\tRDONLY\t5\nSPARSE\r\"t/w\"o\"\n"
				   "RWX 1 \"not\"\nNOACCESS 9 FLAT \"three\nRW 9 ZERO\n";
	static const char *const names[] = {"one", "t/w", "three"};
	size_t position = 0;
	char name[8];
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_true(vmdk_next_extent(text, sizeof(text) - 1, &position, name, sizeof(name)));
		assert_string_equal(name, names[i]);
	}
	assert_false(vmdk_next_extent(text, sizeof(text) - 1, &position, name, sizeof(name)));
	/* Every cut is read within its bounds. */
	for (size_t length = 0; length < sizeof(text); length++) {
		char *cut = malloc(length + 1);
		memcpy(cut, text, length);
		position = 0;
		while (vmdk_next_extent(cut, length, &position, name, sizeof(name)))
			assert_true(position <= length);
		free(cut);
	}
}

int main(void)
{
	if (!test_has_program("qemu-nbd") || !test_has_program("qemu-img"))
		return test_skip("qemu-utils is not installed");
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_qemu__reads_each_format),
		TEST(test_qemu__skips_holes),
		TEST(test_qemu__follows_a_chain_only_when_told),
		TEST(test_qemu__files_elsewhere_are_refused),
		TEST(test_qemu__backing_file_without_format_is_refused),
		TEST(test_qemu__loops_and_external_data_are_refused),
		TEST(test_qemu__vmdk_extents_elsewhere_are_refused),
		TEST(test_qemu__damaged_images_are_refused),
		TEST(test_qemu__absent_programs_are_named),
		TEST(test_qemu__server_that_fails_is_quoted),
		TEST(test_qemu__server_dies_with_us),
		cmocka_unit_test(test_vmdk__extents_are_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
