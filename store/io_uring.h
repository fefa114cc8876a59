/* SPDX-License-Identifier: Apache-2.0 */
/* The storage interface on a real directory, with io_uring and O_DIRECT. */
#ifndef STORE_IO_URING_H
#define STORE_IO_URING_H

#include "store/io.h"

/* The directory `path` as a tree. It need not exist yet; `create` makes it (one level). ERR_UNSUPPORTED with a message
 * that says what to do where the kernel forbids io_uring (sysctl kernel.io_uring_disabled, a container's seccomp
 * filter). */
MUST_CHECK enum err_code io_uring_tree_new(const char *path, bool create, struct io **ret, struct err *err);

/* Opens any file or block device of this machine as an io_file for queues of a real tree: the sources and targets of a
 * backup. With IO_DIRECT the file's true alignment is asked from the kernel (statx STATX_DIOALIGN) and stands in
 * file->align; where the file system refuses O_DIRECT, the file is opened buffered and file->direct is false.
 * ERR_BUSY: a block device to be written is mounted or otherwise in use. ERR_INVALID: neither file nor block device. */
MUST_CHECK enum err_code io_uring_open_external(const char *path, unsigned flags, struct io_file **ret,
						struct err *err);

/* The descriptor behind a file of this implementation; stays the file's. */
int io_uring_file_fd(const struct io_file *file);

/* A tree without a directory: only queues (io_queue_new) and external files can be used with it. For jobs whose store
 * is elsewhere and for measurements. */
MUST_CHECK enum err_code io_uring_anonymous_new(struct io **ret, struct err *err);

#endif
