/* SPDX-License-Identifier: Apache-2.0 */
/* A long-running piece of work of the command line: its progress, how it is shown, and how signals stop it.
 *
 * Threads: begin and end by one; in between the work may use `progress` from any. */
#ifndef APPLIANCE_JOB_H
#define APPLIANCE_JOB_H

#include "appliance/progress_line.h"
#include "appliance/verb.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/progress.h"

struct job {
	struct progress_line *line;
	struct progress progress;
	char what[200]; /* "backup of 'web'" */
};

/* Shows the progress and lets signals cancel it. The struct stays where it is until job_end. */
MUST_CHECK enum err_code job_begin(const struct invocation *invocation, struct job *job, struct err *err,
				   const char *what, ...) __attribute__((format(printf, 4, 5)));

/* Ends the progress line; may be called for a job that did not begin, or twice. */
void job_end(struct job *job);

#define AUTO_JOB AUTO(job_end) struct job

#endif
