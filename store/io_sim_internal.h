/* SPDX-License-Identifier: Apache-2.0 */
/* What the sources of the simulated disk share: io_sim.c (disk, faults), io_sim_file.c (files), io_sim_queue.c. */
#ifndef STORE_IO_SIM_INTERNAL_H
#define STORE_IO_SIM_INTERNAL_H

#include <pthread.h>

#include "store/io_sim.h"
#include "store/io_sim_names.h"

struct sim {
	struct io base;
	pthread_mutex_t
		lock; /* guards everything below, all nodes and all queues' slots; no other lock is taken under it */
	uint64_t random;
	uint64_t capacity; /* 0: without limit */
	uint64_t used;     /* sum of the files' charges */
	uint64_t sequence; /* writes so far */
	unsigned power_cycles;
	bool has_power;
	struct sim_names names;
	struct sim_queue *queues; /* all that exist */
	/* Faults: */
	bool writes_only;
	uint64_t calls;
	uint64_t fault_call; /* 0: none is armed */
	enum io_sim_fault fault;
	bool fault_repeats;
};

struct sim_file {
	struct io_file base;
	struct sim *sim;
	struct sim_node *node;
	unsigned flags;
	unsigned power_cycles; /* the disk's when it was opened; another number there: the file is dead */
};

/* A queue keeps the ops until a wait carries them out. */
struct sim_slot {
	struct io_op *op;
	uint64_t sequence; /* the disk's at the time of submission: a sync covers writes up to it */
};

struct sim_queue {
	struct io_queue base;
	struct sim *sim;
	struct sim_queue *next;
	uint64_t random;         /* of its own, so that one thread's order does not depend on the others */
	struct sim_slot slots[]; /* base.depth of them, base.in_flight in use */
};

/* The table of the simulated disk, for trees, files and queues alike. */
extern const struct io_ops sim_ops;

static inline struct sim *sim_of(struct io *io)
{
	return (struct sim *)io;
}

static inline const struct sim *sim_of_const(const struct io *io)
{
	return (const struct sim *)io;
}

static inline struct sim_file *sim_file_of(struct io_file *file)
{
	return (struct sim_file *)file;
}

/* What kind of call it is decides which faults it can have. */
enum sim_call {
	SIM_CALL_READ,   /* changes nothing */
	SIM_CALL_CHANGE, /* changes names, without needing room */
	SIM_CALL_GROW,   /* needs room for a name */
	SIM_CALL_WRITE,  /* or an allocation: can be half done */
	SIM_CALL_SYNC,   /* of a file */
};

/* Counts a call. Returns 0 or the errno with which it fails without having done anything; then *ret_fault is what the
 * call has to do to itself, and sim_call_end is due. The lock is held, for all of the following. */
int sim_call_begin(struct sim *sim, enum sim_call kind, enum io_sim_fault *ret_fault);

/* Ends a call that sim_call_begin let through: `result` is its errno, or 0. Returns the one that the caller sees. */
int sim_call_end(struct sim *sim, enum io_sim_fault fault, int result);

/* Cuts the power: all calls fail from now on. Writes that a queue has not carried out may have reached the disk. */
void sim_cut_power(struct sim *sim);

/* Brings what `node` takes of the capacity up to date. */
void sim_charge(struct sim *sim, struct sim_node *node);

/* The transfers, for the calls and for the queue. Return bytes or -errno (sync: 0 or -errno). */
int64_t sim_read(struct sim_file *file, uint64_t offset, void *data, size_t length);
int64_t sim_write(struct sim_file *file, uint64_t offset, const void *data, size_t length);
int64_t sim_sync(struct sim_file *file, uint64_t sequence);

enum err_code sim_file_open(struct io *io, const char *path, unsigned flags, struct io_file **ret, struct err *err);
void sim_file_close(struct io_file *file);
enum err_code sim_file_size(struct io_file *file, uint64_t *ret_bytes, struct err *err);
enum err_code sim_file_read(struct io_file *file, uint64_t offset, void *data, size_t length, size_t *ret_got,
			    struct err *err);
enum err_code sim_file_write(struct io_file *file, uint64_t offset, const void *data, size_t length, struct err *err);
enum err_code sim_file_sync(struct io_file *file, struct err *err);
enum err_code sim_file_allocate(struct io_file *file, uint64_t length, struct err *err);
enum err_code sim_file_lock(struct io_file *file, struct err *err);

enum err_code sim_queue_new(struct io *io, unsigned depth, void *arena, size_t arena_length, struct io_queue **ret,
			    struct err *err);
void sim_queue_free(struct io_queue *queue);
void sim_queue_submit(struct io_queue *queue, struct io_op *op);
enum err_code sim_queue_wait(struct io_queue *queue, unsigned min, struct err *err);

/* Ends a call of the table: ERR_OK for os_errno 0, else an error with the message. Keeps callers to one line. */
#define SIM_RESULT(err, os_errno, ...) \
	((os_errno) == 0 ? ERR_OK : err_set((err), err_code_of_errno(os_errno), (os_errno), __VA_ARGS__))

#endif
