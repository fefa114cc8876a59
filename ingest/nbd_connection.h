/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to an NBD server, and the lanes that share it.
 *
 * libnbd keeps many commands in flight on a connection; replies come in any order and are taken by whichever thread
 * reads the socket. Where a server allows only one connection, several lanes use the same one: a `struct nbd_lane` is
 * one thread's set of commands on a connection. The thread that waits first reads the socket for all; the others sleep
 * until something of theirs has come or the reader leaves. A lane's results are handed out in the lane's own thread
 * only.
 *
 * A connection on which nothing moves for `idle_ms` is given up: it is closed, and all that is in flight or comes later
 * fails with the first cause. The memory of a command belongs to libnbd until the command is done or the connection
 * closed.
 *
 * Threads: a connection may be used from many threads, a lane from one. Lanes are freed before the connection is
 * closed, except by nbd_lane_abandon. */
#ifndef INGEST_NBD_CONNECTION_H
#define INGEST_NBD_CONNECTION_H

#include "base/cleanup.h"
#include "base/err.h"

#include <libnbd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The largest disk: far beyond any real one, small enough that sums of sizes never overflow. */
#define NBD_SIZE_MAX (UINT64_C(1) << 58)

/* The smallest payload limit of a server that is put up with: a read of 1 MiB is then 256 commands. */
#define NBD_PAYLOAD_MIN 4096u

struct nbd_limits {
	unsigned connect_ms; /* until the server has answered all of the handshake */
	unsigned idle_ms;    /* without a byte from or to the server while something is in flight */
};

extern const struct nbd_limits nbd_default_limits;

/* Where a server is. Exactly one of `uri` and `socket_path` is set; all strings are borrowed. */
struct nbd_address {
	const char *uri;
	const char *socket_path; /* a Unix socket without TLS; the default export */
	const char *name;        /* what messages call it */
	struct nbd_limits limits;
};

struct nbd_part;

struct nbd_connection {
	/* Fixed after opening. */
	char *name;
	unsigned idle_ms;
	uint64_t size_bytes;
	uint32_t align; /* offset and length of every command are multiples of this; a power of two up to 64 KiB */
	uint32_t payload_max; /* most bytes of one read or write; a multiple of align */
	bool read_only;
	bool multi_conn; /* the server keeps several connections coherent */
	bool can_zero;
	bool can_flush;
	bool has_extents; /* base:allocation can be asked */

	pthread_mutex_t lock; /* guards what follows; nothing is called back under it */
	pthread_cond_t moved; /* a reply was taken, the socket's reader left, or the connection failed */
	struct nbd_handle *handle;
	struct nbd_part *in_flight; /* doubly linked */
	bool polling;               /* a thread waits on the socket, without the lock */
	int wake_fd;                /* an eventfd: makes that thread look again */
	unsigned slow_in_flight;    /* commands that may take long in the server: zero, flush */
	uint64_t moved_ns;          /* when a byte last moved, or the first command went out */
	uint64_t settled_ns;        /* when a command last ended, or the first one went out */
	struct err failure;         /* set once; the handle is closed then */
};

/* True if `spec` is an NBD address ("nbd://", "nbds://", "nbd+unix://", "nbds+unix://"). */
bool nbd_is_address(const char *spec);

/* Connects and negotiates. TLS is used if and only if the scheme says so. ERR_NOT_FOUND: no such socket or export;
 * ERR_NET, ERR_TIMEOUT; ERR_UNSUPPORTED: an empty or absurd disk. Blocks for up to limits.connect_ms. Gives *ret. */
MUST_CHECK enum err_code nbd_connection_open(const struct nbd_address *address, struct nbd_connection **ret,
					     struct err *err);

/* Says good-bye if nothing is in flight, closes, frees. NULL is allowed. */
void nbd_connection_close(struct nbd_connection *connection);

DEFINE_CLEANUP(nbd_connection, struct nbd_connection, nbd_connection_close)

/* What made the connection fail, or ERR_OK while it works. */
MUST_CHECK enum err_code nbd_connection_check(struct nbd_connection *connection, struct err *err);

enum nbd_op { NBD_OP_READ, NBD_OP_WRITE, NBD_OP_ZERO, NBD_OP_FLUSH, NBD_OP_EXTENTS };

/* One request of a lane, split into as many commands as the server's limits ask for. The memory that `data`, `done`,
 * `err` and `pending` point to is lent until *done. */
struct nbd_transfer {
	enum nbd_op op;
	uint64_t offset;
	uint64_t length; /* 0 for a flush */
	union {
		uint8_t *to;         /* NBD_OP_READ */
		const uint8_t *from; /* NBD_OP_WRITE */
	} data;
	nbd_extent_callback extents; /* NBD_OP_EXTENTS; called under the connection's lock by any thread */
	bool *done;
	struct err *err;
	unsigned *pending;
};

struct nbd_lane;

/* A lane for up to `depth` transfers of 1 MiB in flight. Keeps `connection`. Gives *ret. */
MUST_CHECK enum err_code nbd_lane_new(struct nbd_connection *connection, unsigned depth, struct nbd_lane **ret,
				      struct err *err);

/* Borrows the lane's connection. */
struct nbd_connection *nbd_lane_connection(const struct nbd_lane *lane);

/* Starts a transfer. It may be done on return; errors are in *transfer->err when it is. `transfer` itself is borrowed.
 */
void nbd_lane_start(struct nbd_lane *lane, const struct nbd_transfer *transfer);

/* Blocks until a transfer has ended since the last call, or nothing is in flight. Ends at the latest with the idle
 * limit. */
void nbd_lane_wait(struct nbd_lane *lane);

/* Starts a transfer and waits until it is done; `done`, `err` and `pending` of `transfer` are ignored. */
MUST_CHECK enum err_code nbd_lane_run(struct nbd_lane *lane, const struct nbd_transfer *transfer, struct err *err);

/* Waits for what is in flight and frees. NULL is allowed. */
void nbd_lane_free(struct nbd_lane *lane);

/* Closes the lane's connection, which must have no other lane, without waiting for what is in flight; frees both. */
void nbd_lane_abandon(struct nbd_lane *lane);

#endif
