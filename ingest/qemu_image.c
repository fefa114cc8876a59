/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/qemu_image.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/size.h"
#include "ingest/child_process.h"

#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INFO_TIMEOUT_MS 30000
#define INFO_TEXT_MAX (4u << 20)
/* QEMU reads no more of a VMDK descriptor. */
#define VMDK_DESCRIPTOR_MAX (1u << 20)
/* Longer chains are slow beyond use; a loop ends here too. */
#define CHAIN_MAX 64

/* QCOW2 specification, "Header": version at byte 4; incompatible features at byte 72 from version 3 on, bit 2: external
 * data file. */
#define QCOW2_HEADER_BYTES 80
#define QCOW2_EXTERNAL_DATA (1u << 2)

/* VMDK 5.0, "Hosted Sparse Extent Header": descriptor's offset and size in sectors at bytes 28 and 36. */
#define VMDK_HEADER_BYTES 44

DEFINE_CLEANUP(json, json_t, json_decref)

static bool in_same_directory(const char *a, const char *b)
{
	size_t directory = (size_t)(strrchr(a, '/') - a);
	return strncmp(a, b, directory + 1) == 0 && !strchr(b + directory + 1, '/');
}

/* Resolves `path` to a regular file. Gives *ret. */
static enum err_code resolve(const char *path, char **ret, struct err *err)
{
	struct stat st;
	AUTO_FREE char *real = realpath(path, NULL);
	if (!real || stat(real, &st) < 0)
		return err_errno(err, "cannot open '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, ERR_UNSUPPORTED, 0, "'%s' is not a regular file", path);
	*ret = TAKE_PTR(real);
	return ERR_OK;
}

/* Resolves the file that `image` names as its `role`, which must lie beside it. Gives *ret. */
static enum err_code resolve_reference(const char *image, const char *role, const char *reference, char **ret,
				       struct err *err)
{
	AUTO_FREE char *real = NULL;
	if (reference[0] != '/')
		return err_set(err, ERR_UNSUPPORTED, 0, "'%s' names '%s' as its %s, which is not a file", image,
			       reference, role);
	if (resolve(reference, &real, err) != ERR_OK) {
		err_context(err, "%s of '%s'", role, image);
		return err ? err->code : ERR_NOT_FOUND;
	}
	if (!in_same_directory(image, real))
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s' names '%s' as its %s, which lies in another directory; such references are not "
			       "followed",
			       image, reference, role);
	*ret = TAKE_PTR(real);
	return ERR_OK;
}

/* True if the text up to `end` starts with `word` and white space. */
static bool starts_with_word(const char *text, const char *end, const char *word)
{
	size_t n = strlen(word);
	return (size_t)(end - text) > n && memcmp(text, word, n) == 0 && isspace((unsigned char)text[n]);
}

/* Reads as loosely as QEMU does, which lets any white space, line ends too, stand between the words of an extent. */
bool vmdk_next_extent(const char *text, size_t length, size_t *position, char *dst, size_t size)
{
	const char *end = text + length;
	while (*position < length) {
		const char *line = text + *position;
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		*position = newline ? (size_t)(newline + 1 - text) : length;
		while (line < end && isspace((unsigned char)*line))
			line++;
		if (!starts_with_word(line, end, "RW") && !starts_with_word(line, end, "RDONLY") &&
		    !starts_with_word(line, end, "NOACCESS"))
			continue;
		const char *open = memchr(line, '"', (size_t)(end - line));
		if (!open)
			return false; /* extents of zeroes, and no names behind them */
		size_t n = 0;
		while (open + 1 + n < end && !strchr("\"\r\n", open[1 + n]))
			n++;
		snprintf(dst, size, "%.*s", (int)n, open + 1);
		return true;
	}
	return false;
}

/* An extent that exists must be a file beside the image, also through symbolic links; one that does not is for QEMU to
 * report (the descriptor inside a monolithic image may hold an old name of its own). */
static enum err_code check_extent_name(const char *image, const char *name, struct err *err)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%.*s/%s", (int)(strrchr(image, '/') - image), image, name);
	if (strchr(name, '/') || strchr(name, ':') || n >= (int)sizeof(path))
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s' names '%s' as an extent, which does not lie in its own directory", image, name);
	if (access(path, F_OK) < 0)
		return ERR_OK;
	AUTO_FREE char *real = NULL;
	return resolve_reference(image, "extent", path, &real, err);
}

static enum err_code check_vmdk_names(int fd, const uint8_t *head, const char *image, struct err *err)
{
	uint64_t offset = 0;
	uint64_t length = VMDK_DESCRIPTOR_MAX;
	if (memcmp(head, "KDMV", 4) == 0) {
		uint64_t sector = le64_get(head + 28);
		uint64_t sectors = le64_get(head + 36);
		if (sector == 0)
			return ERR_OK;
		if (sector > (UINT64_C(1) << 40))
			return err_set(err, ERR_CORRUPT, 0, "'%s' has its descriptor at an absurd offset", image);
		offset = sector * 512;
		length = min_u64(sectors, VMDK_DESCRIPTOR_MAX / 512) * 512;
	}
	AUTO_FREE char *text = malloc(VMDK_DESCRIPTOR_MAX);
	if (!text)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to check '%s'", image);
	ssize_t n = pread(fd, text, length, (off_t)offset);
	if (n < 0)
		return err_errno(err, "cannot read '%s'", image);
	char name[NAME_MAX + 2];
	size_t position = 0;
	while (vmdk_next_extent(text, (size_t)n, &position, name, sizeof(name)))
		TRY(check_extent_name(image, name, err));
	return ERR_OK;
}

/* What must be known before QEMU opens the file, since it opens what the file names with it. */
static enum err_code check_before_open(const char *image, const char *format, struct err *err)
{
	uint8_t head[QCOW2_HEADER_BYTES] = {0};
	static_assert(sizeof(head) >= VMDK_HEADER_BYTES, "both headers fit");
	AUTO_CLOSE int fd = open(image, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, head, sizeof(head), 0) < 0)
		return err_errno(err, "cannot read '%s'", image);
	if (strcmp(format, "vmdk") == 0)
		return check_vmdk_names(fd, head, image, err);
	if (strcmp(format, "qcow2") == 0 && be32_get(head + 4) >= 3 && (be64_get(head + 72) & QCOW2_EXTERNAL_DATA))
		return err_set(
			err, ERR_UNSUPPORTED, 0,
			"'%s' keeps its data in an external file, which is not followed; convert it with qemu-img",
			image);
	return ERR_OK;
}

/* What qemu-img says about the image. Gives *ret. */
static enum err_code ask_qemu(const char *image, const char *format, json_t **ret, struct err *err)
{
	const char *const argv[] = {"qemu-img", "info", "-f", format, "--output=json", "--", image, NULL};
	const struct child_limits limits = {.memory_bytes = 2 * GIB, .output_bytes = INFO_TEXT_MAX};
	AUTO(cleanup_child) struct child *child = NULL;
	struct err why = {0};
	enum err_code code = child_start(argv, &limits, &child, &why);
	if (code == ERR_NOT_FOUND)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s' is read by QEMU, and qemu-img is absent; install qemu-utils", image);
	if (code != ERR_OK)
		return err_set(err, code, 0, "%s", why.msg);
	char words[256];
	if (!child_wait(child, INFO_TIMEOUT_MS))
		return err_set(err, ERR_TIMEOUT, 0, "qemu-img does not come to an end with '%s'", image);
	if (!child_succeeded(child))
		return err_set(err, ERR_CORRUPT, 0, "'%s' cannot be read as %s: %s", image, format,
			       child_last_words(child, words, sizeof(words)));
	AUTO_FREE char *text = NULL;
	size_t length;
	TRY(child_output(child, INFO_TEXT_MAX, &text, &length, err));
	json_error_t error;
	json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
	if (!json)
		return err_set(err, ERR_CORRUPT, 0, "qemu-img says about '%s' what is not understood: %s", image,
			       error.text);
	*ret = json;
	return ERR_OK;
}

static enum err_code check_named_files(const char *image, const json_t *info, struct err *err)
{
	const json_t *data = json_object_get(json_object_get(info, "format-specific"), "data");
	if (json_object_get(data, "data-file"))
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s' keeps its data in an external file, which is not followed", image);
	const json_t *extents = json_object_get(data, "extents");
	for (size_t i = 0; i < json_array_size(extents); i++) {
		const char *name = json_string_value(json_object_get(json_array_get(extents, i), "filename"));
		AUTO_FREE char *real = NULL;
		if (name)
			TRY(resolve_reference(image, "extent", name, &real, err));
	}
	return ERR_OK;
}

/* Checks one image of the chain. *ret_next and *ret_format are its backing file (gives both), or NULL. */
static enum err_code check_image(const char *image, const char *format, bool follow, char **ret_next, char **ret_format,
				 struct err *err)
{
	TRY(check_before_open(image, format, err));
	AUTO(cleanup_json) json_t *info = NULL;
	TRY(ask_qemu(image, format, &info, err));
	TRY(check_named_files(image, info, err));
	const char *backing = json_string_value(json_object_get(info, "backing-filename"));
	const char *full = json_string_value(json_object_get(info, "full-backing-filename"));
	const char *backing_format = json_string_value(json_object_get(info, "backing-filename-format"));
	*ret_next = NULL;
	*ret_format = NULL;
	if (!backing && !full)
		return ERR_OK;
	if (!follow)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s' names '%s' as its backing file; if that is meant to be read, give --format %s",
			       image, backing ? backing : full, format);
	if (!backing_format)
		return err_set(
			err, ERR_UNSUPPORTED, 0,
			"'%s' does not say which format its backing file '%s' has; set it with qemu-img rebase -u -F",
			image, backing ? backing : full);
	AUTO_FREE char *next = NULL;
	TRY(resolve_reference(image, "backing file", full ? full : backing, &next, err));
	*ret_format = strdup(backing_format);
	if (!*ret_format)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to check '%s'", image);
	*ret_next = TAKE_PTR(next);
	return ERR_OK;
}

enum err_code qemu_image_check(const char *path, const char *format, bool follow, char **ret_path, struct err *err)
{
	AUTO_FREE char *first = NULL;
	TRY(resolve(path, &first, err));
	AUTO_FREE char *image = strdup(first);
	AUTO_FREE char *image_format = strdup(format);
	for (unsigned depth = 0; image && image_format && strcmp(image_format, "raw") != 0; depth++) {
		if (depth == CHAIN_MAX)
			return err_set(err, ERR_LIMIT, 0, "'%s' has a chain of more than %d backing files, or a loop",
				       path, CHAIN_MAX);
		AUTO_FREE char *next = NULL;
		AUTO_FREE char *next_format = NULL;
		TRY(check_image(image, image_format, follow, &next, &next_format, err));
		if (!next) {
			*ret_path = TAKE_PTR(first);
			return ERR_OK;
		}
		free(image);
		free(image_format);
		image = TAKE_PTR(next);
		image_format = TAKE_PTR(next_format);
	}
	if (!image || !image_format)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to check '%s'", path);
	*ret_path = TAKE_PTR(first);
	return ERR_OK;
}
