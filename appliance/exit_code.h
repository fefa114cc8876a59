/* SPDX-License-Identifier: Apache-2.0 */
/* How the program ends: numbers that scripts rely on, listed in xenolith(1), never changed. */
#ifndef APPLIANCE_EXIT_CODE_H
#define APPLIANCE_EXIT_CODE_H

#include "base/err.h"

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_WARNINGS = 3, /* done, but something was left out or done another way than asked */
	EXIT_NO_STORE = 10,
	EXIT_BUSY = 11,
	EXIT_AUTH = 12,
	EXIT_DAMAGE = 13,
	EXIT_NO_SPACE = 14,
	EXIT_INTERRUPTED = 130, /* SIGINT */
	EXIT_TERMINATED = 143,  /* SIGTERM */
};

/* Whose bytes ERR_CORRUPT speaks of. */
enum corrupt_means {
	CORRUPT_IS_DAMAGE, /* the store's: EXIT_DAMAGE */
	CORRUPT_IS_INPUT,  /* those of a disk image that was to be read: EXIT_FAILED */
};

/* The exit code for an error. A cancelled job ends with the code of the signal that asked for it. */
enum exit_code exit_code_of(enum err_code code, enum corrupt_means corrupt_means);

#endif
