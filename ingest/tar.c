/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/tar.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct tar_disk {
	uint8_t name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6],
		version[2], owner[32], group[32], dev_major[8], dev_minor[8], prefix[155], reserved[12];
};
static_assert(sizeof(struct tar_disk) == TAR_RECORD_SIZE, "a header is one record");

bool tar_record_is_zero(const uint8_t record[static TAR_RECORD_SIZE])
{
	return record[0] == 0 && memcmp(record, record + 1, TAR_RECORD_SIZE - 1) == 0;
}

/* Octal digits, with blanks in front, up to a blank, a zero byte or the end of the field; at least one digit. */
static bool octal_parse(const uint8_t *field, size_t n, uint64_t *ret)
{
	size_t i = 0;
	while (i < n && field[i] == ' ')
		i++;
	size_t first = i;
	uint64_t value = 0;
	for (; i < n && field[i] >= '0' && field[i] <= '7'; i++) {
		if (value >> 60)
			return false;
		value = value << 3 | (uint64_t)(field[i] - '0');
	}
	if (i == first || (i < n && field[i] != ' ' && field[i] != 0))
		return false;
	*ret = value;
	return true;
}

/* GNU's form for sizes of 8 GiB and more: the top bit set, then a big-endian number. Negative and huge ones are
 * refused. */
static bool binary_parse(const uint8_t *field, size_t n, uint64_t *ret)
{
	if (field[0] != 0x80)
		return false;
	uint64_t value = 0;
	for (size_t i = 1; i < n; i++) {
		if (value >> 55)
			return false;
		value = value << 8 | field[i];
	}
	*ret = value;
	return true;
}

static bool number_field_parse(const uint8_t *field, size_t n, uint64_t *ret)
{
	return field[0] & 0x80 ? binary_parse(field, n, ret) : octal_parse(field, n, ret);
}

/* The sum of all bytes of the header, with blanks in place of the checksum. */
static uint32_t header_sum(const uint8_t record[static TAR_RECORD_SIZE])
{
	const size_t from = offsetof(struct tar_disk, checksum);
	const size_t to = from + sizeof(((struct tar_disk *)0)->checksum);
	uint32_t sum = 0;
	for (size_t i = 0; i < TAR_RECORD_SIZE; i++)
		sum += i >= from && i < to ? ' ' : record[i];
	return sum;
}

/* Joins prefix and name; false for an empty name or one that a terminal should not see. */
static bool name_parse(const struct tar_disk *disk, char dst[static TAR_NAME_MAX + 1])
{
	/* GNU archives ("ustar " with a blank) use the prefix field for other things. */
	bool has_prefix = memcmp(disk->magic, "ustar\0", sizeof(disk->magic)) == 0 && disk->prefix[0];
	int n = snprintf(dst, TAR_NAME_MAX + 1, "%.*s%s%.*s", has_prefix ? (int)sizeof(disk->prefix) : 0,
			 (const char *)disk->prefix, has_prefix ? "/" : "", (int)sizeof(disk->name),
			 (const char *)disk->name);
	if (n <= 0)
		return false;
	for (const char *p = dst; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	return true;
}

enum err_code tar_header_parse(const uint8_t record[static TAR_RECORD_SIZE], struct tar_header *ret, struct err *err)
{
	struct tar_disk disk;
	memcpy(&disk, record, sizeof(disk));
	uint64_t sum = 0;
	if (!octal_parse(disk.checksum, sizeof(disk.checksum), &sum) || sum != header_sum(record))
		return err_set(err, ERR_CORRUPT, 0, "the tar header's checksum is wrong");
	struct tar_header header = {.type = (char)(disk.type ? disk.type : '0')};
	if (!name_parse(&disk, header.name))
		return err_set(err, ERR_CORRUPT, 0, "the tar header has no usable name");
	if (!number_field_parse(disk.size, sizeof(disk.size), &header.size))
		return err_set(err, ERR_CORRUPT, 0, "the tar header of '%s' has no usable size", header.name);
	*ret = header;
	return ERR_OK;
}

enum err_code tar_header_make(const char *name, uint64_t size, uint8_t record[static TAR_RECORD_SIZE], struct err *err)
{
	size_t length = strlen(name);
	if (length == 0 || length > TAR_MAKE_NAME_MAX)
		return err_set(err, ERR_INVALID, 0, "'%s' is no name for a tar member", name);
	if (size > TAR_MAKE_SIZE_MAX)
		return err_set(err, ERR_INVALID, 0, "tar member '%s' is too large", name);
	struct tar_disk disk = {.mode = "0000400",
				.uid = "0000000",
				.gid = "0000000",
				.mtime = "00000000000",
				.type = '0',
				.magic = "ustar",
				.version = "00"};
	memcpy(disk.name, name, length);
	snprintf((char *)disk.size, sizeof(disk.size), "%011llo", (unsigned long long)size);
	memcpy(record, &disk, sizeof(disk));
	/* Six digits, a zero byte, a blank: the historic form of this one field. */
	snprintf((char *)disk.checksum, sizeof(disk.checksum), "%06o", (unsigned)header_sum(record));
	disk.checksum[7] = ' ';
	memcpy(record, &disk, sizeof(disk));
	return ERR_OK;
}
