/* SPDX-License-Identifier: Apache-2.0 */
#include "store/io_sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"
#include "store/io_sim_internal.h"

static bool changes_the_disk(enum sim_call kind)
{
	return kind != SIM_CALL_READ;
}

/* The fault of the call that is being counted. One that makes no sense for its kind does not happen. */
static enum io_sim_fault fault_of_call(struct sim *sim, enum sim_call kind)
{
	if (sim->writes_only && !changes_the_disk(kind))
		return IO_SIM_NONE;
	sim->calls++;
	bool due = sim->fault_call != 0 &&
		   (sim->fault_repeats ? sim->calls >= sim->fault_call : sim->calls == sim->fault_call);
	if (!due)
		return IO_SIM_NONE;
	switch (sim->fault) {
	case IO_SIM_ENOSPC:
		return kind == SIM_CALL_WRITE || kind == SIM_CALL_GROW ? IO_SIM_ENOSPC : IO_SIM_NONE;
	case IO_SIM_TORN:
		return kind == SIM_CALL_WRITE ? IO_SIM_TORN : IO_SIM_CUT_BEFORE;
	case IO_SIM_LOST_SYNC:
		return kind == SIM_CALL_SYNC ? IO_SIM_LOST_SYNC : IO_SIM_NONE;
	default:
		return sim->fault;
	}
}

int sim_call_begin(struct sim *sim, enum sim_call kind, enum io_sim_fault *ret_fault)
{
	enum io_sim_fault fault = fault_of_call(sim, kind);
	*ret_fault = fault;
	if (fault == IO_SIM_CUT_BEFORE)
		sim_cut_power(sim);
	if (!sim->has_power || fault == IO_SIM_EIO)
		return EIO;
	return fault == IO_SIM_ENOSPC && kind == SIM_CALL_GROW ? ENOSPC : 0;
}

int sim_call_end(struct sim *sim, enum io_sim_fault fault, int result)
{
	if (fault != IO_SIM_TORN && fault != IO_SIM_CUT_AFTER)
		return result;
	sim_cut_power(sim);
	return EIO;
}

void sim_cut_power(struct sim *sim)
{
	if (!sim->has_power)
		return;
	sim->has_power = false;
	for (struct sim_queue *queue = sim->queues; queue; queue = queue->next) {
		for (unsigned i = 0; i < queue->base.in_flight; i++) {
			const struct io_op *op = queue->slots[i].op;
			const struct sim_file *file = sim_file_of(op->file);
			bool alive = file->power_cycles == sim->power_cycles && file->flags & IO_WRITE;
			if (op->kind != IO_OP_WRITE || !alive || sim_random_below(&sim->random, 2) == 0)
				continue;
			if (op->offset <= SIM_FILE_MAX - op->length)
				/* Without memory this write just did not reach the disk. */
				(void)sim_image_write(&file->node->image, ++sim->sequence, op->offset, op->data,
						      op->length);
		}
	}
}

void sim_charge(struct sim *sim, struct sim_node *node)
{
	bool exists = node->links > 0 || node->opens > 0;
	uint64_t charge = exists ? max_u64(node->image.size, node->allocated) : 0;
	sim->used = sim->used - node->charged + charge;
	node->charged = charge;
}

static enum err_code sim_make_dir(struct io *io, const char *path, struct err *err)
{
	struct sim *sim = sim_of(io);
	LOCK_SCOPE(&sim->lock);
	enum io_sim_fault fault;
	int rc = sim_call_begin(sim, SIM_CALL_GROW, &fault);
	if (rc == 0) {
		struct sim_node *node = NULL;
		rc = sim_names_create(&sim->names, path, /* is_directory= */ true, &node);
		if (rc == EEXIST && sim_names_find(&sim->names, path, &node) == 0 && node->is_directory)
			rc = 0;
		rc = sim_call_end(sim, fault, rc);
	}
	return SIM_RESULT(err, rc, "cannot make directory '%s'", path);
}

static enum err_code sim_sync_dir(struct io *io, const char *path, struct err *err)
{
	struct sim *sim = sim_of(io);
	LOCK_SCOPE(&sim->lock);
	enum io_sim_fault fault;
	int rc = sim_call_begin(sim, SIM_CALL_CHANGE, &fault);
	if (rc == 0) {
		struct sim_node *dir = NULL;
		rc = sim_names_find(&sim->names, path, &dir);
		if (rc == 0 && !dir->is_directory)
			rc = ENOTDIR;
		if (rc == 0)
			sim_names_sync(&sim->names, dir);
		rc = sim_call_end(sim, fault, rc);
	}
	return SIM_RESULT(err, rc, "cannot sync directory '%s'", path);
}

static enum err_code sim_rename(struct io *io, const char *from, const char *to, struct err *err)
{
	struct sim *sim = sim_of(io);
	LOCK_SCOPE(&sim->lock);
	enum io_sim_fault fault;
	int rc = sim_call_begin(sim, SIM_CALL_GROW, &fault);
	if (rc == 0) {
		struct sim_node *replaced = NULL;
		rc = sim_names_rename(&sim->names, from, to, &replaced);
		if (replaced)
			sim_charge(sim, replaced);
		sim_node_unref(replaced);
		rc = sim_call_end(sim, fault, rc);
	}
	return SIM_RESULT(err, rc, "cannot rename '%s' to '%s'", from, to);
}

static enum err_code sim_remove(struct io *io, const char *path, struct err *err)
{
	struct sim *sim = sim_of(io);
	LOCK_SCOPE(&sim->lock);
	enum io_sim_fault fault;
	int rc = sim_call_begin(sim, SIM_CALL_CHANGE, &fault);
	if (rc == 0) {
		struct sim_node *node = NULL;
		rc = sim_names_remove(&sim->names, path, &node);
		if (node)
			sim_charge(sim, node);
		sim_node_unref(node);
		rc = sim_call_end(sim, fault, rc);
	}
	return SIM_RESULT(err, rc, "cannot remove '%s'", path);
}

/* A list of names, ended by NULL. */
static void cleanup_list(char ***list)
{
	for (char **text = *list; text && *text; text++)
		free(*text);
	free(*list);
}

/* Copies the names of a directory, so that they can be given to a callback without the lock. */
static int copy_list(struct sim *sim, const char *path, char ***ret)
{
	struct sim_node *dir = NULL;
	int rc = sim_names_find(&sim->names, path, &dir);
	if (rc != 0)
		return rc;
	if (!dir->is_directory)
		return ENOTDIR;
	char **list = calloc(dir->name_count + 1, sizeof(*list));
	if (!list)
		return ENOMEM;
	*ret = list;
	for (size_t i = 0; i < dir->name_count; i++) {
		if (!dir->names[i]->now)
			continue;
		*list = strdup(dir->names[i]->text);
		if (!*list++)
			return ENOMEM;
	}
	return 0;
}

static enum err_code sim_list(struct io *io, const char *path, io_list_fn fn, void *user, struct err *err)
{
	struct sim *sim = sim_of(io);
	AUTO(cleanup_list) char **list = NULL;
	pthread_mutex_lock(&sim->lock);
	enum io_sim_fault fault;
	int rc = sim_call_begin(sim, SIM_CALL_READ, &fault);
	if (rc == 0)
		rc = sim_call_end(sim, fault, copy_list(sim, path, &list));
	pthread_mutex_unlock(&sim->lock);
	if (rc != 0)
		return SIM_RESULT(err, rc, "cannot list directory '%s'", path);
	for (char **text = list; *text; text++)
		TRY(fn(user, *text, err));
	return ERR_OK;
}

static enum err_code sim_free_space(struct io *io, uint64_t *ret_bytes, struct err *err)
{
	struct sim *sim = sim_of(io);
	LOCK_SCOPE(&sim->lock);
	if (!sim->has_power)
		return err_set(err, ERR_IO, EIO, "cannot ask for the free space of the simulated disk");
	uint64_t capacity = sim->capacity ? sim->capacity : INT64_MAX;
	*ret_bytes = capacity > sim->used ? capacity - sim->used : 0;
	return ERR_OK;
}

static void sim_free(struct io *io)
{
	struct sim *sim = sim_of(io);
	sim_names_release(&sim->names);
	pthread_mutex_destroy(&sim->lock);
	free(sim);
}

const struct io_ops sim_ops = {
	.open = sim_file_open,
	.close = sim_file_close,
	.size = sim_file_size,
	.read = sim_file_read,
	.write = sim_file_write,
	.sync = sim_file_sync,
	.allocate = sim_file_allocate,
	.make_dir = sim_make_dir,
	.sync_dir = sim_sync_dir,
	.rename = sim_rename,
	.remove = sim_remove,
	.list = sim_list,
	.lock = sim_file_lock,
	.free_space = sim_free_space,
	.queue_new = sim_queue_new,
	.queue_free = sim_queue_free,
	.submit = sim_queue_submit,
	.wait = sim_queue_wait,
	.free = sim_free,
};

enum err_code io_sim_new(uint64_t seed, uint64_t capacity, struct io **ret, struct err *err)
{
	AUTO_FREE struct sim *sim = calloc(1, sizeof(*sim));
	if (!sim || !sim_names_init(&sim->names))
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a simulated disk");
	sim->base.ops = &sim_ops;
	pthread_mutex_init(&sim->lock, /* attr= */ NULL);
	sim->random = seed;
	sim->capacity = capacity;
	sim->has_power = true;
	*ret = &TAKE_PTR(sim)->base;
	return ERR_OK;
}

void io_sim_arm(struct io *io, uint64_t call, enum io_sim_fault fault, bool repeat)
{
	struct sim *sim = sim_of(io);
	LOCK_SCOPE(&sim->lock);
	sim->calls = 0;
	sim->fault_call = fault == IO_SIM_NONE ? 0 : call;
	sim->fault = fault;
	sim->fault_repeats = repeat;
}

uint64_t io_sim_calls(const struct io *io)
{
	/* The lock is the one member that reading changes. */
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&sim_of_const(io)->lock;
	LOCK_SCOPE(lock);
	return sim_of_const(io)->calls;
}

void io_sim_count_writes_only(struct io *io, bool writes_only)
{
	struct sim *sim = sim_of(io);
	LOCK_SCOPE(&sim->lock);
	sim->writes_only = writes_only;
}

/* What happens to one file at a power cycle. */
struct survival {
	struct sim *sim;
	uint64_t random;
};

static void survive(void *user, struct sim_node *node)
{
	struct survival *survival = user;
	sim_image_lose(&node->image, SIM_LOSS_ANY, &survival->random);
	node->locked_by = NULL;
	node->charged = 0;
	sim_charge(survival->sim, node);
}

void io_sim_power_cycle(struct io *io, uint64_t seed)
{
	struct sim *sim = sim_of(io);
	LOCK_SCOPE(&sim->lock);
	struct survival survival = {.sim = sim, .random = seed};
	sim_cut_power(sim);
	sim_names_lose(&sim->names, &survival.random);
	/* Files that only a dead io_file still holds are gone from the disk. */
	sim->used = 0;
	sim_names_each_file(sim->names.root, survive, &survival);
	sim->power_cycles++;
	sim->fault_call = 0;
	sim->has_power = true;
}

enum err_code io_sim_clone(struct io *io, struct io **ret, struct err *err)
{
	struct sim *sim = sim_of(io);
	LOCK_SCOPE(&sim->lock);
	struct io *copy_io = NULL;
	TRY(io_sim_new(sim->random, sim->capacity, &copy_io, err));
	struct sim *copy = sim_of(copy_io);
	if (!sim_names_copy(copy->names.root, sim->names.root)) {
		sim_free(copy_io);
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a copy of the simulated disk");
	}
	struct survival survival = {.sim = copy};
	sim_names_each_file(copy->names.root, survive, &survival);
	*ret = copy_io;
	return ERR_OK;
}

enum err_code io_sim_flip(struct io *io, const char *path, uint64_t offset, unsigned bit, struct err *err)
{
	struct sim *sim = sim_of(io);
	LOCK_SCOPE(&sim->lock);
	struct sim_node *node = NULL;
	int rc = sim_names_find(&sim->names, path, &node);
	if (rc == 0 && (node->is_directory || offset >= node->image.size))
		rc = ENOENT;
	if (rc == 0 && !sim_image_flip(&node->image, offset, bit))
		rc = ENOMEM;
	return SIM_RESULT(err, rc, "cannot flip a bit at offset %llu of '%s'", (unsigned long long)offset, path);
}
