/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/file_transfer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Slots per job: a write of 1 MiB needs few; a read of a fragmented differencing disk uses what is free and goes on. */
#define SLOTS_PER_JOB 4u
#define SLOTS_EXTRA 64u

struct job {
	uint64_t offset;
	uint32_t length;
	uint32_t position; /* bytes handed out to slots so far */
	uint8_t *data;
	bool *done;
	struct err *err;
	unsigned pending; /* slots in flight, and 1 while the job is in the list of those to be continued */
	struct job *next; /* in the list to be continued, or in the free list */
};

struct slot {
	struct io_op op;
	struct transfer *transfer;
	struct job *job;
	struct slot *next_free;
};

struct transfer {
	struct io_queue *queue;
	enum io_op_kind kind;
	transfer_next_fn next;
	void *user;
	struct slot *slots;
	struct slot *free_slots;
	struct job *jobs;
	struct job *free_jobs;
	struct job *first, *last; /* to be continued, oldest first */
	unsigned active;          /* jobs not done */
	uint64_t done_count;
};

enum err_code transfer_new(struct io_queue *queue, enum io_op_kind kind, unsigned depth, transfer_next_fn next,
			   void *user, struct transfer **ret, struct err *err)
{
	struct transfer *t = calloc(1, sizeof(*t));
	size_t slot_count = (size_t)depth * SLOTS_PER_JOB + SLOTS_EXTRA;
	if (t) {
		t->slots = calloc(slot_count, sizeof(*t->slots));
		t->jobs = calloc(depth, sizeof(*t->jobs));
	}
	if (!t || !t->slots || !t->jobs) {
		transfer_free(t);
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for %u transfers in flight", depth);
	}
	t->queue = queue;
	t->kind = kind;
	t->next = next;
	t->user = user;
	for (size_t i = 0; i < slot_count; i++) {
		t->slots[i].transfer = t;
		t->slots[i].next_free = t->free_slots;
		t->free_slots = &t->slots[i];
	}
	for (unsigned i = 0; i < depth; i++) {
		t->jobs[i].next = t->free_jobs;
		t->free_jobs = &t->jobs[i];
	}
	*ret = t;
	return ERR_OK;
}

static void job_unref(struct transfer *t, struct job *job)
{
	if (--job->pending > 0)
		return;
	*job->done = true;
	job->next = t->free_jobs;
	t->free_jobs = job;
	t->active--;
	t->done_count++;
}

/* Runs inside io_queue_submit and io_queue_wait: only notes what happened; transfer_continue does the rest. */
static void slot_complete(struct io_op *op)
{
	struct slot *slot = op->user;
	struct transfer *t = slot->transfer;
	struct job *job = slot->job;
	if (op->kind == IO_OP_READ && op->result >= 0 && op->result < (int64_t)op->length)
		err_set(job->err, ERR_IO, 0, "'%s' shrank while it was read: it ends before byte %" PRIu64,
			op->file->path, op->offset + op->length);
	else
		(void)!io_op_check(op, job->err);
	slot->next_free = t->free_slots;
	t->free_slots = slot;
	job_unref(t, job);
}

static void slot_submit(struct transfer *t, struct job *job, const struct transfer_step *step, void *data)
{
	struct slot *slot = t->free_slots;
	t->free_slots = slot->next_free;
	slot->job = job;
	slot->op = (struct io_op){.kind = t->kind,
				  .length = step->length,
				  .file = step->file,
				  .offset = step->offset,
				  .data = data,
				  .complete = slot_complete,
				  .user = slot};
	job->pending++;
	io_queue_submit(t->queue, &slot->op);
}

/* Hands out the next step of a job. A free slot is there. */
static void job_step(struct transfer *t, struct job *job)
{
	struct transfer_step step = {0};
	uint8_t *data = job->data + job->position;
	if (t->next(t->user, job->offset + job->position, job->length - job->position, data, &step, job->err) != ERR_OK)
		return;
	if (step.extra) {
		slot_submit(t, job, &step, (void *)(uintptr_t)step.extra);
		return;
	}
	if (step.length == 0 || step.length > job->length - job->position) {
		err_set(job->err, ERR_BUG, 0, "a transfer step of %" PRIu32 " bytes at byte %" PRIu64 " of the disk",
			step.length, job->offset + job->position);
		return;
	}
	job->position += step.length;
	if (step.file)
		slot_submit(t, job, &step, data);
	else if (t->kind == IO_OP_READ)
		memset(data, 0, step.length);
}

/* Goes on with the jobs that are not wholly handed out, as far as there are slots. */
static void transfer_continue(struct transfer *t)
{
	while (t->first && t->free_slots) {
		struct job *job = t->first;
		if (job->err->code == ERR_OK && job->position < job->length) {
			job_step(t, job);
			continue;
		}
		t->first = job->next;
		job_unref(t, job);
	}
}

void transfer_submit(struct transfer *t, uint64_t offset, uint32_t length, uint8_t *data, bool *done,
		     struct err *job_err)
{
	*done = false;
	*job_err = (struct err){0};
	struct job *job = t->free_jobs;
	if (!job) {
		err_set(job_err, ERR_BUG, 0, "more transfers in flight than were announced");
		*done = true;
		return;
	}
	t->free_jobs = job->next;
	*job = (struct job){.offset = offset,
			    .length = length,
			    .data = data,
			    .done = done,
			    .err = job_err,
			    .pending = 1,
			    .next = NULL};
	if (t->first)
		t->last->next = job;
	else
		t->first = job;
	t->last = job;
	t->active++;
	transfer_continue(t);
}

enum err_code transfer_wait(struct transfer *t, struct err *err)
{
	uint64_t before = t->done_count;
	transfer_continue(t);
	while (t->done_count == before && t->active) {
		TRY(io_queue_wait(t->queue, 1, err));
		transfer_continue(t);
	}
	return ERR_OK;
}

void transfer_free(struct transfer *t)
{
	if (!t)
		return;
	while (t->active)
		if (transfer_wait(t, NULL) != ERR_OK)
			return; /* the queue broke; the kernel may still own the slots, so their memory has to stay */
	free(t->slots);
	free(t->jobs);
	free(t);
}
