/* SPDX-License-Identifier: Apache-2.0 */
/* The disks that one backup was asked for: opened, named, and without those that were left out.
 *
 * Threads: one owner. */
#ifndef APPLIANCE_DISK_SET_H
#define APPLIANCE_DISK_SET_H

#include "appliance/options.h"
#include "base/err.h"
#include "base/uuid.h"
#include "ingest/open.h"
#include "pipeline/backup.h"

#include <stddef.h>

struct disk_set {
	struct source_set *sets; /* one per argument; they own what stands below */
	size_t set_count;
	struct block_source **sources; /* what is to be backed up, in the order of the arguments */
	size_t count;
	struct block_source **excluded;
	size_t excluded_count;
	struct backup_document *documents;
	size_t document_count;
	char vm_name[SOURCE_NAME_MAX + 1]; /* from an ova.xml; empty if there is none */
	struct uuid vm_uuid;               /* likewise; null if there is none */
};

/* Opens the DISKs of the command line: each a path, "-" or an address, with "NAME=" in front to name the disk. `format`
 * is for all of them, NULL to detect. Disks named in `exclude` are left out. ERR_INVALID: two disks with one name, a
 * name in `exclude` that no disk has, nothing left to back up. Release with disk_set_release. */
MUST_CHECK enum err_code disk_set_open(char *const args[], size_t count, const char *format,
				       const struct text_list *exclude, struct disk_set *ret, struct err *err);
void disk_set_release(struct disk_set *set);

#endif
