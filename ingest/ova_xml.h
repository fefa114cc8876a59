/* SPDX-License-Identifier: Apache-2.0 */
/* The document inside an XVA, ova.xml: one XML-RPC value that holds the records of a VM and of everything around it.
 * Read here only for what a backup needs: who the VM is, and which disks are streamed in which order.
 *
 * The document is untrusted. libxml2 reads it in pieces, without network, document types, or entities beyond XML's own
 * five; memory is bounded by OVA_OBJECTS_MAX however large the document is. */
#ifndef INGEST_OVA_XML_H
#define INGEST_OVA_XML_H

#include "base/err.h"
#include "base/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OVA_XML_MAX (UINT64_C(64) << 20) /* bytes of a document; real ones have up to a few MiB */
#define OVA_OBJECTS_MAX 16384u           /* VMs, VBDs, VDIs and SRs of a document */
#define XVA_DISKS_MAX 1024u              /* streamed ones; naming them takes quadratic time */
#define OVA_REF_MAX 63u                  /* "Ref:12" */
#define OVA_NAME_MAX 255u                /* bytes of a name; longer ones are cut between two characters */

/* A disk that the stream carries. */
struct xva_disk {
	char ref[OVA_REF_MAX + 1];   /* its directory in the archive */
	char name[OVA_NAME_MAX + 1]; /* unique within the document; see ova_xml_parse */
	struct uuid uuid;            /* the VDI's; null if it has none */
	uint64_t size_bytes;         /* virtual size, 1 or more */
	bool suspend;                /* the memory of a suspended VM, not a disk of it */
};

struct ova {
	char vm_name[OVA_NAME_MAX + 1]; /* empty if there is no VM or it has no name */
	struct uuid vm_uuid;            /* null if there is no VM or it has none */
	unsigned export_version;        /* 2; 0 and 1 in ancient exports */
	struct xva_disk *disks;         /* in the order of the stream: by directory name, so Ref:10 before Ref:2 */
	size_t disk_count;
};

/* Reads `n` bytes of ova.xml into *ret; release with ova_release. ERR_CORRUPT: not well-formed, not what it should be,
 * or a reference leads nowhere; ERR_LIMIT: one of the limits above.
 *
 * Streamed are the VDIs of all VBDs that are not CD drives, unless the SR is an ISO library, and all VDIs of type
 * suspend. A disk's name is its VDI's name label if no other streamed disk has the same one, else "xvda", "xvdb", ...
 * by the VBD's position, else its reference. Control characters in names become '_'. */
MUST_CHECK enum err_code ova_xml_parse(const uint8_t *xml, size_t n, struct ova *ret, struct err *err);

/* Frees what ova_xml_parse gave; an all-zero struct is allowed. */
void ova_release(struct ova *ova);

#endif
