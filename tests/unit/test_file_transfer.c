/* SPDX-License-Identifier: Apache-2.0 */
/* The transfer engine on a queue that holds back its completions, gives them in the wrong order and fails some. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/file_transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HELD_MAX 512u

struct fake_queue {
	struct io_queue base;
	struct io_op *held[HELD_MAX];
	unsigned count;
	unsigned most;       /* held at one time */
	unsigned total;      /* ops completed */
	unsigned fail_after; /* ops that succeed before all fail with EIO; 0: never */
};

static uint8_t disk[1 << 20]; /* the "file" behind all ops */

static void fake_submit(struct io_queue *base, struct io_op *op)
{
	struct fake_queue *queue = (struct fake_queue *)base;
	assert_true(queue->count < HELD_MAX);
	queue->held[queue->count++] = op;
	if (queue->count > queue->most)
		queue->most = queue->count;
}

/* Completes the op that was submitted last. */
static enum err_code fake_wait(struct io_queue *base, unsigned min, struct err *err)
{
	struct fake_queue *queue = (struct fake_queue *)base;
	(void)min;
	(void)err;
	if (queue->count == 0)
		return ERR_OK;
	struct io_op *op = queue->held[--queue->count];
	queue->total++;
	op->result = op->length;
	if (queue->fail_after && queue->total > queue->fail_after)
		op->result = -EIO;
	else if (op->kind == IO_OP_READ)
		memcpy(op->data, disk + op->offset, op->length);
	else
		memcpy(disk + op->offset, op->data, op->length);
	op->complete(op);
	return ERR_OK;
}

static const struct io_ops fake_ops = {.submit = fake_submit, .wait = fake_wait};
static char fake_path[] = "/fake/disk";
static struct io_file fake_file = {.ops = &fake_ops, .path = fake_path, .align = 1};

/* Sectors alternate between the file and nowhere; at `bad_offset` the map fails. */
struct fake_map {
	uint64_t bad_offset;
	const void *extra; /* written in front of byte 0, once */
};

static enum err_code next_sector(void *user, uint64_t offset, uint32_t length, const uint8_t *data,
				 struct transfer_step *ret, struct err *err)
{
	struct fake_map *map = user;
	(void)data;
	if (map->bad_offset && offset == map->bad_offset)
		return err_set(err, ERR_CORRUPT, 0, "no such sector");
	if (offset == 0 && map->extra) {
		*ret = (struct transfer_step){.file = &fake_file, .offset = 4096, .length = 512, .extra = map->extra};
		map->extra = NULL;
		return ERR_OK;
	}
	bool here = offset / 512 % 2 == 0;
	*ret = (struct transfer_step){
		.file = here ? &fake_file : NULL, .offset = offset, .length = length < 512 ? length : 512};
	return ERR_OK;
}

static void fill_disk(void)
{
	for (size_t i = 0; i < sizeof(disk); i++)
		disk[i] = (uint8_t)(i / 512 + 1);
}

static struct transfer *new_transfer(struct fake_queue *queue, struct fake_map *map, enum io_op_kind kind,
				     unsigned depth)
{
	struct transfer *transfer = NULL;
	queue->base = (struct io_queue){.ops = &fake_ops, .depth = HELD_MAX};
	assert_int_equal(transfer_new(&queue->base, kind, depth, next_sector, map, &transfer, NULL), ERR_OK);
	return transfer;
}

/* Far more pieces than the engine has room for. */
static void test_file_transfer__continues_jobs_as_room_comes(void **state)
{
	(void)state;
	struct fake_queue queue = {0};
	struct fake_map map = {0};
	enum { LENGTH = 512 * 1024, JOBS = 2 };
	static uint8_t memory[JOBS][LENGTH];
	bool done[JOBS];
	struct err errs[JOBS];
	fill_disk();
	memset(memory, 0xEE, sizeof(memory));
	struct transfer *transfer = new_transfer(&queue, &map, IO_OP_READ, JOBS);
	for (unsigned i = 0; i < JOBS; i++)
		transfer_submit(transfer, (uint64_t)i * LENGTH, LENGTH, memory[i], &done[i], &errs[i]);
	assert_false(done[0] || done[1]);
	assert_true(queue.most < LENGTH / 1024);
	while (!done[0] || !done[1])
		assert_int_equal(transfer_wait(transfer, NULL), ERR_OK);
	assert_int_equal(queue.total, JOBS * LENGTH / 1024);
	for (unsigned i = 0; i < JOBS; i++) {
		assert_int_equal(errs[i].code, ERR_OK);
		for (size_t at = 0; at < LENGTH; at++) {
			size_t sector = ((size_t)i * LENGTH + at) / 512;
			assert_int_equal(memory[i][at], sector % 2 ? 0 : (uint8_t)(sector + 1));
		}
	}
	assert_int_equal(transfer_wait(transfer, NULL), ERR_OK); /* nothing to wait for */
	transfer_free(transfer);
}

static void test_file_transfer__reports_a_failed_read_with_its_place(void **state)
{
	(void)state;
	struct fake_queue queue = {.fail_after = 3};
	struct fake_map map = {0};
	uint8_t memory[8192];
	bool done;
	struct err err;
	struct transfer *transfer = new_transfer(&queue, &map, IO_OP_READ, 1);
	transfer_submit(transfer, 0, sizeof(memory), memory, &done, &err);
	while (!done)
		assert_int_equal(transfer_wait(transfer, NULL), ERR_OK);
	assert_int_equal(err.code, ERR_IO);
	assert_non_null(strstr(err.msg, "/fake/disk"));
	/* The engine goes on: a later job is not harmed. */
	queue.fail_after = 0;
	fill_disk();
	transfer_submit(transfer, 0, 512, memory, &done, &err);
	while (!done)
		assert_int_equal(transfer_wait(transfer, NULL), ERR_OK);
	assert_int_equal(err.code, ERR_OK);
	assert_int_equal(memory[511], 1);
	transfer_free(transfer);
}

static void test_file_transfer__ends_a_job_whose_map_fails(void **state)
{
	(void)state;
	struct fake_queue queue = {0};
	struct fake_map map = {.bad_offset = 2048};
	uint8_t memory[8192];
	bool done;
	struct err err;
	struct transfer *transfer = new_transfer(&queue, &map, IO_OP_READ, 1);
	transfer_submit(transfer, 0, sizeof(memory), memory, &done, &err);
	assert_false(done); /* two sectors are in flight into its memory */
	while (!done)
		assert_int_equal(transfer_wait(transfer, NULL), ERR_OK);
	assert_int_equal(err.code, ERR_CORRUPT);
	assert_string_equal(err.msg, "no such sector");
	assert_int_equal(queue.total, 2);
	transfer_free(transfer);
}

static void test_file_transfer__writes_what_goes_in_front(void **state)
{
	(void)state;
	static const uint8_t extra[512] = {7, 8, 9};
	struct fake_queue queue = {0};
	struct fake_map map = {.extra = extra};
	uint8_t memory[1024];
	bool done;
	struct err err;
	memset(disk, 0, sizeof(disk));
	memset(memory, 0x11, sizeof(memory));
	struct transfer *transfer = new_transfer(&queue, &map, IO_OP_WRITE, 1);
	transfer_submit(transfer, 0, sizeof(memory), memory, &done, &err);
	while (!done)
		assert_int_equal(transfer_wait(transfer, NULL), ERR_OK);
	assert_int_equal(err.code, ERR_OK);
	assert_memory_equal(disk + 4096, extra, sizeof(extra));
	assert_memory_equal(disk, memory, 512);
	assert_int_equal(disk[512], 0); /* what goes nowhere */
	transfer_free(transfer);
}

static void test_file_transfer__drains_when_freed(void **state)
{
	(void)state;
	struct fake_queue queue = {0};
	struct fake_map map = {0};
	uint8_t memory[4096];
	bool done;
	struct err err;
	struct transfer *transfer = new_transfer(&queue, &map, IO_OP_READ, 1);
	transfer_submit(transfer, 0, sizeof(memory), memory, &done, &err);
	bool done_second;
	struct err err_second;
	transfer_submit(transfer, 0, sizeof(memory), memory, &done_second, &err_second);
	assert_true(done_second);
	assert_int_equal(err_second.code, ERR_BUG);
	transfer_free(transfer);
	assert_true(done);
	assert_int_equal(queue.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_transfer__continues_jobs_as_room_comes),
		cmocka_unit_test(test_file_transfer__reports_a_failed_read_with_its_place),
		cmocka_unit_test(test_file_transfer__ends_a_job_whose_map_fails),
		cmocka_unit_test(test_file_transfer__writes_what_goes_in_front),
		cmocka_unit_test(test_file_transfer__drains_when_freed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
