/* SPDX-License-Identifier: Apache-2.0 */
/* A node_store in memory, which counts, can lose and damage nodes, and can tell how a node is stored. */
#ifndef TESTS_MEMORY_NODES_H
#define TESTS_MEMORY_NODES_H

#include "store/disk_map.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct memory_node {
	struct chunk_id id;
	uint8_t *payload;
	size_t length;
	bool lost; /* get says ERR_NOT_FOUND */
};

struct memory_nodes {
	struct memory_node *slots; /* open addressing; a slot without payload is free */
	size_t capacity;
	size_t count;
	uint64_t puts, put_bytes, gets, deltas;
	bool fail_puts;
};

static inline struct memory_node *memory_nodes_slot(struct memory_nodes *m, const struct chunk_id *id)
{
	uint64_t hash;
	memcpy(&hash, id->bytes, sizeof(hash));
	for (size_t i = hash & (m->capacity - 1);; i = (i + 1) & (m->capacity - 1))
		if (!m->slots[i].payload || chunk_id_equal(&m->slots[i].id, id))
			return &m->slots[i];
}

static inline void memory_nodes_init(struct memory_nodes *m)
{
	*m = (struct memory_nodes){.capacity = 1024};
	m->slots = calloc(m->capacity, sizeof(*m->slots));
	if (!m->slots || sodium_init() < 0)
		abort();
}

static inline void memory_nodes_release(struct memory_nodes *m)
{
	for (size_t i = 0; i < m->capacity; i++)
		free(m->slots[i].payload);
	free(m->slots);
}

static inline void memory_nodes_grow(struct memory_nodes *m)
{
	struct memory_nodes bigger = *m;
	bigger.capacity = m->capacity * 2;
	bigger.slots = calloc(bigger.capacity, sizeof(*bigger.slots));
	if (!bigger.slots)
		abort();
	for (size_t i = 0; i < m->capacity; i++)
		if (m->slots[i].payload)
			*memory_nodes_slot(&bigger, &m->slots[i].id) = m->slots[i];
	free(m->slots);
	*m = bigger;
}

/* Stores a copy, replacing what was there. */
static inline void memory_nodes_write(struct memory_nodes *m, const struct chunk_id *id, const uint8_t *payload,
				      size_t length)
{
	if (m->count * 2 >= m->capacity)
		memory_nodes_grow(m);
	struct memory_node *node = memory_nodes_slot(m, id);
	m->count += !node->payload;
	free(node->payload);
	node->payload = malloc(length ? length : 1);
	if (!node->payload)
		abort();
	memcpy(node->payload, payload, length);
	node->length = length;
	node->id = *id;
	node->lost = false;
}

static inline enum err_code memory_nodes_get(void *user, const struct chunk_id *id, uint8_t *dst, size_t *ret_length,
					     struct err *err)
{
	struct memory_nodes *m = user;
	struct memory_node *node = memory_nodes_slot(m, id);
	m->gets++;
	if (!node->payload || node->lost)
		return err_set(err, ERR_NOT_FOUND, 0, "map node '%02x%02x' is not stored", id->bytes[0], id->bytes[1]);
	memcpy(dst, node->payload, node->length);
	*ret_length = node->length;
	return ERR_OK;
}

static inline enum err_code memory_nodes_put(void *user, const struct chunk_id *id, const uint8_t *payload,
					     size_t length, struct err *err)
{
	struct memory_nodes *m = user;
	if (m->fail_puts)
		return err_set(err, ERR_NO_SPACE, 0, "no space for a node");
	m->puts++;
	m->put_bytes += length;
	m->deltas += payload[0] == 2;
	memory_nodes_write(m, id, payload, length);
	return ERR_OK;
}

static inline bool memory_nodes_has(void *user, const struct chunk_id *id)
{
	return memory_nodes_slot(user, id)->payload != NULL;
}

static inline void memory_nodes_hash(void *user, const void *data, size_t length, struct chunk_id *ret)
{
	(void)user;
	static const uint8_t key[32] = "the key of the tests";
	crypto_generichash(ret->bytes, sizeof(ret->bytes), data, length, key, sizeof(key));
}

static inline struct node_store memory_nodes_store(struct memory_nodes *m)
{
	return (struct node_store){.get = memory_nodes_get,
				   .put = memory_nodes_put,
				   .has = memory_nodes_has,
				   .hash = memory_nodes_hash,
				   .user = m};
}

/* Stores `node` whole, bypassing the builder, and gives its ID. */
static inline struct chunk_id memory_nodes_plant(struct memory_nodes *m, const struct map_node *node)
{
	uint8_t whole[DISK_MAP_PAYLOAD_MAX] = {1, node->level};
	size_t length = 1 + 8;
	memcpy(whole + length, node->present, sizeof(node->present));
	length += sizeof(node->present);
	for (unsigned slot = 0; slot < DISK_MAP_FANOUT; slot++)
		if (map_node_has(node, slot)) {
			memcpy(whole + length, node->ids[slot].bytes, 32);
			length += 32;
		}
	struct chunk_id id;
	memory_nodes_hash(m, whole + 1, length - 1, &id);
	memory_nodes_write(m, &id, whole, length);
	return id;
}

#endif
