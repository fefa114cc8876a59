/* SPDX-License-Identifier: Apache-2.0 */
/* A directory with disk images, the XVAs that tests/tools/make_xva.py makes of them, and a reader of whole sources. */
#ifndef TESTS_XVA_FIXTURE_H
#define TESTS_XVA_FIXTURE_H

#include "base/err.h"
#include "ingest/formats.h"
#include "ingest/xva.h"

#include <fcntl.h>
#include <libgen.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIXTURE_ARGS_MAX 40

struct fixture {
	char dir[64];
};

struct bytes {
	uint8_t *data;
	size_t length;
};

static inline int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	if (!f)
		return -1;
	snprintf(f->dir, sizeof(f->dir), "/tmp/xenolith-xva-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	*state = f;
	return 0;
}

static inline int run(const char *const argv[])
{
	pid_t pid;
	int status = 0;
	char *copies[FIXTURE_ARGS_MAX + 1] = {0};
	for (size_t i = 0; argv[i]; i++)
		copies[i] = strdup(argv[i]);
	int failed = posix_spawnp(&pid, argv[0], NULL, NULL, copies, environ);
	for (size_t i = 0; copies[i]; i++)
		free(copies[i]);
	if (failed || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	int code = run((const char *[]){"rm", "-rf", f->dir, NULL});
	free(f);
	return code;
}

static inline const char *fixture_path(const struct fixture *f, const char *name, char dst[static 256])
{
	snprintf(dst, 256, "%s/%s", f->dir, name);
	return dst;
}

static inline void fixture_write(const struct fixture *f, const char *name, const void *data, size_t n)
{
	char path[256];
	FILE *file = fopen(fixture_path(f, name, path), "wb");
	if (!file || fwrite(data, 1, n, file) != n || fclose(file) != 0)
		abort();
}

static inline struct bytes fixture_read(const struct fixture *f, const char *name)
{
	char path[256];
	struct stat st;
	FILE *file = fopen(fixture_path(f, name, path), "rb");
	if (!file || fstat(fileno(file), &st) != 0)
		abort();
	struct bytes b = {.data = malloc((size_t)st.st_size + 1), .length = (size_t)st.st_size};
	if (!b.data || fread(b.data, 1, b.length, file) != b.length)
		abort();
	fclose(file);
	return b;
}

/* Pseudo-random bytes that depend on `seed` only. */
static inline void fill(uint8_t *data, size_t n, uint64_t seed)
{
	uint64_t x = seed * 2654435761u + 88172645463325252u;
	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		data[i] = (uint8_t)(x >> 32);
	}
}

/* A disk of `size` bytes with data in the given [from, to) pairs, which end with {0, 0} and are cut at the disk's end;
 * written as file `name`. */
static inline struct bytes fixture_disk(const struct fixture *f, const char *name, size_t size,
					const size_t (*ranges)[2])
{
	struct bytes b = {.data = calloc(1, size), .length = size};
	if (!b.data)
		abort();
	for (; (*ranges)[1] && (*ranges)[0] < size; ranges++) {
		size_t from = (*ranges)[0], to = (*ranges)[1] < size ? (*ranges)[1] : size;
		fill(b.data + from, to - from, from + size);
	}
	fixture_write(f, name, b.data, size);
	return b;
}

/* Runs tests/tools/TOOL in the fixture's directory with the arguments up to NULL. Returns its exit status. */
static inline int tool(const struct fixture *f, const char *name, const char *const args[])
{
	char here[4096], script[4200], *real;
	snprintf(here, sizeof(here), "%s", __FILE__);
	real = realpath(dirname(here), NULL);
	snprintf(script, sizeof(script), "%s/tools/%s", real ? real : ".", name);
	free(real);
	const char *argv[FIXTURE_ARGS_MAX] = {"env", "-C", f->dir, "/usr/bin/python3", "-B", script};
	size_t count = 6;
	while (*args && count + 1 < FIXTURE_ARGS_MAX)
		argv[count++] = *args++;
	return run(argv);
}

#define MAKE_XVA(f, ...) assert_int_equal(tool(f, "make_xva.py", (const char *[]){__VA_ARGS__, NULL}), 0)

/* Reads a source from here to its end into `disk` (its size), which is zeroed before. */
static inline enum err_code read_source(struct block_source *source, uint8_t *disk, struct err *err)
{
	uint8_t *buffers[SOURCE_LEAF_BUFFERS];
	enum err_code code = ERR_OK;
	uint64_t least = 0;
	memset(disk, 0, source->size_bytes);
	for (size_t i = 0; i < SOURCE_LEAF_BUFFERS; i++) {
		buffers[i] = aligned_alloc(4096, 1 << 20);
		if (!buffers[i])
			abort();
		/* What is not delivered must not be looked at. */
		if (i << 20 < source->size_bytes)
			memset(buffers[i], 0xee, 1 << 20);
	}
	for (;;) {
		struct source_leaf leaf;
		code = source->ops->read_next(source, buffers, &leaf, err);
		if (code != ERR_OK || leaf.end)
			break;
		if (leaf.leaf < least || leaf.leaf * (8 << 20) >= source->size_bytes) {
			code = err_set(err, ERR_BUG, 0, "leaf %llu out of order", (unsigned long long)leaf.leaf);
			break;
		}
		least = leaf.leaf + 1;
		for (uint64_t i = 0; i < 128; i++) {
			if (!(leaf.present[i / 8] >> (i % 8) & 1))
				continue;
			uint64_t at = (leaf.leaf * 128 + i) * 65536;
			const uint8_t *block = buffers[i / 16] + (i % 16) * 65536;
			size_t n = source->size_bytes - at < 65536 ? (size_t)(source->size_bytes - at) : 65536;
			if (at >= source->size_bytes) {
				code = err_set(err, ERR_BUG, 0, "block beyond the disk");
				break;
			}
			memcpy(disk + at, block, n);
			for (size_t k = n; k < 65536; k++)
				if (block[k])
					code = err_set(err, ERR_BUG, 0, "the last block is not padded with zeroes");
		}
	}
	for (size_t i = 0; i < SOURCE_LEAF_BUFFERS; i++)
		free(buffers[i]);
	return code;
}

static inline void release_set(struct source_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		block_source_close(set->sources[i]);
	for (size_t i = 0; i < set->document_count; i++)
		free(set->documents[i].data);
	free(set->documents);
	free(set->sources);
	if (set->release)
		set->release(set->owner);
	*set = (struct source_set){0};
}

/* Reads all sources of a set into fresh buffers (disks[i], or nowhere if `disks` is NULL), then finishes them. */
static inline enum err_code read_set(struct source_set *set, struct bytes *disks, struct err *err)
{
	enum err_code code = ERR_OK;
	for (size_t i = 0; i < set->count && code == ERR_OK; i++) {
		struct bytes b = {.data = malloc(set->sources[i]->size_bytes), .length = set->sources[i]->size_bytes};
		code = read_source(set->sources[i], b.data, err);
		if (disks)
			disks[i] = b;
		else
			free(b.data);
	}
	for (size_t i = 0; i < set->count && code == ERR_OK; i++)
		if (set->sources[i]->ops->finish)
			code = set->sources[i]->ops->finish(set->sources[i], err);
	return code;
}

/* Opens an XVA in memory, reads all of it and closes it. The first error. */
static inline enum err_code read_memory(const void *data, size_t n, struct err *err)
{
	struct stream *stream = NULL;
	struct source_set set = {0};
	enum err_code code = stream_open_memory(data, n, "test.xva", &stream, err);
	if (code == ERR_OK)
		code = xva_source_from_stream(stream, "test.xva", &set, err);
	if (code == ERR_OK)
		code = read_set(&set, NULL, err);
	release_set(&set);
	return code;
}

#endif
