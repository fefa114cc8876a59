/* SPDX-License-Identifier: Apache-2.0 */
/* The file or block device that a target writes: created, or taken over, with all checks before the first change; made
 * durable at the end; removed again if it was created and is not complete.
 *
 * Threads: one; the handles may be used by queues of many. */
#ifndef INGEST_TARGET_FILE_H
#define INGEST_TARGET_FILE_H

#include "base/err.h"
#include "ingest/file_transfer.h"
#include "pipeline/block_target.h"
#include "store/io.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct target_file {
	struct io_file *file; /* direct where that is allowed */
	int fd;               /* the same through the page cache, for what is not aligned and for control */
	bool is_device;
	bool created; /* by us: removed if it is not finished */
	bool finished;
	dev_t device; /* with `inode`: the file that was created */
	ino_t inode;
};

/* Creates the file `path`, or, with `overwrite`, empties the one that is there. With `device_bytes` not 0 it may also
 * be a block device of at least that many bytes, which only `overwrite` allows to write to. `disk_name` is for
 * messages. ERR_EXISTS, ERR_NO_SPACE (device too small), ERR_BUSY (device in use), ERR_INVALID (neither file nor
 * device), ERR_IO. Gives *ret; free it with target_file_close. */
MUST_CHECK enum err_code target_file_open(const char *path, bool overwrite, const char *disk_name,
					  uint64_t device_bytes, struct target_file **ret, struct err *err);

const char *target_file_path(const struct target_file *file);

/* Writes through the page cache. Blocks. */
MUST_CHECK enum err_code target_file_write(const struct target_file *file, uint64_t offset, const void *data,
					   size_t length, struct err *err);

/* Makes content, size and, for a new file, its name durable; the file stays. */
MUST_CHECK enum err_code target_file_finish(struct target_file *file, struct err *err);

/* NULL is allowed. */
void target_file_close(struct target_file *file);

/* The step that writes disk bytes to `offset` of the file. A part of less than BLOCK_SIZE, such as the end of a disk,
 * is written through the page cache at once, so that no page is ever written partly in this way and partly in that. */
MUST_CHECK enum err_code target_file_step(const struct target_file *file, uint64_t offset, uint32_t length,
					  const uint8_t *data, struct transfer_step *ret, struct err *err);

/* Sets the target's notice if the file is not written directly. */
void target_file_notice(const struct target_file *file, struct block_target *target);

#endif
