/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/xva_writer.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/xva_fixture.h"

#define M 1048576u

static const size_t ranges[][2] = {{3 * M + 70000, 3 * M + 80000}, {7 * M, 9 * M}, {0, 0}};
#define SIZE (12 * M + 512)

struct out {
	char path[256];
	int fd;
	struct xva_writer *writer;
	uint8_t *xml;
	size_t xml_length;
};

/* Begins an XVA of `count` new disks in the file out.xva. */
static void begin(const struct fixture *f, const struct xva_new_disk *disks, size_t count, enum xva_checksum form,
		  struct out *out)
{
	struct err err = {0};
	fixture_path(f, "out.xva", out->path);
	out->fd = open(out->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(out->fd >= 0);
	assert_int_equal(xva_make_ova_xml("vm", NULL, disks, count, &out->xml, &out->xml_length, &err), ERR_OK);
	if (xva_writer_new(out->fd, "out.xva", out->xml, out->xml_length, form, &out->writer, &err) != ERR_OK)
		fail_msg("%s", err.msg);
}

static void end(struct out *out)
{
	xva_writer_free(out->writer);
	free(out->xml);
	close(out->fd);
}

/* Writes a disk as the restore pipeline does: data in pieces of at most `piece` bytes on a grid of that size, zeroes as
 * ranges as long as they are. */
static enum err_code write_disk(struct block_target *target, const struct bytes *disk, size_t piece, struct err *err)
{
	struct block_writer *writer = NULL;
	TRY(target->ops->writer_open(target, NULL, 4, &writer, err));
	enum err_code code = ERR_OK;
	uint8_t *buffer = aligned_alloc(4096, M);
	for (size_t at = 0, n; at < disk->length && code == ERR_OK; at += n) {
		n = disk->length - at < piece ? disk->length - at : piece;
		memset(buffer, 0, M);
		if (memcmp(disk->data + at, buffer, n) == 0) {
			while (at + n < disk->length && disk->data[at + n] == 0)
				n++;
			n = at + n == disk->length ? n : n / piece * piece;
			code = writer->ops->zero(writer, at, n, err);
			continue;
		}
		memcpy(buffer, disk->data + at, n);
		struct block_write write = {.offset = at, .length = (uint32_t)n, .data = buffer};
		writer->ops->submit(writer, &write);
		assert_true(write.done);
		code = write.err.code;
		if (code != ERR_OK)
			*err = write.err;
	}
	free(buffer);
	if (code == ERR_OK)
		code = writer->ops->wait(writer, err);
	writer->ops->close(writer);
	return code == ERR_OK ? target->ops->finish(target, err) : code;
}

/* Writes the next disk of `out` whole. */
static void put_disk(struct out *out, const char *ref, const struct bytes *disk, size_t piece)
{
	struct err err = {0};
	struct block_target *target = NULL;
	if (xva_target_new(out->writer, ref, "disk", disk->length, &target, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	assert_true(target->ops->ordered);
	assert_int_equal(target->size_bytes, disk->length);
	if (write_disk(target, disk, piece, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	block_target_close(target);
}

static void assert_round_trip(const struct fixture *f, const struct bytes *disks, size_t count, enum xva_checksum form,
			      size_t piece)
{
	struct xva_new_disk new_disks[4] = {0};
	static const char *names[] = {"one", "two", "three", "four"};
	struct out out;
	struct err err = {0};
	size_t found = 0;
	for (size_t i = 0; i < count; i++)
		new_disks[i] = (struct xva_new_disk){.name = names[i], .size_bytes = disks[i].length};
	begin(f, new_disks, count, form, &out);
	const struct xva_disk *turns = xva_writer_disks(out.writer, &found);
	assert_int_equal(found, count);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(turns[i].name, names[i]);
		put_disk(&out, turns[i].ref, &disks[i], piece);
	}
	assert_int_equal(xva_writer_finish(out.writer, &err), ERR_OK);

	/* Once by the product's reader, once by a strict one that knows nothing of the product. */
	struct source_set set = {0};
	struct bytes got[4] = {0};
	if (xva_source_open(-1, out.path, &set, &err) != ERR_OK || read_set(&set, got, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	assert_int_equal(set.documents[0].length, out.xml_length);
	assert_memory_equal(set.documents[0].data, out.xml, out.xml_length);
	release_set(&set);
	assert_int_equal(tool(f, "check_xva.py",
			      (const char *[]){"out.xva", "--extract", ".", "--checksum",
					       form == XVA_SHA1 ? "sha1" : "xxhash", NULL}),
			 0);
	for (size_t i = 0; i < count; i++) {
		char name[64];
		snprintf(name, sizeof(name), "Ref_%s", turns[i].ref + 4);
		struct bytes extracted = fixture_read(f, name);
		assert_int_equal(extracted.length, disks[i].length);
		assert_memory_equal(extracted.data, disks[i].data, disks[i].length);
		assert_memory_equal(got[i].data, disks[i].data, disks[i].length);
		free(extracted.data);
		free(got[i].data);
	}
	end(&out);
}

static void test_xva_writer__round_trips_in_both_forms_and_all_piece_sizes(void **state)
{
	const struct fixture *f = *state;
	struct bytes disks[] = {fixture_disk(f, "a", SIZE, ranges), fixture_disk(f, "b", 2 * M, ranges),
				fixture_disk(f, "c", 100000, (const size_t[][2]){{99999, 100000}, {0, 0}})};
	assert_round_trip(f, disks, 3, XVA_XXHASH, 65536);
	assert_round_trip(f, disks, 3, XVA_SHA1, M);
	assert_round_trip(f, disks, 1, XVA_XXHASH, 3 * 65536);
	for (size_t i = 0; i < 3; i++)
		free(disks[i].data);
}

static size_t file_size(const struct out *out)
{
	struct stat st;
	assert_int_equal(fstat(out->fd, &st), 0);
	return (size_t)st.st_size;
}

static void test_xva_writer__leaves_out_zero_chunks_but_first_and_last(void **state)
{
	const struct fixture *f = *state;
	struct bytes zeroes = {calloc(1, 9 * M), 9 * M};
	struct out out;
	begin(f, &(struct xva_new_disk){.name = "z", .size_bytes = zeroes.length}, 1, XVA_SHA1, &out);
	size_t before = file_size(&out);
	put_disk(&out, "Ref:2000", &zeroes, M);
	assert_int_equal(file_size(&out) - before, 2 * (M + 3 * 512));
	end(&out);
	/* Zeroes that come as data are left out too. */
	begin(f, &(struct xva_new_disk){.name = "z", .size_bytes = zeroes.length}, 1, XVA_SHA1, &out);
	before = file_size(&out);
	struct err err = {0};
	struct block_target *target = NULL;
	struct block_writer *writer = NULL;
	assert_int_equal(xva_target_new(out.writer, "Ref:2000", "z", zeroes.length, &target, &err), ERR_OK);
	assert_int_equal(target->ops->writer_open(target, NULL, 1, &writer, &err), ERR_OK);
	for (size_t i = 0; i < 9; i++) {
		struct block_write write = {.offset = i * M, .length = M, .data = zeroes.data};
		writer->ops->submit(writer, &write);
		assert_int_equal(write.err.code, ERR_OK);
	}
	writer->ops->close(writer);
	assert_int_equal(target->ops->finish(target, &err), ERR_OK);
	block_target_close(target);
	assert_int_equal(file_size(&out) - before, 2 * (M + 3 * 512));
	end(&out);
	free(zeroes.data);
}

static void test_xva_writer__sends_zero_chunks_to_keep_a_silent_stream_alive(void **state)
{
	const struct fixture *f = *state;
	struct bytes zeroes = {calloc(1, 5 * M), 5 * M};
	struct out out;
	struct err err = {0};
	begin(f, &(struct xva_new_disk){.name = "z", .size_bytes = zeroes.length}, 1, XVA_XXHASH, &out);
	xva_writer_set_keepalive(out.writer, 0);
	size_t before = file_size(&out);
	put_disk(&out, "Ref:2000", &zeroes, M);
	assert_int_equal(file_size(&out) - before, 5 * (M + 3 * 512));
	assert_int_equal(xva_writer_finish(out.writer, &err), ERR_OK);
	assert_int_equal(tool(f, "check_xva.py", (const char *[]){"out.xva", NULL}), 0);
	end(&out);
	free(zeroes.data);
}

static void test_xva_writer__same_input_gives_the_same_bytes(void **state)
{
	const struct fixture *f = *state;
	struct bytes disk = fixture_disk(f, "a", SIZE, ranges), files[2];
	MAKE_XVA(f, "x.xva", "--disk", "a,ref=7,name=root");
	struct bytes made = fixture_read(f, "x.xva");
	struct source_set set = {0};
	struct stream *stream = NULL;
	struct err err = {0};
	assert_int_equal(stream_open_memory(made.data, made.length, "x.xva", &stream, &err), ERR_OK);
	assert_int_equal(xva_source_from_stream(stream, "x.xva", &set, &err), ERR_OK);
	for (size_t i = 0; i < 2; i++) {
		struct out out = {.xml = NULL};
		fixture_path(f, "out.xva", out.path);
		out.fd = open(out.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		assert_int_equal(xva_writer_new(out.fd, "out.xva", set.documents[0].data, set.documents[0].length,
						XVA_XXHASH, &out.writer, &err),
				 ERR_OK);
		put_disk(&out, "Ref:7", &disk, i ? M : 65536);
		assert_int_equal(xva_writer_finish(out.writer, &err), ERR_OK);
		end(&out);
		files[i] = fixture_read(f, "out.xva");
	}
	assert_int_equal(files[0].length, files[1].length);
	assert_memory_equal(files[0].data, files[1].data, files[0].length);
	release_set(&set);
	free(files[0].data);
	free(files[1].data);
	free(made.data);
	free(disk.data);
}

static void test_xva_writer__insists_on_the_documents_disks_and_order(void **state)
{
	const struct fixture *f = *state;
	struct bytes disk = fixture_disk(f, "a", 5000, ranges + 2);
	struct xva_new_disk disks[] = {{.name = "a", .size_bytes = 5000}, {.name = "b", .size_bytes = 6000}};
	struct out out;
	struct block_target *target = NULL, *other = NULL;
	begin(f, disks, 2, XVA_XXHASH, &out);
	struct err err = {0};
	assert_int_equal(xva_target_new(out.writer, "Ref:2001", "b", 6000, &target, &err), ERR_INVALID);
	assert_non_null(strstr(err.msg, "it is the turn of disk 'Ref:2000', not of 'Ref:2001'"));
	err = (struct err){0};
	assert_int_equal(xva_target_new(out.writer, "Ref:2000", "a", 5001, &target, &err), ERR_INVALID);
	assert_non_null(strstr(err.msg, "disk 'Ref:2000' has 5001 bytes, but ova.xml says 5000"));
	err = (struct err){0};
	assert_int_equal(xva_target_new(out.writer, "Ref:2000", "a", 5000, &target, &err), ERR_OK);
	assert_int_equal(xva_target_new(out.writer, "Ref:2000", "a", 5000, &other, &err), ERR_INVALID);
	assert_non_null(strstr(err.msg, "another disk is still being written"));
	block_target_close(target);
	put_disk(&out, "Ref:2000", &disk, M);
	err = (struct err){0};
	assert_int_equal(xva_writer_finish(out.writer, &err), ERR_INVALID);
	assert_non_null(strstr(err.msg, "disk 'b' was not written"));
	disk.length = 6000;
	disk.data = realloc(disk.data, 6000);
	memset(disk.data, 1, 6000);
	put_disk(&out, "Ref:2001", &disk, M);
	err = (struct err){0};
	assert_int_equal(xva_target_new(out.writer, "Ref:2002", "c", 5000, &other, &err), ERR_INVALID);
	assert_non_null(strstr(err.msg, "has no more disks"));
	err = (struct err){0};
	assert_int_equal(xva_writer_finish(out.writer, &err), ERR_OK);
	end(&out);
	free(disk.data);
}

static void test_xva_writer__refuses_gaps_and_incomplete_disks(void **state)
{
	const struct fixture *f = *state;
	struct out out;
	struct block_target *target = NULL;
	struct block_writer *writer = NULL;
	struct err err = {0};
	begin(f, &(struct xva_new_disk){.name = "a", .size_bytes = 3 * M}, 1, XVA_XXHASH, &out);
	assert_int_equal(xva_target_new(out.writer, "Ref:2000", "a", 3 * M, &target, &err), ERR_OK);
	assert_int_equal(target->ops->writer_open(target, NULL, 1, &writer, &err), ERR_OK);
	assert_int_equal(writer->ops->zero(writer, 0, M, &err), ERR_OK);
	assert_int_equal(target->ops->finish(target, &err), ERR_BUG);
	assert_non_null(strstr(err.msg, "was written to byte 1048576 of 3145728"));
	err = (struct err){0};
	assert_int_equal(writer->ops->zero(writer, 2 * M, M, &err), ERR_BUG);
	assert_non_null(strstr(err.msg, "is not written in order"));
	err = (struct err){0};
	assert_int_equal(writer->ops->zero(writer, M, M, &err), ERR_BUG); /* the failure stays */
	block_target_close(target);
	assert_int_equal(xva_writer_finish(out.writer, NULL), ERR_BUG);
	end(&out);
}

static void test_xva_writer__says_when_there_is_no_space(void **state)
{
	(void)state;
	uint8_t *xml = NULL;
	size_t n = 0;
	struct err err = {0};
	struct xva_writer *writer = NULL;
	struct xva_new_disk disk = {.name = "a", .size_bytes = 5000};
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(xva_make_ova_xml("vm", NULL, &disk, 1, &xml, &n, &err), ERR_OK);
	assert_int_equal(xva_writer_new(fd, "the target", xml, n, XVA_SHA1, &writer, &err), ERR_NO_SPACE);
	assert_non_null(strstr(err.msg, "cannot write 'the target'"));
	assert_null(writer);
	close(fd);
	free(xml);
}

static void test_xva_writer__a_closed_pipe_is_an_error_for_good(void **state)
{
	const struct fixture *f = *state;
	struct bytes disk = fixture_disk(f, "a", 3 * M, (const size_t[][2]){{0, 3 * M}, {0, 0}});
	uint8_t *xml = NULL;
	size_t n = 0;
	struct err err = {0};
	struct xva_writer *writer = NULL;
	struct block_target *target = NULL;
	struct xva_new_disk new_disk = {.name = "a", .size_bytes = 3 * M};
	int ends[2];
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(xva_make_ova_xml("vm", NULL, &new_disk, 1, &xml, &n, &err), ERR_OK);
	assert_int_equal(xva_writer_new(ends[1], "pipe", xml, n, XVA_SHA1, &writer, &err), ERR_OK);
	close(ends[0]);
	assert_int_equal(xva_target_new(writer, "Ref:2000", "a", 3 * M, &target, &err), ERR_OK);
	assert_int_equal(write_disk(target, &disk, M, &err), ERR_IO);
	assert_int_equal(err.os_errno, EPIPE);
	block_target_close(target);
	err = (struct err){0};
	assert_int_equal(xva_writer_finish(writer, &err), ERR_IO);
	assert_non_null(strstr(err.msg, "cannot write 'pipe'"));
	xva_writer_free(writer);
	close(ends[1]);
	free(xml);
	free(disk.data);
}

static void test_xva_writer__refuses_a_bad_document_before_writing(void **state)
{
	const struct fixture *f = *state;
	char path[256];
	struct xva_writer *writer = NULL;
	struct err err = {0};
	int fd = open(fixture_path(f, "empty", path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct stat st;
	assert_int_equal(xva_writer_new(fd, "x", (const uint8_t *)"<value>", 7, XVA_SHA1, &writer, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.msg, "not well-formed"));
	assert_int_equal(xva_writer_new(fd, "x", (const uint8_t *)"<value/>", 8, XVA_NO_CHECKSUM, &writer, NULL),
			 ERR_INVALID);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	close(fd);
}

static void test_xva_make_ova_xml__keeps_names_uuids_and_order(void **state)
{
	(void)state;
	struct uuid vm_uuid = uuid_random(), disk_uuid = uuid_random();
	struct xva_new_disk disks[] = {{.name = "a <b> & \"c\" \xc3\xa4", .uuid = disk_uuid, .size_bytes = 1},
				       {.name = "bad \xff\x01 \xed\xa0\x80 text", .size_bytes = INT64_MAX},
				       {.name = "", .size_bytes = 3},
				       {.name = "", .size_bytes = 4}};
	uint8_t *xml = NULL;
	size_t n = 0;
	struct err err = {0};
	struct ova ova;
	assert_int_equal(xva_make_ova_xml("vm <1>", &vm_uuid, disks, 4, &xml, &n, &err), ERR_OK);
	if (ova_xml_parse(xml, n, &ova, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	assert_string_equal(ova.vm_name, "vm <1>");
	assert_true(uuid_equal(&ova.vm_uuid, &vm_uuid));
	assert_int_equal(ova.export_version, 2);
	assert_int_equal(ova.disk_count, 4);
	assert_string_equal(ova.disks[0].name, disks[0].name);
	assert_true(uuid_equal(&ova.disks[0].uuid, &disk_uuid));
	assert_string_equal(ova.disks[1].name, "bad ?? ??? text");
	assert_false(uuid_is_null(&ova.disks[1].uuid));
	assert_string_equal(ova.disks[2].name, "xvdc");
	assert_string_equal(ova.disks[3].name, "xvde"); /* position 3 is the CD drive's */
	assert_int_equal(ova.disks[1].size_bytes, INT64_MAX);
	struct xva_disk *refs = NULL;
	size_t count = 0;
	assert_int_equal(xva_disk_refs(xml, n, &refs, &count, &err), ERR_OK);
	assert_int_equal(count, 4);
	assert_string_equal(refs[3].ref, "Ref:2003");
	free(refs);
	ova_release(&ova);
	free(xml);
	assert_int_equal(xva_make_ova_xml("vm", NULL, disks, 0, &xml, &n, &err), ERR_LIMIT);
	assert_int_equal(xva_make_ova_xml("vm", NULL, disks, XVA_DISKS_MAX + 1, &xml, &n, &err), ERR_LIMIT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		T(test_xva_writer__round_trips_in_both_forms_and_all_piece_sizes),
		T(test_xva_writer__leaves_out_zero_chunks_but_first_and_last),
		T(test_xva_writer__sends_zero_chunks_to_keep_a_silent_stream_alive),
		T(test_xva_writer__same_input_gives_the_same_bytes),
		T(test_xva_writer__insists_on_the_documents_disks_and_order),
		T(test_xva_writer__refuses_gaps_and_incomplete_disks),
		T(test_xva_writer__says_when_there_is_no_space),
		T(test_xva_writer__a_closed_pipe_is_an_error_for_good),
		T(test_xva_writer__refuses_a_bad_document_before_writing),
		T(test_xva_make_ova_xml__keeps_names_uuids_and_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
