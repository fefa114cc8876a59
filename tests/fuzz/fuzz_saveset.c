/* SPDX-License-Identifier: Apache-2.0 */
/* Saveset descriptions: what is accepted can be written, and reads as the same again. */
#include "store/saveset.h"

#include "store/segment.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct saveset *saveset, *again;
	struct err err = {0};
	enum err_code code = saveset_decode(data, size, &saveset, &err);
	if (code != ERR_OK) {
		require_message(code, &err);
		return 0;
	}
	for (size_t i = 0; i < saveset->disk_count; i++) {
		const struct saveset_disk *disk = &saveset->disks[i];
		require(disk->map.block_count > 0 && (disk->map.block_count - 1) * BLOCK_SIZE < disk->bytes.size);
	}
	char *text, *text_again;
	size_t length, length_again;
	if (saveset_encode(saveset, &text, &length, &err) == ERR_OK) {
		require(saveset_decode(text, length, &again, &err) == ERR_OK);
		require(saveset_encode(again, &text_again, &length_again, &err) == ERR_OK);
		require(length == length_again && memcmp(text, text_again, length) == 0);
		saveset_free(again);
		free(text_again);
		free(text);
	} else {
		require(err.code == ERR_LIMIT && size > RECORD_RAW_MAX / 2);
	}
	saveset_free(saveset);
	return 0;
}
