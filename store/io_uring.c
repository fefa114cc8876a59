/* SPDX-License-Identifier: Apache-2.0 */
#include "store/io_uring.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "store/io_uring_internal.h"

struct uring_tree {
	struct io base;
	int dir_fd; /* -1: a tree without a directory */
	char *path; /* for messages; NULL without a directory */
};

static struct uring_tree *tree_of(struct io *io)
{
	return (struct uring_tree *)io;
}

/* The directory's descriptor; an anonymous tree has none, and a caller that names files in it is wrong. */
static enum err_code tree_dir(struct io *io, const char *path, int *ret_fd, struct err *err)
{
	int fd = tree_of(io)->dir_fd;
	if (fd < 0)
		return err_set(err, ERR_BUG, 0, "'%s' is looked up in a tree that has no directory", path);
	*ret_fd = fd;
	return ERR_OK;
}

/* Opens directory `path` of the tree, "" being its root. */
static enum err_code open_dir(struct io *io, const char *path, int *ret_fd, struct err *err)
{
	int dir_fd = -1;
	TRY(tree_dir(io, path, &dir_fd, err));
	int fd = openat(dir_fd, path[0] ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "cannot open directory '%s/%s'", tree_of(io)->path, path);
	*ret_fd = fd;
	return ERR_OK;
}

static enum err_code tree_open(struct io *io, const char *path, unsigned flags, struct io_file **ret, struct err *err)
{
	int dir_fd = -1;
	TRY(tree_dir(io, path, &dir_fd, err));
	return uring_file_open(dir_fd, path, flags, ret, err);
}

static enum err_code tree_make_dir(struct io *io, const char *path, struct err *err)
{
	int dir_fd = -1;
	TRY(tree_dir(io, path, &dir_fd, err));
	if (mkdirat(dir_fd, path, 0700) == 0)
		return ERR_OK;
	int cause = errno;
	struct stat st;
	if (cause == EEXIST && fstatat(dir_fd, path, &st, 0) == 0 && S_ISDIR(st.st_mode))
		return ERR_OK;
	errno = cause;
	return err_errno(err, "cannot make directory '%s'", path);
}

static enum err_code tree_sync_dir(struct io *io, const char *path, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	TRY(open_dir(io, path, &fd, err));
	if (fsync(fd) != 0)
		return err_errno(err, "cannot sync directory '%s/%s'", tree_of(io)->path, path);
	return ERR_OK;
}

static enum err_code tree_rename(struct io *io, const char *from, const char *to, struct err *err)
{
	int dir_fd = -1;
	TRY(tree_dir(io, from, &dir_fd, err));
	if (renameat(dir_fd, from, dir_fd, to) != 0)
		return err_errno(err, "cannot rename '%s' to '%s'", from, to);
	return ERR_OK;
}

static enum err_code tree_remove(struct io *io, const char *path, struct err *err)
{
	int dir_fd = -1;
	TRY(tree_dir(io, path, &dir_fd, err));
	if (unlinkat(dir_fd, path, 0) != 0)
		return err_errno(err, "cannot remove '%s'", path);
	return ERR_OK;
}

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static enum err_code tree_list(struct io *io, const char *path, io_list_fn fn, void *user, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	TRY(open_dir(io, path, &fd, err));
	AUTO(cleanup_dir) DIR *dir = fdopendir(fd);
	if (!dir)
		return err_errno(err, "cannot list directory '%s'", path);
	(void)TAKE_FD(fd); /* closedir closes it */
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(dir);
		if (!entry && errno != 0)
			return err_errno(err, "cannot list directory '%s'", path);
		if (!entry)
			return ERR_OK;
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			TRY(fn(user, entry->d_name, err));
	}
}

static enum err_code tree_free_space(struct io *io, uint64_t *ret_bytes, struct err *err)
{
	int dir_fd = -1;
	TRY(tree_dir(io, "", &dir_fd, err));
	struct statvfs fs;
	if (fstatvfs(dir_fd, &fs) != 0)
		return err_errno(err, "cannot ask for the free space of '%s'", tree_of(io)->path);
	uint64_t bytes;
	/* f_bavail leaves out what is reserved for root: filling that would stop other programs. */
	if (__builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, &bytes))
		bytes = UINT64_MAX;
	*ret_bytes = bytes;
	return ERR_OK;
}

static void tree_free(struct io *io)
{
	struct uring_tree *tree = tree_of(io);
	if (tree->dir_fd >= 0)
		close(tree->dir_fd);
	free(tree->path);
	free(tree);
}

const struct io_ops uring_ops = {
	.open = tree_open,
	.close = uring_file_close,
	.size = uring_file_size,
	.read = uring_file_read,
	.write = uring_file_write,
	.sync = uring_file_sync,
	.allocate = uring_file_allocate,
	.make_dir = tree_make_dir,
	.sync_dir = tree_sync_dir,
	.rename = tree_rename,
	.remove = tree_remove,
	.list = tree_list,
	.lock = uring_file_lock,
	.free_space = tree_free_space,
	.queue_new = uring_queue_new,
	.queue_free = uring_queue_free,
	.submit = uring_queue_submit,
	.wait = uring_queue_wait,
	.free = tree_free,
};

/* Gives a tree on `dir_fd`, which it takes, also on failure. */
static enum err_code tree_new(int dir_fd, const char *path, struct io **ret, struct err *err)
{
	AUTO_CLOSE int fd = dir_fd;
	AUTO_FREE char *name = path ? strdup(path) : NULL;
	AUTO_FREE struct uring_tree *tree = calloc(1, sizeof(*tree));
	if (!tree || (path && !name))
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", path ? path : "");
	tree->base.ops = &uring_ops;
	tree->dir_fd = TAKE_FD(fd);
	tree->path = TAKE_PTR(name);
	*ret = &TAKE_PTR(tree)->base;
	return ERR_OK;
}

enum err_code io_uring_tree_new(const char *path, bool create, struct io **ret, struct err *err)
{
	TRY(uring_probe(err));
	if (create && mkdir(path, 0700) != 0 && errno != EEXIST)
		return err_errno(err, "cannot make directory '%s'", path);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "cannot open directory '%s'", path);
	return tree_new(fd, path, ret, err);
}

enum err_code io_uring_anonymous_new(struct io **ret, struct err *err)
{
	TRY(uring_probe(err));
	return tree_new(/* dir_fd= */ -1, /* path= */ NULL, ret, err);
}
