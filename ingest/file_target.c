/* SPDX-License-Identifier: Apache-2.0 */
/* A raw image file, sparse where the disk is zero, or a block device. */
#include "ingest/formats.h"

#include "base/cleanup.h"
#include "base/size.h"
#include "ingest/file_writer.h"
#include "ingest/stream_target.h"
#include "ingest/target_file.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SECTOR 512u
#define ZERO_STEP (256 * MIB) /* one call to the kernel; it may take as long as writing them */
#define ZERO_WRITE_BYTES (64u << 10)

struct file_target {
	struct block_target base;
	struct target_file *file;
};

static enum err_code file_next(void *user, uint64_t offset, uint32_t length, const uint8_t *data,
			       struct transfer_step *ret, struct err *err)
{
	struct file_target *target = user;
	uint64_t size = target->base.size_bytes;
	if (offset > size || length > size - offset)
		return err_set(err, ERR_BUG, 0, "write past the end of disk '%s'", target->base.name);
	return target_file_step(target->file, offset, length, data, ret, err);
}

/* Zeroes by hand, for what the kernel does not zero by itself. */
static enum err_code write_zeroes(const struct file_target *target, uint64_t offset, uint64_t length, struct err *err)
{
	static const uint8_t zeroes[ZERO_WRITE_BYTES];
	while (length > 0) {
		size_t n = (size_t)min_u64(length, sizeof(zeroes));
		TRY(target_file_write(target->file, offset, zeroes, n, err));
		offset += n;
		length -= n;
	}
	return ERR_OK;
}

/* A device holds what it held before: it is told to zero, which most do without being written to. */
static enum err_code zero_device(void *user, uint64_t offset, uint64_t length, struct err *err)
{
	const struct file_target *target = user;
	uint64_t whole = round_down(length, SECTOR);
	for (uint64_t at = 0; at < whole;) {
		uint64_t range[2] = {offset + at, min_u64(whole - at, ZERO_STEP)};
		if (ioctl(target->file->fd, BLKZEROOUT, range) < 0) {
			if (errno != EOPNOTSUPP && errno != ENOTTY && errno != EINVAL)
				return err_errno(err, "can't zero '%s' at byte %" PRIu64, target->base.name, range[0]);
			return write_zeroes(target, offset + at, length - at, err);
		}
		at += range[1];
	}
	return write_zeroes(target, offset + whole, length - whole, err);
}

static enum err_code file_writer_open_op(struct block_target *base, struct io_queue *queue, unsigned depth,
					 struct block_writer **ret, struct err *err)
{
	const struct file_target *target = (const struct file_target *)base;
	return file_writer_open(file_next, target->file->is_device ? zero_device : NULL, base, queue, depth, ret, err);
}

static enum err_code file_target_finish(struct block_target *base, struct err *err)
{
	return target_file_finish(((struct file_target *)base)->file, err);
}

static void file_target_close(struct block_target *base)
{
	target_file_close(((struct file_target *)base)->file);
	free(base);
}

static const struct block_target_ops file_target_ops = {
	.format = "raw",
	.ordered = false,
	.writer_open = file_writer_open_op,
	.finish = file_target_finish,
	.close = file_target_close,
};

DEFINE_CLEANUP(target, struct block_target, block_target_close)

enum err_code file_target_open(const char *path, const struct target_options *options, const char *disk_name,
			       uint64_t size_bytes, struct block_target **ret, struct err *err)
{
	if (strcmp(path, "-") == 0)
		return stream_target_new(STDOUT_FILENO, "standard output", size_bytes, ret, err);
	struct file_target *target = calloc(1, sizeof(*target));
	if (!target)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", path);
	AUTO(cleanup_target) struct block_target *base = &target->base;
	base->ops = &file_target_ops;
	base->size_bytes = size_bytes;
	snprintf(base->name, sizeof(base->name), "%s", path);
	if (size_bytes > INT64_MAX)
		return err_set(err, ERR_LIMIT, 0, "disk '%s' of %" PRIu64 " bytes is too large for '%s'", disk_name,
			       size_bytes, path);
	TRY(target_file_open(path, options->overwrite, disk_name, size_bytes, &target->file, err));
	if (!target->file->is_device && ftruncate(target->file->fd, (off_t)size_bytes) < 0)
		return err_errno(err, "can't make '%s' %" PRIu64 " bytes long", path, size_bytes);
	target_file_notice(target->file, base);
	*ret = TAKE_PTR(base);
	return ERR_OK;
}
