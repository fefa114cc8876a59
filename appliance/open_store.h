/* SPDX-License-Identifier: Apache-2.0 */
/* From --store, XENOLITH_STORE and the ways to give a secret to an open store.
 *
 * Threads: one owner. */
#ifndef APPLIANCE_OPEN_STORE_H
#define APPLIANCE_OPEN_STORE_H

#include "appliance/verb.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "store/store.h"

struct open_store {
	struct io *io;
	struct store_config config;
	struct store *store;     /* open_store */
	struct store_keys *keys; /* open_store_keys */
};

/* The store's directory that the user named. ERR_INVALID if none was. */
MUST_CHECK enum err_code open_store_path(const struct invocation *invocation, const char **ret, struct err *err);

/* Opens the store, asking for its secret only after there is a store to open; tells its notices. Close with
 * open_store_close. */
MUST_CHECK enum err_code open_store(const struct invocation *invocation, enum store_mode mode, struct open_store *ret,
				    struct err *err);

/* Unlocks the store's keys alone; works while somebody else writes. */
MUST_CHECK enum err_code open_store_keys(const struct invocation *invocation, struct open_store *ret, struct err *err);

/* Opens the directory and reads store.conf alone: no secret is needed. */
MUST_CHECK enum err_code open_store_config(const struct invocation *invocation, struct open_store *ret,
					   struct err *err);

void open_store_close(struct open_store *store);
#define AUTO_OPEN_STORE AUTO(open_store_close) struct open_store

#endif
