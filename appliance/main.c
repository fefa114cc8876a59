/* SPDX-License-Identifier: Apache-2.0 */
/* xenolith: the command line. The table of verbs, and what is the same for all of them. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "appliance/signals.h"
#include "appliance/verb.h"
#include "base/cleanup.h"

/* In the order of help. */
static const struct verb *const verbs[] = {
	&verb_init,     &verb_backup, &verb_restore, &verb_list,     &verb_show,       &verb_verify,     &verb_scrub,
	&verb_rehearse, &verb_stats,  &verb_key_add, &verb_key_list, &verb_key_remove, &verb_key_export,
};
#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

#define SHARED(field) offsetof(struct shared_options, field)

static const struct option_row store_rows[] = {
	{'s', "store", OPTION_TEXT, SHARED(store), "DIR", "the store (or XENOLITH_STORE)", 0, 0},
	OPTIONS_END,
};
static const struct option_row secret_rows[] = {
	{0, "passphrase-file", OPTION_TEXT, SHARED(passphrase_file), "FILE", "read the passphrase from FILE", 0, 0},
	{0, "passphrase-command", OPTION_TEXT, SHARED(passphrase_command), "CMD",
	 "run CMD with the shell and read its output", 0, 0},
	{0, "key-file", OPTION_TEXT, SHARED(key_file), "FILE", "use the whole content of FILE as key", 0, 0},
	OPTIONS_END,
};
static const struct option_row recovery_rows[] = {
	{0, "recovery-key-file", OPTION_TEXT, SHARED(recovery_key_file), "FILE",
	 "read the recovery key (its words) from FILE", 0, 0},
	OPTIONS_END,
};
static const struct option_row output_rows[] = {
	{0, "json", OPTION_FLAG, SHARED(json), NULL, "print one JSON object per line", 0, 0},
	{'q', "quiet", OPTION_FLAG, SHARED(quiet), NULL, "no progress and no notices", 0, 0},
	{'h', "help", OPTION_FLAG, SHARED(help), NULL, "show this help", 0, 0},
	OPTIONS_END,
};

enum exit_code invocation_fail(const struct invocation *invocation, const struct err *err,
			       enum corrupt_means corrupt_means)
{
	output_error(invocation->output, err);
	return exit_code_of(err->code, corrupt_means);
}

enum exit_code invocation_done(const struct invocation *invocation)
{
	struct err err = {0};
	if (output_finish(invocation->output, &err) == ERR_OK)
		return EXIT_DONE;
	return invocation_fail(invocation, &err, CORRUPT_IS_INPUT);
}

static void print_verb_help(const struct verb *verb)
{
	printf("usage: xenolith %s [OPTION...]%s%s\n\n%s\n\noptions:\n", verb->name, *verb->arguments ? " " : "",
	       verb->arguments, verb->description);
	options_print_help(verb->options);
	if (verb->shared & SHARED_STORE)
		options_print_help(store_rows);
	if (verb->shared & SHARED_SECRET)
		options_print_help(secret_rows);
	if (verb->shared & SHARED_RECOVERY)
		options_print_help(recovery_rows);
	options_print_help(output_rows);
	/* "key add" and its like share a page. */
	printf("\nThe manual page xenolith-%.*s(1) has the details and examples.\n", (int)strcspn(verb->name, " "),
	       verb->name);
}

static void print_help(void)
{
	puts("usage: xenolith VERB [OPTION...] [ARGUMENT...]\n\n"
	     "Backs up virtual disks of XenServer and XCP-ng into a deduplicated, encrypted store.\n\nverbs:");
	for (size_t i = 0; i < VERB_COUNT; i++)
		printf("  %-12s %s\n", verbs[i]->name, verbs[i]->summary);
	puts("  help [VERB]  show this help, or that of a verb\n"
	     "  version      show the version\n\n"
	     "The store is named by -s DIR or XENOLITH_STORE. Exit codes: 0 done, 1 failed, 2 usage,\n"
	     "3 done with warnings, 10 no store, 11 store busy, 12 wrong key, 13 damage, 14 no space,\n"
	     "130 interrupted, 143 terminated. See xenolith(1).");
}

/* Finds the verb that argv[1] (or argv[1] and argv[2], as in "key add") names; *ret_words is how many words it took. */
static const struct verb *find_verb(int argc, char **argv, int *ret_words)
{
	char two[64] = "";
	if (argc > 2)
		snprintf(two, sizeof(two), "%s %s", argv[1], argv[2]);
	for (size_t i = 0; i < VERB_COUNT; i++) {
		*ret_words = strchr(verbs[i]->name, ' ') ? 2 : 1;
		if (strcmp(verbs[i]->name, *ret_words == 2 ? two : argv[1]) == 0)
			return verbs[i];
	}
	return NULL;
}

static enum err_code unknown_verb(const char *name, struct err *err)
{
	char known[128] = "";
	size_t length = strlen(name);
	for (size_t i = 0; i < VERB_COUNT; i++)
		if (strncmp(verbs[i]->name, name, length) == 0 && verbs[i]->name[length] == ' ')
			snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s'%s'", *known ? ", " : "",
				 verbs[i]->name);
	if (*known)
		return err_set(err, ERR_INVALID, 0, "'%s' alone is no verb; there are %s", name, known);
	return err_set(err, ERR_INVALID, 0, "'%s' is no verb; 'xenolith help' lists them", name);
}

static enum err_code check_arguments(const struct invocation *invocation, struct err *err)
{
	const struct verb *verb = invocation->verb;
	if (invocation->arg_count >= verb->args_min && invocation->arg_count <= verb->args_max)
		return ERR_OK;
	if (!*verb->arguments)
		return err_set(err, ERR_INVALID, 0, "'%s' takes no arguments; see 'xenolith %s --help'", verb->name,
			       verb->name);
	return err_set(err, ERR_INVALID, 0, "'%s' takes %s; see 'xenolith %s --help'", verb->name, verb->arguments,
		       verb->name);
}

/* Parses the options of `verb` (argv[0] is its last word) and runs it. `options` are its zeroed values. */
static enum exit_code parse_and_run(const struct verb *verb, void *options, int argc, char **argv,
				    struct output *output)
{
	struct shared_options shared = {0};
	struct invocation invocation = {.verb = verb, .shared = &shared, .options = options, .output = output};
	const struct option_group groups[] = {
		{verb->options, options},
		{verb->shared & SHARED_STORE ? store_rows : NULL, &shared},
		{verb->shared & SHARED_SECRET ? secret_rows : NULL, &shared},
		{verb->shared & SHARED_RECOVERY ? recovery_rows : NULL, &shared},
		{output_rows, &shared},
	};
	struct err err = {0};
	char program[64];
	int first = 0;
	snprintf(program, sizeof(program), "xenolith %s", verb->name);
	enum err_code code =
		options_parse(program, groups, sizeof(groups) / sizeof(groups[0]), argc, argv, &first, &err);
	if (code == ERR_OK && shared.help) {
		print_verb_help(verb);
		return invocation_done(&invocation);
	}
	output->json = shared.json;
	output->quiet = shared.quiet;
	if (code == ERR_OK) {
		invocation.args = argv + first;
		invocation.arg_count = (size_t)(argc - first);
		code = check_arguments(&invocation, &err);
	}
	return code == ERR_OK ? verb->run(&invocation) : invocation_fail(&invocation, &err, CORRUPT_IS_INPUT);
}

static enum exit_code run_verb(const struct verb *verb, int argc, char **argv, struct output *output)
{
	AUTO_FREE void *options = calloc(1, verb->options_size ? verb->options_size : 1);
	if (!options) {
		struct err err = {0};
		err_set(&err, ERR_NO_MEMORY, 0, "out of memory");
		output_error(output, &err);
		return EXIT_FAILED;
	}
	enum exit_code exit_code = parse_and_run(verb, options, argc, argv, output);
	if (verb->release)
		verb->release(options);
	return exit_code;
}

/* Keys are in this process's memory: no core dump, no peeking by other processes of the user. */
static void keep_memory_private(void)
{
	const struct rlimit none = {0, 0};
	setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__) /* the leak check at exit is such a peek */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

static bool is_word(const char *text, const char *word, const char *option)
{
	return strcmp(text, word) == 0 || strcmp(text, option) == 0;
}

int main(int argc, char **argv)
{
	setlocale(LC_ALL, "");
	setlocale(LC_NUMERIC, "C"); /* sizes and JSON are the same everywhere */
	signals_prepare();
	keep_memory_private();
	struct output output;
	output_init(&output);
	if (argc < 2) {
		fputs("xenolith: error: a verb is missing; 'xenolith help' lists them\n", stderr);
		return EXIT_USAGE;
	}
	bool is_help = is_word(argv[1], "help", "--help") || strcmp(argv[1], "-h") == 0;
	if (is_word(argv[1], "version", "--version")) {
		puts("xenolith " XENOLITH_VERSION);
		return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
	}
	if (is_help && argc == 2) {
		print_help();
		return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
	}
	int skip = is_help ? 1 : 0;
	int words = 0;
	const struct verb *verb = find_verb(argc - skip, argv + skip, &words);
	if (!verb) {
		struct err err = {0};
		unknown_verb(argv[1 + skip], &err);
		output_error(&output, &err);
		return EXIT_USAGE;
	}
	if (is_help) {
		print_verb_help(verb);
		return fflush(stdout) ? EXIT_FAILED : EXIT_DONE;
	}
	return (int)run_verb(verb, argc - words, argv + words, &output);
}
