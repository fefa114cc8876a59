/* SPDX-License-Identifier: Apache-2.0 */
/* Disk images in the formats of QEMU, read through a qemu-nbd of our own: it serves one image, read-only, on a socket
 * in a directory that only we may enter, and the NBD source does the rest. It ends by itself when the last connection
 * closes. */
#include "ingest/qemu_source.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/size.h"
#include "ingest/child_process.h"
#include "ingest/formats.h"
#include "ingest/nbd_source.h"
#include "ingest/qemu_image.h"
#include "ingest/source_file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#define START_TIMEOUT_MS 30000
#define START_STEP_MS 10

/* Far more than qemu-nbd needs for the tables of any image, far less than a hostile one could make it ask for. */
#define SERVER_MEMORY_BYTES (4 * GIB)
#define SERVER_OUTPUT_BYTES MIB

struct qemu_server {
	struct child *child;
	char directory[sizeof(((struct sockaddr_un *)NULL)->sun_path) - 4];
	char socket_path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
};

/* Ways to read the file, best first; what the file system or kernel refuses makes qemu-nbd end at once. */
static const struct read_mode {
	const char *cache;
	const char *aio;
	bool buffered;
} read_modes[] = {
	{"--cache=none", "--aio=io_uring", false},
	{"--cache=none", "--aio=native", false},
	{"--cache=writeback", "--aio=threads", true},
};

static void server_free(void *owner)
{
	struct qemu_server *server = owner;
	if (!server)
		return;
	child_stop(server->child);
	if (server->directory[0]) {
		unlink(server->socket_path);
		rmdir(server->directory);
	}
	free(server);
}

static inline void cleanup_server(struct qemu_server **server)
{
	server_free(*server);
}

/* Makes the private directory, in the user's runtime directory if there is one that leaves room for a socket's name. */
static enum err_code make_directory(struct qemu_server *server, struct err *err)
{
	static const char leaf[] = "/xenolith-XXXXXX";
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	if (!runtime || runtime[0] != '/' || strlen(runtime) + sizeof(leaf) > sizeof(server->directory) ||
	    access(runtime, W_OK | X_OK) < 0)
		runtime = "/tmp";
	snprintf(server->directory, sizeof(server->directory), "%s%s", runtime, leaf);
	if (!mkdtemp(server->directory)) {
		err_errno(err, "cannot make a directory in '%s'", runtime);
		server->directory[0] = '\0';
		return err ? err->code : ERR_IO;
	}
	snprintf(server->socket_path, sizeof(server->socket_path), "%s/s", server->directory);
	return ERR_OK;
}

/* Waits until the server answers. Gives *ret. */
static enum err_code connect_server(struct qemu_server *server, const char *name, const char *format,
				    struct block_source **ret, struct err *err)
{
	const struct nbd_address address = {
		.socket_path = server->socket_path, .name = name, .limits = nbd_default_limits};
	uint64_t deadline_ns = clock_mono_ns() + UINT64_C(1000000) * START_TIMEOUT_MS;
	for (;;) {
		struct err why = {0};
		char words[256];
		if (child_wait(server->child, START_STEP_MS))
			return err_set(err, ERR_UNSUPPORTED, 0, "qemu-nbd cannot serve '%s' as %s: %s", name, format,
				       child_last_words(server->child, words, sizeof(words)));
		if (clock_mono_ns() >= deadline_ns)
			return err_set(err, ERR_TIMEOUT, 0, "qemu-nbd does not answer for '%s': %s", name,
				       child_last_words(server->child, words, sizeof(words)));
		if (access(server->socket_path, F_OK) < 0)
			continue;
		enum err_code code = nbd_source_new(&address, format, ret, &why);
		/* The socket is there a moment before the server listens on it. */
		if (code == ERR_NET || code == ERR_NOT_FOUND)
			continue;
		return code == ERR_OK ? ERR_OK : err_set(err, code, 0, "%s", why.msg);
	}
}

/* Starts qemu-nbd on the checked image `path` and connects to it. Gives *ret. */
static enum err_code start_server(struct qemu_server *server, const struct read_mode *mode, const char *path,
				  const char *name, const char *format, struct block_source **ret, struct err *err)
{
	char format_option[64];
	char socket_option[sizeof(server->socket_path) + 16];
	snprintf(format_option, sizeof(format_option), "--format=%s", format);
	snprintf(socket_option, sizeof(socket_option), "--socket=%s", server->socket_path);
	const char *const argv[] = {
		"qemu-nbd",    "--read-only", "--shared=0", mode->cache, mode->aio,
		format_option, socket_option, "--",         path,        NULL,
	};
	const struct child_limits limits = {.memory_bytes = SERVER_MEMORY_BYTES, .output_bytes = SERVER_OUTPUT_BYTES};
	struct err why = {0};
	enum err_code code = child_start(argv, &limits, &server->child, &why);
	if (code == ERR_NOT_FOUND)
		return err_set(err, ERR_UNSUPPORTED, 0,
			       "'%s' is read by QEMU, and qemu-nbd is absent; install qemu-utils", name);
	if (code != ERR_OK)
		return err_set(err, code, 0, "%s", why.msg);
	code = connect_server(server, name, format, ret, err);
	if (code != ERR_OK) {
		child_stop(server->child);
		server->child = NULL;
		unlink(server->socket_path);
	}
	return code;
}

DEFINE_CLEANUP(source, struct block_source, block_source_close)

enum err_code qemu_source_open_image(const char *path, const char *format, bool follow, struct source_set *ret,
				     struct err *err)
{
	AUTO(qemu_image_release) struct qemu_image image = {0};
	TRY(qemu_image_check(path, format, follow, &image, err));
	AUTO(cleanup_server) struct qemu_server *server = calloc(1, sizeof(*server));
	if (!server)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to open '%s'", path);
	TRY(make_directory(server, err));
	AUTO(cleanup_source) struct block_source *source = NULL;
	struct err why = {0};
	for (size_t i = 0; i < sizeof(read_modes) / sizeof(read_modes[0]) && !source; i++) {
		why = (struct err){0};
		enum err_code code = start_server(server, &read_modes[i], image.path, path, format, &source, &why);
		if (code != ERR_OK && code != ERR_UNSUPPORTED)
			break;
		if (source && read_modes[i].buffered)
			source_notice(source, "reading through the page cache: the file system refuses direct access");
	}
	if (!source)
		return err_set(err, why.code, 0, "%s", why.msg);
	if (image.notice[0])
		source_notice(source, "%s", image.notice);
	TRY(source_set_of_one(source, ret, err));
	source = NULL;
	ret->owner = TAKE_PTR(server);
	ret->release = server_free;
	return ERR_OK;
}

enum err_code qemu_source_open(const char *path, const char *format, struct source_set *ret, struct err *err)
{
	return qemu_source_open_image(path, format, /* follow= */ true, ret, err);
}
