/* SPDX-License-Identifier: Apache-2.0 */
/* A VHD, with its parents if it is a differencing one, as a source of random access. */
#include "ingest/formats.h"

#include "base/cleanup.h"
#include "base/size.h"
#include "ingest/file_reader.h"
#include "ingest/vhd_chain.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* An extent of data ends at the next leaf, so that asking for it loads the bitmaps of one leaf only; one of zeroes may
 * be long, to pass quickly over an empty disk. */
#define DATA_EXTENT_STEP (8 * MIB)
#define ZERO_EXTENT_MAX (64 * GIB)

struct vhd_source {
	struct block_source base;
	struct vhd_chain chain;
};

static enum err_code vhd_map(void *user, uint64_t offset, uint64_t length, struct file_piece *ret, struct err *err)
{
	struct vhd_source *source = user;
	return vhd_chain_find(&source->chain, offset, length, ret, err);
}

/* The run of whole blocks (of BLOCK_SIZE) from `offset`, the start of one, that surely is all zeroes or else is to be
 * read; it ends at `end` at the latest. */
static enum err_code next_run(struct vhd_source *source, uint64_t offset, uint64_t end, struct block_extent *ret,
			      struct err *err)
{
	uint64_t at = offset;
	struct file_piece piece = {0};
	do {
		TRY(vhd_chain_find(&source->chain, at, end - at, &piece, err));
		if (piece.file)
			break;
		at += piece.length;
	} while (at < end && at - offset < BLOCK_SIZE);
	/* Zeroes that reach into a block with data leave that block to be read. */
	uint64_t zero_end = at == end ? end : round_down(at, BLOCK_SIZE);
	if (zero_end > offset)
		*ret = (struct block_extent){.offset = offset, .length = zero_end - offset, .zero = true};
	else
		*ret = (struct block_extent){
			.offset = offset,
			.length = min_u64(round_up(at + piece.length, BLOCK_SIZE), end) - offset,
			.zero = false,
		};
	return ERR_OK;
}

static enum err_code vhd_extent(struct block_source *base, uint64_t offset, struct block_extent *ret, struct err *err)
{
	struct vhd_source *source = (struct vhd_source *)base;
	uint64_t start = round_down(offset, BLOCK_SIZE);
	uint64_t data_end = min_u64(round_down(start, DATA_EXTENT_STEP) + DATA_EXTENT_STEP, base->size_bytes);
	uint64_t zero_end = min_u64(start + ZERO_EXTENT_MAX, base->size_bytes);
	struct block_extent extent;
	TRY(next_run(source, start, data_end, &extent, err));
	uint64_t end = extent.zero ? zero_end : data_end;
	for (uint64_t at = start + extent.length; at < end; at = start + extent.length) {
		struct block_extent next;
		TRY(next_run(source, at, end, &next, err));
		if (next.zero != extent.zero)
			break;
		extent.length += next.length;
	}
	*ret = extent;
	return ERR_OK;
}

static enum err_code vhd_reader_open(struct block_source *base, struct io_queue *queue, unsigned depth,
				     struct block_reader **ret, struct err *err)
{
	return file_reader_open(vhd_map, base, queue, depth, ret, err);
}

static enum err_code vhd_finish(struct block_source *base, struct err *err)
{
	struct vhd_source *source = (struct vhd_source *)base;
	for (unsigned i = 0; i < source->chain.count; i++) {
		const struct source_file *file = source->chain.levels[i]->file;
		bool touched = false;
		TRY(source_file_check(file, &touched, err));
		if (touched)
			source_notice(base, "'%s' was written to while it was read", source_file_path(file));
	}
	return ERR_OK;
}

static void vhd_close(struct block_source *base)
{
	struct vhd_source *source = (struct vhd_source *)base;
	vhd_chain_release(&source->chain);
	free(source);
}

static const struct block_source_ops vhd_source_ops = {
	.format = "vhd",
	.extent = vhd_extent,
	.reader_open = vhd_reader_open,
	.finish = vhd_finish,
	.close = vhd_close,
};

/* What any level's block table, or the file of a fixed base, has: an upper limit of what will be read. */
static enum err_code count_data(const struct vhd_chain *chain, uint64_t size, uint64_t *ret, struct err *err)
{
	const struct vhd_level *last = chain->levels[chain->count - 1];
	if (chain->count == 1 && last->footer.type == VHD_FIXED)
		return source_file_count_data(last->file, size, ret, err);
	uint64_t step = VHD_BLOCK_MAX;
	for (unsigned i = 0; i < chain->count; i++)
		if (chain->levels[i]->footer.type != VHD_FIXED)
			step = min_u64(step, chain->levels[i]->header.block_bytes);
	uint64_t total = 0;
	for (uint64_t at = 0; at < size; at += step) {
		bool has = false;
		for (unsigned i = 0; i < chain->count && !has; i++)
			has = vhd_level_has_block(chain->levels[i], at);
		total += has ? min_u64(step, size - at) : 0;
	}
	*ret = total;
	return ERR_OK;
}

/* The first file of the chain that can't be read directly stands for all: they mostly lie in one place. */
static void notice_buffered(struct vhd_source *source)
{
	for (unsigned i = 0; i < source->chain.count && !source->base.notice_set; i++) {
		const struct vhd_level *level = source->chain.levels[i];
		const struct io_file *direct = level->file->direct;
		source_notice_buffered(&source->base, level->file);
		/* Blocks of a VHD lie at sectors; a device with larger ones can't read most of them directly. */
		if (direct && !vhd_level_is_aligned(level, direct->align))
			source_notice(&source->base,
				      "'%s' is read through the page cache: its blocks do not lie at multiples of %u",
				      source_file_path(level->file), direct->align);
	}
}

static void notice_damage(struct vhd_source *source)
{
	for (unsigned i = 0; i < source->chain.count; i++)
		if (source->chain.levels[i]->copy_used)
			source_notice(&source->base,
				      "footer at the end of '%s' is damaged or missing; the copy at its start was used",
				      source_file_path(source->chain.levels[i]->file));
}

DEFINE_CLEANUP(source, struct block_source, block_source_close)

enum err_code vhd_source_open(const char *path, struct source_set *ret, struct err *err)
{
	struct vhd_source *source = calloc(1, sizeof(*source));
	if (!source)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", path);
	AUTO(cleanup_source) struct block_source *base = &source->base;
	base->ops = &vhd_source_ops;
	TRY(vhd_chain_open(path, &source->chain, err));
	const struct vhd_footer *footer = &source->chain.levels[0]->footer;
	source_set_name(base, path);
	base->uuid = footer->uuid;
	base->size_bytes = footer->size_bytes;
	TRY(count_data(&source->chain, footer->size_bytes, &base->data_bytes_hint, err));
	notice_buffered(source);
	notice_damage(source);
	TRY(source_set_of_one(base, ret, err));
	base = NULL;
	return ERR_OK;
}

bool vhd_probe(const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)))
		return false;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	uint8_t data[VHD_FOOTER_SIZE];
	if (pread(fd, data, 8, 0) == 8 && memcmp(data, "conectix", 8) == 0)
		return true;
	off_t end = lseek(fd, 0, SEEK_END);
	if (end < (off_t)VHD_FOOTER_SIZE ||
	    pread(fd, data, sizeof(data), end - VHD_FOOTER_SIZE) != (ssize_t)sizeof(data))
		return false;
	struct vhd_footer footer;
	return vhd_footer_parse(data, path, &footer, NULL) == ERR_OK;
}
