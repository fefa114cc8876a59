/* SPDX-License-Identifier: Apache-2.0 */
/* Which format does a file have? Told from its content, never from its name. A raw disk may begin with anything that a
 * guest wrote there, so what is detected gets no more trust than a raw disk (ingest/qemu_image.h), and `--format raw`
 * overrides. */
#ifndef INGEST_DETECT_H
#define INGEST_DETECT_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* How much of a file's beginning is looked at: a whole first zstd block (128 KiB) with its headers. */
#define DETECT_HEAD_BYTES (192u << 10)

/* The format of a file of `size_bytes` that begins with the `length` bytes at `head` (at most DETECT_HEAD_BYTES are
 * looked at), as a name of source_format_names; "raw" if it is none of them. A fixed VHD, which only its end gives
 * away, counts as raw here. */
const char *detect_bytes(const uint8_t *head, size_t length, uint64_t size_bytes);

/* The format of the file at `path`; *ret is a literal. A block device is raw, a pipe can only be an XVA. ERR_NOT_FOUND,
 * ERR_IO; ERR_INVALID: a directory or the like. */
MUST_CHECK enum err_code detect_format(const char *path, const char **ret, struct err *err);

#endif
