/* SPDX-License-Identifier: Apache-2.0 */
/* Commands in flight. A part is one NBD command; it is always in exactly one place:
 *
 *     free ──start──▶ in_flight (of the connection) ──reply──▶ completed (of its lane) ──reap──▶ free
 *
 * libnbd's completion callback, run by whichever thread reads the socket, only moves a part to `completed`; the lane's
 * own thread reaps it and touches the caller's memory. When the connection is given up, closing libnbd's handle ends
 * its use of all memory, and the parts still in flight are completed as failed. */
#include "ingest/nbd_connection.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* The pipeline's reads and writes are at most this long (SOURCE_READ_MAX, TARGET_WRITE_MAX). */
#define TRANSFER_MAX (1u << 20)

/* Zeroes asked for at once: far below the protocol's 32 bits, and short enough for a server that really writes them. */
#define ZERO_MAX (256u << 20)

/* A peer that sends a byte now and then but ends no command is given up after this many idle limits; one that flushes
 * or zeroes may be silent for as long. */
#define SLOW_FACTOR 10

struct nbd_part {
	struct nbd_part *next; /* in every list */
	struct nbd_part *prev; /* in_flight only */
	struct nbd_lane *lane;
	enum nbd_op op;
	uint64_t offset;
	uint64_t length;
	uint64_t arrived; /* bytes of a read that came */
	int error;        /* errno of the command */
	bool *done;
	struct err *err;
	unsigned *pending;
};

struct nbd_lane {
	struct nbd_connection *connection;
	struct nbd_part *parts;
	struct nbd_part *free;
	struct nbd_part *completed; /* guarded by connection->lock */
	unsigned in_flight;         /* parts not reaped */
	unsigned settled;           /* transfers that ended since the last nbd_lane_wait */
};

static bool op_is_slow(enum nbd_op op)
{
	return op == NBD_OP_ZERO || op == NBD_OP_FLUSH;
}

static void part_link(struct nbd_connection *connection, struct nbd_part *part)
{
	part->prev = NULL;
	part->next = connection->in_flight;
	if (part->next)
		part->next->prev = part;
	connection->in_flight = part;
	connection->slow_in_flight += op_is_slow(part->op);
}

/* Takes a part out of flight and hands it to its lane. */
static void part_complete(struct nbd_connection *connection, struct nbd_part *part, int error)
{
	if (part->prev)
		part->prev->next = part->next;
	else
		connection->in_flight = part->next;
	if (part->next)
		part->next->prev = part->prev;
	connection->slow_in_flight -= op_is_slow(part->op);
	connection->settled_ns = clock_mono_ns();
	part->error = error;
	part->next = part->lane->completed;
	part->lane->completed = part;
}

static int on_complete(void *user, int *error)
{
	struct nbd_part *part = user;
	part_complete(part->lane->connection, part, *error);
	return 1; /* retire the command */
}

static int on_chunk(void *user, const void *data, size_t count, uint64_t offset, unsigned status, int *error)
{
	struct nbd_part *part = user;
	(void)data;
	(void)offset;
	(void)error;
	if (status != LIBNBD_READ_ERROR)
		part->arrived += count;
	return 0;
}

/* Ends the connection for `code`, and everything in flight with it. Under the lock, by the thread that polls or when
 * none does: the socket is closed. */
static void connection_fail(struct nbd_connection *connection, enum err_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void connection_fail(struct nbd_connection *connection, enum err_code code, const char *format, ...)
{
	if (connection->failure.code == ERR_OK) {
		va_list args;
		va_start(args, format);
		err_setv(&connection->failure, code, 0, format, args);
		va_end(args);
	}
	nbd_close(connection->handle);
	connection->handle = NULL;
	while (connection->in_flight)
		part_complete(connection, connection->in_flight, ENOTCONN);
	pthread_cond_broadcast(&connection->moved);
}

/* Fails the connection when libnbd says that it is over. Call right after the library call that may have ended it. */
static void fail_if_over(struct nbd_connection *connection, int result)
{
	if (nbd_aio_is_closed(connection->handle)) {
		connection_fail(connection, ERR_NET, "lost server '%s': it closed the connection", connection->name);
	} else if (nbd_aio_is_dead(connection->handle)) {
		char reason[256] = "the connection broke";
		if (result < 0 && nbd_get_error())
			snprintf(reason, sizeof(reason), "%s", nbd_get_error());
		connection_fail(connection, ERR_NET, "lost server '%s': %s", connection->name, reason);
	}
}

/* Milliseconds until the connection is to be given up; 0: now. */
static unsigned patience_ms(const struct nbd_connection *connection)
{
	uint64_t idle_ns = (uint64_t)connection->idle_ms * 1000000;
	uint64_t long_ns = idle_ns * SLOW_FACTOR;
	uint64_t silent_until = connection->moved_ns + (connection->slow_in_flight ? long_ns : idle_ns);
	uint64_t until = min_u64(silent_until, connection->settled_ns + long_ns);
	uint64_t now_ns = clock_mono_ns();
	return now_ns >= until ? 0 : (unsigned)((until - now_ns) / 1000000) + 1;
}

/* What poll said about the socket; the connection may have moved on since, so the direction is asked again. */
static void take_replies(struct nbd_connection *connection, short events)
{
	unsigned direction = nbd_aio_get_direction(connection->handle);
	int result = 0;
	if ((events & (POLLIN | POLLHUP | POLLERR)) && (direction & LIBNBD_AIO_DIRECTION_READ))
		result = nbd_aio_notify_read(connection->handle);
	else if (events && (direction & LIBNBD_AIO_DIRECTION_WRITE))
		result = nbd_aio_notify_write(connection->handle);
	connection->moved_ns = clock_mono_ns();
	fail_if_over(connection, result);
}

/* Begins a wait, under the lock. The server's silence counts only while somebody listens: a lane may have been busy
 * with other things for long. */
static void connection_listen(struct nbd_connection *connection)
{
	if (!connection->polling)
		connection->moved_ns = connection->settled_ns = clock_mono_ns();
}

/* One step of a wait, under the lock: reads the socket, or sleeps while another thread does. */
static void connection_step(struct nbd_connection *connection)
{
	if (connection->polling) {
		pthread_cond_wait(&connection->moved, &connection->lock);
		return;
	}
	if (connection->handle)
		fail_if_over(connection, 0);
	if (!connection->handle)
		return;
	unsigned direction = nbd_aio_get_direction(connection->handle);
	struct pollfd fds[2] = {
		{.fd = nbd_aio_get_fd(connection->handle)},
		{.fd = connection->wake_fd, .events = POLLIN},
	};
	if (direction & LIBNBD_AIO_DIRECTION_READ)
		fds[0].events |= POLLIN;
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		fds[0].events |= POLLOUT;
	unsigned wait_ms = patience_ms(connection);
	connection->polling = true;
	pthread_mutex_unlock(&connection->lock);
	int ready = poll(fds, 2, (int)wait_ms);
	pthread_mutex_lock(&connection->lock);
	connection->polling = false;
	if (fds[1].revents) {
		uint64_t count;
		(void)!read(connection->wake_fd, &count, sizeof(count));
	}
	if (ready > 0 && fds[0].revents)
		take_replies(connection, fds[0].revents);
	if (connection->handle && patience_ms(connection) == 0)
		connection_fail(connection, ERR_TIMEOUT, "server '%s' has ended no request for %llu ms",
				connection->name,
				(unsigned long long)(clock_mono_ns() - connection->settled_ns) / 1000000);
	pthread_cond_broadcast(&connection->moved);
}

static enum err_code part_describe(const struct nbd_part *part, enum err_code code, int os_errno)
{
	const char *name = part->lane->connection->name;
	switch (part->op) {
	case NBD_OP_READ:
		return err_set(part->err, code, os_errno, "cannot read %llu bytes at offset %llu of '%s'",
			       (unsigned long long)part->length, (unsigned long long)part->offset, name);
	case NBD_OP_WRITE:
	case NBD_OP_ZERO:
		return err_set(part->err, code, os_errno, "cannot write %llu bytes at offset %llu of '%s'",
			       (unsigned long long)part->length, (unsigned long long)part->offset, name);
	case NBD_OP_EXTENTS:
		return err_set(part->err, code, os_errno, "cannot ask for the allocation at offset %llu of '%s'",
			       (unsigned long long)part->offset, name);
	case NBD_OP_FLUSH:
		break;
	}
	return err_set(part->err, code, os_errno, "cannot flush '%s'", name);
}

/* Turns how a part ended into its transfer's error. */
static void part_judge(const struct nbd_part *part)
{
	const struct err *failure = &part->lane->connection->failure;
	if (part->error && failure->code != ERR_OK) {
		if (part->err->code == ERR_OK)
			*part->err = *failure;
	} else if (part->error) {
		enum err_code code = err_code_of_errno(part->error);
		/* ENOENT and the like have no meaning of their own in a reply. */
		if (code != ERR_NO_SPACE && code != ERR_NO_MEMORY)
			code = part->error == ESHUTDOWN || part->error == ENOTCONN ? ERR_NET : ERR_IO;
		part_describe(part, code, part->error);
	} else if (part->op == NBD_OP_READ && part->arrived != part->length) {
		err_set(part->err, ERR_NET, 0, "server sent %llu of %llu bytes at offset %llu of '%s'",
			(unsigned long long)part->arrived, (unsigned long long)part->length,
			(unsigned long long)part->offset, part->lane->connection->name);
	}
}

/* Ends one of a transfer's parts (or the guard of nbd_lane_start). */
static void transfer_settle(struct nbd_lane *lane, unsigned *pending, bool *done)
{
	if (--*pending == 0) {
		*done = true;
		lane->settled++;
	}
}

/* Ends the transfers whose parts have completed. Under the lock, in the lane's thread. */
static void lane_reap(struct nbd_lane *lane)
{
	while (lane->completed) {
		struct nbd_part *part = lane->completed;
		lane->completed = part->next;
		part_judge(part);
		transfer_settle(lane, part->pending, part->done);
		part->next = lane->free;
		lane->free = part;
		lane->in_flight--;
	}
}

enum err_code nbd_lane_new(struct nbd_connection *connection, unsigned depth, struct nbd_lane **ret, struct err *err)
{
	size_t per_transfer = (TRANSFER_MAX + connection->payload_max - 1) / connection->payload_max;
	size_t count = (depth ? depth : 1) * per_transfer;
	AUTO_FREE struct nbd_lane *lane = calloc(1, sizeof(*lane));
	struct nbd_part *parts = calloc(count, sizeof(*parts));
	if (!lane || !parts) {
		free(parts);
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for requests to '%s'", connection->name);
	}
	lane->connection = connection;
	lane->parts = parts;
	for (size_t i = 0; i < count; i++) {
		parts[i].lane = lane;
		parts[i].next = lane->free;
		lane->free = &parts[i];
	}
	*ret = TAKE_PTR(lane);
	return ERR_OK;
}

struct nbd_connection *nbd_lane_connection(const struct nbd_lane *lane)
{
	return lane->connection;
}

/* Gives one command to libnbd; it copies nothing. Returns its cookie or -1. */
static int64_t part_issue(struct nbd_handle *handle, struct nbd_part *part, const struct nbd_transfer *transfer)
{
	uint64_t skip = part->offset - transfer->offset;
	nbd_completion_callback completion = {.callback = on_complete, .user_data = part};
	switch (part->op) {
	case NBD_OP_READ: {
		nbd_chunk_callback chunk = {.callback = on_chunk, .user_data = part};
		return nbd_aio_pread_structured(handle, transfer->data.to + skip, part->length, part->offset, chunk,
						completion, 0);
	}
	case NBD_OP_WRITE:
		return nbd_aio_pwrite(handle, transfer->data.from + skip, part->length, part->offset, completion, 0);
	case NBD_OP_ZERO:
		return nbd_aio_zero(handle, part->length, part->offset, completion, 0);
	case NBD_OP_EXTENTS:
		return nbd_aio_block_status(handle, part->length, part->offset, transfer->extents, completion, 0);
	case NBD_OP_FLUSH:
		break;
	}
	return nbd_aio_flush(handle, completion, 0);
}

static void part_start(struct nbd_lane *lane, struct nbd_part *part, const struct nbd_transfer *transfer)
{
	struct nbd_connection *connection = lane->connection;
	part_link(connection, part);
	lane->in_flight++;
	if (connection->failure.code != ERR_OK) {
		part_complete(connection, part, ENOTCONN);
		return;
	}
	/* libnbd refuses a command by -1; one that it takes but cannot send it completes by itself, as failed. */
	int64_t cookie = part_issue(connection->handle, part, transfer);
	if (cookie < 0) {
		int os_errno = nbd_get_errno();
		part_complete(connection, part, os_errno ? os_errno : EIO);
	}
	if (!connection->polling)
		fail_if_over(connection, -1);
}

/* Tells the thread that polls what it cannot see: libnbd wishes to write, or the connection is over. */
static void wake_poller(struct nbd_connection *connection)
{
	uint64_t one = 1;
	if (connection->polling && nbd_aio_get_direction(connection->handle) != LIBNBD_AIO_DIRECTION_READ)
		(void)!write(connection->wake_fd, &one, sizeof(one));
}

static uint64_t piece_max(const struct nbd_connection *connection, enum nbd_op op)
{
	if (op == NBD_OP_READ || op == NBD_OP_WRITE)
		return connection->payload_max;
	return op == NBD_OP_ZERO ? ZERO_MAX : UINT32_MAX;
}

void nbd_lane_start(struct nbd_lane *lane, const struct nbd_transfer *transfer)
{
	struct nbd_connection *connection = lane->connection;
	LOCK_SCOPE(&connection->lock);
	*transfer->done = false;
	*transfer->pending = 1; /* a guard: not done before all parts have been started */
	uint64_t done = 0;
	do {
		if (!lane->free)
			connection_listen(connection);
		while (!lane->free) {
			lane_reap(lane);
			if (!lane->free)
				connection_step(connection);
		}
		struct nbd_part *part = lane->free;
		lane->free = part->next;
		part->op = transfer->op;
		part->offset = transfer->offset + done;
		part->length = min_u64(transfer->length - done, piece_max(connection, transfer->op));
		part->arrived = 0;
		part->error = 0;
		part->done = transfer->done;
		part->err = transfer->err;
		part->pending = transfer->pending;
		++*transfer->pending;
		done += part->length;
		part_start(lane, part, transfer);
	} while (done < transfer->length);
	transfer_settle(lane, transfer->pending, transfer->done);
	lane_reap(lane);
	wake_poller(connection);
}

void nbd_lane_wait(struct nbd_lane *lane)
{
	LOCK_SCOPE(&lane->connection->lock);
	connection_listen(lane->connection);
	lane_reap(lane);
	while (!lane->settled && lane->in_flight) {
		connection_step(lane->connection);
		lane_reap(lane);
	}
	lane->settled = 0;
}

enum err_code nbd_lane_run(struct nbd_lane *lane, const struct nbd_transfer *transfer, struct err *err)
{
	bool done = false;
	unsigned pending = 0;
	struct err first = {0};
	struct nbd_transfer mine = *transfer;
	mine.done = &done;
	mine.err = &first;
	mine.pending = &pending;
	nbd_lane_start(lane, &mine);
	/* Other transfers of the lane that end meanwhile are left for the next nbd_lane_wait. */
	pthread_mutex_lock(&lane->connection->lock);
	connection_listen(lane->connection);
	lane_reap(lane);
	while (!*mine.done) {
		connection_step(lane->connection);
		lane_reap(lane);
	}
	lane->settled--;
	pthread_mutex_unlock(&lane->connection->lock);
	if (first.code != ERR_OK && err && err->code == ERR_OK)
		*err = first;
	return first.code;
}

void nbd_lane_free(struct nbd_lane *lane)
{
	if (!lane)
		return;
	pthread_mutex_lock(&lane->connection->lock);
	connection_listen(lane->connection);
	for (lane_reap(lane); lane->in_flight; lane_reap(lane))
		connection_step(lane->connection);
	pthread_mutex_unlock(&lane->connection->lock);
	free(lane->parts);
	free(lane);
}

void nbd_lane_abandon(struct nbd_lane *lane)
{
	if (!lane)
		return;
	nbd_connection_close(lane->connection);
	free(lane->parts);
	free(lane);
}
