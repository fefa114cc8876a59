/* SPDX-License-Identifier: Apache-2.0 */
/* A group of up to eight blocks that are not zero: hashed side by side, compared with the previous map, looked up
 * together, and what is new is compressed and sealed while it is still in the core's cache. */
#include "pipeline/backup_internal.h"

#include "base/clock.h"

/* The leaf of the previous map at the group's place, loaded once per leaf. */
static enum err_code load_base_leaf(struct lane *lane, struct leaf_work *work, struct err *err)
{
	struct job_disk *disk = work->disk;
	work->base_loaded = true;
	if (!disk->has_base || work->leaf >= disk_map_leaf_count(disk->base.block_count))
		return ERR_OK;
	struct disk_map_reader **reader = &lane->base_maps[disk - lane->job->disks];
	if (!*reader)
		TRY(disk_map_reader_new(&lane->job->read_nodes, &disk->base, reader, err));
	const struct map_node *leaf = NULL;
	/* A map that cannot be read costs the comparison, not the backup. */
	if (disk_map_reader_leaf(*reader, work->leaf, &leaf, NULL, NULL) == ERR_OK && leaf) {
		work->base_leaf = *leaf;
		work->has_base_leaf = true;
	}
	return ERR_OK;
}

/* Stores the blocks that nobody has. */
static enum err_code store_new(struct lane *lane, const struct chunk_id ids[], const enum chunk_claim claims[],
			       const unsigned which[], unsigned count, uint64_t *ret_new, struct err *err)
{
	*ret_new = 0;
	for (unsigned i = 0; i < count; i++) {
		if (claims[i] != CHUNK_CLAIM_NEW)
			continue;
		struct chunk_location where;
		TRY(segment_writer_put(lane->writer, RECORD_CHUNK, &ids[i], lane->group[which[i]].data, BLOCK_SIZE,
				       &where, err));
		store_txn_stored(lane->job->txn, &ids[i], where);
		*ret_new += BLOCK_SIZE;
	}
	return ERR_OK;
}

static void release_slots(struct lane *lane)
{
	for (unsigned i = 0; i < lane->group_count; i++)
		lane->group[i].slot->refs--;
	lane->group_count = 0;
}

enum err_code lane_flush_group(struct lane *lane, struct err *err)
{
	unsigned count = lane->group_count;
	if (count == 0)
		return ERR_OK;
	struct leaf_work *work = lane->group[0].slot->work;
	struct job_disk *disk = work->disk;
	if (!work->base_loaded)
		TRY(load_base_leaf(lane, work, err));
	uint64_t start = clock_mono_ns();
	const uint8_t *blocks[CHUNK_HASH_LANES];
	struct chunk_id ids[CHUNK_HASH_LANES];
	for (unsigned i = 0; i < count; i++)
		blocks[i] = lane->group[i].data;
	chunk_hash_blocks(store_chunk_hasher(lane->job->store), blocks, count, ids);
	uint64_t hashed = clock_mono_ns();

	struct chunk_id changed[CHUNK_HASH_LANES];
	unsigned which[CHUNK_HASH_LANES];
	unsigned changed_count = 0;
	for (unsigned i = 0; i < count; i++) {
		unsigned index = lane->group[i].index;
		map_node_set(&work->node, index, &ids[i]);
		if (work->has_base_leaf && map_node_has(&work->base_leaf, index) &&
		    chunk_id_equal(&work->base_leaf.ids[index], &ids[i]))
			continue;
		changed[changed_count] = ids[i];
		which[changed_count++] = i;
	}
	enum chunk_claim claims[CHUNK_HASH_LANES];
	if (changed_count)
		TRY(store_txn_claim(lane->job->txn, &lane->guess, changed, changed_count, claims, err));
	uint64_t looked_up = clock_mono_ns();

	struct segment_write_times before;
	struct segment_write_times after;
	segment_writer_times(lane->writer, &before);
	uint64_t new_bytes;
	TRY(store_new(lane, changed, claims, which, changed_count, &new_bytes, err));
	segment_writer_times(lane->writer, &after);
	release_slots(lane);

	lane->times.ns[STAGE_HASH] += hashed - start;
	lane->times.ns[STAGE_LOOKUP] += looked_up - hashed;
	lane->times.data_bytes += (uint64_t)count * BLOCK_SIZE;
	uint64_t stored = after.stored_bytes - before.stored_bytes;
	atomic_fetch_add_explicit(&disk->data_bytes, (uint64_t)count * BLOCK_SIZE, memory_order_relaxed);
	atomic_fetch_add_explicit(&disk->changed_bytes, (uint64_t)changed_count * BLOCK_SIZE, memory_order_relaxed);
	atomic_fetch_add_explicit(&disk->new_bytes, new_bytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&disk->stored_bytes, stored, memory_order_relaxed);
	if (lane->job->request->progress) {
		progress_add(&lane->job->request->progress->new_bytes, new_bytes);
		progress_add(&lane->job->request->progress->stored_bytes, stored);
	}
	return ERR_OK;
}

enum err_code lane_add_block(struct lane *lane, struct read_slot *slot, const uint8_t *data, unsigned index,
			     struct err *err)
{
	slot->refs++;
	lane->group[lane->group_count++] = (struct pending_block){.slot = slot, .data = data, .index = index};
	return lane->group_count == CHUNK_HASH_LANES ? lane_flush_group(lane, err) : ERR_OK;
}
