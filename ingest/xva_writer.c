/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/xva_writer.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "ingest/tar.h"
#include "ingest/xva_sum.h"

#define CHUNK ((uint64_t)XVA_CHUNK_SIZE)

struct xva_writer {
	int fd;
	char *name;
	enum xva_checksum form;
	struct ova ova;
	size_t disks_done;
	bool target_open;
	uint64_t keepalive_ns;
	uint64_t last_output_ns;
	struct xva_sum *sum;
	uint8_t *zeroes; /* a chunk of them; never written to, so the kernel need not give memory for it */
	struct err failure;
};

/* A disk being written. Bytes below `offset` are done or lie in `chunk`, where a chunk that comes in parts is gathered.
 */
struct xva_target {
	struct block_target base;
	struct block_writer writer;
	struct xva_writer *xva;
	const struct xva_disk *disk;
	uint64_t offset;
	uint8_t *chunk;
};

static struct xva_target *target_of(struct block_target *base)
{
	return (struct xva_target *)base;
}

static struct xva_target *target_of_writer(struct block_writer *writer)
{
	return (struct xva_target *)((char *)writer - offsetof(struct xva_target, writer));
}

static enum err_code wait_writable(const struct xva_writer *w, struct err *err)
{
	struct pollfd p = {.fd = w->fd, .events = POLLOUT};
	if (poll(&p, 1, -1) < 0 && errno != EINTR)
		return err_errno(err, "cannot wait for '%s'", w->name);
	return ERR_OK;
}

/* Drops the first `n` bytes of the parts. */
static void parts_advance(struct iovec *parts, int count, size_t n)
{
	for (int i = 0; i < count && n; i++) {
		size_t step = n < parts[i].iov_len ? n : parts[i].iov_len;
		parts[i].iov_base = (uint8_t *)parts[i].iov_base + step;
		parts[i].iov_len -= step;
		n -= step;
	}
}

static enum err_code write_parts(struct xva_writer *w, struct iovec *parts, int count, struct err *err)
{
	size_t left = 0;
	for (int i = 0; i < count; i++)
		left += parts[i].iov_len;
	while (left) {
		ssize_t n = writev(w->fd, parts, count);
		if (n >= 0) {
			parts_advance(parts, count, (size_t)n);
			left -= (size_t)n;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			TRY(wait_writable(w, err));
		} else if (errno != EINTR) {
			return err_errno(err, "cannot write '%s'", w->name);
		}
	}
	w->last_output_ns = clock_mono_ns();
	return ERR_OK;
}

static struct iovec part_of(const void *data, size_t n)
{
	/* struct iovec serves reads too, so it has no const. */
	return (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = n};
}

/* Writes the chunk `number` of `n` bytes with its checksum, in one go. */
static enum err_code write_chunk(struct xva_writer *w, const char *ref, uint64_t number, const uint8_t *data, size_t n,
				 struct err *err)
{
	struct xva_member member = {.number = number};
	char name[XVA_MEMBER_NAME_SIZE], sum[XVA_SUM_TEXT_SIZE];
	uint8_t header[TAR_RECORD_SIZE];
	uint8_t tail[3 * TAR_RECORD_SIZE] = {0}; /* padding, the checksum's header, the checksum */
	size_t padding = tar_padding(n);
	snprintf(member.ref, sizeof(member.ref), "%s", ref);
	TRY(tar_header_make(xva_member_format(&member, name), n, header, err));
	TRY(xva_sum_begin(w->sum, w->form, err));
	TRY(xva_sum_update(w->sum, data, n, err));
	TRY(xva_sum_end(w->sum, w->form, sum, err));
	member.checksum = w->form;
	size_t sum_length = strlen(sum);
	TRY(tar_header_make(xva_member_format(&member, name), sum_length, tail + padding, err));
	memcpy(tail + padding + TAR_RECORD_SIZE, sum, sum_length);
	struct iovec parts[] = {part_of(header, sizeof(header)), part_of(data, n),
				part_of(tail, padding + (size_t)2 * TAR_RECORD_SIZE)};
	return write_parts(w, parts, 3, err);
}

static bool is_zero(const uint8_t *data, size_t n)
{
	return data[0] == 0 && memcmp(data, data + 1, n - 1) == 0;
}

/* A whole chunk of the disk; NULL stands for zeroes. Zero chunks are left out, except the first and the last of a disk
 * and those that keep a silent stream alive. */
static enum err_code take_chunk(struct xva_target *t, uint64_t start, const uint8_t *data, struct err *err)
{
	struct xva_writer *w = t->xva;
	uint64_t n = min_u64(CHUNK, t->disk->size_bytes - start);
	bool needed = start == 0 || start + n == t->disk->size_bytes || (data && !is_zero(data, (size_t)n));
	if (!needed && clock_mono_ns() - w->last_output_ns < w->keepalive_ns)
		return ERR_OK;
	return write_chunk(w, t->disk->ref, start / CHUNK, data ? data : w->zeroes, (size_t)n, err);
}

/* Puts the next `n` bytes (NULL: zeroes) of the disk in their place, at most to the end of a chunk. */
static enum err_code take_part(struct xva_target *t, const uint8_t *data, uint64_t n, struct err *err)
{
	uint64_t start = round_down(t->offset, CHUNK), at = t->offset - start;
	uint64_t end = min_u64(start + CHUNK, t->disk->size_bytes);
	bool whole = at == 0 && n == end - start;
	if (!whole && data)
		memcpy(t->chunk + at, data, (size_t)n);
	else if (!whole)
		memset(t->chunk + at, 0, (size_t)n);
	t->offset += n;
	if (t->offset < end)
		return ERR_OK;
	return take_chunk(t, start, whole ? data : t->chunk, err);
}

/* The next `n` bytes of the disk, which have to begin where the last ones ended. */
static enum err_code take_range(struct xva_target *t, uint64_t offset, uint64_t n, const uint8_t *data, struct err *err)
{
	if (offset != t->offset || n > t->disk->size_bytes - offset)
		return err_set(err, ERR_BUG, 0, "disk '%s' of '%s' is not written in order", t->base.name,
			       t->xva->name);
	while (n) {
		uint64_t step = min_u64(n, CHUNK - t->offset % CHUNK);
		TRY(take_part(t, data, step, err));
		if (data)
			data += step;
		n -= step;
	}
	return ERR_OK;
}

/* Once writing failed the stream has a hole: nothing more is sent, and every later call says why. */
static enum err_code failed(const struct xva_writer *w, struct err *err)
{
	if (err && err->code == ERR_OK)
		*err = w->failure;
	return w->failure.code;
}

static enum err_code take(struct xva_target *t, uint64_t offset, uint64_t n, const uint8_t *data, struct err *err)
{
	struct xva_writer *w = t->xva;
	if (w->failure.code != ERR_OK || take_range(t, offset, n, data, &w->failure) != ERR_OK)
		return failed(w, err);
	return ERR_OK;
}

static void xva_submit(struct block_writer *writer, struct block_write *write)
{
	write->err = (struct err){0};
	/* The code is in write->err, where the caller looks for it. */
	enum err_code code = take(target_of_writer(writer), write->offset, write->length, write->data, &write->err);
	write->done = true;
	(void)code;
}

static enum err_code xva_zero(struct block_writer *writer, uint64_t offset, uint64_t length, struct err *err)
{
	return take(target_of_writer(writer), offset, length, /* data= */ NULL, err);
}

static enum err_code xva_wait(struct block_writer *writer, struct err *err)
{
	(void)writer;
	(void)err;
	return ERR_OK; /* every write is done when submit returns */
}

static void xva_writer_release(struct block_writer *writer)
{
	(void)writer; /* a part of the target */
}

static const struct block_writer_ops xva_block_writer_ops = {
	.submit = xva_submit,
	.zero = xva_zero,
	.wait = xva_wait,
	.close = xva_writer_release,
};

static enum err_code xva_writer_open(struct block_target *target, struct io_queue *queue, unsigned depth,
				     struct block_writer **ret, struct err *err)
{
	(void)queue;
	(void)depth;
	(void)err;
	*ret = &target_of(target)->writer;
	return ERR_OK;
}

static enum err_code xva_target_finish(struct block_target *target, struct err *err)
{
	struct xva_target *t = target_of(target);
	if (t->xva->failure.code != ERR_OK)
		return failed(t->xva, err);
	if (t->offset != t->disk->size_bytes)
		return err_set(err, ERR_BUG, 0, "disk '%s' of '%s' was written to byte %" PRIu64 " of %" PRIu64,
			       t->base.name, t->xva->name, t->offset, t->disk->size_bytes);
	t->xva->disks_done++;
	return ERR_OK;
}

static void xva_target_close(struct block_target *target)
{
	struct xva_target *t = target_of(target);
	t->xva->target_open = false;
	free(t->chunk);
	free(t);
}

static const struct block_target_ops xva_target_ops = {
	.format = "xva",
	.ordered = true,
	.writer_open = xva_writer_open,
	.finish = xva_target_finish,
	.close = xva_target_close,
};

static enum err_code check_turn(const struct xva_writer *w, const char *ref, uint64_t size, struct err *err)
{
	if (w->target_open)
		return err_set(err, ERR_INVALID, 0, "'%s': another disk is still being written", w->name);
	if (w->disks_done == w->ova.disk_count)
		return err_set(err, ERR_INVALID, 0, "'%s': its ova.xml has no more disks; '%s' is one too many",
			       w->name, ref);
	const struct xva_disk *disk = &w->ova.disks[w->disks_done];
	if (strcmp(disk->ref, ref) != 0)
		return err_set(err, ERR_INVALID, 0, "'%s': it is the turn of disk '%s', not of '%s'", w->name,
			       disk->ref, ref);
	if (disk->size_bytes != size)
		return err_set(err, ERR_INVALID, 0, "'%s': disk '%s' has %" PRIu64 " bytes, but ova.xml says %" PRIu64,
			       w->name, ref, size, disk->size_bytes);
	return ERR_OK;
}

enum err_code xva_target_new(struct xva_writer *w, const char *ref, const char *disk_name, uint64_t size,
			     struct block_target **ret, struct err *err)
{
	if (w->failure.code != ERR_OK)
		return failed(w, err);
	TRY(check_turn(w, ref, size, err));
	struct xva_target *t = calloc(1, sizeof(*t));
	if (t)
		t->chunk = malloc(CHUNK);
	if (!t || !t->chunk) {
		free(t);
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to write disk '%s'", disk_name);
	}
	t->base.ops = &xva_target_ops;
	t->base.size_bytes = size;
	snprintf(t->base.name, sizeof(t->base.name), "%s", disk_name);
	t->writer.ops = &xva_block_writer_ops;
	t->xva = w;
	t->disk = &w->ova.disks[w->disks_done];
	w->target_open = true;
	*ret = &t->base;
	return ERR_OK;
}

static enum err_code write_end(struct xva_writer *w, struct err *err)
{
	struct iovec part = part_of(w->zeroes, (size_t)2 * TAR_RECORD_SIZE);
	struct stat st;
	TRY(write_parts(w, &part, 1, err));
	if (fstat(w->fd, &st) == 0 && S_ISREG(st.st_mode) && fsync(w->fd) < 0)
		return err_errno(err, "cannot make '%s' durable", w->name);
	return ERR_OK;
}

enum err_code xva_writer_finish(struct xva_writer *w, struct err *err)
{
	if (w->failure.code != ERR_OK)
		return failed(w, err);
	if (w->target_open || w->disks_done < w->ova.disk_count)
		return err_set(err, ERR_INVALID, 0, "'%s': disk '%s' was not written", w->name,
			       w->ova.disks[w->disks_done < w->ova.disk_count ? w->disks_done : 0].name);
	return write_end(w, &w->failure) == ERR_OK ? ERR_OK : failed(w, err);
}

DEFINE_CLEANUP(writer, struct xva_writer, xva_writer_free)

static enum err_code write_ova_xml(struct xva_writer *w, const uint8_t *xml, size_t n, struct err *err)
{
	uint8_t header[TAR_RECORD_SIZE];
	TRY(tar_header_make("ova.xml", n, header, err));
	struct iovec parts[] = {part_of(header, sizeof(header)), part_of(xml, n), part_of(w->zeroes, tar_padding(n))};
	return write_parts(w, parts, 3, err);
}

enum err_code xva_writer_new(int fd, const char *name, const uint8_t *ova_xml, size_t n, enum xva_checksum form,
			     struct xva_writer **ret, struct err *err)
{
	if (form != XVA_SHA1 && form != XVA_XXHASH)
		return err_set(err, ERR_INVALID, 0, "an XVA is written with SHA-1 or XXH64 checksums");
	AUTO(cleanup_writer) struct xva_writer *w = calloc(1, sizeof(*w));
	if (!w)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to write '%s'", name);
	w->fd = fd;
	w->form = form;
	w->name = strdup(name);
	w->zeroes = calloc(1, CHUNK);
	xva_writer_set_keepalive(w, XVA_KEEPALIVE_S);
	if (!w->name || !w->zeroes)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to write '%s'", name);
	TRY(xva_sum_new(&w->sum, err));
	TRY(ova_xml_parse(ova_xml, n, &w->ova, err));
	TRY(write_ova_xml(w, ova_xml, n, err));
	*ret = TAKE_PTR(w);
	return ERR_OK;
}

const struct xva_disk *xva_writer_disks(const struct xva_writer *w, size_t *ret_count)
{
	*ret_count = w->ova.disk_count;
	return w->ova.disks;
}

void xva_writer_set_keepalive(struct xva_writer *w, unsigned seconds)
{
	w->keepalive_ns = (uint64_t)seconds * 1000000000;
}

void xva_writer_free(struct xva_writer *w)
{
	if (!w)
		return;
	xva_sum_free(w->sum);
	ova_release(&w->ova);
	free(w->zeroes);
	free(w->name);
	free(w);
}
