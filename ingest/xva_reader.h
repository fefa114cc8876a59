/* SPDX-License-Identifier: Apache-2.0 */
/* The members of an XVA in order, one disk after the other, with every rule of the format checked on the way.
 *
 * Where data belongs: a cursor runs through each disk. A member of `length` bytes whose number is `number`, after one
 * with the number `previous` (-1 at first), first moves it by (number - previous - 1) chunks, which read as zeroes, and
 * then fills `length` bytes from there. So a member without data, which xapi sends to keep a connection alive, uses up
 * a number but no place on the disk, and numbers after it are shifted. A chunk is as long as the first member of the
 * stream; if that one is its whole disk, which may be smaller than a chunk, the next disk's first member tells. A disk
 * is complete when the cursor reaches its size; what the last member has beyond that must be zeroes and is dropped.
 *
 * An error is final: the position in the stream is lost, and all later calls fail.
 *
 * Threads: one at a time. */
#ifndef INGEST_XVA_READER_H
#define INGEST_XVA_READER_H

#include "ingest/xva.h"

struct xva_reader;

/* Reads ova.xml. Takes `stream` (also on failure); `name` is for messages. Gives *ret, and in *ret_xml (free) the
 * document. ERR_CORRUPT: this is no XVA, or ova.xml is damaged. */
MUST_CHECK enum err_code xva_reader_open(struct stream *stream, const char *name, struct xva_reader **ret,
					 uint8_t **ret_xml, size_t *ret_xml_length, struct err *err);

/* The disks and the VM; borrowed until close. */
const struct ova *xva_reader_ova(const struct xva_reader *reader);

/* Index of the disk being read; disk_count after the last. */
size_t xva_reader_disk(const struct xva_reader *reader);

/* Goes to the next data of this disk: *ret_offset is its place on the disk, *ret_length (1 or more) how much can be
 * read with xva_reader_read from there. *ret_length 0: the disk is complete, and the next one is now being read.
 * Calling it again without reading gives the same answer. */
MUST_CHECK enum err_code xva_reader_next(struct xva_reader *reader, uint64_t *ret_offset, uint64_t *ret_length,
					 struct err *err);

/* Reads exactly `n` bytes, at most what xva_reader_next said, into `dst`, and moves the place on. The read that ends a
 * member also checks its checksum: what it and the reads before it delivered is to be trusted only if it succeeds. */
MUST_CHECK enum err_code xva_reader_read(struct xva_reader *reader, void *dst, size_t n, struct err *err);

/* Reads and checks what is left: the rest of this disk, all later disks, and the end of the archive and of its
 * compression. */
MUST_CHECK enum err_code xva_reader_finish(struct xva_reader *reader, struct err *err);

/* Reads and checks the rest of the disks before `disk`. */
MUST_CHECK enum err_code xva_reader_skip_to(struct xva_reader *reader, size_t disk, struct err *err);

/* True once a member without a checksum was accepted: this export has none, its data could not be checked. */
bool xva_reader_is_unchecked(const struct xva_reader *reader);

void xva_reader_close(struct xva_reader *reader);

#endif
