/* SPDX-License-Identifier: Apache-2.0 */
/* Every call to the disk fails in turn, once or from then on: an I/O error, a full disk, a lost sync. The operation
 * ends with the code that fits and a message, or it succeeds and what it says is true. Afterwards the store is whole,
 * opens again, and the same operation succeeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/crash/history.h"
#include "tests/crash/lean_arena.h"

typedef enum err_code (*operation_fn)(struct history *h, struct err *err);

/* One operation and what a fault in it may lead to. */
struct operation {
	const char *name;
	operation_fn run;
	bool writes;
	bool finds_damage; /* what cannot be read is damage to it */
	bool reads_all;    /* each byte once: a read that fails must show */
};

/* The fault of this round, for the message when something is wrong. */
static struct {
	const char *operation;
	enum io_sim_fault fault;
	uint64_t call;
	bool repeats;
} now;

static uint64_t random_state;
static uint64_t opened_at; /* calls that the opening took */

/* ---- Operations ---- */

static enum err_code run_init(struct history *h, struct err *err)
{
	enum err_code code = world_try_init(&h->w, err);
	h->w.made = code == ERR_OK;
	return code;
}

static enum err_code open_once(struct history *h, enum store_mode mode, struct err *err)
{
	if (h->w.store)
		return ERR_OK;
	TRY(world_try_open(&h->w, mode, err));
	opened_at = io_sim_calls(h->w.io);
	return ERR_OK;
}

static enum err_code run_backup(struct history *h, struct err *err)
{
	TRY(open_once(h, STORE_WRITE, err));
	return history_try_backup(h, err);
}

static enum err_code run_restore(struct history *h, struct err *err)
{
	const struct history_entry *entry = &h->tried[h->tried_count - 1];
	const struct disk_image *image = &h->versions[entry->version];
	TRY(open_once(h, STORE_READ, err));
	uint8_t *data = NULL;
	enum err_code code = world_restore(&h->w, &entry->id, 0, false, &data, NULL, err);
	if (code == ERR_OK)
		assert_int_equal(memcmp(data, image->data, image->size), 0);
	free(data);
	return code;
}

static void check_finding(void *user, const struct finding *finding)
{
	++*(unsigned *)user;
	assert_true(strlen(finding->text) > 0);
}

static enum err_code run_check(struct history *h, check_fn check, struct err *err)
{
	TRY(open_once(h, STORE_READ, err));
	unsigned findings = 0;
	struct check_request request = {.lanes = 1, .found = check_finding, .user = &findings};
	struct check_report report;
	enum err_code code = check(h->w.store, &request, &report, NULL, err);
	assert_true(code != ERR_CORRUPT || findings > 0);
	return code;
}

static enum err_code run_verify(struct history *h, struct err *err)
{
	return run_check(h, verify_run, err);
}

static enum err_code run_scrub(struct history *h, struct err *err)
{
	return run_check(h, scrub_run, err);
}

/* ---- Rounds ---- */

static void expect_error(const struct operation *op, enum err_code code, const struct err *err)
{
	enum err_code wanted = now.fault == IO_SIM_ENOSPC ? ERR_NO_SPACE : ERR_IO;
	if (code != wanted && !(op->finds_damage && code == ERR_CORRUPT))
		fail_msg("the error has code '%s': %s", err_code_name(code), err->msg);
	assert_int_equal(err->code, code);
	assert_true(strlen(err->msg) > 0);
}

/* What one process may do after the fault is over: go on, or be told to open the store again. */
static void expect_goes_on(struct history *h, const struct operation *op)
{
	struct err err = {0};
	if (!h->w.store || op->run(h, &err) == ERR_OK)
		return;
	if (!op->writes || !strstr(err.msg, "open the store again"))
		fail_msg("the same again: %s", err.msg);
}

static void expect_whole(struct history *h, const struct operation *op)
{
	struct err err = {0};
	if (!h->w.made && world_try_open(&h->w, STORE_WRITE, NULL) != ERR_OK && world_try_init(&h->w, &err) != ERR_OK)
		fail_msg("init again: %s", err.msg);
	h->w.made = true;
	if (open_once(h, STORE_WRITE, &err) != ERR_OK)
		fail_msg("opening: %s", err.msg);
	history_expect(h);
	world_expect_clean(&h->w);
	if (op->run != run_init && op->run(h, &err) != ERR_OK)
		fail_msg("once more: %s", err.msg);
	if (op->writes && run_backup(h, &err) != ERR_OK)
		fail_msg("a backup: %s", err.msg);
	history_expect(h);
}

static void start(struct history *h, const struct history *base)
{
	struct err err = {0};
	*h = *base;
	assert_int_equal(io_sim_clone(base->w.io, &h->w.io, &err), ERR_OK);
}

static void play(const struct history *base, const struct operation *op)
{
	struct history h;
	struct err err = {0};
	start(&h, base);
	io_sim_arm(h.w.io, now.call, now.fault, now.repeats);
	enum err_code code = op->run(&h, &err);
	if (code != ERR_OK)
		expect_error(op, code, &err);
	else if (op->reads_all && now.fault == IO_SIM_EIO && now.call > opened_at && now.call <= io_sim_calls(h.w.io))
		fail_msg("success although a read had failed");
	if (!now.repeats) {
		io_sim_arm(h.w.io, 0, IO_SIM_NONE, false);
		expect_goes_on(&h, op);
	}
	world_close(&h.w);
	io_sim_arm(h.w.io, 0, IO_SIM_NONE, false);
	if (test_random_below(&random_state, 2))
		io_sim_power_cycle(h.w.io, test_random(&random_state));
	expect_whole(&h, op);
	world_close(&h.w);
	io_free(h.w.io);
}

static uint64_t count_calls(const struct history *base, const struct operation *op)
{
	struct history h;
	struct err err = {0};
	start(&h, base);
	if (op->run(&h, &err) != ERR_OK)
		fail_msg("without a fault: %s", err.msg);
	world_close(&h.w);
	uint64_t calls = io_sim_calls(h.w.io);
	io_free(h.w.io);
	return calls;
}

static void make_base(struct history *base, uint64_t capacity, bool init, unsigned backups)
{
	struct err err = {0};
	*base = (struct history){.w.lanes = 1, .w.verify_new = VERIFY_NEW_ALL};
	assert_int_equal(io_sim_new(test_random(&random_state), capacity, &base->w.io, &err), ERR_OK);
	history_make_versions(base->versions, (struct history_disk){.random_blocks = 4, .second_at = 5}, random_state);
	if (init)
		assert_int_equal(run_init(base, &err), ERR_OK);
	for (unsigned i = 0; i < backups; i++)
		assert_int_equal(run_backup(base, &err), ERR_OK);
	world_close(&base->w);
}

static void free_base(struct history *base)
{
	io_free(base->w.io);
	history_free_versions(base->versions);
}

static void sweep(const struct operation *op, unsigned backups)
{
	static const enum io_sim_fault faults[] = {IO_SIM_EIO, IO_SIM_ENOSPC, IO_SIM_LOST_SYNC};
	struct history base;
	make_base(&base, 0, op->run != run_init, backups);
	uint64_t calls = count_calls(&base, op);
	now.operation = op->name;
	for (unsigned kind = 0; kind < (op->writes ? 6 : 2); kind++) {
		now.fault = faults[kind / 2];
		now.repeats = kind % 2;
		for (now.call = 1; now.call <= calls; now.call++)
			play(&base, op);
	}
	now.operation = NULL;
	print_message("%s: each of %u calls failed\n", op->name, (unsigned)calls);
	free_base(&base);
}

static void test_fault__during_init(void **state)
{
	(void)state;
	sweep(&(struct operation){.name = "init", .run = run_init, .writes = true}, 0);
}

static void test_fault__during_the_first_backup(void **state)
{
	(void)state;
	sweep(&(struct operation){.name = "first backup", .run = run_backup, .writes = true}, 0);
}

static void test_fault__during_the_second_backup(void **state)
{
	(void)state;
	sweep(&(struct operation){.name = "second backup", .run = run_backup, .writes = true}, 1);
}

static void test_fault__during_a_restore(void **state)
{
	(void)state;
	sweep(&(struct operation){.name = "restore", .run = run_restore, .finds_damage = true}, 2);
}

static void test_fault__during_a_verify(void **state)
{
	(void)state;
	sweep(&(struct operation){.name = "verify", .run = run_verify, .finds_damage = true}, 2);
}

static void test_fault__during_a_scrub(void **state)
{
	(void)state;
	sweep(&(struct operation){.name = "scrub", .run = run_scrub, .finds_damage = true, .reads_all = true}, 2);
}

/* ---- A disk that is full ---- */

/* Takes all of the disk but `room` bytes. */
static void fill_disk(struct io *io, uint64_t room)
{
	struct err err = {0};
	struct io_file *file;
	uint64_t left;
	assert_int_equal(io_free_space(io, &left, &err), ERR_OK);
	assert_int_equal(io_open(io, "filler", IO_WRITE | IO_CREATE, &file, &err), ERR_OK);
	assert_int_equal(io_allocate(file, left - room, &err), ERR_OK);
	assert_int_equal(io_sync_dir(io, "", &err), ERR_OK);
	io_file_close(file);
}

/* A backup on a disk with `room` bytes left. False: it succeeded. */
static bool fill_and_back_up(const struct history *base, uint64_t room, bool power_fails)
{
	struct history h;
	struct err err = {0};
	start(&h, base);
	fill_disk(h.w.io, room);
	enum err_code code = run_backup(&h, &err);
	if (code != ERR_OK && code != ERR_NO_SPACE)
		fail_msg("with %u bytes left: '%s': %s", (unsigned)room, err_code_name(code), err.msg);
	world_close(&h.w);
	if (power_fails)
		io_sim_power_cycle(h.w.io, test_random(&random_state));
	/* Still full, and open for writing all the same: or nothing could ever be deleted. */
	err = (struct err){0};
	if (open_once(&h, STORE_WRITE, &err) != ERR_OK)
		fail_msg("with %u bytes left the store does not open: %s", (unsigned)room, err.msg);
	/* An opening that cannot take the interrupted job's work over leaves no part of a copy behind. */
	size_t files = world_count_segment_files(&h.w);
	world_reopen(&h.w, STORE_WRITE);
	assert_int_equal(world_count_segment_files(&h.w), files);
	history_expect(&h);
	world_expect_clean(&h.w);
	world_close(&h.w);
	assert_int_equal(io_remove(h.w.io, "filler", &err), ERR_OK);
	expect_whole(&h, &(struct operation){.run = run_backup, .writes = true});
	assert_int_equal(world_count_segment_files(&h.w), store_state(h.w.store)->segment_count);
	world_close(&h.w);
	io_free(h.w.io);
	return code != ERR_OK;
}

static void test_full_disk__keeps_what_was_there(void **state)
{
	(void)state;
	struct history base;
	make_base(&base, 8 << 20, true, 1);
	uint64_t room = 0;
	while (fill_and_back_up(&base, room, room & 4096))
		room += 4096;
	assert_true(room > 16 * 4096);
	print_message("full disk: with every room up to %u bytes\n", (unsigned)room);
	free_base(&base);
}

static int report_fault(void **state)
{
	(void)state;
	if (now.operation)
		print_message("the fault: %s, call %u, fault %d%s\n", now.operation, (unsigned)now.call, now.fault,
			      now.repeats ? " and all later ones" : "");
	return 0;
}

#define FAULT_TEST(f) cmocka_unit_test_teardown(f, report_fault)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAULT_TEST(test_fault__during_init),
		FAULT_TEST(test_fault__during_the_first_backup),
		FAULT_TEST(test_fault__during_the_second_backup),
		FAULT_TEST(test_fault__during_a_restore),
		FAULT_TEST(test_fault__during_a_verify),
		FAULT_TEST(test_fault__during_a_scrub),
		cmocka_unit_test(test_full_disk__keeps_what_was_there),
	};
	keep_memory();
	random_state = test_seed("test_fault_sweep");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
