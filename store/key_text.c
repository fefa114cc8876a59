/* SPDX-License-Identifier: Apache-2.0 */
/* Reader of the small text files in keys/: lines "name = value", each ended by a newline, in a fixed order and nothing
 * else. One way to write a file means that there is nothing to interpret. */
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "store/keys_internal.h"

struct key_text key_text_of(const char *path, const void *data, size_t length)
{
	return (struct key_text){.path = path, .p = data, .left = length};
}

static void mark_bad(struct key_text *text, const char *name)
{
	if (!text->bad_field)
		text->bad_field = name;
}

/* True if the next bytes are `expected`; takes them. */
static bool take(struct key_text *text, const char *expected)
{
	size_t n = strlen(expected);
	if (n > text->left || memcmp(text->p, expected, n) != 0)
		return false;
	text->p += n;
	text->left -= n;
	return true;
}

static bool is_printable(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)p[i] < ' ' || p[i] == 0x7f)
			return false;
	return true;
}

void key_text_string(struct key_text *text, const char *name, char *dst, size_t size)
{
	dst[0] = '\0';
	if (text->bad_field || !take(text, name) || !take(text, " = ")) {
		mark_bad(text, name);
		return;
	}
	const char *end = memchr(text->p, '\n', text->left);
	size_t n = end ? (size_t)(end - text->p) : 0;
	if (n == 0 || n >= size || !is_printable(text->p, n)) {
		mark_bad(text, name);
		return;
	}
	memcpy(dst, text->p, n);
	dst[n] = '\0';
	text->p += n + 1;
	text->left -= n + 1;
}

void key_text_hex(struct key_text *text, const char *name, uint8_t *dst, size_t n)
{
	char value[2 * KEY_SEALED_SIZE + 1];
	key_text_string(text, name, value, sizeof(value));
	if (hex_parse(value, dst, n))
		return;
	memset(dst, 0, n);
	mark_bad(text, name);
}

uint64_t key_text_number(struct key_text *text, const char *name, uint64_t min, uint64_t max)
{
	char value[24];
	uint64_t number = 0;
	key_text_string(text, name, value, sizeof(value));
	if (number_parse(value, name, min, max, &number, NULL) != ERR_OK)
		mark_bad(text, name);
	return number;
}

uint64_t key_text_time(struct key_text *text, const char *name)
{
	char value[CLOCK_TEXT_SIZE];
	char again[CLOCK_TEXT_SIZE];
	uint64_t unix_s = 0;
	key_text_string(text, name, value, sizeof(value));
	/* Written in the one way that there is: not 30 February, nor with blanks. */
	if (!clock_parse_utc(value, &unix_s) || strcmp(clock_format_utc(unix_s, again), value) != 0)
		mark_bad(text, name);
	return unix_s;
}

enum err_code key_text_version(struct key_text *text, const char *name, struct err *err)
{
	uint64_t version = key_text_number(text, name, 0, UINT32_MAX);
	if (!text->bad_field && version != 1)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "key file '%s' has format version %llu, this program knows 1; use a newer version",
			       text->path, (unsigned long long)version);
	return text->bad_field ? key_text_finish(text, err) : ERR_OK;
}

enum err_code key_text_finish(const struct key_text *text, struct err *err)
{
	if (text->bad_field)
		return err_set(err, ERR_CORRUPT, 0, "key file '%s' is damaged: its '%s' is missing or makes no sense",
			       text->path, text->bad_field);
	if (text->left)
		return err_set(err, ERR_CORRUPT, 0, "key file '%s' is damaged: it has %zu bytes too many", text->path,
			       text->left);
	return ERR_OK;
}
