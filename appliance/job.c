/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/job.h"

#include <stdarg.h>
#include <stdio.h>

#include "appliance/signals.h"
#include "base/cleanup.h"

enum err_code job_begin(const struct invocation *invocation, struct job *job, struct err *err, const char *what, ...)
{
	va_list args;
	va_start(args, what);
	vsnprintf(job->what, sizeof(job->what), what, args);
	va_end(args);
	signals_cancel(&job->progress);
	return progress_line_start(&job->progress, invocation->output, job->what, &job->line, err);
}

void job_end(struct job *job)
{
	progress_line_stop(TAKE_PTR(job->line));
	signals_cancel(NULL);
}
