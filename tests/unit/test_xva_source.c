/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/xva.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/xva_fixture.h"

#define M 1048576u

/* Data on both sides of a leaf's end, a hole over more than a leaf, and a last chunk of 300,001 bytes. */
static const size_t wide_ranges[][2] = {
	{0, 100}, {5 * M + 1000, 5 * M + 70000}, {7 * M, 9 * M}, {22 * M, 22 * M + 1}, {0, 0}};
#define WIDE_SIZE (23 * M + 300001)

static const size_t small_ranges[][2] = {{0, 20000}, {0, 0}};

/* Opens FILE of the fixture, reads everything, and compares the disks. */
static void assert_reads(const struct fixture *f, const char *file, const struct bytes *disks, size_t count)
{
	char path[256];
	struct source_set set = {0};
	struct err err = {0};
	struct bytes got[4] = {0};
	if (xva_source_open(-1, fixture_path(f, file, path), &set, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	assert_int_equal(set.count, count);
	if (read_set(&set, got, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(got[i].length, disks[i].length);
		assert_memory_equal(got[i].data, disks[i].data, got[i].length);
		free(got[i].data);
	}
	release_set(&set);
}

static void assert_fails(const struct bytes *xva, const char *message)
{
	struct err err = {0};
	assert_int_equal(read_memory(xva->data, xva->length, &err), ERR_CORRUPT);
	if (!strstr(err.msg, message))
		fail_msg("'%s' does not say '%s'", err.msg, message);
}

/* Makes an XVA with the given arguments and expects that reading it fails. */
#define ASSERT_MADE_FAILS(f, message, ...)                    \
	do {                                                  \
		MAKE_XVA(f, "x.xva", __VA_ARGS__);            \
		struct bytes xva_ = fixture_read(f, "x.xva"); \
		assert_fails(&xva_, message);                 \
		free(xva_.data);                              \
	} while (0)

static void test_xva_source__reads_both_checksum_forms_in_all_codings(void **state)
{
	const struct fixture *f = *state;
	struct bytes disk = fixture_disk(f, "a", WIDE_SIZE, wide_ranges);
	static const char *forms[] = {"xxhash", "sha1"}, *codings[] = {"none", "gzip", "zstd"};
	for (size_t i = 0; i < 6; i++) {
		MAKE_XVA(f, "x.xva", "--disk", "a", "--checksum", forms[i / 3], "--compress", codings[i % 3],
			 "--frames", i < 3 ? "1" : "5");
		assert_reads(f, "x.xva", &disk, 1);
	}
	free(disk.data);
}

static void test_xva_source__follows_the_cursor_over_keepalives(void **state)
{
	const struct fixture *f = *state;
	struct bytes disk = fixture_disk(f, "a", WIDE_SIZE, wide_ranges);
	MAKE_XVA(f, "x.xva", "--disk", "a,ref=1", "--keepalive", "Ref:1/3", "--keepalive", "Ref:1/12", "--keepalive",
		 "Ref:1/15", "--keepalive", "Ref:1/15");
	assert_reads(f, "x.xva", &disk, 1);
	free(disk.data);
}

static void test_xva_source__reads_any_chunk_size(void **state)
{
	const struct fixture *f = *state;
	struct bytes disk = fixture_disk(f, "a", WIDE_SIZE, wide_ranges);
	static const char *sizes[] = {"65536", "1000003", "3145728", "12582912"};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		MAKE_XVA(f, "x.xva", "--disk", "a,ref=1", "--chunk", sizes[i], "--keepalive", "Ref:1/1");
		assert_reads(f, "x.xva", &disk, 1);
	}
	free(disk.data);
}

static void test_xva_source__reads_zero_chunks_padding_and_old_headers(void **state)
{
	const struct fixture *f = *state;
	struct bytes disk = fixture_disk(f, "a", WIDE_SIZE, wide_ranges);
	MAKE_XVA(f, "x.xva", "--disk", "a", "--no-gaps", "--pad-last", "--old-headers", "--end-padding", "9216");
	assert_reads(f, "x.xva", &disk, 1);
	free(disk.data);
}

static void test_xva_source__gives_disks_in_stream_order_with_name_and_uuid(void **state)
{
	const struct fixture *f = *state;
	const char *text = "01234567-89ab-cdef-0123-456789abcdef";
	struct bytes disks[] = {fixture_disk(f, "ten", 2 * M, wide_ranges + 4),
				fixture_disk(f, "two", 3 * M + 5, small_ranges),
				fixture_disk(f, "mem", 70000, small_ranges)};
	MAKE_XVA(f, "x.xva", "--disk", "two,ref=2,name=root", "--disk",
		 "ten,ref=10,name=data,uuid=01234567-89ab-cdef-0123-456789abcdef", "--disk",
		 "mem,ref=33,type=suspend,name=memory", "--cd");
	char path[256], uuid[UUID_TEXT_SIZE];
	struct source_set set = {0};
	struct err err = {0};
	assert_int_equal(xva_source_open(-1, fixture_path(f, "x.xva", path), &set, &err), ERR_OK);
	assert_int_equal(set.count, 3);
	static const char *names[] = {"data", "root", "memory"};
	for (size_t i = 0; i < 3; i++) {
		assert_string_equal(set.sources[i]->name, names[i]);
		assert_string_equal(set.sources[i]->ops->format, "xva");
		assert_int_equal(set.sources[i]->size_bytes, disks[i].length);
		assert_non_null(set.sources[i]->sequence);
		assert_ptr_equal(set.sources[i]->sequence, set.sources[0]->sequence);
	}
	assert_string_equal(uuid_format(&set.sources[0]->uuid, uuid), text);
	assert_int_equal(set.document_count, 1);
	assert_string_equal(set.documents[0].name, "ova.xml");
	assert_non_null(memmem(set.documents[0].data, set.documents[0].length, "<name>objects</name>", 20));
	release_set(&set);
	assert_reads(f, "x.xva", disks, 3);
	for (size_t i = 0; i < 3; i++)
		free(disks[i].data);
}

static void test_xva_source__small_first_disk_does_not_set_the_chunk_size(void **state)
{
	const struct fixture *f = *state;
	struct bytes disks[] = {fixture_disk(f, "tiny", 5000, (const size_t[][2]){{0, 5000}, {0, 0}}),
				fixture_disk(f, "wide", WIDE_SIZE, wide_ranges)};
	MAKE_XVA(f, "x.xva", "--disk", "tiny,ref=1", "--disk", "wide,ref=2");
	assert_reads(f, "x.xva", disks, 2);
	free(disks[0].data);
	free(disks[1].data);
}

/* Feeds a file through a pipe, in pieces of odd size, from a child. */
static pid_t feed(const struct bytes *b, int *ret_fd)
{
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(ends[0]);
		for (size_t at = 0, n; at < b->length; at += n) {
			n = b->length - at < 100001 ? b->length - at : 100001;
			if (write(ends[1], b->data + at, n) != (ssize_t)n)
				_exit(1);
		}
		_exit(0);
	}
	close(ends[1]);
	*ret_fd = ends[0];
	return pid;
}

static void test_xva_source__reads_pipes(void **state)
{
	const struct fixture *f = *state;
	struct bytes disk = fixture_disk(f, "a", WIDE_SIZE, wide_ranges);
	static const char *codings[] = {"none", "gzip"};
	for (size_t i = 0; i < 2; i++) {
		MAKE_XVA(f, "x.xva", "--disk", "a", "--compress", codings[i]);
		struct bytes xva = fixture_read(f, "x.xva"), got = {0};
		struct source_set set = {0};
		struct err err = {0};
		int fd = -1, status = 0;
		pid_t pid = feed(&xva, &fd);
		enum err_code code = xva_source_open(fd, "standard input", &set, &err);
		if (code == ERR_OK)
			code = read_set(&set, &got, &err);
		release_set(&set);
		assert_int_equal(close(fd), 0); /* still the caller's */
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (code != ERR_OK)
			fail_msg("%s", err.msg);
		assert_int_equal(status, 0);
		assert_memory_equal(got.data, disk.data, disk.length);
		free(got.data);
		free(xva.data);
	}
	free(disk.data);
}

static void test_xva_source__notices_every_truncation(void **state)
{
	const struct fixture *f = *state;
	struct bytes disks[] = {fixture_disk(f, "a", 20000, small_ranges),
				fixture_disk(f, "b", 9000, small_ranges + 1)};
	static const char *codings[] = {"none", "gzip", "zstd"};
	for (size_t i = 0; i < 3; i++) {
		MAKE_XVA(f, "x.xva", "--disk", "a,ref=1", "--disk", "b,ref=2", "--chunk", "8192", "--compress",
			 codings[i], "--frames", "2");
		struct bytes xva = fixture_read(f, "x.xva");
		struct err whole = {0};
		assert_int_equal(read_memory(xva.data, xva.length, &whole), ERR_OK);
		/* Every record boundary and odd places between them. */
		for (size_t n = 0; n < xva.length; n += n % 512 == 0 ? 1 : n % 512 == 1 ? 255 : 256) {
			struct err err = {0};
			/* A cut on a record boundary or next to it; a copy of exact size lets ASan see reads past the
			 * end. */
			uint8_t *cut = malloc(n ? n : 1);
			memcpy(cut, xva.data, n);
			assert_int_equal(read_memory(cut, n, &err), ERR_CORRUPT);
			assert_true(strlen(err.msg) > 20);
			free(cut);
		}
		free(xva.data);
	}
	free(disks[0].data);
	free(disks[1].data);
}

static void test_xva_source__says_where_a_truncated_stream_ends(void **state)
{
	const struct fixture *f = *state;
	struct bytes disk = fixture_disk(f, "a", 20000, small_ranges);
	MAKE_XVA(f, "x.xva", "--disk", "a,ref=1,name=root", "--chunk", "8192", "--marks", "marks");
	struct bytes xva = fixture_read(f, "x.xva"), marks = fixture_read(f, "marks");
	marks.data[marks.length] = '\0';
	static const struct {
		const char *mark;
		size_t after;
		const char *message;
	} cases[] = {
		{"data of ova.xml", 10, "is truncated: it ends in the middle of ova.xml"},
		{"header of Ref:1/00000000\n", 0, "in the middle of the rest of disk 'root' (Ref:1)"},
		{"header of Ref:1/00000001\n", 100, "in the middle of the rest of disk 'root' (Ref:1)"},
		{"data of Ref:1/00000001\n", 100, "in the middle of Ref:1/00000001"},
		{"header of Ref:1/00000001.xxhash\n", 7, "in the middle of the checksum of a chunk"},
		{"data of Ref:1/00000001.xxhash\n", 7, "in the middle of Ref:1/00000001.xxhash"},
		{" end\n", 0, "in the middle of the end of the archive"},
		{" end\n", 512, "in the middle of the end mark"},
		{" end\n", 1023, "in the middle of the end mark"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *found = strstr((char *)marks.data, cases[i].mark);
		assert_non_null(found);
		while (found > (char *)marks.data && found[-1] != '\n')
			found--;
		struct bytes cut = {xva.data, strtoul(found, NULL, 10) + cases[i].after};
		assert_fails(&cut, cases[i].message);
	}
	free(disk.data);
	free(xva.data);
	free(marks.data);
}

static void test_xva_source__notices_every_flipped_byte_of_data(void **state)
{
	const struct fixture *f = *state;
	struct bytes disk = fixture_disk(f, "a", 20000, small_ranges);
	static const char *forms[] = {"xxhash", "sha1"};
	for (size_t i = 0; i < 2; i++) {
		MAKE_XVA(f, "x.xva", "--disk", "a,ref=1,name=root", "--chunk", "8192", "--checksum", forms[i]);
		struct bytes xva = fixture_read(f, "x.xva");
		const uint8_t *start = memmem(xva.data, xva.length, disk.data, 100);
		assert_non_null(start);
		/* The first chunk, its checksum member, the next chunk's first bytes; every 13th byte is enough of
		 * each. */
		size_t from = (size_t)(start - xva.data);
		for (size_t at = from; at < from + 8192; at += 13) {
			struct err err = {0};
			xva.data[at] ^= 0x40;
			assert_int_equal(read_memory(xva.data, xva.length, &err), ERR_CORRUPT);
			assert_non_null(strstr(err.msg,
					       "the data of 'Ref:1/00000000' does not match its checksum (disk 'root', "
					       "bytes 0 to 8192)"));
			xva.data[at] ^= 0x40;
		}
		free(xva.data);
	}
	free(disk.data);
}

static void test_xva_source__refuses_wrong_checksums(void **state)
{
	const struct fixture *f = *state;
	struct bytes disk = fixture_disk(f, "a", 20000, small_ranges);
	ASSERT_MADE_FAILS(f,
			  "'test.xva': the data of 'Ref:1/00000001' does not match its checksum (disk 'root', bytes "
			  "8192 to 16384)",
			  "--disk", "a,ref=1,name=root", "--chunk", "8192", "--bad-checksum", "Ref:1/00000001");
	ASSERT_MADE_FAILS(f, "'Ref:1/00000001' has no checksum, although earlier chunks have one", "--disk", "a,ref=1",
			  "--chunk", "8192", "--no-checksum", "Ref:1/00000001");
	free(disk.data);
}

static void test_xva_source__refuses_checksums_that_begin_late(void **state)
{
	const struct fixture *f = *state;
	struct bytes disk = fixture_disk(f, "a", 20000, small_ranges);
	ASSERT_MADE_FAILS(f, "'Ref:1/00000001' has another kind of checksum", "--disk", "a,ref=1", "--chunk", "8192",
			  "--no-checksum", "Ref:1/00000000");
	free(disk.data);
}

static void test_xva_source__accepts_ancient_exports_with_a_notice(void **state)
{
	const struct fixture *f = *state;
	struct bytes disk = fixture_disk(f, "a", 20000, small_ranges);
	MAKE_XVA(f, "x.xva", "--disk", "a", "--checksum", "none", "--export-vsn", "0", "--old-list");
	struct bytes xva = fixture_read(f, "x.xva"), got = {0};
	struct stream *stream = NULL;
	struct source_set set = {0};
	struct err err = {0};
	assert_int_equal(stream_open_memory(xva.data, xva.length, "old.xva", &stream, &err), ERR_OK);
	assert_int_equal(xva_source_from_stream(stream, "old.xva", &set, &err), ERR_OK);
	assert_false(set.sources[0]->notice_set);
	assert_int_equal(read_set(&set, &got, &err), ERR_OK);
	assert_true(set.sources[0]->notice_set);
	assert_non_null(strstr(set.sources[0]->notice, "no checksums"));
	assert_memory_equal(got.data, disk.data, disk.length);
	release_set(&set);
	free(got.data);
	free(xva.data);
	ASSERT_MADE_FAILS(f, "has 'checksum.xml' where the end of the archive has to follow", "--disk", "a",
			  "--old-list");
	free(disk.data);
}

static void test_xva_source__refuses_members_out_of_place(void **state)
{
	const struct fixture *f = *state;
	struct bytes a = fixture_disk(f, "a", 20000, small_ranges), b = fixture_disk(f, "b", 9000, small_ranges);
	ASSERT_MADE_FAILS(f, "has 'Ref:2/00000000' where the rest of disk 'disk 0' (Ref:1) has to follow", "--disk",
			  "a,ref=1", "--disk", "b,ref=2", "--order", "reverse");
	ASSERT_MADE_FAILS(f, "has 'Ref:2/00000000' where the rest of disk 'disk 0' (Ref:1) has to follow", "--disk",
			  "a,ref=1", "--disk", "b,ref=2", "--leave-out-disk", "Ref:1");
	ASSERT_MADE_FAILS(f, "ends before the rest of disk 'disk 1' (Ref:2)", "--disk", "a,ref=1", "--disk", "b,ref=2",
			  "--leave-out-disk", "Ref:2");
	ASSERT_MADE_FAILS(f, "the first chunk of disk 'disk 0' is missing", "--disk", "a,ref=1", "--chunk", "8192",
			  "--leave-out", "Ref:1/00000000");
	ASSERT_MADE_FAILS(f, "ends before the rest of disk 'disk 0' (Ref:1)", "--disk", "a,ref=1", "--chunk", "8192",
			  "--leave-out", "Ref:1/00000002");
	ASSERT_MADE_FAILS(f, "has 'other' where the end of the archive has to follow", "--disk", "a,ref=1", "--extra",
			  "other");
	ASSERT_MADE_FAILS(f, "has 'Ref:1/00000001' where the end of the archive has to follow", "--disk", "a,ref=1",
			  "--extra", "Ref:1/00000001");
	free(a.data);
	free(b.data);
}

static void test_xva_source__refuses_data_beyond_the_disk(void **state)
{
	const struct fixture *f = *state;
	struct bytes a = fixture_disk(f, "a", 20000, small_ranges),
		     big = fixture_disk(f, "big", 20000000, small_ranges);
	ASSERT_MADE_FAILS(f, "'Ref:1/00000002' has data beyond the size of disk 'disk 0' (20000 bytes)", "--disk",
			  "a,ref=1", "--chunk", "8192", "--pad-last", "ones");
	ASSERT_MADE_FAILS(f, "has 'Ref:1/00000002' where the end of the archive has to follow", "--disk", "a,ref=1",
			  "--chunk", "8192", "--lie-size", "16384");
	ASSERT_MADE_FAILS(f, "ends before the rest of disk", "--disk", "a,ref=1", "--chunk", "8192", "--lie-size",
			  "30000");
	ASSERT_MADE_FAILS(f, "'Ref:1/00000000' has 20000000 bytes; a chunk has at most 16777216", "--disk", "big,ref=1",
			  "--chunk", "20000000");
	free(big.data);
	free(a.data);
}

static void test_xva_source__refuses_chunks_far_beyond_the_disk(void **state)
{
	const struct fixture *f = *state;
	fixture_write(f, "long", (uint8_t[100000]){1, [99999] = 1}, 100000);
	ASSERT_MADE_FAILS(f, "'Ref:1/00000012' lies beyond the size of disk 'disk 0' (30000 bytes)", "--disk",
			  "long,ref=1", "--chunk", "8192", "--lie-size", "30000");
}

static void test_xva_source__refuses_what_follows_the_end(void **state)
{
	const struct fixture *f = *state;
	struct bytes a = fixture_disk(f, "a", 20000, small_ranges);
	MAKE_XVA(f, "x.xva", "--disk", "a", "--end-padding", "4096");
	struct bytes xva = fixture_read(f, "x.xva");
	xva.data[xva.length - 1] = 1;
	assert_fails(&xva, "has other data after the end of the archive");
	xva.data[xva.length - 1] = 0;
	xva.data[xva.length - 4096 - 512] = 1;
	assert_fails(&xva, "has other data after the end of the archive");
	free(xva.data);
	free(a.data);
}

static void test_xva_source__refuses_damaged_compression(void **state)
{
	const struct fixture *f = *state;
	struct bytes a = fixture_disk(f, "a", 20000, small_ranges);
	static const char *codings[] = {"gzip", "zstd"};
	for (size_t i = 0; i < 2; i++) {
		MAKE_XVA(f, "x.xva", "--disk", "a", "--compress", codings[i]);
		struct bytes xva = fixture_read(f, "x.xva");
		/* The last four bytes are the length (gzip) or part of the checksum (zstd). */
		xva.data[xva.length - 1] ^= 1;
		assert_fails(&xva, "stream of 'test.xva' is damaged after");
		xva.data[xva.length - 1] ^= 1;
		struct bytes longer = {.data = calloc(1, xva.length + 600), .length = xva.length + 600};
		memcpy(longer.data, xva.data, xva.length);
		struct err err = {0};
		assert_int_equal(read_memory(longer.data, longer.length, &err), ERR_OK);
		longer.data[longer.length - 1] = 7;
		assert_fails(&longer, "has other bytes after the end of its");
		free(longer.data);
		free(xva.data);
	}
	free(a.data);
}

static void test_xva_source__refuses_what_is_no_xva(void **state)
{
	const struct fixture *f = *state;
	struct bytes noise = {.data = malloc(5000), .length = 5000};
	fill(noise.data, noise.length, 5);
	assert_fails(&noise, "'test.xva' is no XVA: it does not begin like a tar archive");
	noise.length = 0;
	assert_fails(&noise, "'test.xva' is no XVA");
	free(noise.data);
	fixture_write(f, "doc", "<value>", 7);
	ASSERT_MADE_FAILS(f, "'test.xva': ova.xml is not well-formed: line 1: ", "--ova-xml", "doc");
	char path[256];
	struct source_set set = {0};
	struct err err = {0};
	assert_int_equal(xva_source_open(-1, fixture_path(f, "absent", path), &set, &err), ERR_NOT_FOUND);
	assert_non_null(strstr(err.msg, "absent"));
	err = (struct err){0};
	assert_int_equal(xva_source_open(-1, f->dir, &set, &err), ERR_INVALID);
	assert_non_null(strstr(err.msg, "is a directory"));
}

static void test_xva_source__without_disks_gives_the_document(void **state)
{
	const struct fixture *f = *state;
	MAKE_XVA(f, "x.xva", "--cd");
	assert_reads(f, "x.xva", NULL, 0);
	ASSERT_MADE_FAILS(f, "is truncated", "--cd", "--truncate", "-1");
}

/* Two disks, of which the test reads the second only. */
static enum err_code read_second(const struct bytes *xva, bool close_first, struct bytes *ret, struct err *err)
{
	struct stream *stream = NULL;
	struct source_set set = {0};
	assert_int_equal(stream_open_memory(xva->data, xva->length, "test.xva", &stream, err), ERR_OK);
	assert_int_equal(xva_source_from_stream(stream, "test.xva", &set, err), ERR_OK);
	struct block_source *first = set.sources[0], *second = set.sources[1];
	if (close_first)
		block_source_close(first);
	*ret = (struct bytes){malloc(second->size_bytes), second->size_bytes};
	enum err_code code = read_source(second, ret->data, err);
	if (code == ERR_OK)
		code = second->ops->finish(second, err);
	/* The owner goes first: the sources keep what they need. */
	set.release(set.owner);
	block_source_close(second);
	if (!close_first)
		block_source_close(first);
	free(set.documents[0].data);
	free(set.documents);
	free(set.sources);
	return code;
}

static void test_xva_source__passes_over_a_disk_that_is_left_out(void **state)
{
	const struct fixture *f = *state;
	struct bytes a = fixture_disk(f, "a", 20000, small_ranges), b = fixture_disk(f, "b", 9000, small_ranges), got;
	MAKE_XVA(f, "x.xva", "--disk", "a,ref=1", "--disk", "b,ref=2");
	struct bytes xva = fixture_read(f, "x.xva");
	struct err err = {0};
	assert_int_equal(read_second(&xva, true, &got, &err), ERR_OK);
	assert_memory_equal(got.data, b.data, b.length);
	free(got.data);
	/* Truncated at the very end: noticed by the last source in use, that is, only if the other one was closed. */
	struct bytes cut = {xva.data, xva.length - 1};
	assert_int_equal(read_second(&cut, true, &got, &err), ERR_CORRUPT);
	free(got.data);
	free(xva.data);
	MAKE_XVA(f, "x.xva", "--disk", "a,ref=1", "--disk", "b,ref=2", "--bad-checksum", "Ref:1/00000000");
	xva = fixture_read(f, "x.xva");
	err = (struct err){0};
	assert_int_equal(read_second(&xva, false, &got, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.msg, "Ref:1/00000000"));
	free(got.data);
	free(xva.data);
	free(a.data);
	free(b.data);
}

static void test_xva_source__repeats_its_first_error_and_its_end(void **state)
{
	const struct fixture *f = *state;
	struct bytes a = fixture_disk(f, "a", 20000, small_ranges);
	MAKE_XVA(f, "x.xva", "--disk", "a,ref=1", "--bad-checksum", "Ref:1/00000000");
	struct bytes xva = fixture_read(f, "x.xva");
	struct stream *stream = NULL;
	struct source_set set = {0};
	struct err first = {0}, second = {0}, third = {0};
	assert_int_equal(stream_open_memory(xva.data, xva.length, "test.xva", &stream, &first), ERR_OK);
	assert_int_equal(xva_source_from_stream(stream, "test.xva", &set, &first), ERR_OK);
	uint8_t *disk = malloc(a.length);
	assert_int_equal(read_source(set.sources[0], disk, &first), ERR_CORRUPT);
	assert_int_equal(read_source(set.sources[0], disk, &second), ERR_CORRUPT);
	assert_string_equal(first.msg, second.msg);
	assert_int_equal(set.sources[0]->ops->finish(set.sources[0], &third), ERR_BUG);
	release_set(&set);
	free(disk);
	free(xva.data);
	free(a.data);
}

static void test_xva_member__takes_names_apart(void **state)
{
	(void)state;
	struct xva_member m;
	char name[XVA_MEMBER_NAME_SIZE];
	static const char *good[] = {"Ref:1/00000000", "Ref:10/00000012.xxhash", "Ref:2/12345678.checksum",
				     "x/123456789", "x/1234567890.xxhash"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(xva_member_parse(good[i], &m));
		assert_string_equal(xva_member_format(&m, name), good[i]);
	}
	assert_int_equal(m.number, 1234567890);
	assert_int_equal(m.checksum, XVA_XXHASH);
	static const char *bad[] = {"",
				    "/",
				    "Ref:1",
				    "Ref:1/",
				    "/00000000",
				    "Ref:1/0000000",
				    "Ref:1/000000000",
				    "Ref:1/-0000001",
				    "Ref:1/00000000.sha",
				    "Ref:1/00000000.xxhash2",
				    "Ref:1/0000000x",
				    "Ref:1/12345678901",
				    "Ref:1/a/00000000",
				    "0123456789012345678901234567890123456789012345678901234567890123/00000000"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(xva_member_parse(bad[i], &m));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		T(test_xva_source__reads_both_checksum_forms_in_all_codings),
		T(test_xva_source__follows_the_cursor_over_keepalives),
		T(test_xva_source__reads_any_chunk_size),
		T(test_xva_source__reads_zero_chunks_padding_and_old_headers),
		T(test_xva_source__gives_disks_in_stream_order_with_name_and_uuid),
		T(test_xva_source__small_first_disk_does_not_set_the_chunk_size),
		T(test_xva_source__reads_pipes),
		T(test_xva_source__notices_every_truncation),
		T(test_xva_source__says_where_a_truncated_stream_ends),
		T(test_xva_source__notices_every_flipped_byte_of_data),
		T(test_xva_source__refuses_wrong_checksums),
		T(test_xva_source__refuses_checksums_that_begin_late),
		T(test_xva_source__accepts_ancient_exports_with_a_notice),
		T(test_xva_source__refuses_members_out_of_place),
		T(test_xva_source__refuses_data_beyond_the_disk),
		T(test_xva_source__refuses_chunks_far_beyond_the_disk),
		T(test_xva_source__refuses_what_follows_the_end),
		T(test_xva_source__refuses_damaged_compression),
		T(test_xva_source__refuses_what_is_no_xva),
		T(test_xva_source__without_disks_gives_the_document),
		T(test_xva_source__passes_over_a_disk_that_is_left_out),
		T(test_xva_source__repeats_its_first_error_and_its_end),
		cmocka_unit_test(test_xva_member__takes_names_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
