/* SPDX-License-Identifier: Apache-2.0 */
/* ova.xml: whatever is accepted has disks that are sorted, named apart and not empty. */
#include "ingest/ova_xml.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ova ova;
	struct err err = {0};
	if (ova_xml_parse(data, size, &ova, &err) != ERR_OK) {
		if (!err.msg[0])
			abort();
		return 0;
	}
	for (size_t i = 0; i < ova.disk_count; i++) {
		const struct xva_disk *disk = &ova.disks[i];
		if (disk->size_bytes == 0 || !disk->name[0] || strchr(disk->ref, '/') ||
		    (i && strcmp(disk[-1].ref, disk->ref) >= 0))
			abort();
		for (size_t k = 0; k < i; k++)
			if (strcmp(ova.disks[k].name, disk->name) == 0)
				abort();
	}
	ova_release(&ova);
	return 0;
}
