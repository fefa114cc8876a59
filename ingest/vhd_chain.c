/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/vhd_chain.h"

#include "base/size.h"

#include <inttypes.h>

static enum err_code check_no_loop(const struct vhd_chain *chain, const struct vhd_level *next, struct err *err)
{
	for (unsigned i = 0; i < chain->count; i++) {
		const struct source_file *file = chain->levels[i]->file;
		if (file->device == next->file->device && file->inode == next->file->inode)
			return err_set(err, ERR_CORRUPT, 0, "the parents of '%s' form a loop: '%s' is its own ancestor",
				       source_file_path(chain->levels[0]->file), source_file_path(file));
	}
	return ERR_OK;
}

enum err_code vhd_chain_open(const char *path, struct vhd_chain *ret, struct err *err)
{
	*ret = (struct vhd_chain){0};
	TRY(vhd_level_open(path, &ret->levels[0], err));
	ret->count = 1;
	for (;;) {
		const struct vhd_level *last = ret->levels[ret->count - 1];
		if (last->footer.type != VHD_DIFFERENCING)
			break;
		if (ret->count == VHD_CHAIN_MAX)
			return err_set(err, ERR_CORRUPT, 0, "'%s' has more than %u levels of parents", path,
				       VHD_CHAIN_MAX - 1);
		struct vhd_level *parent = NULL;
		TRY(vhd_parent_open(last, &parent, err));
		enum err_code code = check_no_loop(ret, parent, err);
		if (code != ERR_OK) {
			vhd_level_close(parent);
			return code;
		}
		ret->levels[ret->count++] = parent;
	}
	/* The tables come last: a chain with a missing parent is refused before anything large is read. */
	for (unsigned i = 0; i < ret->count; i++)
		TRY(vhd_level_load(ret->levels[i], err));
	return ERR_OK;
}

void vhd_chain_release(struct vhd_chain *chain)
{
	for (unsigned i = 0; i < chain->count; i++)
		vhd_level_close(chain->levels[i]);
	chain->count = 0;
}

enum err_code vhd_chain_find(struct vhd_chain *chain, uint64_t offset, uint64_t length, struct file_piece *ret,
			     struct err *err)
{
	for (unsigned i = 0; i < chain->count; i++) {
		struct vhd_level *level = chain->levels[i];
		uint64_t size = level->footer.size_bytes;
		if (offset >= size)
			break; /* a child that has grown: zeroes behind its parent's end */
		struct vhd_run run;
		TRY(vhd_level_find(level, offset, length, &run, err));
		length = run.length;
		if (run.here) {
			*ret = (struct file_piece){.file = level->file, .offset = run.offset, .length = length};
			return ERR_OK;
		}
	}
	*ret = (struct file_piece){.file = NULL, .offset = 0, .length = length};
	return ERR_OK;
}
