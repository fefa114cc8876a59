/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/extents.h"

#include "base/cleanup.h"
#include "base/size.h"
#include "store/chunk_id.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Appends [offset, end) or widens the last extent if they touch. */
static enum err_code add_extent(struct extent **list, size_t *count, size_t *room, uint64_t offset, uint64_t end,
				struct err *err)
{
	struct extent *last = *count ? &(*list)[*count - 1] : NULL;
	if (last && offset <= last->offset + last->length) {
		last->length = max_u64(last->length, end - last->offset);
		return ERR_OK;
	}
	if (*count == *room) {
		size_t wanted = *room ? *room * 2 : 256;
		struct extent *grown = reallocarray(*list, wanted, sizeof(**list));
		if (!grown)
			return err_set(err, ERR_NO_MEMORY, 0, "no memory for a list of extents");
		*list = grown;
		*room = wanted;
	}
	(*list)[(*count)++] = (struct extent){.offset = offset, .length = end - offset};
	return ERR_OK;
}

enum err_code data_extents(const char *path, struct extent **ret, size_t *ret_count, uint64_t *ret_size,
			   struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "cannot open '%s'", path);
	off_t size = lseek(fd, 0, SEEK_END);
	if (size <= 0)
		return err_set(err, ERR_INVALID, 0, "'%s' is empty", path);
	AUTO_FREE struct extent *list = NULL;
	size_t count = 0, room = 0;
	off_t at = 0;
	while (at < size) {
		off_t data = lseek(fd, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			break;
		off_t hole = data < 0 ? size : lseek(fd, data, SEEK_HOLE);
		if (data < 0)
			data = at;
		if (hole < 0)
			hole = size;
		uint64_t end = min_u64(round_up((uint64_t)hole, BLOCK_SIZE), (uint64_t)size);
		TRY(add_extent(&list, &count, &room, round_down((uint64_t)data, BLOCK_SIZE), end, err));
		at = hole;
	}
	*ret = TAKE_PTR(list);
	*ret_count = count;
	*ret_size = (uint64_t)size;
	return ERR_OK;
}
