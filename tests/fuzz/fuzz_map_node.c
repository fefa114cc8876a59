/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads of disk map nodes: a whole one encodes to the bytes it came from, a delta lists no more than is present. */
#include "store/map_node.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct map_node node;
	struct chunk_id base;
	uint8_t listed[MAP_NODE_BITMAP_SIZE];
	uint8_t again[DISK_MAP_PAYLOAD_MAX];
	bool is_delta;
	struct err err = {0};
	enum err_code code = map_node_parse(data, size, &is_delta, &base, listed, &node, &err);
	if (code != ERR_OK) {
		require_message(code, &err);
		return 0;
	}
	require(node.level < DISK_MAP_LEVELS_MAX);
	for (size_t i = 0; i < sizeof(listed); i++)
		require((listed[i] & ~node.present[i]) == 0);
	if (!is_delta)
		require(map_node_encode(&node, again) == size && memcmp(again, data, size) == 0);
	return 0;
}
