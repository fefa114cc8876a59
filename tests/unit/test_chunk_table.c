/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/endian.h"
#include "store/chunk_table.h"
#include "tests/seed.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct chunk_id id_of_words(uint64_t hi, uint64_t lo)
{
	struct chunk_id id = {0};
	be64_put(id.bytes, hi);
	be64_put(id.bytes + 8, lo);
	return id;
}

static struct chunk_id id_of(uint64_t n)
{
	uint64_t random = n * 7919 + 1;
	uint64_t hi = test_random(&random);
	return id_of_words(hi, test_random(&random));
}

static struct chunk_location place_of(uint64_t n)
{
	return (struct chunk_location){.segment = n + 1, .slot = (uint32_t)(n % 1000)};
}

static int setup(void **state)
{
	struct err err = {0};
	struct chunk_table *table = NULL;
	if (chunk_table_new(&table, &err) != ERR_OK)
		return -1;
	*state = table;
	return 0;
}

static int teardown(void **state)
{
	chunk_table_free(*state);
	chunk_table_free(NULL);
	return 0;
}

static bool claim(struct chunk_table *table, struct chunk_id id)
{
	bool is_new = false;
	enum chunk_table_state state;
	struct chunk_location location;
	assert_int_equal(chunk_table_claim(table, &id, &is_new, &state, &location, NULL), ERR_OK);
	return is_new;
}

/* The slot that `id` is SET to, or -1. */
static int slot_of(struct chunk_table *table, struct chunk_id id)
{
	enum chunk_table_state state;
	struct chunk_location location;
	if (!chunk_table_find(table, &id, &state, &location) || state != CHUNK_TABLE_SET)
		return -1;
	return (int)location.slot;
}

static void test_table__grows_and_finds_all(void **state)
{
	struct chunk_table *table = *state;
	const uint64_t count = 150000; /* three levels */
	for (uint64_t n = 0; n < count; n++) {
		struct chunk_id id = id_of(n);
		assert_int_equal(chunk_table_add(table, &id, place_of(n), NULL), ERR_OK);
	}
	assert_int_equal(chunk_table_count(table), count);
	assert_true(chunk_table_memory_bytes(table) >= 24 * (7 << 15));
	for (uint64_t n = 0; n < count; n++) {
		struct chunk_id id = id_of(n);
		enum chunk_table_state found;
		struct chunk_location location = {0};
		chunk_table_prefetch(table, &id);
		assert_true(chunk_table_find(table, &id, &found, &location));
		assert_int_equal(location.segment, n + 1);
		assert_false(claim(table, id));
	}
	for (uint64_t n = count; n < count + 10000; n++)
		assert_int_equal(slot_of(table, id_of(n)), -1);
}

/* IDs that agree in one word, or have words of zero, are told apart. */
static void test_table__tells_similar_ids_apart(void **state)
{
	struct chunk_table *table = *state;
	const struct chunk_id ids[] = {id_of_words(5, 6), id_of_words(5, 7),
				       id_of_words(6, 6), id_of_words(5, 6 + (1 << 15)),
				       id_of_words(0, 6), id_of_words(6, 0)};
	const size_t count = sizeof(ids) / sizeof(ids[0]);
	for (size_t i = 0; i < count; i++) {
		assert_true(claim(table, ids[i]));
		chunk_table_set(table, &ids[i], (struct chunk_location){.segment = 1, .slot = (uint32_t)i});
	}
	for (size_t i = 0; i < count; i++)
		assert_int_equal(slot_of(table, ids[i]), i);
	assert_int_equal(slot_of(table, id_of_words(6, 7)), -1);
}

static void test_table__states_follow_each_other(void **state)
{
	struct chunk_table *table = *state;
	struct chunk_id id = id_of(1);
	chunk_table_set(table, &id, place_of(1)); /* unknown: nothing happens */
	assert_int_equal(chunk_table_count(table), 0);
	assert_true(claim(table, id));
	assert_int_equal(chunk_table_add(table, &id, place_of(9), NULL), ERR_OK);
	assert_int_equal(slot_of(table, id), -1); /* the lane that claimed it will set it */
	chunk_table_set(table, &id, place_of(2));
	assert_int_equal(slot_of(table, id), 2);
	assert_int_equal(chunk_table_add(table, &id, place_of(9), NULL), ERR_OK);
	assert_int_equal(slot_of(table, id), 2);
	chunk_table_forget(table, &id);
	assert_int_equal(slot_of(table, id), -1);
	assert_int_equal(chunk_table_add(table, &id, place_of(3), NULL), ERR_OK);
	assert_int_equal(slot_of(table, id), 3);
	chunk_table_forget(table, &id);
	assert_true(claim(table, id));
	assert_false(claim(table, id));
	assert_int_equal(chunk_table_count(table), 1);
}

static void sum_slots(void *user, const uint8_t prefix[static 16], struct chunk_location location)
{
	uint64_t *sums = user;
	sums[0] += location.slot;
	sums[1] ^= be64_get(prefix) ^ be64_get(prefix + 8);
}

static void test_each__gives_what_is_set(void **state)
{
	struct chunk_table *table = *state;
	uint64_t sums[2] = {0}, expected[2] = {0};
	for (uint64_t n = 0; n < 30000; n++) {
		struct chunk_id id = id_of(n);
		if (n % 3 == 0) {
			assert_true(claim(table, id));
			continue;
		}
		assert_int_equal(chunk_table_add(table, &id, place_of(n), NULL), ERR_OK);
		expected[0] += place_of(n).slot;
		expected[1] ^= be64_get(id.bytes) ^ be64_get(id.bytes + 8);
	}
	chunk_table_each(table, sum_slots, sums);
	assert_int_equal(sums[0], expected[0]);
	assert_int_equal(sums[1], expected[1]);
}

/* Several threads claim and forget a few IDs that all share their first word, so that they meet in the same entries. */
#define THREADS 4
#define SHARED_IDS 8

struct contender {
	struct chunk_table *table;
	uint32_t *owners; /* per ID: how many think they own it now */
	pthread_t thread;
	bool failed;
};

static void *contend(void *user)
{
	struct contender *c = user;
	for (unsigned i = 0; i < 20000; i++) {
		unsigned n = i % SHARED_IDS;
		struct chunk_id id = id_of_words(77, 1 + n);
		bool is_new;
		enum chunk_table_state state;
		struct chunk_location location;
		if (chunk_table_claim(c->table, &id, &is_new, &state, &location, NULL) != ERR_OK)
			c->failed = true;
		if (!is_new)
			continue;
		/* Alone from the claim to the forget: acquire and release of the entry's state order this. */
		c->failed |= __atomic_add_fetch(&c->owners[n], 1, __ATOMIC_RELAXED) != 1;
		__atomic_sub_fetch(&c->owners[n], 1, __ATOMIC_RELAXED);
		chunk_table_forget(c->table, &id);
	}
	return NULL;
}

static void test_claim__has_one_owner_at_a_time(void **state)
{
	struct contender contenders[THREADS];
	uint32_t owners[SHARED_IDS] = {0};
	for (unsigned i = 0; i < THREADS; i++) {
		contenders[i] = (struct contender){.table = *state, .owners = owners};
		assert_int_equal(pthread_create(&contenders[i].thread, NULL, contend, &contenders[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(contenders[i].thread, NULL);
		assert_false(contenders[i].failed);
	}
	assert_int_equal(chunk_table_count(*state), SHARED_IDS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_table__grows_and_finds_all),      TEST(test_table__tells_similar_ids_apart),
		TEST(test_table__states_follow_each_other), TEST(test_each__gives_what_is_set),
		TEST(test_claim__has_one_owner_at_a_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
