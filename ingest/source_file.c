/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/source_file.h"

#include "base/cleanup.h"
#include "base/size.h"
#include "store/io_uring.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How many extents are looked at to count data; what lies behind counts as data. */
#define COUNT_EXTENTS_MAX 65536u

DEFINE_CLEANUP(source_file, struct source_file, source_file_close)

/* A block device's size is where its end is; st_size is 0 there. */
static enum err_code file_size_of(int fd, const struct stat *st, const char *path, uint64_t *ret, struct err *err)
{
	if (S_ISREG(st->st_mode)) {
		*ret = (uint64_t)st->st_size;
		return ERR_OK;
	}
	off_t end = lseek(fd, 0, SEEK_END);
	if (end < 0)
		return err_errno(err, "can't tell the size of '%s'", path);
	*ret = (uint64_t)end;
	return ERR_OK;
}

enum err_code source_file_open(const char *path, struct source_file **ret, struct err *err)
{
	/* Looked at before it is opened: opening a pipe would block, opening a tape or terminal has side effects. */
	struct stat st;
	if (stat(path, &st) < 0)
		return err_errno(err, "can't open '%s'", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, ERR_INVALID, 0, "'%s' is neither a file nor a block device", path);
	AUTO(cleanup_source_file) struct source_file *file = calloc(1, sizeof(*file));
	if (!file)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", path);
	pthread_mutex_init(&file->lock, NULL);
	TRY(io_uring_open_external(path, IO_READ, &file->buffered, err));
	TRY(io_uring_open_external(path, IO_READ | IO_DIRECT, &file->direct, err));
	if (!file->direct->direct) {
		io_file_close(file->direct);
		file->direct = NULL;
	}
	int fd = source_file_fd(file);
	if (fstat(fd, &st) < 0)
		return err_errno(err, "can't examine '%s'", path);
	file->is_device = S_ISBLK(st.st_mode);
	file->device = st.st_dev;
	file->inode = st.st_ino;
	file->modified = st.st_mtim;
	TRY(file_size_of(fd, &st, path, &file->size_bytes, err));
	*ret = TAKE_PTR(file);
	return ERR_OK;
}

void source_file_close(struct source_file *file)
{
	if (!file)
		return;
	io_file_close(file->direct);
	io_file_close(file->buffered);
	pthread_mutex_destroy(&file->lock);
	free(file);
}

const char *source_file_path(const struct source_file *file)
{
	return file->buffered->path;
}

int source_file_fd(const struct source_file *file)
{
	return io_uring_file_fd(file->buffered);
}

enum err_code source_file_read(const struct source_file *file, uint64_t offset, void *data, size_t length,
			       struct err *err)
{
	return io_read_exact(file->buffered, offset, data, length, err);
}

static enum err_code find_extent(const struct source_file *file, uint64_t offset, struct block_extent *ret,
				 struct err *err)
{
	uint64_t size = file->size_bytes;
	*ret = (struct block_extent){.offset = offset, .length = size - offset, .zero = false};
	if (file->is_device)
		return ERR_OK; /* the kernel does not tell for devices */
	int fd = source_file_fd(file);
	off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
	if (data < 0 && errno == ENXIO) {
		ret->zero = true; /* a hole up to the end; a file that shrank is found by the check at the end */
		return ERR_OK;
	}
	if (data < 0 && (errno == EINVAL || errno == EOPNOTSUPP))
		return ERR_OK;
	if (data < 0)
		return err_errno(err, "can't find the holes of '%s'", source_file_path(file));
	if ((uint64_t)data > offset) {
		ret->zero = true;
		ret->length = (uint64_t)data < size ? (uint64_t)data - offset : size - offset;
		return ERR_OK;
	}
	off_t hole = lseek(fd, (off_t)offset, SEEK_HOLE);
	if (hole < 0)
		return err_errno(err, "can't find the holes of '%s'", source_file_path(file));
	if ((uint64_t)hole > offset && (uint64_t)hole < size)
		ret->length = (uint64_t)hole - offset;
	return ERR_OK;
}

enum err_code source_file_extent(struct source_file *file, uint64_t offset, struct block_extent *ret, struct err *err)
{
	LOCK_SCOPE(&file->lock);
	if (offset < file->last.offset || offset - file->last.offset >= file->last.length) {
		struct block_extent found;
		TRY(find_extent(file, offset, &found, err));
		file->last = found;
	}
	*ret = file->last;
	return ERR_OK;
}

enum err_code source_file_count_data(struct source_file *file, uint64_t length, uint64_t *ret, struct err *err)
{
	uint64_t total = 0;
	uint64_t at = 0;
	for (unsigned i = 0; at < length && i < COUNT_EXTENTS_MAX; i++) {
		struct block_extent extent;
		TRY(find_extent(file, at, &extent, err));
		uint64_t step = min_u64(extent.length, length - at);
		total += extent.zero ? 0 : step;
		at += step;
	}
	*ret = total + (length - at);
	return ERR_OK;
}

enum err_code source_file_check(const struct source_file *file, bool *ret_touched, struct err *err)
{
	const char *path = source_file_path(file);
	int fd = source_file_fd(file);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(err, "can't examine '%s'", path);
	uint64_t size = 0;
	TRY(file_size_of(fd, &st, path, &size, err));
	if (size != file->size_bytes)
		return err_set(err, ERR_IO, 0,
			       "'%s' changed while it was read: its size was %" PRIu64 " and is now %" PRIu64
			       " bytes; back it up when nothing writes to it",
			       path, file->size_bytes, size);
	*ret_touched = !file->is_device &&
		       (st.st_mtim.tv_sec != file->modified.tv_sec || st.st_mtim.tv_nsec != file->modified.tv_nsec);
	return ERR_OK;
}

struct io_file *source_file_handle(const struct source_file *file, uint64_t offset, const uint8_t *data,
				   uint32_t *length)
{
	if (!file->direct)
		return file->buffered;
	uint32_t align = file->direct->align;
	if (offset % align || (uintptr_t)data % align || *length < align)
		return file->buffered;
	*length -= *length % align;
	return file->direct;
}

void source_notice(struct block_source *source, const char *format, ...)
{
	size_t used = source->notice_set ? strlen(source->notice) : 0;
	const char *joint = used ? "; " : "";
	if (sizeof(source->notice) - used <= strlen(joint))
		return;
	used += (size_t)snprintf(source->notice + used, sizeof(source->notice) - used, "%s", joint);
	va_list args;
	va_start(args, format);
	vsnprintf(source->notice + used, sizeof(source->notice) - used, format, args);
	va_end(args);
	source->notice_set = true;
}

void source_notice_buffered(struct block_source *source, const struct source_file *file)
{
	if (!file->direct)
		source_notice(source, "'%s' does not allow O_DIRECT; read through the page cache",
			      source_file_path(file));
}

void source_set_name(struct block_source *source, const char *path)
{
	const char *slash = strrchr(path, '/');
	snprintf(source->name, sizeof(source->name), "%s", slash && slash[1] ? slash + 1 : path);
}
