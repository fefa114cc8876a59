/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/image_file.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/size.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#define CHUNK_ENTRIES 1024
/* What may be read twice in a sound image: headers, the file's last sectors. */
#define TABLES_SLACK MIB

enum err_code image_file_open(const char *path, struct image_file *ret, struct err *err)
{
	struct stat st;
	*ret = IMAGE_FILE_NONE;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "cannot open '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_UNSUPPORTED, 0, "'%s' is not a regular file", path);
	ret->path = path;
	ret->size_bytes = (uint64_t)st.st_size;
	ret->tables_left = ret->size_bytes + TABLES_SLACK;
	ret->fd = TAKE_FD(fd);
	return ERR_OK;
}

void image_file_close(struct image_file *file)
{
	cleanup_close(&file->fd);
	file->fd = -1;
}

enum err_code image_file_need(const struct image_file *file, uint64_t offset, uint64_t length, struct err *err)
{
	if (length <= file->size_bytes && offset <= file->size_bytes - length)
		return ERR_OK;
	uint64_t end = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
	return err_set(err, ERR_CORRUPT, 0,
		       "'%s' is truncated: it ends at byte %" PRIu64 ", and what it holds reaches up to byte %" PRIu64
		       "; get a whole copy of it",
		       file->path, file->size_bytes, end);
}

enum err_code image_file_read(struct image_file *file, uint64_t offset, void *dst, size_t length, struct err *err)
{
	TRY(image_file_need(file, offset, length, err));
	if (length > file->tables_left)
		return err_set(err, ERR_CORRUPT, 0, "'%s' has tables that overlap", file->path);
	file->tables_left -= length;
	for (size_t done = 0; done < length;) {
		ssize_t n = pread(file->fd, (uint8_t *)dst + done, length - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "cannot read '%s'", file->path);
		if (n == 0)
			return err_set(err, ERR_IO, 0, "'%s' became shorter while it was read", file->path);
		done += (size_t)n;
	}
	return ERR_OK;
}

enum err_code image_file_each_le32(struct image_file *file, uint64_t offset, uint64_t count, image_entry_fn entry,
				   void *context, struct err *err)
{
	uint8_t chunk[CHUNK_ENTRIES * 4] = {0};
	TRY(image_file_need(file, offset, count > UINT64_MAX / 4 ? UINT64_MAX : count * 4, err));
	for (uint64_t first = 0; first < count; first += CHUNK_ENTRIES) {
		size_t n = (size_t)min_u64(count - first, CHUNK_ENTRIES);
		TRY(image_file_read(file, offset + first * 4, chunk, n * 4, err));
		for (size_t i = 0; i < n; i++)
			TRY(entry(context, first + i, le32_get(chunk + i * 4), err));
	}
	return ERR_OK;
}
