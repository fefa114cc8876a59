/* SPDX-License-Identifier: Apache-2.0 */
/* A reader of untrusted bytes. Every read checks what is left; the first read past the end makes the cursor bad, and
 * from then on all reads give zeroes. One cursor_finish() at the end turns that into an error, so that a parser can
 * read its fields in a straight line and check once.
 *
 * The bytes are borrowed. Threads: one owner. */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include "base/endian.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
	const uint8_t *p;
	size_t left;
	bool bad;
};

static inline struct cursor cursor_of(const void *data, size_t length)
{
	return (struct cursor){.p = data, .left = length, .bad = false};
}

/* The next `n` bytes, or NULL when fewer are left (the cursor is bad then). */
static inline const uint8_t *cursor_take(struct cursor *c, size_t n)
{
	if (c->bad || n > c->left) {
		c->bad = true;
		return NULL;
	}
	const uint8_t *p = c->p;
	c->p += n;
	c->left -= n;
	return p;
}

/* Copies the next `n` bytes to `dst`, or zeroes when fewer are left. */
static inline void cursor_copy(struct cursor *c, void *dst, size_t n)
{
	const uint8_t *p = cursor_take(c, n);
	if (p)
		memcpy(dst, p, n);
	else
		memset(dst, 0, n);
}

static inline uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 1);
	return p ? p[0] : 0;
}

static inline uint16_t cursor_le16(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 2);
	return p ? le16_get(p) : 0;
}

static inline uint32_t cursor_le32(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 4);
	return p ? le32_get(p) : 0;
}

static inline uint64_t cursor_le64(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 8);
	return p ? le64_get(p) : 0;
}

static inline uint16_t cursor_be16(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 2);
	return p ? be16_get(p) : 0;
}

static inline uint32_t cursor_be32(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 4);
	return p ? be32_get(p) : 0;
}

static inline uint64_t cursor_be64(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 8);
	return p ? be64_get(p) : 0;
}

/* Reads `n` bytes that must be zero (reserved fields); anything else makes the cursor bad. */
static inline void cursor_zeroes(struct cursor *c, size_t n)
{
	const uint8_t *p = cursor_take(c, n);
	for (size_t i = 0; p && i < n; i++)
		if (p[i])
			c->bad = true;
}

/* ERR_CORRUPT naming `what` if any read went past the end or bytes are left over. */
MUST_CHECK static inline enum err_code cursor_finish(const struct cursor *c, const char *what, struct err *err)
{
	if (c->bad)
		return err_set(err, ERR_CORRUPT, 0, "%s is truncated or malformed", what);
	if (c->left)
		return err_set(err, ERR_CORRUPT, 0, "%s has %zu bytes too many", what, c->left);
	return ERR_OK;
}

#endif
