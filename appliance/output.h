/* SPDX-License-Identifier: Apache-2.0 */
/* What the program says, in two tongues: text for people, or one JSON object a line. Results go to standard output;
 * progress, warnings and errors go to standard error. Text that came from outside is shown without its control
 * characters.
 *
 * Threads: any; lines of different threads do not mix, and a live progress line gives way to them. */
#ifndef APPLIANCE_OUTPUT_H
#define APPLIANCE_OUTPUT_H

#include "base/err.h"
#include "base/size.h"

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct output {
	bool json;
	bool quiet;            /* results only */
	bool color;            /* standard error is a terminal that may be coloured */
	FILE *results;         /* standard output, or standard error while the former carries a disk */
	pthread_mutex_t mutex; /* one line at a time; guards line_shown */
	bool line_shown;       /* the cursor stands behind a live progress line */
};

/* Standard output and error; `color` follows NO_COLOR, TERM and whether standard error is a terminal. */
void output_init(struct output *output);

/* From now on results go to standard error, because standard output carries a disk. */
void output_results_aside(struct output *output);

/* For text of several pieces: holds the output and clears a live line. End with output_unlock. */
void output_lock(struct output *output);
void output_unlock(struct output *output);

/* A line of a result for people; nothing in JSON mode. */
void output_text(struct output *output, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A result line for machines: takes `row` (may be NULL: out of memory, told as such) and puts "type" in front. Nothing
 * in text mode. */
void output_row(struct output *output, const char *type, json_t *row);

/* `text` as a JSON string, null for NULL; bytes that are no UTF-8 become '?'. Gives a new reference, NULL out of
 * memory. */
json_t *output_json_text(const char *text);

/* Something the user may want to know; not shown with --quiet. */
void output_notice(struct output *output, const char *text);

/* Something was left out or done another way than asked. */
void output_warning(struct output *output, const char *text);

void output_error(struct output *output, const struct err *err);

/* Flushes the results. ERR_IO or ERR_NO_SPACE if they did not reach their reader. */
MUST_CHECK enum err_code output_finish(struct output *output, struct err *err);

/* "0.25s" below ten seconds, then as duration_format of base/size.h. Returns dst. */
char *output_duration(double seconds, char dst[static SIZE_TEXT_SIZE]);

/* Copies `text` to `dst` with control characters as '?', cut at `size`. Returns dst. */
char *output_clean(const char *text, char *dst, size_t size);

#endif
