/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/nbd_extents.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>

/* How much of the disk one question covers: a round trip per GiB costs nothing beside reading it. */
#define WINDOW_BYTES GIB

/* Extents kept of one answer (384 KiB); a more fragmented window is asked for in pieces. */
#define WINDOW_EXTENTS 16384u

/* NBD protocol, "base:allocation": bit 1 of an extent's flags says that it reads as zeroes; bit 0 alone (a hole) does
 * not. */
#define STATE_ZERO LIBNBD_STATE_ZERO

struct nbd_extents {
	pthread_mutex_t lock; /* guards all but size_bytes; taken before the connection's lock */
	struct nbd_lane *lane;
	uint64_t size_bytes;
	uint64_t start; /* the window: [start, end) is described by list */
	uint64_t end;
	size_t count;
	bool full;
	bool nonsense;
	struct block_extent list[WINDOW_EXTENTS]; /* adjoining, alternating between zero and data */
};

enum err_code nbd_extents_new(struct nbd_connection *connection, struct nbd_extents **ret, struct err *err)
{
	AUTO_FREE struct nbd_extents *extents = calloc(1, sizeof(*extents));
	if (!extents)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the allocation map of '%s'", connection->name);
	TRY(nbd_lane_new(connection, 1, &extents->lane, err));
	extents->size_bytes = connection->size_bytes;
	pthread_mutex_init(&extents->lock, NULL);
	*ret = TAKE_PTR(extents);
	return ERR_OK;
}

static void append(struct nbd_extents *extents, uint64_t length, bool zero)
{
	struct block_extent *last = extents->count ? &extents->list[extents->count - 1] : NULL;
	if (last && last->zero == zero) {
		last->length += length;
	} else if (extents->count < WINDOW_EXTENTS) {
		extents->list[extents->count++] = (struct block_extent){extents->end, length, zero};
	} else {
		extents->full = true;
		return;
	}
	extents->end += length;
}

/* libnbd's callback: pairs of length and flags from `offset` on. The last may reach beyond what was asked. */
static int on_extents(void *user, const char *context, uint64_t offset, uint32_t *entries, size_t entry_count,
		      int *error)
{
	struct nbd_extents *extents = user;
	(void)error;
	if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION) != 0)
		return 0;
	if (offset != extents->start || extents->count != 0 || entry_count % 2 != 0) {
		extents->nonsense = true;
		return 0;
	}
	for (size_t i = 0; i < entry_count && !extents->full && extents->end < extents->size_bytes; i += 2) {
		if (entries[i] == 0) {
			extents->nonsense = true;
			return 0;
		}
		append(extents, min_u64(entries[i], extents->size_bytes - extents->end), entries[i + 1] & STATE_ZERO);
	}
	return 0;
}

static void window_reset(struct nbd_extents *extents, uint64_t start)
{
	extents->start = start;
	extents->end = start;
	extents->count = 0;
	extents->full = false;
	extents->nonsense = false;
}

static enum err_code window_load(struct nbd_extents *extents, uint64_t offset, struct err *err)
{
	uint64_t start = round_down(offset, BLOCK_SIZE); /* a multiple of any server's alignment */
	uint64_t length = min_u64(WINDOW_BYTES, extents->size_bytes - start);
	const struct nbd_transfer question = {
		.op = NBD_OP_EXTENTS,
		.offset = start,
		.length = length,
		.extents = {.callback = on_extents, .user_data = extents},
	};
	window_reset(extents, start);
	struct err why = {0};
	enum err_code code = nbd_lane_run(extents->lane, &question, &why);
	const char *name = nbd_lane_connection(extents->lane)->name;
	if (code == ERR_IO) {
		/* The server refuses this question but lives on. */
		log_debug("ingest", "%s, reading all of it instead", why.msg);
		window_reset(extents, start);
		append(extents, length, /* zero= */ false);
	} else if (code != ERR_OK) {
		window_reset(extents, start);
		return err_set(err, code, 0, "%s", why.msg);
	} else if (extents->nonsense || extents->end <= offset) {
		window_reset(extents, start);
		return err_set(err, ERR_NET, 0, "server '%s' sent a broken allocation map at offset %llu", name,
			       (unsigned long long)start);
	}
	return ERR_OK;
}

enum err_code nbd_extents_find(struct nbd_extents *extents, uint64_t offset, struct block_extent *ret, struct err *err)
{
	LOCK_SCOPE(&extents->lock);
	if (offset < extents->start || offset >= extents->end)
		TRY(window_load(extents, offset, err));
	size_t low = 0;
	size_t high = extents->count;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (extents->list[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	*ret = extents->list[low];
	return ERR_OK;
}

void nbd_extents_free(struct nbd_extents *extents)
{
	if (!extents)
		return;
	nbd_lane_free(extents->lane);
	pthread_mutex_destroy(&extents->lock);
	free(extents);
}
