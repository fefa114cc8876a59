/* SPDX-License-Identifier: Apache-2.0 */
/* The power fails at every write of an init, of first and later backups, and of the recovery after such a failure; what
 * was not synced is lost, reordered or torn. Each time the store must open again, every backup that had returned
 * success must restore bit for bit, scrub and verify must find nothing, and a further backup must succeed and survive
 * as well.
 *
 * One seed gives one series of cuts; only where two threads write at once does the order of their calls differ between
 * runs. XENOLITH_TIER=quick, or a sanitizer, makes a sixth of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/crash/history.h"
#include "tests/crash/lean_arena.h"
#include "tests/crash/tier.h"

/* Counts of what happened, so that a run shows what it has seen. */
static struct {
	unsigned cuts;          /* while something was written */
	unsigned recovery_cuts; /* of these, during the recovery from an earlier one */
	unsigned idle_cuts;     /* right after a success */
	unsigned committed;     /* the caller saw the cut, the commit was durable */
	unsigned adopted;       /* recoveries that found work to keep */
	unsigned log_damaged;
	unsigned inits_repeated;
} seen;

static uint64_t random_state;

static const enum io_sim_fault faults[] = {IO_SIM_CUT_BEFORE, IO_SIM_CUT_AFTER, IO_SIM_TORN};

/* One cut, for the message when its consequences are wrong. */
static struct {
	const char *scenario;
	bool log_starts_over;
	unsigned number;
	uint64_t point;
	enum io_sim_fault fault;
	uint64_t seed;
} now;

/* ---- What is being done when the power fails ---- */

typedef enum err_code (*act_fn)(struct history *h, struct err *err);

static void arm(struct history *h)
{
	io_sim_arm(h->w.io, now.point, now.fault, false);
}

static enum err_code act_init(struct history *h, struct err *err)
{
	TRY(world_try_init(&h->w, err));
	h->w.made = true;
	return ERR_OK;
}

static enum err_code act_backup(struct history *h, struct err *err)
{
	TRY(world_try_open(&h->w, STORE_WRITE, err));
	enum err_code code = history_try_backup(h, err);
	world_close(&h->w);
	return code;
}

/* The process is killed in the middle of a backup: what it had not synced is still there, and not durable. The next one
 * takes it over, and the power fails then. */
static enum err_code act_backup_after_kill(struct history *h, struct err *err)
{
	io_sim_arm(h->w.io, 1 + test_random_below(&random_state, 36), IO_SIM_EIO, true);
	ERR_IGNORE(act_backup(h, NULL));
	arm(h);
	return act_backup(h, err);
}

/* The power fails in the middle of a backup, and again in that which follows. */
static enum err_code act_backup_after_cut(struct history *h, struct err *err)
{
	io_sim_arm(h->w.io, 1 + test_random_below(&random_state, 36), IO_SIM_CUT_BEFORE, false);
	ERR_IGNORE(act_backup(h, NULL));
	io_sim_power_cycle(h->w.io, test_random(&random_state));
	arm(h);
	return act_backup(h, err);
}

/* ---- What must be true afterwards ---- */

static void note_opening(struct history *h)
{
	seen.adopted += world_find_notice(&h->w, "work was kept") != NULL;
	/* A copy of the log that is begun again is torn while the other is whole; at no other time is anything torn. */
	const char *torn = world_find_notice(&h->w, "is damaged; 'log-");
	seen.log_damaged += torn != NULL;
	if (torn && !now.log_starts_over)
		fail_msg("recovery found: %s", torn);
	const char *left = world_find_notice(&h->w, "was left for");
	if (left)
		fail_msg("recovery gave up: %s", left);
	if (torn) /* healed by now; only the opening that found it calls it damage */
		world_reopen(&h->w, STORE_WRITE);
}

/* Opens for writing; an init that did not get to its end is done again. */
static enum err_code try_open(struct history *h, struct err *err)
{
	struct err why = {0};
	enum err_code code = world_try_open(&h->w, STORE_WRITE, &why);
	if (code == ERR_NO_STORE && !h->w.made) {
		seen.inits_repeated++;
		TRY(world_try_init(&h->w, err));
		return world_try_open(&h->w, STORE_WRITE, err);
	}
	return code == ERR_OK ? code : err_set(err, code, 0, "%s", why.msg);
}

/* Lets the power fail once more while the store is opened. */
static void cut_recovery(struct history *h)
{
	uint64_t point = 1 + test_random_below(&random_state, 16);
	struct err err = {0};
	io_sim_arm(h->w.io, point, now.fault, false);
	ERR_IGNORE(try_open(h, &err));
	world_close(&h->w);
	bool was_cut = io_sim_calls(h->w.io) >= point;
	if (!was_cut && err.code)
		fail_msg("the store does not open: %s", err.msg);
	if (was_cut) {
		seen.cuts++;
		seen.recovery_cuts++;
		io_sim_power_cycle(h->w.io, test_random(&random_state));
	}
	io_sim_arm(h->w.io, 0, IO_SIM_NONE, false);
}

static void expect_further_backup(struct history *h)
{
	struct err err = {0};
	if (history_try_backup(h, &err) != ERR_OK)
		fail_msg("the further backup: %s", err.msg);
	/* Nothing is left over from what was interrupted. */
	assert_int_equal(world_count_segment_files(&h->w), store_state(h->w.store)->segment_count);
	world_close(&h->w);
	io_sim_power_cycle(h->w.io, test_random(&random_state));
	seen.idle_cuts++;
	if (world_try_open(&h->w, STORE_READ, &err) != ERR_OK)
		fail_msg("the store does not open after the further backup: %s", err.msg);
	history_expect(h);
	if (seen.idle_cuts % 4 == 0)
		world_expect_clean(&h->w);
}

static void expect_recovers(struct history *h)
{
	if (test_random_below(&random_state, 2))
		cut_recovery(h);
	struct err err = {0};
	if (try_open(h, &err) != ERR_OK)
		fail_msg("the store does not open: %s", err.msg);
	h->w.made = true;
	note_opening(h);
	const struct log_state *state = store_state(h->w.store);
	for (unsigned i = 0; i < h->tried_count; i++)
		for (size_t s = 0; s < state->saveset_count && !h->tried[i].done; s++)
			seen.committed += uuid_equal(&state->savesets[s].id, &h->tried[i].id);
	history_expect(h);
	world_expect_clean(&h->w);
	expect_further_backup(h);
}

/* ---- Cuts ---- */

static void start(struct history *h, const struct history *base)
{
	struct err err = {0};
	*h = *base;
	assert_int_equal(io_sim_clone(base->w.io, &h->w.io, &err), ERR_OK);
	io_sim_count_writes_only(h->w.io, true);
	io_sim_arm(h->w.io, 0, IO_SIM_NONE, false);
}

static void end(struct history *h)
{
	world_close(&h->w);
	io_free(h->w.io);
}

static uint64_t count_writes(const struct history *base, act_fn act)
{
	struct history h;
	struct err err = {0};
	now.fault = IO_SIM_NONE;
	start(&h, base);
	if (act(&h, &err) != ERR_OK)
		fail_msg("without a cut: %s", err.msg);
	uint64_t calls = io_sim_calls(h.w.io);
	end(&h);
	return calls;
}

/* `count` cuts, evenly over all writes of `act`, on copies of `base`. */
static void cut(const struct history *base, const char *name, act_fn act, unsigned count)
{
	unsigned before = seen.cuts;
	uint64_t points = count_writes(base, act);
	now.scenario = name;
	for (unsigned i = 0; i < count; i++) {
		now.number = i;
		now.point = 1 + (count < points ? i * points / count : i % points);
		now.fault = faults[i / points % 3];
		now.seed = test_random(&random_state);
		struct history h;
		start(&h, base);
		h.w.verify_new = i & 1 ? VERIFY_NEW_ALL : VERIFY_NEW_OFF;
		arm(&h);
		ERR_IGNORE(act(&h, NULL));
		seen.cuts += io_sim_calls(h.w.io) >= now.point;
		io_sim_power_cycle(h.w.io, now.seed);
		expect_recovers(&h);
		end(&h);
	}
	print_message("%s: %u cuts over %u writes and what follows\n", name, seen.cuts - before, (unsigned)points);
	now.scenario = NULL;
}

/* ---- Scenarios ---- */

static const struct history_disk small_disk = {.random_blocks = 4, .second_at = 5};

static void new_history(struct history *h, unsigned lanes, struct history_disk disk)
{
	struct err err = {0};
	*h = (struct history){.w.lanes = lanes, .w.verify_new = VERIFY_NEW_ALL};
	assert_int_equal(io_sim_new(test_random(&random_state), 0, &h->w.io, &err), ERR_OK);
	history_make_versions(h->versions, disk, test_random(&random_state));
}

static void free_history(struct history *h)
{
	io_free(h->w.io);
	history_free_versions(h->versions);
}

/* A store with `backups` savesets. */
static void new_store(struct history *h, unsigned lanes, struct history_disk disk, unsigned backups)
{
	struct err err = {0};
	new_history(h, lanes, disk);
	if (act_init(h, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	for (unsigned i = 0; i < backups; i++)
		if (act_backup(h, &err) != ERR_OK)
			fail_msg("%s", err.msg);
}

static void test_power_cut__during_init(void **state)
{
	(void)state;
	struct history h;
	new_history(&h, 1, small_disk);
	cut(&h, "init", act_init, tier_count(900));
	free_history(&h);
}

/* Nothing in between: a store that is as its init made it, or none. So little to check that there can be many cuts. */
static void test_power_cut__during_init_leaves_a_store_or_none(void **state)
{
	(void)state;
	struct history base;
	new_history(&base, 1, small_disk);
	uint64_t points = count_writes(&base, act_init);
	unsigned count = tier_count(4200);
	for (unsigned i = 0; i < count; i++) {
		struct history h;
		struct err err = {0};
		start(&h, &base);
		io_sim_arm(h.w.io, 1 + i % points, faults[i / points % 3], false);
		ERR_IGNORE(act_init(&h, NULL));
		seen.cuts += io_sim_calls(h.w.io) >= 1 + i % points;
		io_sim_power_cycle(h.w.io, test_random(&random_state));
		enum err_code code = world_try_open(&h.w, STORE_WRITE, &err);
		if (code != ERR_OK && (code != ERR_NO_STORE || h.w.made))
			fail_msg("after a cut at write %u: %s", (unsigned)(1 + i % points), err.msg);
		if (code == ERR_OK && *store_notices(h.w.store))
			fail_msg("after a cut at write %u: %s", (unsigned)(1 + i % points), *store_notices(h.w.store));
		end(&h);
	}
	print_message("init alone: %u cuts over %u writes\n", count, (unsigned)points);
	free_history(&base);
}

static void test_power_cut__during_the_first_backup(void **state)
{
	(void)state;
	struct history h;
	new_store(&h, 1, small_disk, 0);
	cut(&h, "first backup", act_backup, tier_count(1500));
	free_history(&h);
}

static void test_power_cut__during_the_second_backup(void **state)
{
	(void)state;
	struct history h;
	new_store(&h, 1, small_disk, 1);
	cut(&h, "second backup", act_backup, tier_count(1500));
	free_history(&h);
}

static void test_power_cut__during_a_backup_after_a_cut(void **state)
{
	(void)state;
	struct history h;
	new_store(&h, 1, small_disk, 1);
	cut(&h, "backup after a cut", act_backup_after_cut, tier_count(1200));
	free_history(&h);
}

static void test_power_cut__during_a_backup_after_a_kill(void **state)
{
	(void)state;
	struct history h;
	new_store(&h, 1, small_disk, 1);
	cut(&h, "backup after a kill", act_backup_after_kill, tier_count(1200));
	free_history(&h);
}

static void test_power_cut__while_the_log_starts_over(void **state)
{
	(void)state;
	struct history h;
	/* Sixteen pages: the checkpoint of the init and an entry for each backup. */
	new_store(&h, 1, small_disk, 15);
	now.log_starts_over = true;
	cut(&h, "backup that fills the log", act_backup, tier_count(400));
	now.log_starts_over = false;
	free_history(&h);
}

static void test_power_cut__with_two_lanes_and_several_segments(void **state)
{
	(void)state;
	struct history h;
	new_store(&h, 2, (struct history_disk){.random_blocks = 20, .second_at = DISK_MAP_FANOUT}, 0);
	cut(&h, "two lanes", act_backup, tier_count(300));
	free_history(&h);
}

static void test_power_cut__in_a_sealed_store(void **state)
{
	(void)state;
	struct history h;
	new_history(&h, 1, small_disk);
	h.w.sealed = true;
	h.w.use_recovery_key = true; /* or nothing could be restored for comparison */
	struct err err = {0};
	assert_int_equal(act_init(&h, &err), ERR_OK);
	cut(&h, "sealed store", act_backup, tier_count(200));
	free_history(&h);
}

static void test_power_cut__in_a_backup_that_commits_segments_on_its_way(void **state)
{
	(void)state;
	struct history h;
	new_store(&h, 1, (struct history_disk){.random_blocks = 240, .second_at = 241}, 0);
	cut(&h, "long backup", act_backup, tier_count(36));
	free_history(&h);
}

/* ---- Keys ---- */

static const char second_key[40] = "another key file, of forty bytes or so.";

static bool opens_with_second_key(struct io *io)
{
	struct unlock unlock = {UNLOCK_KEY_FILE, second_key, sizeof(second_key)};
	struct store *store = NULL;
	bool opens = store_open(io, STORE_READ, &unlock, &store, NULL) == ERR_OK;
	store_close(store);
	return opens;
}

/* Adds a slot, and removes it again if `remove`. *ret_done: what was asked for last had succeeded. */
static void change_keys(struct history *h, bool remove, bool *ret_done)
{
	uint32_t number;
	*ret_done = world_try_open(&h->w, STORE_WRITE, NULL) == ERR_OK &&
		    key_slot_add(h->w.io, store_keys_of(h->w.store), KEY_SLOT_KEY_FILE, "second", second_key,
				 sizeof(second_key), NULL, &number, NULL) == ERR_OK;
	if (*ret_done && remove)
		*ret_done = key_slot_remove(h->w.io, number, NULL) == ERR_OK;
	world_close(&h->w);
}

static void test_power_cut__while_a_key_is_added_or_removed(void **state)
{
	(void)state;
	struct history base;
	new_store(&base, 1, small_disk, 1);
	unsigned count = tier_count(360);
	for (unsigned i = 0; i < count; i++) {
		struct history h;
		bool done;
		start(&h, &base);
		io_sim_arm(h.w.io, 1 + i / 3 % 12, faults[i % 3], false);
		change_keys(&h, i % 2, &done);
		seen.cuts += io_sim_calls(h.w.io) >= 1 + i / 3 % 12;
		io_sim_power_cycle(h.w.io, test_random(&random_state));
		/* The first key opens it whatever happened. */
		world_open(&h.w, STORE_WRITE);
		history_expect(&h);
		world_close(&h.w);
		if (done)
			assert_int_equal(opens_with_second_key(h.w.io), i % 2 == 0);
		end(&h);
	}
	print_message("key changes: %u cuts\n", count);
	free_history(&base);
}

static int report_cut(void **state)
{
	(void)state;
	if (now.scenario)
		print_message("the cut: %s, number %u, at write %u, fault %d, power cycle with seed %llu\n",
			      now.scenario, now.number, (unsigned)now.point, now.fault, (unsigned long long)now.seed);
	return 0;
}

#define CUT_TEST(f) cmocka_unit_test_teardown(f, report_cut)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CUT_TEST(test_power_cut__during_init),
		CUT_TEST(test_power_cut__during_init_leaves_a_store_or_none),
		CUT_TEST(test_power_cut__during_the_first_backup),
		CUT_TEST(test_power_cut__during_the_second_backup),
		CUT_TEST(test_power_cut__during_a_backup_after_a_cut),
		CUT_TEST(test_power_cut__during_a_backup_after_a_kill),
		CUT_TEST(test_power_cut__while_the_log_starts_over),
		CUT_TEST(test_power_cut__with_two_lanes_and_several_segments),
		CUT_TEST(test_power_cut__in_a_sealed_store),
		CUT_TEST(test_power_cut__in_a_backup_that_commits_segments_on_its_way),
		CUT_TEST(test_power_cut__while_a_key_is_added_or_removed),
	};
	keep_memory();
	random_state = test_seed("test_power_cuts");
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	print_message("%u power cuts, %u of them during recovery, and %u after a success\n", seen.cuts,
		      seen.recovery_cuts, seen.idle_cuts);
	print_message("%u commits were durable though the caller saw the cut; %u recoveries kept work; %u damaged "
		      "logs; %u inits "
		      "done again\n",
		      seen.committed, seen.adopted, seen.log_damaged, seen.inits_repeated);
	if (!tier_is_quick() && seen.cuts < 10000) {
		print_error("fewer than 10000 power cuts\n");
		failed++;
	}
	return failed;
}
