/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/stream_target.h"

#include "base/size.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ZERO_BYTES (256u << 10)

struct stream_target {
	struct block_target base;
	int fd;
	uint64_t position; /* bytes written; the pipeline lets one thread at a time write */
};

struct stream_writer {
	struct block_writer base;
	struct stream_target *target;
};

/* write() that fails with EPIPE instead of killing the process, whatever the process does with SIGPIPE. */
static ssize_t write_no_signal(int fd, const void *data, size_t length)
{
	sigset_t pipe_set;
	sigset_t before;
	sigset_t pending;
	sigemptyset(&pipe_set);
	sigaddset(&pipe_set, SIGPIPE);
	sigpending(&pending);
	bool was_pending = sigismember(&pending, SIGPIPE) == 1;
	pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
	ssize_t n = write(fd, data, length);
	int saved = errno;
	if (n < 0 && saved == EPIPE && !was_pending)
		while (sigtimedwait(&pipe_set, NULL, &(struct timespec){0}) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = saved;
	return n;
}

static enum err_code stream_write(struct stream_target *target, const uint8_t *data, size_t length, struct err *err)
{
	while (length > 0) {
		ssize_t n = write_no_signal(target->fd, data, length);
		if (n < 0 && errno == EAGAIN) {
			struct pollfd wait = {.fd = target->fd, .events = POLLOUT};
			(void)poll(&wait, 1, -1);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EPIPE)
			return err_set(err, ERR_IO, EPIPE, "the reader of %s went away at byte %" PRIu64 " of the disk",
				       target->base.name, target->position);
		if (n < 0)
			return err_errno(err, "can't write to %s at byte %" PRIu64, target->base.name,
					 target->position);
		data += n;
		length -= (size_t)n;
		target->position += (uint64_t)n;
	}
	return ERR_OK;
}

static enum err_code check_place(const struct stream_target *target, uint64_t offset, uint64_t length, struct err *err)
{
	uint64_t size = target->base.size_bytes;
	if (offset != target->position || offset > size || length > size - offset)
		return err_set(err, ERR_BUG, 0, "write to %s at byte %" PRIu64 " while it stands at %" PRIu64,
			       target->base.name, offset, target->position);
	return ERR_OK;
}

static void stream_submit(struct block_writer *base, struct block_write *write)
{
	struct stream_target *target = ((struct stream_writer *)base)->target;
	write->err = (struct err){0};
	if (check_place(target, write->offset, write->length, &write->err) == ERR_OK)
		(void)!stream_write(target, write->data, write->length, &write->err);
	write->done = true;
}

static enum err_code stream_zero(struct block_writer *base, uint64_t offset, uint64_t length, struct err *err)
{
	static const uint8_t zeroes[ZERO_BYTES];
	struct stream_target *target = ((struct stream_writer *)base)->target;
	TRY(check_place(target, offset, length, err));
	while (length > 0) {
		size_t n = (size_t)min_u64(length, sizeof(zeroes));
		TRY(stream_write(target, zeroes, n, err));
		length -= n;
	}
	return ERR_OK;
}

static enum err_code stream_wait(struct block_writer *base, struct err *err)
{
	(void)base;
	(void)err;
	return ERR_OK;
}

static void stream_writer_close(struct block_writer *base)
{
	free(base);
}

static const struct block_writer_ops stream_writer_ops = {
	.submit = stream_submit,
	.zero = stream_zero,
	.wait = stream_wait,
	.close = stream_writer_close,
};

static enum err_code stream_writer_open(struct block_target *base, struct io_queue *queue, unsigned depth,
					struct block_writer **ret, struct err *err)
{
	(void)queue;
	(void)depth;
	struct stream_writer *writer = calloc(1, sizeof(*writer));
	if (!writer)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a writer to %s", base->name);
	writer->base.ops = &stream_writer_ops;
	writer->target = (struct stream_target *)base;
	*ret = &writer->base;
	return ERR_OK;
}

static enum err_code stream_finish(struct block_target *base, struct err *err)
{
	const struct stream_target *target = (const struct stream_target *)base;
	if (target->position != base->size_bytes)
		return err_set(err, ERR_BUG, 0, "%s got %" PRIu64 " bytes of a disk of %" PRIu64, base->name,
			       target->position, base->size_bytes);
	/* Pipes, sockets and character devices have nothing to make durable. */
	if (fsync(target->fd) < 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP)
		return err_errno(err, "can't make %s durable", base->name);
	return ERR_OK;
}

static void stream_close(struct block_target *base)
{
	free(base);
}

static const struct block_target_ops stream_target_ops = {
	.format = "raw",
	.ordered = true,
	.writer_open = stream_writer_open,
	.finish = stream_finish,
	.close = stream_close,
};

enum err_code stream_target_new(int fd, const char *name, uint64_t size_bytes, struct block_target **ret,
				struct err *err)
{
	if (isatty(fd))
		return err_set(err, ERR_INVALID, 0, "%s is a terminal; lead it into a file or a pipe", name);
	struct stream_target *target = calloc(1, sizeof(*target));
	if (!target)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to write to %s", name);
	target->base.ops = &stream_target_ops;
	target->base.size_bytes = size_bytes;
	snprintf(target->base.name, sizeof(target->base.name), "%s", name);
	target->fd = fd;
	*ret = &target->base;
	return ERR_OK;
}
