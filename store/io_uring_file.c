/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the real implementation: opening with or without the page cache, and the calls that wait. Those serve small
 * and rare transfers; the data path goes through the queue. */
#include "store/io_uring_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/size.h"
#include "store/io_uring.h"

struct uring_file {
	struct io_file base;
	int fd;
	bool is_device; /* a block device; else a regular file */
};

/* How much a read with arguments that are not aligned takes at a time through an aligned buffer. Only metadata is read
 * so, rarely more than a few KiB. */
#define BOUNCE_SIZE (256 * KIB)

static struct uring_file *file_of(struct io_file *file)
{
	return (struct uring_file *)file;
}

int io_uring_file_fd(const struct io_file *file)
{
	return ((const struct uring_file *)file)->fd;
}

/* What offset, length and memory must be multiples of for O_DIRECT on `fd`; 0 if the file system can't do it, or only
 * in units larger than the ones all callers use. */
static uint32_t direct_alignment(int fd)
{
	struct statx info;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) != 0 || !(info.stx_mask & STATX_DIOALIGN))
		return IO_ALIGN; /* a kernel before 6.1, or a file system that does not say */
	uint32_t offset_align = info.stx_dio_offset_align;
	uint32_t align = offset_align > info.stx_dio_mem_align ? offset_align : info.stx_dio_mem_align;
	bool usable = offset_align != 0 && align <= IO_ALIGN && (align & (align - 1)) == 0;
	return usable ? align : 0;
}

/* Chooses between direct and buffered. O_DIRECT is set on the open file and not at open(2), because a refusing file
 * system may leave a freshly created file behind there. */
static enum err_code set_mode(struct uring_file *file, unsigned flags, struct err *err)
{
	uint32_t align = flags & IO_DIRECT ? direct_alignment(file->fd) : 0;
	if (align != 0 && fcntl(file->fd, F_SETFL, O_DIRECT) == 0) {
		file->base.direct = true;
		file->base.align = align;
		return ERR_OK;
	}
	if (flags & IO_DIRECT)
		log_debug("store", "no direct transfers on '%s', using the page cache", file->base.path);
	file->base.direct = false;
	file->base.align = 1;
	if (fcntl(file->fd, F_SETFL, 0) != 0)
		return err_errno(err, "cannot open '%s'", file->base.path);
	return ERR_OK;
}

static int open_flags(int dir_fd, const char *path, unsigned flags)
{
	/* A FIFO would block in open(2); set_mode clears O_NONBLOCK again. */
	int mode = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	if (flags & IO_WRITE)
		mode |= flags & IO_READ ? O_RDWR : O_WRONLY;
	if (flags & IO_CREATE)
		return mode | O_CREAT | O_EXCL;
	struct stat st;
	/* O_EXCL without O_CREAT: open(2) refuses a block device that is mounted or part of another device. */
	if (flags & IO_WRITE && fstatat(dir_fd, path, &st, 0) == 0 && S_ISBLK(st.st_mode))
		mode |= O_EXCL;
	return mode;
}

/* Refuses what has no fixed size to seek in. */
static enum err_code check_kind(struct uring_file *file, struct err *err)
{
	struct stat st;
	if (fstat(file->fd, &st) != 0)
		return err_errno(err, "cannot open '%s'", file->base.path);
	file->is_device = S_ISBLK(st.st_mode);
	if (S_ISDIR(st.st_mode))
		return err_set(err, ERR_IO, EISDIR, "cannot open '%s'", file->base.path);
	if (!S_ISREG(st.st_mode) && !file->is_device)
		return err_set(err, ERR_INVALID, 0, "'%s' is neither a file nor a block device", file->base.path);
	return ERR_OK;
}

static void cleanup_uring_file(struct uring_file **file)
{
	if (*file)
		uring_file_close(&(*file)->base);
}

enum err_code uring_file_open(int dir_fd, const char *path, unsigned flags, struct io_file **ret, struct err *err)
{
	AUTO(cleanup_uring_file) struct uring_file *file = calloc(1, sizeof(*file));
	if (!file)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", path);
	file->base.ops = &uring_ops;
	file->fd = -1;
	file->base.path = strdup(path);
	if (!file->base.path)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", path);
	file->fd = openat(dir_fd, path, open_flags(dir_fd, path, flags), 0600);
	if (file->fd < 0 && errno == EBUSY)
		return err_set(err, ERR_BUSY, 0, "device '%s' is in use; unmount or detach it first", path);
	if (file->fd < 0)
		return err_errno(err, "cannot open '%s'", path);
	TRY(check_kind(file, err));
	TRY(set_mode(file, flags, err));
	*ret = &TAKE_PTR(file)->base;
	return ERR_OK;
}

enum err_code io_uring_open_external(const char *path, unsigned flags, struct io_file **ret, struct err *err)
{
	if (!(flags & (IO_READ | IO_WRITE)))
		return err_set(err, ERR_BUG, 0, "'%s' is opened neither for reading nor for writing", path);
	return uring_file_open(AT_FDCWD, path, flags, ret, err);
}

void uring_file_close(struct io_file *base)
{
	struct uring_file *file = file_of(base);
	if (file->fd >= 0)
		close(file->fd);
	free(file->base.path);
	free(file);
}

enum err_code uring_file_size(struct io_file *base, uint64_t *ret_bytes, struct err *err)
{
	struct uring_file *file = file_of(base);
	if (file->is_device) {
		uint64_t bytes = 0;
		if (ioctl(file->fd, BLKGETSIZE64, &bytes) != 0)
			return err_errno(err, "cannot ask for the size of device '%s'", base->path);
		*ret_bytes = bytes;
		return ERR_OK;
	}
	struct stat st;
	if (fstat(file->fd, &st) != 0)
		return err_errno(err, "cannot ask for the size of '%s'", base->path);
	*ret_bytes = (uint64_t)st.st_size;
	return ERR_OK;
}

static bool is_aligned(const struct io_file *file, uint64_t offset, const void *data, size_t length)
{
	return ((offset | length | (uintptr_t)data) & (file->align - 1)) == 0;
}

static enum err_code read_failed(const struct io_file *file, uint64_t offset, size_t length, struct err *err)
{
	return err_errno(err, "cannot read %zu bytes at offset %" PRIu64 " of '%s'", length, offset, file->path);
}

/* Reads until `length` or the end of the file. */
static enum err_code read_aligned(struct io_file *file, uint64_t offset, uint8_t *data, size_t length, size_t *ret_got,
				  struct err *err)
{
	size_t got = 0;
	while (got < length) {
		ssize_t n = pread(file_of(file)->fd, data + got, length - got, (off_t)(offset + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return read_failed(file, offset, length, err);
		got += (size_t)n;
		/* A direct read ends inside an alignment unit only where the file does. */
		if (n == 0 || got & (file->align - 1))
			break;
	}
	*ret_got = got;
	return ERR_OK;
}

/* Reads any range of a direct file through an aligned buffer. */
static enum err_code read_bounced(struct io_file *file, uint64_t offset, uint8_t *data, size_t length, size_t *ret_got,
				  struct err *err)
{
	uint64_t whole = round_up(offset % IO_ALIGN + length, IO_ALIGN);
	size_t room = (size_t)min_u64(whole, BOUNCE_SIZE);
	AUTO_FREE uint8_t *bounce = aligned_alloc(IO_ALIGN, room);
	if (!bounce)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read '%s'", file->path);
	size_t got = 0;
	while (got < length) {
		uint64_t start = round_down(offset + got, IO_ALIGN);
		size_t skip = (size_t)(offset + got - start);
		size_t there = 0;
		TRY(read_aligned(file, start, bounce, room, &there, err));
		if (there <= skip)
			break;
		size_t use = (size_t)min_u64(there - skip, length - got);
		memcpy(data + got, bounce + skip, use);
		got += use;
		if (there < room)
			break;
	}
	*ret_got = got;
	return ERR_OK;
}

enum err_code uring_file_read(struct io_file *file, uint64_t offset, void *data, size_t length, size_t *ret_got,
			      struct err *err)
{
	if (is_aligned(file, offset, data, length))
		return read_aligned(file, offset, data, length, ret_got, err);
	return read_bounced(file, offset, data, length, ret_got, err);
}

enum err_code uring_file_write(struct io_file *file, uint64_t offset, const void *data, size_t length, struct err *err)
{
	if (!is_aligned(file, offset, data, length))
		return err_set(err, ERR_BUG, 0, "misaligned write of %zu bytes at offset %" PRIu64 " of '%s'", length,
			       offset, file->path);
	const uint8_t *bytes = data;
	for (size_t done = 0; done < length;) {
		ssize_t n = pwrite(file_of(file)->fd, bytes + done, length - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EIO;
		if (n <= 0)
			return err_errno(err, "cannot write %zu bytes at offset %" PRIu64 " of '%s'", length, offset,
					 file->path);
		done += (size_t)n;
	}
	return ERR_OK;
}

enum err_code uring_file_sync(struct io_file *file, struct err *err)
{
	if (fdatasync(file_of(file)->fd) != 0)
		return err_errno(err, "cannot sync '%s'", file->path);
	return ERR_OK;
}

enum err_code uring_file_allocate(struct io_file *file, uint64_t length, struct err *err)
{
	if (length == 0 || file_of(file)->is_device)
		return ERR_OK;
	int rc;
	do {
		rc = fallocate(file_of(file)->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)length);
	} while (rc != 0 && errno == EINTR);
	if (rc == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
		return ERR_OK;
	return err_errno(err, "cannot reserve %" PRIu64 " bytes for '%s'", length, file->path);
}

enum err_code uring_file_lock(struct io_file *file, struct err *err)
{
	/* Of the open file description: it ends with its close, not with that of some other descriptor of the process.
	 */
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (fcntl(file_of(file)->fd, F_OFD_SETLK, &range) == 0)
		return ERR_OK;
	if (errno == EAGAIN || errno == EACCES)
		return err_set(err, ERR_BUSY, 0, "'%s' is locked by another process", file->path);
	return err_errno(err, "cannot lock '%s'", file->path);
}
