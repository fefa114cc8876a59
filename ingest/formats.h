/* SPDX-License-Identifier: Apache-2.0 */
/* The formats behind ingest/open.h: how each one is opened. Only open.c and the formats' own tests call these.
 *
 * A source's open gives *ret, released with source_set_release, and checks everything that can be checked without
 * reading the disk's data. A target's open gives *ret and changes nothing before all checks have passed. */
#ifndef INGEST_FORMATS_H
#define INGEST_FORMATS_H

#include "base/err.h"
#include "ingest/open.h"
#include "pipeline/block_target.h"

#include <stdbool.h>
#include <stdint.h>

/* A raw image file or a block device. ERR_NOT_FOUND, ERR_IO, ERR_INVALID if it is neither or is empty. */
MUST_CHECK enum err_code raw_source_open(const char *path, struct source_set *ret, struct err *err);

/* A VHD file: fixed, dynamic, or differencing with its whole parent chain. ERR_NOT_FOUND: the file, or a parent, which
 * the message names; ERR_CORRUPT: damaged or hostile; ERR_UNSUPPORTED: a version or kind that is not read. */
MUST_CHECK enum err_code vhd_source_open(const char *path, struct source_set *ret, struct err *err);

/* True if `path` is a file or device that holds a VHD: the cookie at its start, or a sound footer at its end (a fixed
 * VHD has nothing else). False for all else, also when it cannot be read. */
bool vhd_probe(const char *path);

/* An XVA, from the file `path`, or from the descriptor `fd` (0 is standard input; the caller keeps it open) when it is
 * not -1, and then `path` is the name used in messages. */
MUST_CHECK enum err_code xva_source_open(int fd, const char *path, struct source_set *ret, struct err *err);

/* An NBD address: nbd://, nbds://, nbd+unix://. */
MUST_CHECK enum err_code nbd_source_open(const char *uri, struct source_set *ret, struct err *err);

/* Whatever QEMU reads, through a read-only qemu-nbd of ours. `format` is QEMU's name: "qcow2", "vmdk", "vhdx", ... */
MUST_CHECK enum err_code qemu_source_open(const char *path, const char *format, struct source_set *ret,
					  struct err *err);

/* A raw image file (sparse), a block device, or standard output ("-"). */
MUST_CHECK enum err_code file_target_open(const char *path, const struct target_options *options, const char *disk_name,
					  uint64_t size_bytes, struct block_target **ret, struct err *err);

/* A dynamic VHD file that XenServer imports and QEMU reads. */
MUST_CHECK enum err_code vhd_target_open(const char *path, const struct target_options *options, const char *disk_name,
					 uint64_t size_bytes, struct block_target **ret, struct err *err);

/* An NBD address. */
MUST_CHECK enum err_code nbd_target_open(const char *uri, const struct target_options *options, const char *disk_name,
					 uint64_t size_bytes, struct block_target **ret, struct err *err);

/* Makes a set of one source, which it takes on success. For the formats that hold one disk. */
MUST_CHECK enum err_code source_set_of_one(struct block_source *source, struct source_set *ret, struct err *err);

#endif
