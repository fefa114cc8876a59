/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/find_saveset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define ID_PREFIX_MIN 4 /* shorter texts are names */
#define CANDIDATES_SHOWN 5

enum err_code saveset_list_load(struct store *store, struct saveset_list *ret, struct err *err)
{
	const struct log_state *state = store_state(store);
	struct saveset_list list = {.count = state->saveset_count};
	list.rows = calloc(list.count ? list.count : 1, sizeof(*list.rows));
	if (!list.rows)
		return err_set(err, ERR_NO_MEMORY, 0, "out of memory for %zu savesets", list.count);
	for (size_t i = 0; i < list.count; i++) {
		struct saveset_row *row = &list.rows[i];
		row->entry = &state->savesets[i];
		enum err_code code = store_load_saveset(store, row->entry, &row->saveset, &row->err);
		if (code == ERR_NO_MEMORY || code == ERR_CANCELLED) {
			struct err cause = row->err;
			saveset_list_release(&list);
			return err_set(err, code, 0, "%s", cause.msg);
		}
		if (code != ERR_OK)
			list.damaged++;
	}
	*ret = list;
	return ERR_OK;
}

void saveset_list_release(struct saveset_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		saveset_free(list->rows[i].saveset);
	free(list->rows);
	*list = (struct saveset_list){0};
}

/* True if `text` is the beginning of the id, in the 8-4-4-4-12 form or without its dashes. */
static bool id_begins_with(const struct uuid *id, const char *text)
{
	char dashed[UUID_TEXT_SIZE];
	char plain[2 * sizeof(id->bytes) + 1];
	size_t length = strlen(text);
	uuid_format(id, dashed);
	hex_format(id->bytes, sizeof(id->bytes), plain);
	return length >= ID_PREFIX_MIN &&
	       (strncasecmp(dashed, text, length) == 0 || strncasecmp(plain, text, length) == 0);
}

bool saveset_is_same_vm(const struct saveset *a, const struct saveset *b)
{
	if (!uuid_is_null(&a->vm_uuid) && !uuid_is_null(&b->vm_uuid))
		return uuid_equal(&a->vm_uuid, &b->vm_uuid);
	return strcmp(a->vm_name, b->vm_name) == 0;
}

/* True if `text` names the VM of row `index`, and that row is the VM's newest. */
static bool is_newest_of_vm(const struct saveset_list *list, size_t index, const char *text)
{
	const struct saveset *saveset = list->rows[index].saveset;
	struct uuid uuid;
	bool by_uuid = uuid_parse(text, &uuid) && uuid_equal(&uuid, &saveset->vm_uuid);
	if (!by_uuid && strcmp(saveset->vm_name, text) != 0)
		return false;
	for (size_t i = index + 1; i < list->count; i++)
		if (list->rows[i].saveset && saveset_is_same_vm(list->rows[i].saveset, saveset))
			return false;
	return true;
}

static bool is_meant(const struct saveset_list *list, size_t index, const char *text)
{
	const struct saveset_row *row = &list->rows[index];
	if (strcmp(text, "latest") == 0)
		return index + 1 == list->count;
	if (id_begins_with(&row->entry->id, text))
		return true;
	if (!row->saveset)
		return false;
	return (row->saveset->name && strcmp(row->saveset->name, text) == 0) || is_newest_of_vm(list, index, text);
}

/* Appends " 1a2b3c4d (web, 2026-11-22 10:48:00)". */
static void describe(const struct saveset_row *row, char *text, size_t size)
{
	char id[SAVESET_SHORT_SIZE];
	char time[CLOCK_TEXT_SIZE];
	size_t length = strlen(text);
	snprintf(text + length, size - length, "%s%s (%s, %s)", *text ? ", " : "",
		 saveset_short_id(&row->entry->id, id), row->saveset ? row->saveset->vm_name : "damaged",
		 clock_format_local(row->entry->time_unix_s, time));
}

static enum err_code refuse_ambiguous(const struct saveset_list *list, const char *text, size_t found, struct err *err)
{
	char candidates[400] = "";
	size_t shown = 0;
	for (size_t i = list->count; i-- && shown < CANDIDATES_SHOWN;)
		if (is_meant(list, i, text)) {
			describe(&list->rows[i], candidates, sizeof(candidates));
			shown++;
		}
	return err_set(err, ERR_INVALID, 0, "'%s' means %zu savesets: %s%s", text, found, candidates,
		       found > shown ? ", ..." : "");
}

enum err_code saveset_find(const struct saveset_list *list, const char *text, const struct saveset_row **ret,
			   struct err *err)
{
	const struct saveset_row *row = NULL;
	size_t found = 0;
	for (size_t i = 0; i < list->count; i++)
		if (is_meant(list, i, text)) {
			row = &list->rows[i];
			found++;
		}
	if (!found)
		return err_set(err, ERR_NOT_FOUND, 0,
			       "no saveset, VM or name '%s' in this store; 'xenolith list' shows them%s", text,
			       list->damaged ? " (some can't be read)" : "");
	if (found > 1)
		return refuse_ambiguous(list, text, found, err);
	if (!row->saveset)
		return err_set(err, row->err.code, 0, "%s", row->err.msg);
	*ret = row;
	return ERR_OK;
}

static enum err_code find_disk(const struct saveset *saveset, const char *name, const struct saveset_disk **ret,
			       struct err *err)
{
	struct uuid uuid;
	bool is_uuid = uuid_parse(name, &uuid);
	char names[300] = "";
	for (size_t i = 0; i < saveset->disk_count; i++) {
		const struct saveset_disk *disk = &saveset->disks[i];
		if (strcmp(disk->name, name) == 0 || (is_uuid && uuid_equal(&disk->uuid, &uuid))) {
			*ret = disk;
			return ERR_OK;
		}
		size_t length = strlen(names);
		snprintf(names + length, sizeof(names) - length, "%s'%s'", i ? ", " : "", disk->name);
	}
	return err_set(err, ERR_NOT_FOUND, 0, "the saveset of '%s' has no disk '%s'; it has %s", saveset->vm_name, name,
		       names);
}

enum err_code saveset_find_disk(const struct saveset_list *list, const char *text, const struct saveset_row **ret,
				const struct saveset_disk **ret_disk, struct err *err)
{
	struct err whole = {0};
	enum err_code code = saveset_find(list, text, ret, &whole);
	if (code == ERR_OK)
		*ret_disk = NULL;
	if (code != ERR_NOT_FOUND)
		return code == ERR_OK ? code : err_set(err, code, 0, "%s", whole.msg);
	/* Names may contain colons: the longest left part that is a saveset counts. */
	AUTO_FREE char *left = strdup(text);
	if (!left)
		return err_set(err, ERR_NO_MEMORY, 0, "out of memory");
	for (char *colon = strrchr(left, ':'); colon; colon = strrchr(left, ':')) {
		*colon = '\0';
		struct err part = {0};
		const struct saveset_row *row = NULL;
		code = saveset_find(list, left, &row, &part);
		if (code == ERR_NOT_FOUND)
			continue;
		if (!row)
			return err_set(err, code, 0, "%s", part.msg);
		TRY(find_disk(row->saveset, text + (colon - left) + 1, ret_disk, err));
		*ret = row;
		return ERR_OK;
	}
	/* What is meant may be one of those whose description is damaged. */
	return err_set(err, list->damaged ? ERR_CORRUPT : ERR_NOT_FOUND, 0, "%s", whole.msg);
}
