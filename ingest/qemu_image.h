/* SPDX-License-Identifier: Apache-2.0 */
/* Is an image safe to give to QEMU, and whole? An image may name other files: a backing file, an external data file,
 * extents. Whoever made the image chose those names, so a hostile one could pull any file of this machine, or an
 * address on the network, into a backup. Therefore:
 *  - the format is always given to QEMU, never probed by it, for backing files too;
 *  - an image whose format was only detected may name no backing file: a guest can write a QCOW2 header into a raw
 * disk;
 *  - whatever is named must be a regular file in the image's own directory, symbolic links resolved;
 *  - external data files of QCOW2 are refused.
 *
 * Every image of the chain must also be undamaged and as long as its tables say (ingest/qemu_whole.h).
 *
 * Threads: any. */
#ifndef INGEST_QEMU_IMAGE_H
#define INGEST_QEMU_IMAGE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct qemu_image {
	char *path;       /* resolved, absolute */
	char notice[256]; /* what the user should know, or empty */
};

/* Checks image `path` of QEMU's `format` and its whole chain. `follow`: the user gave the format, so backing files may
 * be followed. Runs qemu-img. ERR_UNSUPPORTED: names something it must not, has a format of which it can't be told
 * whether it is whole, or qemu-img is absent; ERR_CORRUPT: damaged or truncated; ERR_NOT_FOUND: the image or a backing
 * file; ERR_TIMEOUT. Free *ret with qemu_image_release, also after an error. */
MUST_CHECK enum err_code qemu_image_check(const char *path, const char *format, bool follow, struct qemu_image *ret,
					  struct err *err);

void qemu_image_release(struct qemu_image *image);

/* The next file that a VMDK descriptor (`text`, `length` bytes, no zero byte needed at the end) names as an extent.
 * Starts at *position, which it moves on. Copies the name to `dst` (cut to `size`); false if there is none. */
bool vmdk_next_extent(const char *text, size_t length, size_t *position, char *dst, size_t size);

#endif
