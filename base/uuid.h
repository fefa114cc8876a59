/* SPDX-License-Identifier: Apache-2.0 */
/* 128-bit identities in their usual text form, and hexadecimal text in general. */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uuid {
	uint8_t bytes[16]; /* in the order of the text form */
};

#define UUID_TEXT_SIZE 37 /* 36 characters and the terminating zero */

/* A random (version 4) UUID. */
struct uuid uuid_random(void);

bool uuid_equal(const struct uuid *a, const struct uuid *b);
bool uuid_is_null(const struct uuid *u);

/* Writes the 8-4-4-4-12 form, lower case, to `dst` and returns it. */
char *uuid_format(const struct uuid *u, char dst[static UUID_TEXT_SIZE]);

/* Parses the 8-4-4-4-12 form (either case). False if `text` is anything else; `ret` is then untouched. */
bool uuid_parse(const char *text, struct uuid *ret);

/* Writes `n` bytes as 2n lower-case hex digits and a terminating zero to `dst`; returns `dst`. */
char *hex_format(const void *bytes, size_t n, char *dst);

/* Parses exactly 2n hex digits (either case) and the end of the string into `dst`. */
bool hex_parse(const char *text, void *dst, size_t n);

#endif
