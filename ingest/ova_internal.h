/* SPDX-License-Identifier: Apache-2.0 */
/* What ova_xml.c (document to records) and ova_disks.c (records to disks) share. */
#ifndef INGEST_OVA_INTERNAL_H
#define INGEST_OVA_INTERNAL_H

#include "ingest/ova_xml.h"

enum ova_class {
	OVA_OTHER,
	OVA_VM,
	OVA_VBD,
	OVA_VDI,
	OVA_SR,
};

#define OVA_WORD_MAX 31u

/* One entry of "objects": the fields of all classes that matter; those that its class lacks stay empty. */
struct ova_object {
	enum ova_class class;
	char id[OVA_REF_MAX + 1];
	char name_label[OVA_NAME_MAX + 1];
	char uuid[UUID_TEXT_SIZE];
	char type[OVA_WORD_MAX + 1];         /* of a VBD: Disk, CD, Floppy; of a VDI: user, suspend, ... */
	char userdevice[OVA_WORD_MAX + 1];   /* of a VBD */
	char vdi[OVA_REF_MAX + 1];           /* of a VBD */
	char sr[OVA_REF_MAX + 1];            /* of a VDI */
	char content_type[OVA_WORD_MAX + 1]; /* of an SR */
	uint64_t virtual_size;               /* of a VDI */
	bool is_a_snapshot;                  /* of a VM */
	bool is_control_domain;              /* of a VM */
};

struct ova_records {
	unsigned export_version;
	struct ova_object *objects;
	size_t count;
	size_t room;
};

/* Fills in the VM and the disks of *ret, which is all zero; the caller releases it on failure too. */
MUST_CHECK enum err_code ova_find_disks(const struct ova_records *records, struct ova *ret, struct err *err);

#endif
