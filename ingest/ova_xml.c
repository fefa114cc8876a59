/* SPDX-License-Identifier: Apache-2.0 */
/* The document is walked once, as a sequence of nodes. What counts is where a leaf value stands, which is a path of
 * member names: "version/export_vsn", "objects/[]/class", "objects/[]/snapshot/name_label". The walker keeps that path,
 * checks that elements are nested as XML-RPC has it, and hands each leaf to take_leaf. */
#include "ingest/ova_xml.h"

#include <libxml/xmlreader.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "ingest/ova_internal.h"

#define KEY_MAX 63u    /* bytes of a member's name; the longest that matters is far shorter */
#define TEXT_MAX 1023u /* bytes of a leaf that are kept: more than any field of interest */
#define VALUES_MAX 32u /* nested values; records have about six */
#define ELEMENTS_MAX (VALUES_MAX * 4)

enum element {
	ELEMENT_ROOT, /* the document itself */
	ELEMENT_VALUE,
	ELEMENT_STRUCT,
	ELEMENT_MEMBER,
	ELEMENT_NAME,
	ELEMENT_ARRAY,
	ELEMENT_DATA,
	ELEMENT_SCALAR, /* string, int, boolean, ...: all are text to us */
};

/* One level of nested values. */
struct level {
	char key[KEY_MAX + 1]; /* the member's name, or "[]" in an array; empty for the outermost */
	bool has_child;        /* a struct or array: not a leaf */
	bool has_scalar;       /* its text is the scalar's; around it is only layout */
};

struct walker {
	xmlTextReaderPtr reader;
	enum element elements[ELEMENTS_MAX]; /* the open ones; [0] is ELEMENT_ROOT */
	unsigned element_count;
	struct level levels[VALUES_MAX]; /* the open values */
	unsigned level_count;
	char name[KEY_MAX + 1]; /* of the latest member */
	char text[TEXT_MAX + 1];
	size_t text_length;
	struct ova_object object; /* the entry of "objects" being read */
	struct ova_records records;
	char xml_error[256]; /* what libxml2 said first */
};

static const struct {
	const char *name;
	enum element element;
} element_names[] = {
	{"value", ELEMENT_VALUE},    {"struct", ELEMENT_STRUCT},
	{"member", ELEMENT_MEMBER},  {"name", ELEMENT_NAME},
	{"array", ELEMENT_ARRAY},    {"data", ELEMENT_DATA},
	{"string", ELEMENT_SCALAR},  {"int", ELEMENT_SCALAR},
	{"i4", ELEMENT_SCALAR},      {"i8", ELEMENT_SCALAR},
	{"boolean", ELEMENT_SCALAR}, {"double", ELEMENT_SCALAR},
	{"base64", ELEMENT_SCALAR},  {"dateTime.iso8601", ELEMENT_SCALAR},
	{"nil", ELEMENT_SCALAR},
};

/* Which elements may stand in which. */
static bool may_contain(enum element outer, enum element inner)
{
	switch (outer) {
	case ELEMENT_ROOT:
	case ELEMENT_DATA:
		return inner == ELEMENT_VALUE;
	case ELEMENT_VALUE:
		return inner == ELEMENT_STRUCT || inner == ELEMENT_ARRAY || inner == ELEMENT_SCALAR;
	case ELEMENT_STRUCT:
		return inner == ELEMENT_MEMBER;
	case ELEMENT_MEMBER:
		return inner == ELEMENT_NAME || inner == ELEMENT_VALUE;
	case ELEMENT_ARRAY:
		return inner == ELEMENT_DATA;
	default:
		return false;
	}
}

static void text_append(struct walker *w, const char *text)
{
	size_t n = strlen(text);
	if (n > TEXT_MAX - w->text_length)
		n = TEXT_MAX - w->text_length;
	memcpy(w->text + w->text_length, text, n);
	w->text_length += n;
	w->text[w->text_length] = '\0';
}

/* The text of a leaf without the blanks around it, which layout may have put there. */
static const char *text_word(struct walker *w)
{
	const char *blanks = " \t\r\n";
	char *p = w->text + strspn(w->text, blanks);
	size_t n = strlen(p);
	while (n && strchr(blanks, p[n - 1]))
		n--;
	p[n] = '\0';
	return p;
}

/* A text that may be cut, but only between two UTF-8 characters; without control characters. */
static void take_label(const struct walker *w, char dst[static OVA_NAME_MAX + 1])
{
	size_t n = w->text_length;
	if (n > OVA_NAME_MAX) {
		n = OVA_NAME_MAX;
		while (n && ((unsigned char)w->text[n] & 0xc0) == 0x80)
			n--;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)w->text[i];
		dst[i] = (char)(c < 0x20 || c == 0x7f ? '_' : c);
	}
	dst[n] = '\0';
}

/* A text that must fit. */
static enum err_code take_word(struct walker *w, const char *what, char *dst, size_t size, struct err *err)
{
	const char *word = text_word(w);
	size_t n = strlen(word);
	if (n >= size)
		return err_set(err, ERR_CORRUPT, 0, "ova.xml: the %s of an object has more than %zu characters", what,
			       size - 1);
	memcpy(dst, word, n + 1);
	return ERR_OK;
}

static enum err_code take_number(struct walker *w, const char *what, uint64_t max, uint64_t *ret, struct err *err)
{
	struct err cause = {0};
	if (number_parse(text_word(w), what, 0, max, ret, &cause) != ERR_OK)
		return err_set(err, ERR_CORRUPT, 0, "ova.xml: %s", cause.msg);
	return ERR_OK;
}

static void take_bool(struct walker *w, bool *ret)
{
	const char *word = text_word(w);
	*ret = strcmp(word, "1") == 0 || strcmp(word, "true") == 0;
}

static void take_class(struct walker *w, struct ova_object *object)
{
	static const struct {
		const char *name;
		enum ova_class class;
	} classes[] = {{"VM", OVA_VM}, {"VBD", OVA_VBD}, {"VDI", OVA_VDI}, {"SR", OVA_SR}};
	const char *word = text_word(w);
	object->class = OVA_OTHER;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strcmp(word, classes[i].name) == 0)
			object->class = classes[i].class;
}

/* A field of a record. Other classes have fields of the same name and another meaning, so what is too long for us is an
 * error only where the class turns out to matter: it is kept as empty, which the check of references refuses. */
static void take_field(struct walker *w, const char *key, struct ova_object *object)
{
	const struct {
		const char *key;
		char *dst;
		size_t size;
	} words[] = {
		{"uuid", object->uuid, sizeof(object->uuid)},
		{"type", object->type, sizeof(object->type)},
		{"userdevice", object->userdevice, sizeof(object->userdevice)},
		{"VDI", object->vdi, sizeof(object->vdi)},
		{"SR", object->sr, sizeof(object->sr)},
		{"content_type", object->content_type, sizeof(object->content_type)},
	};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(key, words[i].key) == 0 &&
		    take_word(w, key, words[i].dst, words[i].size, /* err= */ NULL) != ERR_OK)
			words[i].dst[0] = '\0';
	if (strcmp(key, "name_label") == 0)
		take_label(w, object->name_label);
	else if (strcmp(key, "virtual_size") == 0 &&
		 take_number(w, key, INT64_MAX, &object->virtual_size, /* err= */ NULL) != ERR_OK)
		object->virtual_size = 0;
	else if (strcmp(key, "is_a_snapshot") == 0)
		take_bool(w, &object->is_a_snapshot);
	else if (strcmp(key, "is_control_domain") == 0)
		take_bool(w, &object->is_control_domain);
}

/* A value without children has ended. levels[0] is the outermost value, so a path of k names is k + 1 levels. */
static enum err_code take_leaf(struct walker *w, struct err *err)
{
	const struct level *levels = w->levels;
	bool in_object = w->level_count >= 4 && strcmp(levels[1].key, "objects") == 0 && !strcmp(levels[2].key, "[]");
	if (w->level_count == 3 && strcmp(levels[1].key, "version") == 0 && strcmp(levels[2].key, "export_vsn") == 0) {
		uint64_t version = 0;
		TRY(take_number(w, "export_vsn", 1000, &version, err));
		w->records.export_version = (unsigned)version;
	} else if (in_object && w->level_count == 4 && strcmp(levels[3].key, "class") == 0) {
		take_class(w, &w->object);
	} else if (in_object && w->level_count == 4 && strcmp(levels[3].key, "id") == 0) {
		TRY(take_word(w, "id", w->object.id, sizeof(w->object.id), err));
	} else if (in_object && w->level_count == 5 && strcmp(levels[3].key, "snapshot") == 0) {
		take_field(w, levels[4].key, &w->object);
	}
	return ERR_OK;
}

/* An entry of "objects" has ended. */
static enum err_code take_object(struct walker *w, struct err *err)
{
	struct ova_records *r = &w->records;
	if (w->object.class != OVA_OTHER) {
		if (r->count == OVA_OBJECTS_MAX)
			return err_set(err, ERR_LIMIT, 0, "ova.xml has more than %u objects", OVA_OBJECTS_MAX);
		if (r->count == r->room) {
			size_t room = r->room ? r->room * 2 : 64;
			struct ova_object *grown = reallocarray(r->objects, room, sizeof(*grown));
			if (!grown)
				return err_set(err, ERR_NO_MEMORY, 0, "no memory to read ova.xml");
			r->objects = grown;
			r->room = room;
		}
		r->objects[r->count++] = w->object;
	}
	w->object = (struct ova_object){0};
	return ERR_OK;
}

static enum err_code value_begin(struct walker *w, enum element outer, struct err *err)
{
	if (w->level_count == VALUES_MAX)
		return err_set(err, ERR_LIMIT, 0, "ova.xml nests values more than %u deep", VALUES_MAX);
	struct level *level = &w->levels[w->level_count++];
	*level = (struct level){0};
	if (outer == ELEMENT_MEMBER)
		memcpy(level->key, w->name, sizeof(level->key));
	else if (outer == ELEMENT_DATA)
		memcpy(level->key, "[]", sizeof("[]"));
	return ERR_OK;
}

static enum err_code value_end(struct walker *w, struct err *err)
{
	bool is_object = w->level_count == 3 && strcmp(w->levels[1].key, "objects") == 0;
	if (!w->levels[w->level_count - 1].has_child)
		TRY(take_leaf(w, err));
	else if (is_object)
		TRY(take_object(w, err));
	w->level_count--;
	return ERR_OK;
}

static enum err_code element_begin(struct walker *w, const char *name, struct err *err)
{
	enum element inner = ELEMENT_ROOT;
	for (size_t i = 0; i < sizeof(element_names) / sizeof(element_names[0]); i++)
		if (strcmp(name, element_names[i].name) == 0)
			inner = element_names[i].element;
	enum element outer = w->elements[w->element_count - 1];
	if (!may_contain(outer, inner))
		return err_set(err, ERR_CORRUPT, 0,
			       "ova.xml: line %d has a <%.32s> where an XML-RPC value cannot have one",
			       xmlTextReaderGetParserLineNumber(w->reader), name);
	if (w->element_count == ELEMENTS_MAX)
		return err_set(err, ERR_LIMIT, 0, "ova.xml nests elements more than %u deep", ELEMENTS_MAX);
	w->elements[w->element_count++] = inner;
	if (inner == ELEMENT_VALUE)
		TRY(value_begin(w, outer, err));
	else if (inner == ELEMENT_STRUCT || inner == ELEMENT_ARRAY)
		w->levels[w->level_count - 1].has_child = true;
	else if (inner == ELEMENT_SCALAR)
		w->levels[w->level_count - 1].has_scalar = true;
	else if (inner == ELEMENT_MEMBER)
		w->name[0] = '\0';
	/* A scalar's text replaces the layout between <value> and <string>. */
	w->text_length = 0;
	w->text[0] = '\0';
	return ERR_OK;
}

static enum err_code element_end(struct walker *w, struct err *err)
{
	switch (w->elements[--w->element_count]) {
	case ELEMENT_NAME:
		/* A name that is too long is none of ours; cut, it could not become one of ours either. */
		snprintf(w->name, sizeof(w->name), "%.*s", KEY_MAX, w->text);
		return ERR_OK;
	case ELEMENT_VALUE:
		return value_end(w, err);
	default:
		return ERR_OK;
	}
}

/* Text counts in a name, in a scalar, and in a value that has no elements. */
static void take_text(struct walker *w)
{
	enum element outer = w->elements[w->element_count - 1];
	bool bare = outer == ELEMENT_VALUE && !w->levels[w->level_count - 1].has_scalar;
	const xmlChar *text = xmlTextReaderConstValue(w->reader);
	if (text && (bare || outer == ELEMENT_NAME || outer == ELEMENT_SCALAR))
		text_append(w, (const char *)text);
}

static enum err_code take_node(struct walker *w, struct err *err)
{
	switch (xmlTextReaderNodeType(w->reader)) {
	case XML_READER_TYPE_ELEMENT: {
		bool empty = xmlTextReaderIsEmptyElement(w->reader) == 1;
		const xmlChar *name = xmlTextReaderConstLocalName(w->reader);
		TRY(element_begin(w, name ? (const char *)name : "", err));
		return empty ? element_end(w, err) : ERR_OK;
	}
	case XML_READER_TYPE_END_ELEMENT:
		return element_end(w, err);
	case XML_READER_TYPE_TEXT:
	case XML_READER_TYPE_CDATA:
	case XML_READER_TYPE_WHITESPACE:
	case XML_READER_TYPE_SIGNIFICANT_WHITESPACE:
		take_text(w);
		return ERR_OK;
	case XML_READER_TYPE_DOCUMENT_TYPE:
	case XML_READER_TYPE_ENTITY:
	case XML_READER_TYPE_ENTITY_REFERENCE:
		return err_set(err, ERR_CORRUPT, 0, "ova.xml declares or uses entities, which no export does");
	default:
		return ERR_OK;
	}
}

#if LIBXML_VERSION >= 21200
typedef const xmlError *reported_error;
#else
typedef xmlErrorPtr reported_error;
#endif

/* libxml2 reports here instead of on standard error: the reader, and by way of its thread's handler what knows of no
 * reader, such as the conversion of encodings. */
static void take_xml_error(void *user, reported_error error)
{
	struct walker *w = user;
	if (w->xml_error[0] || !error || !error->message)
		return;
	snprintf(w->xml_error, sizeof(w->xml_error), "line %d: %s", error->line, error->message);
	for (char *p = w->xml_error; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	for (size_t n = strlen(w->xml_error); n && w->xml_error[n - 1] == ' '; n--)
		w->xml_error[n - 1] = '\0';
}

/* The one place where libxml2 is opened. NONET: nothing is fetched. Left out on purpose: NOENT (entities stay
 * unexpanded), DTDLOAD, DTDATTR and DTDVALID (no external subset), HUGE (libxml2's own limits on depth, text and
 * expansion stay in force); see libxml2's xmlParserOption. */
static enum err_code reader_open(const uint8_t *xml, size_t n, struct walker *w, struct err *err)
{
	if (n > OVA_XML_MAX)
		return err_set(err, ERR_LIMIT, 0, "ova.xml has more than %llu MiB",
			       (unsigned long long)(OVA_XML_MAX / MIB));
	w->reader = xmlReaderForMemory((const char *)xml, (int)n, "ova.xml", /* encoding= */ NULL,
				       XML_PARSE_NONET | XML_PARSE_COMPACT);
	if (!w->reader)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read ova.xml");
	xmlTextReaderSetStructuredErrorHandler(w->reader, take_xml_error, w);
	return ERR_OK;
}

static enum err_code walk(struct walker *w, struct err *err)
{
	int more;
	w->elements[w->element_count++] = ELEMENT_ROOT;
	while ((more = xmlTextReaderRead(w->reader)) == 1) {
		/* libxml2 goes on after an undeclared entity and the like; such a document is not trusted here. */
		if (w->xml_error[0])
			break;
		TRY(take_node(w, err));
	}
	if (more != 0)
		return err_set(err, ERR_CORRUPT, 0, "ova.xml is not well-formed: %s",
			       w->xml_error[0] ? w->xml_error : "no cause given");
	return ERR_OK;
}

static enum err_code parse(struct walker *w, const uint8_t *xml, size_t n, struct ova *ova, struct err *err)
{
	TRY(reader_open(xml, n, w, err));
	TRY(walk(w, err));
	return ova_find_disks(&w->records, ova, err);
}

enum err_code ova_xml_parse(const uint8_t *xml, size_t n, struct ova *ret, struct err *err)
{
	AUTO_FREE struct walker *w = calloc(1, sizeof(*w));
	if (!w)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to read ova.xml");
	struct ova ova = {0};
	xmlSetStructuredErrorFunc(w, take_xml_error);
	enum err_code code = parse(w, xml, n, &ova, err);
	xmlFreeTextReader(w->reader);
	xmlSetStructuredErrorFunc(NULL, NULL);
	free(w->records.objects);
	if (code == ERR_OK)
		*ret = ova;
	else
		ova_release(&ova);
	return code;
}

void ova_release(struct ova *ova)
{
	free(ova->disks);
	*ova = (struct ova){0};
}
