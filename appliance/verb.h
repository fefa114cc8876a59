/* SPDX-License-Identifier: Apache-2.0 */
/* What a verb of the command line is: a row in the table of main.c and a file cmd_*.c that calls the libraries and
 * prints. */
#ifndef APPLIANCE_VERB_H
#define APPLIANCE_VERB_H

#include "appliance/exit_code.h"
#include "appliance/options.h"
#include "appliance/output.h"

#include <stdbool.h>
#include <stddef.h>

/* Options that verbs share; which of them a verb has, its `shared` says. */
struct shared_options {
	bool help;
	bool json;
	bool quiet;
	const char *store;              /* SHARED_STORE */
	const char *passphrase_file;    /* SHARED_SECRET */
	const char *passphrase_command; /* SHARED_SECRET */
	const char *key_file;           /* SHARED_SECRET */
	const char *recovery_key_file;  /* SHARED_RECOVERY */
};

enum shared_option_group {
	SHARED_STORE = 1 << 0,    /* the verb works on a store */
	SHARED_SECRET = 1 << 1,   /* ... and needs a passphrase or key file */
	SHARED_RECOVERY = 1 << 2, /* ... or the recovery key */
	SHARED_OPEN = SHARED_STORE | SHARED_SECRET | SHARED_RECOVERY,
};

/* One call of a verb. Everything is borrowed. */
struct invocation {
	const struct verb *verb;
	const struct shared_options *shared;
	const void *options; /* the verb's own struct of values */
	char **args;         /* what is no option */
	size_t arg_count;
	struct output *output;
};

struct verb {
	const char *name;        /* "backup", "key add" */
	const char *arguments;   /* for the usage line: "[NAME=]DISK..." */
	const char *summary;     /* one line, lower case */
	const char *description; /* a paragraph for --help, lines of at most 80 columns */
	unsigned shared;         /* enum shared_option_group */
	size_t args_min;
	size_t args_max;
	const struct option_row *options; /* NULL: none */
	size_t options_size;              /* of the struct of values */
	void (*release)(void *options);   /* frees text lists; NULL: nothing to free */
	enum exit_code (*run)(const struct invocation *invocation);
};

extern const struct verb verb_init;
extern const struct verb verb_backup;
extern const struct verb verb_restore;
extern const struct verb verb_list;
extern const struct verb verb_show;
extern const struct verb verb_scrub;
extern const struct verb verb_verify;
extern const struct verb verb_rehearse;
extern const struct verb verb_stats;
extern const struct verb verb_key_add;
extern const struct verb verb_key_remove;
extern const struct verb verb_key_list;
extern const struct verb verb_key_export;

/* Tells the error and gives the exit code for it. */
enum exit_code invocation_fail(const struct invocation *invocation, const struct err *err,
			       enum corrupt_means corrupt_means);

/* The exit code of a verb that did its work: EXIT_DONE, or that of a failure to write the results. */
enum exit_code invocation_done(const struct invocation *invocation);

#endif
