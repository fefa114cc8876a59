/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/survey.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/size.h"
#include "bench/extents.h"
#include "store/chunk_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define READ_SIZE (8u << 20)

/* One pass over one disk. */
struct survey {
	const char *path;
	int fd;
	struct chunk_hasher hasher;
	struct survey_memory *memory;
	struct disk_survey found;
	struct block_sample sample;
	size_t wanted;        /* blocks of the sample */
	uint64_t fresh_count; /* blocks offered to the sample so far */
	uint64_t random;
	const uint8_t *group[CHUNK_HASH_LANES]; /* blocks waiting to be hashed */
	size_t group_count;
};

void survey_memory_release(struct survey_memory *memory)
{
	free(memory->contents);
	*memory = (struct survey_memory){0};
}

void block_sample_release(struct block_sample *sample)
{
	free(sample->data);
	*sample = (struct block_sample){0};
}

/* Puts a content into the table; true if it was not there. The table has room. */
static bool remember(struct survey_memory *memory, uint64_t content)
{
	size_t mask = memory->capacity - 1;
	size_t at = content & mask;
	while (memory->contents[at] != 0 && memory->contents[at] != content)
		at = (at + 1) & mask;
	if (memory->contents[at] == content)
		return false;
	memory->contents[at] = content;
	memory->count++;
	return true;
}

static enum err_code make_room(struct survey_memory *memory, size_t more, struct err *err)
{
	if ((memory->count + more) * 2 <= memory->capacity)
		return ERR_OK;
	struct survey_memory grown = {.capacity = 1u << 16};
	while (grown.capacity < (memory->count + more) * 2)
		grown.capacity *= 2;
	grown.contents = calloc(grown.capacity, sizeof(*grown.contents));
	if (!grown.contents)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the survey of the disk");
	for (size_t i = 0; i < memory->capacity; i++)
		if (memory->contents[i])
			remember(&grown, memory->contents[i]);
	survey_memory_release(memory);
	*memory = grown;
	return ERR_OK;
}

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Reservoir sampling: every fresh block of the disk has the same chance to be in the sample. */
static void offer_to_sample(struct survey *s, const uint8_t *block)
{
	uint64_t place = s->fresh_count++;
	if (s->sample.count < s->wanted)
		place = s->sample.count++;
	else
		place = next_random(&s->random) % (place + 1);
	if (place < s->sample.count)
		memcpy(s->sample.data + place * BLOCK_SIZE, block, BLOCK_SIZE);
}

static void hash_group(struct survey *s)
{
	struct chunk_id ids[CHUNK_HASH_LANES];
	if (s->group_count == 0)
		return;
	chunk_hash_blocks(&s->hasher, s->group, s->group_count, ids);
	for (size_t i = 0; i < s->group_count; i++) {
		if (!remember(s->memory, le64_get(ids[i].bytes) | 1))
			continue;
		s->found.fresh += BLOCK_SIZE;
		offer_to_sample(s, s->group[i]);
	}
	s->group_count = 0;
}

static void look_at_block(struct survey *s, const uint8_t *block)
{
	if (block[0] == 0 && memcmp(block, block + 1, BLOCK_SIZE - 1) == 0)
		return;
	s->found.data += BLOCK_SIZE;
	s->group[s->group_count++] = block;
	if (s->group_count == CHUNK_HASH_LANES)
		hash_group(s);
}

/* Reads up to READ_SIZE bytes, the last block padded with zeroes; *ret_got is a multiple of BLOCK_SIZE. */
static enum err_code read_blocks(const struct survey *s, uint64_t offset, uint8_t *buffer, size_t length,
				 struct err *err)
{
	size_t got = 0;
	while (got < length) {
		ssize_t n = pread(s->fd, buffer + got, round_up(length - got, 4096), (off_t)(offset + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "cannot read '%s'", s->path);
		if (n == 0)
			return err_set(err, ERR_IO, 0, "'%s' became shorter while it was read", s->path);
		got += (size_t)n;
	}
	memset(buffer + length, 0, round_up(length, BLOCK_SIZE) - length);
	return ERR_OK;
}

static enum err_code survey_extent(struct survey *s, const struct extent *extent, uint8_t *buffer, struct err *err)
{
	for (uint64_t done = 0; done < extent->length; done += READ_SIZE) {
		size_t length = (size_t)min_u64(extent->length - done, READ_SIZE);
		TRY(make_room(s->memory, READ_SIZE / BLOCK_SIZE, err));
		TRY(read_blocks(s, extent->offset + done, buffer, length, err));
		for (size_t at = 0; at < length; at += BLOCK_SIZE)
			look_at_block(s, buffer + at);
		hash_group(s);
		s->found.read += length;
	}
	return ERR_OK;
}

enum err_code survey_disk(const char *path, size_t sample_blocks, struct survey_memory *memory, struct disk_survey *ret,
			  struct block_sample *ret_sample, struct err *err)
{
	AUTO_FREE struct extent *extents = NULL;
	size_t count;
	struct survey s = {.path = path, .memory = memory, .wanted = sample_blocks, .random = 1};
	TRY(data_extents(path, &extents, &count, &s.found.size, err));
	/* Any key will do: the IDs are compared with each other only. */
	static const uint8_t key[32] = "xenolith-bench survey of a disk";
	chunk_hasher_init(&s.hasher, key);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "cannot open '%s'", path);
	s.fd = fd;
	AUTO_FREE uint8_t *buffer = aligned_alloc(4096, READ_SIZE);
	s.sample.data = aligned_alloc(4096, sample_blocks * BLOCK_SIZE);
	enum err_code code = ERR_OK;
	if (!buffer || !s.sample.data)
		code = err_set(err, ERR_NO_MEMORY, 0, "no memory for a sample of %zu blocks", sample_blocks);
	for (size_t i = 0; code == ERR_OK && i < count; i++)
		code = survey_extent(&s, &extents[i], buffer, err);
	if (code != ERR_OK) {
		block_sample_release(&s.sample);
		return code;
	}
	*ret = s.found;
	*ret_sample = s.sample;
	return ERR_OK;
}
