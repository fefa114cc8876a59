/* SPDX-License-Identifier: Apache-2.0 */
/* A program of somebody else's that works for us: started without a shell, with an empty environment but for PATH,
 * without our descriptors, in a session of its own (a Ctrl-C on the terminal is for us to handle), its memory and its
 * output bounded. The kernel kills it when the thread that started it ends, so none is left behind: start and stop it
 * from a thread that lives as long as the child is needed.
 *
 * Threads: one owner. */
#ifndef INGEST_CHILD_PROCESS_H
#define INGEST_CHILD_PROCESS_H

#include "base/cleanup.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child_limits {
	uint64_t memory_bytes; /* of address space */
	uint64_t output_bytes; /* of standard output and error, and of any file that it writes */
};

struct child {
	pid_t pid;
	int pid_fd;    /* readable when the child has ended */
	int output_fd; /* what it wrote to standard output */
	int errors_fd; /* and to standard error */
	bool ended;    /* and reaped; `status` is as of waitpid(2) */
	int status;
};

/* Starts argv[0] (an absolute path, or looked for in PATH) with the arguments argv[1..], ending with NULL.
 * ERR_NOT_FOUND: no such program. Gives *ret; end it with child_stop. */
MUST_CHECK enum err_code child_start(const char *const argv[], const struct child_limits *limits, struct child **ret,
				     struct err *err);

/* Waits for up to `timeout_ms` for the child to end. True if it has. */
bool child_wait(struct child *child, unsigned timeout_ms);

/* True if the child has ended by itself and reported success. */
bool child_succeeded(const struct child *child);

/* What the child ended with by itself, or -1: it runs, or a signal ended it. */
int child_exit_code(const struct child *child);

/* What the child wrote to standard output, at most `max` bytes (ERR_LIMIT beyond). Gives *ret, with a zero byte behind.
 */
MUST_CHECK enum err_code child_output(const struct child *child, size_t max, char **ret, size_t *ret_length,
				      struct err *err);

/* The last line the child wrote to standard error, or how it ended, as text that is safe to print. Returns dst. */
char *child_last_words(const struct child *child, char *dst, size_t size);

/* The same for the first line, which is the cause where a program goes on and ends with a summary. */
char *child_first_words(const struct child *child, char *dst, size_t size);

/* Asks the child to end, kills it if it does not within two seconds, reaps it, frees. NULL is allowed. */
void child_stop(struct child *child);

DEFINE_CLEANUP(child, struct child, child_stop)

#endif
