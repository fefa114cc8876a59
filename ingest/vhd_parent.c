/* SPDX-License-Identifier: Apache-2.0 */
/* From a differencing VHD to its parent: the paths that its locators give, then a file of the parent's name beside it.
 * What the child says comes from outside; a path is only ever opened for reading, and used only if it is a VHD with the
 * UUID that the child wants. */
#include "ingest/vhd_chain.h"

#include "base/cleanup.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CANDIDATES_MAX ((size_t)3 * (VHD_LOCATOR_COUNT + 1))

struct candidates {
	size_t count;
	char *paths[CANDIDATES_MAX];
};

static void candidates_release(struct candidates *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->paths[i]);
}

DEFINE_CLEANUP(level, struct vhd_level, vhd_level_close)

/* Adds `directory` (of `directory_length` characters, with its slash) + `name`, unless it is there. */
static enum err_code add_candidate(struct candidates *list, const char *directory, size_t directory_length,
				   const char *name, struct err *err)
{
	AUTO_FREE char *path = NULL;
	if (asprintf(&path, "%.*s%s", (int)directory_length, directory, name) < 0) {
		path = NULL;
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to look for a parent");
	}
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->paths[i], path) == 0)
			return ERR_OK;
	if (strlen(path) < PATH_MAX && list->count < CANDIDATES_MAX)
		list->paths[list->count++] = TAKE_PTR(path);
	return ERR_OK;
}

/* Adds the places that `name` may mean for a child at `child_path`. */
static enum err_code add_name(struct candidates *list, const char *child_path, const char *name, struct err *err)
{
	const char *slash = strrchr(child_path, '/');
	size_t directory_length = slash ? (size_t)(slash - child_path) + 1 : 0;
	while (strncmp(name, "./", 2) == 0)
		name += 2;
	const char *base = strrchr(name, '/');
	base = base ? base + 1 : name;
	if (*base == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return ERR_OK;
	if (name[0] == '/')
		TRY(add_candidate(list, "", 0, name, err));
	else
		TRY(add_candidate(list, child_path, directory_length, name, err));
	return add_candidate(list, child_path, directory_length, base, err);
}

static enum err_code list_candidates(const struct vhd_level *child, struct candidates *list, struct err *err)
{
	const char *child_path = source_file_path(child->file);
	uint64_t size = child->file->size_bytes;
	for (size_t i = 0; i < VHD_LOCATOR_COUNT; i++) {
		const struct vhd_locator *locator = &child->header.locators[i];
		if (locator->code == 0 || locator->length == 0 || locator->length > VHD_LOCATOR_MAX)
			continue;
		if (locator->offset > size || locator->length > size - locator->offset)
			return err_set(err, ERR_CORRUPT, 0, "parent locator of '%s' points past the end of the file",
				       child_path);
		uint8_t data[VHD_LOCATOR_MAX];
		char name[VHD_LOCATOR_MAX * 3 / 2 + 1];
		TRY(source_file_read(child->file, locator->offset, data, locator->length, err));
		if (vhd_locator_path(locator->code, data, locator->length, name, sizeof(name)))
			TRY(add_name(list, child_path, name, err));
	}
	if (child->header.parent_name[0])
		TRY(add_name(list, child_path, child->header.parent_name, err));
	return ERR_OK;
}

/* Writers disagree about what the parent's time stamp is: the one in its footer, or the file's modification time
 * (blktap). Either will do; 0 means that the writer did not know. */
static enum err_code check_timestamp(const struct vhd_level *child, const struct vhd_level *parent, struct err *err)
{
	uint32_t wanted = child->header.parent_timestamp;
	uint32_t footer = parent->footer.timestamp;
	int64_t modified = (int64_t)parent->file->modified.tv_sec - (int64_t)VHD_EPOCH_UNIX_S;
	if (wanted == 0 || footer == 0 || wanted == footer || (int64_t)wanted == modified)
		return ERR_OK;
	time_t when = (time_t)(VHD_EPOCH_UNIX_S + wanted);
	struct tm tm;
	char text[32] = "";
	if (gmtime_r(&when, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm);
	const char *path = source_file_path(parent->file);
	return err_set(err, ERR_CORRUPT, 0,
		       "parent '%s' of '%s' has another time stamp than its child wants (%" PRIu32
		       ", %s): it was changed "
		       "since; if you know that it was not, run: touch -d @%" PRIu64 " '%s'",
		       path, source_file_path(child->file), wanted, text, VHD_EPOCH_UNIX_S + wanted, path);
}

static enum err_code missing(const struct vhd_level *child, const struct candidates *list, struct err *err)
{
	const char *child_path = source_file_path(child->file);
	if (list->count == 0)
		return err_set(err, ERR_NOT_FOUND, 0,
			       "'%s' is a differencing VHD that does not say where its parent is", child_path);
	char names[320] = "";
	size_t used = 0;
	for (size_t i = 0; i < list->count; i++) {
		const char *joint = i == 0 ? "" : ", ";
		size_t needed = strlen(joint) + strlen(list->paths[i]) + 2;
		if (needed >= sizeof(names) - used)
			break;
		used += (size_t)snprintf(names + used, sizeof(names) - used, "%s'%s'", joint, list->paths[i]);
	}
	return err_set(err, ERR_NOT_FOUND, 0, "parent of '%s' is missing: put it where it was looked for: %s",
		       child_path, used ? names : list->paths[0]);
}

enum err_code vhd_parent_open(const struct vhd_level *child, struct vhd_level **ret, struct err *err)
{
	__attribute__((cleanup(candidates_release))) struct candidates list = {0};
	TRY(list_candidates(child, &list, err));
	/* What was wrong with the first file that is there but can't be the parent. */
	struct err unfit = {0};
	const struct uuid *wanted = &child->header.parent_uuid;
	for (size_t i = 0; i < list.count; i++) {
		struct err why = {0};
		AUTO(cleanup_level) struct vhd_level *level = NULL;
		enum err_code code = vhd_level_open(list.paths[i], &level, &why);
		if (code == ERR_NOT_FOUND)
			continue;
		if (code != ERR_OK) {
			err_set(&unfit, code, 0, "parent of '%s': %s", source_file_path(child->file), why.msg);
			continue;
		}
		if (uuid_equal(&level->footer.uuid, wanted)) {
			TRY(check_timestamp(child, level, err));
			*ret = TAKE_PTR(level);
			return ERR_OK;
		}
		bool is_child = level->file->device == child->file->device && level->file->inode == child->file->inode;
		char has[UUID_TEXT_SIZE];
		char wants[UUID_TEXT_SIZE];
		if (!is_child)
			err_set(&unfit, ERR_CORRUPT, 0,
				"'%s' is not the parent of '%s': its UUID is %s, the child wants %s", list.paths[i],
				source_file_path(child->file), uuid_format(&level->footer.uuid, has),
				uuid_format(wanted, wants));
	}
	if (unfit.code != ERR_OK)
		return err_set(err, unfit.code, 0, "%s", unfit.msg);
	return missing(child, &list, err);
}
