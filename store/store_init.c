/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_internal.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

/* What an init that did not get to its end may have left in the directory. */
static bool is_init_leftover(const char *name)
{
	static const char *const names[] = {"keys",  "segments", "index",          "log-a",
					    "log-b", "lock",     "store.conf.new", "lost+found"};
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static enum err_code check_root_entry(void *user, const char *name, struct err *err)
{
	(void)user;
	if (strcmp(name, "store.conf") == 0)
		return err_set(err, ERR_EXISTS, 0, "there is a store already");
	if (!is_init_leftover(name))
		return err_set(err, ERR_EXISTS, 0, "the directory is not empty: it holds '%s'", name);
	return ERR_OK;
}

/* Segments without a store.conf are somebody's data, not the rest of an init. */
static enum err_code refuse_segment(void *user, const char *name, struct err *err)
{
	(void)user;
	return err_set(err, ERR_EXISTS, 0,
		       "the directory holds segments ('%s') but no 'store.conf': a damaged store, not an empty one",
		       name);
}

static enum err_code remove_key_file(void *user, const char *name, struct err *err)
{
	char path[300];
	snprintf(path, sizeof(path), "keys/%s", name);
	return io_remove(user, path, err);
}

static enum err_code check_empty(struct io *io, struct err *err)
{
	static const char *const segment_dirs[] = {"segments/data", "segments/meta"};
	TRY(io_list(io, "", check_root_entry, NULL, err));
	for (unsigned i = 0; i < 2; i++) {
		struct err why = {0};
		enum err_code code = io_list(io, segment_dirs[i], refuse_segment, NULL, &why);
		if (code != ERR_OK && code != ERR_NOT_FOUND)
			return err_set(err, code, 0, "%s", why.msg);
	}
	return ERR_OK;
}

static enum err_code make_directories(struct io *io, struct err *err)
{
	static const char *const dirs[] = {"keys", "segments", "segments/data", "segments/meta", "index"};
	for (unsigned i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		TRY(io_make_dir(io, dirs[i], err));
	TRY(io_sync_dir(io, "segments", err));
	TRY(io_list(io, "keys", remove_key_file, io, err));
	return io_sync_dir(io, "", err);
}

static enum err_code check_options(const struct store_config *c, uint64_t log_size, struct err *err)
{
	if (c->segment_size < SEGMENT_SIZE_MIN || c->segment_size > SEGMENT_SIZE_MAX ||
	    c->segment_size % (SEGMENT_COLUMNS * 4096) || c->stripe_size < STRIPE_SIZE_MIN ||
	    c->stripe_size > STRIPE_SIZE_MAX || c->stripe_size % 4096 || c->segment_size < 4 * c->stripe_size)
		return err_set(err, ERR_INVALID, 0, "segments of %u bytes with stripes of %u bytes are not possible",
			       c->segment_size, c->stripe_size);
	if (log_size < 65536 || log_size % 4096 || log_size > 1u << 28)
		return err_set(err, ERR_INVALID, 0, "a commit log of %llu bytes is not possible",
			       (unsigned long long)log_size);
	return ERR_OK;
}

/* Everything but store.conf: what a crash may leave behind without harm. */
static enum err_code fill(struct io *io, const struct store_init_options *options, uint64_t log_size,
			  const struct store_config *config, uint8_t *recovery_secret, struct store_keys **keys,
			  struct err *err)
{
	TRY(make_directories(io, err));
	TRY(keys_create(io, &config->id, recovery_secret, keys, err));
	uint32_t slot;
	TRY(key_slot_add(io, *keys, options->slot_kind, options->slot_name, options->secret, options->secret_length,
			 &options->cost, &slot, err));
	TRY(commit_log_create(io, *keys, log_size, err));
	TRY(io_sync_dir(io, "keys", err));
	return io_sync_dir(io, "", err);
}

enum err_code store_init(struct io *io, const struct store_init_options *options,
			 uint8_t ret_recovery_secret[static KEY_SIZE], struct store_config *ret_config, struct err *err)
{
	struct store_config config = {
		.format_version = STORE_FORMAT_VERSION,
		.id = uuid_random(),
		.sealed = options->sealed,
		.segment_size = options->segment_size ? options->segment_size : SEGMENT_SIZE_DEFAULT,
		.stripe_size = options->stripe_size ? options->stripe_size : STRIPE_SIZE_DEFAULT,
		.created_unix_s = clock_unix_s(),
	};
	uint64_t log_size = options->log_size ? options->log_size : 1u << 20;
	TRY(check_options(&config, log_size, err));
	TRY(check_empty(io, err));
	struct store_keys *keys = NULL;
	enum err_code code = fill(io, options, log_size, &config, ret_recovery_secret, &keys, err);
	if (code == ERR_OK)
		code = store_write_config(io, &config, keys, err);
	keys_free(keys);
	if (code == ERR_OK)
		*ret_config = config;
	return code;
}
