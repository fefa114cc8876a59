/* SPDX-License-Identifier: Apache-2.0 */
/* The commit log alone, through power cuts and killed processes: so small that every combination is tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/commit_log_bench.h"

/* Cuts the power at every write of appends that also make the log start over, and again while it is opened. */
static void test_commit_log__keeps_what_was_acknowledged_through_power_cuts(void **state)
{
	struct log_bench *base = *state;
	static const enum io_sim_fault faults[] = {IO_SIM_CUT_BEFORE, IO_SIM_CUT_AFTER, IO_SIM_TORN};
	open_log(base, true);
	append(base, 1, 13);
	commit_log_close(base->log);
	base->log = NULL;
	for (unsigned round = 0; round < 1800; round++) {
		struct log_bench b = {.keys = base->keys};
		struct err err = {0};
		uint64_t acknowledged = 13;
		assert_int_equal(io_sim_clone(base->io, &b.io, &err), ERR_OK);
		io_sim_count_writes_only(b.io, true);
		io_sim_arm(b.io, 1 + round % 20, faults[round / 20 % 3], false);
		if (try_open(&b, true, NULL) == ERR_OK)
			while (acknowledged < 17 && try_append(&b, acknowledged + 1, NULL) == ERR_OK)
				acknowledged++;
		io_sim_power_cycle(b.io, round);
		io_sim_arm(b.io, 1 + round % 7, faults[round % 3], false);
		ERR_IGNORE(try_open(&b, true, NULL));
		io_sim_power_cycle(b.io, round + 1);
		open_log(&b, true);
		uint64_t there = commit_log_state(b.log)->saveset_count;
		assert_in_range(there, acknowledged, acknowledged + 1);
		expect_entries(&b, there);
		append(&b, there + 1, there + 1);
		io_sim_power_cycle(b.io, round + 2);
		open_log(&b, false);
		expect_entries(&b, there + 1);
		commit_log_close(b.log);
		io_free(b.io);
	}
}

enum damage { DAMAGE_NONE, FLIP_A, FLIP_B, REMOVE_A, REMOVE_B, DAMAGE_KINDS };

static void do_damage(struct log_bench *b, enum damage damage)
{
	struct err err = {0};
	if (damage == FLIP_A || damage == FLIP_B)
		flip(b, log_names[damage == FLIP_B], 20);
	if (damage == REMOVE_A || damage == REMOVE_B) {
		assert_int_equal(io_remove(b->io, log_names[damage == REMOVE_B], &err), ERR_OK);
		assert_int_equal(io_sync_dir(b->io, "", &err), ERR_OK);
	}
}

/* Where things go wrong: numbers of writes, 0 for not at all. */
struct mishaps {
	unsigned append_killed;
	enum damage damage; /* to one copy, then */
	unsigned open_killed;
	unsigned power_cut; /* in the appends of the process that opens the log in the end */
};

static void kill_damage_and_cut(struct io *full, const struct store_keys *keys, const struct mishaps *m, uint64_t seed)
{
	struct log_bench b = {.keys = *keys};
	struct err err = {0};
	assert_int_equal(io_sim_clone(full, &b.io, &err), ERR_OK);
	io_sim_count_writes_only(b.io, true);
	if (m->append_killed) {
		open_log(&b, true);
		uint64_t next = commit_log_state(b.log)->saveset_count + 1;
		io_sim_arm(b.io, m->append_killed, IO_SIM_EIO, true);
		ERR_IGNORE(try_append(&b, next, NULL));
		io_sim_arm(b.io, 0, IO_SIM_NONE, false);
	}
	do_damage(&b, m->damage);
	if (m->open_killed) {
		io_sim_arm(b.io, m->open_killed, IO_SIM_EIO, true);
		ERR_IGNORE(try_open(&b, true, NULL));
		io_sim_arm(b.io, 0, IO_SIM_NONE, false);
	}
	open_log(&b, true);
	uint64_t shown = commit_log_state(b.log)->saveset_count;
	io_sim_arm(b.io, m->power_cut, seed % 2 ? IO_SIM_CUT_AFTER : IO_SIM_TORN, false);
	while (io_sim_calls(b.io) < m->power_cut && try_append(&b, shown + 1, NULL) == ERR_OK)
		shown++;
	io_sim_power_cycle(b.io, seed);
	open_log(&b, true);
	uint64_t there = commit_log_state(b.log)->saveset_count;
	assert_in_range(there, shown, shown + 1);
	expect_entries(&b, there);
	commit_log_close(b.log);
	io_free(b.io);
}

static void test_commit_log__never_loses_what_an_opening_has_shown(void **state)
{
	struct log_bench *base = *state;
	uint64_t seed = 0;
	open_log(base, true);
	append(base, 1, 13);
	/* With 14 entries one more page is left, with 15 none. */
	for (uint64_t entries = 14; entries <= 15; entries++) {
		append(base, entries, entries);
		for (unsigned i = 0; i < 5 * DAMAGE_KINDS * 5 * 8 * 8; i++) {
			struct mishaps m = {
				.append_killed = i % 5,
				.damage = i / 5 % DAMAGE_KINDS,
				.open_killed = i / (5 * DAMAGE_KINDS) % 5,
				.power_cut = 1 + i / (5 * DAMAGE_KINDS * 5) % 8,
			};
			kill_damage_and_cut(base->io, &base->keys, &m, seed++);
		}
	}
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, log_bench_setup, log_bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOG_TEST(test_commit_log__keeps_what_was_acknowledged_through_power_cuts),
		LOG_TEST(test_commit_log__never_loses_what_an_opening_has_shown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
