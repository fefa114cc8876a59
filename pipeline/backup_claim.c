/* SPDX-License-Identifier: Apache-2.0 */
#include "pipeline/backup_internal.h"

#include "base/cleanup.h"
#include "base/size.h"

#include <string.h>

/* Marks the blocks of `leaf` that [from, to) of the disk touches. */
static void mark_needed(struct leaf_work *work, uint64_t from, uint64_t to)
{
	uint64_t start = work->leaf * DISK_MAP_LEAF_BYTES;
	unsigned first = (unsigned)((from - start) >> BLOCK_SHIFT);
	unsigned end = (unsigned)((to - start + BLOCK_SIZE - 1) >> BLOCK_SHIFT);
	for (unsigned i = first; i < end; i++)
		work->needed[i / 8] |= (uint8_t)(1u << (i % 8));
}

/* The extent at `offset`, from the last answer if it still serves. */
static enum err_code extent_at(struct job_disk *disk, uint64_t offset, struct err *err)
{
	struct block_source *source = disk->source;
	const struct block_extent *e = &disk->extent;
	if (disk->extent_set && offset >= e->offset && offset - e->offset < e->length)
		return ERR_OK;
	if (!source->ops->extent) {
		disk->extent = (struct block_extent){.offset = 0, .length = source->size_bytes};
	} else {
		TRY(source->ops->extent(source, offset, &disk->extent, err));
		if (offset < e->offset || offset - e->offset >= e->length)
			return err_set(err, ERR_BUG, 0, "disk '%s' gave an extent that does not contain what was asked",
				       source->name);
	}
	disk->extent_set = true;
	return ERR_OK;
}

/* Finds the next leaf with anything to read. The disk's mutex is held. */
static enum err_code claim_random(struct job_disk *disk, struct leaf_work *ret, bool *ret_claimed, struct err *err)
{
	uint64_t size = disk->source->size_bytes;
	*ret_claimed = false;
	while (disk->next_leaf < disk->leaf_count) {
		uint64_t start = disk->next_leaf * DISK_MAP_LEAF_BYTES;
		uint64_t end = min_u64(start + DISK_MAP_LEAF_BYTES, size);
		TRY(extent_at(disk, start, err));
		uint64_t extent_end = disk->extent.offset + disk->extent.length;
		if (disk->extent.zero && extent_end >= end) {
			/* Whole leaves of zeroes are stepped over at once, however many there are. */
			disk->next_leaf = extent_end >= size ? disk->leaf_count : extent_end / DISK_MAP_LEAF_BYTES;
			continue;
		}
		*ret = (struct leaf_work){.disk = disk, .leaf = disk->next_leaf++};
		for (uint64_t at = start; at < end;) {
			TRY(extent_at(disk, at, err));
			uint64_t to = min_u64(disk->extent.offset + disk->extent.length, end);
			if (!disk->extent.zero)
				mark_needed(ret, at, to);
			at = to;
		}
		ret->sequence = disk->next_claim++;
		*ret_claimed = true;
		return ERR_OK;
	}
	disk->exhausted = true;
	return ERR_OK;
}

/* Reads the next leaf of a stream into the lane's buffers. The disk's mutex is held. */
static enum err_code claim_stream(struct job_disk *disk, uint8_t *const buffers[], struct leaf_work *ret,
				  bool *ret_claimed, struct err *err)
{
	struct source_leaf leaf = {0};
	*ret_claimed = false;
	TRY(disk->source->ops->read_next(disk->source, buffers, &leaf, err));
	if (leaf.end) {
		disk->exhausted = true;
		return ERR_OK;
	}
	if (leaf.leaf < disk->next_leaf || leaf.leaf >= disk->leaf_count)
		return err_set(err, ERR_BUG, 0, "disk '%s' delivered a part that is not its next one",
			       disk->source->name);
	disk->next_leaf = leaf.leaf + 1;
	*ret = (struct leaf_work){.disk = disk, .leaf = leaf.leaf, .sequence = disk->next_claim++};
	memcpy(ret->needed, leaf.present, sizeof(ret->needed));
	*ret_claimed = true;
	return ERR_OK;
}

static bool is_exhausted(struct job_disk *disk)
{
	LOCK_SCOPE(&disk->mutex);
	return disk->exhausted;
}

/* Parts of one stream come one after the other: is an earlier one of the same stream still being read? */
static bool waits_for_earlier(struct backup_job *job, size_t index)
{
	const void *sequence = job->disks[index].source->sequence;
	if (!sequence)
		return false;
	for (size_t i = 0; i < index; i++)
		if (job->disks[i].source->sequence == sequence && !is_exhausted(&job->disks[i]))
			return true;
	return false;
}

enum err_code job_claim(struct backup_job *job, unsigned lane, uint8_t *const buffers[], struct leaf_work *ret,
			bool *ret_claimed, bool *ret_streamed, bool *ret_stream_waits, struct err *err)
{
	*ret_claimed = false;
	*ret_streamed = false;
	*ret_stream_waits = false;
	/* Round robin over the disks, so that they advance side by side. */
	unsigned first = atomic_fetch_add_explicit(&job->next_disk, 1, memory_order_relaxed) + lane;
	for (size_t i = 0; i < job->disk_count && !*ret_claimed; i++) {
		size_t index = (first + i) % job->disk_count;
		struct job_disk *disk = &job->disks[index];
		bool is_stream = disk->source->ops->read_next != NULL;
		if (is_stream && (!buffers || waits_for_earlier(job, index))) {
			*ret_stream_waits |= !is_exhausted(disk);
			continue;
		}
		LOCK_SCOPE(&disk->mutex);
		if (disk->exhausted)
			continue;
		TRY(is_stream ? claim_stream(disk, buffers, ret, ret_claimed, err)
			      : claim_random(disk, ret, ret_claimed, err));
		*ret_streamed = is_stream && *ret_claimed;
	}
	return ERR_OK;
}
