/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/saveset_report.h"

#include <inttypes.h>
#include <string.h>

#include "appliance/table.h"
#include "base/clock.h"
#include "base/size.h"

json_t *saveset_bytes_json(const struct saveset_bytes *bytes)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "size", (json_int_t)bytes->size, "data",
			 (json_int_t)bytes->data, "read", (json_int_t)bytes->read, "changed",
			 (json_int_t)bytes->changed, "new", (json_int_t)bytes->fresh, "stored",
			 (json_int_t)bytes->stored);
}

void saveset_bytes_add(struct saveset_bytes *into, const struct saveset_bytes *from)
{
	into->size += from->size;
	into->data += from->data;
	into->read += from->read;
	into->changed += from->changed;
	into->fresh += from->fresh;
	into->stored += from->stored;
}

static json_t *uuid_json(const struct uuid *uuid)
{
	char text[UUID_TEXT_SIZE];
	return uuid_is_null(uuid) ? json_null() : json_string(uuid_format(uuid, text));
}

static json_t *time_json(uint64_t unix_s)
{
	char text[CLOCK_TEXT_SIZE];
	return json_string(clock_format_utc(unix_s, text));
}

static json_t *texts_json(char *const texts[], size_t count)
{
	json_t *array = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, output_json_text(texts[i]));
	return array;
}

static json_t *disks_json(const struct saveset *saveset)
{
	json_t *array = json_array();
	for (size_t i = 0; i < saveset->disk_count; i++) {
		const struct saveset_disk *disk = &saveset->disks[i];
		json_array_append_new(array, json_pack("{s:o, s:o, s:o, s:b, s:o}", "name",
						       output_json_text(disk->name), "uuid", uuid_json(&disk->uuid),
						       "format", output_json_text(disk->format), "compared",
						       disk->compared, "bytes", saveset_bytes_json(&disk->bytes)));
	}
	return array;
}

static json_t *documents_json(const struct saveset *saveset)
{
	json_t *array = json_array();
	for (size_t i = 0; i < saveset->document_count; i++)
		json_array_append_new(array,
				      json_pack("{s:o, s:I}", "name", output_json_text(saveset->documents[i].name),
						"length", (json_int_t)saveset->documents[i].length));
	return array;
}

/* Whole seconds between start and stop, the only duration that is kept with a saveset. */
static uint64_t kept_duration(const struct saveset *saveset)
{
	return saveset->stop_unix_s > saveset->start_unix_s ? saveset->stop_unix_s - saveset->start_unix_s : 0;
}

json_t *saveset_json(const struct saveset *saveset)
{
	struct saveset_bytes total = saveset_total(saveset);
	json_t *row = json_pack("{s:o, s:o, s:o, s:o, s:o}", "saveset", uuid_json(&saveset->id), "vm",
				output_json_text(saveset->vm_name), "vm_uuid", uuid_json(&saveset->vm_uuid), "name",
				output_json_text(saveset->name), "note", output_json_text(saveset->note));
	if (!row)
		return NULL;
	const char *asked = saveset_level_name(saveset->level_asked);
	const char *done = saveset_level_name(saveset->level_done);
	int failed = json_object_set_new(row, "tags", texts_json(saveset->tags, saveset->tag_count));
	failed |= json_object_set_new(row, "level_asked", json_string(asked));
	failed |= json_object_set_new(row, "level_done", json_string(done));
	failed |= json_object_set_new(row, "level_reason", output_json_text(saveset->level_reason));
	failed |= json_object_set_new(row, "start", time_json(saveset->start_unix_s));
	failed |= json_object_set_new(row, "stop", time_json(saveset->stop_unix_s));
	failed |= json_object_set_new(row, "duration_seconds", json_integer((json_int_t)kept_duration(saveset)));
	failed |= json_object_set_new(row, "bytes", saveset_bytes_json(&total));
	failed |= json_object_set_new(row, "disks", disks_json(saveset));
	failed |= json_object_set_new(row, "excluded", texts_json(saveset->excluded, saveset->excluded_count));
	failed |= json_object_set_new(row, "documents", documents_json(saveset));
	failed |= json_object_set_new(row, "warnings", texts_json(saveset->warnings, saveset->warning_count));
	if (failed) {
		json_decref(row);
		return NULL;
	}
	return row;
}

static void print_field(struct output *output, const char *name, const char *value)
{
	char clean[512];
	output_text(output, "%-11s%s", name, output_clean(value, clean, sizeof(clean)));
}

/* Prints "a, b, c" behind `name`; nothing for an empty list. */
static void print_texts(struct output *output, const char *name, char *const texts[], size_t count)
{
	char line[480] = "";
	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(line);
		snprintf(line + length, sizeof(line) - length, "%s%s", i ? ", " : "", texts[i]);
	}
	if (count)
		print_field(output, name, line);
}

static void print_head(struct output *output, const struct saveset *saveset)
{
	char uuid[UUID_TEXT_SIZE];
	char line[480];
	print_field(output, "saveset", uuid_format(&saveset->id, uuid));
	if (uuid_is_null(&saveset->vm_uuid))
		print_field(output, "VM", saveset->vm_name);
	else {
		snprintf(line, sizeof(line), "%s (%s)", saveset->vm_name, uuid_format(&saveset->vm_uuid, uuid));
		print_field(output, "VM", line);
	}
	if (saveset->name)
		print_field(output, "name", saveset->name);
	if (saveset->note)
		print_field(output, "note", saveset->note);
	print_texts(output, "tags", saveset->tags, saveset->tag_count);
	const char *done = saveset_level_name(saveset->level_done);
	if (saveset->level_reason)
		snprintf(line, sizeof(line), "%s, because %s (asked: %s)", done, saveset->level_reason,
			 saveset_level_name(saveset->level_asked));
	else
		snprintf(line, sizeof(line), "%s", done);
	print_field(output, "level", line);
}

static void print_times(struct output *output, const struct saveset *saveset, const struct saveset_bytes *total,
			double seconds)
{
	char time[CLOCK_TEXT_SIZE];
	char duration[SIZE_TEXT_SIZE];
	char rate[SIZE_TEXT_SIZE];
	print_field(output, "start", clock_format_local(saveset->start_unix_s, time));
	print_field(output, "stop", clock_format_local(saveset->stop_unix_s, time));
	if (seconds < 0)
		seconds = (double)kept_duration(saveset);
	if (seconds < 0.001) {
		print_field(output, "duration", "less than a second");
		return;
	}
	output_text(output, "%-11s%s, %s/s read", "duration", output_duration(seconds, duration),
		    size_format((uint64_t)((double)total->read / seconds), rate));
}

static void print_disk_row(struct table *table, const char *name, const char *format, const struct saveset_bytes *bytes)
{
	const uint64_t columns[] = {bytes->size, bytes->data, bytes->read, bytes->changed, bytes->fresh, bytes->stored};
	char size[SIZE_TEXT_SIZE];
	table_cell(table, "%s", name);
	table_cell(table, "%s", format ? format : "");
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		table_cell(table, "%s", size_format(columns[i], size));
}

static void print_disks(struct output *output, const struct saveset *saveset, const struct saveset_bytes *total)
{
	static const char *const headings[] = {"DISK", "FORMAT", "SIZE", "DATA", "READ", "CHANGED", "NEW", "STORED"};
	struct table table;
	table_init(&table, headings, sizeof(headings) / sizeof(headings[0]));
	for (size_t i = 0; i < saveset->disk_count; i++)
		print_disk_row(&table, saveset->disks[i].name, saveset->disks[i].format, &saveset->disks[i].bytes);
	if (saveset->disk_count > 1)
		print_disk_row(&table, "total", "", total);
	table_print(&table, output, "  ");
	table_release(&table);
}

void saveset_print(struct output *output, const struct saveset *saveset, double seconds)
{
	struct saveset_bytes total = saveset_total(saveset);
	print_head(output, saveset);
	print_times(output, saveset, &total, seconds);
	output_text(output, "%-11s%zu stored, %zu excluded", "disks", saveset->disk_count, saveset->excluded_count);
	print_disks(output, saveset, &total);
	print_texts(output, "excluded", saveset->excluded, saveset->excluded_count);
	for (size_t i = 0; i < saveset->document_count; i++) {
		char line[400];
		char size[SIZE_TEXT_SIZE];
		snprintf(line, sizeof(line), "%s (%s)", saveset->documents[i].name,
			 size_format(saveset->documents[i].length, size));
		print_field(output, "document", line);
	}
	for (size_t i = 0; i < saveset->warning_count; i++)
		print_field(output, "warning", saveset->warnings[i]);
	print_field(output, "state", saveset->warning_count ? "done with warnings" : "done");
}
