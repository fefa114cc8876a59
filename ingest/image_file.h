/* SPDX-License-Identifier: Apache-2.0 */
/* An image file whose tables are compared with its length: what they place beyond its end is lost, although QEMU would
 * read zeroes there. All tables together are read at most once over, so tables that name each other end as well.
 *
 * Threads: one owner. */
#ifndef INGEST_IMAGE_FILE_H
#define INGEST_IMAGE_FILE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct image_file {
	const char *path; /* borrowed */
	int fd;
	uint64_t size_bytes;
	uint64_t tables_left; /* bytes of tables that may still be read */
};

#define IMAGE_FILE_NONE     \
	(struct image_file) \
	{                   \
		.fd = -1    \
	}

/* Opens the regular file `path`, which must stay valid. *ret is ready for image_file_close also after an error. */
MUST_CHECK enum err_code image_file_open(const char *path, struct image_file *ret, struct err *err);

/* May be called more than once. */
void image_file_close(struct image_file *file);

/* ERR_CORRUPT if the file ends before `length` bytes from `offset` do. Any values are allowed. */
MUST_CHECK enum err_code image_file_need(const struct image_file *file, uint64_t offset, uint64_t length,
					 struct err *err);

/* Reads exactly `length` bytes. ERR_CORRUPT: the file ends before, or more tables were read than it has bytes. */
MUST_CHECK enum err_code image_file_read(struct image_file *file, uint64_t offset, void *dst, size_t length,
					 struct err *err);

/* What is done with an entry of a table. */
typedef enum err_code (*image_entry_fn)(void *context, uint64_t index, uint32_t value, struct err *err);

/* Calls `entry` for each of the `count` little-endian 32-bit integers from `offset`; ends with the first error. */
MUST_CHECK enum err_code image_file_each_le32(struct image_file *file, uint64_t offset, uint64_t count,
					      image_entry_fn entry, void *context, struct err *err);

#endif
