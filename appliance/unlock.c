/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/unlock.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "store/recovery_key.h"

/* A secret may carry a line for the user, such as that others can read its file. */
static void tell_warning(const struct invocation *invocation, const struct secret *secret)
{
	if (*secret->warning)
		output_warning(invocation->output, secret->warning);
}

static enum err_code read_file(const char *what, const char *path, struct secret *ret, struct err *err)
{
	const struct secret_request request = {.what = what, .file = path, .is_binary = true};
	return secret_read(&request, ret, err);
}

/* Reads the words of the recovery key and gives its 32 bytes. */
static enum err_code read_recovery_key(const char *path, const struct uuid *store_id, struct secret *ret,
				       struct err *err)
{
	AUTO(secret_release) struct secret text = {0};
	uint8_t key[KEY_SIZE];
	struct uuid id = {0};
	TRY(read_file("recovery key", path, &text, err));
	enum err_code code = recovery_key_parse((const char *)text.bytes, text.length, key, &id, err);
	if (code != ERR_OK)
		err_context(err, "recovery key file '%s'", path);
	else if (!uuid_is_null(&id) && !uuid_equal(&id, store_id))
		code = err_set(err, ERR_AUTH, 0, "the recovery key in '%s' is that of another store", path);
	else
		code = secret_copy(key, sizeof(key), ret, err);
	sodium_memzero(key, sizeof(key));
	return code;
}

static enum err_code check_one_way(const struct shared_options *shared, struct err *err)
{
	int ways = (shared->key_file != NULL) + (shared->recovery_key_file != NULL) +
		   (shared->passphrase_file || shared->passphrase_command);
	if (ways > 1)
		return err_set(
			err, ERR_INVALID, 0,
			"give one of --passphrase-file, --passphrase-command, --key-file and --recovery-key-file");
	return ERR_OK;
}

enum err_code unlock_read(const struct invocation *invocation, const struct uuid *store_id, struct secret *ret_secret,
			  struct unlock *ret, struct err *err)
{
	const struct shared_options *shared = invocation->shared;
	enum unlock_kind kind = UNLOCK_PASSPHRASE;
	TRY(check_one_way(shared, err));
	const char *key_file = shared->key_file;
	if (!key_file && !shared->recovery_key_file && !shared->passphrase_file && !shared->passphrase_command)
		key_file = getenv("XENOLITH_KEY_FILE");
	if (shared->recovery_key_file) {
		kind = UNLOCK_RECOVERY;
		TRY(read_recovery_key(shared->recovery_key_file, store_id, ret_secret, err));
	} else if (key_file && *key_file) {
		kind = UNLOCK_KEY_FILE;
		TRY(read_file("key", key_file, ret_secret, err));
	} else {
		const struct secret_request request = {
			.what = "passphrase",
			.file = shared->passphrase_file,
			.command = shared->passphrase_command,
			.use_environment = true,
			.use_terminal = true,
		};
		TRY(secret_read(&request, ret_secret, err));
	}
	tell_warning(invocation, ret_secret);
	*ret = (struct unlock){.kind = kind, .bytes = ret_secret->bytes, .length = ret_secret->length};
	return ERR_OK;
}

enum err_code unlock_read_new(const struct invocation *invocation, const struct secret_options *options,
			      const char *what, bool use_environment, struct secret *ret, enum key_slot_kind *ret_kind,
			      struct err *err)
{
	if (options->key_file && (options->passphrase_file || options->passphrase_command))
		return err_set(err, ERR_INVALID, 0, "give either a key file or a passphrase");
	if (options->key_file) {
		TRY(read_file("key", options->key_file, ret, err));
		*ret_kind = KEY_SLOT_KEY_FILE;
	} else {
		const struct secret_request request = {
			.what = what,
			.file = options->passphrase_file,
			.command = options->passphrase_command,
			.use_environment = use_environment,
			.use_terminal = true,
			.confirm = true,
		};
		TRY(secret_read(&request, ret, err));
		*ret_kind = KEY_SLOT_PASSPHRASE;
	}
	tell_warning(invocation, ret);
	return ERR_OK;
}
