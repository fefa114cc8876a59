/* SPDX-License-Identifier: Apache-2.0 */
/* A disk behind an NBD server as the target of a restore. Connections are used as by the source: one per writer if the
 * server keeps them coherent, which also means that a flush on one covers all; else one for all. */
#include "base/cleanup.h"
#include "base/log.h"
#include "base/size.h"
#include "ingest/formats.h"
#include "ingest/nbd_connection.h"

#include <stdlib.h>
#include <string.h>

struct nbd_target {
	struct block_target base;
	struct nbd_connection *connection; /* the first */
	pthread_mutex_t open_lock; /* connections are opened one after another; no other lock is taken under it */
	char *uri;
	uint8_t *zeroes; /* TARGET_WRITE_MAX of them, for a server that cannot zero; else NULL */
};

struct nbd_writer {
	struct block_writer base;
	struct nbd_target *target;
	struct nbd_lane *lane;
	struct nbd_connection *own; /* NULL: the target's first is shared */
};

/* The end of the disk may be shorter than the server's blocks; what lies behind it, within the export, becomes zero. */
static uint64_t padded_length(const struct nbd_connection *connection, uint64_t length)
{
	return round_up(length, connection->align);
}

static void writer_submit(struct block_writer *base, struct block_write *write)
{
	struct nbd_writer *writer = (struct nbd_writer *)base;
	const struct nbd_transfer transfer = {
		.op = NBD_OP_WRITE,
		.offset = write->offset,
		.length = padded_length(writer->target->connection, write->length),
		.data.from = write->data,
		.done = &write->done,
		.err = &write->err,
		.pending = &write->pending,
	};
	nbd_lane_start(writer->lane, &transfer);
}

static enum err_code writer_zero(struct block_writer *base, uint64_t offset, uint64_t length, struct err *err)
{
	struct nbd_writer *writer = (struct nbd_writer *)base;
	const struct nbd_target *target = writer->target;
	struct nbd_transfer transfer = {.op = NBD_OP_ZERO, .offset = offset};
	transfer.length = padded_length(target->connection, length);
	if (!target->zeroes)
		return nbd_lane_run(writer->lane, &transfer, err);
	transfer.op = NBD_OP_WRITE;
	transfer.data.from = target->zeroes;
	for (uint64_t left = padded_length(target->connection, length); left > 0; left -= transfer.length) {
		transfer.length = min_u64(left, TARGET_WRITE_MAX);
		TRY(nbd_lane_run(writer->lane, &transfer, err));
		transfer.offset += transfer.length;
	}
	return ERR_OK;
}

static enum err_code writer_wait(struct block_writer *base, struct err *err)
{
	(void)err;
	nbd_lane_wait(((struct nbd_writer *)base)->lane);
	return ERR_OK;
}

static void writer_close(struct block_writer *base)
{
	struct nbd_writer *writer = (struct nbd_writer *)base;
	nbd_lane_free(writer->lane);
	nbd_connection_close(writer->own);
	free(writer);
}

static const struct block_writer_ops writer_ops = {
	.submit = writer_submit,
	.zero = writer_zero,
	.wait = writer_wait,
	.close = writer_close,
};

static enum err_code target_writer_open(struct block_target *base, struct io_queue *queue, unsigned depth,
					struct block_writer **ret, struct err *err)
{
	struct nbd_target *target = (struct nbd_target *)base;
	(void)queue;
	AUTO_FREE struct nbd_writer *writer = calloc(1, sizeof(*writer));
	if (!writer)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to write '%s'", base->name);
	AUTO(cleanup_nbd_connection) struct nbd_connection *own = NULL;
	if (target->connection->multi_conn) {
		const struct nbd_address address = {
			.uri = target->uri, .name = base->name, .limits = nbd_default_limits};
		struct err why = {0};
		LOCK_SCOPE(&target->open_lock);
		if (nbd_connection_open(&address, &own, &why) != ERR_OK)
			log_debug("ingest", "%s, sharing the first connection instead", why.msg);
	}
	TRY(nbd_lane_new(own ? own : target->connection, depth, &writer->lane, err));
	writer->own = TAKE_PTR(own);
	writer->target = target;
	writer->base.ops = &writer_ops;
	*ret = &TAKE_PTR(writer)->base;
	return ERR_OK;
}

static enum err_code target_finish(struct block_target *base, struct err *err)
{
	struct nbd_target *target = (struct nbd_target *)base;
	TRY(nbd_connection_check(target->connection, err));
	if (!target->connection->can_flush)
		return ERR_OK;
	struct nbd_lane *lane = NULL;
	TRY(nbd_lane_new(target->connection, 1, &lane, err));
	const struct nbd_transfer flush = {.op = NBD_OP_FLUSH};
	enum err_code code = nbd_lane_run(lane, &flush, err);
	nbd_lane_free(lane);
	return code;
}

static void target_close(struct block_target *base)
{
	struct nbd_target *target = (struct nbd_target *)base;
	nbd_connection_close(target->connection);
	pthread_mutex_destroy(&target->open_lock);
	free(target->zeroes);
	free(target->uri);
	free(target);
}

static const struct block_target_ops target_ops = {
	.format = "nbd",
	.writer_open = target_writer_open,
	.finish = target_finish,
	.close = target_close,
};

DEFINE_CLEANUP(target, struct block_target, block_target_close)

static enum err_code check_export(const struct nbd_connection *connection, bool overwrite, const char *disk_name,
				  uint64_t size_bytes, struct err *err)
{
	const char *name = connection->name;
	if (connection->read_only)
		return err_set(err, ERR_UNSUPPORTED, 0, "'%s' is exported read-only", name);
	if (connection->size_bytes < size_bytes)
		return err_set(err, ERR_NO_SPACE, 0, "'%s' has %llu bytes, disk '%s' needs %llu", name,
			       (unsigned long long)connection->size_bytes, disk_name, (unsigned long long)size_bytes);
	/* A write's memory is padded to 4096 bytes only. */
	if (connection->align > 4096 && size_bytes % connection->align != 0)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s' takes only blocks of %u bytes, and the size of disk '%s' is no multiple", name,
			       connection->align, disk_name);
	if (padded_length(connection, size_bytes) > connection->size_bytes)
		return err_set(err, ERR_NO_SPACE, 0, "the last block of '%s' cannot be written in full", name);
	if (!overwrite)
		return err_set(err, ERR_EXISTS, 0, "'%s' exists already; add --overwrite to write over it", name);
	return ERR_OK;
}

enum err_code nbd_target_open(const char *uri, const struct target_options *options, const char *disk_name,
			      uint64_t size_bytes, struct block_target **ret, struct err *err)
{
	struct nbd_target *target = calloc(1, sizeof(*target));
	if (!target)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", uri);
	AUTO(cleanup_target) struct block_target *base = &target->base;
	base->ops = &target_ops;
	pthread_mutex_init(&target->open_lock, NULL);
	snprintf(base->name, sizeof(base->name), "%s", uri);
	base->size_bytes = size_bytes;
	target->uri = strdup(uri);
	if (!target->uri)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", uri);
	const struct nbd_address address = {.uri = uri, .name = base->name, .limits = nbd_default_limits};
	TRY(nbd_connection_open(&address, &target->connection, err));
	TRY(check_export(target->connection, options->overwrite, disk_name, size_bytes, err));
	if (!target->connection->can_zero) {
		target->zeroes = calloc(1, TARGET_WRITE_MAX);
		if (!target->zeroes)
			return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", uri);
	}
	if (target->connection->size_bytes > size_bytes) {
		base->notice_set = true;
		snprintf(base->notice, sizeof(base->notice),
			 "the target is larger than the disk; its last %llu bytes were left as they are",
			 (unsigned long long)(target->connection->size_bytes - size_bytes));
	}
	*ret = TAKE_PTR(base);
	return ERR_OK;
}
