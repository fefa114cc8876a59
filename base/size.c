/* SPDX-License-Identifier: Apache-2.0 */
#include "base/size.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* The shift of a unit suffix, or -1 if `text` is no unit. */
static int unit_shift(const char *text)
{
	static const char letters[] = "KMGTP";
	if (!*text || strcasecmp(text, "B") == 0)
		return 0;
	for (int i = 0; letters[i]; i++) {
		if ((*text | 0x20) != (letters[i] | 0x20))
			continue;
		if (!text[1] || strcasecmp(text + 1, "B") == 0 || strcasecmp(text + 1, "iB") == 0)
			return 10 * (i + 1);
	}
	return -1;
}

enum err_code size_parse(const char *text, uint64_t *ret_bytes, struct err *err)
{
	const char *p = text;
	uint64_t whole = 0;
	uint64_t fraction = 0;
	uint64_t scale = 1;
	bool digits = false;
	for (; *p >= '0' && *p <= '9'; p++, digits = true)
		if (__builtin_mul_overflow(whole, 10u, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole))
			return err_set(err, ERR_INVALID, 0, "size '%s' is too large", text);
	if (digits && *p == '.')
		for (p++; *p >= '0' && *p <= '9'; p++)
			if (scale < 1000) {
				fraction = fraction * 10 + (uint64_t)(*p - '0');
				scale *= 10;
			}
	int shift = digits ? unit_shift(p) : -1;
	if (shift < 0 || (scale > 1 && shift == 0))
		return err_set(err, ERR_INVALID, 0, "'%s' is not a size; write for example 64K, 1.5G or 2TiB", text);
	if (whole > (UINT64_C(1) << 62) >> shift)
		return err_set(err, ERR_INVALID, 0, "size '%s' is too large", text);
	*ret_bytes = (whole << shift) + ((fraction << shift) / scale);
	return ERR_OK;
}

enum err_code number_parse(const char *text, const char *what, uint64_t min, uint64_t max, uint64_t *ret,
			   struct err *err)
{
	uint64_t value = 0;
	bool good = *text != '\0';
	for (const char *p = text; *p && good; p++)
		good = *p >= '0' && *p <= '9' && !__builtin_mul_overflow(value, 10u, &value) &&
		       !__builtin_add_overflow(value, (uint64_t)(*p - '0'), &value);
	if (!good || value < min || value > max)
		return err_set(err, ERR_INVALID, 0, "%s '%s' is not a number from %llu to %llu", what, text,
			       (unsigned long long)min, (unsigned long long)max);
	*ret = value;
	return ERR_OK;
}

char *size_format(uint64_t bytes, char dst[static SIZE_TEXT_SIZE])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	if (bytes < 1024) {
		snprintf(dst, SIZE_TEXT_SIZE, "%llu B", (unsigned long long)bytes);
		return dst;
	}
	double value = (double)bytes;
	size_t unit = 0;
	while (value >= 1023.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
	snprintf(dst, SIZE_TEXT_SIZE, "%.*f %s", decimals, value, units[unit]);
	return dst;
}

char *duration_format(uint64_t seconds, char dst[static SIZE_TEXT_SIZE])
{
	unsigned long long s = seconds;
	if (s < 60)
		snprintf(dst, SIZE_TEXT_SIZE, "%llus", s);
	else if (s < 3600)
		snprintf(dst, SIZE_TEXT_SIZE, "%llum%02llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(dst, SIZE_TEXT_SIZE, "%lluh%02llum", s / 3600, s % 3600 / 60);
	else
		snprintf(dst, SIZE_TEXT_SIZE, "%llud%02lluh", s / 86400 % 1000000, s % 86400 / 3600);
	return dst;
}
