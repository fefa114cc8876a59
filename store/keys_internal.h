/* SPDX-License-Identifier: Apache-2.0 */
/* What keys.c, key_slot.c and key_text.c share. */
#ifndef STORE_KEYS_INTERNAL_H
#define STORE_KEYS_INTERNAL_H

#include "store/keys.h"

#define KEYS_DIR "keys"
#define KEY_FILE_MAX 4096 /* bytes of a file in keys/ */

/* Hands an error on as it is, with its errno. */
static inline enum err_code pass_on(struct err *err, const struct err *cause)
{
	if (err && err->code == ERR_OK)
		*err = *cause;
	return cause->code;
}

/* ---- text files of "name = value" lines (key_text.c) ---- */

/* Reads such a file from untrusted bytes, in the fixed order of its format. The first thing that is wrong makes it bad
 * and all later values empty; key_text_finish turns that into an error. Borrows the bytes. */
struct key_text {
	const char *path; /* for messages */
	const char *p;
	size_t left;
	const char *bad_field; /* the first field that was missing or malformed, or NULL */
};

struct key_text key_text_of(const char *path, const void *data, size_t length);

/* The value of the next line, which must be "name = VALUE" with at most `size` - 1 printable bytes, as a string. */
void key_text_string(struct key_text *text, const char *name, char *dst, size_t size);

/* The same for exactly `n` bytes in hexadecimal, a decimal number within [min, max], and a time. */
void key_text_hex(struct key_text *text, const char *name, uint8_t *dst, size_t n);
uint64_t key_text_number(struct key_text *text, const char *name, uint64_t min, uint64_t max);
uint64_t key_text_time(struct key_text *text, const char *name);

/* Checks the first line "name = 1". ERR_UNSUPPORTED for another number, ERR_CORRUPT for another line. */
MUST_CHECK enum err_code key_text_version(struct key_text *text, const char *name, struct err *err);

/* ERR_CORRUPT, naming the file and the field, if anything was wrong or is left over. */
MUST_CHECK enum err_code key_text_finish(const struct key_text *text, struct err *err);

/* ---- slots (key_slot.c) ---- */

/* Tries `secret` on all slots of `kind`. The codes are those of keys_unlock. */
MUST_CHECK enum err_code key_slots_open(struct io *io, const struct uuid *store_id, enum key_slot_kind kind,
					const void *secret, size_t length, uint8_t ret_master[static KEY_SIZE],
					struct err *err);

/* ---- encryption with associated data of any length (keys.c) ---- */

/* XChaCha20-Poly1305 of 32 bytes: nonce (24, random), ciphertext (32), tag (16). */
void key_wrap_with_ad(const uint8_t wrap_key[static KEY_SIZE], const void *ad, size_t ad_length,
		      const uint8_t key[static KEY_SIZE], uint8_t ret_wrapped[static KEY_WRAPPED_SIZE]);
bool key_unwrap_with_ad(const uint8_t wrap_key[static KEY_SIZE], const void *ad, size_t ad_length,
			const uint8_t wrapped[static KEY_WRAPPED_SIZE], uint8_t ret_key[static KEY_SIZE]);

#endif
