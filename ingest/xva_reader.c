/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/xva_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "ingest/tar.h"
#include "ingest/xva_sum.h"

/* Data that is only checked goes here. */
#define SCRATCH_SIZE (64 * KIB)

/* tar writers fill their last block of 10 KiB with zeroes, tapes and devices somewhat more; without an end it is no
 * XVA. */
#define END_PADDING_MAX (64 * MIB)

struct xva_reader {
	struct stream *stream;
	char *name;
	struct ova ova;
	bool header_ready; /* `header` was read ahead and not used yet */
	bool at_end;       /* it was the first record of the end mark */
	struct tar_header header;

	size_t disk;          /* index of the disk being read */
	uint64_t cursor;      /* its bytes below are complete */
	uint64_t next_number; /* the lowest that the next member may have */
	uint64_t chunk_bytes; /* 0: not known yet */

	bool open;       /* a member's data is being read */
	uint64_t left;   /* bytes of it that belong to the disk */
	uint64_t beyond; /* bytes of it after these, past the disk's end */
	uint64_t size;   /* all of it */
	struct xva_member member;

	bool form_known;
	enum xva_checksum form; /* of all checksums of this stream */
	struct xva_sum *sum;
	uint8_t *scratch;
	bool finished;
	struct err failure; /* the first error */
};

static const struct xva_disk *this_disk(const struct xva_reader *r)
{
	return &r->ova.disks[r->disk];
}

/* Reads exactly `n` bytes; `what` tells where a truncated stream ends. */
static enum err_code read_exactly(struct xva_reader *r, void *dst, size_t n, const char *what, struct err *err)
{
	size_t got = 0;
	TRY(stream_read(r->stream, dst, n, &got, err));
	if (got < n)
		return err_set(err, ERR_CORRUPT, 0,
			       "'%s' is truncated: it ends in the middle of %s, after %" PRIu64 " bytes", r->name, what,
			       stream_offset(r->stream));
	return ERR_OK;
}

/* Drops the zeroes after a member's data. What they really are is nobody's data. */
static enum err_code skip_padding(struct xva_reader *r, uint64_t size, const char *what, struct err *err)
{
	size_t n = tar_padding(size);
	return n ? read_exactly(r, r->scratch, n, what, err) : ERR_OK;
}

/* Makes the next header available without using it up. */
static enum err_code peek_header(struct xva_reader *r, const char *before, struct err *err)
{
	if (r->header_ready || r->at_end)
		return ERR_OK;
	uint8_t record[TAR_RECORD_SIZE];
	TRY(read_exactly(r, record, sizeof(record), before, err));
	r->at_end = tar_record_is_zero(record);
	if (r->at_end)
		return ERR_OK;
	if (tar_header_parse(record, &r->header, err) != ERR_OK)
		return err_context(err, "'%s' at byte %" PRIu64, r->name, stream_offset(r->stream) - TAR_RECORD_SIZE);
	r->header_ready = true;
	return ERR_OK;
}

/* Something other than what has to come next. */
static enum err_code unexpected(const struct xva_reader *r, const char *wanted, struct err *err)
{
	if (r->at_end)
		return err_set(err, ERR_CORRUPT, 0, "'%s' ends before %s", r->name, wanted);
	return err_set(err, ERR_CORRUPT, 0, "'%s' has '%s' where %s has to follow", r->name, r->header.name, wanted);
}

static enum err_code checksum_read(struct xva_reader *r, enum xva_checksum form, struct err *err)
{
	char chunk[XVA_MEMBER_NAME_SIZE], wanted[XVA_SUM_TEXT_SIZE];
	xva_member_format(&r->member, chunk);
	TRY(xva_sum_end(r->sum, form, wanted, err));
	size_t n = strlen(wanted);
	if (r->header.size != n)
		return err_set(err, ERR_CORRUPT, 0, "'%s': the checksum of '%s' has %" PRIu64 " bytes instead of %zu",
			       r->name, chunk, r->header.size, n);
	char found[XVA_SUM_TEXT_SIZE] = "";
	TRY(read_exactly(r, found, n, r->header.name, err));
	TRY(skip_padding(r, n, r->header.name, err));
	if (strcasecmp(found, wanted) != 0)
		return err_set(err, ERR_CORRUPT, 0,
			       "'%s': the data of '%s' does not match its checksum (disk '%s', bytes %" PRIu64
			       " to %" PRIu64 ")",
			       r->name, chunk, this_disk(r)->name, r->cursor - (r->size - r->beyond), r->cursor);
	return ERR_OK;
}

/* After a member's data: its checksum, in the form that all others have. */
static enum err_code checksum_check(struct xva_reader *r, struct err *err)
{
	char chunk[XVA_MEMBER_NAME_SIZE];
	struct xva_member next = {0};
	xva_member_format(&r->member, chunk);
	TRY(peek_header(r, "the checksum of a chunk", err));
	bool found = r->header_ready && xva_member_parse(r->header.name, &next) && next.checksum != XVA_NO_CHECKSUM &&
		     next.number == r->member.number && strcmp(next.ref, r->member.ref) == 0;
	if (!r->form_known) {
		r->form_known = true;
		r->form = next.checksum;
	}
	if (r->form == XVA_NO_CHECKSUM && !found)
		return ERR_OK;
	if (!found)
		return err_set(err, ERR_CORRUPT, 0, "'%s': '%s' has no checksum, although earlier chunks have one",
			       r->name, chunk);
	if (next.checksum != r->form)
		return err_set(err, ERR_CORRUPT, 0, "'%s': '%s' has another kind of checksum than the chunks before it",
			       r->name, chunk);
	r->header_ready = false;
	return checksum_read(r, r->form, err);
}

/* What the last member of a disk has beyond the disk's size: part of the checksum, but nothing else. */
static enum err_code check_beyond(struct xva_reader *r, const char *chunk, struct err *err)
{
	for (uint64_t left = r->beyond; left;) {
		size_t n = (size_t)min_u64(left, SCRATCH_SIZE);
		TRY(read_exactly(r, r->scratch, n, chunk, err));
		TRY(xva_sum_update(r->sum, r->scratch, n, err));
		if (r->scratch[0] || memcmp(r->scratch, r->scratch + 1, n - 1) != 0)
			return err_set(err, ERR_CORRUPT, 0,
				       "'%s': '%s' has data beyond the size of disk '%s' (%" PRIu64 " bytes)", r->name,
				       chunk, this_disk(r)->name, this_disk(r)->size_bytes);
		left -= n;
	}
	return ERR_OK;
}

static enum err_code member_close(struct xva_reader *r, struct err *err)
{
	char chunk[XVA_MEMBER_NAME_SIZE];
	xva_member_format(&r->member, chunk);
	TRY(check_beyond(r, chunk, err));
	TRY(skip_padding(r, r->size, chunk, err));
	r->open = false;
	return checksum_check(r, err);
}

/* Moves the cursor over the chunks that were left out before this member. */
static enum err_code move_over_gap(struct xva_reader *r, struct err *err)
{
	const struct xva_disk *disk = this_disk(r);
	uint64_t gap = r->member.number - r->next_number;
	if (gap && r->chunk_bytes == 0)
		return err_set(err, ERR_CORRUPT, 0, "'%s': the first chunk of disk '%s' is missing", r->name,
			       disk->name);
	if (gap && gap >= (disk->size_bytes - r->cursor + r->chunk_bytes - 1) / r->chunk_bytes)
		return err_set(err, ERR_CORRUPT, 0, "'%s': '%s' lies beyond the size of disk '%s' (%" PRIu64 " bytes)",
			       r->name, r->header.name, disk->name, disk->size_bytes);
	r->cursor += gap * r->chunk_bytes;
	r->next_number = r->member.number + 1;
	return ERR_OK;
}

/* Begins the member whose header is there; it has to be the next one of this disk. */
static enum err_code member_open(struct xva_reader *r, struct err *err)
{
	const struct xva_disk *disk = this_disk(r);
	char wanted[OVA_NAME_MAX + OVA_REF_MAX + 64];
	snprintf(wanted, sizeof(wanted), "the rest of disk '%s' (%s)", disk->name, disk->ref);
	TRY(peek_header(r, wanted, err));
	struct xva_member member;
	if (!r->header_ready || !xva_member_parse(r->header.name, &member) || member.checksum != XVA_NO_CHECKSUM ||
	    strcmp(member.ref, disk->ref) != 0 || r->header.type != '0')
		return unexpected(r, wanted, err);
	if (member.number < r->next_number)
		return err_set(err, ERR_CORRUPT, 0, "'%s': '%s' is out of order", r->name, r->header.name);
	if (r->next_number == 0 && member.number != 0)
		return err_set(err, ERR_CORRUPT, 0, "'%s': the first chunk of disk '%s' is missing", r->name,
			       disk->name);
	if (r->header.size > XVA_CHUNK_MAX)
		return err_set(err, ERR_CORRUPT, 0, "'%s': '%s' has %" PRIu64 " bytes; a chunk has at most %u", r->name,
			       r->header.name, r->header.size, XVA_CHUNK_MAX);
	r->header_ready = false;
	r->member = member;
	TRY(move_over_gap(r, err));
	r->size = r->header.size;
	r->left = min_u64(r->size, disk->size_bytes - r->cursor);
	r->beyond = r->size - r->left;
	if (r->chunk_bytes == 0 && r->size < disk->size_bytes)
		r->chunk_bytes = r->size;
	r->open = true;
	return xva_sum_begin(r->sum, r->form_known ? r->form : XVA_NO_CHECKSUM, err);
}

/* The next disk begins. */
static void disk_begin(struct xva_reader *r)
{
	r->disk++;
	r->cursor = 0;
	r->next_number = 0;
}

static enum err_code next_data(struct xva_reader *r, uint64_t *ret_offset, uint64_t *ret_length, struct err *err)
{
	while (!r->open && r->cursor < this_disk(r)->size_bytes) {
		TRY(member_open(r, err));
		if (r->left == 0)
			TRY(member_close(r, err));
	}
	*ret_offset = r->cursor;
	*ret_length = r->open ? r->left : 0;
	if (!r->open)
		disk_begin(r);
	return ERR_OK;
}

static enum err_code read_data(struct xva_reader *r, void *dst, size_t n, struct err *err)
{
	char chunk[XVA_MEMBER_NAME_SIZE];
	if (!r->open || n > r->left)
		return err_set(err, ERR_BUG, 0, "'%s': more was asked for than the chunk has", r->name);
	TRY(read_exactly(r, dst, n, xva_member_format(&r->member, chunk), err));
	TRY(xva_sum_update(r->sum, dst, n, err));
	r->cursor += n;
	r->left -= n;
	return r->left ? ERR_OK : member_close(r, err);
}

static enum err_code skip_disk(struct xva_reader *r, struct err *err)
{
	for (size_t disk = r->disk; r->disk == disk;) {
		uint64_t offset = 0, length = 0;
		TRY(next_data(r, &offset, &length, err));
		while (length) {
			size_t n = (size_t)min_u64(length, SCRATCH_SIZE);
			TRY(read_data(r, r->scratch, n, err));
			length -= n;
		}
	}
	return ERR_OK;
}

/* Ancient exports end with one more document: a list of checksums. */
static enum err_code skip_old_checksums(struct xva_reader *r, struct err *err)
{
	const char *wanted = "the end of the archive";
	TRY(peek_header(r, wanted, err));
	const char *suffix = strrchr(r->header.name, '.');
	if (r->at_end || r->ova.export_version >= 2 || !suffix || strcmp(suffix, ".xml") != 0 ||
	    r->header.size > OVA_XML_MAX)
		return ERR_OK;
	r->header_ready = false;
	for (uint64_t left = r->header.size + tar_padding(r->header.size); left;) {
		size_t n = (size_t)min_u64(left, SCRATCH_SIZE);
		TRY(read_exactly(r, r->scratch, n, r->header.name, err));
		left -= n;
	}
	return peek_header(r, wanted, err);
}

/* The second zero record, padding, and the end of the stream itself, which is where a compressed one proves to be
 * whole. */
static enum err_code read_end(struct xva_reader *r, struct err *err)
{
	TRY(skip_old_checksums(r, err));
	if (!r->at_end)
		return unexpected(r, "the end of the archive", err);
	TRY(read_exactly(r, r->scratch, TAR_RECORD_SIZE, "the end mark", err));
	uint64_t padding = 0;
	for (size_t n = TAR_RECORD_SIZE; n;) {
		if (r->scratch[0] || memcmp(r->scratch, r->scratch + 1, n - 1) != 0)
			return err_set(err, ERR_CORRUPT, 0, "'%s' has other data after the end of the archive",
				       r->name);
		padding += n;
		if (padding > END_PADDING_MAX)
			return err_set(err, ERR_CORRUPT, 0, "'%s' goes on with zeroes after the end of the archive",
				       r->name);
		TRY(stream_read(r->stream, r->scratch, SCRATCH_SIZE, &n, err));
	}
	r->finished = true;
	return ERR_OK;
}

static enum err_code skip_to(struct xva_reader *r, size_t disk, struct err *err)
{
	while (r->disk < disk)
		TRY(skip_disk(r, err));
	return ERR_OK;
}

static enum err_code finish(struct xva_reader *r, struct err *err)
{
	if (r->finished)
		return ERR_OK;
	TRY(skip_to(r, r->ova.disk_count, err));
	return read_end(r, err);
}

/* Hands the first error to this and every later caller. */
static enum err_code failed(const struct xva_reader *r, struct err *err)
{
	if (err && err->code == ERR_OK)
		*err = r->failure;
	return r->failure.code;
}

enum err_code xva_reader_next(struct xva_reader *r, uint64_t *ret_offset, uint64_t *ret_length, struct err *err)
{
	if (r->failure.code != ERR_OK)
		return failed(r, err);
	if (r->disk >= r->ova.disk_count)
		return err_set(err, ERR_BUG, 0, "'%s' has no more disks", r->name);
	uint64_t offset = 0, length = 0;
	if (next_data(r, &offset, &length, &r->failure) != ERR_OK)
		return failed(r, err);
	*ret_offset = offset;
	*ret_length = length;
	return ERR_OK;
}

enum err_code xva_reader_read(struct xva_reader *r, void *dst, size_t n, struct err *err)
{
	if (r->failure.code != ERR_OK || read_data(r, dst, n, &r->failure) != ERR_OK)
		return failed(r, err);
	return ERR_OK;
}

enum err_code xva_reader_skip_to(struct xva_reader *r, size_t disk, struct err *err)
{
	if (r->failure.code != ERR_OK || skip_to(r, disk, &r->failure) != ERR_OK)
		return failed(r, err);
	return ERR_OK;
}

enum err_code xva_reader_finish(struct xva_reader *r, struct err *err)
{
	if (r->failure.code != ERR_OK || finish(r, &r->failure) != ERR_OK)
		return failed(r, err);
	return ERR_OK;
}

/* The first member, whole, in memory. */
static enum err_code read_ova_xml(struct xva_reader *r, uint8_t **ret, size_t *ret_length, struct err *err)
{
	uint8_t record[TAR_RECORD_SIZE];
	size_t got = 0;
	TRY(stream_read(r->stream, record, sizeof(record), &got, err));
	if (got < sizeof(record) || tar_record_is_zero(record) || tar_header_parse(record, &r->header, NULL) != ERR_OK)
		return err_set(err, ERR_CORRUPT, 0, "'%s' is no XVA: it does not begin like a tar archive", r->name);
	if (strcmp(r->header.name, "ova.xml") != 0 || r->header.type != '0')
		return err_set(err, ERR_CORRUPT, 0, "'%s' is no XVA: its first member is '%s' instead of 'ova.xml'",
			       r->name, r->header.name);
	if (r->header.size == 0 || r->header.size > OVA_XML_MAX)
		return err_set(err, ERR_LIMIT, 0, "'%s': ova.xml has %" PRIu64 " bytes; it may have 1 to %" PRIu64,
			       r->name, r->header.size, OVA_XML_MAX);
	size_t length = (size_t)r->header.size;
	AUTO_FREE uint8_t *xml = malloc(length);
	if (!xml)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read ova.xml of '%s'", r->name);
	TRY(read_exactly(r, xml, length, "ova.xml", err));
	TRY(skip_padding(r, length, "ova.xml", err));
	if (ova_xml_parse(xml, length, &r->ova, err) != ERR_OK)
		return err_context(err, "'%s'", r->name);
	*ret = TAKE_PTR(xml);
	*ret_length = length;
	return ERR_OK;
}

DEFINE_CLEANUP(reader, struct xva_reader, xva_reader_close)

enum err_code xva_reader_open(struct stream *stream, const char *name, struct xva_reader **ret, uint8_t **ret_xml,
			      size_t *ret_xml_length, struct err *err)
{
	AUTO(cleanup_reader) struct xva_reader *r = calloc(1, sizeof(*r));
	if (!r) {
		stream_close(stream);
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read '%s'", name);
	}
	r->stream = stream;
	r->name = strdup(name);
	r->scratch = malloc(SCRATCH_SIZE);
	if (!r->name || !r->scratch)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read '%s'", name);
	TRY(xva_sum_new(&r->sum, err));
	TRY(read_ova_xml(r, ret_xml, ret_xml_length, err));
	*ret = TAKE_PTR(r);
	return ERR_OK;
}

const struct ova *xva_reader_ova(const struct xva_reader *r)
{
	return &r->ova;
}

size_t xva_reader_disk(const struct xva_reader *r)
{
	return r->disk;
}

bool xva_reader_is_unchecked(const struct xva_reader *r)
{
	return r->form_known && r->form == XVA_NO_CHECKSUM;
}

void xva_reader_close(struct xva_reader *r)
{
	if (!r)
		return;
	stream_close(r->stream);
	xva_sum_free(r->sum);
	ova_release(&r->ova);
	free(r->scratch);
	free(r->name);
	free(r);
}
