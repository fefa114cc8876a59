/* SPDX-License-Identifier: Apache-2.0 */
#ifndef INGEST_QEMU_SOURCE_H
#define INGEST_QEMU_SOURCE_H

#include "base/err.h"
#include "ingest/open.h"

#include <stdbool.h>

/* Like qemu_source_open (ingest/formats.h), which follows backing files because the user gave the format; `follow` is
 * false for a format that was detected (ingest/qemu_image.h says why). */
MUST_CHECK enum err_code qemu_source_open_image(const char *path, const char *format, bool follow,
						struct source_set *ret, struct err *err);

#endif
