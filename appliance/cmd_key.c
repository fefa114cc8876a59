/* SPDX-License-Identifier: Apache-2.0 */
/* xenolith key add|list|remove|export: what opens a store. Works while somebody else writes to it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/open_store.h"
#include "appliance/paper_key.h"
#include "appliance/table.h"
#include "appliance/unlock.h"
#include "appliance/verb.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "store/io_uring.h"

/* add and export. */
struct new_key_options {
	struct secret_options secret;
	const char *name;
	bool paper;
};

struct remove_options {
	bool dry_run;
	bool yes;
};

#define OPTION(field) offsetof(struct new_key_options, field)

#define NEW_SECRET_ROWS                                                                             \
	{0,           "new-passphrase-file",                                                        \
	 OPTION_TEXT, OPTION(secret.passphrase_file),                                               \
	 "FILE",      "read the new passphrase from FILE",                                          \
	 0,           0},                                                                           \
	{                                                                                           \
		0, "new-passphrase-command", OPTION_TEXT, OPTION(secret.passphrase_command), "CMD", \
			"run CMD with the shell and read the new passphrase from it", 0, 0          \
	}

static const struct option_row add_rows[] = {
	{0, "name", OPTION_TEXT, OPTION(name), "NAME", "what 'key list' calls it (default: passphrase or key file)", 0,
	 0},
	NEW_SECRET_ROWS,
	{0, "new-key-file", OPTION_TEXT, OPTION(secret.key_file), "FILE",
	 "the content of FILE (32 bytes or more) is the new key", 0, 0},
	OPTIONS_END,
};

static const struct option_row export_rows[] = {
	{0, "paper", OPTION_FLAG, OPTION(paper), NULL, "show the recovery key again; needs --recovery-key-file", 0, 0},
	NEW_SECRET_ROWS,
	OPTIONS_END,
};

static const struct option_row remove_rows[] = {
	{'n', "dry-run", OPTION_FLAG, offsetof(struct remove_options, dry_run), NULL, "only say what would be removed",
	 0, 0},
	{0, "yes", OPTION_FLAG, offsetof(struct remove_options, yes), NULL, "do not ask", 0, 0},
	OPTIONS_END,
};

DEFINE_CLEANUP(io, struct io, io_free)

static const char *kind_name(enum key_slot_kind kind)
{
	return kind == KEY_SLOT_PASSPHRASE ? "passphrase" : "key file";
}

static enum exit_code end(const struct invocation *invocation, enum err_code code, const struct err *err)
{
	return code == ERR_OK ? invocation_done(invocation) : invocation_fail(invocation, err, CORRUPT_IS_DAMAGE);
}

/* ---- list ---- */

static json_t *slot_json(const struct key_slot_info *slot)
{
	char created[CLOCK_TEXT_SIZE];
	return json_pack("{s:I, s:s, s:o, s:s}", "slot", (json_int_t)slot->number, "kind", kind_name(slot->kind),
			 "name", output_json_text(slot->name), "created",
			 clock_format_utc(slot->created_unix_s, created));
}

static enum err_code list(const struct invocation *invocation, struct err *err)
{
	static const char *const headings[] = {"SLOT", "KIND", "CREATED", "NAME"};
	AUTO_OPEN_STORE store = {0};
	AUTO_FREE struct key_slot_info *slots = NULL;
	size_t count = 0;
	size_t damaged = 0;
	TRY(open_store_config(invocation, &store, err));
	TRY(key_slot_list(store.io, &slots, &count, &damaged, err));
	struct table table;
	table_init(&table, headings, sizeof(headings) / sizeof(headings[0]));
	for (size_t i = 0; i < count; i++) {
		char created[CLOCK_TEXT_SIZE];
		table_cell(&table, "%u", slots[i].number);
		table_cell(&table, "%s", kind_name(slots[i].kind));
		table_cell(&table, "%s", clock_format_local(slots[i].created_unix_s, created));
		table_cell(&table, "%s", slots[i].name);
		output_row(invocation->output, "key", slot_json(&slots[i]));
	}
	table_print(&table, invocation->output, "");
	table_release(&table);
	if (damaged)
		return err_set(err, ERR_CORRUPT, 0, "%zu key slots can't be read; add their keys again", damaged);
	return ERR_OK;
}

static enum exit_code run_list(const struct invocation *invocation)
{
	struct err err = {0};
	return end(invocation, list(invocation, &err), &err);
}

/* ---- add ---- */

static enum err_code add(const struct invocation *invocation, struct err *err)
{
	const struct new_key_options *options = invocation->options;
	AUTO_OPEN_STORE store = {0};
	AUTO(secret_release) struct secret secret = {0};
	enum key_slot_kind kind;
	uint32_t number = 0;
	TRY(open_store_keys(invocation, &store, err));
	TRY(unlock_read_new(invocation, &options->secret, "new passphrase", /* use_environment= */ false, &secret,
			    &kind, err));
	const char *name = options->name ? options->name : kind_name(kind);
	TRY(key_slot_add(store.io, store.keys, kind, name, secret.bytes, secret.length, /* cost= */ NULL, &number,
			 err));
	output_text(invocation->output, "added key %u (%s)", number, kind_name(kind));
	output_row(invocation->output, "summary",
		   json_pack("{s:s, s:I, s:s, s:o}", "verb", "key add", "slot", (json_int_t)number, "kind",
			     kind_name(kind), "name", output_json_text(name)));
	return ERR_OK;
}

static enum exit_code run_add(const struct invocation *invocation)
{
	struct err err = {0};
	return end(invocation, add(invocation, &err), &err);
}

/* ---- remove ---- */

static enum err_code find_slot(struct io *io, uint32_t number, struct key_slot_info *ret, struct err *err)
{
	AUTO_FREE struct key_slot_info *slots = NULL;
	size_t count = 0;
	size_t damaged = 0;
	TRY(key_slot_list(io, &slots, &count, &damaged, err));
	for (size_t i = 0; i < count; i++)
		if (slots[i].number == number) {
			*ret = slots[i];
			return ERR_OK;
		}
	return err_set(err, ERR_NOT_FOUND, 0, "no key slot %u; 'xenolith key list' shows them", number);
}

/* Asks the person at the terminal. ERR_INVALID if there is none. */
static enum err_code confirm(const struct invocation *invocation, const struct key_slot_info *slot, struct err *err)
{
	char answer[16];
	char name[sizeof(slot->name)];
	if (!isatty(STDIN_FILENO) || invocation->output->json)
		return err_set(err, ERR_INVALID, 0, "removing a key is not asked back without a terminal: give --yes");
	fprintf(stderr, "Remove key %u (%s, '%s')? It will not open the store any more. [y/N] ", slot->number,
		kind_name(slot->kind), output_clean(slot->name, name, sizeof(name)));
	if (!fgets(answer, sizeof(answer), stdin) || (*answer != 'y' && *answer != 'Y'))
		return err_set(err, ERR_CANCELLED, 0, "key %u stays", slot->number);
	return ERR_OK;
}

static enum err_code remove_key(const struct invocation *invocation, struct err *err)
{
	const struct remove_options *options = invocation->options;
	AUTO_OPEN_STORE store = {0};
	struct key_slot_info slot = {0};
	uint64_t number = 0;
	TRY(number_parse(invocation->args[0], "slot", 0, UINT32_MAX, &number, err));
	/* The one who removes a key shows that another way into the store is in hand. */
	TRY(open_store_keys(invocation, &store, err));
	TRY(find_slot(store.io, (uint32_t)number, &slot, err));
	if (!options->dry_run && !options->yes)
		TRY(confirm(invocation, &slot, err));
	if (!options->dry_run)
		TRY(key_slot_remove(store.io, slot.number, err));
	char name[sizeof(slot.name)];
	output_text(invocation->output, "%s key %u (%s, '%s')", options->dry_run ? "would remove" : "removed",
		    slot.number, kind_name(slot.kind), output_clean(slot.name, name, sizeof(name)));
	output_row(invocation->output, "summary",
		   json_pack("{s:s, s:b, s:o}", "verb", "key remove", "dry_run", options->dry_run, "key",
			     slot_json(&slot)));
	return ERR_OK;
}

static enum exit_code run_remove(const struct invocation *invocation)
{
	struct err err = {0};
	return end(invocation, remove_key(invocation, &err), &err);
}

/* ---- export ---- */

#define KEY_FILE_MAX (64u << 10) /* far above the size of any file copied here */

static enum err_code copy_file(struct io *from, struct io *to, const char *path, struct err *err)
{
	AUTO_FREE uint8_t *data = NULL;
	size_t length = 0;
	TRY(io_read_file(from, path, KEY_FILE_MAX, &data, &length, err));
	return io_write_file(to, path, data, length, err);
}

/* Refuses a directory that holds a store or an export already: its slots must not get mixed up. */
static enum err_code refuse_used(struct io *io, const char *directory, struct err *err)
{
	struct io_file *file = NULL;
	struct err none = {0};
	if (io_open(io, "store.conf", IO_READ, &file, &none) == ERR_NOT_FOUND)
		return ERR_OK;
	io_file_close(file);
	return err_set(err, ERR_EXISTS, 0, "'%s' holds a store or an export already; name a new directory", directory);
}

/* The exported directory looks like a store's: store.conf, keys/recovery, and one slot under the new passphrase. */
static enum err_code write_export(const struct open_store *store, const char *directory, const struct secret *secret,
				  struct err *err)
{
	AUTO(cleanup_io) struct io *to = NULL;
	uint32_t number = 0;
	TRY(io_uring_tree_new(directory, /* create= */ true, &to, err));
	TRY(refuse_used(to, directory, err));
	TRY(io_make_dir(to, "keys", err));
	TRY(copy_file(store->io, to, "keys/recovery", err));
	TRY(key_slot_add(to, store->keys, KEY_SLOT_PASSPHRASE, "export", secret->bytes, secret->length,
			 /* cost= */ NULL, &number, err));
	TRY(copy_file(store->io, to, "store.conf", err));
	return io_sync_dir(to, "", err);
}

static enum err_code export_paper(const struct invocation *invocation, const struct open_store *store, struct err *err)
{
	if (invocation->arg_count)
		return err_set(err, ERR_INVALID, 0, "--paper goes to standard output: leave '%s' out",
			       invocation->args[0]);
	if (!store->keys->has_recovery_secret)
		return err_set(err, ERR_INVALID, 0,
			       "the store does not keep the recovery key: it can be shown again only with "
			       "--recovery-key-file");
	return paper_key_print(invocation->output, store->keys->recovery_secret, &store->config.id, err);
}

static enum err_code export_key(const struct invocation *invocation, struct err *err)
{
	const struct new_key_options *options = invocation->options;
	AUTO_OPEN_STORE store = {0};
	AUTO(secret_release) struct secret secret = {0};
	enum key_slot_kind kind;
	if (!options->paper && !invocation->arg_count)
		return err_set(err, ERR_INVALID, 0, "where to? name a new directory");
	TRY(open_store_keys(invocation, &store, err));
	if (options->paper)
		return export_paper(invocation, &store, err);
	const char *directory = invocation->args[0];
	TRY(unlock_read_new(invocation, &options->secret, "passphrase for the export", /* use_environment= */ false,
			    &secret, &kind, err));
	TRY(write_export(&store, directory, &secret, err));
	output_text(invocation->output,
		    "exported the store's key to '%s'; should STORE/keys be lost: cp -a %s/keys STORE/", directory,
		    directory);
	output_row(invocation->output, "summary",
		   json_pack("{s:s, s:o}", "verb", "key export", "directory", output_json_text(directory)));
	return ERR_OK;
}

static enum exit_code run_export(const struct invocation *invocation)
{
	struct err err = {0};
	return end(invocation, export_key(invocation, &err), &err);
}

const struct verb verb_key_list = {
	.name = "key list",
	.arguments = "",
	.summary = "list the keys that open a store",
	.description = "Lists the key slots of a store: passphrases and key files. Needs no key.",
	.shared = SHARED_STORE,
	.run = run_list,
};

const struct verb verb_key_add = {
	.name = "key add",
	.arguments = "",
	.summary = "add a passphrase or key file",
	.description = "Adds a passphrase or a key file that opens the store. No data is written anew.",
	.shared = SHARED_OPEN,
	.options = add_rows,
	.options_size = sizeof(struct new_key_options),
	.run = run_add,
};

const struct verb verb_key_remove = {
	.name = "key remove",
	.arguments = "SLOT",
	.summary = "remove a passphrase or key file",
	.description =
		"Removes a key slot, by its number in 'key list'. The last one stays. A copy of the store that was\n"
		"made before can still be opened with the removed key.",
	.shared = SHARED_OPEN,
	.args_min = 1,
	.args_max = 1,
	.options = remove_rows,
	.options_size = sizeof(struct remove_options),
	.run = run_remove,
};

const struct verb verb_key_export = {
	.name = "key export",
	.arguments = "[DIRECTORY]",
	.summary = "copy the store's key, under a passphrase, to keep elsewhere",
	.description =
		"Writes a copy of the store's master key under a new passphrase to a new DIRECTORY that looks like a\n"
		"store without data. If the store's keys directory is ever lost, copy DIRECTORY/keys in its place.\n"
		"With --paper and the recovery key in hand, shows the recovery key again.",
	.shared = SHARED_OPEN,
	.args_max = 1,
	.options = export_rows,
	.options_size = sizeof(struct new_key_options),
	.run = run_export,
};
