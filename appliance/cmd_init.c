/* SPDX-License-Identifier: Apache-2.0 */
/* xenolith init: a new store and its recovery key. */
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "appliance/open_store.h"
#include "appliance/paper_key.h"
#include "appliance/unlock.h"
#include "appliance/verb.h"
#include "base/cleanup.h"
#include "store/io_uring.h"
#include "store/recovery_key.h"

struct init_options {
	bool sealed;
	bool readable;
	bool no_recovery_check;
	const char *recovery_file;
	const char *slot_name;
};

#define OPTION(field) offsetof(struct init_options, field)

static const struct option_row rows[] = {
	{0, "readable", OPTION_FLAG, OPTION(readable), NULL, "the passphrase restores too (default)", 0, 0},
	{0, "sealed", OPTION_FLAG, OPTION(sealed), NULL,
	 "only the recovery key restores; the passphrase backs up and checks", 0, 0},
	{0, "recovery-file", OPTION_TEXT, OPTION(recovery_file), "FILE",
	 "write the recovery key to a new FILE instead of showing it", 0, 0},
	{0, "no-recovery-check", OPTION_FLAG, OPTION(no_recovery_check), NULL,
	 "do not ask for a line of the recovery key", 0, 0},
	{0, "slot-name", OPTION_TEXT, OPTION(slot_name), "NAME",
	 "what 'key list' calls the first key (default: initial)", 0, 0},
	OPTIONS_END,
};

DEFINE_CLEANUP(io, struct io, io_free)

/* The new store's directory: the argument, or --store, or the environment. */
static enum err_code choose_path(const struct invocation *invocation, const char **ret, struct err *err)
{
	const struct init_options *options = invocation->options;
	if (options->sealed && options->readable)
		return err_set(err, ERR_INVALID, 0, "a store is either sealed or readable");
	if (invocation->arg_count && invocation->shared->store)
		return err_set(err, ERR_INVALID, 0, "the store is named twice: '%s' and '%s'", invocation->args[0],
			       invocation->shared->store);
	if (!invocation->arg_count)
		return open_store_path(invocation, ret, err);
	*ret = invocation->args[0];
	return ERR_OK;
}

/* Refuses a directory that can't become a store before anybody types a passphrase. store_init checks again. */
static enum err_code check_place(struct io *io, const char *path, struct err *err)
{
	struct store_config config;
	struct err none = {0};
	enum err_code code = store_read_config(io, &config, &none);
	if (code == ERR_NO_STORE)
		return ERR_OK;
	return err_set(err, ERR_EXISTS, 0, "'%s' holds a store already", path);
}

static enum err_code make_store(const struct invocation *invocation, struct io *io, uint8_t ret_secret[static KEY_SIZE],
				struct store_config *ret_config, struct err *err)
{
	const struct init_options *options = invocation->options;
	const struct shared_options *shared = invocation->shared;
	const struct secret_options given = {shared->passphrase_file, shared->passphrase_command, shared->key_file};
	AUTO(secret_release) struct secret secret = {0};
	struct store_init_options init = {
		.sealed = options->sealed,
		.slot_name = options->slot_name ? options->slot_name : "initial",
	};
	TRY(unlock_read_new(invocation, &given, "passphrase for the new store", /* use_environment= */ true, &secret,
			    &init.slot_kind, err));
	init.secret = secret.bytes;
	init.secret_length = secret.length;
	return store_init(io, &init, ret_secret, ret_config, err);
}

/* Shows the recovery key or writes it to `fd`, and asks for a line of it where a person is there to answer. */
static enum err_code hand_out(const struct invocation *invocation, int fd, const uint8_t secret[static KEY_SIZE],
			      const struct store_config *config, struct err *err)
{
	const struct init_options *options = invocation->options;
	struct output *output = invocation->output;
	if (fd >= 0)
		return paper_key_write(fd, options->recovery_file, secret, err);
	TRY(paper_key_print(output, secret, &config->id, err));
	bool is_interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !output->json;
	if (!is_interactive || options->no_recovery_check)
		return ERR_OK;
	return paper_key_ask_back(output, secret, err);
}

static void tell_store(const struct invocation *invocation, const char *path, const struct store_config *config)
{
	char id[UUID_TEXT_SIZE];
	const char *kind = config->sealed ? "sealed" : "readable";
	uuid_format(&config->id, id);
	output_text(invocation->output, "made a %s store in '%s', id %s", kind, path, id);
	output_row(invocation->output, "summary",
		   json_pack("{s:s, s:o, s:s, s:b, s:i}", "verb", "init", "path", output_json_text(path), "store", id,
			     "sealed", config->sealed, "format_version", (int)config->format_version));
}

static enum err_code init(const struct invocation *invocation, struct err *err)
{
	const struct init_options *options = invocation->options;
	const char *path = NULL;
	AUTO(cleanup_io) struct io *io = NULL;
	AUTO_CLOSE int fd = -1;
	struct store_config config;
	uint8_t secret[KEY_SIZE];
	TRY(choose_path(invocation, &path, err));
	TRY(io_uring_tree_new(path, /* create= */ true, &io, err));
	TRY(check_place(io, path, err));
	if (options->recovery_file)
		TRY(paper_key_create(options->recovery_file, &fd, err));
	enum err_code code = make_store(invocation, io, secret, &config, err);
	if (code != ERR_OK) {
		if (fd >= 0)
			unlink(options->recovery_file);
		return code;
	}
	tell_store(invocation, path, &config);
	code = hand_out(invocation, fd, secret, &config, err);
	sodium_memzero(secret, sizeof(secret));
	if (code != ERR_OK)
		err_context(err,
			    "the store '%s' is made, but the recovery key may not be in your hands: remove the "
			    "directory and run "
			    "init again",
			    path);
	return code;
}

static enum exit_code run(const struct invocation *invocation)
{
	struct err err = {0};
	if (init(invocation, &err) != ERR_OK)
		return invocation_fail(invocation, &err, CORRUPT_IS_DAMAGE);
	return invocation_done(invocation);
}

const struct verb verb_init = {
	.name = "init",
	.arguments = "[STORE]",
	.summary = "make a new store",
	.description =
		"Makes a store in the directory STORE, which is made or must be empty, and shows its recovery key\n"
		"once: the one thing that opens the store when every passphrase and key file is lost.",
	.shared = SHARED_STORE | SHARED_SECRET,
	.args_max = 1,
	.options = rows,
	.options_size = sizeof(struct init_options),
	.run = run,
};
