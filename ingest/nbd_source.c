/* SPDX-License-Identifier: Apache-2.0 */
/* A disk behind an NBD server. The first connection answers questions about allocation; if the server keeps several
 * connections coherent, every reader opens one of its own, else all readers share the first. */
#include "ingest/nbd_source.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "ingest/formats.h"
#include "ingest/nbd_extents.h"

#include <stdlib.h>
#include <string.h>

struct nbd_source {
	struct block_source base;
	struct block_source_ops ops;
	struct nbd_connection *connection; /* the first */
	struct nbd_extents *extents;       /* NULL if the server cannot tell */
	pthread_mutex_t open_lock; /* connections are opened one after another; no other lock is taken under it */
	char *uri;
	char *socket_path;
	struct nbd_limits limits;
};

struct nbd_reader {
	struct block_reader base;
	struct nbd_lane *lane;
	bool owns_connection;
};

static void reader_submit(struct block_reader *base, struct block_read *read)
{
	struct nbd_reader *reader = (struct nbd_reader *)base;
	const struct nbd_transfer transfer = {
		.op = NBD_OP_READ,
		.offset = read->offset,
		.length = read->length,
		.data.to = read->data,
		.done = &read->done,
		.err = &read->err,
		.pending = &read->pending,
	};
	nbd_lane_start(reader->lane, &transfer);
}

static enum err_code reader_wait(struct block_reader *base, struct err *err)
{
	struct nbd_reader *reader = (struct nbd_reader *)base;
	(void)err;
	nbd_lane_wait(reader->lane);
	return ERR_OK;
}

static void reader_close(struct block_reader *base)
{
	struct nbd_reader *reader = (struct nbd_reader *)base;
	if (reader->owns_connection)
		nbd_lane_abandon(reader->lane);
	else
		nbd_lane_free(reader->lane);
	free(reader);
}

static const struct block_reader_ops reader_ops = {
	.submit = reader_submit,
	.wait = reader_wait,
	.close = reader_close,
};

/* A further connection, or NULL if the server gives none: then the first is shared, which is slower but as good. */
static enum err_code open_another(struct nbd_source *source, struct nbd_connection **ret, struct err *err)
{
	const struct nbd_address address = {
		.uri = source->uri,
		.socket_path = source->socket_path,
		.name = source->base.name,
		.limits = source->limits,
	};
	AUTO(cleanup_nbd_connection) struct nbd_connection *connection = NULL;
	struct err why = {0};
	LOCK_SCOPE(&source->open_lock);
	if (nbd_connection_open(&address, &connection, &why) != ERR_OK) {
		log_debug("ingest", "%s, sharing the first connection instead", why.msg);
		*ret = NULL;
		return ERR_OK;
	}
	if (connection->size_bytes != source->base.size_bytes)
		return err_set(err, ERR_CORRUPT, 0, "'%s' changed its size from %llu to %llu bytes", source->base.name,
			       (unsigned long long)source->base.size_bytes, (unsigned long long)connection->size_bytes);
	*ret = TAKE_PTR(connection);
	return ERR_OK;
}

static enum err_code source_reader_open(struct block_source *base, struct io_queue *queue, unsigned depth,
					struct block_reader **ret, struct err *err)
{
	struct nbd_source *source = (struct nbd_source *)base;
	(void)queue;
	AUTO_FREE struct nbd_reader *reader = calloc(1, sizeof(*reader));
	if (!reader)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read '%s'", base->name);
	AUTO(cleanup_nbd_connection) struct nbd_connection *own = NULL;
	if (source->connection->multi_conn)
		TRY(open_another(source, &own, err));
	TRY(nbd_lane_new(own ? own : source->connection, depth, &reader->lane, err));
	reader->owns_connection = TAKE_PTR(own) != NULL;
	reader->base.ops = &reader_ops;
	*ret = &TAKE_PTR(reader)->base;
	return ERR_OK;
}

static enum err_code source_extent(struct block_source *base, uint64_t offset, struct block_extent *ret,
				   struct err *err)
{
	return nbd_extents_find(((struct nbd_source *)base)->extents, offset, ret, err);
}

static enum err_code source_finish(struct block_source *base, struct err *err)
{
	return nbd_connection_check(((struct nbd_source *)base)->connection, err);
}

static void source_close(struct block_source *base)
{
	struct nbd_source *source = (struct nbd_source *)base;
	nbd_extents_free(source->extents);
	nbd_connection_close(source->connection);
	pthread_mutex_destroy(&source->open_lock);
	free(source->uri);
	free(source->socket_path);
	free(source);
}

static char *copy_or_null(const char *text, bool *failed)
{
	char *copy = text ? strdup(text) : NULL;
	*failed |= text && !copy;
	return copy;
}

DEFINE_CLEANUP(source, struct block_source, block_source_close)

enum err_code nbd_source_new(const struct nbd_address *address, const char *format, struct block_source **ret,
			     struct err *err)
{
	struct nbd_source *source = calloc(1, sizeof(*source));
	if (!source)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", address->name);
	AUTO(cleanup_source) struct block_source *base = &source->base;
	pthread_mutex_init(&source->open_lock, NULL);
	source->ops = (struct block_source_ops){
		.format = format,
		.reader_open = source_reader_open,
		.finish = source_finish,
		.close = source_close,
	};
	base->ops = &source->ops;
	snprintf(base->name, sizeof(base->name), "%s", address->name);
	bool failed = false;
	source->uri = copy_or_null(address->uri, &failed);
	source->socket_path = copy_or_null(address->socket_path, &failed);
	source->limits = address->limits;
	if (failed)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", address->name);
	TRY(nbd_connection_open(address, &source->connection, err));
	base->size_bytes = source->connection->size_bytes;
	base->data_bytes_hint = base->size_bytes;
	if (source->connection->has_extents) {
		TRY(nbd_extents_new(source->connection, &source->extents, err));
		source->ops.extent = source_extent;
	}
	*ret = TAKE_PTR(base);
	return ERR_OK;
}

enum err_code nbd_source_open(const char *uri, struct source_set *ret, struct err *err)
{
	const struct nbd_address address = {.uri = uri, .name = uri, .limits = nbd_default_limits};
	AUTO(cleanup_source) struct block_source *source = NULL;
	TRY(nbd_source_new(&address, "nbd", &source, err));
	TRY(source_set_of_one(source, ret, err));
	source = NULL;
	return ERR_OK;
}
