/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that changes, the backups that were made or tried of its versions, and what must be true of them after
 * whatever happened to the store meanwhile. */
#ifndef TESTS_CRASH_HISTORY_H
#define TESTS_CRASH_HISTORY_H

#include "tests/seed.h"
#include "tests/support/world.h"

#include <string.h>

#define HISTORY_VERSIONS 6
#define HISTORY_MAX 24
/* Savesets that are restored at a check, the newest ones; verify opens what the others need. */
#define HISTORY_RESTORED 4

struct history_entry {
	struct uuid id;
	unsigned version;
	bool done; /* the backup returned success */
};

struct history {
	struct world w;
	struct disk_image versions[HISTORY_VERSIONS]; /* of the disk, in turn */
	struct history_entry tried[HISTORY_MAX];
	unsigned tried_count;
};

/* What the disk is like. */
struct history_disk {
	unsigned random_blocks; /* at the front */
	unsigned second_at;     /* block at which the second part begins: as many blocks of text, some of them random */
};

/* Each version changes a bit of both parts. */
static inline void history_make_versions(struct disk_image versions[HISTORY_VERSIONS], struct history_disk disk,
					 uint64_t seed)
{
	unsigned n = disk.random_blocks;
	versions[0] = image_new((disk.second_at + n + 2) * (uint64_t)BLOCK_SIZE + 1536, 1);
	image_fill_random(&versions[0], 0, n, seed);
	image_fill_text(&versions[0], disk.second_at, n, seed + 1);
	image_fill_random(&versions[0], disk.second_at + n / 2, n / 4, seed + 2);
	for (unsigned i = 1; i < HISTORY_VERSIONS; i++) {
		versions[i] = image_copy(&versions[i - 1]);
		image_fill_random(&versions[i], i % n, 1 + n / 16, seed + 3 * i);
		image_fill_random(&versions[i], disk.second_at + i % n, 1, seed + 3 * i + 1);
		image_fill_text(&versions[i], disk.second_at + (i + n / 2) % n, 1, seed + 3 * i + 2);
	}
}

static inline void history_free_versions(struct disk_image versions[HISTORY_VERSIONS])
{
	for (unsigned i = 0; i < HISTORY_VERSIONS; i++)
		image_free(&versions[i]);
}

/* Backs up the next version. */
static inline enum err_code history_try_backup(struct history *h, struct err *err)
{
	unsigned n = h->tried_count++;
	assert_true(n < HISTORY_MAX);
	struct uuid id;
	h->w.last_tried = (struct uuid){{0}};
	enum err_code code = world_try_backup(&h->w, "vm", &h->versions[n % HISTORY_VERSIONS], 1, &id, err);
	h->tried[n] =
		(struct history_entry){.id = h->w.last_tried, .version = n % HISTORY_VERSIONS, .done = code == ERR_OK};
	return code;
}

static inline const struct history_entry *history_find(const struct history *h, const struct uuid *id)
{
	for (unsigned i = 0; i < h->tried_count; i++)
		if (uuid_equal(&h->tried[i].id, id))
			return &h->tried[i];
	return NULL;
}

/* Every backup that succeeded is visible; whatever is visible was tried and restores bit for bit. */
static inline void history_expect(struct history *h)
{
	const struct log_state *state = store_state(h->w.store);
	for (unsigned i = 0; i < h->tried_count; i++) {
		bool visible = false;
		for (size_t s = 0; s < state->saveset_count; s++)
			visible |= uuid_equal(&state->savesets[s].id, &h->tried[i].id);
		if (h->tried[i].done && !visible)
			fail_msg("backup %u had succeeded and is not visible", i);
	}
	for (size_t s = 0; s < state->saveset_count; s++) {
		const struct history_entry *entry = history_find(h, &state->savesets[s].id);
		if (!entry)
			fail_msg("a saveset is visible that nobody made");
		else if (s + HISTORY_RESTORED >= state->saveset_count)
			world_expect_restores(&h->w, &entry->id, 0, &h->versions[entry->version]);
	}
}

#endif
