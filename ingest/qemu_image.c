/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/qemu_image.h"

#include "base/cleanup.h"
#include "base/endian.h"
#include "base/size.h"
#include "ingest/image_file.h"
#include "ingest/qemu_tool.h"
#include "ingest/qemu_whole.h"

#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
#define VMDK_SECTOR_BYTES 512

#define WHITE_SPACE " \t\n\v\f\r"

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

/* What a descriptor says of an extent. */
struct extent {
	char name[NAME_MAX + 2];
	uint64_t flat_bytes; /* how long the file of a flat one must be at least, otherwise 0 */
};

/* `sectors` after the sector `offset`; UINT64_MAX if that is absurd. */
static uint64_t end_of_sectors(uint64_t offset, uint64_t sectors)
{
	uint64_t max = UINT64_MAX / VMDK_SECTOR_BYTES;
	return offset > max || sectors > max - offset ? UINT64_MAX : (offset + sectors) * VMDK_SECTOR_BYTES;
}

/* The number after leading white space, a very large one if it does not fit, 0 if there is none; *text is behind it. */
static uint64_t take_number(char **text)
{
	uint64_t number = 0;
	char *p = *text + strspn(*text, WHITE_SPACE);
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(number, 10u, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(*p - '0'), &number))
			number = UINT64_MAX / 16;
	*text = p;
	return number;
}

/* Reads the words before the name, `ACCESS SECTORS TYPE`, and the offset behind it. */
static uint64_t flat_extent_bytes(const char *words, size_t length, const char *behind, size_t behind_length)
{
	char text[96];
	char number[32];
	snprintf(text, sizeof(text), "%.*s", (int)min_u64(length, sizeof(text) - 1), words);
	snprintf(number, sizeof(number), "%.*s", (int)min_u64(behind_length, sizeof(number) - 1), behind);
	char *type = text + strcspn(text, WHITE_SPACE);
	uint64_t sectors = take_number(&type);
	type += strspn(type, WHITE_SPACE);
	type[strcspn(type, WHITE_SPACE)] = '\0';
	if (strcmp(type, "VMFS") == 0)
		return end_of_sectors(0, sectors); /* always the whole file */
	char *offset = number;
	return strcmp(type, "FLAT") == 0 ? end_of_sectors(take_number(&offset), sectors) : 0;
}

/* Reads as loosely as QEMU does, which lets any white space, line ends too, stand between the words of an extent. */
static bool next_extent(const char *text, size_t length, size_t *position, struct extent *ret)
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
		snprintf(ret->name, sizeof(ret->name), "%.*s", (int)n, open + 1);
		const char *behind = open + 1 + n + (open + 1 + n < end);
		ret->flat_bytes = flat_extent_bytes(line, (size_t)(open - line), behind, (size_t)(end - behind));
		return true;
	}
	return false;
}

bool vmdk_next_extent(const char *text, size_t length, size_t *position, char *dst, size_t size)
{
	struct extent extent;
	if (!next_extent(text, length, position, &extent))
		return false;
	snprintf(dst, size, "%s", extent.name);
	return true;
}

/* An extent that exists must be a file beside the image, also through symbolic links, and a flat one must be long
 * enough; one that does not exist is for QEMU to report (the descriptor inside a monolithic image may hold an old name
 * of its own). */
static enum err_code check_extent(const char *image, const struct extent *extent, struct err *err)
{
	char path[PATH_MAX];
	const char *name = extent->name;
	int n = snprintf(path, sizeof(path), "%.*s/%s", (int)(strrchr(image, '/') - image), image, name);
	if (strchr(name, '/') || strchr(name, ':') || n >= (int)sizeof(path))
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s' names '%s' as an extent, which does not lie in its own directory", image, name);
	if (access(path, F_OK) < 0)
		return ERR_OK;
	AUTO_FREE char *real = NULL;
	AUTO(image_file_close) struct image_file file = IMAGE_FILE_NONE;
	TRY(resolve_reference(image, "extent", path, &real, err));
	TRY(image_file_open(real, &file, err));
	return image_file_need(&file, 0, extent->flat_bytes, err);
}

static enum err_code check_vmdk_extents(int fd, const uint8_t *head, const char *image, struct err *err)
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
		offset = sector * VMDK_SECTOR_BYTES;
		length = min_u64(sectors, VMDK_DESCRIPTOR_MAX / VMDK_SECTOR_BYTES) * VMDK_SECTOR_BYTES;
	}
	AUTO_FREE char *text = malloc(VMDK_DESCRIPTOR_MAX);
	if (!text)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to check '%s'", image);
	ssize_t n = pread(fd, text, length, (off_t)offset);
	if (n < 0)
		return err_errno(err, "cannot read '%s'", image);
	struct extent extent;
	size_t position = 0;
	while (next_extent(text, (size_t)n, &position, &extent))
		TRY(check_extent(image, &extent, err));
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
		return check_vmdk_extents(fd, head, image, err);
	if (strcmp(format, "qcow2") == 0 && be32_get(head + 4) >= 3 && (be64_get(head + 72) & QCOW2_EXTERNAL_DATA))
		return err_set(
			err, ERR_UNSUPPORTED, 0,
			"'%s' keeps its data in an external file, which is not followed; convert it with qemu-img",
			image);
	return ERR_OK;
}

/* One extent, as QEMU sees it; flat ones were measured against the descriptor. */
static enum err_code check_opened_extent(const char *image, const json_t *extent, struct err *err)
{
	const char *name = json_string_value(json_object_get(extent, "filename"));
	const char *kind = json_string_value(json_object_get(extent, "format"));
	AUTO_FREE char *real = NULL;
	if (!name)
		return err_set(err, ERR_CORRUPT, 0, "qemu-img does not say where an extent of '%s' lies", image);
	TRY(resolve_reference(image, "extent", name, &real, err));
	if (kind && (strcmp(kind, "FLAT") == 0 || strcmp(kind, "VMFS") == 0))
		return ERR_OK;
	return qemu_whole_check(real, "vmdk", err);
}

/* Checks that the image is whole, and that QEMU was right to open the files that it opened. */
static enum err_code check_files(const char *image, const char *format, const json_t *info, struct err *err)
{
	const json_t *data = json_object_get(json_object_get(info, "format-specific"), "data");
	if (json_object_get(data, "data-file"))
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s' keeps its data in an external file, which is not followed", image);
	if (strcmp(format, "vmdk") != 0)
		return qemu_whole_check(image, format, err);
	const json_t *extents = json_object_get(data, "extents");
	if (json_array_size(extents) == 0)
		return err_set(err, ERR_CORRUPT, 0, "'%s' has no extents", image);
	for (size_t i = 0; i < json_array_size(extents); i++)
		TRY(check_opened_extent(image, json_array_get(extents, i), err));
	return ERR_OK;
}

/* An image and its backing files, top first. */
struct link {
	char *path;
	char *format;
	uint64_t disk_bytes; /* of the image above, 0 for the top one */
};

struct chain {
	struct link links[CHAIN_MAX];
	unsigned count;
};

static void cleanup_chain(struct chain *chain)
{
	for (unsigned i = 0; i < chain->count; i++) {
		free(chain->links[i].path);
		free(chain->links[i].format);
	}
}

static bool is_raw(const struct link *link)
{
	return strcmp(link->format, "raw") == 0;
}

/* Takes `path`. */
static enum err_code add_link(struct chain *chain, char *path, const char *format, uint64_t disk_bytes, struct err *err)
{
	AUTO_FREE char *owned = path;
	AUTO_FREE char *copy = strdup(format);
	if (!copy)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to check '%s'", path);
	if (chain->count == CHAIN_MAX)
		return err_set(err, ERR_LIMIT, 0, "'%s' has a chain of more than %d backing files, or a loop",
			       chain->links[0].path, CHAIN_MAX - 1);
	chain->links[chain->count++] =
		(struct link){.path = TAKE_PTR(owned), .format = TAKE_PTR(copy), .disk_bytes = disk_bytes};
	return ERR_OK;
}

/* Adds the backing file that `image` names, if any. */
static enum err_code add_backing(struct chain *chain, const struct link *image, const json_t *info, bool follow,
				 struct err *err)
{
	const char *backing = json_string_value(json_object_get(info, "backing-filename"));
	const char *full = json_string_value(json_object_get(info, "full-backing-filename"));
	const char *format = json_string_value(json_object_get(info, "backing-filename-format"));
	json_int_t disk_bytes = json_integer_value(json_object_get(info, "virtual-size"));
	char *path;
	if (!backing && !full)
		return ERR_OK;
	if (!follow)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s' names '%s' as its backing file; if that is meant to be read, give --format %s",
			       image->path, backing ? backing : full, image->format);
	if (!format)
		return err_set(
			err, ERR_UNSUPPORTED, 0,
			"'%s' does not say which format its backing file '%s' has; set it with qemu-img rebase -u -F",
			image->path, backing ? backing : full);
	TRY(resolve_reference(image->path, "backing file", full ? full : backing, &path, err));
	return add_link(chain, path, format, disk_bytes > 0 ? (uint64_t)disk_bytes : 0, err);
}

/* A raw file has no tables and names no file. Whether one that is shorter than the image above it is truncated, or the
 * image above was made longer, nobody can tell, so the user is told. */
static enum err_code check_raw_base(const struct link *base, char *notice, size_t notice_size, struct err *err)
{
	struct stat st;
	TRY(qemu_whole_check(base->path, "raw", err));
	if (stat(base->path, &st) < 0)
		return err_errno(err, "cannot open '%s'", base->path);
	if ((uint64_t)st.st_size < base->disk_bytes)
		snprintf(notice, notice_size,
			 "the raw backing file '%.128s' is shorter than the image above it, which reads zeroes from "
			 "there on; is it whole?",
			 strrchr(base->path, '/') + 1);
	return ERR_OK;
}

/* Checks one image of the chain and finds the next. Only the image itself is opened. */
static enum err_code check_image(struct chain *chain, const struct link *image, bool follow, struct err *err)
{
	if (!qemu_whole_knows(image->format))
		return qemu_whole_check(image->path, image->format, err);
	TRY(check_before_open(image->path, image->format, err));
	AUTO(cleanup_json) json_t *info = NULL;
	TRY(qemu_tool_info(image->path, image->format, &info, err));
	TRY(add_backing(chain, image, info, follow, err));
	return check_files(image->path, image->format, info, err);
}

enum err_code qemu_image_check(const char *path, const char *format, bool follow, struct qemu_image *ret,
			       struct err *err)
{
	AUTO(cleanup_chain) struct chain chain = {.count = 0};
	char *first;
	*ret = (struct qemu_image){0};
	TRY(resolve(path, &first, err));
	TRY(add_link(&chain, first, format, 0, err));
	for (unsigned i = 0; i < chain.count; i++) {
		const struct link *image = &chain.links[i];
		if (is_raw(image))
			TRY(check_raw_base(image, ret->notice, sizeof(ret->notice), err));
		else
			TRY(check_image(&chain, image, follow, err));
	}
	/* This opens the backing files too, so not before all of them are known to be harmless. */
	for (unsigned i = 0; i < chain.count; i++)
		if (!is_raw(&chain.links[i]))
			TRY(qemu_tool_check(chain.links[i].path, chain.links[i].format, err));
	ret->path = TAKE_PTR(chain.links[0].path);
	return ERR_OK;
}

void qemu_image_release(struct qemu_image *image)
{
	free(image->path);
	*image = (struct qemu_image){0};
}
