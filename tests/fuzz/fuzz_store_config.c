/* SPDX-License-Identifier: Apache-2.0 */
/* store.conf: what is accepted has sizes that a writer can work with. */
#include "store/store_internal.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store_config config;
	char check[CONFIG_CHECK_SIZE];
	struct err err = {0};
	enum err_code code = store_config_parse(data, size, &config, check, &err);
	if (code != ERR_OK) {
		require_message(code, &err);
		return 0;
	}
	require(config.format_version == STORE_FORMAT_VERSION && strlen(check) == CONFIG_CHECK_SIZE - 1);
	require(config.segment_size >= SEGMENT_SIZE_MIN && config.segment_size <= SEGMENT_SIZE_MAX);
	require(config.stripe_size >= STRIPE_SIZE_MIN && config.stripe_size <= config.segment_size / 4);
	require(config.segment_size % (SEGMENT_COLUMNS * SEGMENT_CELL_SIZE) == 0 &&
		config.stripe_size % SEGMENT_CELL_SIZE == 0);
	return 0;
}
