/* SPDX-License-Identifier: Apache-2.0 */
/* A hash set of 16-byte digests of (key, ordinal) with linear probing; an all-zero entry is free. The keys themselves
 * are not kept. */
#include "store/nonce_guard.h"

#include <pthread.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/endian.h"

struct entry {
	uint8_t digest[16];
};

static struct {
	pthread_mutex_t lock; /* guards the rest; taken last of all locks */
	struct entry *entries;
	size_t capacity; /* a power of two, or 0 */
	size_t used;
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool is_free(const struct entry *entry)
{
	return sodium_is_zero(entry->digest, sizeof(entry->digest));
}

/* Where `entry` stands, or the free place where it belongs. There is always a free one. */
static struct entry *find(struct entry *entries, size_t capacity, const struct entry *entry)
{
	size_t i = (size_t)le64_get(entry->digest) & (capacity - 1);
	while (!is_free(&entries[i]) && memcmp(entries[i].digest, entry->digest, sizeof(entry->digest)) != 0)
		i = (i + 1) & (capacity - 1);
	return &entries[i];
}

/* Keeps the set at most half full. */
static void grow(void)
{
	if (2 * (seen.used + 1) <= seen.capacity)
		return;
	size_t capacity = seen.capacity ? 2 * seen.capacity : 1024;
	struct entry *entries = calloc(capacity, sizeof(*entries));
	if (!entries) {
		fputs("xenolith: nonce guard: out of memory\n", stderr);
		abort();
	}
	for (size_t i = 0; i < seen.capacity; i++)
		if (!is_free(&seen.entries[i]))
			*find(entries, capacity, &seen.entries[i]) = seen.entries[i];
	free(seen.entries);
	seen.entries = entries;
	seen.capacity = capacity;
}

void nonce_guard_record(const uint8_t key[static 32], uint64_t ordinal)
{
	struct entry entry;
	uint8_t nonce[8];
	le64_put(nonce, ordinal);
	crypto_generichash(entry.digest, sizeof(entry.digest), nonce, sizeof(nonce), key, 32);

	LOCK_SCOPE(&seen.lock);
	grow();
	struct entry *place = find(seen.entries, seen.capacity, &entry);
	if (!is_free(place)) {
		fprintf(stderr, "xenolith: nonce guard: ordinal %llu sealed twice under one key\n",
			(unsigned long long)ordinal);
		abort();
	}
	*place = entry;
	seen.used++;
}
