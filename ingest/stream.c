/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/size.h"

/* One read of compressed input. A pipe is asked to hold as much, so that its writer can run ahead. */
#define INPUT_SIZE MIB

/* A large plain read goes to the caller's memory and takes this much of what follows along. In an XVA these are the
 * checksum member and the next header, so that one system call serves a whole chunk and no byte of data lands in the
 * wrong place. */
#define LOOKAHEAD_SIZE ((size_t)3 * 512)

/* Plain reads from here on go straight to the caller. */
#define DIRECT_MIN (16 * KIB)

/* gzip in zlib's notation: the largest window, plus 16 for "gzip only". */
#define GZIP_WINDOW_BITS (15 + 16)

struct stream {
	int fd; /* -1: memory */
	const uint8_t *memory;
	size_t memory_left;
	char *name;
	enum stream_coding coding;
	uint8_t *input; /* INPUT_SIZE bytes; [input_start, input_end) are not consumed yet */
	size_t input_start;
	size_t input_end;
	bool input_ended;
	bool in_frame; /* a gzip member or zstd frame has begun and is not complete */
	z_stream gzip;
	bool gzip_ready;
	ZSTD_DStream *zstd;
	uint64_t offset;
};

static enum err_code wait_readable(struct stream *s, struct err *err)
{
	struct pollfd p = {.fd = s->fd, .events = POLLIN};
	if (poll(&p, 1, -1) < 0 && errno != EINTR)
		return err_errno(err, "cannot wait for '%s'", s->name);
	return ERR_OK;
}

/* One read of whatever the kernel has, 0 at the end. */
static enum err_code read_some(struct stream *s, const struct iovec *parts, int count, size_t *ret_n, struct err *err)
{
	for (;;) {
		ssize_t n = readv(s->fd, parts, count);
		if (n >= 0) {
			*ret_n = (size_t)n;
			return ERR_OK;
		}
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			TRY(wait_readable(s, err));
		else if (errno != EINTR)
			return err_errno(err, "cannot read '%s'", s->name);
	}
}

static size_t read_memory(struct stream *s, uint8_t *dst, size_t n)
{
	if (n > s->memory_left)
		n = s->memory_left;
	if (n)
		memcpy(dst, s->memory, n);
	s->memory += n;
	s->memory_left -= n;
	return n;
}

/* Appends up to `n` bytes to the input buffer, which is emptied first if all of it was consumed. */
static enum err_code input_fill(struct stream *s, size_t n, struct err *err)
{
	if (s->input_start == s->input_end)
		s->input_start = s->input_end = 0;
	if (n > INPUT_SIZE - s->input_end)
		n = INPUT_SIZE - s->input_end;
	size_t got = 0;
	if (s->fd < 0) {
		got = read_memory(s, s->input + s->input_end, n);
	} else {
		struct iovec part = {.iov_base = s->input + s->input_end, .iov_len = n};
		TRY(read_some(s, &part, 1, &got, err));
	}
	s->input_end += got;
	s->input_ended = got == 0;
	return ERR_OK;
}

static size_t input_take(struct stream *s, uint8_t *dst, size_t n)
{
	size_t have = s->input_end - s->input_start;
	if (n > have)
		n = have;
	memcpy(dst, s->input + s->input_start, n);
	s->input_start += n;
	return n;
}

/* Large plain reads: the kernel fills the caller's memory and, with what follows, the empty input buffer. */
static enum err_code plain_read_direct(struct stream *s, uint8_t *dst, size_t n, size_t *ret_n, struct err *err)
{
	struct iovec parts[2] = {{.iov_base = dst, .iov_len = n}, {.iov_base = s->input, .iov_len = LOOKAHEAD_SIZE}};
	size_t got = 0;
	TRY(read_some(s, parts, 2, &got, err));
	s->input_ended = got == 0;
	s->input_start = 0;
	s->input_end = got > n ? got - n : 0;
	*ret_n = got > n ? n : got;
	return ERR_OK;
}

static enum err_code plain_read(struct stream *s, uint8_t *dst, size_t n, size_t *ret_n, struct err *err)
{
	size_t done = input_take(s, dst, n);
	while (done < n && !s->input_ended) {
		size_t got = 0;
		if (s->fd >= 0 && n - done >= DIRECT_MIN) {
			TRY(plain_read_direct(s, dst + done, n - done, &got, err));
		} else {
			TRY(input_fill(s, LOOKAHEAD_SIZE, err));
			got = input_take(s, dst + done, n - done);
		}
		done += got;
	}
	*ret_n = done;
	return ERR_OK;
}

static const char *coding_name(const struct stream *s)
{
	return s->coding == STREAM_GZIP ? "gzip" : "zstd";
}

/* After the last frame only zeroes may follow. Reads to the end of the input. */
static enum err_code check_padding(struct stream *s, struct err *err)
{
	while (!s->input_ended) {
		for (; s->input_start < s->input_end; s->input_start++)
			if (s->input[s->input_start])
				return err_set(err, ERR_CORRUPT, 0,
					       "'%s' has other bytes after the end of its %s stream", s->name,
					       coding_name(s));
		TRY(input_fill(s, INPUT_SIZE, err));
	}
	return ERR_OK;
}

/* Decompresses some bytes; *ret_n may be 0 although more will come. Clears in_frame at the end of a gzip member. */
static enum err_code gzip_step(struct stream *s, uint8_t *dst, size_t n, size_t *ret_n, struct err *err)
{
	const size_t step_max = 1u << 30; /* zlib counts in unsigned int */
	if (n > step_max)
		n = step_max;
	s->gzip.next_in = s->input + s->input_start;
	s->gzip.avail_in = (uInt)(s->input_end - s->input_start);
	s->gzip.next_out = dst;
	s->gzip.avail_out = (uInt)n;
	int code = inflate(&s->gzip, Z_NO_FLUSH);
	s->input_start = s->input_end - s->gzip.avail_in;
	*ret_n = n - s->gzip.avail_out;
	if (code == Z_STREAM_END) {
		s->in_frame = false;
		return ERR_OK;
	}
	if (code == Z_MEM_ERROR)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to decompress '%s'", s->name);
	if (code != Z_OK && code != Z_BUF_ERROR)
		return err_set(err, ERR_CORRUPT, 0, "the gzip stream of '%s' is damaged after %llu bytes: %s", s->name,
			       (unsigned long long)s->offset,
			       s->gzip.msg ? s->gzip.msg : "unexpected preset dictionary");
	return ERR_OK;
}

/* The same for zstd. */
static enum err_code zstd_step(struct stream *s, uint8_t *dst, size_t n, size_t *ret_n, struct err *err)
{
	ZSTD_inBuffer in = {.src = s->input, .size = s->input_end, .pos = s->input_start};
	ZSTD_outBuffer out = {.dst = dst, .size = n, .pos = 0};
	size_t result = ZSTD_decompressStream(s->zstd, &out, &in);
	s->input_start = in.pos;
	*ret_n = out.pos;
	if (!ZSTD_isError(result)) {
		s->in_frame = result != 0;
		return ERR_OK;
	}
	switch (ZSTD_getErrorCode(result)) {
	case ZSTD_error_memory_allocation:
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to decompress '%s'", s->name);
	case ZSTD_error_frameParameter_windowTooLarge:
		return err_set(err, ERR_LIMIT, 0,
			       "'%s' was compressed with a zstd window of more than 128 MiB; decompress it with "
			       "'zstd -d --long=31' first",
			       s->name);
	default:
		return err_set(err, ERR_CORRUPT, 0, "the zstd stream of '%s' is damaged after %llu bytes: %s", s->name,
			       (unsigned long long)s->offset, ZSTD_getErrorName(result));
	}
}

/* Between two frames: begins the next one, or finds the end (*ret_end). */
static enum err_code next_frame(struct stream *s, bool *ret_end, struct err *err)
{
	if (s->input_start == s->input_end && !s->input_ended)
		TRY(input_fill(s, INPUT_SIZE, err));
	*ret_end = s->input_ended || s->input[s->input_start] == 0;
	if (*ret_end)
		return check_padding(s, err);
	if (s->coding == STREAM_GZIP)
		inflateReset(&s->gzip);
	s->in_frame = true;
	return ERR_OK;
}

static enum err_code coded_read(struct stream *s, uint8_t *dst, size_t n, size_t *ret_n, struct err *err)
{
	size_t done = 0;
	bool end = false;
	while (done < n) {
		if (!s->in_frame) {
			TRY(next_frame(s, &end, err));
			if (end)
				break;
		}
		size_t got = 0;
		TRY(s->coding == STREAM_GZIP ? gzip_step(s, dst + done, n - done, &got, err)
					     : zstd_step(s, dst + done, n - done, &got, err));
		done += got;
		s->offset += got;
		if (got || !s->in_frame || s->input_start < s->input_end)
			continue;
		if (!s->input_ended)
			TRY(input_fill(s, INPUT_SIZE, err));
		if (s->input_ended)
			return err_set(err, ERR_CORRUPT, 0,
				       "'%s' ends in the middle of its %s stream, after %llu bytes", s->name,
				       coding_name(s), (unsigned long long)s->offset);
	}
	*ret_n = done;
	return ERR_OK;
}

enum err_code stream_read(struct stream *s, void *dst, size_t n, size_t *ret_n, struct err *err)
{
	if (s->coding != STREAM_PLAIN)
		return coded_read(s, dst, n, ret_n, err);
	TRY(plain_read(s, dst, n, ret_n, err));
	s->offset += *ret_n;
	return ERR_OK;
}

enum stream_coding stream_coding_of(const uint8_t *head, size_t length)
{
	if (length >= 2 && head[0] == 0x1f && head[1] == 0x8b)
		return STREAM_GZIP;
	uint32_t magic = length >= 4 ? le32_get(head) : 0;
	bool skippable = (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
	return magic == ZSTD_MAGICNUMBER || skippable ? STREAM_ZSTD : STREAM_PLAIN;
}

static enum err_code detect_coding(struct stream *s, struct err *err)
{
	while (s->input_end < 4 && !s->input_ended)
		TRY(input_fill(s, LOOKAHEAD_SIZE, err));
	s->input_ended = false;
	s->coding = stream_coding_of(s->input, s->input_end);
	return ERR_OK;
}

static enum err_code decoder_open(struct stream *s, struct err *err)
{
	s->in_frame = s->coding != STREAM_PLAIN;
	if (s->coding == STREAM_GZIP) {
		s->gzip_ready = inflateInit2(&s->gzip, GZIP_WINDOW_BITS) == Z_OK;
		if (!s->gzip_ready)
			return err_set(err, ERR_NO_MEMORY, 0, "no memory to decompress '%s'", s->name);
	}
	if (s->coding == STREAM_ZSTD) {
		s->zstd = ZSTD_createDStream();
		if (!s->zstd)
			return err_set(err, ERR_NO_MEMORY, 0, "no memory to decompress '%s'", s->name);
	}
	return ERR_OK;
}

DEFINE_CLEANUP(stream, struct stream, stream_close)

static enum err_code stream_new(int fd, const void *data, size_t n, const char *name, struct stream **ret,
				struct err *err)
{
	AUTO(cleanup_stream) struct stream *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read '%s'", name);
	s->fd = fd;
	s->memory = data;
	s->memory_left = n;
	s->name = strdup(name);
	s->input = malloc(INPUT_SIZE);
	if (!s->name || !s->input)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read '%s'", name);
	if (fd >= 0) {
		/* Both are advice: they fail on the wrong kind of file, and nothing depends on them. */
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
		(void)fcntl(fd, F_SETPIPE_SZ, (int)INPUT_SIZE);
	}
	TRY(detect_coding(s, err));
	TRY(decoder_open(s, err));
	*ret = TAKE_PTR(s);
	return ERR_OK;
}

enum err_code stream_open(int fd, const char *name, struct stream **ret, struct err *err)
{
	return stream_new(fd, /* data= */ NULL, /* n= */ 0, name, ret, err);
}

enum err_code stream_open_memory(const void *data, size_t n, const char *name, struct stream **ret, struct err *err)
{
	return stream_new(/* fd= */ -1, data, n, name, ret, err);
}

enum stream_coding stream_coding(const struct stream *s)
{
	return s->coding;
}

uint64_t stream_offset(const struct stream *s)
{
	return s->offset;
}

void stream_close(struct stream *s)
{
	if (!s)
		return;
	if (s->gzip_ready)
		inflateEnd(&s->gzip);
	ZSTD_freeDStream(s->zstd);
	free(s->input);
	free(s->name);
	free(s);
}
