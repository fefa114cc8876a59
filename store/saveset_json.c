/* SPDX-License-Identifier: Apache-2.0 */
/* A saveset's description as JSON: docs/FORMAT.md, "Savesets". Reading is strict about what matters for a restore
 * (identity, sizes, maps) and indifferent to fields it does not know, so that later versions can add some. */
#include "store/saveset.h"

#include "base/cleanup.h"
#include "store/segment.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { SAVESET_VERSION = 1 };

static void cleanup_json(json_t **value)
{
	json_decref(*value);
}
#define AUTO_JSON __attribute__((cleanup(cleanup_json)))

/* ---- Encoding. A value that could not be made is NULL, and json_object_set_new then fails: `ok` collects that.
 * ---- */

static bool set(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) == 0;
}

static bool set_number(json_t *object, const char *key, uint64_t value)
{
	return set(object, key, json_integer((json_int_t)value));
}

static bool set_text(json_t *object, const char *key, const char *text)
{
	return !text || set(object, key, json_string(text));
}

static bool set_uuid(json_t *object, const char *key, const struct uuid *id)
{
	char text[UUID_TEXT_SIZE];
	return uuid_is_null(id) || set_text(object, key, uuid_format(id, text));
}

static bool set_strings(json_t *object, const char *key, char *const *strings, size_t count)
{
	json_t *array = json_array();
	bool ok = array != NULL;
	for (size_t i = 0; i < count && ok; i++)
		ok = json_array_append_new(array, json_string(strings[i])) == 0;
	return set(object, key, array) && ok;
}

static bool set_map(json_t *object, const struct disk_map *map)
{
	char root[CHUNK_ID_TEXT_SIZE];
	json_t *value = map->has_root ? json_string(hex_format(map->root.bytes, 32, root)) : json_null();
	return set(object, "root", value) && set_number(object, "blocks", map->block_count);
}

static json_t *encode_bytes(const struct saveset_bytes *b)
{
	json_t *o = json_object();
	bool ok = o && set_number(o, "size", b->size) && set_number(o, "data", b->data) &&
		  set_number(o, "read", b->read) && set_number(o, "changed", b->changed) &&
		  set_number(o, "new", b->fresh) && set_number(o, "stored", b->stored);
	if (ok)
		return o;
	json_decref(o);
	return NULL;
}

static json_t *encode_disk(const struct saveset_disk *disk)
{
	json_t *o = json_object();
	bool ok = o && set_text(o, "name", disk->name) && set_uuid(o, "uuid", &disk->uuid) &&
		  set_text(o, "format", disk->format) && set_map(o, &disk->map) &&
		  set(o, "bytes", encode_bytes(&disk->bytes)) && set(o, "compared", json_boolean(disk->compared));
	if (ok)
		return o;
	json_decref(o);
	return NULL;
}

static json_t *encode_document(const struct saveset_document *document)
{
	json_t *o = json_object();
	bool ok = o && set_text(o, "name", document->name) && set_number(o, "length", document->length) &&
		  set_map(o, &document->map);
	if (ok)
		return o;
	json_decref(o);
	return NULL;
}

static bool encode_into(json_t *o, const struct saveset *s)
{
	json_t *disks = json_array();
	json_t *documents = json_array();
	bool ok = set(o, "disks", disks) && set(o, "documents", documents) &&
		  set_number(o, "version", SAVESET_VERSION) && set_uuid(o, "id", &s->id) &&
		  set_text(o, "level", saveset_level_name(s->level_done)) &&
		  set_text(o, "level_asked", saveset_level_name(s->level_asked)) &&
		  set_text(o, "level_reason", s->level_reason) && set_text(o, "vm", s->vm_name) &&
		  set_uuid(o, "vm_uuid", &s->vm_uuid) && set_text(o, "name", s->name) && set_text(o, "note", s->note) &&
		  set_strings(o, "tags", s->tags, s->tag_count) && set_number(o, "start", s->start_unix_s) &&
		  set_number(o, "stop", s->stop_unix_s) && set_strings(o, "excluded", s->excluded, s->excluded_count) &&
		  set_strings(o, "warnings", s->warnings, s->warning_count);
	for (size_t i = 0; i < s->disk_count && ok; i++)
		ok = json_array_append_new(disks, encode_disk(&s->disks[i])) == 0;
	for (size_t i = 0; i < s->document_count && ok; i++)
		ok = json_array_append_new(documents, encode_document(&s->documents[i])) == 0;
	return ok;
}

enum err_code saveset_encode(const struct saveset *s, char **ret, size_t *ret_length, struct err *err)
{
	AUTO_JSON json_t *o = json_object();
	if (!o || !encode_into(o, s))
		return err_set(err, ERR_INVALID, 0,
			       "the description of '%s' cannot be written as JSON: names and notes must be UTF-8",
			       s->vm_name);
	char *text = json_dumps(o, JSON_COMPACT);
	if (!text)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a saveset's description");
	size_t length = strlen(text);
	if (length > RECORD_RAW_MAX) {
		free(text);
		return err_set(err, ERR_LIMIT, 0, "the description of '%s' takes %zu bytes; %u is the most", s->vm_name,
			       length, RECORD_RAW_MAX);
	}
	*ret = text;
	*ret_length = length;
	return ERR_OK;
}

/* ---- Decoding ---- */

static enum err_code malformed(const char *what, struct err *err)
{
	return err_set(err, ERR_CORRUPT, 0, "saveset description: '%s' is missing or malformed", what);
}

static enum err_code get_number(const json_t *o, const char *key, uint64_t *ret, struct err *err)
{
	const json_t *v = json_object_get(o, key);
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return malformed(key, err);
	*ret = (uint64_t)json_integer_value(v);
	return ERR_OK;
}

/* A text field; NULL if it is absent and `optional`. */
static enum err_code get_text(const json_t *o, const char *key, bool optional, char **ret, struct err *err)
{
	const json_t *v = json_object_get(o, key);
	if (!v && optional)
		return ERR_OK;
	if (!json_is_string(v))
		return malformed(key, err);
	*ret = strdup(json_string_value(v));
	return *ret ? ERR_OK : err_set(err, ERR_NO_MEMORY, 0, "no memory for a saveset's description");
}

static enum err_code get_uuid(const json_t *o, const char *key, bool optional, struct uuid *ret, struct err *err)
{
	const json_t *v = json_object_get(o, key);
	if (!v && optional)
		return ERR_OK;
	if (!json_is_string(v) || !uuid_parse(json_string_value(v), ret))
		return malformed(key, err);
	return ERR_OK;
}

static enum err_code get_level(const json_t *o, const char *key, enum saveset_level *ret, struct err *err)
{
	const char *text = json_string_value(json_object_get(o, key));
	for (unsigned level = LEVEL_FULL; text && level <= LEVEL_INC; level++)
		if (strcmp(text, saveset_level_name((enum saveset_level)level)) == 0) {
			*ret = (enum saveset_level)level;
			return ERR_OK;
		}
	return malformed(key, err);
}

static enum err_code get_map(const json_t *o, uint64_t size_bytes, struct disk_map *ret, struct err *err)
{
	TRY(get_number(o, "blocks", &ret->block_count, err));
	if (size_bytes == 0 || size_bytes > UINT64_C(1) << 58 ||
	    ret->block_count != (size_bytes + BLOCK_SIZE - 1) / BLOCK_SIZE)
		return malformed("blocks", err);
	const json_t *root = json_object_get(o, "root");
	if (json_is_null(root))
		return ERR_OK;
	ret->has_root = true;
	if (!json_is_string(root) || !hex_parse(json_string_value(root), ret->root.bytes, sizeof(ret->root.bytes)))
		return malformed("root", err);
	return ERR_OK;
}

typedef enum err_code (*add_string_fn)(struct saveset *s, const char *text, struct err *err);

static enum err_code get_strings(const json_t *o, const char *key, struct saveset *s, add_string_fn add,
				 struct err *err)
{
	const json_t *array = json_object_get(o, key);
	if (array && !json_is_array(array))
		return malformed(key, err);
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *text = json_string_value(json_array_get(array, i));
		if (!text)
			return malformed(key, err);
		TRY(add(s, text, err));
	}
	return ERR_OK;
}

static enum err_code decode_disk(const json_t *o, struct saveset *s, struct err *err)
{
	const char *name = json_string_value(json_object_get(o, "name"));
	const json_t *bytes = json_object_get(o, "bytes");
	if (!name)
		return malformed("name", err);
	struct saveset_disk *disk;
	TRY(saveset_add_disk(s, name, &disk, err));
	TRY(get_uuid(o, "uuid", true, &disk->uuid, err));
	TRY(get_text(o, "format", false, &disk->format, err));
	TRY(get_number(bytes, "size", &disk->bytes.size, err));
	TRY(get_number(bytes, "data", &disk->bytes.data, err));
	TRY(get_number(bytes, "read", &disk->bytes.read, err));
	TRY(get_number(bytes, "changed", &disk->bytes.changed, err));
	TRY(get_number(bytes, "new", &disk->bytes.fresh, err));
	TRY(get_number(bytes, "stored", &disk->bytes.stored, err));
	disk->compared = json_is_true(json_object_get(o, "compared"));
	return get_map(o, disk->bytes.size, &disk->map, err);
}

static enum err_code decode_document(const json_t *o, struct saveset *s, struct err *err)
{
	const char *name = json_string_value(json_object_get(o, "name"));
	if (!name)
		return malformed("name", err);
	struct saveset_document *document;
	TRY(saveset_add_document(s, name, &document, err));
	TRY(get_number(o, "length", &document->length, err));
	return get_map(o, document->length, &document->map, err);
}

static enum err_code decode_into(const json_t *o, struct saveset *s, struct err *err)
{
	TRY(get_uuid(o, "id", false, &s->id, err));
	if (uuid_is_null(&s->id))
		return malformed("id", err);
	TRY(get_level(o, "level", &s->level_done, err));
	TRY(get_level(o, "level_asked", &s->level_asked, err));
	TRY(get_text(o, "level_reason", true, &s->level_reason, err));
	TRY(get_uuid(o, "vm_uuid", true, &s->vm_uuid, err));
	TRY(get_text(o, "name", true, &s->name, err));
	TRY(get_text(o, "note", true, &s->note, err));
	TRY(get_number(o, "start", &s->start_unix_s, err));
	TRY(get_number(o, "stop", &s->stop_unix_s, err));
	TRY(get_strings(o, "tags", s, saveset_add_tag, err));
	TRY(get_strings(o, "excluded", s, saveset_add_excluded, err));
	TRY(get_strings(o, "warnings", s, saveset_add_warning, err));
	const json_t *disks = json_object_get(o, "disks");
	const json_t *documents = json_object_get(o, "documents");
	if (!json_is_array(disks) || !json_is_array(documents))
		return malformed("disks", err);
	for (size_t i = 0; i < json_array_size(disks); i++)
		TRY(decode_disk(json_array_get(disks, i), s, err));
	for (size_t i = 0; i < json_array_size(documents); i++)
		TRY(decode_document(json_array_get(documents, i), s, err));
	return ERR_OK;
}

enum err_code saveset_decode(const void *data, size_t length, struct saveset **ret, struct err *err)
{
	json_error_t why;
	AUTO_JSON json_t *o = json_loadb(data, length, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(o))
		return err_set(err, ERR_CORRUPT, 0, "saveset description is not JSON: %s", why.text);
	uint64_t version;
	TRY(get_number(o, "version", &version, err));
	if (version != SAVESET_VERSION)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "saveset description of version %" PRIu64 ", newer than this program", version);
	const char *vm = json_string_value(json_object_get(o, "vm"));
	if (!vm)
		return malformed("vm", err);
	struct saveset *s;
	TRY(saveset_new(vm, &s, err));
	enum err_code code = decode_into(o, s, err);
	if (code != ERR_OK)
		saveset_free(s);
	else
		*ret = s;
	return code;
}
