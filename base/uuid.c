/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"

#include <sodium.h>
#include <string.h>

struct uuid uuid_random(void)
{
	struct uuid u;
	randombytes_buf(u.bytes, sizeof(u.bytes));
	u.bytes[6] = (uint8_t)((u.bytes[6] & 0x0f) | 0x40); /* version 4, RFC 9562 section 5.4 */
	u.bytes[8] = (uint8_t)((u.bytes[8] & 0x3f) | 0x80); /* variant 10 */
	return u;
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool uuid_is_null(const struct uuid *u)
{
	static const struct uuid null;
	return uuid_equal(u, &null);
}

char *hex_format(const void *bytes, size_t n, char *dst)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = bytes;
	for (size_t i = 0; i < n; i++) {
		dst[2 * i] = digits[p[i] >> 4];
		dst[2 * i + 1] = digits[p[i] & 15];
	}
	dst[2 * n] = '\0';
	return dst;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool hex_parse(const char *text, void *dst, size_t n)
{
	if (strlen(text) != 2 * n)
		return false;
	for (size_t i = 0; i < 2 * n; i++)
		if (hex_digit(text[i]) < 0)
			return false;
	uint8_t *out = dst;
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)((unsigned)hex_digit(text[2 * i]) << 4 | (unsigned)hex_digit(text[2 * i + 1]));
	return true;
}

/* Where the dashes stand in the text form. */
static bool is_dash_position(size_t i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

char *uuid_format(const struct uuid *u, char dst[static UUID_TEXT_SIZE])
{
	char hex[33];
	hex_format(u->bytes, sizeof(u->bytes), hex);
	size_t from = 0;
	for (size_t i = 0; i < UUID_TEXT_SIZE - 1; i++)
		dst[i] = is_dash_position(i) ? '-' : hex[from++];
	dst[UUID_TEXT_SIZE - 1] = '\0';
	return dst;
}

bool uuid_parse(const char *text, struct uuid *ret)
{
	if (strlen(text) != UUID_TEXT_SIZE - 1)
		return false;
	char hex[33];
	size_t to = 0;
	for (size_t i = 0; i < UUID_TEXT_SIZE - 1; i++) {
		if (is_dash_position(i) != (text[i] == '-'))
			return false;
		if (text[i] != '-')
			hex[to++] = text[i];
	}
	hex[to] = '\0';
	return hex_parse(hex, ret->bytes, sizeof(ret->bytes));
}
