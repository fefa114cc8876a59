/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/find_saveset.h"

#define ROWS 6

/* A list like that of a store, in memory:
 *
 *   0 11112222-...  VM web, name first        3 (damaged) 11113333-...
 *   1 aaaabbbb-...  VM web                    4 cafe0000-...  VM a:b, disk c:d
 *   2 0badcafe-...  VM db, name first         5 99990000-...  VM web with a UUID of its own */
struct fixture {
	struct log_saveset entries[ROWS];
	struct saveset_row rows[ROWS];
	struct saveset_list list;
};

static const struct {
	const char *id;
	const char *vm;
	const char *vm_uuid;
	const char *name;
	const char *disk;
} given[ROWS] = {
	{"11112222-0000-4000-8000-000000000000", "web", NULL, "first", "root"},
	{"aaaabbbb-0000-4000-8000-000000000001", "web", NULL, NULL, "root"},
	{"0badcafe-0000-4000-8000-000000000002", "db", "deadbeef-0000-4000-8000-00000000000f", "first", "root"},
	{"11113333-0000-4000-8000-000000000003", NULL, NULL, NULL, NULL},
	{"cafe0000-0000-4000-8000-000000000004", "a:b", NULL, NULL, "c:d"},
	{"99990000-0000-4000-8000-000000000005", "db", "deadbeef-0000-4000-8000-00000000000e", NULL, "root"},
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	if (!fixture)
		return -1;
	fixture->list = (struct saveset_list){.rows = fixture->rows, .count = ROWS, .damaged = 1};
	*state = fixture;
	for (size_t i = 0; i < ROWS; i++) {
		struct saveset_row *row = &fixture->rows[i];
		struct saveset_disk *disk = NULL;
		struct err err = {0};
		if (!uuid_parse(given[i].id, &fixture->entries[i].id))
			return -1;
		row->entry = &fixture->entries[i];
		if (!given[i].vm) {
			err_set(&row->err, ERR_CORRUPT, 0, "the saveset is damaged");
			continue;
		}
		if (saveset_new(given[i].vm, &row->saveset, &err) != ERR_OK ||
		    saveset_add_disk(row->saveset, given[i].disk, &disk, &err) != ERR_OK)
			return -1;
		row->saveset->id = row->entry->id;
		row->saveset->name = given[i].name ? strdup(given[i].name) : NULL;
		if (given[i].vm_uuid && !uuid_parse(given[i].vm_uuid, &row->saveset->vm_uuid))
			return -1;
	}
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	for (size_t i = 0; i < ROWS; i++)
		saveset_free(fixture->rows[i].saveset);
	free(fixture);
	return 0;
}

/* `text` must mean row `index`. */
static void expect_row(const struct fixture *fixture, const char *text, size_t index)
{
	const struct saveset_row *row = NULL;
	struct err err = {0};
	if (saveset_find(&fixture->list, text, &row, &err) != ERR_OK)
		fail_msg("'%s': %s", text, err.msg);
	assert_ptr_equal(row, &fixture->rows[index]);
}

static void expect_error(const struct fixture *fixture, const char *text, enum err_code code, const char *part)
{
	const struct saveset_row *row = NULL;
	struct err err = {0};
	assert_int_equal(saveset_find(&fixture->list, text, &row, &err), code);
	assert_null(row);
	if (!strstr(err.msg, part))
		fail_msg("'%s' is not in '%s'", part, err.msg);
}

static void test_saveset_find__knows_ids_and_names(void **state)
{
	const struct fixture *fixture = *state;
	expect_row(fixture, "latest", 5);
	expect_row(fixture, "aaaa", 1);
	expect_row(fixture, "AAAABBBB", 1);
	expect_row(fixture, "aaaabbbb00004000", 1);
	expect_row(fixture, "aaaabbbb-0000-4000-8000-000000000001", 1);
	expect_row(fixture, "a:b", 4);
}

static void test_saveset_find__takes_a_vms_newest(void **state)
{
	const struct fixture *fixture = *state;
	expect_row(fixture, "web", 1);
	expect_row(fixture, "deadbeef-0000-4000-8000-00000000000f", 2);
	expect_row(fixture, "deadbeef-0000-4000-8000-00000000000e", 5);
}

static void test_saveset_find__refuses_what_means_several(void **state)
{
	const struct fixture *fixture = *state;
	expect_error(fixture, "first", ERR_INVALID, "'first' means 2 savesets: 0badcafe (db");
	expect_error(fixture, "1111", ERR_INVALID, "11113333 (damaged");
	expect_error(fixture, "db", ERR_INVALID, "2 savesets"); /* two VMs of that name */
}

static void test_saveset_find__tells_what_is_missing_or_damaged(void **state)
{
	const struct fixture *fixture = *state;
	expect_error(fixture, "nobody", ERR_NOT_FOUND, "'nobody'");
	expect_error(fixture, "aaa", ERR_NOT_FOUND, "'aaa'"); /* too short for an id */
	expect_error(fixture, "", ERR_NOT_FOUND, "''");
	expect_error(fixture, "11113333", ERR_CORRUPT, "damaged");
}

static void test_saveset_find_disk__splits_at_the_right_colon(void **state)
{
	const struct fixture *fixture = *state;
	const struct saveset_row *row = NULL;
	const struct saveset_disk *disk = NULL;
	struct err err = {0};
	assert_int_equal(saveset_find_disk(&fixture->list, "web:root", &row, &disk, &err), ERR_OK);
	assert_ptr_equal(row, &fixture->rows[1]);
	assert_string_equal(disk->name, "root");
	assert_int_equal(saveset_find_disk(&fixture->list, "a:b", &row, &disk, &err), ERR_OK);
	assert_ptr_equal(row, &fixture->rows[4]);
	assert_null(disk);
	assert_int_equal(saveset_find_disk(&fixture->list, "a:b:c:d", &row, &disk, &err), ERR_OK);
	assert_string_equal(disk->name, "c:d");
}

static void test_saveset_find_disk__names_the_disks_there_are(void **state)
{
	const struct fixture *fixture = *state;
	const struct saveset_row *row = NULL;
	const struct saveset_disk *disk = NULL;
	struct err err = {0};
	assert_int_equal(saveset_find_disk(&fixture->list, "web:data", &row, &disk, &err), ERR_NOT_FOUND);
	assert_string_equal(err.msg, "the saveset of 'web' has no disk 'data'; it has 'root'");
	err = (struct err){0};
	assert_int_equal(saveset_find_disk(&fixture->list, "first:root", &row, &disk, &err), ERR_INVALID);
	err = (struct err){0};
	assert_int_equal(saveset_find_disk(&fixture->list, "nobody:root", &row, &disk, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.msg, "'nobody:root'"));
	assert_null(row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_saveset_find__knows_ids_and_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_saveset_find__takes_a_vms_newest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_saveset_find__refuses_what_means_several, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_saveset_find__tells_what_is_missing_or_damaged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_saveset_find_disk__splits_at_the_right_colon, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_saveset_find_disk__names_the_disks_there_are, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
