/* SPDX-License-Identifier: Apache-2.0 */
/* From what the user names to block sources and targets: the table of formats. A new format is one new file and one new
 * row here. */
#ifndef INGEST_OPEN_H
#define INGEST_OPEN_H

#include "pipeline/block_source.h"
#include "pipeline/block_target.h"

#include <stddef.h>

/* Everything that one DISK argument gave: usually one source; an XVA gives one per disk and a document. */
struct source_set {
	struct block_source **sources; /* `count` of them */
	size_t count;
	/* Documents that travel with the disks, such as "ova.xml": stored with the saveset as they are. */
	struct source_document {
		char name[64];
		uint8_t *data;
		size_t length;
	} * documents;
	size_t document_count;
	void *owner; /* the format's shared state; freed by its `release` */
	void (*release)(void *owner);
};

/* Opens `spec`: a path (raw, block device, VHD, XVA, or what qemu-nbd reads), "-" (a stream on standard input: XVA), or
 * an nbd://, nbds://, nbd+unix:// address. `format` is NULL (detect from content, never from the name) or a name from
 * source_format_names. Gives *ret; release with source_set_release. */
MUST_CHECK enum err_code source_open(const char *spec, const char *format, struct source_set *ret, struct err *err);
void source_set_release(struct source_set *set);

/* "raw, vhd, xva, ..." for help texts. */
const char *source_format_names(void);

struct target_options {
	const char *format; /* NULL: raw, or nbd for an address */
	bool overwrite;     /* an existing file may be replaced, a device or address may be written over */
};

/* Opens `spec` ("-" is standard output, a path, or an NBD address) for a disk of `size_bytes`. ERR_EXISTS if it is
 * there and overwrite is not set; ERR_NO_SPACE if it is too small. Nothing is changed before all checks have passed. */
MUST_CHECK enum err_code target_open(const char *spec, const struct target_options *options, const char *disk_name,
				     uint64_t size_bytes, struct block_target **ret, struct err *err);

const char *target_format_names(void);

#endif
