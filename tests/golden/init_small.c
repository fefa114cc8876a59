/* SPDX-License-Identifier: Apache-2.0 */
/* init_small STORE PASSPHRASE: makes a store with the smallest segments, stripes and log that the format allows, and a
 * passphrase slot of the least cost. What takes gigabytes in a store as 'xenolith init' makes it (full segments,
 * several stripes in each, a log that starts over) then takes some hundred kilobytes. */
#include "store/io_uring.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

static enum err_code make(const char *path, const char *passphrase, struct err *err)
{
	struct io *io = NULL;
	struct store_config config;
	uint8_t recovery_secret[KEY_SIZE];
	const struct store_init_options options = {
		.segment_size = SEGMENT_SIZE_MIN,
		.stripe_size = STRIPE_SIZE_MIN,
		.log_size = 65536,
		.slot_kind = KEY_SLOT_PASSPHRASE,
		.secret = passphrase,
		.secret_length = strlen(passphrase),
		.slot_name = "small",
		.cost = {.ops = 1, .memory_bytes = 1 << 20},
	};
	TRY(io_uring_tree_new(path, /* create= */ true, &io, err));
	enum err_code code = store_init(io, &options, recovery_secret, &config, err);
	io_free(io);
	return code;
}

int main(int argc, char **argv)
{
	struct err err = {0};
	if (argc != 3) {
		fputs("usage: init_small STORE PASSPHRASE\n", stderr);
		return 2;
	}
	if (make(argv[1], argv[2], &err) == ERR_OK)
		return 0;
	fprintf(stderr, "init_small: %s\n", err.msg);
	return 1;
}
