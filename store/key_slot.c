/* SPDX-License-Identifier: Apache-2.0 */
/* Key slots: each keeps the master for one passphrase or key file, so that losing or changing one rewrites a slot and
 * never data.
 *
 * A slot is the text file keys/slot-NN, NN being its number in two decimal digits (00..63), with these lines in this
 * order, each ended by a newline:
 *
 *   xenolith-key-slot = 1
 *   kind = passphrase | key-file
 *   name = 1..64 bytes of UTF-8 without control characters
 *   created = 2026-11-22T09:48:00Z
 *   argon2-ops = 1..64              (0 for a key file)
 *   argon2-memory = 8192..2^32      bytes (0 for a key file)
 *   salt = 32 hex digits            16 random bytes
 *   master = 144 hex digits         nonce (24), master encrypted (32), tag (16)
 *
 * The master is encrypted with XChaCha20-Poly1305 under the key-encryption key (KEK):
 *
 *   passphrase: Argon2id version 1.3, one lane, of the passphrase's bytes with salt, ops and memory; 32 bytes
 *               (crypto_pwhash with crypto_pwhash_ALG_ARGON2ID13)
 *   key file:   unkeyed BLAKE2b-256 of "xenolith key file" (17 bytes), salt, the file's bytes
 *
 * Associated data, 49 bytes: store id (16), kind (1: 1 passphrase, 2 key file), salt (16), argon2-ops (8,
 * little-endian), argon2-memory (8, little-endian).
 *
 * Slots come from outside: the limits on the cost keep a forged one from taking the machine's memory. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/endian.h"
#include "base/size.h"
#include "store/keys_internal.h"

#define SLOT_VERSION_FIELD "xenolith-key-slot"
#define SLOT_PREFIX "slot-"
#define SLOT_PATH_SIZE 16 /* "keys/slot-NN" */
#define SALT_SIZE 16
#define KEY_FILE_SECRET_MIN 32 /* bytes: a key file is not stretched, so it has to be unguessable by itself */
#define KEY_FILE_LABEL "xenolith key file"

#define ARGON2_OPS_DEFAULT UINT64_C(6)
#define ARGON2_MEMORY_DEFAULT (128 * MIB)
#define ARGON2_OPS_MAX UINT64_C(64)
#define ARGON2_MEMORY_MIN UINT64_C(8192) /* crypto_pwhash_MEMLIMIT_MIN */
#define ARGON2_MEMORY_MAX (4 * GIB)

_Static_assert(SALT_SIZE == crypto_pwhash_SALTBYTES, "size of Argon2's salt");
_Static_assert(ARGON2_MEMORY_MIN == crypto_pwhash_argon2id_MEMLIMIT_MIN, "smallest memory of Argon2");

struct slot {
	struct key_slot_info info;
	struct passphrase_cost cost; /* zeroes for a key file */
	uint8_t salt[SALT_SIZE];
	uint8_t master[KEY_WRAPPED_SIZE];
};

/* The numbers of the slot files that are there, as bits. */
struct slot_set {
	uint64_t bits;
};

_Static_assert(KEY_SLOT_MAX == 64, "one bit per slot");

static bool slot_set_has(const struct slot_set *set, uint32_t number)
{
	return number < KEY_SLOT_MAX && (set->bits >> number & 1);
}

static const char *kind_name(enum key_slot_kind kind)
{
	return kind == KEY_SLOT_PASSPHRASE ? "passphrase" : "key-file";
}

/* What people call what opens a slot of `kind`. */
static const char *kind_secret(enum key_slot_kind kind)
{
	return kind == KEY_SLOT_PASSPHRASE ? "passphrase" : "key file";
}

static char *slot_path(uint32_t number, char dst[static SLOT_PATH_SIZE])
{
	snprintf(dst, SLOT_PATH_SIZE, KEYS_DIR "/" SLOT_PREFIX "%02u", (unsigned)(number % 100));
	return dst;
}

/* ---- the file ---- */

static void slot_parse_kind(struct key_text *text, enum key_slot_kind *ret)
{
	char value[16];
	key_text_string(text, "kind", value, sizeof(value));
	*ret = strcmp(value, "key-file") == 0 ? KEY_SLOT_KEY_FILE : KEY_SLOT_PASSPHRASE;
	if (!text->bad_field && strcmp(value, kind_name(*ret)) != 0)
		text->bad_field = "kind";
}

static enum err_code slot_parse(const char *path, uint32_t number, const void *data, size_t length, struct slot *ret,
				struct err *err)
{
	struct slot slot = {.info.number = number};
	struct key_text text = key_text_of(path, data, length);
	TRY(key_text_version(&text, SLOT_VERSION_FIELD, err));
	slot_parse_kind(&text, &slot.info.kind);
	bool stretches = slot.info.kind == KEY_SLOT_PASSPHRASE;
	key_text_string(&text, "name", slot.info.name, sizeof(slot.info.name));
	slot.info.created_unix_s = key_text_time(&text, "created");
	slot.cost.ops = key_text_number(&text, "argon2-ops", stretches, stretches ? ARGON2_OPS_MAX : 0);
	slot.cost.memory_bytes = key_text_number(&text, "argon2-memory", stretches ? ARGON2_MEMORY_MIN : 0,
						 stretches ? ARGON2_MEMORY_MAX : 0);
	key_text_hex(&text, "salt", slot.salt, sizeof(slot.salt));
	key_text_hex(&text, "master", slot.master, sizeof(slot.master));
	TRY(key_text_finish(&text, err));
	*ret = slot;
	return ERR_OK;
}

static enum err_code slot_read(struct io *io, uint32_t number, struct slot *ret, struct err *err)
{
	char path[SLOT_PATH_SIZE];
	AUTO_FREE uint8_t *data = NULL;
	size_t length = 0;
	struct err cause = {0};
	slot_path(number, path);
	enum err_code code = io_read_file(io, path, KEY_FILE_MAX, &data, &length, &cause);
	if (code == ERR_LIMIT)
		return err_set(err, ERR_CORRUPT, 0, "key file '%s' is damaged: it is longer than %d bytes", path,
			       KEY_FILE_MAX);
	if (code != ERR_OK)
		return pass_on(err, &cause);
	return slot_parse(path, number, data, length, ret, err);
}

static enum err_code slot_write(struct io *io, const struct slot *slot, struct err *err)
{
	char text[KEY_FILE_MAX];
	char path[SLOT_PATH_SIZE];
	char created[CLOCK_TEXT_SIZE];
	char salt[2 * SALT_SIZE + 1];
	char master[2 * KEY_WRAPPED_SIZE + 1];
	int n = snprintf(text, sizeof(text),
			 SLOT_VERSION_FIELD " = 1\nkind = %s\nname = %s\ncreated = %s\nargon2-ops = %llu\n"
					    "argon2-memory = %llu\nsalt = %s\nmaster = %s\n",
			 kind_name(slot->info.kind), slot->info.name,
			 clock_format_utc(slot->info.created_unix_s, created), (unsigned long long)slot->cost.ops,
			 (unsigned long long)slot->cost.memory_bytes, hex_format(slot->salt, SALT_SIZE, salt),
			 hex_format(slot->master, KEY_WRAPPED_SIZE, master));
	return io_write_file(io, slot_path(slot->info.number, path), text, (size_t)n, err);
}

/* ---- opening and closing ---- */

#define SLOT_AD_SIZE 49

static void slot_ad(const struct slot *slot, const struct uuid *store_id, uint8_t ad[static SLOT_AD_SIZE])
{
	memcpy(ad, store_id->bytes, 16);
	ad[16] = slot->info.kind == KEY_SLOT_PASSPHRASE ? 1 : 2;
	memcpy(ad + 17, slot->salt, SALT_SIZE);
	le64_put(ad + 33, slot->cost.ops);
	le64_put(ad + 41, slot->cost.memory_bytes);
}

static enum err_code slot_kek(const struct slot *slot, const void *secret, size_t length,
			      uint8_t ret_kek[static KEY_SIZE], struct err *err)
{
	if (slot->info.kind == KEY_SLOT_PASSPHRASE) {
		char memory[SIZE_TEXT_SIZE];
		if (crypto_pwhash(ret_kek, KEY_SIZE, secret, length, slot->salt, slot->cost.ops,
				  (size_t)slot->cost.memory_bytes, crypto_pwhash_ALG_ARGON2ID13) != 0)
			return err_set(err, ERR_NO_MEMORY, 0, "key slot %u: trying a passphrase needs %s of memory",
				       (unsigned)slot->info.number, size_format(slot->cost.memory_bytes, memory));
		return ERR_OK;
	}
	crypto_generichash_state state;
	crypto_generichash_init(&state, NULL, 0, KEY_SIZE);
	crypto_generichash_update(&state, (const uint8_t *)KEY_FILE_LABEL, strlen(KEY_FILE_LABEL));
	crypto_generichash_update(&state, slot->salt, SALT_SIZE);
	crypto_generichash_update(&state, secret, length);
	crypto_generichash_final(&state, ret_kek, KEY_SIZE);
	sodium_memzero(&state, sizeof(state));
	return ERR_OK;
}

/* ERR_AUTH if `secret` is not the slot's. */
static enum err_code slot_open(const struct slot *slot, const struct uuid *store_id, const void *secret, size_t length,
			       uint8_t ret_master[static KEY_SIZE], struct err *err)
{
	uint8_t kek[KEY_SIZE];
	uint8_t ad[SLOT_AD_SIZE];
	enum err_code code = slot_kek(slot, secret, length, kek, err);
	slot_ad(slot, store_id, ad);
	if (code == ERR_OK && !key_unwrap_with_ad(kek, ad, sizeof(ad), slot->master, ret_master))
		code = ERR_AUTH;
	sodium_memzero(kek, sizeof(kek));
	return code;
}

/* ---- the directory ---- */

/* The number in "slot-NN", or KEY_SLOT_MAX for any other name. */
static uint32_t slot_number(const char *name)
{
	const char *digits = name + strlen(SLOT_PREFIX);
	if (strlen(name) != strlen(SLOT_PREFIX) + 2 || strncmp(name, SLOT_PREFIX, strlen(SLOT_PREFIX)) != 0)
		return KEY_SLOT_MAX;
	for (int i = 0; i < 2; i++)
		if (digits[i] < '0' || digits[i] > '9')
			return KEY_SLOT_MAX;
	uint32_t number = (uint32_t)(digits[0] - '0') * 10 + (uint32_t)(digits[1] - '0');
	return number < KEY_SLOT_MAX ? number : KEY_SLOT_MAX;
}

static enum err_code note_entry(void *user, const char *name, struct err *err)
{
	(void)err;
	struct slot_set *set = user;
	uint32_t number = slot_number(name);
	if (number < KEY_SLOT_MAX)
		set->bits |= UINT64_C(1) << number;
	return ERR_OK;
}

static enum err_code list_slots(struct io *io, struct slot_set *ret, struct err *err)
{
	*ret = (struct slot_set){0};
	return io_list(io, KEYS_DIR, note_entry, ret, err);
}

/* True if `code` says that the slot itself is no good, false if reading it failed for another reason. */
static bool is_damage(enum err_code code)
{
	return code == ERR_CORRUPT || code == ERR_UNSUPPORTED;
}

enum err_code key_slots_open(struct io *io, const struct uuid *store_id, enum key_slot_kind kind, const void *secret,
			     size_t length, uint8_t ret_master[static KEY_SIZE], struct err *err)
{
	struct slot_set set;
	struct err damage = {0};
	size_t tried = 0;
	TRY(list_slots(io, &set, err));
	for (uint32_t number = 0; number < KEY_SLOT_MAX; number++) {
		if (!slot_set_has(&set, number))
			continue;
		struct slot slot = {0};
		struct err cause = {0};
		enum err_code code = slot_read(io, number, &slot, &cause);
		if (code == ERR_OK && slot.info.kind != kind)
			continue;
		if (code == ERR_OK) {
			tried++;
			code = slot_open(&slot, store_id, secret, length, ret_master, &cause);
		}
		if (code == ERR_OK)
			return ERR_OK;
		if (code != ERR_AUTH)
			err_set(&damage, code, 0, "%s", cause.msg);
	}
	if (damage.code != ERR_OK)
		return err_set(err, damage.code, 0, "no key slot opens with this %s, but one could not be tried: %s",
			       kind_secret(kind), damage.msg);
	if (tried == 0)
		return err_set(err, ERR_NOT_FOUND, 0, "the store has no key slot for a %s", kind_secret(kind));
	return err_set(err, ERR_AUTH, 0, "wrong %s: it opens none of the store's %zu key slot%s", kind_secret(kind),
		       tried, tried == 1 ? "" : "s of its kind");
}

/* ---- public functions ---- */

/* Length of the well-formed UTF-8 character at `p` (zero-terminated), or 0. */
static size_t utf8_length(const unsigned char *p)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	bool is_overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
	bool is_outside = (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf4 && p[1] >= 0x90);
	return is_overlong || is_outside ? 0 : n;
}

static bool is_good_name(const char *name)
{
	const unsigned char *p = (const unsigned char *)name;
	if (!*p || strlen(name) > KEY_SLOT_NAME_MAX)
		return false;
	while (*p) {
		size_t n = utf8_length(p);
		bool is_control = p[0] < ' ' || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0);
		if (n == 0 || is_control)
			return false;
		p += n;
	}
	return true;
}

static enum err_code check_secret(enum key_slot_kind kind, size_t length, struct err *err)
{
	if (length == 0)
		return err_set(err, ERR_INVALID, 0, "the %s is empty", kind_secret(kind));
	if (kind == KEY_SLOT_KEY_FILE && length < KEY_FILE_SECRET_MIN)
		return err_set(err, ERR_INVALID, 0, "the key file has %zu bytes; make one of at least %d random bytes",
			       length, KEY_FILE_SECRET_MIN);
	return ERR_OK;
}

/* The cost with the defaults filled in; zeroes for a key file. */
static enum err_code check_cost(enum key_slot_kind kind, const struct passphrase_cost *cost,
				struct passphrase_cost *ret, struct err *err)
{
	*ret = (struct passphrase_cost){0};
	if (kind == KEY_SLOT_KEY_FILE)
		return ERR_OK;
	ret->ops = cost && cost->ops ? cost->ops : ARGON2_OPS_DEFAULT;
	ret->memory_bytes = cost && cost->memory_bytes ? cost->memory_bytes : ARGON2_MEMORY_DEFAULT;
	if (ret->ops > ARGON2_OPS_MAX || ret->memory_bytes < ARGON2_MEMORY_MIN || ret->memory_bytes > ARGON2_MEMORY_MAX)
		return err_set(err, ERR_INVALID, 0,
			       "a passphrase may cost 1 to %llu passes over 8 KiB to 4 GiB of memory, not %llu over "
			       "%llu bytes",
			       (unsigned long long)ARGON2_OPS_MAX, (unsigned long long)ret->ops,
			       (unsigned long long)ret->memory_bytes);
	return ERR_OK;
}

enum err_code key_slot_add(struct io *io, const struct store_keys *keys, enum key_slot_kind kind, const char *name,
			   const void *secret, size_t secret_length, const struct passphrase_cost *cost,
			   uint32_t *ret_number, struct err *err)
{
	struct slot slot = {.info.kind = kind, .info.created_unix_s = clock_unix_s()};
	struct slot_set set;
	if (!is_good_name(name))
		return err_set(err, ERR_INVALID, 0,
			       "the name of a key slot is 1 to %d bytes of text without control characters",
			       KEY_SLOT_NAME_MAX);
	TRY(check_secret(kind, secret_length, err));
	TRY(check_cost(kind, cost, &slot.cost, err));
	TRY(list_slots(io, &set, err));
	while (slot_set_has(&set, slot.info.number))
		slot.info.number++;
	if (slot.info.number >= KEY_SLOT_MAX)
		return err_set(err, ERR_LIMIT, 0, "the store has %d key slots already; remove one first", KEY_SLOT_MAX);
	memcpy(slot.info.name, name, strlen(name));
	randombytes_buf(slot.salt, sizeof(slot.salt));

	uint8_t kek[KEY_SIZE];
	uint8_t ad[SLOT_AD_SIZE];
	enum err_code code = slot_kek(&slot, secret, secret_length, kek, err);
	if (code == ERR_OK) {
		slot_ad(&slot, &keys->store_id, ad);
		key_wrap_with_ad(kek, ad, sizeof(ad), keys->master, slot.master);
		code = slot_write(io, &slot, err);
	}
	sodium_memzero(kek, sizeof(kek));
	if (code == ERR_OK)
		*ret_number = slot.info.number;
	return code;
}

enum err_code key_slot_list(struct io *io, struct key_slot_info **ret_slots, size_t *ret_count, size_t *ret_damaged,
			    struct err *err)
{
	struct slot_set set;
	TRY(list_slots(io, &set, err));
	AUTO_FREE struct key_slot_info *slots = calloc(KEY_SLOT_MAX, sizeof(*slots));
	if (!slots)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for the list of key slots");
	size_t count = 0;
	size_t damaged = 0;
	for (uint32_t number = 0; number < KEY_SLOT_MAX; number++) {
		if (!slot_set_has(&set, number))
			continue;
		struct slot slot = {0};
		struct err cause = {0};
		enum err_code code = slot_read(io, number, &slot, &cause);
		if (code == ERR_OK)
			slots[count++] = slot.info;
		else if (is_damage(code))
			damaged++;
		else
			return pass_on(err, &cause);
	}
	*ret_slots = TAKE_PTR(slots);
	*ret_count = count;
	*ret_damaged = damaged;
	return ERR_OK;
}

enum err_code key_slot_remove(struct io *io, uint32_t number, struct err *err)
{
	struct slot_set set;
	char path[SLOT_PATH_SIZE];
	AUTO_FREE struct key_slot_info *slots = NULL;
	size_t count = 0;
	size_t damaged = 0;
	TRY(list_slots(io, &set, err));
	if (!slot_set_has(&set, number))
		return err_set(err, ERR_NOT_FOUND, 0, "the store has no key slot %u", (unsigned)number);
	TRY(key_slot_list(io, &slots, &count, &damaged, err));
	size_t others = 0;
	for (size_t i = 0; i < count; i++)
		others += slots[i].number != number;
	if (others == 0)
		return err_set(err, ERR_INVALID, 0,
			       "key slot %u is the last one that works; add another before you remove it",
			       (unsigned)number);
	TRY(io_remove(io, slot_path(number, path), err));
	return io_sync_dir(io, KEYS_DIR, err);
}
