/* SPDX-License-Identifier: Apache-2.0 */
/* The recovery key on paper: the 32-byte secret as pronounceable five-letter words (proquints, arXiv:0901.4016: 16 bits
 * a word), four words and a check word a line, four lines; and as text for a QR code. A mistyped line is named. */
#ifndef STORE_RECOVERY_KEY_H
#define STORE_RECOVERY_KEY_H

#include "base/err.h"
#include "base/uuid.h"
#include "store/keys.h"

#include <stddef.h>
#include <stdint.h>

#define RECOVERY_LINES 4
#define RECOVERY_WORDS_PER_LINE 5 /* four carry the key, the fifth checks the line and its number */
#define RECOVERY_LINE_SIZE 30     /* 5 words of 5 letters, 4 blanks, terminating zero */

/* Writes the words of line `line` (0..RECOVERY_LINES-1). */
void recovery_key_line(const uint8_t secret[static KEY_SIZE], unsigned line, char dst[static RECOVERY_LINE_SIZE]);

/* Checks that `text` (any case, blanks or dashes between the words) is line `line` of `secret`. */
bool recovery_key_line_matches(const uint8_t secret[static KEY_SIZE], unsigned line, const char *text);

#define RECOVERY_QR_TEXT_SIZE 160

/* The text of the QR code: "xenolith-recovery:1:STORE-UUID:HEX-SECRET". */
void recovery_key_qr_text(const uint8_t secret[static KEY_SIZE], const struct uuid *store_id,
			  char dst[static RECOVERY_QR_TEXT_SIZE]);

/* Reads a recovery key as people type it: the words with any white space and dashes, in any case, with or without line
 * numbers ("1:"), or the QR code's text. ERR_INVALID names the line that is wrong. If the text carries a store id,
 * it is given in *ret_store_id (else null). `text` need not be terminated. */
MUST_CHECK enum err_code recovery_key_parse(const char *text, size_t length, uint8_t ret_secret[static KEY_SIZE],
					    struct uuid *ret_store_id, struct err *err);

#endif
