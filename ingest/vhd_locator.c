/* SPDX-License-Identifier: Apache-2.0 */
/* The text of parent locators: where a differencing VHD says that its parent lies. */
#include "ingest/vhd.h"

#include "base/endian.h"

#include <string.h>

static bool is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7F && code < 0xA0);
}

static size_t utf8_encode(uint32_t code, char dst[static 4])
{
	if (code < 0x80) {
		dst[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		dst[0] = (char)(0xC0 | code >> 6);
		dst[1] = (char)(0x80 | (code & 0x3F));
		return 2;
	}
	if (code < 0x10000) {
		dst[0] = (char)(0xE0 | code >> 12);
		dst[1] = (char)(0x80 | (code >> 6 & 0x3F));
		dst[2] = (char)(0x80 | (code & 0x3F));
		return 3;
	}
	dst[0] = (char)(0xF0 | code >> 18);
	dst[1] = (char)(0x80 | (code >> 12 & 0x3F));
	dst[2] = (char)(0x80 | (code >> 6 & 0x3F));
	dst[3] = (char)(0x80 | (code & 0x3F));
	return 4;
}

static uint32_t utf16_unit(const uint8_t *p, bool big_endian)
{
	return big_endian ? be16_get(p) : le16_get(p);
}

bool vhd_utf16_decode(const uint8_t *data, size_t length, bool big_endian, char *dst, size_t size)
{
	size_t used = 0;
	dst[0] = '\0';
	for (size_t at = 0; length - at >= 2; at += 2) {
		uint32_t code = utf16_unit(data + at, big_endian);
		if (code == 0)
			break;
		if (code >= 0xD800 && code < 0xE000) {
			if (code >= 0xDC00 || length - at < 4)
				goto malformed;
			uint32_t low = utf16_unit(data + at + 2, big_endian);
			if (low < 0xDC00 || low >= 0xE000)
				goto malformed;
			code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
			at += 2;
		}
		char bytes[4];
		size_t n = utf8_encode(code, bytes);
		if (is_control(code) || n >= size - used)
			goto malformed;
		memcpy(dst + used, bytes, n);
		used += n;
	}
	dst[used] = '\0';
	return true;
malformed:
	dst[0] = '\0';
	return false;
}

/* Windows' way to write a path, turned into ours: slashes, and no drive letter. */
static void path_from_windows(char *path)
{
	for (char *p = path; *p; p++)
		if (*p == '\\')
			*p = '/';
	bool has_drive = path[0] && path[1] == ':';
	if (has_drive)
		memmove(path, path + 2, strlen(path + 2) + 1);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* A file URL in UTF-8; some writers leave out the escapes, so what is no escape stands for itself. */
static bool path_from_url(const uint8_t *data, size_t length, char *dst, size_t size)
{
	static const char *const prefixes[] = {"file://localhost/", "file://", "file:"};
	const char *text = (const char *)data;
	size_t at = 0;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]) && at == 0; i++) {
		size_t n = strlen(prefixes[i]);
		if (length >= n && memcmp(text, prefixes[i], n) == 0)
			at = i == 0 ? n - 1 : n; /* the slash behind the host belongs to the path */
	}
	size_t used = 0;
	for (; at < length && text[at]; at++) {
		int byte = (uint8_t)text[at];
		if (byte == '%' && length - at > 2 && hex_value(text[at + 1]) >= 0 && hex_value(text[at + 2]) >= 0) {
			byte = hex_value(text[at + 1]) * 16 + hex_value(text[at + 2]);
			at += 2;
		}
		bool control = byte < 0x20 || byte == 0x7F;
		if (control || used + 1 >= size)
			return false;
		dst[used++] = (char)byte;
	}
	dst[used] = '\0';
	return true;
}

bool vhd_locator_path(uint32_t code, const uint8_t *data, size_t length, char *dst, size_t size)
{
	dst[0] = '\0';
	switch (code) {
	case VHD_LOCATOR_W2RU:
	case VHD_LOCATOR_W2KU:
		if (!vhd_utf16_decode(data, length, /* big_endian= */ false, dst, size))
			return false;
		path_from_windows(dst);
		break;
	case VHD_LOCATOR_MACX:
		if (!path_from_url(data, length, dst, size)) {
			dst[0] = '\0';
			return false;
		}
		break;
	default:
		return false;
	}
	return dst[0] != '\0';
}
