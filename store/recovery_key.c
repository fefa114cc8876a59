/* SPDX-License-Identifier: Apache-2.0 */
/* The recovery key as words.
 *
 * A word is a proquint: 16 bits, the first byte of the pair being the high one, as consonant (4 bits), vowel (2),
 * consonant (4), vowel (2), consonant (4). Line L (0..3) is five words: the bytes 8L..8L+7 of the secret, then the
 * first two bytes of the unkeyed 32-byte BLAKE2b of (L as one byte, those eight bytes). So a slip of the pen is found,
 * with odds of 65,535 in 65,536, in the line where it was made, and lines that changed places do not pass either.
 *
 * Messages name lines and places, never the words: those are the key. */
#include "store/recovery_key.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LINE_BYTES 8
#define LINE_BYTES_CHECKED (2 * RECOVERY_WORDS_PER_LINE) /* with the check word */
#define WORD_LETTERS 5
#define TEXT_MAX 1024 /* far more than 24 words with blanks */
#define QR_PREFIX "xenolith-recovery:"

_Static_assert(RECOVERY_LINES *LINE_BYTES == KEY_SIZE, "the lines carry the secret");
_Static_assert(RECOVERY_LINE_SIZE == RECOVERY_WORDS_PER_LINE * (WORD_LETTERS + 1), "five words, four blanks, one zero");

static const char consonants[] = "bdfghjklmnprstvz";
static const char vowels[] = "aiou";

static void word_format(const uint8_t bytes[static 2], char dst[static WORD_LETTERS])
{
	unsigned bits = (unsigned)bytes[0] << 8 | bytes[1];
	dst[0] = consonants[bits >> 12];
	dst[1] = vowels[bits >> 10 & 3];
	dst[2] = consonants[bits >> 6 & 15];
	dst[3] = vowels[bits >> 4 & 3];
	dst[4] = consonants[bits & 15];
}

/* Adds the value of `letter` in `alphabet` to the right of *bits; false if it is not in it. */
static bool letter_parse(const char *alphabet, unsigned width, char letter, unsigned *bits)
{
	char lower = letter >= 'A' && letter <= 'Z' ? (char)(letter | 0x20) : letter;
	const char *found = lower ? strchr(alphabet, lower) : NULL;
	*bits = *bits << width | (found ? (unsigned)(found - alphabet) : 0);
	return found != NULL;
}

static bool word_parse(const char *text, size_t length, uint8_t ret_bytes[static 2])
{
	unsigned bits = 0;
	if (length != WORD_LETTERS)
		return false;
	for (size_t i = 0; i < WORD_LETTERS; i++) {
		bool is_vowel = i % 2 == 1;
		if (!letter_parse(is_vowel ? vowels : consonants, is_vowel ? 2 : 4, text[i], &bits))
			return false;
	}
	ret_bytes[0] = (uint8_t)(bits >> 8);
	ret_bytes[1] = (uint8_t)bits;
	return true;
}

static void check_word(const uint8_t bytes[static LINE_BYTES], unsigned line, uint8_t ret_check[static 2])
{
	uint8_t input[1 + LINE_BYTES];
	uint8_t digest[32];
	input[0] = (uint8_t)line;
	memcpy(input + 1, bytes, LINE_BYTES);
	crypto_generichash(digest, sizeof(digest), input, sizeof(input), NULL, 0);
	memcpy(ret_check, digest, 2);
	sodium_memzero(input, sizeof(input));
	sodium_memzero(digest, sizeof(digest));
}

void recovery_key_line(const uint8_t secret[static KEY_SIZE], unsigned line, char dst[static RECOVERY_LINE_SIZE])
{
	uint8_t bytes[LINE_BYTES_CHECKED];
	memcpy(bytes, secret + (size_t)line * LINE_BYTES, LINE_BYTES);
	check_word(bytes, line, bytes + LINE_BYTES);
	for (size_t word = 0; word < RECOVERY_WORDS_PER_LINE; word++) {
		char *place = dst + word * (WORD_LETTERS + 1);
		word_format(bytes + 2 * word, place);
		place[WORD_LETTERS] = ' ';
	}
	dst[RECOVERY_LINE_SIZE - 1] = '\0';
	sodium_memzero(bytes, sizeof(bytes));
}

/* What separates words: white space and dashes. */
static bool is_separator(char c)
{
	return c == ' ' || c == '-' || (c >= '\t' && c <= '\r');
}

/* Takes the next word from *text, leaving out separators and line numbers such as "1:" or "2."; length 0 at the end. */
static const char *next_word(const char **text, const char *end, size_t *ret_length)
{
	for (;;) {
		const char *p = *text;
		while (p < end && is_separator(*p))
			p++;
		const char *start = p;
		while (p < end && !is_separator(*p) && *p != ':')
			p++;
		if (p < end && *p == ':')
			p++;
		*text = p;
		*ret_length = (size_t)(p - start);
		bool is_number = p - start == 2 && *start >= '1' && *start <= '9' && (p[-1] == ':' || p[-1] == '.');
		if (!is_number)
			return start;
	}
}

/* Reads the words of line `line` and checks them. */
static enum err_code line_parse(const char **text, const char *end, unsigned line,
				uint8_t ret_bytes[static LINE_BYTES_CHECKED], struct err *err)
{
	for (unsigned i = 0; i < RECOVERY_WORDS_PER_LINE; i++) {
		size_t length;
		const char *word = next_word(text, end, &length);
		if (length == 0)
			return err_set(err, ERR_INVALID, 0,
				       "line %u of the recovery key has %u of %d words; type all %d lines", line + 1, i,
				       RECOVERY_WORDS_PER_LINE, RECOVERY_LINES);
		if (!word_parse(word, length, ret_bytes + (size_t)2 * i))
			return err_set(
				err, ERR_INVALID, 0,
				"line %u of the recovery key: word %u is mistyped; every word has five letters and "
				"sounds like 'lusab'",
				line + 1, i + 1);
	}
	uint8_t check[2];
	check_word(ret_bytes, line, check);
	if (sodium_memcmp(check, ret_bytes + LINE_BYTES, sizeof(check)) != 0)
		return err_set(
			err, ERR_INVALID, 0,
			"line %u of the recovery key is mistyped or in the wrong place; compare it with the paper",
			line + 1);
	return ERR_OK;
}

bool recovery_key_line_matches(const uint8_t secret[static KEY_SIZE], unsigned line, const char *text)
{
	uint8_t bytes[LINE_BYTES_CHECKED];
	const char *end = text + strlen(text);
	size_t rest = 0;
	bool matches = line_parse(&text, end, line, bytes, NULL) == ERR_OK &&
		       sodium_memcmp(bytes, secret + (size_t)line * LINE_BYTES, LINE_BYTES) == 0;
	next_word(&text, end, &rest);
	sodium_memzero(bytes, sizeof(bytes));
	return matches && rest == 0;
}

void recovery_key_qr_text(const uint8_t secret[static KEY_SIZE], const struct uuid *store_id,
			  char dst[static RECOVERY_QR_TEXT_SIZE])
{
	char id[UUID_TEXT_SIZE];
	char hex[2 * KEY_SIZE + 1];
	snprintf(dst, RECOVERY_QR_TEXT_SIZE, QR_PREFIX "1:%s:%s", uuid_format(store_id, id),
		 hex_format(secret, KEY_SIZE, hex));
	sodium_memzero(hex, sizeof(hex));
}

/* Parses "xenolith-recovery:1:STORE-UUID:HEX-SECRET" without blanks around it. */
static enum err_code qr_parse(const char *text, size_t length, uint8_t ret_secret[static KEY_SIZE],
			      struct uuid *ret_store_id, struct err *err)
{
	enum { PREFIX = sizeof(QR_PREFIX) - 1, ID = PREFIX + 2, HEX = ID + UUID_TEXT_SIZE, END = HEX + 2 * KEY_SIZE };
	if (length > PREFIX + 1 && (text[PREFIX] != '1' || text[PREFIX + 1] != ':'))
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "the recovery code is of a form that this version does not know; use a newer one");
	char copy[END + 1];
	struct uuid id = {0};
	bool good = length == END;
	if (good) {
		memcpy(copy, text, END);
		copy[END] = '\0';
		good = copy[HEX - 1] == ':';
		copy[HEX - 1] = '\0';
		good = good && uuid_parse(copy + ID, &id) && hex_parse(copy + HEX, ret_secret, KEY_SIZE);
		sodium_memzero(copy, sizeof(copy));
	}
	if (!good)
		return err_set(err, ERR_INVALID, 0, "the recovery code is not whole; scan it again or type the words");
	*ret_store_id = id;
	return ERR_OK;
}

static enum err_code words_parse(const char *text, const char *end, uint8_t ret_secret[static KEY_SIZE],
				 struct err *err)
{
	uint8_t bytes[LINE_BYTES_CHECKED] = {0};
	uint8_t secret[KEY_SIZE];
	enum err_code code = ERR_OK;
	for (unsigned line = 0; line < RECOVERY_LINES && code == ERR_OK; line++) {
		code = line_parse(&text, end, line, bytes, err);
		memcpy(secret + (size_t)line * LINE_BYTES, bytes, LINE_BYTES);
	}
	size_t rest = 0;
	if (code == ERR_OK)
		next_word(&text, end, &rest);
	if (rest)
		code = err_set(err, ERR_INVALID, 0, "the recovery key has words after line %d", RECOVERY_LINES);
	if (code == ERR_OK)
		memcpy(ret_secret, secret, KEY_SIZE);
	sodium_memzero(bytes, sizeof(bytes));
	sodium_memzero(secret, sizeof(secret));
	return code;
}

enum err_code recovery_key_parse(const char *text, size_t length, uint8_t ret_secret[static KEY_SIZE],
				 struct uuid *ret_store_id, struct err *err)
{
	if (length > TEXT_MAX)
		return err_set(err, ERR_INVALID, 0, "a recovery key has %d lines of %d words, this is %zu bytes long",
			       RECOVERY_LINES, RECOVERY_WORDS_PER_LINE, length);
	const char *end = text + length;
	while (text < end && is_separator(*text))
		text++;
	while (end > text && is_separator(end[-1]))
		end--;
	size_t prefix = strlen(QR_PREFIX);
	if ((size_t)(end - text) >= prefix && strncasecmp(text, QR_PREFIX, prefix) == 0)
		return qr_parse(text, (size_t)(end - text), ret_secret, ret_store_id, err);
	TRY(words_parse(text, end, ret_secret, err));
	*ret_store_id = (struct uuid){0};
	return ERR_OK;
}
