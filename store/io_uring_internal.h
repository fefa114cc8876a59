/* SPDX-License-Identifier: Apache-2.0 */
/* What the sources of the io_uring implementation share: io_uring.c (the tree), io_uring_file.c, io_uring_queue.c. */
#ifndef STORE_IO_URING_INTERNAL_H
#define STORE_IO_URING_INTERNAL_H

#include "store/io.h"

/* The table of the real implementation, for trees, files and queues alike. */
extern const struct io_ops uring_ops;

/* Opens `path` relative to `dir_fd` (AT_FDCWD for external files). */
MUST_CHECK enum err_code uring_file_open(int dir_fd, const char *path, unsigned flags, struct io_file **ret,
					 struct err *err);
void uring_file_close(struct io_file *file);
enum err_code uring_file_size(struct io_file *file, uint64_t *ret_bytes, struct err *err);
enum err_code uring_file_read(struct io_file *file, uint64_t offset, void *data, size_t length, size_t *ret_got,
			      struct err *err);
enum err_code uring_file_write(struct io_file *file, uint64_t offset, const void *data, size_t length, struct err *err);
enum err_code uring_file_sync(struct io_file *file, struct err *err);
enum err_code uring_file_allocate(struct io_file *file, uint64_t length, struct err *err);
enum err_code uring_file_lock(struct io_file *file, struct err *err);

/* ERR_UNSUPPORTED, saying what to do, if this process may not use io_uring. */
MUST_CHECK enum err_code uring_probe(struct err *err);

enum err_code uring_queue_new(struct io *io, unsigned depth, void *arena, size_t arena_length, struct io_queue **ret,
			      struct err *err);
void uring_queue_free(struct io_queue *queue);
void uring_queue_submit(struct io_queue *queue, struct io_op *op);
enum err_code uring_queue_wait(struct io_queue *queue, unsigned min, struct err *err);

#endif
