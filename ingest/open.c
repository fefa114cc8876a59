/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/open.h"

#include "ingest/detect.h"
#include "ingest/formats.h"
#include "ingest/nbd_connection.h"
#include "ingest/qemu_source.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What opening a source needs to know beyond its name. */
struct source_request {
	const char *spec;
	const char *format;
	bool detected; /* the format was told from the content, not by the user */
};

typedef enum err_code (*source_open_fn)(const struct source_request *request, struct source_set *ret, struct err *err);
typedef enum err_code (*target_open_fn)(const char *spec, const struct target_options *options, const char *disk_name,
					uint64_t size_bytes, struct block_target **ret, struct err *err);

static enum err_code open_raw(const struct source_request *request, struct source_set *ret, struct err *err)
{
	return raw_source_open(request->spec, ret, err);
}

static enum err_code open_vhd(const struct source_request *request, struct source_set *ret, struct err *err)
{
	return vhd_source_open(request->spec, ret, err);
}

static enum err_code open_xva(const struct source_request *request, struct source_set *ret, struct err *err)
{
	if (strcmp(request->spec, "-") == 0)
		return xva_source_open(/* fd= */ 0, "standard input", ret, err);
	return xva_source_open(/* fd= */ -1, request->spec, ret, err);
}

static enum err_code open_nbd(const struct source_request *request, struct source_set *ret, struct err *err)
{
	return nbd_source_open(request->spec, ret, err);
}

static enum err_code open_qemu(const struct source_request *request, struct source_set *ret, struct err *err)
{
	return qemu_source_open_image(request->spec, request->format, !request->detected, ret, err);
}

static const struct source_format {
	const char *name;
	source_open_fn open;
} source_formats[] = {
	{"raw", open_raw},   {"vhd", open_vhd},   {"xva", open_xva},  {"nbd", open_nbd},  {"qcow2", open_qemu},
	{"vmdk", open_qemu}, {"vhdx", open_qemu}, {"vdi", open_qemu}, {"qed", open_qemu}, {"parallels", open_qemu},
};

static const struct target_format {
	const char *name;
	target_open_fn open;
} target_formats[] = {
	{"raw", file_target_open},
	{"vhd", vhd_target_open},
	{"nbd", nbd_target_open},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NAMES_SIZE 128

static char source_names[NAMES_SIZE];
static char target_names[NAMES_SIZE];

static void add_name(char list[static NAMES_SIZE], const char *name)
{
	size_t used = strlen(list);
	snprintf(list + used, NAMES_SIZE - used, "%s%s", used ? ", " : "", name);
}

static void make_names(void)
{
	for (size_t i = 0; i < COUNT(source_formats); i++)
		add_name(source_names, source_formats[i].name);
	for (size_t i = 0; i < COUNT(target_formats); i++)
		add_name(target_names, target_formats[i].name);
}

static pthread_once_t names_once = PTHREAD_ONCE_INIT;

const char *source_format_names(void)
{
	pthread_once(&names_once, make_names);
	return source_names;
}

const char *target_format_names(void)
{
	pthread_once(&names_once, make_names);
	return target_names;
}

/* "scheme://" in front, which no sensible file name has. */
static bool is_address(const char *spec)
{
	size_t scheme = strspn(spec, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");
	return scheme > 0 && strncmp(spec + scheme, "://", 3) == 0;
}

/* Settles the format of a spec; a wrong combination is refused here, so that the formats need not think of it. */
static enum err_code settle_format(struct source_request *request, struct err *err)
{
	const char *spec = request->spec;
	const char *format = request->format;
	if (!*spec)
		return err_set(err, ERR_INVALID, 0, "the name of a disk is empty");
	if (strcmp(spec, "-") == 0) {
		if (format && strcmp(format, "xva") != 0)
			return err_set(err, ERR_UNSUPPORTED, 0,
				       "standard input is read as xva only; give a disk of format %s as a file",
				       format);
		request->format = "xva";
	} else if (is_address(spec)) {
		if (!nbd_is_address(spec))
			return err_set(err, ERR_UNSUPPORTED, 0,
				       "'%s' is no address that can be read; nbd://, nbds://, nbd+unix:// and "
				       "nbds+unix:// can",
				       spec);
		if (format && strcmp(format, "nbd") != 0)
			return err_set(err, ERR_UNSUPPORTED, 0,
				       "what '%s' serves is read as it is; format %s is for files", spec, format);
		request->format = "nbd";
	} else if (!format) {
		request->detected = true;
		return detect_format(spec, &request->format, err);
	} else if (strcmp(format, "nbd") == 0) {
		return err_set(err, ERR_INVALID, 0, "'%s' is not an nbd address", spec);
	}
	return ERR_OK;
}

enum err_code source_open(const char *spec, const char *format, struct source_set *ret, struct err *err)
{
	const struct source_format *row = NULL;
	struct source_request request = {.spec = spec, .format = format};
	for (size_t i = 0; format && i < COUNT(source_formats); i++)
		if (strcmp(source_formats[i].name, format) == 0)
			row = &source_formats[i];
	if (format && !row)
		return err_set(err, ERR_INVALID, 0, "there is no format '%s'; known are %s", format,
			       source_format_names());
	TRY(settle_format(&request, err));
	for (size_t i = 0; !row && i < COUNT(source_formats); i++)
		if (strcmp(source_formats[i].name, request.format) == 0)
			row = &source_formats[i];
	if (!row)
		return err_set(err, ERR_BUG, 0, "format '%s' of '%s' has no row", request.format, spec);
	return row->open(&request, ret, err);
}

void source_set_release(struct source_set *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->count; i++)
		block_source_close(set->sources[i]);
	free(set->sources);
	for (size_t i = 0; i < set->document_count; i++)
		free(set->documents[i].data);
	free(set->documents);
	if (set->release)
		set->release(set->owner);
	*set = (struct source_set){0};
}

enum err_code target_open(const char *spec, const struct target_options *options, const char *disk_name,
			  uint64_t size_bytes, struct block_target **ret, struct err *err)
{
	if (!*spec)
		return err_set(err, ERR_INVALID, 0, "the name of the target is empty");
	if (is_address(spec) && !nbd_is_address(spec))
		return err_set(err, ERR_UNSUPPORTED, 0, "'%s' is no address that can be written; use an nbd address",
			       spec);
	bool address = nbd_is_address(spec);
	const char *format = options->format ? options->format : address ? "nbd" : "raw";
	if (address != (strcmp(format, "nbd") == 0))
		return err_set(err, ERR_UNSUPPORTED, 0, "'%s' cannot be written in format %s", spec, format);
	if (strcmp(spec, "-") == 0 && strcmp(format, "raw") != 0)
		return err_set(err, ERR_UNSUPPORTED, 0, "standard output can be written as raw only");
	for (size_t i = 0; i < COUNT(target_formats); i++)
		if (strcmp(target_formats[i].name, format) == 0)
			return target_formats[i].open(spec, options, disk_name, size_bytes, ret, err);
	return err_set(err, ERR_INVALID, 0, "there is no target format '%s'; known are %s", format,
		       target_format_names());
}
