/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/signals.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* What a signal handler can reach is static by nature. */
static _Atomic(struct progress *) job;
static volatile sig_atomic_t first_signal;

static void on_stop(int number)
{
	if (first_signal)
		_exit(128 + number);
	first_signal = number;
	struct progress *progress = atomic_load(&job);
	if (progress)
		atomic_store_explicit(&progress->cancel, true, memory_order_relaxed);
}

void signals_prepare(void)
{
	struct sigaction ignore;
	memset(&ignore, 0, sizeof(ignore));
	ignore.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &ignore, NULL);
	sigset_t status;
	sigemptyset(&status);
	sigaddset(&status, SIGUSR1);
	sigprocmask(SIG_BLOCK, &status, NULL);
}

void signals_cancel(struct progress *progress)
{
	atomic_store(&job, progress);
	/* Without SA_RESTART: a read that waits for a pipe returns and sees that the job is cancelled. */
	struct sigaction stop;
	memset(&stop, 0, sizeof(stop));
	stop.sa_handler = on_stop;
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
}

int signals_received(void)
{
	return first_signal;
}
