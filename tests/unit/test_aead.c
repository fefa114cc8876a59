/* SPDX-License-Identifier: Apache-2.0 */
#include "store/aead.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/endian.h"
#include "store/nonce_guard.h"

#define ROOM 65536

static const enum aead_cipher ciphers[] = {AEAD_AES_256_GCM, AEAD_XCHACHA20_POLY1305};
#define CIPHERS (sizeof(ciphers) / sizeof(ciphers[0]))

struct state {
	struct aead *aead[CIPHERS];
	uint8_t key[AEAD_KEY_SIZE];
	uint8_t plain[ROOM];
	uint8_t sealed[ROOM + AEAD_TAG_SIZE];
	uint8_t opened[ROOM + AEAD_TAG_SIZE];
};

static struct state state;

static int setup(void **unused)
{
	(void)unused;
	if (sodium_init() < 0)
		return -1;
	randombytes_buf(state.key, sizeof(state.key));
	randombytes_buf(state.plain, sizeof(state.plain));
	for (size_t i = 0; i < CIPHERS; i++)
		if (aead_new(ciphers[i], &state.aead[i], NULL) != ERR_OK ||
		    aead_set_key(state.aead[i], state.key, NULL) != ERR_OK)
			return -1;
	return 0;
}

static int teardown(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < CIPHERS; i++) {
		aead_free(state.aead[i]);
		state.aead[i] = NULL;
	}
	return 0;
}

static void test_aead__round_trip_gives_the_plain_bytes(void **unused)
{
	(void)unused;
	static const size_t lengths[] = {0, 1, 15, 16, 17, 4095, 4096, 65535, 65536};
	for (size_t c = 0; c < CIPHERS; c++) {
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			struct err err = {0};
			size_t n = lengths[i];
			uint64_t ordinal = UINT64_C(0x1122334455667700) + i + c * 100;
			assert_int_equal(aead_seal(state.aead[c], ordinal, "ad", 2, state.plain, n, state.sealed, &err),
					 ERR_OK);
			if (n >= 16)
				assert_memory_not_equal(state.sealed, state.plain, n);
			assert_int_equal(
				aead_open(state.aead[c], ordinal, "ad", 2, state.sealed, n, state.opened, &err),
				ERR_OK);
			assert_memory_equal(state.opened, state.plain, n);
			assert_int_equal(err.code, ERR_OK);
		}
	}
}

static void test_aead__works_in_place(void **unused)
{
	(void)unused;
	for (size_t c = 0; c < CIPHERS; c++) {
		memcpy(state.sealed, state.plain, ROOM);
		assert_int_equal(aead_seal(state.aead[c], c, NULL, 0, state.sealed, ROOM, state.sealed, NULL), ERR_OK);
		assert_memory_not_equal(state.sealed, state.plain, ROOM);
		assert_int_equal(aead_open(state.aead[c], c, NULL, 0, state.sealed, ROOM, state.sealed, NULL), ERR_OK);
		assert_memory_equal(state.sealed, state.plain, ROOM);
	}
}

/* The bytes are those that libsodium gives for the nonce in the header, so that others can read them. */
static void test_aead__bytes_are_those_of_the_standard(void **unused)
{
	(void)unused;
	static const uint8_t ad[] = "header";
	uint8_t expected[100 + AEAD_TAG_SIZE];
	uint8_t nonce[24] = {0};
	uint64_t ordinal = UINT64_C(0x8877665544332211);
	le64_put(nonce, ordinal);

	assert_int_equal(aead_seal(state.aead[1], ordinal, ad, sizeof(ad), state.plain, 100, state.sealed, NULL),
			 ERR_OK);
	crypto_aead_xchacha20poly1305_ietf_encrypt(expected, NULL, state.plain, 100, ad, sizeof(ad), NULL, nonce,
						   state.key);
	assert_memory_equal(state.sealed, expected, sizeof(expected));

	if (!crypto_aead_aes256gcm_is_available()) {
		print_message("this CPU has no AES: libsodium can't be asked for AES-256-GCM\n");
		return;
	}
	ordinal ^= 1;
	le64_put(nonce, ordinal);
	assert_int_equal(aead_seal(state.aead[0], ordinal, ad, sizeof(ad), state.plain, 100, state.sealed, NULL),
			 ERR_OK);
	crypto_aead_aes256gcm_encrypt(expected, NULL, state.plain, 100, ad, sizeof(ad), NULL, nonce, state.key);
	assert_memory_equal(state.sealed, expected, sizeof(expected));
}

/* Opens state.sealed as it is and expects a refusal. */
static void expect_refused(size_t c, uint64_t ordinal, const char *ad, size_t length)
{
	struct err err = {0};
	assert_int_equal(aead_open(state.aead[c], ordinal, ad, strlen(ad), state.sealed, length, state.opened, &err),
			 ERR_CORRUPT);
	assert_int_equal(err.code, ERR_CORRUPT);
	assert_non_null(strstr(err.msg, "damaged or was forged"));
}

static void test_aead__every_changed_byte_is_refused(void **unused)
{
	(void)unused;
	enum { LENGTH = 40 };
	for (size_t c = 0; c < CIPHERS; c++) {
		uint64_t ordinal = 1000 + c;
		assert_int_equal(aead_seal(state.aead[c], ordinal, "ad", 2, state.plain, LENGTH, state.sealed, NULL),
				 ERR_OK);
		for (size_t i = 0; i < LENGTH + AEAD_TAG_SIZE; i++) {
			state.sealed[i] ^= (uint8_t)(1 << i % 8);
			expect_refused(c, ordinal, "ad", LENGTH);
			state.sealed[i] ^= (uint8_t)(1 << i % 8);
		}
		assert_int_equal(aead_open(state.aead[c], ordinal, "ad", 2, state.sealed, LENGTH, state.opened, NULL),
				 ERR_OK);
	}
}

static void test_aead__other_context_is_refused(void **unused)
{
	(void)unused;
	for (size_t c = 0; c < CIPHERS; c++) {
		uint64_t ordinal = 2000 + c;
		assert_int_equal(aead_seal(state.aead[c], ordinal, "ad", 2, state.plain, 64, state.sealed, NULL),
				 ERR_OK);
		expect_refused(c, ordinal, "aD", 64);
		expect_refused(c, ordinal, "a", 64);
		expect_refused(c, ordinal, "", 64);
		expect_refused(c, ordinal, "ad ", 64);
		expect_refused(c, ordinal + 1, "ad", 64);
		expect_refused(c, ordinal + (UINT64_C(1) << 63), "ad", 64);
		expect_refused(c, ordinal, "ad", 63);
		expect_refused(c, ordinal, "ad", 0);
	}
}

static void test_aead__other_key_is_refused(void **unused)
{
	(void)unused;
	uint8_t other[AEAD_KEY_SIZE];
	memcpy(other, state.key, sizeof(other));
	other[0] ^= 0x80;
	for (size_t c = 0; c < CIPHERS; c++) {
		assert_int_equal(aead_seal(state.aead[c], 3000, NULL, 0, state.plain, 64, state.sealed, NULL), ERR_OK);
		assert_int_equal(aead_set_key(state.aead[c], other, NULL), ERR_OK);
		expect_refused(c, 3000, "", 64);
		assert_int_equal(aead_set_key(state.aead[c], state.key, NULL), ERR_OK);
		assert_int_equal(aead_open(state.aead[c], 3000, NULL, 0, state.sealed, 64, state.opened, NULL), ERR_OK);
		/* So that the next cipher does not seal the same (key, ordinal). */
		randombytes_buf(state.key, sizeof(state.key));
		for (size_t i = 0; i < CIPHERS; i++)
			assert_int_equal(aead_set_key(state.aead[i], state.key, NULL), ERR_OK);
	}
}

static void test_aead__use_without_a_key_is_a_bug(void **unused)
{
	(void)unused;
	for (size_t c = 0; c < CIPHERS; c++) {
		struct aead *fresh = NULL;
		struct err err = {0};
		assert_int_equal(aead_new(ciphers[c], &fresh, &err), ERR_OK);
		enum err_code seal = aead_seal(fresh, 0, NULL, 0, state.plain, 16, state.sealed, &err);
		enum err_code open = aead_open(fresh, 0, NULL, 0, state.sealed, 16, state.opened, NULL);
		aead_free(fresh);
		assert_int_equal(seal, ERR_BUG);
		assert_int_equal(open, ERR_BUG);
		assert_non_null(strstr(err.msg, "before its key was set"));
	}
}

static void test_aead__unknown_cipher_is_unsupported(void **unused)
{
	(void)unused;
	struct err err = {0};
	struct aead *none = NULL;
	assert_int_equal(aead_new((enum aead_cipher)3, &none, &err), ERR_UNSUPPORTED);
	assert_string_equal(err.msg, "cipher 3 is not known to this version");
	assert_null(none);
	assert_int_equal(aead_new((enum aead_cipher)0, &none, NULL), ERR_UNSUPPORTED);
	aead_free(NULL);
}

static void test_aead__preferred_cipher_is_one_that_works(void **unused)
{
	(void)unused;
	enum aead_cipher preferred = aead_preferred();
	assert_true(preferred == AEAD_AES_256_GCM || preferred == AEAD_XCHACHA20_POLY1305);
	assert_int_equal(preferred == AEAD_AES_256_GCM, crypto_aead_aes256gcm_is_available());
}

/* Runs `act` in a child with its messages thrown away; its wait status. */
static int status_of_child(void (*act)(void))
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct rlimit no_core = {0, 0};
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(99);
		act();
		_exit(0);
	}
	int status = -1;
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void record_different(void)
{
	uint8_t key[32] = {1};
	for (uint64_t i = 0; i < 5000; i++)
		nonce_guard_record(key, i);
	key[31] = 1;
	for (uint64_t i = 0; i < 5000; i++)
		nonce_guard_record(key, i);
}

static void record_again(void)
{
	uint8_t key[32] = {1};
	record_different();
	nonce_guard_record(key, 4321);
}

static void test_nonce_guard__aborts_on_reuse_only(void **unused)
{
	(void)unused;
	int status = status_of_child(record_different);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	status = status_of_child(record_again);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void seal_twice(void)
{
	for (int i = 0; i < 2; i++)
		if (aead_seal(state.aead[0], 77, NULL, 0, state.plain, 16, state.sealed, NULL) != ERR_OK)
			_exit(1);
}

static void test_aead__sealing_twice_aborts_where_the_guard_is_built_in(void **unused)
{
	(void)unused;
	int status = status_of_child(seal_twice);
#ifdef XENOLITH_NONCE_GUARD
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
#else
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_aead__round_trip_gives_the_plain_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_aead__works_in_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_aead__bytes_are_those_of_the_standard, setup, teardown),
		cmocka_unit_test_setup_teardown(test_aead__every_changed_byte_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_aead__other_context_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_aead__other_key_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_aead__use_without_a_key_is_a_bug, setup, teardown),
		cmocka_unit_test(test_aead__unknown_cipher_is_unsupported),
		cmocka_unit_test(test_aead__preferred_cipher_is_one_that_works),
		cmocka_unit_test(test_nonce_guard__aborts_on_reuse_only),
		cmocka_unit_test_setup_teardown(test_aead__sealing_twice_aborts_where_the_guard_is_built_in, setup,
						teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
