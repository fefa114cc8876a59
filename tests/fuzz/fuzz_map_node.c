/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads of disk map nodes. */
#include "store/disk_map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct map_node node;
	struct chunk_id base;
	uint8_t listed[DISK_MAP_FANOUT / 8];
	bool is_delta;
	(void)!map_node_parse(data, size, &is_delta, &base, listed, &node, NULL);
	return 0;
}
