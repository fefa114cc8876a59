/* SPDX-License-Identifier: Apache-2.0 */
#include "store/io_sim_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct sim_node *node_new(bool is_directory)
{
	struct sim_node *node = calloc(1, sizeof(*node));
	if (node) {
		node->references = 1;
		node->is_directory = is_directory;
	}
	return node;
}

struct sim_node *sim_node_ref(struct sim_node *node)
{
	if (node)
		node->references++;
	return node;
}

static void name_free(struct sim_name *name)
{
	sim_node_unref(name->now);
	sim_node_unref(name->durable);
	free(name->text);
	free(name);
}

void sim_node_unref(struct sim_node *node)
{
	if (!node || --node->references > 0)
		return;
	for (size_t i = 0; i < node->name_count; i++)
		name_free(node->names[i]);
	free(node->names);
	sim_image_release(&node->image);
	free(node);
}

/* Makes `name` point to `node` (or nothing) in what is seen now. */
static void set_now(struct sim_name *name, struct sim_node *node)
{
	struct sim_node *old = name->now;
	name->now = sim_node_ref(node);
	if (node)
		node->links++;
	if (old)
		old->links--;
	sim_node_unref(old);
}

static void set_durable(struct sim_name *name, struct sim_node *node)
{
	struct sim_node *old = name->durable;
	name->durable = sim_node_ref(node);
	sim_node_unref(old);
}

/* The index of the first name of `dir` not below `text`. */
static size_t name_position(const struct sim_node *dir, const char *text, size_t length)
{
	size_t low = 0, high = dir->name_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const char *other = dir->names[middle]->text;
		int order = strncmp(other, text, length);
		/* An equal beginning: `other` is longer, or the same. */
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct sim_name *name_find(const struct sim_node *dir, const char *text, size_t length)
{
	size_t at = name_position(dir, text, length);
	if (at == dir->name_count)
		return NULL;
	struct sim_name *name = dir->names[at];
	return strncmp(name->text, text, length) == 0 && name->text[length] == '\0' ? name : NULL;
}

/* Finds or adds a name. NULL: no memory. */
static struct sim_name *name_make(struct sim_node *dir, const char *text)
{
	size_t length = strlen(text);
	struct sim_name *name = name_find(dir, text, length);
	if (name)
		return name;
	if (dir->name_count == dir->name_room) {
		size_t room = dir->name_room ? 2 * dir->name_room : 8;
		struct sim_name **names = realloc(dir->names, room * sizeof(*names));
		if (!names)
			return NULL;
		dir->names = names;
		dir->name_room = room;
	}
	name = calloc(1, sizeof(*name));
	if (!name)
		return NULL;
	name->text = strdup(text);
	if (!name->text) {
		free(name);
		return NULL;
	}
	size_t at = name_position(dir, text, length);
	memmove(dir->names + at + 1, dir->names + at, (dir->name_count - at) * sizeof(*dir->names));
	dir->names[at] = name;
	dir->name_count++;
	return name;
}

/* Drops the names of `dir` that nothing needs any more. */
static void names_purge(struct sim_node *dir)
{
	size_t kept = 0;
	for (size_t i = 0; i < dir->name_count; i++) {
		struct sim_name *name = dir->names[i];
		if (name->now || name->durable || name->changes > 0)
			dir->names[kept++] = name;
		else
			name_free(name);
	}
	dir->name_count = kept;
}

bool sim_names_init(struct sim_names *names)
{
	names->root = node_new(/* is_directory= */ true);
	names->first = NULL;
	names->last = &names->first;
	return names->root != NULL;
}

static void change_free(struct sim_change *change)
{
	if (change->from)
		change->from->changes--;
	if (change->to)
		change->to->changes--;
	sim_node_unref(change->from_dir);
	sim_node_unref(change->to_dir);
	sim_node_unref(change->node);
	free(change);
}

static void drop_changes(struct sim_names *names)
{
	while (names->first) {
		struct sim_change *change = names->first;
		names->first = change->next;
		change_free(change);
	}
	names->last = &names->first;
}

void sim_names_release(struct sim_names *names)
{
	drop_changes(names);
	sim_node_unref(names->root);
	names->root = NULL;
}

/* Appends a change of what `from` or `to` (or both) point to. */
static bool record(struct sim_names *names, struct sim_node *from_dir, struct sim_name *from, struct sim_node *to_dir,
		   struct sim_name *to, struct sim_node *node)
{
	struct sim_change *change = calloc(1, sizeof(*change));
	if (!change)
		return false;
	change->from_dir = sim_node_ref(from_dir);
	change->to_dir = sim_node_ref(to_dir);
	change->from = from;
	change->to = to;
	change->node = sim_node_ref(node);
	if (from)
		from->changes++;
	if (to)
		to->changes++;
	*names->last = change;
	names->last = &change->next;
	return true;
}

/* Walks `path`: all of it, or all but the last component, which *ret_last points to then. */
static int walk(struct sim_names *names, const char *path, const char **ret_last, struct sim_node **ret)
{
	struct sim_node *node = names->root;
	while (*path) {
		size_t length = strcspn(path, "/");
		if (!node->is_directory)
			return ENOTDIR;
		if (ret_last && path[length] == '\0')
			break;
		struct sim_name *name = name_find(node, path, length);
		if (!name || !name->now)
			return ENOENT;
		node = name->now;
		path += length + (path[length] == '/');
	}
	if (ret_last)
		*ret_last = path;
	*ret = node;
	return 0;
}

int sim_names_find(struct sim_names *names, const char *path, struct sim_node **ret)
{
	return walk(names, path, /* ret_last= */ NULL, ret);
}

/* Finds the directory and the existing name of `path`. */
static int find_name(struct sim_names *names, const char *path, struct sim_node **ret_dir, struct sim_name **ret_name)
{
	const char *last = NULL;
	int rc = walk(names, path, &last, ret_dir);
	if (rc != 0)
		return rc;
	*ret_name = name_find(*ret_dir, last, strlen(last));
	return *ret_name && (*ret_name)->now ? 0 : ENOENT;
}

int sim_names_create(struct sim_names *names, const char *path, bool is_directory, struct sim_node **ret)
{
	const char *last = NULL;
	struct sim_node *dir = NULL;
	int rc = walk(names, path, &last, &dir);
	if (rc != 0)
		return rc;
	struct sim_name *name = name_make(dir, last);
	if (!name)
		return ENOMEM;
	if (name->now)
		return EEXIST;
	struct sim_node *node = node_new(is_directory);
	bool recorded = node && record(names, /* from_dir= */ NULL, /* from= */ NULL, dir, name, node);
	if (recorded) {
		set_now(name, node);
		*ret = node;
	}
	sim_node_unref(node);
	return recorded ? 0 : ENOMEM;
}

int sim_names_remove(struct sim_names *names, const char *path, struct sim_node **ret)
{
	struct sim_node *dir = NULL;
	struct sim_name *name = NULL;
	int rc = find_name(names, path, &dir, &name);
	if (rc != 0)
		return rc;
	if (name->now->is_directory)
		return EISDIR;
	if (!record(names, dir, name, /* to_dir= */ NULL, /* to= */ NULL, name->now))
		return ENOMEM;
	*ret = sim_node_ref(name->now);
	set_now(name, NULL);
	return 0;
}

/* True if `path` is `dir` or below it. */
static bool is_inside(const char *path, const char *dir)
{
	size_t length = strlen(dir);
	return strncmp(path, dir, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

int sim_names_rename(struct sim_names *names, const char *from_path, const char *to_path,
		     struct sim_node **ret_replaced)
{
	struct sim_node *from_dir = NULL, *to_dir = NULL;
	struct sim_name *from = NULL;
	int rc = find_name(names, from_path, &from_dir, &from);
	if (rc != 0)
		return rc;
	const char *last = NULL;
	rc = walk(names, to_path, &last, &to_dir);
	if (rc != 0)
		return rc;
	*ret_replaced = NULL;
	if (strcmp(from_path, to_path) == 0)
		return 0;
	struct sim_node *node = from->now;
	if (node->is_directory && is_inside(to_path, from_path))
		return EINVAL;
	/* Half kept, this could make a directory its own parent; no caller needs it. */
	if (node->is_directory && from_dir != to_dir)
		return EXDEV;
	struct sim_name *to = name_make(to_dir, last);
	if (!to)
		return ENOMEM;
	if (to->now && (to->now->is_directory || node->is_directory))
		return to->now->is_directory ? EISDIR : ENOTDIR;
	if (!record(names, from_dir, from, to_dir, to, node))
		return ENOMEM;
	*ret_replaced = sim_node_ref(to->now);
	set_now(to, node);
	set_now(from, NULL);
	return 0;
}

static bool leaves(const struct sim_change *change, const struct sim_node *dir)
{
	return change->from && change->to && change->from_dir == dir && change->to_dir != dir;
}

/* Makes the parts of a change in `dir` (NULL: everywhere) durable. True if nothing of it is left to do. */
static bool settle(struct sim_change *change, const struct sim_node *dir)
{
	if (change->from && (!dir || change->from_dir == dir)) {
		set_durable(change->from, change->from->now);
		change->from->changes--;
		change->from = NULL;
	}
	if (change->to && (!dir || change->to_dir == dir)) {
		set_durable(change->to, change->to->now);
		change->to->changes--;
		change->to = NULL;
	}
	return !change->from && !change->to;
}

void sim_names_sync(struct sim_names *names, struct sim_node *dir)
{
	const struct sim_node *only = dir;
	/* An old name that is gone for good needs the new one to be durable: as with a journal, everything is then. */
	for (const struct sim_change *change = names->first; change; change = change->next)
		if (leaves(change, dir))
			only = NULL;
	struct sim_change **link = &names->first;
	while (*link) {
		struct sim_change *change = *link;
		if (!settle(change, only)) {
			link = &change->next;
			continue;
		}
		*link = change->next;
		change_free(change);
	}
	names->last = link;
	names_purge(dir);
}

/* Replays one change on the durable names, if it fits. `chance` of 256 for each part of it. */
static void replay(struct sim_change *change, unsigned chance, uint64_t *random)
{
	bool first = (sim_random(random) & 255) < chance;
	bool second = (sim_random(random) & 255) < chance;
	if (!first || (change->from && change->from->durable != change->node))
		return;
	if (!change->from && change->to->durable)
		return;
	if (change->to)
		set_durable(change->to, change->node);
	if (change->from && (!change->to || change->from_dir == change->to_dir || second))
		set_durable(change->from, NULL);
}

/* Lets the durable names be the ones that are seen, in `dir` and below. */
static void show_durable(struct sim_node *dir)
{
	for (size_t i = 0; i < dir->name_count; i++) {
		struct sim_name *name = dir->names[i];
		set_now(name, name->durable);
		if (name->now && name->now->is_directory)
			show_durable(name->now);
	}
	names_purge(dir);
}

void sim_names_lose(struct sim_names *names, uint64_t *random)
{
	/* All and nothing get a share of their own, as with sectors. */
	static const unsigned chances[] = {0, 256, 128, 128};
	unsigned chance = chances[sim_random_below(random, 4)];
	for (struct sim_change *change = names->first; change; change = change->next)
		replay(change, chance, random);
	drop_changes(names);
	show_durable(names->root);
}

void sim_names_each_file(struct sim_node *dir, void (*fn)(void *user, struct sim_node *file), void *user)
{
	for (size_t i = 0; i < dir->name_count; i++) {
		struct sim_node *node = dir->names[i]->now;
		if (node && node->is_directory)
			sim_names_each_file(node, fn, user);
		else if (node)
			fn(user, node);
	}
}

bool sim_names_copy(struct sim_node *to, const struct sim_node *from)
{
	for (size_t i = 0; i < from->name_count; i++) {
		const struct sim_node *node = from->names[i]->now;
		if (!node)
			continue;
		struct sim_name *name = name_make(to, from->names[i]->text);
		struct sim_node *copy = name ? node_new(node->is_directory) : NULL;
		if (!copy)
			return false;
		set_now(name, copy);
		set_durable(name, copy);
		sim_node_unref(copy);
		copy->allocated = node->allocated;
		if (node->is_directory ? !sim_names_copy(copy, node) : !sim_image_copy(&copy->image, &node->image))
			return false;
	}
	return true;
}
