/* SPDX-License-Identifier: Apache-2.0 */
/* Headers of tar archives (POSIX ustar and its older kin), as far as an XVA needs them: regular files with plain names.
 * Pure functions over 512-byte records; who reads or writes the archive is somebody else.
 *
 * Source: IEEE Std 1003.1, "pax", section "ustar Interchange Format". */
#ifndef INGEST_TAR_H
#define INGEST_TAR_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAR_RECORD_SIZE 512u
#define TAR_NAME_MAX 256u                           /* 155 bytes of prefix, a slash, 100 bytes of name */
#define TAR_MAKE_NAME_MAX 100u                      /* what tar_header_make writes: no prefix */
#define TAR_MAKE_SIZE_MAX ((UINT64_C(1) << 33) - 1) /* eleven octal digits */

struct tar_header {
	char name[TAR_NAME_MAX + 1];
	uint64_t size; /* bytes of data after the header, without padding */
	char type;     /* '0' is a regular file; the old '\0' is given as '0' */
};

/* The end of an archive is two such records. */
bool tar_record_is_zero(const uint8_t record[static TAR_RECORD_SIZE]);

/* Reads a header. ERR_CORRUPT: its checksum is wrong, its name is empty or has control characters, or its size is no
 * number. */
MUST_CHECK enum err_code tar_header_parse(const uint8_t record[static TAR_RECORD_SIZE], struct tar_header *ret,
					  struct err *err);

/* Makes the header of a regular file, readable by its owner, dated 1970: the same input gives the same bytes. The
 * caller keeps to 1..TAR_MAKE_NAME_MAX bytes of name and TAR_MAKE_SIZE_MAX; ERR_INVALID otherwise. */
MUST_CHECK enum err_code tar_header_make(const char *name, uint64_t size, uint8_t record[static TAR_RECORD_SIZE],
					 struct err *err);

/* How many zero bytes follow `size` bytes of data: 0..511. */
static inline size_t tar_padding(uint64_t size)
{
	return (size_t)(-size % TAR_RECORD_SIZE);
}

#endif
