/* SPDX-License-Identifier: Apache-2.0 */
#include "store/map_node.h"

#include "base/cursor.h"

#include <string.h>

static_assert(DISK_MAP_PAYLOAD_MAX == 1 + MAP_NODE_HEAD_SIZE + 32 * DISK_MAP_FANOUT, "whole payload in disk_map.h");
static_assert(MAP_DELTA_HEAD_SIZE + MAP_DELTA_ENTRY_SIZE * MAP_DELTA_LISTED_MAX < DISK_MAP_PAYLOAD_MAX, "a delta fits");

unsigned map_bitmap_count(const uint8_t bitmap[static MAP_NODE_BITMAP_SIZE])
{
	unsigned count = 0;
	for (unsigned i = 0; i < MAP_NODE_BITMAP_SIZE; i++)
		count += (unsigned)__builtin_popcount(bitmap[i]);
	return count;
}

size_t map_node_encode(const struct map_node *node, uint8_t dst[static DISK_MAP_PAYLOAD_MAX])
{
	uint8_t *p = dst;
	*p++ = MAP_NODE_WHOLE;
	*p++ = node->level;
	memset(p, 0, 7);
	p += 7;
	memcpy(p, node->present, MAP_NODE_BITMAP_SIZE);
	p += MAP_NODE_BITMAP_SIZE;
	for (unsigned slot = 0; slot < DISK_MAP_FANOUT; slot++) {
		if (!map_node_has(node, slot))
			continue;
		memcpy(p, node->ids[slot].bytes, 32);
		p += 32;
	}
	return (size_t)(p - dst);
}

static size_t whole_size(const uint8_t bitmap[static MAP_NODE_BITMAP_SIZE])
{
	return 1 + MAP_NODE_HEAD_SIZE + 32 * (size_t)map_bitmap_count(bitmap);
}

static size_t delta_size(unsigned listed)
{
	return MAP_DELTA_HEAD_SIZE + MAP_DELTA_ENTRY_SIZE * (size_t)listed;
}

/* True if `slot` of `node` cannot be taken from `base`. */
static bool slot_differs(const struct map_node *node, const struct map_node *base, unsigned slot)
{
	return map_node_has(node, slot) &&
	       !(map_node_has(base, slot) && chunk_id_equal(&node->ids[slot], &base->ids[slot]));
}

size_t map_node_encode_delta(const struct map_node *node, const struct chunk_id *base_id, const struct map_node *base,
			     uint8_t dst[static DISK_MAP_PAYLOAD_MAX])
{
	unsigned listed = 0;
	for (unsigned slot = 0; slot < DISK_MAP_FANOUT; slot++)
		listed += slot_differs(node, base, slot);
	if (node->level != base->level || listed > MAP_DELTA_LISTED_MAX ||
	    delta_size(listed) >= whole_size(node->present))
		return 0;
	uint8_t *p = dst;
	*p++ = MAP_NODE_DELTA;
	memcpy(p, base_id->bytes, 32);
	p += 32;
	memcpy(p, node->present, MAP_NODE_BITMAP_SIZE);
	p += MAP_NODE_BITMAP_SIZE;
	*p++ = (uint8_t)listed;
	for (unsigned slot = 0; slot < DISK_MAP_FANOUT; slot++) {
		if (!slot_differs(node, base, slot))
			continue;
		*p++ = (uint8_t)slot;
		memcpy(p, node->ids[slot].bytes, 32);
		p += 32;
	}
	return (size_t)(p - dst);
}

static enum err_code parse_whole(struct cursor *c, struct map_node *node, struct err *err)
{
	node->level = cursor_u8(c);
	cursor_zeroes(c, 7);
	cursor_copy(c, node->present, MAP_NODE_BITMAP_SIZE);
	if (node->level >= DISK_MAP_LEVELS_MAX)
		return err_set(err, ERR_CORRUPT, 0, "disk map node has level %u", node->level);
	if (!c->bad && map_bitmap_count(node->present) == 0)
		return err_set(err, ERR_CORRUPT, 0, "disk map node is empty");
	for (unsigned slot = 0; slot < DISK_MAP_FANOUT; slot++)
		if (map_node_has(node, slot))
			cursor_copy(c, node->ids[slot].bytes, 32);
	return ERR_OK;
}

/* The list's slots ascend, are present and are no more than the builder would list. */
static enum err_code parse_delta(struct cursor *c, struct chunk_id *ret_base, uint8_t *listed, struct map_node *node,
				 struct err *err)
{
	cursor_copy(c, ret_base->bytes, 32);
	cursor_copy(c, node->present, MAP_NODE_BITMAP_SIZE);
	unsigned count = cursor_u8(c);
	if (c->bad)
		return ERR_OK;
	if (count > MAP_DELTA_LISTED_MAX || delta_size(count) >= whole_size(node->present))
		return err_set(err, ERR_CORRUPT, 0, "disk map delta lists %u of %u slots", count,
			       map_bitmap_count(node->present));
	int last = -1;
	for (unsigned i = 0; i < count; i++) {
		unsigned slot = cursor_u8(c);
		if (c->bad)
			break;
		if (slot >= DISK_MAP_FANOUT || (int)slot <= last || !map_node_has(node, slot))
			return err_set(err, ERR_CORRUPT, 0, "disk map delta lists slot %u out of place", slot);
		last = (int)slot;
		listed[slot / 8] |= (uint8_t)(1u << (slot % 8));
		cursor_copy(c, node->ids[slot].bytes, 32);
	}
	return ERR_OK;
}

enum err_code map_node_parse(const uint8_t *payload, size_t length, bool *ret_is_delta, struct chunk_id *ret_base,
			     uint8_t ret_listed[static DISK_MAP_FANOUT / 8], struct map_node *ret_node, struct err *err)
{
	struct cursor c = cursor_of(payload, length);
	uint8_t form = cursor_u8(&c);
	memset(ret_listed, 0, MAP_NODE_BITMAP_SIZE);
	memset(ret_base, 0, sizeof(*ret_base));
	ret_node->level = 0;
	*ret_is_delta = form == MAP_NODE_DELTA;
	if (form == MAP_NODE_WHOLE) {
		TRY(parse_whole(&c, ret_node, err));
		memcpy(ret_listed, ret_node->present, MAP_NODE_BITMAP_SIZE);
	} else if (form == MAP_NODE_DELTA) {
		TRY(parse_delta(&c, ret_base, ret_listed, ret_node, err));
	} else if (!c.bad) {
		return err_set(err, ERR_CORRUPT, 0, "disk map node has unknown form %u", form);
	}
	return cursor_finish(&c, "disk map node", err);
}
