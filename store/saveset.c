/* SPDX-License-Identifier: Apache-2.0 */
#include "store/saveset.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

const char *saveset_level_name(enum saveset_level level)
{
	static const char *const names[] = {"FULL", "COPY", "DIFF", "INC"};
	return (unsigned)level < sizeof(names) / sizeof(names[0]) ? names[level] : "?";
}

char *saveset_short_id(const struct uuid *id, char dst[static SAVESET_SHORT_SIZE])
{
	return hex_format(id->bytes, (SAVESET_SHORT_SIZE - 1) / 2, dst);
}

static enum err_code no_memory(struct err *err)
{
	return err_set(err, ERR_NO_MEMORY, 0, "no memory for a saveset's description");
}

enum err_code saveset_new(const char *vm_name, struct saveset **ret, struct err *err)
{
	struct saveset *s = calloc(1, sizeof(*s));
	if (s)
		s->vm_name = strdup(vm_name);
	if (!s || !s->vm_name) {
		free(s);
		return no_memory(err);
	}
	s->id = uuid_random();
	s->start_unix_s = clock_unix_s();
	*ret = s;
	return ERR_OK;
}

static void free_strings(char **strings, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(strings[i]);
	free(strings);
}

void saveset_free(struct saveset *s)
{
	if (!s)
		return;
	free(s->level_reason);
	free(s->vm_name);
	free(s->name);
	free(s->note);
	free_strings(s->tags, s->tag_count);
	free_strings(s->excluded, s->excluded_count);
	free_strings(s->warnings, s->warning_count);
	for (size_t i = 0; i < s->disk_count; i++) {
		free(s->disks[i].name);
		free(s->disks[i].format);
	}
	free(s->disks);
	for (size_t i = 0; i < s->document_count; i++)
		free(s->documents[i].name);
	free(s->documents);
	free(s);
}

static enum err_code add_string(char ***strings, size_t *count, const char *text, struct err *err)
{
	char **grown = reallocarray(*strings, *count + 1, sizeof(*grown));
	if (!grown)
		return no_memory(err);
	*strings = grown;
	grown[*count] = strdup(text);
	if (!grown[*count])
		return no_memory(err);
	++*count;
	return ERR_OK;
}

enum err_code saveset_add_warning(struct saveset *s, const char *text, struct err *err)
{
	return add_string(&s->warnings, &s->warning_count, text, err);
}

enum err_code saveset_add_tag(struct saveset *s, const char *tag, struct err *err)
{
	return add_string(&s->tags, &s->tag_count, tag, err);
}

enum err_code saveset_add_excluded(struct saveset *s, const char *disk, struct err *err)
{
	return add_string(&s->excluded, &s->excluded_count, disk, err);
}

enum err_code saveset_add_disk(struct saveset *s, const char *name, struct saveset_disk **ret, struct err *err)
{
	struct saveset_disk *grown = reallocarray(s->disks, s->disk_count + 1, sizeof(*grown));
	if (!grown)
		return no_memory(err);
	s->disks = grown;
	grown[s->disk_count] = (struct saveset_disk){.name = strdup(name)};
	if (!grown[s->disk_count].name)
		return no_memory(err);
	*ret = &grown[s->disk_count++];
	return ERR_OK;
}

enum err_code saveset_add_document(struct saveset *s, const char *name, struct saveset_document **ret, struct err *err)
{
	struct saveset_document *grown = reallocarray(s->documents, s->document_count + 1, sizeof(*grown));
	if (!grown)
		return no_memory(err);
	s->documents = grown;
	grown[s->document_count] = (struct saveset_document){.name = strdup(name)};
	if (!grown[s->document_count].name)
		return no_memory(err);
	*ret = &grown[s->document_count++];
	return ERR_OK;
}

struct saveset_bytes saveset_total(const struct saveset *s)
{
	struct saveset_bytes sum = {0};
	for (size_t i = 0; i < s->disk_count; i++) {
		const struct saveset_bytes *b = &s->disks[i].bytes;
		sum.size += b->size;
		sum.data += b->data;
		sum.read += b->read;
		sum.changed += b->changed;
		sum.fresh += b->fresh;
		sum.stored += b->stored;
	}
	return sum;
}
