/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/qemu_tool.h"

#include "base/cleanup.h"
#include "base/size.h"
#include "ingest/child_process.h"

#include <string.h>

#define INFO_TIMEOUT_MS 30000
#define INFO_MEMORY_BYTES (2 * GIB)
/* Reading all tables of an image of many TiB from a slow disk takes minutes; counting its clusters takes memory. */
#define CHECK_TIMEOUT_MS (60 * 60 * 1000)
#define CHECK_MEMORY_BYTES (4 * GIB)
#define OUTPUT_MAX (4u << 20)

/* qemu-img(1), "check": how it ends. */
enum check_result {
	CHECK_FINE = 0,
	CHECK_FAILED = 1,
	CHECK_CORRUPTIONS = 2,
	CHECK_LEAKS = 3, /* clusters that nothing uses: no harm to what is read */
	CHECK_UNSUPPORTED = 63,
};

/* Runs `qemu-img VERB` on the image until it ends. Gives *ret. */
static enum err_code run(const char *verb, const char *image, const char *format, uint64_t memory_bytes,
			 unsigned timeout_ms, struct child **ret, struct err *err)
{
	const char *const argv[] = {"qemu-img", verb, "-f", format, "--output=json", "--", image, NULL};
	const struct child_limits limits = {.memory_bytes = memory_bytes, .output_bytes = OUTPUT_MAX};
	AUTO(cleanup_child) struct child *child = NULL;
	struct err why = {0};
	enum err_code code = child_start(argv, &limits, &child, &why);
	if (code == ERR_NOT_FOUND)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s' is read by QEMU, and qemu-img is absent; install qemu-utils", image);
	if (code != ERR_OK)
		return err_set(err, code, 0, "%s", why.msg);
	if (!child_wait(child, timeout_ms))
		return err_set(err, ERR_TIMEOUT, 0, "'qemu-img %s' does not come to an end with '%s' within %u seconds",
			       verb, image, timeout_ms / 1000);
	*ret = TAKE_PTR(child);
	return ERR_OK;
}

enum err_code qemu_tool_info(const char *image, const char *format, json_t **ret, struct err *err)
{
	AUTO(cleanup_child) struct child *child = NULL;
	char words[256];
	TRY(run("info", image, format, INFO_MEMORY_BYTES, INFO_TIMEOUT_MS, &child, err));
	if (!child_succeeded(child))
		return err_set(err, ERR_CORRUPT, 0, "'%s' cannot be read as %s: %s", image, format,
			       child_last_words(child, words, sizeof(words)));
	AUTO_FREE char *text = NULL;
	size_t length;
	TRY(child_output(child, OUTPUT_MAX, &text, &length, err));
	json_error_t error;
	json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
	if (!json)
		return err_set(err, ERR_CORRUPT, 0, "qemu-img says about '%s' what is not understood: %s", image,
			       error.text);
	*ret = json;
	return ERR_OK;
}

enum err_code qemu_tool_check(const char *image, const char *format, struct err *err)
{
	AUTO(cleanup_child) struct child *child = NULL;
	char words[256];
	TRY(run("check", image, format, CHECK_MEMORY_BYTES, CHECK_TIMEOUT_MS, &child, err));
	switch (child_exit_code(child)) {
	case CHECK_FINE:
	case CHECK_LEAKS:
	case CHECK_UNSUPPORTED:
		return ERR_OK;
	case CHECK_CORRUPTIONS:
		return err_set(err, ERR_CORRUPT, 0,
			       "'%s' is damaged (qemu-img check: %s); get a whole copy of it, or repair a copy with "
			       "'qemu-img check -r all'",
			       image, child_first_words(child, words, sizeof(words)));
	case CHECK_FAILED:
		return err_set(
			err, ERR_CORRUPT, 0,
			"'%s' is damaged, its tables cannot be followed (qemu-img check: %s); get a whole copy of "
			"it",
			image, child_first_words(child, words, sizeof(words)));
	default:
		return err_set(err, ERR_IO, 0, "'%s' cannot be checked (qemu-img check: %s)", image,
			       child_last_words(child, words, sizeof(words)));
	}
}
