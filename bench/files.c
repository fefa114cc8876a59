/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COMPARE_SIZE ((size_t)4 << 20)

static enum err_code open_to_compare(const char *path, int *ret, struct err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "cannot open '%s'", path);
	*ret = fd;
	return ERR_OK;
}

/* Reads a whole buffer, or less at the end of the file. */
static enum err_code read_piece(int fd, const char *path, uint8_t *buffer, size_t *ret_got, struct err *err)
{
	*ret_got = 0;
	while (*ret_got < COMPARE_SIZE) {
		ssize_t n = read(fd, buffer + *ret_got, COMPARE_SIZE - *ret_got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "cannot read '%s'", path);
		/* A direct read that is not whole sectors was the last one. */
		*ret_got += (size_t)n;
		if (n == 0 || n % 512 != 0)
			break;
	}
	return ERR_OK;
}

enum err_code files_are_equal(const char *a, const char *b, bool *ret_equal, struct err *err)
{
	AUTO_CLOSE int fd_a = -1;
	AUTO_CLOSE int fd_b = -1;
	TRY(open_to_compare(a, &fd_a, err));
	TRY(open_to_compare(b, &fd_b, err));
	AUTO_FREE uint8_t *data_a = aligned_alloc(4096, COMPARE_SIZE);
	AUTO_FREE uint8_t *data_b = aligned_alloc(4096, COMPARE_SIZE);
	if (!data_a || !data_b)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to compare files");
	*ret_equal = true;
	for (;;) {
		size_t got_a, got_b;
		TRY(read_piece(fd_a, a, data_a, &got_a, err));
		TRY(read_piece(fd_b, b, data_b, &got_b, err));
		if (got_a != got_b || memcmp(data_a, data_b, got_a) != 0) {
			*ret_equal = false;
			return ERR_OK;
		}
		if (got_a < COMPARE_SIZE)
			return ERR_OK;
	}
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	remove(path);
	return 0;
}

void remove_tree(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
