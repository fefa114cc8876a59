/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/target_file.h"

#include "base/cleanup.h"
#include "store/chunk_id.h"
#include "store/io_uring.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

DEFINE_CLEANUP(target_file, struct target_file, target_file_close)

/* Opens the file twice; `flags` may have IO_CREATE. A device is opened exclusively, so that nobody can mount it. */
static enum err_code open_handles(struct target_file *file, const char *path, unsigned flags, struct err *err)
{
	TRY(io_uring_open_external(path, IO_READ | IO_WRITE | IO_DIRECT | flags, &file->file, err));
	struct stat st;
	if (fstat(io_uring_file_fd(file->file), &st) < 0)
		return err_errno(err, "can't examine '%s'", path);
	file->device = st.st_dev;
	file->inode = st.st_ino;
	file->created = flags & IO_CREATE;
	file->fd = open(path, O_RDWR | O_CLOEXEC);
	if (file->fd < 0 || fstat(file->fd, &st) < 0)
		return err_errno(err, "can't open '%s' for writing", path);
	if (st.st_dev != file->device || st.st_ino != file->inode)
		return err_set(err, ERR_BUSY, 0, "'%s' was replaced while it was opened; nothing was written", path);
	return ERR_OK;
}

static enum err_code open_device(struct target_file *file, const char *path, const char *disk_name,
				 uint64_t device_bytes, struct err *err)
{
	if (device_bytes == 0)
		return err_set(err, ERR_INVALID, 0, "'%s' is a block device; this format is written to files only",
			       path);
	TRY(open_handles(file, path, 0, err));
	off_t end = lseek(file->fd, 0, SEEK_END);
	if (end < 0)
		return err_errno(err, "can't tell the size of '%s'", path);
	if ((uint64_t)end < device_bytes)
		return err_set(err, ERR_NO_SPACE, 0,
			       "disk '%s' needs %" PRIu64 " bytes, but '%s' has only %" PRIu64 "; choose a larger one",
			       disk_name, device_bytes, path, (uint64_t)end);
	file->is_device = true;
	return ERR_OK;
}

enum err_code target_file_open(const char *path, bool overwrite, const char *disk_name, uint64_t device_bytes,
			       struct target_file **ret, struct err *err)
{
	AUTO(cleanup_target_file) struct target_file *file = calloc(1, sizeof(*file));
	if (!file)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", path);
	file->fd = -1;
	struct stat st;
	bool exists = stat(path, &st) == 0;
	if (!exists && errno != ENOENT)
		return err_errno(err, "can't examine '%s'", path);
	if (exists && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, ERR_INVALID, 0, "'%s' is neither a file nor a block device", path);
	if (exists && !overwrite)
		return err_set(err, ERR_EXISTS, 0, "'%s' exists; add --overwrite to write over it", path);
	if (exists && S_ISBLK(st.st_mode)) {
		TRY(open_device(file, path, disk_name, device_bytes, err));
	} else {
		TRY(open_handles(file, path, exists ? 0 : IO_CREATE, err));
		if (exists && ftruncate(file->fd, 0) < 0)
			return err_errno(err, "can't empty '%s'", path);
	}
	*ret = TAKE_PTR(file);
	return ERR_OK;
}

const char *target_file_path(const struct target_file *file)
{
	return file->file->path;
}

enum err_code target_file_write(const struct target_file *file, uint64_t offset, const void *data, size_t length,
				struct err *err)
{
	const uint8_t *p = data;
	while (length > 0) {
		ssize_t n = pwrite(file->fd, p, length, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_errno(err, "can't write '%s' at byte %" PRIu64, target_file_path(file), offset);
		p += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return ERR_OK;
}

/* Makes the directory entry of a new file durable. */
static enum err_code sync_name(const char *path, struct err *err)
{
	AUTO_FREE char *directory = strdup(path);
	if (!directory)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to finish '%s'", path);
	char *slash = strrchr(directory, '/');
	if (slash)
		slash[slash == directory ? 1 : 0] = '\0';
	AUTO_CLOSE int fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_errno(err, "can't make the name of '%s' durable", path);
	return ERR_OK;
}

enum err_code target_file_finish(struct target_file *file, struct err *err)
{
	const char *path = target_file_path(file);
	if (fsync(file->fd) < 0)
		return err_errno(err, "can't make '%s' durable", path);
	if (file->created)
		TRY(sync_name(path, err));
	file->finished = true;
	return ERR_OK;
}

/* Removes what is incomplete, if the name still leads to the file that we made. */
static void remove_created(const struct target_file *file)
{
	struct stat st;
	if (lstat(target_file_path(file), &st) == 0 && st.st_dev == file->device && st.st_ino == file->inode)
		(void)unlink(target_file_path(file));
}

void target_file_close(struct target_file *file)
{
	if (!file)
		return;
	if (file->created && !file->finished)
		remove_created(file);
	io_file_close(file->file);
	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

enum err_code target_file_step(const struct target_file *file, uint64_t offset, uint32_t length, const uint8_t *data,
			       struct transfer_step *ret, struct err *err)
{
	uint32_t align = file->file->align;
	bool aligned = offset % align == 0 && (uintptr_t)data % align == 0;
	if (file->file->direct && (length < BLOCK_SIZE || !aligned)) {
		TRY(target_file_write(file, offset, data, length, err));
		*ret = (struct transfer_step){.file = NULL, .length = length};
		return ERR_OK;
	}
	*ret = (struct transfer_step){
		.file = file->file,
		.offset = offset,
		.length = file->file->direct ? length - length % BLOCK_SIZE : length,
	};
	return ERR_OK;
}

void target_file_notice(const struct target_file *file, struct block_target *target)
{
	if (file->file->direct)
		return;
	target->notice_set = true;
	snprintf(target->notice, sizeof(target->notice),
		 "'%.180s' does not allow O_DIRECT; written through the page cache", target_file_path(file));
}
