/* SPDX-License-Identifier: Apache-2.0 */
/* The savesets of a store as people name them: "latest", an id or the beginning of one, a saveset's name, or a VM's
 * name or UUID (its newest saveset). A name that could mean several is refused with the candidates.
 *
 * Threads: one owner. */
#ifndef APPLIANCE_FIND_SAVESET_H
#define APPLIANCE_FIND_SAVESET_H

#include "base/err.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>

/* One visible saveset. `saveset` is NULL if its description can't be read; `err` says why. */
struct saveset_row {
	const struct log_saveset *entry; /* the store's */
	struct saveset *saveset;
	struct err err;
};

/* All of them, in the order of their commits. */
struct saveset_list {
	struct saveset_row *rows;
	size_t count;
	size_t damaged; /* rows without a saveset */
};

/* Reads the descriptions of all visible savesets. Damaged ones are no error here. Release with saveset_list_release,
 * before the store is closed. */
MUST_CHECK enum err_code saveset_list_load(struct store *store, struct saveset_list *ret, struct err *err);
void saveset_list_release(struct saveset_list *list);

/* True if both are of the same VM: by UUID if both have one, else by name. */
bool saveset_is_same_vm(const struct saveset *a, const struct saveset *b);

/* The saveset that `text` means. ERR_NOT_FOUND; ERR_INVALID, naming candidates, if it means several; the row's own
 * error if its description can't be read. *ret is the list's. */
MUST_CHECK enum err_code saveset_find(const struct saveset_list *list, const char *text, const struct saveset_row **ret,
				      struct err *err);

/* As saveset_find, for "SAVESET" or "SAVESET:DISK", where DISK is a disk's name or UUID. *ret_disk is NULL if no disk
 * is named. */
MUST_CHECK enum err_code saveset_find_disk(const struct saveset_list *list, const char *text,
					   const struct saveset_row **ret, const struct saveset_disk **ret_disk,
					   struct err *err);

#endif
