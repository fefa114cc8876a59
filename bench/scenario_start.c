/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/scenario_job.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static bool write_all(int fd, const void *data, size_t length)
{
	const char *p = data;
	while (length > 0) {
		ssize_t n = write(fd, p, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		length -= (size_t)n;
	}
	return true;
}

static bool read_all(int fd, void *data, size_t length)
{
	char *p = data;
	while (length > 0) {
		ssize_t n = read(fd, p, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		length -= (size_t)n;
	}
	return true;
}

/* The child's side of the fork: only calls that are safe there. */
static void become_job(int in, int out)
{
	char name[] = "xenolith-bench", argument[] = JOB_ARGUMENT;
	char *const arguments[] = {name, argument, NULL};
	if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
		execv("/proc/self/exe", arguments);
	_exit(127);
}

enum err_code scenario_job_run(const struct scenario_job *job, struct scenario_result *ret, struct err *err)
{
	int to_job[2], from_job[2];
	if (pipe2(to_job, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	AUTO_CLOSE int job_in = to_job[0];
	AUTO_CLOSE int job_feed = to_job[1];
	if (pipe2(from_job, O_CLOEXEC) < 0)
		return err_errno(err, "cannot make a pipe");
	AUTO_CLOSE int result_out = from_job[0];
	AUTO_CLOSE int result_in = from_job[1];
	signal(SIGPIPE, SIG_IGN);
	pid_t child = fork();
	if (child < 0)
		return err_errno(err, "cannot start a job");
	if (child == 0)
		become_job(job_in, result_in);
	close(TAKE_FD(job_in));
	close(TAKE_FD(result_in));
	bool told = write_all(job_feed, job, sizeof(*job));
	close(TAKE_FD(job_feed));
	bool answered = told && read_all(result_out, ret, sizeof(*ret));
	int status = 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!answered || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(err, ERR_BUG, 0, "a job of the benchmark ended without a result (status %d)", status);
	return ret->err.code ? err_set(err, ret->err.code, 0, "%s", ret->err.msg) : ERR_OK;
}
