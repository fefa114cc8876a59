/* SPDX-License-Identifier: Apache-2.0 */
/* An nbdkit on a Unix socket for a test, and a reader of whole disks. Include after cmocka.h. */
#ifndef TESTS_NBD_SERVER_H
#define TESTS_NBD_SERVER_H

#include "base/clock.h"
#include "ingest/child_process.h"
#include "pipeline/block_source.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERVER_ARGUMENTS_MAX 16

struct nbd_server {
	struct child *child;
	char directory[64];
	char socket_path[80];
	char ready_path[80]; /* is there once the server listens */
	char uri[160];
};

static inline bool test_has_program(const char *name)
{
	char command[256];
	snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", name);
	return system(command) == 0;
}

/* Ends the test program as skipped, with the reason. */
static inline int test_skip(const char *reason)
{
	printf("skipped: %s\n", reason);
	return 77;
}

static inline void test_directory_make(char path[static 64])
{
	snprintf(path, 64, "/tmp/xenolith-test-XXXXXX");
	assert_non_null(mkdtemp(path));
}

static inline void test_directory_remove(const char *path)
{
	char command[256];
	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	assert_int_equal(system(command), 0);
}

/* Starts a server by `argv`, in which the paths stand already, and waits until it listens. */
static inline void nbd_server_run(struct nbd_server *server, const char *const argv[])
{
	const struct child_limits limits = {.memory_bytes = UINT64_MAX, .output_bytes = UINT64_MAX};
	struct err err = {0};
	if (child_start(argv, &limits, &server->child, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	uint64_t deadline_ns = clock_mono_ns() + UINT64_C(30000000000);
	while (access(server->ready_path, F_OK) < 0) {
		char words[256];
		if (child_wait(server->child, 5) || clock_mono_ns() > deadline_ns)
			fail_msg("%s: %s", argv[0], child_last_words(server->child, words, sizeof(words)));
	}
}

static inline void nbd_server_prepare(struct nbd_server *server)
{
	*server = (struct nbd_server){0};
	test_directory_make(server->directory);
	snprintf(server->socket_path, sizeof(server->socket_path), "%s/s", server->directory);
	snprintf(server->ready_path, sizeof(server->ready_path), "%s/ready", server->directory);
	snprintf(server->uri, sizeof(server->uri), "nbd+unix:///?socket=%s", server->socket_path);
}

/* Starts nbdkit with `arguments` (ending with NULL). */
static inline void nbd_server_start(struct nbd_server *server, const char *const arguments[])
{
	nbd_server_prepare(server);
	const char *argv[SERVER_ARGUMENTS_MAX + 7] = {"nbdkit",          "-f", "-U", server->socket_path, "--pidfile",
						      server->ready_path};
	for (size_t i = 0; arguments[i]; i++) {
		assert_true(i < SERVER_ARGUMENTS_MAX);
		argv[6 + i] = arguments[i];
	}
	nbd_server_run(server, argv);
}

/* Starts a server that breaks the rules (tests/hostile_nbd.py). */
static inline void nbd_server_start_hostile(struct nbd_server *server, const char *behaviour)
{
	char script[PATH_MAX];
	nbd_server_prepare(server);
	snprintf(script, sizeof(script), "%.*s/hostile_nbd.py", (int)(strlen(__FILE__) - strlen("/nbd_server.h")),
		 __FILE__);
	nbd_server_run(server, (const char *const[]){"/usr/bin/python3", script, server->socket_path,
						     server->ready_path, behaviour, NULL});
}

#define NBD_SERVER_START(server, ...) nbd_server_start(server, (const char *const[]){__VA_ARGS__, NULL})

static inline void nbd_server_stop(struct nbd_server *server)
{
	child_stop(server->child);
	server->child = NULL;
	if (server->directory[0])
		test_directory_remove(server->directory);
	server->directory[0] = '\0';
}

#define WHOLE_DEPTH 4

/* Reads the disk with one reader, several reads in flight; what `extent` calls zero is not read. Returns the first
 * error. */
static inline enum err_code read_whole(struct block_source *source, uint8_t *dst, uint64_t *ret_bytes_read,
				       struct err *err)
{
	struct block_reader *reader = NULL;
	struct block_read reads[WHOLE_DEPTH] = {0};
	uint64_t starts[WHOLE_DEPTH] = {0};
	uint8_t *memory = aligned_alloc(4096, WHOLE_DEPTH * SOURCE_READ_MAX);
	uint64_t next = 0;
	unsigned busy = 0;
	enum err_code code = source->ops->reader_open(source, NULL, WHOLE_DEPTH, &reader, err);
	*ret_bytes_read = 0;
	memset(dst, 0, source->size_bytes);
	while (code == ERR_OK && (next < source->size_bytes || busy)) {
		for (unsigned i = 0; i < WHOLE_DEPTH && code == ERR_OK; i++) {
			struct block_read *read = &reads[i];
			if (starts[i] && read->done) {
				starts[i] = 0;
				busy--;
				if (read->err.code != ERR_OK) {
					*err = read->err;
					code = read->err.code;
					break;
				}
				memcpy(dst + read->offset, read->data, read->length);
			}
			while (!starts[i] && next < source->size_bytes && code == ERR_OK) {
				struct block_extent extent = {next, source->size_bytes - next, false};
				if (source->ops->extent)
					code = source->ops->extent(source, next, &extent, err);
				if (code != ERR_OK)
					break;
				uint64_t end = extent.offset + extent.length;
				uint64_t block_end = (next / SOURCE_READ_MAX + 1) * SOURCE_READ_MAX;
				if (block_end > source->size_bytes)
					block_end = source->size_bytes;
				if (extent.zero && end >= block_end) {
					next = block_end;
					continue;
				}
				*read = (struct block_read){.offset = next,
							    .length = (uint32_t)(block_end - next),
							    .data = memory + (size_t)i * SOURCE_READ_MAX};
				memset(read->data, 0xee, SOURCE_READ_MAX);
				*ret_bytes_read += read->length;
				next = block_end;
				starts[i] = 1;
				busy++;
				reader->ops->submit(reader, read);
			}
		}
		if (busy && code == ERR_OK)
			code = reader->ops->wait(reader, err);
	}
	if (reader)
		reader->ops->close(reader);
	free(memory);
	return code;
}

/* Fills `size` bytes with the same noise for the same seed. */
static inline void fill_noise(uint8_t *data, size_t size, uint64_t seed)
{
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	for (size_t i = 0; i < size; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		data[i] = (uint8_t)x;
	}
}

static inline void write_file(const char *path, const uint8_t *data, size_t size)
{
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

#endif
