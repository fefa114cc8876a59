/* SPDX-License-Identifier: Apache-2.0 */
#include "ingest/child_process.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define STOP_MS 2000
#define ARGUMENTS_MAX 32
/* Of what a child writes to standard error, how much a line of it is looked for in. */
#define WORDS_MAX 2048

/* Everything that the new process needs, made before the fork: after it only async-signal-safe calls are allowed. */
struct start_plan {
	char program[PATH_MAX];
	char path_variable[PATH_MAX + 8];
	char *arguments[ARGUMENTS_MAX + 1];
	char *environment[3];
	struct rlimit memory;
	struct rlimit output;
	pid_t parent;
	int null_fd;
	int output_fd;
	int errors_fd;
};

/* Finds `name` in the directories of `path` (colons between them). */
static bool find_program(const char *name, const char *path, char dst[static PATH_MAX])
{
	while (*path) {
		size_t length = strcspn(path, ":");
		/* An empty or relative entry would mean the current directory. */
		if (length > 0 && path[0] == '/') {
			int n = snprintf(dst, PATH_MAX, "%.*s/%s", (int)length, path, name);
			if (n > 0 && n < PATH_MAX && access(dst, X_OK) == 0)
				return true;
		}
		path += length;
		path += *path == ':';
	}
	return false;
}

static void child_exec(struct start_plan *plan) __attribute__((noreturn));

/* In the new process. Exit code 127 with errno's text unknown is fine: the program was found to be there just before.
 */
static void child_exec(struct start_plan *plan)
{
	static char no_exec[] = "cannot be started\n";
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGXFSZ, SIG_IGN); /* output beyond the limit is an error to the program, not its death */
	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != plan->parent)
		_exit(127); /* we died before the line above */
	setrlimit(RLIMIT_AS, &plan->memory);
	setrlimit(RLIMIT_FSIZE, &plan->output);
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	if (dup2(plan->null_fd, STDIN_FILENO) < 0 || dup2(plan->output_fd, STDOUT_FILENO) < 0 ||
	    dup2(plan->errors_fd, STDERR_FILENO) < 0)
		_exit(127);
	syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
	execve(plan->program, plan->arguments, plan->environment);
	(void)!write(STDERR_FILENO, no_exec, sizeof(no_exec) - 1);
	_exit(127);
}

static enum err_code plan_make(const char *const argv[], const struct child_limits *limits, struct start_plan *plan,
			       struct err *err)
{
	static char language[] = "LC_ALL=C";
	const char *path = getenv("PATH");
	if (!path || !*path || strlen(path) >= PATH_MAX)
		path = DEFAULT_PATH;
	if (argv[0][0] == '/' && strlen(argv[0]) < sizeof(plan->program))
		memcpy(plan->program, argv[0], strlen(argv[0]) + 1);
	else if (!find_program(argv[0], path, plan->program))
		return err_set(err, ERR_NOT_FOUND, 0, "there is no program '%s'", argv[0]);
	size_t count = 0;
	for (; argv[count]; count++) {
		if (count == ARGUMENTS_MAX)
			return err_set(err, ERR_BUG, 0, "too many arguments for '%s'", argv[0]);
		/* execve takes char *const[] for history's sake and changes nothing. */
		plan->arguments[count] = (char *)(uintptr_t)argv[count];
	}
	plan->arguments[count] = NULL;
	snprintf(plan->path_variable, sizeof(plan->path_variable), "PATH=%s", path);
	plan->environment[0] = plan->path_variable;
	plan->environment[1] = language;
	plan->environment[2] = NULL;
	plan->memory = (struct rlimit){limits->memory_bytes, limits->memory_bytes};
	plan->output = (struct rlimit){limits->output_bytes, limits->output_bytes};
	plan->parent = getpid();
	return ERR_OK;
}

enum err_code child_start(const char *const argv[], const struct child_limits *limits, struct child **ret,
			  struct err *err)
{
	AUTO_FREE struct start_plan *plan = calloc(1, sizeof(*plan));
	AUTO_FREE struct child *child = calloc(1, sizeof(*child));
	if (!plan || !child)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory to start '%s'", argv[0]);
	TRY(plan_make(argv, limits, plan, err));
	AUTO_CLOSE int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int output_fd = memfd_create("output", MFD_CLOEXEC);
	AUTO_CLOSE int errors_fd = memfd_create("errors", MFD_CLOEXEC);
	if (null_fd < 0 || output_fd < 0 || errors_fd < 0)
		return err_errno(err, "cannot start '%s'", argv[0]);
	plan->null_fd = null_fd;
	plan->output_fd = output_fd;
	plan->errors_fd = errors_fd;
	pid_t pid = fork();
	if (pid < 0)
		return err_errno(err, "cannot start '%s'", argv[0]);
	if (pid == 0)
		child_exec(plan);
	int pid_fd = pidfd_open(pid, 0);
	if (pid_fd < 0) {
		err_errno(err, "cannot watch '%s'", argv[0]);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return err ? err->code : ERR_IO;
	}
	child->pid = pid;
	child->pid_fd = pid_fd;
	child->output_fd = TAKE_FD(output_fd);
	child->errors_fd = TAKE_FD(errors_fd);
	*ret = TAKE_PTR(child);
	return ERR_OK;
}

bool child_wait(struct child *child, unsigned timeout_ms)
{
	uint64_t deadline_ns = clock_mono_ns() + (uint64_t)timeout_ms * 1000000;
	while (!child->ended) {
		uint64_t now_ns = clock_mono_ns();
		int left_ms = now_ns >= deadline_ns ? 0 : (int)((deadline_ns - now_ns) / 1000000) + 1;
		struct pollfd fd = {.fd = child->pid_fd, .events = POLLIN};
		int ready = poll(&fd, 1, left_ms);
		if (ready > 0 && waitpid(child->pid, &child->status, WNOHANG) == child->pid)
			child->ended = true;
		else if (ready == 0 && left_ms == 0)
			break;
	}
	return child->ended;
}

bool child_succeeded(const struct child *child)
{
	return child_exit_code(child) == 0;
}

int child_exit_code(const struct child *child)
{
	return child->ended && WIFEXITED(child->status) ? WEXITSTATUS(child->status) : -1;
}

enum err_code child_output(const struct child *child, size_t max, char **ret, size_t *ret_length, struct err *err)
{
	AUTO_FREE char *text = malloc(max + 2);
	if (!text)
		return err_set(err, ERR_NO_MEMORY, 0, "no memory for a program's output");
	size_t length = 0;
	while (length <= max) {
		ssize_t n = pread(child->output_fd, text + length, max + 1 - length, (off_t)length);
		if (n < 0)
			return err_errno(err, "cannot read a program's output");
		if (n == 0)
			break;
		length += (size_t)n;
	}
	if (length > max)
		return err_set(err, ERR_LIMIT, 0, "a program wrote more than %zu bytes", max);
	text[length] = '\0';
	*ret = TAKE_PTR(text);
	*ret_length = length;
	return ERR_OK;
}

/* Puts a line of the child's into `dst`, or how it ended if the line is empty. */
static char *say(const struct child *child, const char *line, size_t length, char *dst, size_t size)
{
	if (length > 0)
		snprintf(dst, size, "%.*s", (int)length, line);
	else if (child->ended && WIFSIGNALED(child->status))
		snprintf(dst, size, "killed by signal %d", WTERMSIG(child->status));
	else if (child->ended)
		snprintf(dst, size, "ended with code %d", WEXITSTATUS(child->status));
	else
		snprintf(dst, size, "no answer");
	for (char *p = dst; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return dst;
}

char *child_last_words(const struct child *child, char *dst, size_t size)
{
	char text[WORDS_MAX];
	off_t end = lseek(child->errors_fd, 0, SEEK_END);
	off_t start = end > (off_t)sizeof(text) ? end - (off_t)sizeof(text) : 0;
	ssize_t n = end > 0 ? pread(child->errors_fd, text, sizeof(text), start) : 0;
	size_t length = n > 0 ? (size_t)n : 0;
	while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' '))
		length--;
	size_t first = length;
	while (first > 0 && text[first - 1] != '\n')
		first--;
	return say(child, text + first, length - first, dst, size);
}

char *child_first_words(const struct child *child, char *dst, size_t size)
{
	char text[WORDS_MAX];
	ssize_t n = pread(child->errors_fd, text, sizeof(text), 0);
	size_t length = n > 0 ? (size_t)n : 0;
	size_t first = 0;
	while (first < length && (text[first] == '\n' || text[first] == ' '))
		first++;
	size_t end = first;
	while (end < length && text[end] != '\n')
		end++;
	return say(child, text + first, end - first, dst, size);
}

void child_stop(struct child *child)
{
	if (!child)
		return;
	if (!child_wait(child, 0)) {
		kill(child->pid, SIGTERM);
		if (!child_wait(child, STOP_MS)) {
			kill(child->pid, SIGKILL);
			while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
				;
		}
	}
	close(child->pid_fd);
	close(child->output_fd);
	close(child->errors_fd);
	free(child);
}
