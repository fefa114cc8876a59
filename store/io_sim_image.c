/* SPDX-License-Identifier: Apache-2.0 */
#include "store/io_sim_image.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"

/* Small, so that a tree of small files stays small; large enough that a segment has few thousand chunks. */
#define CHUNK 16384u

/* Part of a range that lies in one chunk. */
struct part {
	size_t chunk;
	size_t at;     /* offset in the chunk */
	size_t length; /* not 0 */
};

static struct part part_of(uint64_t offset, uint64_t length)
{
	struct part part = {.chunk = (size_t)(offset / CHUNK), .at = (size_t)(offset % CHUNK)};
	part.length = (size_t)min_u64(CHUNK - part.at, length);
	return part;
}

/* The chunk's bytes; NULL if it is a hole. */
static uint8_t *chunk_get(const struct sim_image *image, size_t chunk)
{
	return chunk < image->chunk_count ? image->chunks[chunk] : NULL;
}

/* Makes all chunks of the range exist. */
static bool chunks_make(struct sim_image *image, uint64_t offset, size_t length)
{
	size_t end = (size_t)((offset + length + CHUNK - 1) / CHUNK);
	if (end > image->chunk_count) {
		size_t count = end > 2 * image->chunk_count ? end : 2 * image->chunk_count;
		uint8_t **chunks = realloc(image->chunks, count * sizeof(*chunks));
		if (!chunks)
			return false;
		memset(chunks + image->chunk_count, 0, (count - image->chunk_count) * sizeof(*chunks));
		image->chunks = chunks;
		image->chunk_count = count;
	}
	for (size_t i = (size_t)(offset / CHUNK); i < end; i++) {
		if (!image->chunks[i])
			image->chunks[i] = calloc(1, CHUNK);
		if (!image->chunks[i])
			return false;
	}
	return true;
}

/* Copies out bytes without regard to the size. */
static void bytes_get(const struct sim_image *image, uint64_t offset, uint8_t *data, size_t length)
{
	while (length > 0) {
		struct part part = part_of(offset, length);
		const uint8_t *chunk = chunk_get(image, part.chunk);
		if (chunk)
			memcpy(data, chunk + part.at, part.length);
		else
			memset(data, 0, part.length);
		offset += part.length;
		data += part.length;
		length -= part.length;
	}
}

/* Copies in bytes of chunks that exist. */
static void bytes_put(struct sim_image *image, uint64_t offset, const uint8_t *data, size_t length)
{
	while (length > 0) {
		struct part part = part_of(offset, length);
		memcpy(image->chunks[part.chunk] + part.at, data, part.length);
		offset += part.length;
		data += part.length;
		length -= part.length;
	}
}

/* Cuts the file, keeping the invariant. */
static void truncate_to(struct sim_image *image, uint64_t size)
{
	for (uint64_t at = size; at < image->size;) {
		struct part part = part_of(at, image->size - at);
		uint8_t *chunk = chunk_get(image, part.chunk);
		if (chunk)
			memset(chunk + part.at, 0, part.length);
		at += part.length;
	}
	image->size = size;
}

static void forget(struct sim_image *image, struct sim_undo *undo)
{
	if (undo->older)
		undo->older->newer = undo->newer;
	else
		image->oldest = undo->newer;
	if (undo->newer)
		undo->newer->older = undo->older;
	else
		image->newest = undo->older;
	free(undo);
}

void sim_image_release(struct sim_image *image)
{
	while (image->oldest)
		forget(image, image->oldest);
	for (size_t i = 0; i < image->chunk_count; i++)
		free(image->chunks[i]);
	free(image->chunks);
	*image = (struct sim_image){0};
}

size_t sim_image_read(const struct sim_image *image, uint64_t offset, void *data, size_t length)
{
	if (offset >= image->size)
		return 0;
	size_t got = (size_t)min_u64(length, image->size - offset);
	bytes_get(image, offset, data, got);
	return got;
}

/* Remembers the sectors of a range, and the size, as they are. */
static bool remember(struct sim_image *image, uint64_t sequence, uint64_t offset, size_t length)
{
	uint64_t first = offset / SIM_SECTOR;
	uint64_t count = (offset + length + SIM_SECTOR - 1) / SIM_SECTOR - first;
	bool has_bytes = first * SIM_SECTOR < image->size;
	struct sim_undo *undo = malloc(sizeof(*undo) + (has_bytes ? (size_t)count * SIM_SECTOR : 0));
	if (!undo)
		return false;
	*undo = (struct sim_undo){
		.older = image->newest,
		.sequence = sequence,
		.first_sector = first,
		.sector_count = count,
		.old_size = image->size,
		.has_bytes = has_bytes,
	};
	if (has_bytes)
		bytes_get(image, first * SIM_SECTOR, undo->bytes, (size_t)count * SIM_SECTOR);
	if (image->newest)
		image->newest->newer = undo;
	else
		image->oldest = undo;
	image->newest = undo;
	return true;
}

bool sim_image_write(struct sim_image *image, uint64_t sequence, uint64_t offset, const void *data, size_t length)
{
	if (length == 0)
		return true;
	if (!chunks_make(image, offset, length) || !remember(image, sequence, offset, length))
		return false;
	bytes_put(image, offset, data, length);
	image->size = max_u64(image->size, offset + length);
	return true;
}

void sim_image_sync(struct sim_image *image, uint64_t sequence)
{
	while (image->oldest && image->oldest->sequence <= sequence)
		forget(image, image->oldest);
}

/* Puts one sector back to what it was before `undo`. */
static void undo_sector(struct sim_image *image, const struct sim_undo *undo, uint64_t index)
{
	struct part part = part_of((undo->first_sector + index) * SIM_SECTOR, SIM_SECTOR);
	uint8_t *chunk = image->chunks[part.chunk] + part.at; /* the write made it */
	if (undo->has_bytes)
		memcpy(chunk, undo->bytes + index * SIM_SECTOR, SIM_SECTOR);
	else
		memset(chunk, 0, SIM_SECTOR);
}

/* The chance, in 256ths, that a sector goes back one version. All and nothing are common in practice and too rare if
 * every sector chose by itself, so they have a share of their own. */
static unsigned choose_chance(enum sim_loss loss, uint64_t *random)
{
	switch (sim_random_below(random, 4)) {
	case 0:
		return loss == SIM_LOSS_ANY ? 0 : 128;
	case 1:
		return 256;
	case 2:
		return 128;
	default:
		return 1 + (unsigned)sim_random_below(random, 255);
	}
}

/* The size after a power cut. It is metadata, kept or lost apart from the bytes. */
static uint64_t choose_size(uint64_t old_size, uint64_t size, uint64_t *random)
{
	uint64_t between = old_size + sim_random_below(random, size - old_size + 1);
	switch (sim_random_below(random, 6)) {
	case 0:
		return old_size;
	case 1:
		return between;
	case 2:
		return max_u64(old_size, round_down(between, SIM_SECTOR));
	default:
		return size;
	}
}

void sim_image_lose(struct sim_image *image, enum sim_loss loss, uint64_t *random)
{
	if (!image->oldest)
		return;
	unsigned chance = choose_chance(loss, random);
	uint64_t size = choose_size(image->oldest->old_size, image->size, random);
	while (image->newest) {
		struct sim_undo *undo = image->newest;
		for (uint64_t i = 0; chance > 0 && i < undo->sector_count; i++)
			if (chance == 256 || (sim_random(random) & 255) < chance)
				undo_sector(image, undo, i);
		forget(image, undo);
	}
	truncate_to(image, size);
}

bool sim_image_copy(struct sim_image *to, const struct sim_image *from)
{
	to->chunks = calloc(from->chunk_count ? from->chunk_count : 1, sizeof(*to->chunks));
	if (!to->chunks)
		return false;
	to->chunk_count = from->chunk_count;
	to->size = from->size;
	for (size_t i = 0; i < from->chunk_count; i++) {
		if (!from->chunks[i])
			continue;
		to->chunks[i] = malloc(CHUNK);
		if (!to->chunks[i])
			return false;
		memcpy(to->chunks[i], from->chunks[i], CHUNK);
	}
	return true;
}

bool sim_image_flip(struct sim_image *image, uint64_t offset, unsigned bit)
{
	if (!chunks_make(image, offset, 1))
		return false;
	image->chunks[offset / CHUNK][offset % CHUNK] ^= (uint8_t)(1u << (bit & 7));
	return true;
}
