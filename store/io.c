/* SPDX-License-Identifier: Apache-2.0 */
#include "store/io.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"

/* Refuses paths that could leave the tree or name one thing in two ways: absolute ones, and empty, "." or ".."
 * components. The empty path is the root, where directories are meant. */
static enum err_code path_check(const char *path, bool root_allowed, struct err *err)
{
	if (path[0] == '\0' && root_allowed)
		return ERR_OK;
	for (const char *part = path;;) {
		size_t length = strcspn(part, "/");
		bool dots = (length == 1 && part[0] == '.') || (length == 2 && part[0] == '.' && part[1] == '.');
		if (length == 0 || dots)
			return err_set(err, ERR_INVALID, 0, "path '%s' is not a plain path inside the store", path);
		if (part[length] == '\0')
			return ERR_OK;
		part += length + 1;
	}
}

enum err_code io_open(struct io *io, const char *path, unsigned flags, struct io_file **ret, struct err *err)
{
	TRY(path_check(path, /* root_allowed= */ false, err));
	if (!(flags & (IO_READ | IO_WRITE)))
		return err_set(err, ERR_BUG, 0, "'%s' is opened neither for reading nor for writing", path);
	return io->ops->open(io, path, flags, ret, err);
}

void io_file_close(struct io_file *file)
{
	if (file)
		file->ops->close(file);
}

DEFINE_CLEANUP(io_file, struct io_file, io_file_close)

enum err_code io_file_size(struct io_file *file, uint64_t *ret_bytes, struct err *err)
{
	return file->ops->size(file, ret_bytes, err);
}

/* True if the kernel can express the range: file offsets are signed there. */
static bool range_is_valid(uint64_t offset, uint64_t length)
{
	return length <= INT64_MAX && offset <= INT64_MAX - length;
}

enum err_code io_read(struct io_file *file, uint64_t offset, void *data, size_t length, size_t *ret_got,
		      struct err *err)
{
	if (!range_is_valid(offset, length))
		return err_set(err, ERR_INVALID, 0, "cannot read '%s': offset %" PRIu64 " is beyond any file",
			       file->path, offset);
	return file->ops->read(file, offset, data, length, ret_got, err);
}

enum err_code io_read_exact(struct io_file *file, uint64_t offset, void *data, size_t length, struct err *err)
{
	size_t got = 0;
	TRY(io_read(file, offset, data, length, &got, err));
	if (got < length)
		return err_set(err, ERR_CORRUPT, 0,
			       "'%s' is truncated: %zu of %zu bytes at offset %" PRIu64 " are there", file->path, got,
			       length, offset);
	return ERR_OK;
}

enum err_code io_write(struct io_file *file, uint64_t offset, const void *data, size_t length, struct err *err)
{
	if (!range_is_valid(offset, length))
		return err_set(err, ERR_INVALID, 0, "cannot write '%s': offset %" PRIu64 " is beyond any file",
			       file->path, offset);
	return file->ops->write(file, offset, data, length, err);
}

enum err_code io_sync(struct io_file *file, struct err *err)
{
	return file->ops->sync(file, err);
}

enum err_code io_allocate(struct io_file *file, uint64_t length, struct err *err)
{
	if (!range_is_valid(0, length))
		return err_set(err, ERR_INVALID, 0, "cannot reserve %" PRIu64 " bytes for '%s': no file is that large",
			       length, file->path);
	return file->ops->allocate(file, length, err);
}

enum err_code io_make_dir(struct io *io, const char *path, struct err *err)
{
	TRY(path_check(path, /* root_allowed= */ false, err));
	return io->ops->make_dir(io, path, err);
}

enum err_code io_sync_dir(struct io *io, const char *path, struct err *err)
{
	TRY(path_check(path, /* root_allowed= */ true, err));
	return io->ops->sync_dir(io, path, err);
}

enum err_code io_rename(struct io *io, const char *from, const char *to, struct err *err)
{
	TRY(path_check(from, /* root_allowed= */ false, err));
	TRY(path_check(to, /* root_allowed= */ false, err));
	return io->ops->rename(io, from, to, err);
}

enum err_code io_remove(struct io *io, const char *path, struct err *err)
{
	TRY(path_check(path, /* root_allowed= */ false, err));
	return io->ops->remove(io, path, err);
}

enum err_code io_list(struct io *io, const char *path, io_list_fn fn, void *user, struct err *err)
{
	TRY(path_check(path, /* root_allowed= */ true, err));
	return io->ops->list(io, path, fn, user, err);
}

enum err_code io_lock(struct io_file *file, struct err *err)
{
	return file->ops->lock(file, err);
}

enum err_code io_free_space(struct io *io, uint64_t *ret_bytes, struct err *err)
{
	return io->ops->free_space(io, ret_bytes, err);
}

enum err_code io_read_file(struct io *io, const char *path, size_t max, uint8_t **ret_data, size_t *ret_length,
			   struct err *err)
{
	AUTO(cleanup_io_file) struct io_file *file = NULL;
	TRY(io_open(io, path, IO_READ, &file, err));
	uint64_t size = 0;
	TRY(io_file_size(file, &size, err));
	if (size > max || size == SIZE_MAX)
		return err_set(err, ERR_LIMIT, 0, "'%s' has %" PRIu64 " bytes, at most %zu are expected", path, size,
			       max);
	AUTO_FREE uint8_t *data = malloc((size_t)size + 1);
	if (!data)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the %" PRIu64 " bytes of '%s'", size, path);
	TRY(io_read_exact(file, 0, data, (size_t)size, err));
	data[size] = '\0';
	*ret_data = TAKE_PTR(data);
	*ret_length = (size_t)size;
	return ERR_OK;
}

/* Writes and syncs a file that no one may know yet. What an interrupted attempt left under the name is removed first:
 * nothing ever reads it. */
static enum err_code write_fresh_file(struct io *io, const char *path, const void *data, size_t length, struct err *err)
{
	struct err removal = {0};
	enum err_code code = io_remove(io, path, &removal);
	if (code != ERR_OK && code != ERR_NOT_FOUND)
		return err_set(err, code, 0, "%s", removal.msg);
	AUTO(cleanup_io_file) struct io_file *file = NULL;
	TRY(io_open(io, path, IO_WRITE | IO_CREATE, &file, err));
	TRY(io_write(file, 0, data, length, err));
	return io_sync(file, err);
}

static enum err_code sync_parent(struct io *io, const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *parent = strndup(path, slash ? (size_t)(slash - path) : 0);
	if (!parent)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to sync the directory of '%s'", path);
	return io_sync_dir(io, parent, err);
}

enum err_code io_write_file(struct io *io, const char *path, const void *data, size_t length, struct err *err)
{
	size_t name_length = strlen(path);
	AUTO_FREE char *fresh = malloc(name_length + sizeof(".new"));
	if (!fresh)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to write '%s'", path);
	memcpy(fresh, path, name_length);
	memcpy(fresh + name_length, ".new", sizeof(".new"));

	enum err_code code = write_fresh_file(io, fresh, data, length, err);
	if (code == ERR_OK)
		code = io_rename(io, fresh, path, err);
	if (code == ERR_OK)
		return sync_parent(io, path, err);
	struct err removal = {0};
	enum err_code removed = io_remove(io, fresh, &removal);
	if (removed != ERR_OK && removed != ERR_NOT_FOUND)
		log_debug("store", "%s, leaving it to the next write of '%s'", removal.msg, path);
	return code;
}

enum err_code io_queue_new(struct io *io, unsigned depth, void *arena, size_t arena_length, struct io_queue **ret,
			   struct err *err)
{
	if (depth == 0)
		return err_set(err, ERR_BUG, 0, "a queue needs room for at least one request");
	return io->ops->queue_new(io, depth, arena, arena_length, ret, err);
}

void io_queue_free(struct io_queue *queue)
{
	if (queue)
		queue->ops->queue_free(queue);
}

void io_queue_submit(struct io_queue *queue, struct io_op *op)
{
	op->result = 0;
	op->progress = 0;
	while (queue->in_flight >= queue->depth) {
		struct err err = {0};
		if (queue->ops->wait(queue, 1, &err) == ERR_OK)
			continue;
		/* The queue is broken, so the op never enters it. */
		log_debug("store", "%s, failing a request on '%s'", err.msg, op->file->path);
		op->result = -EIO;
		op->complete(op);
		return;
	}
	queue->ops->submit(queue, op);
}

enum err_code io_queue_wait(struct io_queue *queue, unsigned min, struct err *err)
{
	return queue->ops->wait(queue, min, err);
}

enum err_code io_op_check(const struct io_op *op, struct err *err)
{
	static const char *const verbs[] = {[IO_OP_READ] = "read", [IO_OP_WRITE] = "write", [IO_OP_SYNC] = "sync"};
	const char *path = op->file->path;
	if (op->result < 0 && op->kind == IO_OP_SYNC)
		return err_set(err, err_code_of_errno((int)-op->result), (int)-op->result, "cannot sync '%s'", path);
	if (op->result < 0)
		return err_set(err, err_code_of_errno((int)-op->result), (int)-op->result,
			       "cannot %s %" PRIu32 " bytes at offset %" PRIu64 " of '%s'", verbs[op->kind], op->length,
			       op->offset, path);
	if (op->kind == IO_OP_SYNC || op->result == op->length)
		return ERR_OK;
	if (op->kind == IO_OP_WRITE)
		return err_set(err, ERR_IO, 0,
			       "only %" PRId64 " of %" PRIu32 " bytes were written at offset %" PRIu64 " of '%s'",
			       op->result, op->length, op->offset, path);
	return err_set(err, ERR_CORRUPT, 0,
		       "'%s' is truncated: %" PRId64 " of %" PRIu32 " bytes at offset %" PRIu64 " are there", path,
		       op->result, op->length, op->offset);
}

void io_free(struct io *io)
{
	if (io)
		io->ops->free(io);
}
