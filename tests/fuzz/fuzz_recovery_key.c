/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery keys as people type them: what is accepted, printed anew, is the same key. */
#include "store/recovery_key.h"

#include "tests/fuzz/fuzz.h"

#include <stdio.h>

static void check_words(const uint8_t secret[KEY_SIZE])
{
	char text[RECOVERY_LINES * (RECOVERY_LINE_SIZE + 4)];
	size_t n = 0;
	for (unsigned i = 0; i < RECOVERY_LINES; i++) {
		char line[RECOVERY_LINE_SIZE];
		recovery_key_line(secret, i, line);
		require(recovery_key_line_matches(secret, i, line));
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%u: %s\n", i + 1, line);
	}
	uint8_t again[KEY_SIZE];
	struct uuid id;
	require(recovery_key_parse(text, n, again, &id, NULL) == ERR_OK);
	require(memcmp(again, secret, KEY_SIZE) == 0 && uuid_is_null(&id));
}

static void check_qr(const uint8_t secret[KEY_SIZE], const struct uuid *id)
{
	char text[RECOVERY_QR_TEXT_SIZE];
	uint8_t again[KEY_SIZE];
	struct uuid id_again;
	recovery_key_qr_text(secret, id, text);
	require(recovery_key_parse(text, strlen(text), again, &id_again, NULL) == ERR_OK);
	require(memcmp(again, secret, KEY_SIZE) == 0 && uuid_equal(&id_again, id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t secret[KEY_SIZE];
	struct uuid id;
	struct err err = {0};
	enum err_code code = recovery_key_parse((const char *)data, size, secret, &id, &err);
	if (code != ERR_OK) {
		require_message(code, &err);
		return 0;
	}
	check_words(secret);
	check_qr(secret, &id);
	return 0;
}
