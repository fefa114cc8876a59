/* SPDX-License-Identifier: Apache-2.0 */
/* A secret typed at the terminal. The echo is off while the person types, and comes back whatever happens: signals that
 * would end or stop the program are caught, the terminal is restored, and then the signal is sent again. They are
 * blocked but while ppoll waits, so none can slip in between the look at the flag and the wait. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/secret_internal.h"

static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

#define CAUGHT (sizeof(caught) / sizeof(caught[0]))

static volatile sig_atomic_t last_signal;

static void note_signal(int number)
{
	last_signal = number;
}

/* What the prompt changes in the process and puts back. */
struct saved_state {
	struct termios terminal;
	struct sigaction actions[CAUGHT];
	sigset_t mask;
};

static enum err_code prepare(int tty, struct saved_state *saved, struct err *err)
{
	if (tcgetattr(tty, &saved->terminal) < 0)
		return err_errno(err, "terminal");
	struct sigaction action = {.sa_handler = note_signal};
	sigset_t block;
	sigemptyset(&block);
	for (size_t i = 0; i < CAUGHT; i++)
		sigaddset(&block, caught[i]);
	last_signal = 0;
	pthread_sigmask(SIG_BLOCK, &block, &saved->mask);
	for (size_t i = 0; i < CAUGHT; i++) {
		sigaction(caught[i], NULL, &saved->actions[i]);
		/* What the program ignores (nohup) stays ignored. */
		if (saved->actions[i].sa_handler != SIG_IGN)
			sigaction(caught[i], &action, NULL);
	}
	struct termios quiet = saved->terminal;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
	quiet.c_lflag |= ICANON | ISIG | ECHONL;
	/* TCSAFLUSH drops what was typed before the question. */
	int result;
	do
		result = tcsetattr(tty, TCSAFLUSH, &quiet);
	while (result < 0 && errno == EINTR);
	return ERR_OK;
}

static void restore(int tty, const struct saved_state *saved)
{
	int result;
	/* TCSAFLUSH drops the rest of a line that was too long, which a shell would otherwise show. */
	do
		result = tcsetattr(tty, TCSAFLUSH, &saved->terminal);
	while (result < 0 && errno == EINTR);
	for (size_t i = 0; i < CAUGHT; i++)
		sigaction(caught[i], &saved->actions[i], NULL);
	pthread_sigmask(SIG_SETMASK, &saved->mask, NULL);
}

/* A failure is ignored: a terminal that takes no output will not give input either. */
static void tty_write(int tty, const char *text)
{
	size_t left = strlen(text);
	while (left) {
		ssize_t n = write(tty, text, left);
		if (n <= 0)
			return;
		text += n;
		left -= (size_t)n;
	}
}

/* Waits for a line and reads it. *ret_signal is the signal that came instead, or 0. */
static enum err_code wait_for_line(int tty, const sigset_t *mask, uint8_t *buffer, size_t *ret_length, int *ret_signal,
				   struct err *err)
{
	size_t length = 0;
	*ret_signal = 0;
	while (length < SECRET_BUFFER_SIZE) {
		struct pollfd waited = {.fd = tty, .events = POLLIN};
		int ready = ppoll(&waited, 1, /* timeout= */ NULL, mask);
		if (last_signal) {
			*ret_signal = last_signal;
			return ERR_OK;
		}
		if (ready < 0 && errno == EINTR)
			continue;
		ssize_t n = ready < 0 ? -1 : read(tty, buffer + length, SECRET_BUFFER_SIZE - length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "terminal");
		length += (size_t)n;
		if (n == 0 || buffer[length - 1] == '\n')
			break;
	}
	*ret_length = length;
	return ERR_OK;
}

enum err_code secret_from_terminal(const char *what, const char *prompt, uint8_t *buffer, size_t *ret_length,
				   struct err *err)
{
	AUTO_CLOSE int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (tty < 0)
		return err_set(err, ERR_NOT_FOUND, 0, "no terminal to ask for the %s on", what);
	for (;;) {
		struct saved_state saved;
		int signal_number = 0;
		TRY(prepare(tty, &saved, err));
		tty_write(tty, prompt);
		enum err_code code = wait_for_line(tty, &saved.mask, buffer, ret_length, &signal_number, err);
		restore(tty, &saved);
		if (code != ERR_OK || signal_number == 0)
			return code;
		tty_write(tty, "\n");
		kill(getpid(), signal_number);
		/* Back from the background: ask again. Other signals come here only if the program handles them. */
		if (signal_number != SIGTSTP)
			return err_set(err, ERR_CANCELLED, 0, "interrupted while asking for the %s", what);
	}
}
