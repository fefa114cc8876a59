/* SPDX-License-Identifier: Apache-2.0 */
/* Where programs get a passphrase or a key from: a file, a command, the environment, a systemd credential, or the
 * person at the terminal. Never an argument. Secrets lie in locked memory that is wiped when it is released.
 *
 * Threads: call it before the program starts others; the prompt handles signals for the whole process while it
 * waits. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRET_MAX 4096 /* bytes */

/* The sources are tried in this order; the first that is given decides, and its failure is the result. All strings are
 * borrowed and may be NULL but `what`. */
struct secret_request {
	const char *what;       /* "passphrase", "new passphrase": for messages and the prompt */
	const char *prompt;     /* what to ask on the terminal; NULL: "Passphrase" made from `what` */
	const char *file;       /* read this file; may be a pipe, such as /dev/fd/3 */
	const char *command;    /* run this by /bin/sh -c, take the first line that it prints */
	const char *credential; /* name of a systemd credential; NULL: "xenolith-passphrase" */
	bool use_environment;   /* look at XENOLITH_PASSPHRASE_FILE, XENOLITH_PASSPHRASE_COMMAND and the credential */
	bool use_terminal;      /* ask on /dev/tty */
	bool confirm;           /* ask twice (terminal only) */
	bool is_binary;         /* take a file's bytes as they are, with a newline at the end if there is one */
};

enum secret_source {
	SECRET_FROM_FILE,
	SECRET_FROM_COMMAND,
	SECRET_FROM_CREDENTIAL,
	SECRET_FROM_TERMINAL,
};

struct secret {
	uint8_t *bytes; /* locked memory, a zero byte behind the last */
	size_t length;  /* 1..SECRET_MAX */
	enum secret_source source;
	char warning[320]; /* one line about a risk to tell the user, or empty */
};

/* Gets a secret; gives *ret (secret_release). Without its trailing newline, unless binary. Blocks on the person, the
 * pipe or the command.
 *
 * ERR_NOT_FOUND: no source and no terminal, or the file is not there. ERR_AUTH: the command failed. ERR_INVALID: the
 * secret is empty, the two entries differ, or file and command are both given. ERR_LIMIT: longer than SECRET_MAX.
 * ERR_CANCELLED: interrupted at the prompt. ERR_IO. */
MUST_CHECK enum err_code secret_read(const struct secret_request *request, struct secret *ret, struct err *err);

/* Makes a secret of `length` (1..SECRET_MAX) bytes; the caller wipes its own copy. */
MUST_CHECK enum err_code secret_copy(const void *bytes, size_t length, struct secret *ret, struct err *err);

/* Wipes and frees; a zeroed struct is allowed. */
void secret_release(struct secret *secret);

#endif
