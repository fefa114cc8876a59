/* SPDX-License-Identifier: Apache-2.0 */
/* Shows how a running job gets on, from a thread of its own: on a terminal one live line with phase, percent, rate,
 * bytes written and time left; elsewhere one line per phase and one a minute; in JSON mode one "progress" object a
 * second. SIGUSR1 prints a status line at any time. All on standard error.
 *
 * Threads: start and stop by one; the job's own threads only touch struct progress. */
#ifndef APPLIANCE_PROGRESS_LINE_H
#define APPLIANCE_PROGRESS_LINE_H

#include "appliance/output.h"
#include "base/err.h"
#include "base/progress.h"

struct progress_line;

/* Starts showing `progress`; keeps both until progress_line_stop. `what` names the job ("backup of 'web'"); borrowed
 * until stop. Gives *ret. */
MUST_CHECK enum err_code progress_line_start(struct progress *progress, struct output *output, const char *what,
					     struct progress_line **ret, struct err *err);

/* Ends the line and frees; NULL is allowed. */
void progress_line_stop(struct progress_line *line);

/* One status text as it is shown, without line end: `elapsed_s` since the job began, `rate` in bytes per second. For
 * the line itself and its test. Returns dst. */
#define PROGRESS_TEXT_SIZE 200
char *progress_line_format(const struct progress *progress, const char *what, double elapsed_s, double rate,
			   char dst[static PROGRESS_TEXT_SIZE]);

#endif
