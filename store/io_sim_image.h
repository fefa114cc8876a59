/* SPDX-License-Identifier: Apache-2.0 */
/* The content of one simulated file: what a reader sees now, and what is needed to tell what a power cut may leave of
 * it.
 *
 * The bytes are kept once, as they are now, in chunks; a missing chunk is a hole. For every write since the last sync
 * an undo record keeps the sectors as they were before it (nothing, where the file ended before them: then they were
 * zeroes). So a sync only forgets records, an append copies its bytes once, and the state that a power cut leaves is
 * made by undoing a random choice of sectors, newest record first.
 *
 * Invariant: bytes beyond `size` are zeroes.
 *
 * Threads: none; the simulated disk's lock is held. */
#ifndef STORE_IO_SIM_IMAGE_H
#define STORE_IO_SIM_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a disk writes as a whole; smaller writes can't tear. */
#define SIM_SECTOR 512u

/* The largest simulated file: keeps the table of chunks under 32 MiB. */
#define SIM_FILE_MAX (UINT64_C(1) << 36)

struct sim_undo {
	struct sim_undo *older, *newer;
	uint64_t sequence; /* number of the write, rising */
	uint64_t first_sector, sector_count;
	uint64_t old_size;
	bool has_bytes;  /* false: the sectors were zeroes */
	uint8_t bytes[]; /* sector_count sectors, if has_bytes */
};

struct sim_image {
	uint8_t **chunks;
	size_t chunk_count;
	uint64_t size;
	struct sim_undo *oldest, *newest;
};

/* How much of what was not synced is lost. */
enum sim_loss {
	SIM_LOSS_ANY,  /* anything from nothing to all, each sector by itself */
	SIM_LOSS_SOME, /* at least with good chance something */
};

/* A small generator of random numbers (splitmix64), so that one seed gives one run on every machine. */
static inline uint64_t sim_random(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t z = *state;
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Evenly 0..below-1; `below` is not 0. */
static inline uint64_t sim_random_below(uint64_t *state, uint64_t below)
{
	return sim_random(state) % below;
}

void sim_image_release(struct sim_image *image);

/* Bytes read: less than `length` at the end of the file. */
size_t sim_image_read(const struct sim_image *image, uint64_t offset, void *data, size_t length);

/* Writes and remembers how to undo it. `sequence` is above that of all writes before. The range ends at SIM_FILE_MAX at
 * most. False: no memory, nothing was written. */
bool sim_image_write(struct sim_image *image, uint64_t sequence, uint64_t offset, const void *data, size_t length);

/* Makes the writes up to number `sequence` durable. */
void sim_image_sync(struct sim_image *image, uint64_t sequence);

/* Gives every sector that was written and not synced one of its contents since the last sync, and the size one in
 * between; that is durable from now on. */
void sim_image_lose(struct sim_image *image, enum sim_loss loss, uint64_t *random);

/* Makes `to` (empty) a copy of what `from` is now, all of it durable. False: no memory. */
bool sim_image_copy(struct sim_image *to, const struct sim_image *from);

/* Flips one bit of a byte below the size. False: no memory. */
bool sim_image_flip(struct sim_image *image, uint64_t offset, unsigned bit);

#endif
