/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/secret_internal.h"

#define DEFAULT_CREDENTIAL "xenolith-passphrase"
#define PATH_SIZE 4096

static void cleanup_buffer(uint8_t **buffer)
{
	sodium_free(*buffer);
}

void secret_release(struct secret *secret)
{
	sodium_free(secret->bytes);
	*secret = (struct secret){0};
}

enum err_code secret_copy(const void *bytes, size_t length, struct secret *ret, struct err *err)
{
	if (length == 0 || length > SECRET_MAX)
		return err_set(err, ERR_LIMIT, 0, "a secret has 1 to %d bytes, not %zu", SECRET_MAX, length);
	uint8_t *copy = sodium_init() < 0 ? NULL : sodium_malloc(length + 1);
	if (!copy)
		return err_set(err, ERR_NO_MEMORY, 0, "no locked memory for a secret");
	memcpy(copy, bytes, length);
	copy[length] = 0;
	*ret = (struct secret){.bytes = copy, .length = length};
	return ERR_OK;
}

enum err_code secret_read_fd(int fd, const char *what, uint8_t *buffer, size_t *ret_length, struct err *err)
{
	size_t length = 0;
	while (length < SECRET_BUFFER_SIZE) {
		ssize_t n = read(fd, buffer + length, SECRET_BUFFER_SIZE - length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "reading the %s", what);
		if (n == 0)
			break;
		length += (size_t)n;
	}
	*ret_length = length;
	return ERR_OK;
}

/* A secret that everybody on the machine can read or replace is worth a word. */
static void warn_about_mode(const char *what, const char *path, const struct stat *st, char *dst, size_t size)
{
	if (S_ISREG(st->st_mode) && (st->st_mode & (S_IROTH | S_IWOTH)))
		snprintf(dst, size, "every user of this machine can %s the %s file '%.200s'; run: chmod 600 on it",
			 st->st_mode & S_IWOTH ? "change" : "read", what, path);
}

static enum err_code secret_from_file(const char *what, const char *path, uint8_t *buffer, size_t *ret_length,
				      char *warning, size_t warning_size, struct err *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, "%s file '%s'", what, path);
	if (S_ISDIR(st.st_mode))
		return err_set(err, ERR_INVALID, 0, "%s file '%s' is a directory", what, path);
	warn_about_mode(what, path, &st, warning, warning_size);
	TRY(secret_read_fd(fd, what, buffer, ret_length, err));
	return ERR_OK;
}

/* A variable's value; an empty one counts as unset. */
static const char *environment(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

/* The path of the credential that systemd put there for this service, in `dst`; false if there is none. */
static bool find_credential(const char *name, char dst[static PATH_SIZE])
{
	const char *directory = environment("CREDENTIALS_DIRECTORY");
	if (!directory)
		return false;
	int n = snprintf(dst, PATH_SIZE, "%s/%s", directory, name ? name : DEFAULT_CREDENTIAL);
	return n > 0 && n < PATH_SIZE && access(dst, F_OK) == 0;
}

static enum err_code from_terminal(const struct secret_request *request, uint8_t *buffer, size_t *ret_length,
				   struct err *err)
{
	char prompt[160];
	snprintf(prompt, sizeof(prompt), "%s: ", request->prompt ? request->prompt : request->what);
	TRY(secret_from_terminal(request->what, prompt, buffer, ret_length, err));
	if (!request->confirm || *ret_length == 0)
		return ERR_OK;
	AUTO(cleanup_buffer) uint8_t *again = sodium_malloc(SECRET_BUFFER_SIZE);
	size_t length = 0;
	if (!again)
		return err_set(err, ERR_NO_MEMORY, 0, "no locked memory for a secret");
	snprintf(prompt, sizeof(prompt), "The same once more: ");
	TRY(secret_from_terminal(request->what, prompt, again, &length, err));
	if (length != *ret_length || sodium_memcmp(again, buffer, length) != 0)
		return err_set(err, ERR_INVALID, 0, "the two entries of the %s differ; try again", request->what);
	return ERR_OK;
}

static enum err_code no_source(const struct secret_request *request, struct err *err)
{
	if (!request->use_environment)
		return err_set(err, ERR_NOT_FOUND, 0,
			       "no %s: there is no terminal to ask on; give it by a file or a command", request->what);
	return err_set(err, ERR_NOT_FOUND, 0,
		       "no %s: there is no terminal to ask on; set XENOLITH_PASSPHRASE_FILE or "
		       "XENOLITH_PASSPHRASE_COMMAND, or give it by a file or a command",
		       request->what);
}

/* Picks the source and reads it into `buffer`, newline and all. */
static enum err_code read_source(const struct secret_request *request, uint8_t *buffer, size_t *ret_length,
				 struct secret *found, struct err *err)
{
	const char *file = request->file;
	const char *command = request->command;
	char credential[PATH_SIZE];
	if (!file && !command && request->use_environment) {
		file = environment("XENOLITH_PASSPHRASE_FILE");
		command = environment("XENOLITH_PASSPHRASE_COMMAND");
	}
	if (file && command)
		return err_set(err, ERR_INVALID, 0, "the %s is given both by a file and by a command; leave one out",
			       request->what);
	found->source = SECRET_FROM_FILE;
	if (!file && !command && request->use_environment && find_credential(request->credential, credential)) {
		found->source = SECRET_FROM_CREDENTIAL;
		file = credential;
	}
	if (file)
		return secret_from_file(request->what, file, buffer, ret_length, found->warning, sizeof(found->warning),
					err);
	if (command) {
		found->source = SECRET_FROM_COMMAND;
		return secret_from_command(request->what, command, buffer, ret_length, err);
	}
	found->source = SECRET_FROM_TERMINAL;
	struct err cause = {0};
	enum err_code code = ERR_NOT_FOUND;
	if (request->use_terminal)
		code = from_terminal(request, buffer, ret_length, &cause);
	if (code == ERR_NOT_FOUND)
		return no_source(request, err);
	if (code != ERR_OK && err && err->code == ERR_OK)
		*err = cause;
	return code;
}

/* The length without one newline ("\n" or "\r\n") at the end. */
static size_t without_newline(const uint8_t *bytes, size_t length)
{
	if (length && bytes[length - 1] == '\n')
		length--;
	else
		return length;
	return length && bytes[length - 1] == '\r' ? length - 1 : length;
}

enum err_code secret_read(const struct secret_request *request, struct secret *ret, struct err *err)
{
	AUTO(cleanup_buffer) uint8_t *buffer = sodium_init() < 0 ? NULL : sodium_malloc(SECRET_BUFFER_SIZE);
	struct secret found = {0};
	size_t length = 0;
	if (!buffer)
		return err_set(err, ERR_NO_MEMORY, 0, "no locked memory for a secret");
	TRY(read_source(request, buffer, &length, &found, err));
	bool is_file = found.source == SECRET_FROM_FILE || found.source == SECRET_FROM_CREDENTIAL;
	if (!(request->is_binary && is_file))
		length = without_newline(buffer, length);
	if (length == 0)
		return err_set(err, ERR_INVALID, 0, "the %s is empty", request->what);
	if (length > SECRET_MAX)
		return err_set(err, ERR_LIMIT, 0, "the %s is longer than %d bytes", request->what, SECRET_MAX);
	struct secret secret;
	TRY(secret_copy(buffer, length, &secret, err));
	secret.source = found.source;
	memcpy(secret.warning, found.warning, sizeof(secret.warning));
	*ret = secret;
	return ERR_OK;
}
