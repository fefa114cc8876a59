/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/detect.h"
#include "ingest/qemu_image.h"

#include <stdbool.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[64];
	size_t position = 0;
	if (!detect_bytes(data, size, size))
		abort();
	while (vmdk_next_extent((const char *)data, size, &position, name, sizeof(name)))
		if (position > size)
			abort();
	return 0;
}
