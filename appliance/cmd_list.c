/* SPDX-License-Identifier: Apache-2.0 */
/* xenolith list: the savesets of a store, oldest first. */
#include <string.h>

#include "appliance/find_saveset.h"
#include "appliance/open_store.h"
#include "appliance/saveset_report.h"
#include "appliance/table.h"
#include "appliance/verb.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"

struct list_options {
	const char *vm;
	struct text_list tags;
};

static const struct option_row rows[] = {
	{0, "vm", OPTION_TEXT, offsetof(struct list_options, vm), "NAME",
	 "only savesets of the VM with this name or UUID", 0, 0},
	{0, "tag", OPTION_TEXTS, offsetof(struct list_options, tags), "TAG",
	 "only savesets with this tag; may be repeated", 0, 0},
	OPTIONS_END,
};

static bool has_tag(const struct saveset *saveset, const char *tag)
{
	for (size_t i = 0; i < saveset->tag_count; i++)
		if (strcmp(saveset->tags[i], tag) == 0)
			return true;
	return false;
}

static bool is_wanted(const struct list_options *options, const struct saveset *saveset)
{
	struct uuid uuid;
	if (options->vm && strcmp(options->vm, saveset->vm_name) != 0 &&
	    !(uuid_parse(options->vm, &uuid) && uuid_equal(&uuid, &saveset->vm_uuid)))
		return false;
	for (size_t i = 0; i < options->tags.count; i++)
		if (!has_tag(saveset, options->tags.texts[i]))
			return false;
	return true;
}

static void add_saveset(const struct saveset_row *row, struct table *table)
{
	const struct saveset *saveset = row->saveset;
	struct saveset_bytes total = saveset_total(saveset);
	char text[CLOCK_TEXT_SIZE];
	char size[SIZE_TEXT_SIZE];
	table_cell(table, "%s", saveset_short_id(&row->entry->id, text));
	table_cell(table, "%s", saveset->vm_name);
	table_cell(table, "%s", clock_format_local(row->entry->time_unix_s, text));
	table_cell(table, "%s", saveset_level_name(saveset->level_done));
	table_cell(table, "%zu", saveset->disk_count);
	table_cell(table, "%s", size_format(total.size, size));
	table_cell(table, "%s", size_format(total.fresh, size));
	table_cell(table, "%s", size_format(total.stored, size));
	if (saveset->warning_count)
		table_cell(table, "%zu warning%s", saveset->warning_count, saveset->warning_count == 1 ? "" : "s");
	else
		table_cell(table, "ok");
	table_cell(table, "%s", saveset->name ? saveset->name : "");
}

static void add_damaged(const struct saveset_row *row, struct table *table)
{
	char text[CLOCK_TEXT_SIZE];
	table_cell(table, "%s", saveset_short_id(&row->entry->id, text));
	table_cell(table, "?");
	table_cell(table, "%s", clock_format_local(row->entry->time_unix_s, text));
	for (int i = 0; i < 5; i++)
		table_cell(table, "?");
	table_cell(table, "damaged");
	table_cell(table, "%s", "");
}

static void print_list(const struct invocation *invocation, const struct saveset_list *list)
{
	static const char *const headings[] = {"ID",   "VM",  "TIME",   "LEVEL", "DISKS",
					       "SIZE", "NEW", "STORED", "STATE", "NAME"};
	struct table table;
	table_init(&table, headings, sizeof(headings) / sizeof(headings[0]));
	for (size_t i = 0; i < list->count; i++) {
		const struct saveset_row *row = &list->rows[i];
		if (!row->saveset) {
			output_error(invocation->output, &row->err);
			add_damaged(row, &table);
			continue;
		}
		if (!is_wanted(invocation->options, row->saveset))
			continue;
		add_saveset(row, &table);
		output_row(invocation->output, "saveset", saveset_json(row->saveset));
	}
	table_print(&table, invocation->output, "");
	table_release(&table);
}

static enum exit_code run(const struct invocation *invocation)
{
	struct err err = {0};
	AUTO_OPEN_STORE store = {0};
	AUTO(saveset_list_release) struct saveset_list list = {0};
	if (open_store(invocation, STORE_READ, &store, &err) != ERR_OK ||
	    saveset_list_load(store.store, &list, &err) != ERR_OK)
		return invocation_fail(invocation, &err, CORRUPT_IS_DAMAGE);
	print_list(invocation, &list);
	enum exit_code exit_code = invocation_done(invocation);
	return exit_code == EXIT_DONE && list.damaged ? EXIT_DAMAGE : exit_code;
}

static void release(void *options)
{
	text_list_release(&((struct list_options *)options)->tags);
}

const struct verb verb_list = {
	.name = "list",
	.arguments = "",
	.summary = "list the savesets of a store",
	.description = "Lists the savesets of a store, oldest first: the beginning of the id, the VM, the time,\n"
		       "the level, the disks with their size, what was new, and what that took in the store.",
	.shared = SHARED_OPEN,
	.options = rows,
	.options_size = sizeof(struct list_options),
	.release = release,
	.run = run,
};
