/* SPDX-License-Identifier: Apache-2.0 */
/* qemu-img, asked about an image (ingest/qemu_image.h says when that is safe). It only reads.
 *
 * Threads: any. */
#ifndef INGEST_QEMU_TOOL_H
#define INGEST_QEMU_TOOL_H

#include "base/err.h"

#include <jansson.h>

/* What `qemu-img info` says about `image` of QEMU's `format`. It opens no backing files. ERR_UNSUPPORTED: qemu-img is
 * absent; ERR_CORRUPT: it cannot read the image; ERR_TIMEOUT. Gives *ret. */
MUST_CHECK enum err_code qemu_tool_info(const char *image, const char *format, json_t **ret, struct err *err);

/* ERR_CORRUPT if `qemu-img check` finds the tables of `image` damaged or cannot follow them. Clusters that no table
 * names and formats that it can't check are fine. It opens the backing files too, and
 * reads all tables, for up to an hour (ERR_TIMEOUT). */
MUST_CHECK enum err_code qemu_tool_check(const char *image, const char *format, struct err *err);

#endif
