/* SPDX-License-Identifier: Apache-2.0 */
/* The names of the simulated disk: a tree of directories, each with the names that are seen now and those that are
 * durable, and the list of changes between the two in the order they were made.
 *
 * A change is a create, a remove or a rename. Syncing a directory makes its names durable and ends the changes in it. A
 * power cut replays a random choice of the pending changes on the durable names; one that no longer fits (a rename of a
 * file whose creation was lost) is passed over. A rename within a directory is kept or lost as a whole. One between two
 * directories may be kept half: then the file has both names, never none. Directories are not renamed between
 * directories.
 *
 * Threads: none; the simulated disk's lock is held. */
#ifndef STORE_IO_SIM_NAMES_H
#define STORE_IO_SIM_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/io_sim_image.h"

struct sim_node;

/* One name in a directory. `now` and `durable` hold references; NULL: no such name. */
struct sim_name {
	char *text;
	struct sim_node *now, *durable;
	unsigned changes; /* pending ones that point here */
};

/* A file or directory. Referenced by names, pending changes and open files. */
struct sim_node {
	unsigned references;
	bool is_directory;
	/* Of a directory, sorted by text: */
	struct sim_name **names;
	size_t name_count, name_room;
	/* Of a file: */
	struct sim_image image;
	uint64_t allocated;    /* reserved bytes */
	uint64_t charged;      /* what it takes of the disk's capacity */
	unsigned links;        /* names seen now */
	unsigned opens;        /* open files, dead ones too */
	const void *locked_by; /* the open file that has the lock, or NULL */
};

/* A change that is not durable. */
struct sim_change {
	struct sim_change *next;
	struct sim_node *from_dir, *to_dir;
	struct sim_name *from; /* NULL: a create, or a rename whose old name is gone for good */
	struct sim_name *to;   /* NULL: a remove, or a rename whose new name is durable */
	struct sim_node *node;
};

struct sim_names {
	struct sim_node *root;
	struct sim_change *first, **last;
};

/* False: no memory. */
bool sim_names_init(struct sim_names *names);
void sim_names_release(struct sim_names *names);

struct sim_node *sim_node_ref(struct sim_node *node);
void sim_node_unref(struct sim_node *node);

/* The node at `path` ("" is the root), borrowed. Returns 0 or an errno: ENOENT, ENOTDIR, ENOMEM. */
int sim_names_find(struct sim_names *names, const char *path, struct sim_node **ret);

/* Makes a file or directory, borrowed until the next call. EEXIST if the name is taken. */
int sim_names_create(struct sim_names *names, const char *path, bool is_directory, struct sim_node **ret);

/* Removes the name of a file. Gives *ret (sim_node_unref), the file. */
int sim_names_remove(struct sim_names *names, const char *path, struct sim_node **ret);

/* Renames. Gives *ret_replaced (sim_node_unref), the file that had the name `to`, or NULL. */
int sim_names_rename(struct sim_names *names, const char *from, const char *to, struct sim_node **ret_replaced);

/* Makes the names of directory `dir` durable. */
void sim_names_sync(struct sim_names *names, struct sim_node *dir);

/* What a power cut leaves of the names. It is seen and durable from then on. */
void sim_names_lose(struct sim_names *names, uint64_t *random);

/* Calls fn for every file that has a name, once per name. */
void sim_names_each_file(struct sim_node *dir, void (*fn)(void *user, struct sim_node *file), void *user);

/* Makes `to` (initialised, empty) a copy of what `from` is now, all of it durable. False: no memory. */
bool sim_names_copy(struct sim_node *to, const struct sim_node *from);

#endif
