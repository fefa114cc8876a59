/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/stream.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define PLAIN_SIZE 3000000u

/* Compressible, different everywhere. */
static uint8_t *plain_new(void)
{
	uint8_t *data = malloc(PLAIN_SIZE);
	if (!data)
		abort();
	for (size_t i = 0; i < PLAIN_SIZE; i++)
		data[i] = (uint8_t)((i >> 3) * 2654435761u >> 13);
	return data;
}

struct packed {
	uint8_t *data;
	size_t length;
	size_t room;
};

static void add_gzip(struct packed *p, const uint8_t *data, size_t n)
{
	z_stream z = {0};
	assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = memcpy(malloc(n + 1), data, n);
	z.avail_in = (uInt)n;
	void *in = z.next_in;
	z.next_out = p->data + p->length;
	z.avail_out = (uInt)(p->room - p->length);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	p->length = p->room - z.avail_out;
	deflateEnd(&z);
	free(in);
}

/* With the checksum that the zstd tool adds. */
static void add_zstd(struct packed *p, const uint8_t *data, size_t n)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)));
	size_t length = ZSTD_compress2(context, p->data + p->length, p->room - p->length, data, n);
	assert_false(ZSTD_isError(length));
	ZSTD_freeCCtx(context);
	p->length += length;
}

static struct packed packed_new(void)
{
	struct packed p = {.room = PLAIN_SIZE + 100000};
	p.data = calloc(1, p.room);
	if (!p.data)
		abort();
	return p;
}

/* Reads all of a stream in steps of 1, 2, 3, ... times `step` bytes and compares it with `wanted`. */
static void assert_stream(struct stream *stream, const uint8_t *wanted, size_t length, size_t step)
{
	uint8_t *got = malloc(length + step * 2000);
	size_t at = 0, n = step, k = 1;
	struct err err = {0};
	assert_non_null(got);
	for (; n == step * k || k == 1; k++) {
		size_t want = step * k;
		if (want > 1000000)
			want = 1000000;
		if (want > length + 1 - at)
			want = length + 1 - at; /* one more than there is */
		if (stream_read(stream, got + at, want, &n, &err) != ERR_OK)
			fail_msg("%s", err.msg);
		at += n;
		if (n < want)
			break;
		n = step * k + step;
	}
	assert_int_equal(at, length);
	assert_memory_equal(got, wanted, length);
	assert_int_equal(stream_offset(stream), length);
	/* The end stays the end. */
	assert_int_equal(stream_read(stream, got, 10, &n, &err), ERR_OK);
	assert_int_equal(n, 0);
	free(got);
}

static void assert_memory_stream(const struct packed *p, enum stream_coding coding, const uint8_t *wanted,
				 size_t length)
{
	for (size_t step = 7; step < 1000000; step *= 50) {
		struct stream *stream = NULL;
		struct err err = {0};
		assert_int_equal(stream_open_memory(p->data, p->length, "memory", &stream, &err), ERR_OK);
		assert_int_equal(stream_coding(stream), coding);
		assert_stream(stream, wanted, length, step);
		stream_close(stream);
	}
}

/* Reads to the end; the error. */
static enum err_code read_out(const struct packed *p, struct err *err)
{
	struct stream *stream = NULL;
	uint8_t *data = malloc(1000000);
	size_t n = 1;
	enum err_code code = stream_open_memory(p->data, p->length, "bad", &stream, err);
	while (code == ERR_OK && n)
		code = stream_read(stream, data, 1000000, &n, err);
	stream_close(stream);
	free(data);
	return code;
}

static void test_stream__decompresses_one_frame_or_many(void **state)
{
	(void)state;
	uint8_t *plain = plain_new();
	for (unsigned frames = 1; frames <= 4; frames += 3) {
		struct packed gzip = packed_new(), zstd = packed_new();
		size_t step = PLAIN_SIZE / frames;
		for (unsigned i = 0; i < frames; i++) {
			add_gzip(&gzip, plain + i * step, step);
			add_zstd(&zstd, plain + i * step, step);
			/* An empty one in between. */
			add_gzip(&gzip, plain, 0);
			add_zstd(&zstd, plain, 0);
		}
		assert_memory_stream(&gzip, STREAM_GZIP, plain, step * frames);
		assert_memory_stream(&zstd, STREAM_ZSTD, plain, step * frames);
		free(gzip.data);
		free(zstd.data);
	}
	free(plain);
}

static void test_stream__passes_over_skippable_frames(void **state)
{
	(void)state;
	uint8_t *plain = plain_new();
	struct packed p = packed_new();
	memcpy(p.data, "\x5a\x2a\x4d\x18\4\0\0\0abcd", 12);
	p.length = 12;
	add_zstd(&p, plain, PLAIN_SIZE);
	memcpy(p.data + p.length, "\x50\x2a\x4d\x18\0\0\0\0", 8);
	p.length += 8;
	assert_memory_stream(&p, STREAM_ZSTD, plain, PLAIN_SIZE);
	free(p.data);
	free(plain);
}

static void test_stream__zeroes_after_the_last_frame_are_padding(void **state)
{
	(void)state;
	uint8_t *plain = plain_new();
	struct packed p = packed_new();
	struct err err = {0};
	add_gzip(&p, plain, 1000);
	p.length += 5000;
	assert_memory_stream(&p, STREAM_GZIP, plain, 1000);
	p.data[p.length - 1] = 1;
	assert_int_equal(read_out(&p, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.msg, "'bad' has other bytes after the end of its gzip stream"));
	free(p.data);
	free(plain);
}

static void test_stream__every_cut_is_an_error(void **state)
{
	(void)state;
	uint8_t *plain = plain_new();
	for (int zstd = 0; zstd < 2; zstd++) {
		struct packed p = packed_new();
		size_t first = 0;
		for (unsigned i = 0; i < 2; i++) {
			zstd ? add_zstd(&p, plain, 2000) : add_gzip(&p, plain, 2000);
			first = i ? first : p.length;
		}
		size_t whole = p.length;
		for (p.length = 4; p.length < whole; p.length++) {
			struct err err = {0};
			enum err_code code = read_out(&p, &err);
			/* A cut between two frames cannot be seen here. */
			assert_int_equal(code, p.length == first ? ERR_OK : ERR_CORRUPT);
			if (p.length != first)
				assert_non_null(
					strstr(err.msg, zstd ? "'bad' ends in the middle of its zstd stream, after "
							     : "'bad' ends in the middle of its gzip stream, after "));
		}
		free(p.data);
	}
	free(plain);
}

static void test_stream__damage_is_an_error(void **state)
{
	(void)state;
	uint8_t *plain = plain_new();
	for (int zstd = 0; zstd < 2; zstd++) {
		struct packed p = packed_new();
		zstd ? add_zstd(&p, plain, PLAIN_SIZE) : add_gzip(&p, plain, PLAIN_SIZE);
		struct err err = {0};
		memset(p.data + p.length / 2, 0xff, 64);
		assert_int_equal(read_out(&p, &err), ERR_CORRUPT);
		assert_non_null(strstr(err.msg, "stream of 'bad' is damaged after "));
		free(p.data);
	}
	free(plain);
}

static void test_stream__refuses_windows_that_take_too_much_memory(void **state)
{
	(void)state;
	/* A frame header with a window descriptor of 2^31 bytes (RFC 8878, section 3.1.1.1.2). */
	struct packed p = {.data = (uint8_t[]){0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0}, .length = 9};
	struct err err = {0};
	assert_int_equal(read_out(&p, &err), ERR_LIMIT);
	assert_non_null(strstr(err.msg, "zstd -d --long=31"));
}

static void test_stream__short_plain_input_is_plain(void **state)
{
	(void)state;
	static const char *texts[] = {"", "\x1f", "\x28\xb5\x2f", "abcd"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct stream *stream = NULL;
		struct err err = {0};
		size_t n = strlen(texts[i]);
		assert_int_equal(stream_open_memory(texts[i], n, "short", &stream, &err), ERR_OK);
		assert_int_equal(stream_coding(stream), STREAM_PLAIN);
		assert_stream(stream, (const uint8_t *)texts[i], n, 3);
		stream_close(stream);
	}
}

/* Writes `data` to a pipe from a child, in pieces of changing size. */
static pid_t feed(const uint8_t *data, size_t n, int flags, int *ret_fd)
{
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(ends[0]);
		for (size_t at = 0, piece = 1; at < n; at += piece, piece = piece * 3 % 200003 + 1) {
			if (piece > n - at)
				piece = n - at;
			if (write(ends[1], data + at, piece) != (ssize_t)piece)
				_exit(1);
		}
		_exit(0);
	}
	close(ends[1]);
	assert_int_equal(fcntl(ends[0], F_SETFL, flags), 0);
	*ret_fd = ends[0];
	return pid;
}

static void test_stream__reads_pipes_that_block_or_not(void **state)
{
	(void)state;
	uint8_t *plain = plain_new();
	struct packed gzip = packed_new();
	add_gzip(&gzip, plain, PLAIN_SIZE);
	for (unsigned i = 0; i < 4; i++) {
		struct stream *stream = NULL;
		struct err err = {0};
		int fd = -1, status = -1;
		pid_t pid = i / 2 ? feed(gzip.data, gzip.length, i % 2 ? O_NONBLOCK : 0, &fd)
				  : feed(plain, PLAIN_SIZE, i % 2 ? O_NONBLOCK : 0, &fd);
		assert_int_equal(stream_open(fd, "pipe", &stream, &err), ERR_OK);
		assert_stream(stream, plain, PLAIN_SIZE, i % 2 ? 511 : 70001);
		stream_close(stream);
		close(fd);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	free(gzip.data);
	free(plain);
}

static void test_stream__reads_files_from_where_they_stand(void **state)
{
	(void)state;
	uint8_t *plain = plain_new();
	FILE *file = tmpfile();
	assert_non_null(file);
	assert_int_equal(fwrite(plain, 1, PLAIN_SIZE, file), PLAIN_SIZE);
	assert_int_equal(fflush(file), 0);
	for (size_t from = 0; from < 2000; from += 1999) {
		struct stream *stream = NULL;
		struct err err = {0};
		assert_int_equal(lseek(fileno(file), (off_t)from, SEEK_SET), from);
		assert_int_equal(stream_open(fileno(file), "file", &stream, &err), ERR_OK);
		assert_stream(stream, plain + from, PLAIN_SIZE - from, 5000);
		stream_close(stream);
	}
	fclose(file);
	free(plain);
}

static void test_stream__says_what_cannot_be_read(void **state)
{
	(void)state;
	struct stream *stream = NULL;
	struct err err = {0};
	int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(stream_open(fd, "a directory", &stream, &err), ERR_IO);
	assert_non_null(strstr(err.msg, "cannot read 'a directory': "));
	assert_null(stream);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream__decompresses_one_frame_or_many),
		cmocka_unit_test(test_stream__passes_over_skippable_frames),
		cmocka_unit_test(test_stream__zeroes_after_the_last_frame_are_padding),
		cmocka_unit_test(test_stream__every_cut_is_an_error),
		cmocka_unit_test(test_stream__damage_is_an_error),
		cmocka_unit_test(test_stream__refuses_windows_that_take_too_much_memory),
		cmocka_unit_test(test_stream__short_plain_input_is_plain),
		cmocka_unit_test(test_stream__reads_pipes_that_block_or_not),
		cmocka_unit_test(test_stream__reads_files_from_where_they_stand),
		cmocka_unit_test(test_stream__says_what_cannot_be_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
