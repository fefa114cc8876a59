/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/paper_key.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <qrencode.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/recovery_key.h"

#define QUIET_ZONE 2 /* light modules around the code; the standard asks for 4, readers do with 2 */

DEFINE_CLEANUP(qr, QRcode, QRcode_free)

/* True if the module is dark; everything outside the code is light. */
static bool is_dark(const QRcode *code, int x, int y)
{
	if (x < 0 || y < 0 || x >= code->width || y >= code->width)
		return false;
	return code->data[y * code->width + x] & 1;
}

/* Two rows of modules make one row of characters. Light is drawn, dark is left blank: on a dark terminal that is a QR
 * code, and readers take the inverse of a light one too. */
static void print_code(struct output *output, const QRcode *code)
{
	static const char *const blocks[2][2] = {{"█", "▀"}, {"▄", " "}}; /* [upper is dark][lower is dark] */
	for (int y = -QUIET_ZONE; y < code->width + QUIET_ZONE; y += 2) {
		fputs("    ", output->results);
		for (int x = -QUIET_ZONE; x < code->width + QUIET_ZONE; x++)
			fputs(blocks[is_dark(code, x, y)][is_dark(code, x, y + 1)], output->results);
		fputc('\n', output->results);
	}
}

static enum err_code print_qr(struct output *output, const uint8_t secret[static KEY_SIZE], const struct uuid *store_id,
			      struct err *err)
{
	char text[RECOVERY_QR_TEXT_SIZE];
	recovery_key_qr_text(secret, store_id, text);
	AUTO(cleanup_qr) QRcode *code = QRcode_encodeString(text, 0, QR_ECLEVEL_M, QR_MODE_8, /* case sensitive */ 1);
	int failed = errno;
	sodium_memzero(text, sizeof(text));
	if (!code)
		return err_set(err, ERR_NO_MEMORY, failed, "can't make the QR code of the recovery key");
	output_lock(output);
	if (strcmp(nl_langinfo(CODESET), "UTF-8") == 0)
		print_code(output, code);
	else
		fputs("    (no QR code: this terminal's locale is not UTF-8)\n", output->results);
	output_unlock(output);
	sodium_memzero(code->data, (size_t)code->width * (size_t)code->width);
	return ERR_OK;
}

static json_t *paper_key_json(const uint8_t secret[static KEY_SIZE], const struct uuid *store_id)
{
	char line[RECOVERY_LINE_SIZE];
	char text[RECOVERY_QR_TEXT_SIZE];
	char id[UUID_TEXT_SIZE];
	json_t *words = json_array();
	for (unsigned i = 0; i < RECOVERY_LINES; i++) {
		recovery_key_line(secret, i, line);
		json_array_append_new(words, json_string(line));
	}
	recovery_key_qr_text(secret, store_id, text);
	json_t *row = json_pack("{s:s, s:o, s:s}", "store", uuid_format(store_id, id), "words", words, "qr", text);
	sodium_memzero(line, sizeof(line));
	sodium_memzero(text, sizeof(text));
	return row;
}

enum err_code paper_key_print(struct output *output, const uint8_t secret[static KEY_SIZE], const struct uuid *store_id,
			      struct err *err)
{
	if (output->json) {
		output_row(output, "recovery_key", paper_key_json(secret, store_id));
		return output_finish(output, err);
	}
	char line[RECOVERY_LINE_SIZE];
	output_text(
		output,
		"\nThe recovery key, shown this once. Write it down or print it, and keep it away from the store:\n");
	for (unsigned i = 0; i < RECOVERY_LINES; i++) {
		recovery_key_line(secret, i, line);
		output_text(output, "    %u: %s", i + 1, line);
	}
	sodium_memzero(line, sizeof(line));
	output_text(output, "%s", "");
	TRY(print_qr(output, secret, store_id, err));
	output_text(output, "%s", "");
	return output_finish(output, err);
}

enum err_code paper_key_create(const char *path, int *ret_fd, struct err *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, "can't make the recovery key file '%s'", path);
	*ret_fd = fd;
	return ERR_OK;
}

enum err_code paper_key_write(int fd, const char *path, const uint8_t secret[static KEY_SIZE], struct err *err)
{
	char line[RECOVERY_LINE_SIZE];
	bool good = true;
	for (unsigned i = 0; i < RECOVERY_LINES && good; i++) {
		recovery_key_line(secret, i, line);
		good = dprintf(fd, "%u: %s\n", i + 1, line) > 0;
	}
	sodium_memzero(line, sizeof(line));
	if (!good || fsync(fd))
		return err_errno(err, "can't write the recovery key file '%s'", path);
	return ERR_OK;
}

enum err_code paper_key_ask_back(struct output *output, const uint8_t secret[static KEY_SIZE], struct err *err)
{
	unsigned line = randombytes_uniform(RECOVERY_LINES);
	char text[256];
	for (;;) {
		output_lock(output);
		fprintf(output->results, "Type line %u of the recovery key: ", line + 1);
		fflush(output->results);
		output_unlock(output);
		if (!fgets(text, sizeof(text), stdin))
			return err_set(err, ERR_CANCELLED, 0, "the recovery key was not confirmed");
		text[strcspn(text, "\n")] = '\0';
		bool is_right = recovery_key_line_matches(secret, line, text);
		sodium_memzero(text, sizeof(text));
		if (is_right)
			return ERR_OK;
		output_text(output, "That is not line %u. Look again at what you wrote down.", line + 1);
	}
}
