/* SPDX-License-Identifier: Apache-2.0 */
#include "store/io_sim_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/size.h"

/* Finds or makes the file that is opened. */
static int open_node(struct sim *sim, const char *path, unsigned flags, struct sim_node **ret)
{
	if (flags & IO_CREATE)
		return sim_names_create(&sim->names, path, /* is_directory= */ false, ret);
	int rc = sim_names_find(&sim->names, path, ret);
	return rc == 0 && (*ret)->is_directory ? EISDIR : rc;
}

static void cleanup_sim_file(struct sim_file **file)
{
	if (!*file)
		return;
	free((*file)->base.path);
	free(*file);
}

enum err_code sim_file_open(struct io *io, const char *path, unsigned flags, struct io_file **ret, struct err *err)
{
	struct sim *sim = sim_of(io);
	AUTO(cleanup_sim_file) struct sim_file *file = calloc(1, sizeof(*file));
	if (!file)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", path);
	file->base.ops = &sim_ops;
	file->base.path = strdup(path);
	if (!file->base.path)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", path);
	file->base.direct = flags & IO_DIRECT;
	/* The strictest that io.h allows, so that a misaligned transfer shows on every machine. */
	file->base.align = flags & IO_DIRECT ? IO_ALIGN : 1;
	file->sim = sim;
	file->flags = flags;

	LOCK_SCOPE(&sim->lock);
	enum io_sim_fault fault;
	struct sim_node *node = NULL;
	int rc = sim_call_begin(sim, flags & IO_CREATE ? SIM_CALL_GROW : SIM_CALL_READ, &fault);
	if (rc == 0)
		rc = sim_call_end(sim, fault, open_node(sim, path, flags, &node));
	if (rc != 0)
		return SIM_RESULT(err, rc, "cannot open '%s'", path);
	file->power_cycles = sim->power_cycles;
	file->node = sim_node_ref(node);
	node->opens++;
	*ret = &TAKE_PTR(file)->base;
	return ERR_OK;
}

static bool is_alive(const struct sim_file *file)
{
	return file->power_cycles == file->sim->power_cycles && file->sim->has_power;
}

void sim_file_close(struct io_file *base)
{
	struct sim_file *file = sim_file_of(base);
	struct sim *sim = file->sim;
	struct sim_node *node = file->node;
	{
		LOCK_SCOPE(&sim->lock);
		if (node->locked_by == file)
			node->locked_by = NULL;
		node->opens--;
		/* A power cycle has already taken back what dead files held. */
		if (file->power_cycles == sim->power_cycles)
			sim_charge(sim, node);
		sim_node_unref(node);
	}
	cleanup_sim_file(&file);
}

enum err_code sim_file_size(struct io_file *base, uint64_t *ret_bytes, struct err *err)
{
	struct sim_file *file = sim_file_of(base);
	LOCK_SCOPE(&file->sim->lock);
	if (!is_alive(file))
		return err_set(err, ERR_IO, EIO, "cannot ask for the size of '%s'", base->path);
	*ret_bytes = file->node->image.size;
	return ERR_OK;
}

int64_t sim_read(struct sim_file *file, uint64_t offset, void *data, size_t length)
{
	enum io_sim_fault fault;
	int rc = sim_call_begin(file->sim, SIM_CALL_READ, &fault);
	if (rc != 0)
		return -rc;
	if (!is_alive(file))
		return -EIO;
	if (!(file->flags & IO_READ))
		return -EBADF;
	size_t got = sim_image_read(&file->node->image, offset, data, length);
	rc = sim_call_end(file->sim, fault, 0);
	return rc != 0 ? -rc : (int64_t)got;
}

/* True if the file may grow to `end`. */
static bool has_room(const struct sim *sim, const struct sim_node *node, uint64_t end)
{
	uint64_t charge = max_u64(node->charged, end);
	uint64_t others = sim->used - node->charged;
	return sim->capacity == 0 || (charge <= sim->capacity && others <= sim->capacity - charge);
}

/* Writes all of the range, or a random beginning of it. Returns 0 or an errno. */
static int write_image(struct sim_file *file, enum io_sim_fault fault, uint64_t offset, const void *data, size_t length)
{
	struct sim *sim = file->sim;
	bool half = fault == IO_SIM_ENOSPC || fault == IO_SIM_TORN;
	if (half && length > 0)
		length = (size_t)sim_random_below(&sim->random, length);
	if (!sim_image_write(&file->node->image, ++sim->sequence, offset, data, length))
		return ENOMEM;
	sim_charge(sim, file->node);
	return fault == IO_SIM_ENOSPC ? ENOSPC : 0;
}

int64_t sim_write(struct sim_file *file, uint64_t offset, const void *data, size_t length)
{
	struct sim *sim = file->sim;
	enum io_sim_fault fault;
	int rc = sim_call_begin(sim, SIM_CALL_WRITE, &fault);
	if (rc != 0)
		return -rc;
	if (!is_alive(file))
		return -EIO;
	if (!(file->flags & IO_WRITE))
		return -EBADF;
	if (length > SIM_FILE_MAX || offset > SIM_FILE_MAX - length)
		return -EFBIG;
	if (!has_room(sim, file->node, offset + length))
		return -ENOSPC;
	rc = sim_call_end(sim, fault, write_image(file, fault, offset, data, length));
	return rc != 0 ? -rc : (int64_t)length;
}

int64_t sim_sync(struct sim_file *file, uint64_t sequence)
{
	struct sim *sim = file->sim;
	enum io_sim_fault fault;
	int rc = sim_call_begin(sim, SIM_CALL_SYNC, &fault);
	if (rc != 0)
		return -rc;
	if (!is_alive(file))
		return -EIO;
	if (fault == IO_SIM_LOST_SYNC) {
		sim_image_lose(&file->node->image, SIM_LOSS_SOME, &sim->random);
		sim_charge(sim, file->node);
		return -EIO;
	}
	sim_image_sync(&file->node->image, sequence);
	return -sim_call_end(sim, fault, 0);
}

enum err_code sim_file_read(struct io_file *base, uint64_t offset, void *data, size_t length, size_t *ret_got,
			    struct err *err)
{
	struct sim_file *file = sim_file_of(base);
	LOCK_SCOPE(&file->sim->lock);
	int64_t got = sim_read(file, offset, data, length);
	TRY(SIM_RESULT(err, got < 0 ? (int)-got : 0, "cannot read %zu bytes at offset %" PRIu64 " of '%s'", length,
		       offset, base->path));
	*ret_got = (size_t)got;
	return ERR_OK;
}

enum err_code sim_file_write(struct io_file *base, uint64_t offset, const void *data, size_t length, struct err *err)
{
	struct sim_file *file = sim_file_of(base);
	if ((offset | length | (uintptr_t)data) & (base->align - 1))
		return err_set(err, ERR_BUG, 0, "misaligned write of %zu bytes at offset %" PRIu64 " of '%s'", length,
			       offset, base->path);
	LOCK_SCOPE(&file->sim->lock);
	int64_t done = sim_write(file, offset, data, length);
	return SIM_RESULT(err, done < 0 ? (int)-done : 0, "cannot write %zu bytes at offset %" PRIu64 " of '%s'",
			  length, offset, base->path);
}

enum err_code sim_file_sync(struct io_file *base, struct err *err)
{
	struct sim_file *file = sim_file_of(base);
	LOCK_SCOPE(&file->sim->lock);
	int64_t done = sim_sync(file, /* sequence= */ UINT64_MAX);
	return SIM_RESULT(err, (int)-done, "cannot sync '%s'", base->path);
}

/* Reserves room as far as it goes. Returns 0 or an errno. */
static int allocate(struct sim_file *file, enum io_sim_fault fault, uint64_t length)
{
	struct sim *sim = file->sim;
	if (!(file->flags & IO_WRITE))
		return EBADF;
	if (length > SIM_FILE_MAX)
		return EFBIG;
	if (!has_room(sim, file->node, length))
		return ENOSPC;
	bool half = fault == IO_SIM_ENOSPC || fault == IO_SIM_TORN;
	file->node->allocated = max_u64(file->node->allocated, half ? length / 2 : length);
	sim_charge(sim, file->node);
	return fault == IO_SIM_ENOSPC ? ENOSPC : 0;
}

enum err_code sim_file_allocate(struct io_file *base, uint64_t length, struct err *err)
{
	struct sim_file *file = sim_file_of(base);
	LOCK_SCOPE(&file->sim->lock);
	enum io_sim_fault fault;
	int rc = sim_call_begin(file->sim, SIM_CALL_WRITE, &fault);
	if (rc == 0 && !is_alive(file))
		rc = EIO;
	if (rc == 0)
		rc = sim_call_end(file->sim, fault, allocate(file, fault, length));
	return SIM_RESULT(err, rc, "cannot reserve %" PRIu64 " bytes for '%s'", length, base->path);
}

enum err_code sim_file_lock(struct io_file *base, struct err *err)
{
	struct sim_file *file = sim_file_of(base);
	LOCK_SCOPE(&file->sim->lock);
	if (!is_alive(file))
		return err_set(err, ERR_IO, EIO, "cannot lock '%s'", base->path);
	if (!(file->flags & IO_WRITE))
		return err_set(err, ERR_IO, EBADF, "cannot lock '%s'", base->path);
	if (file->node->locked_by && file->node->locked_by != file)
		return err_set(err, ERR_BUSY, 0, "'%s' is locked by another process", base->path);
	file->node->locked_by = file;
	return ERR_OK;
}
