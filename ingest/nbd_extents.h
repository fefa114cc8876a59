/* SPDX-License-Identifier: Apache-2.0 */
/* What an NBD server says is zero (base:allocation), asked for a window at a time and remembered.
 *
 * Threads: any; one question is asked at a time, the others wait for its answer. */
#ifndef INGEST_NBD_EXTENTS_H
#define INGEST_NBD_EXTENTS_H

#include "base/err.h"
#include "ingest/nbd_connection.h"
#include "pipeline/block_source.h"

struct nbd_extents;

/* Keeps `connection`, which has_extents. Gives *ret. */
MUST_CHECK enum err_code nbd_extents_new(struct nbd_connection *connection, struct nbd_extents **ret, struct err *err);

/* The extent around byte `offset` of the disk. What the server cannot tell about is data. ERR_NET, ERR_TIMEOUT: the
 * connection is lost, or the answer makes no sense. */
MUST_CHECK enum err_code nbd_extents_find(struct nbd_extents *extents, uint64_t offset, struct block_extent *ret,
					  struct err *err);

/* NULL is allowed. */
void nbd_extents_free(struct nbd_extents *extents);

#endif
