/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated disk stands for the store's directory. Passphrases cost as little as Argon2 allows. */
#include "store/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/endian.h"
#include "store/io_sim.h"

#define FILE_MAX 8192

static const struct passphrase_cost cheap = {.ops = 1, .memory_bytes = 8192};
static const char passphrase[] = "correct horse";
static const uint8_t key_file[40] = "0123456789abcdef0123456789abcdef0123456";

struct state {
	struct io *io;
	struct uuid store_id;
	struct store_keys *keys;
	struct store_keys *unlocked;
	uint8_t recovery_secret[KEY_SIZE];
	struct key_slot_info *slots;
	char file[FILE_MAX]; /* the file at hand, zero-terminated */
};

static struct state state;

static int setup(void **unused)
{
	(void)unused;
	struct err err = {0};
	state.store_id = uuid_random();
	if (io_sim_new(1, 0, &state.io, &err) != ERR_OK ||
	    keys_create(state.io, &state.store_id, state.recovery_secret, &state.keys, &err) != ERR_OK) {
		print_error("%s\n", err.msg);
		return -1;
	}
	return 0;
}

static int teardown(void **unused)
{
	(void)unused;
	keys_free(state.keys);
	keys_free(state.unlocked);
	free(state.slots);
	io_free(state.io);
	memset(&state, 0, sizeof(state));
	return 0;
}

/* ---- helpers ---- */

static void assert_ok(enum err_code code, const struct err *err)
{
	if (code != ERR_OK)
		fail_msg("%s: %s", err_code_name(code), err->msg);
}

static void assert_failed(enum err_code code, const struct err *err, enum err_code expected, const char *message)
{
	if (code != expected || err->code != expected || !strstr(err->msg, message))
		fail_msg("expected %s '%s', got %s '%s'", err_code_name(expected), message, err_code_name(code),
			 err->msg);
}

static uint32_t add_slot(enum key_slot_kind kind, const char *name, const void *secret, size_t length)
{
	struct err err = {0};
	uint32_t number = UINT32_MAX;
	assert_ok(key_slot_add(state.io, state.keys, kind, name, secret, length, &cheap, &number, &err), &err);
	return number;
}

static uint32_t add_passphrase(void)
{
	return add_slot(KEY_SLOT_PASSPHRASE, "admin", passphrase, strlen(passphrase));
}

static enum err_code unlock(enum unlock_kind kind, const void *bytes, size_t length, struct err *err)
{
	const struct unlock how = {.kind = kind, .bytes = bytes, .length = length};
	keys_free(state.unlocked);
	state.unlocked = NULL;
	return keys_unlock(state.io, &state.store_id, &how, &state.unlocked, err);
}

static enum err_code unlock_passphrase(struct err *err)
{
	return unlock(UNLOCK_PASSPHRASE, passphrase, strlen(passphrase), err);
}

static void assert_unlocked(void)
{
	assert_non_null(state.unlocked);
	assert_memory_equal(state.unlocked->master, state.keys->master, KEY_SIZE);
	assert_memory_equal(state.unlocked->chunk_id, state.keys->chunk_id, KEY_SIZE);
	assert_memory_equal(state.unlocked->data_wrap, state.keys->data_wrap, KEY_SIZE);
	assert_memory_equal(state.unlocked->recovery_public, state.keys->recovery_public, KEY_SIZE);
	assert_memory_equal(state.unlocked->master_sealed, state.keys->master_sealed, KEY_SEALED_SIZE);
	assert_true(uuid_equal(&state.unlocked->store_id, &state.store_id));
}

/* Loads a file of the store into state.file. */
static void load(const char *path)
{
	uint8_t *data = NULL;
	size_t length = 0;
	struct err err = {0};
	assert_ok(io_read_file(state.io, path, FILE_MAX - 1, &data, &length, &err), &err);
	memcpy(state.file, data, length + 1);
	free(data);
}

static void save_bytes(const char *path, const void *data, size_t length)
{
	struct err err = {0};
	assert_ok(io_write_file(state.io, path, data, length, &err), &err);
}

static void save(const char *path)
{
	save_bytes(path, state.file, strlen(state.file));
}

/* Where the value of field `name` begins in state.file. */
static char *value_of(const char *name)
{
	char line[64];
	snprintf(line, sizeof(line), "%s = ", name);
	for (char *p = state.file; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (strncmp(p, line, strlen(line)) == 0)
			return p + strlen(line);
	fail_msg("no field '%s'", name);
	return NULL;
}

/* Replaces the value of field `name`. */
static void set_value(const char *name, const char *value)
{
	char *at = value_of(name);
	char rest[FILE_MAX];
	snprintf(rest, sizeof(rest), "%s", strchr(at, '\n'));
	snprintf(at, (size_t)(state.file + FILE_MAX - at), "%s%s", value, rest);
}

/* Changes the first hex digit of a field. */
static void spoil(const char *name)
{
	char *at = value_of(name);
	*at = *at == '0' ? '1' : '0';
}

/* ---- creation and unlocking ---- */

static void test_keys_create__derives_five_keys_from_the_master(void **unused)
{
	(void)unused;
	const uint8_t *const derived[] = {state.keys->chunk_id, state.keys->node_id, state.keys->auth,
					  state.keys->meta_wrap, state.keys->data_wrap};
	for (size_t i = 0; i < 5; i++) {
		/* BLAKE2b with the subkey's number as salt and the context as personalisation, libsodium's documented
		 * KDF. */
		uint8_t expected[KEY_SIZE];
		uint8_t salt[crypto_generichash_blake2b_SALTBYTES] = {0};
		uint8_t personal[crypto_generichash_blake2b_PERSONALBYTES] = "xenolith";
		le64_put(salt, i + 1);
		crypto_generichash_blake2b_salt_personal(expected, KEY_SIZE, NULL, 0, state.keys->master, KEY_SIZE,
							 salt, personal);
		assert_memory_equal(derived[i], expected, KEY_SIZE);
	}
	assert_false(state.keys->has_recovery_secret);
	assert_true(sodium_is_zero(state.keys->recovery_secret, KEY_SIZE));
	assert_true(uuid_equal(&state.keys->store_id, &state.store_id));
}

static void test_keys_create__seals_the_master_to_the_recovery_key(void **unused)
{
	(void)unused;
	uint8_t public[KEY_SIZE], master[KEY_SIZE];
	struct err err = {0};
	crypto_scalarmult_base(public, state.recovery_secret);
	assert_memory_equal(public, state.keys->recovery_public, KEY_SIZE);
	assert_ok(key_unseal(public, state.recovery_secret, state.keys->master_sealed, master, &err), &err);
	assert_memory_equal(master, state.keys->master, KEY_SIZE);
}

static void test_keys_create__secrets_are_not_in_the_files(void **unused)
{
	(void)unused;
	char hex[2 * KEY_SIZE + 1];
	add_passphrase();
	const char *const files[] = {"keys/recovery", "keys/slot-00"};
	for (size_t i = 0; i < 2; i++) {
		load(files[i]);
		assert_null(strstr(state.file, hex_format(state.keys->master, KEY_SIZE, hex)));
		assert_null(strstr(state.file, hex_format(state.recovery_secret, KEY_SIZE, hex)));
		assert_null(strstr(state.file, passphrase));
	}
}

static void test_keys_unlock__opens_with_each_kind(void **unused)
{
	(void)unused;
	struct err err = {0};
	add_passphrase();
	add_slot(KEY_SLOT_KEY_FILE, "robot", key_file, sizeof(key_file));
	assert_ok(unlock_passphrase(&err), &err);
	assert_unlocked();
	assert_false(state.unlocked->has_recovery_secret);
	assert_ok(unlock(UNLOCK_KEY_FILE, key_file, sizeof(key_file), &err), &err);
	assert_unlocked();
	assert_ok(unlock(UNLOCK_MASTER, state.keys->master, KEY_SIZE, &err), &err);
	assert_unlocked();
	assert_ok(unlock(UNLOCK_RECOVERY, state.recovery_secret, KEY_SIZE, &err), &err);
	assert_unlocked();
	assert_true(state.unlocked->has_recovery_secret);
	assert_memory_equal(state.unlocked->recovery_secret, state.recovery_secret, KEY_SIZE);
}

static void test_keys_unlock__survives_a_power_cut_after_adding(void **unused)
{
	(void)unused;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct err err = {0};
		add_slot(KEY_SLOT_KEY_FILE, "robot", key_file, sizeof(key_file));
		io_sim_power_cycle(state.io, seed);
		assert_ok(unlock(UNLOCK_KEY_FILE, key_file, sizeof(key_file), &err), &err);
		assert_unlocked();
	}
}

static void test_keys_unlock__finds_the_slot_among_many(void **unused)
{
	(void)unused;
	struct err err = {0};
	add_slot(KEY_SLOT_PASSPHRASE, "one", "one", 3);
	add_slot(KEY_SLOT_KEY_FILE, "robot", key_file, sizeof(key_file));
	add_slot(KEY_SLOT_PASSPHRASE, "two", "two", 3);
	assert_ok(unlock(UNLOCK_PASSPHRASE, "two", 3, &err), &err);
	assert_unlocked();
	assert_ok(unlock(UNLOCK_PASSPHRASE, "one", 3, &err), &err);
	assert_unlocked();
}

static void test_keys_unlock__wrong_secrets_are_refused(void **unused)
{
	(void)unused;
	struct err err = {0};
	uint8_t wrong[KEY_SIZE];
	add_passphrase();
	assert_failed(unlock(UNLOCK_PASSPHRASE, "correct horsf", 13, &err), &err, ERR_AUTH, "wrong passphrase");
	assert_null(strstr(err.msg, "horsf"));
	assert_null(state.unlocked);

	err = (struct err){0};
	assert_failed(unlock(UNLOCK_KEY_FILE, key_file, sizeof(key_file), &err), &err, ERR_NOT_FOUND,
		      "no key slot for a key file");
	/* A passphrase's bytes in a key file do not open the passphrase's slot. */
	add_slot(KEY_SLOT_KEY_FILE, "robot", key_file, sizeof(key_file));
	err = (struct err){0};
	assert_failed(unlock(UNLOCK_KEY_FILE, passphrase, strlen(passphrase), &err), &err, ERR_AUTH, "wrong key file");
	err = (struct err){0};
	assert_failed(unlock(UNLOCK_PASSPHRASE, key_file, sizeof(key_file), &err), &err, ERR_AUTH, "wrong passphrase");

	memcpy(wrong, state.recovery_secret, KEY_SIZE);
	wrong[5] ^= 4;
	err = (struct err){0};
	assert_failed(unlock(UNLOCK_RECOVERY, wrong, KEY_SIZE, &err), &err, ERR_AUTH, "does not belong to the store");
	err = (struct err){0};
	assert_failed(unlock(UNLOCK_RECOVERY, wrong, 31, &err), &err, ERR_INVALID, "has 32 bytes, not 31");
	memcpy(wrong, state.keys->master, KEY_SIZE);
	wrong[0] ^= 1;
	err = (struct err){0};
	assert_failed(unlock(UNLOCK_MASTER, wrong, KEY_SIZE, &err), &err, ERR_AUTH, "does not belong to the store");
	err = (struct err){0};
	assert_failed(unlock(UNLOCK_MASTER, wrong, 33, &err), &err, ERR_INVALID, "has 32 bytes, not 33");
}

static void test_keys_unlock__slot_of_another_store_does_not_open(void **unused)
{
	(void)unused;
	struct err err = {0};
	add_passphrase();
	state.store_id.bytes[3] ^= 1;
	assert_failed(unlock_passphrase(&err), &err, ERR_AUTH, "wrong passphrase");
}

/* ---- damage and forgery ---- */

static void test_keys_unlock__changed_slot_does_not_open(void **unused)
{
	(void)unused;
	static const char *const fields[] = {"salt", "master"};
	add_passphrase();
	for (size_t i = 0; i < 2; i++) {
		struct err err = {0};
		load("keys/slot-00");
		spoil(fields[i]);
		save("keys/slot-00");
		assert_failed(unlock_passphrase(&err), &err, ERR_AUTH, "wrong passphrase");
		spoil(fields[i]);
	}
	struct err err = {0};
	load("keys/slot-00");
	set_value("argon2-ops", "2");
	save("keys/slot-00");
	assert_failed(unlock_passphrase(&err), &err, ERR_AUTH, "wrong passphrase");
}

/* One changed line of the slot file, and what has to be said about it. */
static void expect_damaged(const char *field, const char *value, enum err_code code, const char *message)
{
	char whole[FILE_MAX];
	struct err err = {0};
	load("keys/slot-00");
	memcpy(whole, state.file, sizeof(whole));
	set_value(field, value);
	save("keys/slot-00");
	assert_failed(unlock_passphrase(&err), &err, code, message);
	assert_non_null(strstr(err.msg, "'keys/slot-00'"));
	memcpy(state.file, whole, sizeof(whole));
	save("keys/slot-00");
}

static void test_keys_unlock__damaged_slot_is_named(void **unused)
{
	(void)unused;
	add_passphrase();
	expect_damaged("kind", "retina", ERR_CORRUPT, "its 'kind'");
	expect_damaged("name", "", ERR_CORRUPT, "its 'name'");
	expect_damaged("name", "a\tb", ERR_CORRUPT, "its 'name'");
	expect_damaged("name", "12345678901234567890123456789012345678901234567890123456789012345", ERR_CORRUPT,
		       "its 'name'");
	expect_damaged("created", "yesterday", ERR_CORRUPT, "its 'created'");
	expect_damaged("created", "2026-02-30T00:00:00Z", ERR_CORRUPT, "its 'created'");
	expect_damaged("argon2-ops", "-1", ERR_CORRUPT, "its 'argon2-ops'");
	expect_damaged("salt", "00", ERR_CORRUPT, "its 'salt'");
	expect_damaged("salt", "zz112233445566778899aabbccddeeff", ERR_CORRUPT, "its 'salt'");
	expect_damaged("master", "", ERR_CORRUPT, "its 'master'");
	expect_damaged("xenolith-key-slot", "2", ERR_UNSUPPORTED, "has format version 2");
	expect_damaged("xenolith-key-slot", "one", ERR_CORRUPT, "its 'xenolith-key-slot'");
}

static void test_keys_unlock__absurd_cost_is_refused_before_it_is_paid(void **unused)
{
	(void)unused;
	add_passphrase();
	expect_damaged("argon2-ops", "0", ERR_CORRUPT, "its 'argon2-ops'");
	expect_damaged("argon2-ops", "65", ERR_CORRUPT, "its 'argon2-ops'");
	expect_damaged("argon2-ops", "18446744073709551616", ERR_CORRUPT, "its 'argon2-ops'");
	expect_damaged("argon2-memory", "8191", ERR_CORRUPT, "its 'argon2-memory'");
	expect_damaged("argon2-memory", "4294967297", ERR_CORRUPT, "its 'argon2-memory'");
	expect_damaged("argon2-memory", "9223372036854775807", ERR_CORRUPT, "its 'argon2-memory'");
}

static void test_keys_unlock__every_truncation_of_a_slot_is_damage(void **unused)
{
	(void)unused;
	add_passphrase();
	load("keys/slot-00");
	size_t length = strlen(state.file);
	for (size_t cut = 0; cut < length; cut++) {
		struct err err = {0};
		save_bytes("keys/slot-00", state.file, cut);
		assert_failed(unlock_passphrase(&err), &err, ERR_CORRUPT, "key file 'keys/slot-00' is damaged");
	}
	struct err err = {0};
	save_bytes("keys/slot-00", state.file, length + 1);
	assert_failed(unlock_passphrase(&err), &err, ERR_CORRUPT, "1 bytes too many");
	err = (struct err){0};
	memset(state.file, 'x', sizeof(state.file));
	save_bytes("keys/slot-00", state.file, 4097);
	assert_failed(unlock_passphrase(&err), &err, ERR_CORRUPT, "longer than 4096 bytes");
}

static void test_keys_unlock__whole_slot_opens_beside_a_damaged_one(void **unused)
{
	(void)unused;
	struct err err = {0};
	add_slot(KEY_SLOT_PASSPHRASE, "first", "first", 5);
	add_passphrase();
	save_bytes("keys/slot-00", "rubbish\n", 8);
	save_bytes("keys/slot-64", "rubbish\n", 8);
	save_bytes("keys/slot-7", "rubbish\n", 8);
	save_bytes("keys/slot-01.new", "rubbish\n", 8);
	assert_ok(unlock_passphrase(&err), &err);
	assert_unlocked();
}

static void test_keys_unlock__missing_recovery_file_is_named(void **unused)
{
	(void)unused;
	struct err err = {0};
	add_passphrase();
	assert_ok(io_remove(state.io, "keys/recovery", &err), &err);
	assert_failed(unlock_passphrase(&err), &err, ERR_CORRUPT, "key file 'keys/recovery' is missing");
	err = (struct err){0};
	assert_failed(unlock(UNLOCK_PASSPHRASE, "wrong", 5, &err), &err, ERR_AUTH, "wrong passphrase");
	err = (struct err){0};
	assert_failed(unlock(UNLOCK_RECOVERY, state.recovery_secret, KEY_SIZE, &err), &err, ERR_CORRUPT,
		      "'keys/recovery' is missing");
	assert_null(state.unlocked);
}

static void test_keys_unlock__forged_recovery_key_is_refused(void **unused)
{
	(void)unused;
	struct err err = {0};
	uint8_t public[KEY_SIZE], secret[KEY_SIZE];
	char hex[2 * KEY_SIZE + 1];
	add_passphrase();
	crypto_box_keypair(public, secret);
	load("keys/recovery");
	set_value("public", hex_format(public, KEY_SIZE, hex));
	save("keys/recovery");
	assert_failed(unlock_passphrase(&err), &err, ERR_CORRUPT, "is not the one that was made for this store");
	err = (struct err){0};
	assert_failed(unlock(UNLOCK_RECOVERY, state.recovery_secret, KEY_SIZE, &err), &err, ERR_AUTH,
		      "'keys/recovery' names another one");
	err = (struct err){0};
	assert_failed(unlock(UNLOCK_RECOVERY, secret, KEY_SIZE, &err), &err, ERR_CORRUPT, "its master does not open");
	assert_null(state.unlocked);
}

static void test_keys_unlock__changed_recovery_file_is_refused(void **unused)
{
	(void)unused;
	static const char *const fields[] = {"public", "master", "check"};
	add_passphrase();
	for (size_t i = 0; i < 3; i++) {
		struct err err = {0};
		load("keys/recovery");
		spoil(fields[i]);
		save("keys/recovery");
		assert_failed(unlock_passphrase(&err), &err, ERR_CORRUPT, "'keys/recovery' is not the one");
		spoil(fields[i]);
		save("keys/recovery");
	}
	struct err err = {0};
	load("keys/recovery");
	set_value("xenolith-recovery", "7");
	save("keys/recovery");
	assert_failed(unlock_passphrase(&err), &err, ERR_UNSUPPORTED, "has format version 7");
}

/* ---- slots ---- */

static void test_key_slot_add__refuses_bad_input(void **unused)
{
	(void)unused;
	static const struct {
		enum key_slot_kind kind;
		const char *name;
		size_t length;
		struct passphrase_cost cost;
		const char *message;
	} cases[] = {
		{KEY_SLOT_PASSPHRASE, "", 5, {1, 8192}, "name of a key slot"},
		{KEY_SLOT_PASSPHRASE, "a\nb", 5, {1, 8192}, "name of a key slot"},
		{KEY_SLOT_PASSPHRASE, "a\x7f", 5, {1, 8192}, "name of a key slot"},
		{KEY_SLOT_PASSPHRASE, "\xc2\x85", 5, {1, 8192}, "name of a key slot"},
		{KEY_SLOT_PASSPHRASE, "\xff", 5, {1, 8192}, "name of a key slot"},
		{KEY_SLOT_PASSPHRASE, "\xc3", 5, {1, 8192}, "name of a key slot"},
		{KEY_SLOT_PASSPHRASE, "\xed\xa0\x80", 5, {1, 8192}, "name of a key slot"},
		{KEY_SLOT_PASSPHRASE,
		 "12345678901234567890123456789012345678901234567890123456789012345",
		 5,
		 {1, 8192},
		 "name of a key slot"},
		{KEY_SLOT_PASSPHRASE, "a", 0, {1, 8192}, "the passphrase is empty"},
		{KEY_SLOT_KEY_FILE, "a", 0, {0, 0}, "the key file is empty"},
		{KEY_SLOT_KEY_FILE, "a", 31, {0, 0}, "the key file has 31 bytes"},
		{KEY_SLOT_PASSPHRASE, "a", 5, {65, 8192}, "1 to 64 passes"},
		{KEY_SLOT_PASSPHRASE, "a", 5, {1, 8191}, "8 KiB to 4 GiB"},
		{KEY_SLOT_PASSPHRASE, "a", 5, {1, UINT64_C(4294967297)}, "8 KiB to 4 GiB"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = {0};
		uint32_t number = 77;
		enum err_code code = key_slot_add(state.io, state.keys, cases[i].kind, cases[i].name, key_file,
						  cases[i].length, &cases[i].cost, &number, &err);
		assert_failed(code, &err, ERR_INVALID, cases[i].message);
		assert_int_equal(number, 77);
	}
}

static void test_key_slot_list__tells_what_was_added(void **unused)
{
	(void)unused;
	struct err err = {0};
	size_t count = 99, damaged = 99;
	uint64_t before = clock_unix_s();
	assert_int_equal(add_passphrase(), 0);
	assert_int_equal(add_slot(KEY_SLOT_KEY_FILE, "B\xc3\xbcro = 1", key_file, sizeof(key_file)), 1);
	assert_int_equal(add_slot(KEY_SLOT_PASSPHRASE, "x", "x", 1), 2);
	save_bytes("keys/slot-02", "rubbish", 7);
	assert_ok(key_slot_list(state.io, &state.slots, &count, &damaged, &err), &err);
	assert_int_equal(count, 2);
	assert_int_equal(damaged, 1);
	assert_int_equal(state.slots[0].number, 0);
	assert_int_equal(state.slots[0].kind, KEY_SLOT_PASSPHRASE);
	assert_string_equal(state.slots[0].name, "admin");
	assert_true(state.slots[0].created_unix_s >= before && state.slots[0].created_unix_s <= clock_unix_s());
	assert_int_equal(state.slots[1].number, 1);
	assert_int_equal(state.slots[1].kind, KEY_SLOT_KEY_FILE);
	assert_string_equal(state.slots[1].name, "B\xc3\xbcro = 1");
}

static void test_key_slot_list__new_store_has_none(void **unused)
{
	(void)unused;
	struct err err = {0};
	size_t count = 99, damaged = 99;
	assert_ok(key_slot_list(state.io, &state.slots, &count, &damaged, &err), &err);
	assert_int_equal(count, 0);
	assert_int_equal(damaged, 0);
	assert_failed(unlock_passphrase(&err), &err, ERR_NOT_FOUND, "no key slot for a passphrase");
}

static void test_key_slot_add__fills_gaps_and_has_a_limit(void **unused)
{
	(void)unused;
	struct err err = {0};
	uint32_t number = 0;
	for (uint32_t i = 0; i < KEY_SLOT_MAX; i++)
		assert_int_equal(add_slot(KEY_SLOT_KEY_FILE, "k", key_file, sizeof(key_file)), i);
	assert_failed(key_slot_add(state.io, state.keys, KEY_SLOT_KEY_FILE, "k", key_file, sizeof(key_file), NULL,
				   &number, &err),
		      &err, ERR_LIMIT, "64 key slots already");
	err = (struct err){0};
	assert_ok(key_slot_remove(state.io, 41, &err), &err);
	assert_int_equal(add_slot(KEY_SLOT_KEY_FILE, "k", key_file, sizeof(key_file)), 41);
}

static void test_key_slot_remove__closes_the_door(void **unused)
{
	(void)unused;
	struct err err = {0};
	add_passphrase();
	add_slot(KEY_SLOT_PASSPHRASE, "other", "other", 5);
	assert_ok(key_slot_remove(state.io, 0, &err), &err);
	assert_failed(unlock_passphrase(&err), &err, ERR_AUTH, "wrong passphrase");
	err = (struct err){0};
	assert_ok(unlock(UNLOCK_PASSPHRASE, "other", 5, &err), &err);
}

static void test_key_slot_remove__keeps_the_last_that_works(void **unused)
{
	(void)unused;
	struct err err = {0};
	add_passphrase();
	add_slot(KEY_SLOT_PASSPHRASE, "other", "other", 5);
	save_bytes("keys/slot-01", "rubbish", 7);
	assert_failed(key_slot_remove(state.io, 0, &err), &err, ERR_INVALID, "key slot 0 is the last one that works");
	err = (struct err){0};
	assert_ok(key_slot_remove(state.io, 1, &err), &err);
	assert_failed(key_slot_remove(state.io, 0, &err), &err, ERR_INVALID, "key slot 0 is the last one that works");
	err = (struct err){0};
	assert_failed(key_slot_remove(state.io, 1, &err), &err, ERR_NOT_FOUND, "no key slot 1");
	err = (struct err){0};
	assert_failed(key_slot_remove(state.io, 4096, &err), &err, ERR_NOT_FOUND, "no key slot 4096");
	err = (struct err){0};
	assert_ok(unlock_passphrase(&err), &err);
}

static void test_key_slot_add__failing_disk_is_told_and_leaves_the_rest(void **unused)
{
	(void)unused;
	add_passphrase();
	bool failed = true;
	for (uint64_t call = 1; failed; call++) {
		struct err err = {0};
		uint32_t number;
		assert_true(call < 50);
		io_sim_arm(state.io, call, IO_SIM_EIO, false);
		enum err_code code = key_slot_add(state.io, state.keys, KEY_SLOT_KEY_FILE, "k", key_file,
						  sizeof(key_file), NULL, &number, &err);
		io_sim_arm(state.io, 1, IO_SIM_NONE, false);
		failed = code != ERR_OK;
		if (failed)
			assert_failed(code, &err, ERR_IO, "");
		err = (struct err){0};
		assert_ok(unlock_passphrase(&err), &err);
	}
}

/* ---- wrapping, sealing, MAC ---- */

static void test_key_wrap__opens_with_the_same_key_and_context_only(void **unused)
{
	(void)unused;
	uint8_t key[KEY_SIZE], wrapped[KEY_WRAPPED_SIZE], again[KEY_WRAPPED_SIZE], opened[KEY_SIZE];
	struct uuid context = uuid_random(), other = context;
	struct err err = {0};
	randombytes_buf(key, sizeof(key));
	key_wrap(state.keys->data_wrap, &context, key, wrapped);
	key_wrap(state.keys->data_wrap, &context, key, again);
	assert_memory_not_equal(wrapped, again, sizeof(wrapped));
	assert_ok(key_unwrap(state.keys->data_wrap, &context, wrapped, opened, &err), &err);
	assert_memory_equal(opened, key, KEY_SIZE);

	other.bytes[15] ^= 1;
	assert_failed(key_unwrap(state.keys->data_wrap, &other, wrapped, opened, &err), &err, ERR_CORRUPT,
		      "damaged or was forged");
	assert_int_equal(key_unwrap(state.keys->meta_wrap, &context, wrapped, opened, NULL), ERR_CORRUPT);
	for (size_t i = 0; i < sizeof(wrapped); i++) {
		wrapped[i] ^= 0x10;
		assert_int_equal(key_unwrap(state.keys->data_wrap, &context, wrapped, opened, NULL), ERR_CORRUPT);
		wrapped[i] ^= 0x10;
	}
}

static void test_key_seal__opens_with_the_recovery_secret_only(void **unused)
{
	(void)unused;
	uint8_t key[KEY_SIZE], sealed[KEY_SEALED_SIZE], opened[KEY_SIZE], secret[KEY_SIZE];
	struct err err = {0};
	randombytes_buf(key, sizeof(key));
	key_seal(state.keys->recovery_public, key, sealed);
	assert_ok(key_unseal(state.keys->recovery_public, state.recovery_secret, sealed, opened, &err), &err);
	assert_memory_equal(opened, key, KEY_SIZE);
	memcpy(secret, state.recovery_secret, KEY_SIZE);
	secret[9] ^= 8;
	assert_failed(key_unseal(state.keys->recovery_public, secret, sealed, opened, &err), &err, ERR_CORRUPT,
		      "damaged or was forged");
	sealed[70] ^= 1;
	assert_int_equal(key_unseal(state.keys->recovery_public, state.recovery_secret, sealed, opened, NULL),
			 ERR_CORRUPT);
}

static void test_key_mac__is_blake2b_over_lengths_and_parts(void **unused)
{
	(void)unused;
	static const uint8_t joined[] = {3, 0, 0, 0, 0, 0, 0, 0, 'a', 'b', 'c', 0, 0, 0,
					 0, 0, 0, 0, 0, 1, 0, 0, 0,   0,   0,   0, 0, 'd'};
	const struct mac_part parts[] = {{"abc", 3}, {"", 0}, {"d", 1}};
	const struct mac_part moved[] = {{"ab", 2}, {"", 0}, {"cd", 2}};
	uint8_t mac[32], expected[32];
	key_mac(state.keys->auth, parts, 3, mac);
	crypto_generichash(expected, 32, joined, sizeof(joined), state.keys->auth, KEY_SIZE);
	assert_memory_equal(mac, expected, 32);
	key_mac(state.keys->auth, moved, 3, expected);
	assert_memory_not_equal(mac, expected, 32);
	key_mac(state.keys->node_id, parts, 3, expected);
	assert_memory_not_equal(mac, expected, 32);
}

#define KEYS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		KEYS_TEST(test_keys_create__derives_five_keys_from_the_master),
		KEYS_TEST(test_keys_create__seals_the_master_to_the_recovery_key),
		KEYS_TEST(test_keys_create__secrets_are_not_in_the_files),
		KEYS_TEST(test_keys_unlock__opens_with_each_kind),
		KEYS_TEST(test_keys_unlock__survives_a_power_cut_after_adding),
		KEYS_TEST(test_keys_unlock__finds_the_slot_among_many),
		KEYS_TEST(test_keys_unlock__wrong_secrets_are_refused),
		KEYS_TEST(test_keys_unlock__slot_of_another_store_does_not_open),
		KEYS_TEST(test_keys_unlock__changed_slot_does_not_open),
		KEYS_TEST(test_keys_unlock__damaged_slot_is_named),
		KEYS_TEST(test_keys_unlock__absurd_cost_is_refused_before_it_is_paid),
		KEYS_TEST(test_keys_unlock__every_truncation_of_a_slot_is_damage),
		KEYS_TEST(test_keys_unlock__whole_slot_opens_beside_a_damaged_one),
		KEYS_TEST(test_keys_unlock__missing_recovery_file_is_named),
		KEYS_TEST(test_keys_unlock__forged_recovery_key_is_refused),
		KEYS_TEST(test_keys_unlock__changed_recovery_file_is_refused),
		KEYS_TEST(test_key_slot_add__refuses_bad_input),
		KEYS_TEST(test_key_slot_list__tells_what_was_added),
		KEYS_TEST(test_key_slot_list__new_store_has_none),
		KEYS_TEST(test_key_slot_add__fills_gaps_and_has_a_limit),
		KEYS_TEST(test_key_slot_remove__closes_the_door),
		KEYS_TEST(test_key_slot_remove__keeps_the_last_that_works),
		KEYS_TEST(test_key_slot_add__failing_disk_is_told_and_leaves_the_rest),
		KEYS_TEST(test_key_wrap__opens_with_the_same_key_and_context_only),
		KEYS_TEST(test_key_seal__opens_with_the_recovery_secret_only),
		KEYS_TEST(test_key_mac__is_blake2b_over_lengths_and_parts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
