/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/generate.h"

#include "base/cleanup.h"
#include "base/size.h"
#include "store/chunk_id.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define WRITE_BLOCKS 16u

static uint64_t mix(uint64_t z)
{
	z += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void fill_random(uint8_t *block, uint64_t state)
{
	for (size_t at = 0; at < BLOCK_SIZE; at += 8) {
		uint64_t value = mix(state + at);
		memcpy(block + at, &value, 8);
	}
}

/* Words of very different frequency with numbers between them, as logs, tables and documents have. */
static void fill_words(uint8_t *block, uint64_t state)
{
	static const char *const words[] = {
		"account", "backup",  "carrier", "delivery", "export",  "freight",    "garden",  "harbour",
		"invoice", "journal", "kitchen", "ledger",   "machine", "network",    "order",   "payment",
		"quality", "report",  "season",  "traffic",  "update",  "value",      "weather", "xenolith",
		"yield",   "zone",    "status",  "error",    "warning", "connection", "client",  "server",
	};
	for (size_t at = 0; at < BLOCK_SIZE;) {
		uint64_t value = mix(state += 1);
		const char *word = words[value & 31 & (value >> 5 | value >> 10)];
		char text[40];
		size_t length = strlen(word);
		memcpy(text, word, length);
		text[length++] = ' ';
		for (uint64_t digits = value >> 16 & 7, number = value >> 20; digits > 3; digits--, number >>= 4)
			text[length++] = "0123456789abcdef"[number & 15];
		text[length++] = (value >> 60) ? ' ' : '\n';
		size_t n = BLOCK_SIZE - at < length ? BLOCK_SIZE - at : length;
		memcpy(block + at, text, n);
		at += n;
	}
}

/* The content of block `number` of the first disk: that of an earlier block if it is a duplicate. */
static uint64_t content_of(uint64_t number, const struct generate_options *options)
{
	while (number > 0 && mix(number ^ UINT64_C(0xd0b1e)) % 100 < options->duplicate_percent)
		number = mix(number ^ UINT64_C(0x5a3e)) % number;
	return number;
}

static void fill_block(uint8_t *block, uint64_t number, enum generated_disk which,
		       const struct generate_options *options)
{
	static const unsigned changed_percent[] = {
		[GENERATED_FIRST] = 0,
		[GENERATED_CHANGED] = GENERATED_CHANGED_PERCENT,
		[GENERATED_SECOND] = GENERATED_SECOND_PERCENT,
	};
	uint64_t content = content_of(number, options);
	if (mix(number ^ (uint64_t)which << 56) % 100 < changed_percent[which])
		content |= (uint64_t)which << 56;
	uint64_t state = mix(mix(content));
	if (state % 100 < options->compressible_percent)
		fill_words(block, state);
	else
		fill_random(block, state);
}

static enum err_code write_all(int fd, const char *path, const uint8_t *data, size_t length, struct err *err)
{
	while (length > 0) {
		ssize_t n = write(fd, data, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "cannot write '%s'", path);
		data += n;
		length -= (size_t)n;
	}
	return ERR_OK;
}

enum err_code generate_disk(const char *path, enum generated_disk which, const struct generate_options *options,
			    struct err *err)
{
	static uint8_t buffer[WRITE_BLOCKS * BLOCK_SIZE];
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, "cannot make '%s'", path);
	for (uint64_t offset = 0; offset < options->size_bytes; offset += sizeof(buffer)) {
		for (unsigned i = 0; i < WRITE_BLOCKS; i++)
			fill_block(buffer + (size_t)i * BLOCK_SIZE, offset / BLOCK_SIZE + i, which, options);
		size_t length = (size_t)min_u64(options->size_bytes - offset, sizeof(buffer));
		TRY(write_all(fd, path, buffer, length, err));
	}
	if (fsync(fd) < 0)
		return err_errno(err, "cannot write '%s'", path);
	return ERR_OK;
}
