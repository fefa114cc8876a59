/* SPDX-License-Identifier: Apache-2.0 */
/* xenolith backup: disks in, one saveset out. */
#include <stdlib.h>
#include <string.h>

#include "appliance/disk_set.h"
#include "appliance/job.h"
#include "appliance/open_store.h"
#include "appliance/saveset_report.h"
#include "appliance/verb.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "pipeline/backup.h"

struct backup_options {
	const char *vm;
	const char *vm_uuid;
	const char *name;
	const char *note;
	struct text_list tags;
	struct text_list exclude;
	const char *format;
	const char *compression;
	unsigned verify_new;
	uint64_t lanes;
	uint64_t limit_rate;
	bool no_compare;
};

DEFINE_CLEANUP(saveset, struct saveset, saveset_free)

#define OPTION(field) offsetof(struct backup_options, field)

static const struct option_row rows[] = {
	{0, "vm", OPTION_TEXT, OPTION(vm), "NAME", "the VM's name (default: the one in an XVA)", 0, 0},
	{0, "vm-uuid", OPTION_TEXT, OPTION(vm_uuid), "UUID", "the VM's UUID (default: the one in an XVA)", 0, 0},
	{0, "exclude", OPTION_TEXTS, OPTION(exclude), "DISK", "leave the disk of this name out; may be repeated", 0, 0},
	{0, "name", OPTION_TEXT, OPTION(name), "NAME", "a name for the saveset", 0, 0},
	{0, "tag", OPTION_TEXTS, OPTION(tags), "TAG", "a tag for the saveset; may be repeated", 0, 0},
	{0, "note", OPTION_TEXT, OPTION(note), "TEXT", "a note to keep with the saveset", 0, 0},
	{0, "format", OPTION_TEXT, OPTION(format), "FORMAT",
	 "what the DISKs are: raw, vhd, xva, qcow2, ... (default: detect)", 0, 0},
	{0, "compression", OPTION_TEXT, OPTION(compression), "HOW",
	 "auto, none, zstd or a zstd level from -7 to 19 (default: 1)", 0, 0},
	{0, "verify-new", OPTION_CHOICE, OPTION(verify_new), "off|sample|all",
	 "how much of what is new to read back and check (default: sample)", 0, 0},
	{0, "lanes", OPTION_NUMBER, OPTION(lanes), "N", "worker threads (default: one per CPU)", 1, LANES_MAX},
	{0, "limit-rate", OPTION_SIZE, OPTION(limit_rate), "SIZE", "read at most SIZE bytes per second", 0, 0},
	{0, "no-compare", OPTION_FLAG, OPTION(no_compare), NULL, "do not compare with the previous saveset of the disk",
	 0, 0},
	OPTIONS_END,
};

/* The words of --verify-new, behind the default. */
static const struct {
	enum verify_new how;
	const char *word;
	const char *text;
} checks[] = {
	{VERIFY_NEW_SAMPLE, "sample", "a sample"},
	{VERIFY_NEW_OFF, "off", "nothing"},
	{VERIFY_NEW_SAMPLE, "sample", "a sample"},
	{VERIFY_NEW_ALL, "all", "all"},
};

/* What a run was like, apart from the saveset that it made. */
struct outcome {
	enum corrupt_means corrupt_means; /* whose bytes are damaged if it ended with ERR_CORRUPT */
	double seconds;
};

/* "auto", "none", "zstd", or a zstd level from -7 to 19. */
static enum err_code parse_compression(const char *text, struct compression *ret, struct err *err)
{
	*ret = COMPRESSION_DEFAULT;
	if (!text || strcmp(text, "zstd") == 0)
		return ERR_OK;
	if (strcmp(text, "auto") == 0 || strcmp(text, "none") == 0) {
		ret->kind = *text == 'a' ? COMPRESS_AUTO : COMPRESS_NONE;
		return ERR_OK;
	}
	struct err ignored = {0};
	bool is_negative = *text == '-';
	uint64_t level = 0;
	if (number_parse(text + is_negative, "level", is_negative, is_negative ? 7 : 19, &level, &ignored) != ERR_OK ||
	    !(is_negative || level))
		return err_set(err, ERR_INVALID, 0,
			       "compression '%s' is none of auto, none, zstd, or a level from -7 to 19 but 0", text);
	ret->level = is_negative ? -(int)level : (int)level;
	return ERR_OK;
}

static enum err_code copy_text(const char *text, char **ret, struct err *err)
{
	if (!text)
		return ERR_OK;
	*ret = strdup(text);
	return *ret ? ERR_OK : err_set(err, ERR_NO_MEMORY, 0, "out of memory");
}

/* A saveset with what the user said about it. Gives *ret. */
static enum err_code describe(const struct backup_options *options, const struct disk_set *disks, struct saveset **ret,
			      struct err *err)
{
	const char *vm = options->vm ? options->vm : disks->vm_name;
	if (!*vm)
		return err_set(err, ERR_INVALID, 0, "which VM do the disks belong to? give --vm NAME");
	TRY(saveset_new(vm, ret, err));
	struct saveset *saveset = *ret;
	saveset->vm_uuid = disks->vm_uuid;
	if (options->vm_uuid && !uuid_parse(options->vm_uuid, &saveset->vm_uuid))
		return err_set(err, ERR_INVALID, 0, "option '--vm-uuid': '%s' is not a UUID", options->vm_uuid);
	TRY(copy_text(options->name, &saveset->name, err));
	TRY(copy_text(options->note, &saveset->note, err));
	for (size_t i = 0; i < options->tags.count; i++)
		TRY(saveset_add_tag(saveset, options->tags.texts[i], err));
	for (size_t i = 0; i < disks->excluded_count; i++)
		TRY(saveset_add_excluded(saveset, disks->excluded[i]->name, err));
	return ERR_OK;
}

static void tell_source_notices(struct output *output, const struct disk_set *disks)
{
	for (size_t i = 0; i < disks->count; i++) {
		char line[sizeof(disks->sources[i]->notice) + sizeof(disks->sources[i]->name) + 16];
		if (!disks->sources[i]->notice_set)
			continue;
		snprintf(line, sizeof(line), "disk '%s': %s", disks->sources[i]->name, disks->sources[i]->notice);
		output_notice(output, line);
	}
}

/* Opens the store and runs the job. *ret is written also on failure. */
static enum err_code store_disks(const struct invocation *invocation, const struct disk_set *disks,
				 struct compression compression, struct saveset *saveset, struct outcome *ret,
				 struct err *err)
{
	const struct backup_options *options = invocation->options;
	AUTO_OPEN_STORE store = {0};
	AUTO_JOB job = {0};
	*ret = (struct outcome){.corrupt_means = CORRUPT_IS_DAMAGE};
	TRY(open_store(invocation, STORE_WRITE, &store, err));
	ret->corrupt_means = CORRUPT_IS_INPUT;
	TRY(job_begin(invocation, &job, err, "backup of '%s'", saveset->vm_name));
	const struct backup_request request = {
		.sources = disks->sources,
		.source_count = disks->count,
		.documents = disks->documents,
		.document_count = disks->document_count,
		.lanes = (unsigned)options->lanes,
		.compression = compression,
		.verify_new = checks[options->verify_new].how,
		.read_limit_bytes_per_s = options->limit_rate,
		.no_compare = options->no_compare,
		.progress = &job.progress,
	};
	struct stage_times times = {0};
	uint64_t start_ns = clock_mono_ns();
	enum err_code code = backup_run(store.store, &request, saveset, &times, err);
	ret->seconds = (double)(clock_mono_ns() - start_ns) / 1e9;
	return code;
}

static enum exit_code report(const struct invocation *invocation, const struct saveset *saveset, double seconds)
{
	const struct backup_options *options = invocation->options;
	json_t *row = saveset_json(saveset);
	if (row) {
		json_object_set_new(row, "seconds", json_real(seconds));
		json_object_set_new(row, "verify_new", json_string(checks[options->verify_new].word));
	}
	for (size_t i = 0; i < saveset->warning_count; i++)
		output_warning(invocation->output, saveset->warnings[i]);
	if (!invocation->output->quiet) {
		saveset_print(invocation->output, saveset, seconds);
		output_text(invocation->output, "%-11s%s of what was new", "checked", checks[options->verify_new].text);
	}
	output_row(invocation->output, "summary", row);
	enum exit_code exit_code = invocation_done(invocation);
	return exit_code == EXIT_DONE && saveset->warning_count ? EXIT_WARNINGS : exit_code;
}

static enum exit_code run(const struct invocation *invocation)
{
	const struct backup_options *options = invocation->options;
	struct err err = {0};
	struct compression compression;
	AUTO_OPEN_STORE store = {0};
	AUTO(disk_set_release) struct disk_set disks = {0};
	AUTO(cleanup_saveset) struct saveset *saveset = NULL;
	if (parse_compression(options->compression, &compression, &err) != ERR_OK ||
	    open_store_config(invocation, &store, &err) != ERR_OK)
		return invocation_fail(invocation, &err, CORRUPT_IS_DAMAGE);
	/* A disk that can't be opened is told before anybody is asked for a passphrase. */
	if (disk_set_open(invocation->args, invocation->arg_count, options->format, &options->exclude, &disks, &err) !=
		    ERR_OK ||
	    describe(options, &disks, &saveset, &err) != ERR_OK)
		return invocation_fail(invocation, &err, CORRUPT_IS_INPUT);
	tell_source_notices(invocation->output, &disks);
	struct outcome outcome = {.corrupt_means = CORRUPT_IS_DAMAGE};
	if (store_disks(invocation, &disks, compression, saveset, &outcome, &err) != ERR_OK)
		return invocation_fail(invocation, &err, outcome.corrupt_means);
	return report(invocation, saveset, outcome.seconds);
}

static void release(void *values)
{
	struct backup_options *options = values;
	text_list_release(&options->tags);
	text_list_release(&options->exclude);
}

const struct verb verb_backup = {
	.name = "backup",
	.arguments = "[NAME=]DISK...",
	.summary = "back up disks of a VM as one saveset",
	.description =
		"Backs up one or more disks of a VM as one saveset. A DISK is a raw image, a block device, a VHD\n"
		"with its parents, an XVA ('-' reads it from standard input), whatever qemu-nbd reads (QCOW2, VMDK,\n"
		"VHDX), or an address nbd://, nbds://, nbd+unix://. A disk that was backed up before under the same\n"
		"VM and NAME (default: the file's name) is compared with that.",
	.shared = SHARED_OPEN,
	.args_min = 1,
	.args_max = 1024,
	.options = rows,
	.options_size = sizeof(struct backup_options),
	.release = release,
	.run = run,
};
