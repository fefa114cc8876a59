/* SPDX-License-Identifier: Apache-2.0 */
/* xenolith restore: a disk of a saveset, all of its disks, or the whole of it as an XVA. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/find_saveset.h"
#include "appliance/open_store.h"
#include "appliance/restore_disk.h"
#include "appliance/verb.h"
#include "base/clock.h"
#include "ingest/open.h"
#include "pipeline/backup.h"

#define OPTION(field) offsetof(struct restore_options, field)

static const struct option_row rows[] = {
	{0, "format", OPTION_TEXT, OPTION(format), "FORMAT",
	 "what to write: raw, vhd or nbd (default: raw, or nbd for an address)", 0, 0},
	{0, "overwrite", OPTION_FLAG, OPTION(overwrite), NULL, "write over what TARGET holds", 0, 0},
	{0, "keep-going", OPTION_FLAG, OPTION(keep_going), NULL,
	 "on damage write all that is whole, zeroes for the rest", 0, 0},
	{0, "lanes", OPTION_NUMBER, OPTION(lanes), "N", "worker threads (default: one per CPU)", 1, LANES_MAX},
	{0, "xva", OPTION_FLAG, OPTION(xva), NULL, "write the whole saveset as an XVA", 0, 0},
	{0, "xva-checksum", OPTION_CHOICE, OPTION(xva_checksum), "xxhash|sha1",
	 "the XVA's checksums (default: xxhash; sha1 for hosts up to 8.0)", 0, 0},
	OPTIONS_END,
};

static bool is_stdout(const char *target)
{
	return strcmp(target, "-") == 0;
}

static bool is_directory(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The file for a disk in a directory: its name with nothing in it that leads elsewhere, and the format's ending. */
static enum err_code path_in(const char *directory, const char *disk, const char *format, char *dst, size_t size,
			     struct err *err)
{
	char name[SOURCE_NAME_MAX + 1];
	snprintf(name, sizeof(name), "%s", disk);
	for (char *p = name; *p; p++)
		if (*p == '/' || (unsigned char)*p < 0x20)
			*p = '_';
	if (*name == '.')
		*name = '_';
	size_t length = strlen(name);
	size_t ending = strlen(format);
	bool has_ending =
		length > ending && name[length - ending - 1] == '.' && strcmp(name + length - ending, format) == 0;
	int n = snprintf(dst, size, "%s/%s%s%s", directory, name, has_ending ? "" : ".", has_ending ? "" : format);
	if (n < 0 || (size_t)n >= size)
		return err_set(err, ERR_LIMIT, 0, "the path of '%s' in '%s' is too long", name, directory);
	return ERR_OK;
}

/* Two disks must not become one file: names may differ only where a path cannot. */
static enum err_code check_paths(const struct saveset *saveset, const char *directory, const char *format,
				 struct err *err)
{
	char one[4096];
	char other[4096];
	for (size_t i = 0; i < saveset->disk_count; i++)
		for (size_t j = 0; j < i; j++) {
			TRY(path_in(directory, saveset->disks[i].name, format, one, sizeof(one), err));
			TRY(path_in(directory, saveset->disks[j].name, format, other, sizeof(other), err));
			if (strcmp(one, other) == 0)
				return err_set(
					err, ERR_INVALID, 0,
					"the disks '%s' and '%s' would both become '%s'; restore them one by one",
					saveset->disks[j].name, saveset->disks[i].name, one);
		}
	return ERR_OK;
}

static enum err_code restore_to(const struct invocation *invocation, struct store *store,
				const struct saveset_disk *disk, const char *spec, struct restore_sums *sums,
				struct err *err)
{
	const struct restore_options *options = invocation->options;
	const struct target_options target_options = {.format = options->format, .overwrite = options->overwrite};
	AUTO(cleanup_target) struct block_target *target = NULL;
	TRY(target_open(spec, &target_options, disk->name, disk->bytes.size, &target, err));
	return restore_disk(invocation, store, "restore", disk, target, options->keep_going, (unsigned)options->lanes,
			    sums, err);
}

/* Every disk into the directory. With --keep-going a damaged one does not keep the others back. */
static enum err_code restore_all(const struct invocation *invocation, struct store *store,
				 const struct saveset *saveset, const struct saveset_disk *only, const char *directory,
				 struct restore_sums *sums, struct err *err)
{
	const struct restore_options *options = invocation->options;
	const char *format = options->format ? options->format : "raw";
	enum err_code damage = ERR_OK;
	if (!only)
		TRY(check_paths(saveset, directory, format, err));
	for (size_t i = 0; i < saveset->disk_count; i++) {
		const struct saveset_disk *disk = &saveset->disks[i];
		char path[4096];
		if (only && disk != only)
			continue;
		TRY(path_in(directory, disk->name, format, path, sizeof(path), err));
		enum err_code code = restore_to(invocation, store, disk, path, sums, err);
		if (code == ERR_CORRUPT && options->keep_going)
			damage = code;
		else if (code != ERR_OK)
			return code;
	}
	return damage;
}

static enum err_code refuse_choice(const struct saveset *saveset, const char *text, struct err *err)
{
	char names[300] = "";
	for (size_t i = 0; i < saveset->disk_count; i++) {
		size_t length = strlen(names);
		snprintf(names + length, sizeof(names) - length, "%s'%s'", i ? ", " : "", saveset->disks[i].name);
	}
	return err_set(err, ERR_INVALID, 0, "'%s' has several disks (%s): say '%s:DISK', or name a directory as TARGET",
		       text, names, text);
}

static enum err_code check_request(const struct restore_options *options, const char *target, struct err *err)
{
	if (options->xva && options->format)
		return err_set(err, ERR_INVALID, 0, "--xva and --format don't go together");
	if (options->xva_checksum && !options->xva)
		return err_set(err, ERR_INVALID, 0, "--xva-checksum goes with --xva");
	if (is_stdout(target) && isatty(STDOUT_FILENO))
		return err_set(err, ERR_INVALID, 0, "a disk is not written to a terminal; redirect standard output");
	return ERR_OK;
}

static enum err_code restore(const struct invocation *invocation, struct restore_sums *sums, struct err *err)
{
	const struct restore_options *options = invocation->options;
	const char *text = invocation->args[0];
	const char *target = invocation->args[1];
	AUTO_OPEN_STORE store = {0};
	AUTO(saveset_list_release) struct saveset_list list = {0};
	const struct saveset_row *row = NULL;
	const struct saveset_disk *disk = NULL;
	TRY(check_request(options, target, err));
	TRY(open_store(invocation, STORE_READ, &store, err));
	TRY(saveset_list_load(store.store, &list, err));
	TRY(saveset_find_disk(&list, text, &row, &disk, err));
	sums->start_ns = clock_mono_ns();
	if (options->xva && disk)
		return err_set(err, ERR_INVALID, 0, "an XVA holds the whole saveset; leave ':%s' out", disk->name);
	if (options->xva)
		return restore_xva(invocation, store.store, row->saveset, target, options, sums, err);
	if (!is_stdout(target) && is_directory(target))
		return restore_all(invocation, store.store, row->saveset, disk, target, sums, err);
	if (!disk && row->saveset->disk_count != 1)
		return refuse_choice(row->saveset, text, err);
	if (!disk)
		disk = &row->saveset->disks[0];
	return restore_to(invocation, store.store, disk, target, sums, err);
}

static enum exit_code run(const struct invocation *invocation)
{
	struct err err = {0};
	struct restore_sums sums = {0};
	if (is_stdout(invocation->args[1]))
		output_results_aside(invocation->output);
	enum err_code code = restore(invocation, &sums, &err);
	if (code == ERR_OK || (code == ERR_CORRUPT && sums.disks))
		restore_summary(invocation, "restore", &sums);
	return code == ERR_OK ? invocation_done(invocation) : invocation_fail(invocation, &err, CORRUPT_IS_DAMAGE);
}

const struct verb verb_restore = {
	.name = "restore",
	.arguments = "SAVESET[:DISK] TARGET",
	.summary = "restore a disk, all disks, or a VM as XVA",
	.description =
		"Writes a disk of a saveset to TARGET: a file, a block device, '-' for standard output, or an\n"
		"address nbd://, nbds://, nbd+unix://. If TARGET is a directory, all disks go into it. With --xva\n"
		"the whole saveset becomes one XVA. SAVESET is an id or its beginning, a name, a VM's name (its\n"
		"newest saveset), or 'latest'.",
	.shared = SHARED_OPEN,
	.args_min = 2,
	.args_max = 2,
	.options = rows,
	.options_size = sizeof(struct restore_options),
	.run = run,
};
