/* SPDX-License-Identifier: Apache-2.0 */
/* Ctrl-C and its relatives. SIGINT and SIGTERM ask the running job to stop and keep what is durable; the second one
 * ends the program at once, which the store survives as it survives a power cut. SIGUSR1 is left to the progress line.
 *
 * Threads: call signals_prepare before any thread is made. */
#ifndef APPLIANCE_SIGNALS_H
#define APPLIANCE_SIGNALS_H

#include "base/progress.h"

/* Ignores SIGPIPE and blocks SIGUSR1 in this thread and those made by it. */
void signals_prepare(void);

/* From now on SIGINT and SIGTERM set progress->cancel; kept until the next call. NULL: they are only remembered. */
void signals_cancel(struct progress *progress);

/* The first signal that asked to stop, or 0. */
int signals_received(void);

#endif
