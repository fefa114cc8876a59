/* SPDX-License-Identifier: Apache-2.0 */
/* XVA, the export of a whole VM: a tar stream of ova.xml, then per disk its chunks as members "Ref:N/00000000", each
 * followed by a member with its checksum. This header holds what reading and writing share, and the door for tests; the
 * product opens XVAs through ingest/formats.h and writes them through ingest/xva_writer.h.
 *
 *     ova.xml | Ref:10/00000000 | Ref:10/00000000.xxhash | Ref:10/00000007 | ... | Ref:2/00000000 | ... | zero | zero
 *
 * Disks come in the order of their directory names as bytes. A chunk is 1 MiB; chunks of zeroes are left out, the first
 * and the last of a disk never are. Where a member belongs follows from a cursor, not from its number: see
 * xva_reader.h. */
#ifndef INGEST_XVA_H
#define INGEST_XVA_H

#include "base/err.h"
#include "ingest/open.h"
#include "ingest/ova_xml.h"
#include "ingest/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XVA_CHUNK_SIZE (1u << 20)           /* what xapi writes, and we */
#define XVA_CHUNK_MAX (16u << 20)           /* the largest chunk of other writers that is read */
#define XVA_NUMBER_MAX UINT64_C(9999999999) /* chunk numbers have eight digits, more if they need them */

/* What follows each chunk. */
enum xva_checksum {
	XVA_NO_CHECKSUM, /* ancient exports only */
	XVA_SHA1,        /* ".checksum": 40 hex digits; Citrix Hypervisor up to 8.0. All versions read it */
	XVA_XXHASH,      /* ".xxhash": 16 upper-case hex digits of XXH64; Citrix Hypervisor 8.1, XCP-ng 8.1 and later */
};

/* The name of a chunk or of its checksum, taken apart. */
struct xva_member {
	char ref[OVA_REF_MAX + 1];
	uint64_t number;
	enum xva_checksum checksum; /* XVA_NO_CHECKSUM: the chunk itself */
};

/* Takes "Ref:N/XXXXXXXX", perhaps with a checksum's suffix, apart. False if `name` is anything else. */
bool xva_member_parse(const char *name, struct xva_member *ret);

#define XVA_MEMBER_NAME_SIZE (OVA_REF_MAX + 32)

/* Puts a name together. Returns dst. */
char *xva_member_format(const struct xva_member *member, char dst[static XVA_MEMBER_NAME_SIZE]);

/* The disks of an ova.xml in the order in which they are streamed. Gives *ret (free). Errors as of ova_xml_parse. */
MUST_CHECK enum err_code xva_disk_refs(const uint8_t *ova_xml, size_t n, struct xva_disk **ret, size_t *ret_count,
				       struct err *err);

/* Like xva_source_open, over a stream, which it takes (also on failure). */
MUST_CHECK enum err_code xva_source_from_stream(struct stream *stream, const char *name, struct source_set *ret,
						struct err *err);

#endif
