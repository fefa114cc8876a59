/* SPDX-License-Identifier: Apache-2.0 */
/* A byte stream from a file, a pipe or standard input, decompressed on the way if its first bytes say gzip or zstd.
 * Several gzip members or zstd frames in a row are one stream, as their own tools see it; zeroes after the last one are
 * padding.
 *
 * Uncompressed bytes of large reads land in the caller's memory without a copy.
 *
 * Threads: one at a time. */
#ifndef INGEST_STREAM_H
#define INGEST_STREAM_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct stream;

enum stream_coding {
	STREAM_PLAIN,
	STREAM_GZIP,
	STREAM_ZSTD,
};

/* What the first bytes of a stream say. Also a skippable frame begins a zstd stream: parallel compressors put one in
 * front. */
enum stream_coding stream_coding_of(const uint8_t *head, size_t length);

/* Opens a stream over `fd`, which the caller keeps open until after stream_close and closes. `name` is what messages
 * call it. Reads the first bytes (blocks until there are some) to find the coding. Gives *ret. */
MUST_CHECK enum err_code stream_open(int fd, const char *name, struct stream **ret, struct err *err);

/* The same over `n` bytes of memory, borrowed until stream_close. */
MUST_CHECK enum err_code stream_open_memory(const void *data, size_t n, const char *name, struct stream **ret,
					    struct err *err);

/* Reads exactly `n` bytes into `dst` unless the stream ends before; *ret_n tells how many came. Fewer than `n` means a
 * clean end: the compressed stream was complete and its own checksums were right. ERR_CORRUPT: damaged, or cut in the
 * middle of a compressed frame; ERR_LIMIT: a zstd window of more than 128 MiB; ERR_IO. Blocks. */
MUST_CHECK enum err_code stream_read(struct stream *stream, void *dst, size_t n, size_t *ret_n, struct err *err);

enum stream_coding stream_coding(const struct stream *stream);

/* How many (decompressed) bytes have been read so far. */
uint64_t stream_offset(const struct stream *stream);

/* NULL is allowed. */
void stream_close(struct stream *stream);

#endif
