/* SPDX-License-Identifier: Apache-2.0 */
/* Writes an XVA that XenServer and XCP-ng import, as one stream, disk after disk:
 *
 *     xva_writer_new      ova.xml goes out
 *     xva_target_new      a target for the next disk of ova.xml's order; the restore pipeline writes to it; finish,
 * close it
 *     ...
 *     xva_writer_finish   the end of the archive
 *
 * The same ova.xml and disks give the same bytes (unless the stream was so slow that it had to be kept alive).
 *
 * Threads: one at a time. */
#ifndef INGEST_XVA_WRITER_H
#define INGEST_XVA_WRITER_H

#include "ingest/xva.h"
#include "pipeline/block_target.h"

struct xva_writer;

/* After this long without output the next chunk is sent although it is zero: importers and what lies between close idle
 * connections after a minute or so. */
#define XVA_KEEPALIVE_S 50

/* Begins a stream on `fd` (a file, pipe or standard output, called `name` in messages), which the caller keeps open and
 * closes. `ova_xml` (n bytes, borrowed) goes out unchanged; it says which disks will follow. XVA_XXHASH is what hosts
 * since 8.1 write; XVA_SHA1 is understood by all. Nothing is written unless ova_xml is one; errors as of ova_xml_parse.
 */
MUST_CHECK enum err_code xva_writer_new(int fd, const char *name, const uint8_t *ova_xml, size_t n,
					enum xva_checksum form, struct xva_writer **ret, struct err *err);

/* The disks that have to be written, in this order; borrowed. */
const struct xva_disk *xva_writer_disks(const struct xva_writer *writer, size_t *ret_count);

/* A target for the disk `ref` of `size` bytes; ordered. One at a time, in the order of xva_writer_disks: ERR_INVALID if
 * it is another one's turn or ova.xml says another size. `disk_name` is for messages. Gives *ret, which must be closed
 * before the writer is freed. */
MUST_CHECK enum err_code xva_target_new(struct xva_writer *writer, const char *ref, const char *disk_name,
					uint64_t size, struct block_target **ret, struct err *err);

/* Ends the archive and makes a file durable. ERR_INVALID if a disk is missing. */
MUST_CHECK enum err_code xva_writer_finish(struct xva_writer *writer, struct err *err);

/* Sets the keep-alive time for this writer; 0 sends every chunk. */
void xva_writer_set_keepalive(struct xva_writer *writer, unsigned seconds);

/* Frees the writer; without finish the stream stays incomplete, which every reader notices. NULL is allowed. */
void xva_writer_free(struct xva_writer *writer);

/* A disk for xva_make_ova_xml. */
struct xva_new_disk {
	const char *name; /* becomes the name label */
	struct uuid uuid; /* null: a random one */
	uint64_t size_bytes;
};

/* Makes a minimal ova.xml for disks that never had one: a halted HVM VM of two processors and 2 GiB that boots from the
 * first disk, without network cards. The order of the stream is the order of `disks` (1..XVA_DISKS_MAX). `vm_uuid` may
 * be null: a random one. Gives *ret (free). */
MUST_CHECK enum err_code xva_make_ova_xml(const char *vm_name, const struct uuid *vm_uuid,
					  const struct xva_new_disk *disks, size_t count, uint8_t **ret,
					  size_t *ret_length, struct err *err);

#endif
