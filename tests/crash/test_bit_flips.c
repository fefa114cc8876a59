/* SPDX-License-Identifier: Apache-2.0 */
/* One flipped bit at a time, in every structure of a small store. Whatever is opened and restored has the right bytes
 * or fails with an error that names the damage; scrub finds every flip in a segment; a damaged copy of the log is told
 * of or healed; and a backup made on top is right, or says what it cannot give back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/size.h"
#include "store/segment_format.h"
#include "tests/crash/history.h"
#include "tests/crash/lean_arena.h"
#include "tests/crash/tier.h"

#include <inttypes.h>
#include <stdio.h>

enum what { IN_CONFIG, IN_KEY_SLOT, IN_RECOVERY, IN_LOG, IN_SEGMENT, IN_INDEX };

/* A stretch of a file with one purpose. */
struct region {
	const char *name;
	enum what what;
	char path[64];
	uint64_t start;
	uint64_t end;
};

enum { REGIONS_MAX = 128 };

static struct {
	struct history base;
	struct region regions[REGIONS_MAX];
	unsigned count;
	uint64_t random;
} t;

/* The flip of this round, for the message when something is wrong. */
static struct {
	const struct region *region;
	uint64_t offset;
	unsigned bit;
} now;

/* ---- Regions ---- */

static void add_region(const char *name, enum what what, const char *path, uint64_t start, uint64_t end)
{
	assert_true(t.count < REGIONS_MAX);
	assert_true(start <= end);
	if (start == end)
		return;
	struct region *r = &t.regions[t.count++];
	*r = (struct region){.name = name, .what = what, .start = start, .end = end};
	snprintf(r->path, sizeof(r->path), "%s", path);
}

static uint8_t *read_file(const char *path, size_t *ret_length)
{
	uint8_t *data = NULL;
	struct err err = {0};
	if (io_read_file(t.base.w.io, path, 64 << 20, &data, ret_length, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	return data;
}

static void add_file(const char *name, enum what what, const char *path)
{
	size_t length;
	free(read_file(path, &length));
	add_region(name, what, path, 0, length);
}

static void add_stripes(const uint8_t *data, const char *path, uint64_t start, uint64_t end)
{
	while (start < end) {
		struct stripe_head head;
		struct err err = {0};
		assert_int_equal(stripe_head_peek(data + start, 4096, &head, &err), ERR_OK);
		uint64_t directory = start + head.dir_offset;
		uint64_t padding = directory + (uint64_t)head.record_count * RECORD_ENTRY_SIZE;
		add_region("stripe head", IN_SEGMENT, path, start, start + STRIPE_HEAD_SIZE);
		add_region("records", IN_SEGMENT, path, start + STRIPE_HEAD_SIZE, directory);
		add_region("directory", IN_SEGMENT, path, directory, padding);
		add_region("padding of a stripe", IN_SEGMENT, path, padding, start + head.length);
		start += head.length;
	}
}

static void add_segment(enum segment_kind kind, uint64_t number)
{
	char path[SEGMENT_PATH_SIZE];
	segment_path(kind, number, path);
	size_t length;
	uint8_t *data = read_file(path, &length);
	struct trailer trailer;
	struct err err = {0};
	const uint8_t *auth = store_keys_of(t.base.w.store)->auth;
	assert_int_equal(trailer_decode(data + length - TRAILER_SIZE, auth, &trailer, NULL, &err), ERR_OK);
	struct trailer_layout l = trailer_layout(&trailer);
	uint64_t fixed = SEGMENT_HEADER_FIXED + SEGMENT_KEY_SLOT_SIZE + 32;
	add_region("header", IN_SEGMENT, path, 0, fixed);
	add_region("padding of the header", IN_SEGMENT, path, fixed, trailer.header_length);
	add_stripes(data, path, trailer.header_length, trailer.data_end);
	add_region("footer head", IN_SEGMENT, path, trailer.data_end, trailer.data_end + TRAILER_SIZE);
	add_region("directory copy", IN_SEGMENT, path, trailer.data_end + TRAILER_SIZE, trailer.covered);
	add_region("first CRC table", IN_SEGMENT, path, l.first_table, l.first_table + l.table_length);
	add_region("parity", IN_SEGMENT, path, l.parity, l.second_table);
	add_region("second CRC table", IN_SEGMENT, path, l.second_table, l.second_table + l.table_length);
	add_region("header copy", IN_SEGMENT, path, l.header_copy, l.trailer);
	add_region("trailer", IN_SEGMENT, path, l.trailer, l.file_length);
	assert_int_equal(l.file_length, length);
	free(data);
}

static enum err_code add_index_file(void *user, const char *name, struct err *err)
{
	(void)user;
	(void)err;
	char path[300];
	snprintf(path, sizeof(path), "index/%s", name);
	add_file("index", IN_INDEX, path);
	return ERR_OK;
}

static int setup(void **state)
{
	(void)state;
	struct err err = {0};
	t.random = test_seed("test_bit_flips");
	t.base.w.lanes = 1;
	t.base.w.verify_new = VERIFY_NEW_ALL;
	assert_int_equal(io_sim_new(1, 0, &t.base.w.io, &err), ERR_OK);
	history_make_versions(t.base.versions, (struct history_disk){.random_blocks = 3, .second_at = 4}, t.random);
	for (unsigned i = 0; i < 2; i++) {
		world_open(&t.base.w, STORE_WRITE);
		if (history_try_backup(&t.base, &err) != ERR_OK)
			fail_msg("%s", err.msg);
		world_close(&t.base.w);
	}
	add_file("store.conf", IN_CONFIG, "store.conf");
	add_file("key slot", IN_KEY_SLOT, "keys/slot-00");
	add_file("recovery key file", IN_RECOVERY, "keys/recovery");
	add_region("log", IN_LOG, "log-a", 0, 3 * 4096);
	add_region("log", IN_LOG, "log-b", 0, 3 * 4096);
	add_region("rest of the log", IN_LOG, "log-a", 3 * 4096, 65536);
	add_region("rest of the log", IN_LOG, "log-b", 3 * 4096, 65536);
	world_open(&t.base.w, STORE_READ);
	const struct log_state *log = store_state(t.base.w.store);
	for (size_t i = 0; i < log->segment_count; i++)
		add_segment(log->segments[i].kind, log->segments[i].number);
	world_close(&t.base.w);
	return io_list(t.base.w.io, "index", add_index_file, NULL, &err) == ERR_OK ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	io_free(t.base.w.io);
	history_free_versions(t.base.versions);
	return 0;
}

/* ---- One flip ---- */

static void expect_named(const char *what, enum err_code code, const struct err *err)
{
	static const char *const names[] = {"store.conf", "the store has format", "key", "log", "segment", "saveset",
					    "block"};
	bool named = false;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		named |= strstr(err->msg, names[i]) != NULL;
	bool is_damage = code == ERR_CORRUPT || code == ERR_UNSUPPORTED || code == ERR_AUTH;
	if (err->code != code || !named || !is_damage || strchr(err->msg, '\n'))
		fail_msg("%s: '%s': %s", what, err_code_name(code), err->msg);
}

/* With `keep_going` everything but the lost blocks is there; they are zeroes. */
static void expect_rest(struct history *h, const struct history_entry *entry)
{
	const struct disk_image *image = &h->versions[entry->version];
	struct damage_list damage = {0};
	uint8_t *data = NULL;
	struct err err = {0};
	enum err_code code = world_restore(&h->w, &entry->id, 0, true, &data, &damage, &err);
	if (!data) { /* not even the description is left */
		expect_named("restore of the rest", code, &err);
		return;
	}
	assert_int_equal(code, ERR_CORRUPT);
	assert_true(damage.count > 0);
	for (size_t i = 0; i < damage.count; i++) {
		uint64_t start = damage.ranges[i].first_block * BLOCK_SIZE;
		uint64_t end = min_u64(start + damage.ranges[i].block_count * BLOCK_SIZE, image->size);
		for (uint64_t at = start; at < end; at++)
			assert_int_equal(data[at], 0);
		memcpy(data + start, image->data + start, end - start);
	}
	assert_int_equal(memcmp(data, image->data, image->size), 0);
	free(data);
	damage_list_release(&damage);
}

/* The right bytes or a named error. Returns false for an error. */
static bool restores(struct history *h, const struct history_entry *entry)
{
	const struct disk_image *image = &h->versions[entry->version];
	uint8_t *data = NULL;
	struct err err = {0};
	enum err_code code = world_restore(&h->w, &entry->id, 0, false, &data, NULL, &err);
	if (code != ERR_OK)
		expect_named("restore", code, &err);
	else if (memcmp(data, image->data, image->size) != 0)
		fail_msg("wrong bytes were restored");
	free(data);
	if (code != ERR_OK)
		expect_rest(h, entry);
	return code == ERR_OK;
}

static enum err_code run_check(struct history *h, check_fn check)
{
	struct check_request request = {.lanes = 1};
	struct check_report report;
	struct err err = {0};
	enum err_code code = check(h->w.store, &request, &report, NULL, &err);
	assert_int_equal(err.code, code);
	return code;
}

static bool read_all(struct history *h)
{
	bool whole = true;
	for (unsigned i = 0; i < h->tried_count; i++)
		whole &= restores(h, &h->tried[i]);
	enum err_code scrubbed = run_check(h, scrub_run);
	enum err_code verified = run_check(h, verify_run);
	bool expected = now.region->what == IN_SEGMENT || store_log_damage(h->w.store);
	assert_int_equal(scrubbed, expected ? ERR_CORRUPT : ERR_OK);
	if (!whole)
		assert_int_equal(verified, ERR_CORRUPT);
	return whole;
}

/* A backup on top of the damage, and what the log is like then. */
static void back_up_again(struct history *h)
{
	struct err err = {0};
	enum err_code code = world_try_open(&h->w, STORE_WRITE, &err);
	if (code != ERR_OK) {
		expect_named("opening for writing", code, &err);
		return;
	}
	if (history_try_backup(h, &err) != ERR_OK)
		fail_msg("backup: %s", err.msg);
	world_close(&h->w);
	err = (struct err){0};
	if (world_try_open(&h->w, STORE_READ, &err) != ERR_OK)
		fail_msg("opening after a backup: %s", err.msg);
	if (now.region->what == IN_LOG && world_find_notice(&h->w, "log"))
		fail_msg("not healed: %s", world_find_notice(&h->w, "log"));
	bool whole = true;
	for (unsigned i = 0; i < h->tried_count; i++)
		whole &= restores(h, &h->tried[i]);
	if (now.region->what != IN_SEGMENT)
		assert_true(whole);
	world_close(&h->w);
}

/* The other way in, which needs no slot. */
static void open_with_recovery_key(struct history *h)
{
	struct err err = {0};
	h->w.use_recovery_key = true;
	enum err_code code = world_try_open(&h->w, STORE_READ, &err);
	if (code != ERR_OK && now.region->what == IN_KEY_SLOT)
		fail_msg("the recovery key does not open the store: %s", err.msg);
	if (code != ERR_OK)
		expect_named("opening with the recovery key", code, &err);
	world_close(&h->w);
	h->w.use_recovery_key = false;
}

static void flip(const struct region *region, uint64_t offset, unsigned bit)
{
	struct history h = t.base;
	struct err err = {0};
	now.region = region;
	now.offset = offset;
	now.bit = bit;
	assert_int_equal(io_sim_clone(t.base.w.io, &h.w.io, &err), ERR_OK);
	assert_int_equal(io_sim_flip(h.w.io, region->path, offset, bit, &err), ERR_OK);
	enum err_code code = world_try_open(&h.w, STORE_READ, &err);
	if (code != ERR_OK) {
		assert_true(region->what <= IN_RECOVERY);
		expect_named("opening", code, &err);
		open_with_recovery_key(&h);
	} else {
		bool whole = read_all(&h);
		assert_true(whole || region->what == IN_SEGMENT);
		world_close(&h.w);
		back_up_again(&h);
	}
	io_free(h.w.io);
}

/* ---- Many ---- */

/* `count` flips spread over a region; all bits of it if it has fewer. */
static void flip_region(const struct region *region, unsigned count)
{
	uint64_t bits = 8 * (region->end - region->start);
	count = (unsigned)min_u64(count, bits);
	for (unsigned i = 0; i < count; i++) {
		uint64_t first = bits * i / count;
		uint64_t next = bits * (i + 1) / count;
		uint64_t at = first + test_random_below(&t.random, next - first);
		flip(region, region->start + at / 8, (unsigned)(at % 8));
	}
}

static void flip_all(enum what what, unsigned count)
{
	unsigned done = 0;
	for (unsigned i = 0; i < t.count; i++)
		if (t.regions[i].what == what) {
			flip_region(&t.regions[i], tier_count(count));
			done++;
		}
	assert_true(done > 0);
	now.region = NULL;
	print_message("%u regions, up to %u flips in each\n", done, tier_count(count));
}

static void test_bit_flip__in_the_configuration(void **state)
{
	(void)state;
	flip_all(IN_CONFIG, 400);
}

static void test_bit_flip__in_the_key_files(void **state)
{
	(void)state;
	flip_all(IN_KEY_SLOT, 300);
	flip_all(IN_RECOVERY, 300);
}

static void test_bit_flip__in_the_log(void **state)
{
	(void)state;
	flip_all(IN_LOG, 160);
}

static void test_bit_flip__in_the_segments(void **state)
{
	(void)state;
	flip_all(IN_SEGMENT, 20);
}

static void test_bit_flip__in_the_index(void **state)
{
	(void)state;
	flip_all(IN_INDEX, 60);
}

static int report_flip(void **state)
{
	(void)state;
	if (now.region)
		print_message("the flip: %s, bit %u of byte %" PRIu64 " of '%s'\n", now.region->name, now.bit,
			      now.offset, now.region->path);
	return 0;
}

#define FLIP_TEST(f) cmocka_unit_test_teardown(f, report_flip)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FLIP_TEST(test_bit_flip__in_the_configuration), FLIP_TEST(test_bit_flip__in_the_key_files),
		FLIP_TEST(test_bit_flip__in_the_log),           FLIP_TEST(test_bit_flip__in_the_segments),
		FLIP_TEST(test_bit_flip__in_the_index),
	};
	keep_memory();
	return cmocka_run_group_tests(tests, setup, teardown);
}
