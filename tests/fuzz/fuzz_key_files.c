/* SPDX-License-Identifier: Apache-2.0 */
/* The files of keys/: whatever stands in them, a store's slots can be listed, and unlocking says what is wrong. An even
 * first byte makes the rest a key slot, an odd one the recovery file. Passphrases are left out: their cost is the
 * file's to choose. */
#include "store/io_sim.h"
#include "store/keys.h"

#include "tests/fuzz/fuzz.h"

static const uint8_t secret[KEY_SIZE] = {"a key file that fits nothing"};

static void put(struct io *io, const char *path, const void *data, size_t size)
{
	require(io_write_file(io, path, data, size, NULL) == ERR_OK);
}

static void try_unlock(struct io *io, enum unlock_kind kind)
{
	struct unlock unlock = {kind, secret, sizeof(secret)};
	struct store_keys *keys = NULL;
	struct err err = {0};
	enum err_code code = keys_unlock(io, &fuzz_store_id, &unlock, &keys, &err);
	if (code == ERR_OK)
		keys_free(keys);
	else
		require_message(code, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct io *io = NULL;
	struct key_slot_info *slots = NULL;
	size_t count = 0, damaged = 0;
	if (size < 1)
		return 0;
	require(io_sim_new(1, 0, &io, NULL) == ERR_OK && io_make_dir(io, "keys", NULL) == ERR_OK);
	put(io, data[0] & 1 ? "keys/recovery" : "keys/slot-00", data + 1, size - 1);
	require(key_slot_list(io, &slots, &count, &damaged, NULL) == ERR_OK);
	require(count + damaged == !(data[0] & 1));
	if (count)
		require(slots[0].name[0] && strlen(slots[0].name) <= KEY_SLOT_NAME_MAX);
	free(slots);
	try_unlock(io, UNLOCK_KEY_FILE);
	try_unlock(io, UNLOCK_RECOVERY);
	try_unlock(io, UNLOCK_MASTER);
	io_free(io);
	return 0;
}
