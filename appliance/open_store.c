/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/open_store.h"

#include <stdlib.h>

#include "appliance/unlock.h"
#include "base/cleanup.h"
#include "store/io_uring.h"

enum err_code open_store_path(const struct invocation *invocation, const char **ret, struct err *err)
{
	const char *path = invocation->shared->store;
	if (!path)
		path = getenv("XENOLITH_STORE");
	if (!path || !*path)
		return err_set(err, ERR_INVALID, 0, "which store? give -s DIR or set XENOLITH_STORE");
	*ret = path;
	return ERR_OK;
}

enum err_code open_store_config(const struct invocation *invocation, struct open_store *ret, struct err *err)
{
	const char *path = NULL;
	TRY(open_store_path(invocation, &path, err));
	struct err cause = {0};
	enum err_code code = io_uring_tree_new(path, /* create= */ false, &ret->io, &cause);
	if (code == ERR_NOT_FOUND)
		return err_set(err, ERR_NO_STORE, 0, "there is no store '%s': no such directory", path);
	if (code != ERR_OK)
		return err_set(err, code, 0, "%s", cause.msg);
	code = store_read_config(ret->io, &ret->config, err);
	if (code != ERR_OK)
		err_context(err, "store '%s'", path);
	return code;
}

enum err_code open_store(const struct invocation *invocation, enum store_mode mode, struct open_store *ret,
			 struct err *err)
{
	AUTO(secret_release) struct secret secret = {0};
	struct unlock unlock;
	TRY(open_store_config(invocation, ret, err));
	TRY(unlock_read(invocation, &ret->config.id, &secret, &unlock, err));
	TRY(store_open(ret->io, mode, &unlock, &ret->store, err));
	for (const char *const *notice = store_notices(ret->store); notice && *notice; notice++)
		output_notice(invocation->output, *notice);
	return ERR_OK;
}

enum err_code open_store_keys(const struct invocation *invocation, struct open_store *ret, struct err *err)
{
	AUTO(secret_release) struct secret secret = {0};
	struct unlock unlock;
	TRY(open_store_config(invocation, ret, err));
	TRY(unlock_read(invocation, &ret->config.id, &secret, &unlock, err));
	return keys_unlock(ret->io, &ret->config.id, &unlock, &ret->keys, err);
}

void open_store_close(struct open_store *store)
{
	if (store->store)
		store_close(store->store);
	keys_free(store->keys);
	io_free(store->io);
	*store = (struct open_store){0};
}
