/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of an XVA as sequential block sources. All of them share one reader, which knows one position: they are
 * read in order, and a disk that nobody reads is passed over, with its checksums verified, when a later one is asked
 * for. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "ingest/formats.h"
#include "ingest/xva.h"
#include "ingest/xva_reader.h"

#define BUFFER_SIZE ((uint64_t)MIB)
#define LEAF_SIZE (SOURCE_LEAF_BUFFERS * BUFFER_SIZE)

/* Lives until the set is released and every source is closed, in whatever order that happens. */
struct xva_shared {
	int fd; /* ours to close; -1 if none */
	struct xva_reader *reader;
	bool *in_use; /* per disk: its source is open and has not been finished */
	size_t references;
};

struct xva_source {
	struct block_source base;
	struct xva_shared *shared;
	size_t disk;
	bool ended; /* read_next has reported the end */
};

static struct xva_source *source_of(struct block_source *base)
{
	return (struct xva_source *)base;
}

static void shared_unref(void *owner)
{
	struct xva_shared *shared = owner;
	if (--shared->references)
		return;
	xva_reader_close(shared->reader);
	if (shared->fd >= 0)
		close(shared->fd);
	free(shared->in_use);
	free(shared);
}

static bool is_present(const struct source_leaf *leaf, uint64_t block)
{
	return leaf->present[block / 8] >> (block % 8) & 1;
}

/* Prepares the blocks that [from, to) of the leaf touches: marks them as present, and zeroes what of the first and the
 * last one lies outside. Data comes in ascending order, so what is zeroed behind `to` may still be filled. The range
 * lies within one buffer. */
static void leaf_prepare(struct source_leaf *leaf, uint8_t *const buffers[SOURCE_LEAF_BUFFERS], uint64_t from,
			 uint64_t to)
{
	uint8_t *buffer = buffers[from / BUFFER_SIZE];
	uint64_t first = from / BLOCK_SIZE, last = (to - 1) / BLOCK_SIZE;
	if (from % BLOCK_SIZE && !is_present(leaf, first))
		memset(buffer + round_down(from, BLOCK_SIZE) % BUFFER_SIZE, 0, from % BLOCK_SIZE);
	if (to % BLOCK_SIZE)
		memset(buffer + to % BUFFER_SIZE, 0, BLOCK_SIZE - to % BLOCK_SIZE);
	for (uint64_t block = first; block <= last; block++)
		leaf->present[block / 8] |= (uint8_t)(1u << (block % 8));
}

/* Reads up to `length` bytes at `offset` of the disk into the leaf's buffers, as far as one buffer goes. */
static enum err_code leaf_read(struct xva_reader *reader, struct source_leaf *leaf,
			       uint8_t *const buffers[SOURCE_LEAF_BUFFERS], uint64_t offset, uint64_t length,
			       struct err *err)
{
	uint64_t from = offset - leaf->leaf * LEAF_SIZE;
	uint64_t n = min_u64(length, BUFFER_SIZE - from % BUFFER_SIZE);
	leaf_prepare(leaf, buffers, from, from + n);
	return xva_reader_read(reader, buffers[from / BUFFER_SIZE] + from % BUFFER_SIZE, (size_t)n, err);
}

/* Fills one leaf: all that the stream holds from its position to the end of the leaf. */
static enum err_code leaf_fill(struct xva_source *source, struct source_leaf *leaf,
			       uint8_t *const buffers[SOURCE_LEAF_BUFFERS], struct err *err)
{
	struct xva_reader *reader = source->shared->reader;
	bool begun = false;
	for (;;) {
		uint64_t offset = 0, length = 0;
		TRY(xva_reader_next(reader, &offset, &length, err));
		if (length == 0) {
			source->ended = true;
			leaf->end = !begun;
			return ERR_OK;
		}
		if (!begun)
			leaf->leaf = offset / LEAF_SIZE;
		else if (offset / LEAF_SIZE != leaf->leaf)
			return ERR_OK;
		begun = true;
		TRY(leaf_read(reader, leaf, buffers, offset, length, err));
	}
}

static void set_notice(struct xva_source *source)
{
	if (source->base.notice_set || !xva_reader_is_unchecked(source->shared->reader))
		return;
	source->base.notice_set = true;
	snprintf(source->base.notice, sizeof(source->base.notice),
		 "this XVA carries no checksums: damage to its data would not have been noticed");
}

static enum err_code xva_read_next(struct block_source *base, uint8_t *const buffers[SOURCE_LEAF_BUFFERS],
				   struct source_leaf *ret, struct err *err)
{
	struct xva_source *source = source_of(base);
	struct source_leaf leaf = {0};
	if (source->ended) {
		leaf.end = true;
		*ret = leaf;
		return ERR_OK;
	}
	TRY(xva_reader_skip_to(source->shared->reader, source->disk, err));
	if (xva_reader_disk(source->shared->reader) != source->disk)
		return err_set(err, ERR_BUG, 0, "disk '%s' was asked for after a later one of the same stream",
			       base->name);
	TRY(leaf_fill(source, &leaf, buffers, err));
	set_notice(source);
	*ret = leaf;
	return ERR_OK;
}

/* Only the last source that is in use reads on to the end; before that, others still want their data. */
static enum err_code xva_finish(struct block_source *base, struct err *err)
{
	struct xva_source *source = source_of(base);
	struct xva_shared *shared = source->shared;
	if (!source->ended)
		return err_set(err, ERR_BUG, 0, "disk '%s' was not read to its end", base->name);
	shared->in_use[source->disk] = false;
	for (size_t i = 0; i < xva_reader_ova(shared->reader)->disk_count; i++)
		if (shared->in_use[i])
			return ERR_OK;
	return xva_reader_finish(shared->reader, err);
}

static void xva_close(struct block_source *base)
{
	struct xva_source *source = source_of(base);
	source->shared->in_use[source->disk] = false;
	shared_unref(source->shared);
	free(source);
}

static const struct block_source_ops xva_source_ops = {
	.format = "xva",
	.read_next = xva_read_next,
	.finish = xva_finish,
	.close = xva_close,
};

static enum err_code source_new(struct xva_shared *shared, size_t index, struct block_source **ret, struct err *err)
{
	const struct xva_disk *disk = &xva_reader_ova(shared->reader)->disks[index];
	struct xva_source *source = calloc(1, sizeof(*source));
	if (!source)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read disk '%s'", disk->name);
	source->base.ops = &xva_source_ops;
	static_assert(sizeof(source->base.name) == sizeof(disk->name), "a disk's name fits");
	memcpy(source->base.name, disk->name, sizeof(source->base.name));
	source->base.uuid = disk->uuid;
	source->base.size_bytes = disk->size_bytes;
	source->base.data_bytes_hint = disk->size_bytes;
	source->base.sequence = shared;
	source->shared = shared;
	source->disk = index;
	shared->in_use[index] = true;
	shared->references++;
	*ret = &source->base;
	return ERR_OK;
}

/* Releases what a set that never left this file holds. */
static void set_drop(struct source_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		block_source_close(set->sources[i]);
	for (size_t i = 0; i < set->document_count; i++)
		free(set->documents[i].data);
	free(set->documents);
	free(set->sources);
	if (set->owner)
		set->release(set->owner);
}

/* Gives `set` the document and one source per disk. An XVA without disks is checked to its end at once, as no source
 * would. */
static enum err_code set_fill(struct xva_shared *shared, struct source_set *set, struct err *err)
{
	const struct ova *ova = xva_reader_ova(shared->reader);
	set->sources = calloc(ova->disk_count + 1, sizeof(struct block_source *));
	shared->in_use = calloc(ova->disk_count + 1, sizeof(*shared->in_use));
	if (!set->sources || !shared->in_use)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read an XVA");
	for (size_t i = 0; i < ova->disk_count; i++) {
		TRY(source_new(shared, i, &set->sources[i], err));
		set->count++;
	}
	return ova->disk_count ? ERR_OK : xva_reader_finish(shared->reader, err);
}

/* Opens the reader; the document goes to set->documents. */
static enum err_code set_open(struct stream *stream, const char *name, struct xva_shared *shared,
			      struct source_set *set, struct err *err)
{
	struct source_document *document = calloc(1, sizeof(*document));
	if (!document) {
		stream_close(stream);
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read '%s'", name);
	}
	memcpy(document->name, "ova.xml", sizeof("ova.xml"));
	set->documents = document;
	set->document_count = 1;
	TRY(xva_reader_open(stream, name, &shared->reader, &document->data, &document->length, err));
	return set_fill(shared, set, err);
}

/* Takes `stream` and `fd` (-1: none), also on failure. */
static enum err_code set_from_stream(struct stream *stream, int fd, const char *name, struct source_set *ret,
				     struct err *err)
{
	struct xva_shared *shared = calloc(1, sizeof(*shared));
	if (!shared) {
		stream_close(stream);
		if (fd >= 0)
			close(fd);
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read '%s'", name);
	}
	shared->fd = fd;
	shared->references = 1;
	struct source_set set = {.owner = shared, .release = shared_unref};
	enum err_code code = set_open(stream, name, shared, &set, err);
	if (code == ERR_OK)
		*ret = set;
	else
		set_drop(&set);
	return code;
}

enum err_code xva_source_from_stream(struct stream *stream, const char *name, struct source_set *ret, struct err *err)
{
	return set_from_stream(stream, /* fd= */ -1, name, ret, err);
}

static enum err_code open_path(const char *path, int *ret_fd, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "cannot open '%s'", path);
	if (S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, 0, "'%s' is a directory, not an XVA", path);
	*ret_fd = TAKE_FD(fd);
	return ERR_OK;
}

enum err_code xva_source_open(int fd, const char *path, struct source_set *ret, struct err *err)
{
	AUTO_CLOSE int own_fd = -1;
	if (fd < 0)
		TRY(open_path(path, &own_fd, err));
	struct stream *stream = NULL;
	TRY(stream_open(fd < 0 ? own_fd : fd, path, &stream, err));
	return set_from_stream(stream, TAKE_FD(own_fd), path, ret, err);
}
