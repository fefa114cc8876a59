/* SPDX-License-Identifier: Apache-2.0 */
/* What a running job tells about itself, and how it is told to stop.
 *
 * Threads: lanes add with relaxed atomics; one reader prints. The totals are set before the work begins. */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct progress {
	_Atomic(const char *) phase;   /* "read", "commit", "restore", "verify", ...; a string constant */
	_Atomic uint64_t total_bytes;  /* what will be worked on, 0 while unknown; never grows once set */
	_Atomic uint64_t done_bytes;   /* of total_bytes */
	_Atomic uint64_t new_bytes;    /* content that the store did not have, before compression */
	_Atomic uint64_t stored_bytes; /* bytes put into the store, or written to the target */
	_Atomic uint64_t warnings;
	_Atomic bool cancel; /* set from outside (a signal handler may): stop soon, keep what is durable */
};

static inline void progress_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline bool progress_is_cancelled(struct progress *progress)
{
	return progress && atomic_load_explicit(&progress->cancel, memory_order_relaxed);
}

#endif
