/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/disk_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ingest/ova_xml.h"

/* Splits "NAME=PATH". A "/" in front of the "=" belongs to a path or an address, and so does an existing file's own
 * name. Gives *ret_name (free), NULL if there is none. */
static enum err_code split_name(const char *arg, char **ret_name, const char **ret_spec, struct err *err)
{
	*ret_name = NULL;
	*ret_spec = arg;
	size_t length = strcspn(arg, "=/");
	if (arg[length] != '=' || access(arg, F_OK) == 0)
		return ERR_OK;
	if (length == 0 || length > SOURCE_NAME_MAX)
		return err_set(err, ERR_INVALID, 0, "'%s': the name in front of '=' has 1 to %d bytes", arg,
			       SOURCE_NAME_MAX);
	char *name = strndup(arg, length);
	if (!name)
		return err_set(err, ERR_NO_MEMORY, 0, "out of memory");
	*ret_name = name;
	*ret_spec = arg + length + 1;
	return ERR_OK;
}

static enum err_code open_one(const char *arg, const char *format, struct source_set *ret, struct err *err)
{
	AUTO_FREE char *name = NULL;
	const char *spec = NULL;
	TRY(split_name(arg, &name, &spec, err));
	TRY(source_open(spec, format, ret, err));
	if (!name)
		return ERR_OK;
	if (ret->count != 1) {
		size_t count = ret->count;
		source_set_release(ret);
		*ret = (struct source_set){0};
		return err_set(err, ERR_INVALID, 0, "'%s' holds %zu disks with names of their own; leave '%s=' out",
			       spec, count, name);
	}
	memcpy(ret->sources[0]->name, name, strlen(name) + 1);
	return ERR_OK;
}

static bool is_listed(const struct text_list *list, const char *text)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->texts[i], text) == 0)
			return true;
	return false;
}

/* Makes room for everything that the sets hold. */
static enum err_code allocate_lists(struct disk_set *set, struct err *err)
{
	size_t sources = 0;
	size_t documents = 0;
	for (size_t i = 0; i < set->set_count; i++) {
		sources += set->sets[i].count;
		documents += set->sets[i].document_count;
	}
	set->sources = calloc(sources ? sources : 1, sizeof(struct block_source *));
	set->excluded = calloc(sources ? sources : 1, sizeof(struct block_source *));
	set->documents = calloc(documents ? documents : 1, sizeof(*set->documents));
	if (!set->sources || !set->excluded || !set->documents)
		return err_set(err, ERR_NO_MEMORY, 0, "out of memory for %zu disks", sources);
	return ERR_OK;
}

static enum err_code add_documents(struct disk_set *set, const struct source_set *from, struct err *err)
{
	for (size_t i = 0; i < from->document_count; i++) {
		const struct source_document *document = &from->documents[i];
		for (size_t k = 0; k < set->document_count; k++)
			if (strcmp(set->documents[k].name, document->name) == 0)
				return err_set(err, ERR_INVALID, 0,
					       "two of the exports hold '%s'; back them up as one saveset each",
					       document->name);
		set->documents[set->document_count++] = (struct backup_document){
			.name = document->name, .data = document->data, .length = document->length};
	}
	return ERR_OK;
}

/* Spreads the sets over the lists of what is wanted and what is not. */
static enum err_code sort_disks(struct disk_set *set, const struct text_list *exclude, struct err *err)
{
	for (size_t i = 0; i < set->set_count; i++) {
		TRY(add_documents(set, &set->sets[i], err));
		for (size_t k = 0; k < set->sets[i].count; k++) {
			struct block_source *source = set->sets[i].sources[k];
			if (is_listed(exclude, source->name))
				set->excluded[set->excluded_count++] = source;
			else
				set->sources[set->count++] = source;
		}
	}
	return ERR_OK;
}

static enum err_code check_names(const struct disk_set *set, const struct text_list *exclude, struct err *err)
{
	for (size_t i = 0; i < set->count; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(set->sources[i]->name, set->sources[k]->name) == 0)
				return err_set(err, ERR_INVALID, 0,
					       "two disks are called '%s'; name them as in 'root=%s'",
					       set->sources[i]->name, set->sources[i]->name);
	for (size_t i = 0; i < exclude->count; i++) {
		bool found = false;
		for (size_t k = 0; k < set->excluded_count && !found; k++)
			found = strcmp(set->excluded[k]->name, exclude->texts[i]) == 0;
		if (!found)
			return err_set(err, ERR_INVALID, 0, "no disk is called '%s': nothing to leave out",
				       exclude->texts[i]);
	}
	if (!set->count)
		return err_set(err, ERR_INVALID, 0, "no disk is left to back up");
	return ERR_OK;
}

/* Learns the VM's name and UUID from the first ova.xml. The document may be of a kind that says nothing of them: no
 * error. */
static enum err_code read_vm(struct disk_set *set, struct err *err)
{
	for (size_t i = 0; i < set->document_count; i++) {
		if (strcmp(set->documents[i].name, "ova.xml") != 0)
			continue;
		struct ova ova = {0};
		TRY(ova_xml_parse(set->documents[i].data, set->documents[i].length, &ova, err));
		snprintf(set->vm_name, sizeof(set->vm_name), "%s", ova.vm_name);
		set->vm_uuid = ova.vm_uuid;
		ova_release(&ova);
		return ERR_OK;
	}
	return ERR_OK;
}

static enum err_code open_all(char *const args[], size_t count, const char *format, const struct text_list *exclude,
			      struct disk_set *set, struct err *err)
{
	set->sets = calloc(count, sizeof(*set->sets));
	if (!set->sets)
		return err_set(err, ERR_NO_MEMORY, 0, "out of memory for %zu disks", count);
	for (; set->set_count < count; set->set_count++)
		TRY(open_one(args[set->set_count], format, &set->sets[set->set_count], err));
	TRY(allocate_lists(set, err));
	TRY(sort_disks(set, exclude, err));
	TRY(check_names(set, exclude, err));
	return read_vm(set, err);
}

enum err_code disk_set_open(char *const args[], size_t count, const char *format, const struct text_list *exclude,
			    struct disk_set *ret, struct err *err)
{
	struct disk_set set = {0};
	enum err_code code = open_all(args, count, format, exclude, &set, err);
	if (code == ERR_OK)
		*ret = set;
	else
		disk_set_release(&set);
	return code;
}

void disk_set_release(struct disk_set *set)
{
	for (size_t i = 0; i < set->set_count; i++)
		source_set_release(&set->sets[i]);
	free(set->sets);
	free(set->sources);
	free(set->excluded);
	free(set->documents);
	*set = (struct disk_set){0};
}
