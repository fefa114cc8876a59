/* SPDX-License-Identifier: Apache-2.0 */
/* A queue is one io_uring.
 *
 * States of an op: in the submission ring (filled, the kernel does not know it) -> with the kernel -> completed, or
 * back in the submission ring when it was transferred in part or interrupted. An op holds at most one submission entry
 * at a time, and the ring has `depth` of them, so there is always a free one.
 */
#include "store/io_uring_internal.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "store/io_uring.h"

/* Requests are handed to the kernel when this many bytes or requests have gathered, and at every wait.
 *
 * Measured on virtio flash (Linux 6.18, O_DIRECT, medians of interleaved runs): 1 MiB reads cost 20 us of CPU each
 * whether handed over one by one or eight at a time, but two in flight beside 300 us of work per read gave 1.4 GB/s
 * when handed over at once and 1.1 when left to the next wait. 64 KiB reads cost 5.4 us one by one and 4.4 us four at a
 * time, 4 KiB reads 5.6 and 4.4. So a large transfer goes at once, and small ones share a system call. */
#define HAND_OVER_BYTES (256u << 10)
#define HAND_OVER_COUNT 8u

struct uring_queue {
	struct io_queue base;
	struct io_uring ring;
	const uint8_t *arena; /* memory registered with the kernel; NULL if none is */
	size_t arena_length;
	uint64_t gathered_bytes; /* of transfers that the kernel does not know yet */
	uint64_t completed;      /* ops completed since the queue was made */
	int broken;              /* errno of the ring's failure; 0 while it works */
};

static struct uring_queue *queue_of(struct io_queue *queue)
{
	return (struct uring_queue *)queue;
}

/* Sets up a ring in the cheapest way that the kernel knows: completions are prepared only when this thread asks for
 * them (6.1), at least without interrupting it (5.19), else as they come. Returns 0 or -errno. */
static int ring_init(struct io_uring *ring, unsigned entries)
{
	static const unsigned ways[] = {
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	int rc = -EINVAL;
	for (size_t i = 0; rc == -EINVAL && i < sizeof(ways) / sizeof(ways[0]); i++)
		rc = io_uring_queue_init(entries, ring, ways[i]);
	return rc;
}

static enum err_code ring_error(int os_errno, struct err *err)
{
	if (os_errno == ENOSYS)
		return err_set(
			err, ERR_UNSUPPORTED, os_errno,
			"this kernel has no io_uring; Linux 5.6 or newer is needed, outside of a container whose "
			"seccomp profile hides it");
	if (os_errno == EPERM || os_errno == EACCES)
		return err_set(
			err, ERR_UNSUPPORTED, os_errno,
			"the kernel forbids io_uring to this process; set sysctl kernel.io_uring_disabled=0, or allow "
			"io_uring in the container's seccomp profile");
	if (os_errno == ENOMEM)
		return err_set(err, ERR_NO_MEMORY, os_errno,
			       "no memory for an io_uring; raise the limit of locked memory (ulimit -l)");
	return err_set(err, ERR_IO, os_errno, "cannot set up an io_uring");
}

enum err_code uring_probe(struct err *err)
{
	struct io_uring ring;
	int rc = ring_init(&ring, 1);
	if (rc < 0)
		return ring_error(-rc, err);
	io_uring_queue_exit(&ring);
	return ERR_OK;
}

/* Registers the arena, so that the kernel pins its pages once and not for every transfer. It works as well without. */
static void register_arena(struct uring_queue *queue, void *arena, size_t length)
{
	if (!arena || length == 0)
		return;
	struct iovec whole = {.iov_base = arena, .iov_len = length};
	int rc = io_uring_register_buffers(&queue->ring, &whole, 1);
	if (rc < 0) {
		log_debug("store", "cannot register %zu bytes of buffers (%s), pinning them for each transfer instead",
			  length, strerrordesc_np(-rc));
		return;
	}
	queue->arena = arena;
	queue->arena_length = length;
}

enum err_code uring_queue_new(struct io *io, unsigned depth, void *arena, size_t arena_length, struct io_queue **ret,
			      struct err *err)
{
	AUTO_FREE struct uring_queue *queue = calloc(1, sizeof(*queue));
	if (!queue)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for an io_uring");
	queue->base.ops = io->ops;
	queue->base.depth = depth;
	int rc = ring_init(&queue->ring, depth);
	if (rc < 0)
		return ring_error(-rc, err);
	register_arena(queue, arena, arena_length);
	*ret = &TAKE_PTR(queue)->base;
	return ERR_OK;
}

static bool in_arena(const struct uring_queue *queue, const uint8_t *data, uint32_t length)
{
	uintptr_t at = (uintptr_t)data, start = (uintptr_t)queue->arena;
	return queue->arena && at >= start && length <= queue->arena_length &&
	       at - start <= queue->arena_length - length;
}

static void fill_transfer(struct uring_queue *queue, struct io_uring_sqe *sqe, const struct io_op *op)
{
	int fd = io_uring_file_fd(op->file);
	uint8_t *data = (uint8_t *)op->data + op->progress;
	uint32_t length = op->length - op->progress;
	uint64_t offset = op->offset + op->progress;
	bool fixed = in_arena(queue, data, length);
	if (op->kind == IO_OP_READ && fixed)
		io_uring_prep_read_fixed(sqe, fd, data, length, offset, /* buf_index= */ 0);
	else if (op->kind == IO_OP_READ)
		io_uring_prep_read(sqe, fd, data, length, offset);
	else if (fixed)
		io_uring_prep_write_fixed(sqe, fd, data, length, offset, /* buf_index= */ 0);
	else
		io_uring_prep_write(sqe, fd, data, length, offset);
	queue->gathered_bytes += length;
}

/* Fills a submission entry with what is left to do of `op`. */
static void push(struct uring_queue *queue, struct io_op *op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&queue->ring);
	assert(sqe); /* see the top */
	if (op->kind == IO_OP_SYNC)
		io_uring_prep_fsync(sqe, io_uring_file_fd(op->file), IORING_FSYNC_DATASYNC);
	else
		fill_transfer(queue, sqe, op);
	io_uring_sqe_set_data(sqe, op);
}

/* Hands over what has gathered and waits for `want` completions. A kernel that is short of resources (EAGAIN, EBUSY)
 * takes the rest at the next call. */
static void enter(struct uring_queue *queue, unsigned want)
{
	if (queue->broken)
		return;
	int rc = io_uring_submit_and_wait(&queue->ring, want);
	if (io_uring_sq_ready(&queue->ring) == 0)
		queue->gathered_bytes = 0;
	if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY)
		queue->broken = -rc;
}

void uring_queue_submit(struct io_queue *base, struct io_op *op)
{
	struct uring_queue *queue = queue_of(base);
	base->in_flight++;
	push(queue, op);
	if (queue->gathered_bytes >= HAND_OVER_BYTES || io_uring_sq_ready(&queue->ring) >= HAND_OVER_COUNT)
		enter(queue, /* want= */ 0);
}

static void complete(struct uring_queue *queue, struct io_op *op, int64_t result)
{
	op->result = result;
	queue->base.in_flight--;
	queue->completed++;
	op->complete(op);
}

/* True if a direct read that ended inside an alignment unit did so where the file ends. Anywhere else it can't be
 * continued. */
static bool ended_with_file(const struct io_op *op)
{
	uint64_t size = 0;
	return op->file->ops->size(op->file, &size, NULL) == ERR_OK && op->offset + op->progress >= size;
}

/* Takes the kernel's answer for `op`: completes it, or continues a transfer that was cut short. */
static void finish(struct uring_queue *queue, struct io_op *op, int answer)
{
	if (answer == -EINTR || answer == -EAGAIN) {
		push(queue, op);
		return;
	}
	if (answer < 0 || op->kind == IO_OP_SYNC) {
		complete(queue, op, answer);
		return;
	}
	op->progress += (uint32_t)answer;
	bool split = op->progress & (op->file->align - 1);
	if (op->progress < op->length && answer > 0 && !split) {
		push(queue, op);
		return;
	}
	bool short_write = op->kind == IO_OP_WRITE && op->progress < op->length;
	bool bad_read = op->kind == IO_OP_READ && split && op->progress < op->length && !ended_with_file(op);
	complete(queue, op, short_write || bad_read ? -EIO : (int64_t)op->progress);
}

/* Takes the completions that are there now; what their functions submit does not keep it going. One at a time: such a
 * function may itself take completions. */
static void reap(struct uring_queue *queue)
{
	struct io_uring_cqe *cqe = NULL;
	for (unsigned ready = io_uring_cq_ready(&queue->ring); ready > 0; ready--) {
		if (io_uring_peek_cqe(&queue->ring, &cqe) != 0 || !cqe)
			return;
		struct io_op *op = io_uring_cqe_get_data(cqe);
		int answer = cqe->res;
		io_uring_cqe_seen(&queue->ring, cqe);
		finish(queue, op, answer);
	}
}

enum err_code uring_queue_wait(struct io_queue *base, unsigned min, struct err *err)
{
	struct uring_queue *queue = queue_of(base);
	uint64_t before = queue->completed;
	uint64_t came = 0;
	do {
		uint64_t missing = came < min ? min - came : 0;
		enter(queue, missing < base->in_flight ? (unsigned)missing : base->in_flight);
		reap(queue);
		came = queue->completed - before;
	} while (came < min && base->in_flight > 0 && !queue->broken);
	/* What the completions submitted must not wait until the next call. */
	if (io_uring_sq_ready(&queue->ring) > 0)
		enter(queue, /* want= */ 0);
	if (queue->broken)
		return err_set(err, ERR_IO, queue->broken, "the io_uring of this thread failed");
	return ERR_OK;
}

void uring_queue_free(struct io_queue *base)
{
	struct uring_queue *queue = queue_of(base);
	struct err err = {0};
	while (base->in_flight > 0 && uring_queue_wait(base, base->in_flight, &err) == ERR_OK)
		;
	if (base->in_flight > 0)
		log_debug("store", "%s, leaving %u requests to the kernel", err.msg, base->in_flight);
	io_uring_queue_exit(&queue->ring);
	free(queue);
}
