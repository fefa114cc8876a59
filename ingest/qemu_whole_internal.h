/* SPDX-License-Identifier: Apache-2.0 */
#ifndef INGEST_QEMU_WHOLE_INTERNAL_H
#define INGEST_QEMU_WHOLE_INTERNAL_H

#include "ingest/image_file.h"

/* The checks of qemu_whole_check for two formats whose tables have two levels. */
MUST_CHECK enum err_code qcow2_whole_check(struct image_file *file, struct err *err);
MUST_CHECK enum err_code vmdk_whole_check(struct image_file *file, struct err *err);

#endif
