/* SPDX-License-Identifier: Apache-2.0 */
/* A raw disk written from front to back to a descriptor that can't seek: standard output, a pipe. */
#ifndef INGEST_STREAM_TARGET_H
#define INGEST_STREAM_TARGET_H

#include "base/err.h"
#include "pipeline/block_target.h"

#include <stdint.h>

/* Makes an ordered target on `fd`, which the caller keeps open until the target is closed. ERR_INVALID if it is a
 * terminal. Zeroes are written like all else. A reader that goes away is an error, never a signal. Gives *ret. */
MUST_CHECK enum err_code stream_target_new(int fd, const char *name, uint64_t size_bytes, struct block_target **ret,
					   struct err *err);

#endif
