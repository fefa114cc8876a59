/* SPDX-License-Identifier: Apache-2.0 */
/* A secret from a command, as password managers and vaults have them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/secret_internal.h"

/* Standard input is empty, because ours may be the disk that is being backed up; standard error is shared, so that the
 * command can say what is wrong. Signals that the program ignores work in the command as usual. */
static int spawn_shell(const char *command, int output, pid_t *ret_pid)
{
	char shell[] = "/bin/sh";
	char option[] = "-c";
	char *copy = strdup(command);
	if (!copy)
		return ENOMEM;
	char *argv[] = {shell, option, copy, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none, pipe_signal;
	sigemptyset(&none);
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attributes);
	int e = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!e)
		e = posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
	if (!e)
		e = posix_spawnattr_setsigmask(&attributes, &none);
	if (!e)
		e = posix_spawnattr_setsigdefault(&attributes, &pipe_signal);
	if (!e)
		e = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (!e)
		e = posix_spawn(ret_pid, shell, &files, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	free(copy);
	return e;
}

/* Reads the rest, so that a command that prints more is not killed for it. */
static void drain(int fd)
{
	char sink[4096];
	ssize_t n;
	do
		n = read(fd, sink, sizeof(sink));
	while (n > 0 || (n < 0 && errno == EINTR));
	explicit_bzero(sink, sizeof(sink));
}

/* How the command ended; ERR_AUTH with a message if not well. The command's text may itself hold a secret and is left
 * out. */
static enum err_code check_end(const char *what, pid_t pid, struct err *err)
{
	int status = 0;
	pid_t waited;
	do
		waited = waitpid(pid, &status, 0);
	while (waited < 0 && errno == EINTR);
	if (waited < 0)
		return err_errno(err, "waiting for the command that gives the %s", what);
	if (WIFSIGNALED(status))
		return err_set(err, ERR_AUTH, 0, "the command that gives the %s was ended by signal %d", what,
			       WTERMSIG(status));
	if (WEXITSTATUS(status) != 0)
		return err_set(err, ERR_AUTH, 0, "the command that gives the %s failed with exit code %d", what,
			       WEXITSTATUS(status));
	return ERR_OK;
}

enum err_code secret_from_command(const char *what, const char *command, uint8_t *buffer, size_t *ret_length,
				  struct err *err)
{
	int ends[2];
	pid_t pid;
	size_t length = 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(err, "a pipe for the command that gives the %s", what);
	AUTO_CLOSE int output = ends[0];
	int e = spawn_shell(command, ends[1], &pid);
	close(ends[1]);
	if (e)
		return err_set(err, err_code_of_errno(e), e, "starting the command that gives the %s", what);
	enum err_code code = secret_read_fd(output, what, buffer, &length, err);
	drain(output);
	enum err_code end_code = check_end(what, pid, err);
	if (code == ERR_OK)
		code = end_code;
	if (code != ERR_OK)
		return code;
	const uint8_t *newline = memchr(buffer, '\n', length);
	*ret_length = newline ? (size_t)(newline - buffer) + 1 : length;
	return ERR_OK;
}
