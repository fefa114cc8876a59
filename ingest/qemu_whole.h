/* SPDX-License-Identifier: Apache-2.0 */
/* Is an image file whole? QEMU reads what lies beyond the end of a file as zeroes, so a truncated image would be backed
 * up without a word. Here a file's own tables are asked how far it has to reach: up to the last byte that the guest can
 * see, to the byte, where `qemu-img check` looks at whole clusters only, or not at all.
 *
 * Threads: any. */
#ifndef INGEST_QEMU_WHOLE_H
#define INGEST_QEMU_WHOLE_H

#include "base/err.h"

#include <stdbool.h>

/* True if a truncated image of QEMU's `format` is always found out: by qemu_whole_check, or by QEMU where that has
 * nothing to add. */
bool qemu_whole_knows(const char *format);

/* ERR_CORRUPT if the file `path` is shorter than it has to be. For "vmdk" that is one sparse extent. QEMU must have
 * accepted the image before. A raw image does not say how long it should be: only a torn sector is found. */
MUST_CHECK enum err_code qemu_whole_check(const char *path, const char *format, struct err *err);

#endif
