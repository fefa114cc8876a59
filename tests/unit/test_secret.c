/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define PATH_SIZE 128

struct state {
	char folder[64];
	char path[PATH_SIZE];
	struct secret secret;
	int terminal; /* our end of the child's terminal, or -1 */
	int results;  /* what the child says, or -1 */
	pid_t child;
};

static struct state state;

static const char *const variables[] = {"XENOLITH_PASSPHRASE_FILE", "XENOLITH_PASSPHRASE_COMMAND",
					"CREDENTIALS_DIRECTORY"};

static void clear_environment(void)
{
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		unsetenv(variables[i]);
}

static int setup(void **unused)
{
	(void)unused;
	state = (struct state){.terminal = -1, .results = -1};
	clear_environment();
	snprintf(state.folder, sizeof(state.folder), "/tmp/xenolith-secret-XXXXXX");
	return mkdtemp(state.folder) ? 0 : -1;
}

static int teardown(void **unused)
{
	(void)unused;
	static const char *const names[] = {"secret", "xenolith-passphrase", "other", "out"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(state.path, PATH_SIZE, "%s/%s", state.folder, names[i]);
		unlink(state.path);
	}
	rmdir(state.folder);
	secret_release(&state.secret);
	if (state.terminal >= 0)
		close(state.terminal);
	if (state.results >= 0)
		close(state.results);
	if (state.child > 0) {
		kill(state.child, SIGKILL);
		waitpid(state.child, NULL, 0);
	}
	clear_environment();
	return 0;
}

/* Writes a file in the test's folder and gives its path, valid until the next call. */
static const char *write_file(const char *name, const void *bytes, size_t length, mode_t mode)
{
	snprintf(state.path, PATH_SIZE, "%s/%s", state.folder, name);
	FILE *f = fopen(state.path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, length, f), length);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(state.path, mode), 0);
	return state.path;
}

static enum err_code read_secret(const struct secret_request *request, struct err *err)
{
	secret_release(&state.secret);
	*err = (struct err){0};
	return secret_read(request, &state.secret, err);
}

static void expect_secret(const struct secret_request *request, const char *expected, enum secret_source source)
{
	struct err err;
	if (read_secret(request, &err) != ERR_OK)
		fail_msg("%s", err.msg);
	assert_int_equal(state.secret.length, strlen(expected));
	assert_string_equal((char *)state.secret.bytes, expected);
	assert_int_equal(state.secret.source, source);
}

static void expect_refused(const struct secret_request *request, enum err_code code, const char *message)
{
	struct err err;
	enum err_code got = read_secret(request, &err);
	if (got != code || err.code != code || !strstr(err.msg, message))
		fail_msg("expected %s '%s', got %s '%s'", err_code_name(code), message, err_code_name(got), err.msg);
	assert_null(state.secret.bytes);
}

/* ---- files ---- */

static void test_secret_file__gives_the_text_without_its_newline(void **unused)
{
	(void)unused;
	static const char *const texts[] = {"hunter two", "hunter two\n", "hunter two\r\n"};
	for (size_t i = 0; i < 3; i++) {
		const struct secret_request request = {
			.what = "passphrase",
			.file = write_file("secret", texts[i], strlen(texts[i]), 0600),
		};
		expect_secret(&request, "hunter two", SECRET_FROM_FILE);
		assert_string_equal(state.secret.warning, "");
	}
	const struct secret_request request = {.what = "passphrase",
					       .file = write_file("secret", " a\nb\n\n", 6, 0600)};
	expect_secret(&request, " a\nb\n", SECRET_FROM_FILE);
}

static void test_secret_file__binary_keeps_every_byte(void **unused)
{
	(void)unused;
	const struct secret_request request = {
		.what = "key file", .file = write_file("secret", "\0\xff\n\n", 4, 0600), .is_binary = true};
	struct err err;
	assert_int_equal(read_secret(&request, &err), ERR_OK);
	assert_int_equal(state.secret.length, 4);
	assert_memory_equal(state.secret.bytes, "\0\xff\n\n", 5);
}

static void test_secret_file__open_to_everybody_is_warned_about(void **unused)
{
	(void)unused;
	struct secret_request request = {.what = "passphrase", .file = write_file("secret", "x\n", 2, 0644)};
	expect_secret(&request, "x", SECRET_FROM_FILE);
	assert_non_null(strstr(state.secret.warning, "every user of this machine can read the passphrase file"));
	assert_non_null(strstr(state.secret.warning, state.path));
	request.file = write_file("secret", "x\n", 2, 0602);
	expect_secret(&request, "x", SECRET_FROM_FILE);
	assert_non_null(strstr(state.secret.warning, "can change"));
	request.file = write_file("secret", "x\n", 2, 0640);
	expect_secret(&request, "x", SECRET_FROM_FILE);
	assert_string_equal(state.secret.warning, "");
}

static void test_secret_file__limits_are_kept(void **unused)
{
	(void)unused;
	char text[SECRET_MAX + 8];
	memset(text, 'x', sizeof(text));
	text[SECRET_MAX] = '\n';
	struct err err;
	struct secret_request request = {.what = "passphrase",
					 .file = write_file("secret", text, SECRET_MAX + 1, 0600)};
	assert_int_equal(read_secret(&request, &err), ERR_OK);
	assert_int_equal(state.secret.length, SECRET_MAX);
	text[SECRET_MAX] = 'x';
	for (size_t length = SECRET_MAX + 1; length <= sizeof(text); length++) {
		request.file = write_file("secret", text, length, 0600);
		expect_refused(&request, ERR_LIMIT, "the passphrase is longer than 4096 bytes");
	}
	request.file = write_file("secret", "", 0, 0600);
	expect_refused(&request, ERR_INVALID, "the passphrase is empty");
	request.file = write_file("secret", "\n", 1, 0600);
	expect_refused(&request, ERR_INVALID, "the passphrase is empty");
}

static void test_secret_file__what_is_missing_is_named(void **unused)
{
	(void)unused;
	struct secret_request request = {.what = "passphrase", .file = "/nonexistent/secret", .use_environment = true};
	expect_refused(&request, ERR_NOT_FOUND, "passphrase file '/nonexistent/secret': No such file");
	request.file = state.folder;
	expect_refused(&request, ERR_INVALID, "is a directory");
}

static void test_secret_file__may_be_a_pipe(void **unused)
{
	(void)unused;
	int ends[2];
	char path[32];
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "from a pipe\n", 12), 12);
	close(ends[1]);
	snprintf(path, sizeof(path), "/dev/fd/%d", ends[0]);
	const struct secret_request request = {.what = "passphrase", .file = path};
	expect_secret(&request, "from a pipe", SECRET_FROM_FILE);
	assert_string_equal(state.secret.warning, "");
	close(ends[0]);
}

/* ---- commands ---- */

static void test_secret_command__gives_its_first_line(void **unused)
{
	(void)unused;
	struct secret_request request = {.what = "passphrase", .command = "echo 'one two'; echo three"};
	expect_secret(&request, "one two", SECRET_FROM_COMMAND);
	request.command = "printf 'no newline'";
	expect_secret(&request, "no newline", SECRET_FROM_COMMAND);
	request.command = "echo first; head -c 300000 /dev/zero";
	expect_secret(&request, "first", SECRET_FROM_COMMAND);
	request.command = "cat; echo done";
	expect_secret(&request, "done", SECRET_FROM_COMMAND);
}

static void test_secret_command__failure_is_told_without_the_command(void **unused)
{
	(void)unused;
	struct secret_request request = {.what = "passphrase", .command = "echo half; exit 3"};
	expect_refused(&request, ERR_AUTH, "the command that gives the passphrase failed with exit code 3");
	request.command = "kill -TERM $$";
	expect_refused(&request, ERR_AUTH, "was ended by signal 15");
	request.command = "true";
	expect_refused(&request, ERR_INVALID, "the passphrase is empty");
	request.command = "head -c 5000 /dev/zero | tr '\\0' x";
	expect_refused(&request, ERR_LIMIT, "longer than 4096 bytes");
	struct err err;
	request.command = "exit 9 # sesame";
	assert_int_equal(read_secret(&request, &err), ERR_AUTH);
	assert_null(strstr(err.msg, "sesame"));
}

/* ---- environment ---- */

static void test_secret_environment__is_looked_at_in_order(void **unused)
{
	(void)unused;
	struct secret_request request = {.what = "passphrase", .use_environment = true};
	write_file("xenolith-passphrase", "credential\n", 11, 0600);
	write_file("other", "other\n", 6, 0600);
	setenv("CREDENTIALS_DIRECTORY", state.folder, 1);
	expect_secret(&request, "credential", SECRET_FROM_CREDENTIAL);
	request.credential = "other";
	expect_secret(&request, "other", SECRET_FROM_CREDENTIAL);
	request.credential = NULL;
	setenv("XENOLITH_PASSPHRASE_COMMAND", "echo command", 1);
	expect_secret(&request, "command", SECRET_FROM_COMMAND);
	setenv("XENOLITH_PASSPHRASE_COMMAND", "", 1);
	setenv("XENOLITH_PASSPHRASE_FILE", write_file("secret", "file\n", 5, 0600), 1);
	expect_secret(&request, "file", SECRET_FROM_FILE);
	request.command = "echo explicit";
	expect_secret(&request, "explicit", SECRET_FROM_COMMAND);
	request.command = NULL;
	request.use_environment = false;
	expect_refused(&request, ERR_NOT_FOUND, "no passphrase: there is no terminal to ask on");
}

static void test_secret_environment__two_at_once_are_refused(void **unused)
{
	(void)unused;
	struct secret_request request = {.what = "passphrase", .file = "/f", .command = "c"};
	expect_refused(&request, ERR_INVALID, "both by a file and by a command");
	setenv("XENOLITH_PASSPHRASE_COMMAND", "echo command", 1);
	setenv("XENOLITH_PASSPHRASE_FILE", "/f", 1);
	request = (struct secret_request){.what = "passphrase", .use_environment = true};
	expect_refused(&request, ERR_INVALID, "both by a file and by a command");
}

static void test_secret_environment__nothing_anywhere_says_what_to_do(void **unused)
{
	(void)unused;
	struct secret_request request = {.what = "passphrase", .use_environment = true};
	expect_refused(&request, ERR_NOT_FOUND, "set XENOLITH_PASSPHRASE_FILE or XENOLITH_PASSPHRASE_COMMAND");
	/* A service without this credential is no error by itself. */
	setenv("CREDENTIALS_DIRECTORY", state.folder, 1);
	expect_refused(&request, ERR_NOT_FOUND, "no passphrase");
}

/* ---- the terminal ---- */

static void on_terminate(int number)
{
	(void)number;
}

/* What the child reports: the code, whether the echo is on again, and the secret or the message. */
struct result {
	enum err_code code;
	bool echo_is_on;
	size_t length;
	char text[600];
};

static void child_main(const struct secret_request *request, bool handles_terminate, int results)
{
	struct secret secret = {0};
	struct err err = {0};
	struct result result = {0};
	struct termios now;
	struct sigaction action = {.sa_handler = on_terminate};
	if (handles_terminate)
		sigaction(SIGTERM, &action, NULL);
	result.code = secret_read(request, &secret, &err);
	if (result.code == ERR_OK)
		memcpy(result.text, secret.bytes, secret.length < 599 ? secret.length : 599);
	else
		snprintf(result.text, sizeof(result.text), "%s", err.msg);
	result.length = secret.length;
	result.echo_is_on = tcgetattr(STDIN_FILENO, &now) == 0 && (now.c_lflag & ECHO);
	secret_release(&secret);
	_exit(write(results, &result, sizeof(result)) == sizeof(result) ? 0 : 1);
}

/* Starts a child with a terminal of its own that asks for a secret. */
static void start_child(const struct secret_request *request, bool handles_terminate)
{
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	fflush(NULL);
	state.child = forkpty(&state.terminal, NULL, NULL, NULL);
	if (state.child == 0)
		child_main(request, handles_terminate, ends[1]);
	close(ends[1]);
	state.results = ends[0];
	assert_true(state.child > 0);
}

/* Reads what the terminal shows until it ends with `end`. */
static void wait_for_prompt(const char *end)
{
	char shown[1024] = "";
	size_t length = 0;
	while (length < strlen(end) || strcmp(shown + length - strlen(end), end) != 0) {
		struct pollfd waited = {.fd = state.terminal, .events = POLLIN};
		assert_int_equal(poll(&waited, 1, 30000), 1);
		assert_true(length + 1 < sizeof(shown));
		ssize_t n = read(state.terminal, shown + length, 1);
		assert_int_equal(n, 1);
		length++;
		shown[length] = '\0';
	}
	assert_null(strstr(shown, "sesame"));
}

static void type(const char *text)
{
	assert_int_equal(write(state.terminal, text, strlen(text)), strlen(text));
}

static struct result child_result(void)
{
	struct result result;
	assert_int_equal(read(state.results, &result, sizeof(result)), sizeof(result));
	return result;
}

static const struct secret_request ask = {.what = "passphrase", .prompt = "Open", .use_terminal = true};

static void test_secret_terminal__reads_a_line_without_showing_it(void **unused)
{
	(void)unused;
	start_child(&ask, false);
	wait_for_prompt("Open: ");
	type("sesame seeds\n");
	struct result result = child_result();
	assert_int_equal(result.code, ERR_OK);
	assert_string_equal(result.text, "sesame seeds");
	assert_true(result.echo_is_on);
	wait_for_prompt("\r\n");
}

static void test_secret_terminal__asks_twice_to_confirm(void **unused)
{
	(void)unused;
	struct secret_request request = ask;
	request.confirm = true;
	start_child(&request, false);
	wait_for_prompt("Open: ");
	type("sesame\n");
	wait_for_prompt("once more: ");
	type("sesame\n");
	struct result result = child_result();
	assert_int_equal(result.code, ERR_OK);
	assert_string_equal(result.text, "sesame");
}

static void test_secret_terminal__two_different_entries_are_refused(void **unused)
{
	(void)unused;
	struct secret_request request = ask;
	request.confirm = true;
	start_child(&request, false);
	wait_for_prompt("Open: ");
	type("sesame\n");
	wait_for_prompt("once more: ");
	type("sesami\n");
	struct result result = child_result();
	assert_int_equal(result.code, ERR_INVALID);
	assert_string_equal(result.text, "the two entries of the passphrase differ; try again");
}

static void test_secret_terminal__empty_line_is_refused(void **unused)
{
	(void)unused;
	start_child(&ask, false);
	wait_for_prompt("Open: ");
	type("\n");
	struct result result = child_result();
	assert_int_equal(result.code, ERR_INVALID);
	assert_string_equal(result.text, "the passphrase is empty");
}

static void test_secret_terminal__end_of_input_is_refused(void **unused)
{
	(void)unused;
	start_child(&ask, false);
	wait_for_prompt("Open: ");
	type("\x04");
	struct result result = child_result();
	assert_int_equal(result.code, ERR_INVALID);
	assert_string_equal(result.text, "the passphrase is empty");
	assert_true(result.echo_is_on);
}

static void test_secret_terminal__signal_restores_the_echo_first(void **unused)
{
	(void)unused;
	start_child(&ask, true);
	wait_for_prompt("Open: ");
	type("sesa");
	assert_int_equal(kill(state.child, SIGTERM), 0);
	struct result result = child_result();
	assert_int_equal(result.code, ERR_CANCELLED);
	assert_true(result.echo_is_on);
	assert_string_equal(result.text, "interrupted while asking for the passphrase");
}

static void test_secret_terminal__interrupt_key_ends_the_program(void **unused)
{
	(void)unused;
	int status = 0;
	start_child(&ask, false);
	wait_for_prompt("Open: ");
	type("sesa\x03");
	wait_for_prompt("\r\n");
	assert_int_equal(waitpid(state.child, &status, 0), state.child);
	state.child = 0;
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}

static void test_secret_release__takes_a_zeroed_struct(void **unused)
{
	(void)unused;
	struct secret none = {0};
	struct err err = {0};
	secret_release(&none);
	secret_release(&none);
	assert_int_equal(secret_copy("abc", 3, &none, &err), ERR_OK);
	assert_memory_equal(none.bytes, "abc", 4);
	secret_release(&none);
	assert_null(none.bytes);
	assert_int_equal(secret_copy("", 0, &none, &err), ERR_LIMIT);
}

#define SECRET_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SECRET_TEST(test_secret_file__gives_the_text_without_its_newline),
		SECRET_TEST(test_secret_file__binary_keeps_every_byte),
		SECRET_TEST(test_secret_file__open_to_everybody_is_warned_about),
		SECRET_TEST(test_secret_file__limits_are_kept),
		SECRET_TEST(test_secret_file__what_is_missing_is_named),
		SECRET_TEST(test_secret_file__may_be_a_pipe),
		SECRET_TEST(test_secret_command__gives_its_first_line),
		SECRET_TEST(test_secret_command__failure_is_told_without_the_command),
		SECRET_TEST(test_secret_environment__is_looked_at_in_order),
		SECRET_TEST(test_secret_environment__two_at_once_are_refused),
		SECRET_TEST(test_secret_environment__nothing_anywhere_says_what_to_do),
		SECRET_TEST(test_secret_terminal__reads_a_line_without_showing_it),
		SECRET_TEST(test_secret_terminal__asks_twice_to_confirm),
		SECRET_TEST(test_secret_terminal__two_different_entries_are_refused),
		SECRET_TEST(test_secret_terminal__empty_line_is_refused),
		SECRET_TEST(test_secret_terminal__end_of_input_is_refused),
		SECRET_TEST(test_secret_terminal__signal_restores_the_echo_first),
		SECRET_TEST(test_secret_terminal__interrupt_key_ends_the_program),
		SECRET_TEST(test_secret_release__takes_a_zeroed_struct),
	};
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
