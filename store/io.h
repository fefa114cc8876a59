/* SPDX-License-Identifier: Apache-2.0 */
/* The storage interface: every access of the store to a disk goes through it, so that the same code runs on a real
 * directory (io_uring) and on a simulated disk that loses, reorders and tears what was not synced.
 *
 * A `struct io` is a directory tree; paths are relative to it ("segments/data/0000000001.seg"). A `struct io_file` is
 * an open file. A `struct io_queue` is one thread's queue of asynchronous reads, writes and syncs.
 *
 * What a caller may rely on after a crash, on every implementation:
 *  - bytes written and then synced with success, in a file whose directory entry was synced (sync_dir), are there;
 *  - everything else is there in any part, in any order, torn at any 512-byte sector, or not at all.
 *  - A sync covers only writes that had completed when it was submitted.
 * A failed write or sync leaves the file in an unknown state; callers treat it as poisoned and never retry.
 *
 * Threads: `struct io` and `struct io_file` may be used from many threads; a `struct io_queue` belongs to one.
 */
#ifndef STORE_IO_H
#define STORE_IO_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Offset, length and memory of transfers on a file opened with IO_DIRECT are multiples of this. */
#define IO_ALIGN 4096u

enum io_open_flags {
	IO_READ = 1 << 0,
	IO_WRITE = 1 << 1,
	IO_CREATE = 1 << 2, /* make the file; ERR_EXISTS if it is there */
	IO_DIRECT = 1 << 3, /* bypass the page cache where the file system allows it (io_file_is_direct tells) */
};

struct io;
struct io_file;
struct io_queue;

enum io_op_kind {
	IO_OP_READ,
	IO_OP_WRITE,
	IO_OP_SYNC, /* fdatasync; offset, data and length are ignored */
};

/* One asynchronous request. The caller owns the struct and the memory; both are lent to the queue from io_queue_submit
 * until `complete` is called, also when the request fails or the job is cancelled. */
struct io_op {
	enum io_op_kind kind;
	uint32_t length; /* bytes */
	struct io_file *file;
	uint64_t offset; /* bytes */
	void *data;
	/* Called in the queue's thread by io_queue_wait, and by io_queue_submit and io_queue_free where they take
	 * completions. The op may be submitted again from in it. */
	void (*complete)(struct io_op *op);
	void *user; /* the caller's */
	/* Bytes transferred, or -errno. Reads are short at the end of the file only; writes never are. */
	int64_t result;
	uint32_t progress; /* private to the queue: bytes of a continued transfer */
};

/* Receives one directory entry's name. Returning anything but ERR_OK ends the listing with that code. */
typedef enum err_code (*io_list_fn)(void *user, const char *name, struct err *err);

/* What an implementation provides. Callers use the functions below. */
struct io_ops {
	enum err_code (*open)(struct io *io, const char *path, unsigned flags, struct io_file **ret, struct err *err);
	void (*close)(struct io_file *file);
	enum err_code (*size)(struct io_file *file, uint64_t *ret_bytes, struct err *err);
	enum err_code (*read)(struct io_file *file, uint64_t offset, void *data, size_t length, size_t *ret_got,
			      struct err *err);
	enum err_code (*write)(struct io_file *file, uint64_t offset, const void *data, size_t length, struct err *err);
	enum err_code (*sync)(struct io_file *file, struct err *err);
	enum err_code (*allocate)(struct io_file *file, uint64_t length, struct err *err);
	enum err_code (*make_dir)(struct io *io, const char *path, struct err *err);
	enum err_code (*sync_dir)(struct io *io, const char *path, struct err *err);
	enum err_code (*rename)(struct io *io, const char *from, const char *to, struct err *err);
	enum err_code (*remove)(struct io *io, const char *path, struct err *err);
	enum err_code (*list)(struct io *io, const char *path, io_list_fn fn, void *user, struct err *err);
	enum err_code (*lock)(struct io_file *file, struct err *err);
	enum err_code (*free_space)(struct io *io, uint64_t *ret_bytes, struct err *err);
	enum err_code (*queue_new)(struct io *io, unsigned depth, void *arena, size_t arena_length,
				   struct io_queue **ret, struct err *err);
	void (*queue_free)(struct io_queue *queue);
	void (*submit)(struct io_queue *queue, struct io_op *op);
	enum err_code (*wait)(struct io_queue *queue, unsigned min, struct err *err);
	void (*free)(struct io *io);
};

/* First member of every implementation's struct. */
struct io {
	const struct io_ops *ops;
};

struct io_file {
	const struct io_ops *ops;
	char *path;     /* for messages; owned by the file */
	bool direct;    /* transfers bypass the page cache */
	uint32_t align; /* what offset, length and memory of a direct transfer are multiples of; 1 if not direct */
};

struct io_queue {
	const struct io_ops *ops;
	unsigned in_flight; /* ops submitted and not completed */
	unsigned depth;     /* how many may be in flight */
};

/* Opens `path`. ERR_NOT_FOUND, ERR_EXISTS (IO_CREATE), ERR_IO. Gives *ret; close it with io_file_close. */
MUST_CHECK enum err_code io_open(struct io *io, const char *path, unsigned flags, struct io_file **ret,
				 struct err *err);

/* Closes a file (NULL is allowed). Does not sync. Requests on it must have completed. */
void io_file_close(struct io_file *file);

MUST_CHECK enum err_code io_file_size(struct io_file *file, uint64_t *ret_bytes, struct err *err);

/* Reads up to `length` bytes; *ret_got is smaller at the end of the file only. */
MUST_CHECK enum err_code io_read(struct io_file *file, uint64_t offset, void *data, size_t length, size_t *ret_got,
				 struct err *err);

/* Reads exactly `length` bytes; ERR_CORRUPT, naming the file, if it ends before. */
MUST_CHECK enum err_code io_read_exact(struct io_file *file, uint64_t offset, void *data, size_t length,
				       struct err *err);

/* Writes all of `data`. ERR_NO_SPACE if the disk is full. */
MUST_CHECK enum err_code io_write(struct io_file *file, uint64_t offset, const void *data, size_t length,
				  struct err *err);

/* Makes the file's content and size durable (not its directory entry). */
MUST_CHECK enum err_code io_sync(struct io_file *file, struct err *err);

/* Reserves disk space for the first `length` bytes; the size stays. Success where the file system can't. */
MUST_CHECK enum err_code io_allocate(struct io_file *file, uint64_t length, struct err *err);

/* Makes a directory; success if it is there already. */
MUST_CHECK enum err_code io_make_dir(struct io *io, const char *path, struct err *err);

/* Makes the names in directory `path` ("" is the root) durable. */
MUST_CHECK enum err_code io_sync_dir(struct io *io, const char *path, struct err *err);

/* Renames within the tree, replacing `to`. Durable after io_sync_dir. */
MUST_CHECK enum err_code io_rename(struct io *io, const char *from, const char *to, struct err *err);

MUST_CHECK enum err_code io_remove(struct io *io, const char *path, struct err *err);

/* Calls fn for every entry of directory `path` but "." and "..", in no order. */
MUST_CHECK enum err_code io_list(struct io *io, const char *path, io_list_fn fn, void *user, struct err *err);

/* Takes the exclusive lock of `file`, opened with IO_WRITE, for as long as it is open. ERR_BUSY at once if somebody
 * else has it. */
MUST_CHECK enum err_code io_lock(struct io_file *file, struct err *err);

/* Bytes that can still be written to the tree's file system. */
MUST_CHECK enum err_code io_free_space(struct io *io, uint64_t *ret_bytes, struct err *err);

/* Reads a whole small file (at most `max` bytes, ERR_LIMIT beyond). Gives *ret_data (free it), with a zero byte
 * behind. */
MUST_CHECK enum err_code io_read_file(struct io *io, const char *path, size_t max, uint8_t **ret_data,
				      size_t *ret_length, struct err *err);

/* Puts a small file in place so that after a crash either the old or the new content is there, whole: writes
 * "PATH.new", syncs, renames, syncs the directory. */
MUST_CHECK enum err_code io_write_file(struct io *io, const char *path, const void *data, size_t length,
				       struct err *err);

/* Makes a queue for the calling thread with room for `depth` requests in flight. `arena` (may be NULL) is the memory
 * that most transfers use; it is registered with the kernel where possible and must outlive the queue. */
MUST_CHECK enum err_code io_queue_new(struct io *io, unsigned depth, void *arena, size_t arena_length,
				      struct io_queue **ret, struct err *err);

/* Waits for what is in flight, calls the completions, frees the queue. NULL is allowed. */
void io_queue_free(struct io_queue *queue);

/* Lends `op` to the queue. When the queue is full, completions are taken first. Never fails: errors are in
 * op->result. */
void io_queue_submit(struct io_queue *queue, struct io_op *op);

/* Hands submitted requests to the kernel and takes completions until at least `min` of them came (0: only those that
 * are there), or nothing is in flight. ERR_IO only if the queue itself broke. */
MUST_CHECK enum err_code io_queue_wait(struct io_queue *queue, unsigned min, struct err *err);

/* An error from a completed op: ERR_OK if it transferred op->length bytes (or synced), else a message that names the
 * file, the offset and the cause. */
MUST_CHECK enum err_code io_op_check(const struct io_op *op, struct err *err);

/* Frees the implementation. Its files and queues must be closed. NULL is allowed. */
void io_free(struct io *io);

#endif
