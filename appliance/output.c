/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RED "\033[1;31m"
#define YELLOW "\033[1;33m"
#define PLAIN "\033[0m"

void output_init(struct output *output)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");
	memset(output, 0, sizeof(*output));
	output->results = stdout;
	output->color = isatty(STDERR_FILENO) && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
	pthread_mutex_init(&output->mutex, NULL);
}

void output_results_aside(struct output *output)
{
	output->results = stderr;
}

void output_lock(struct output *output)
{
	pthread_mutex_lock(&output->mutex);
	if (output->line_shown)
		fputs("\r\033[K", stderr);
	output->line_shown = false;
}

void output_unlock(struct output *output)
{
	pthread_mutex_unlock(&output->mutex);
}

void output_text(struct output *output, const char *format, ...)
{
	if (output->json)
		return;
	va_list args;
	va_start(args, format);
	output_lock(output);
	vfprintf(output->results, format, args);
	fputc('\n', output->results);
	output_unlock(output);
	va_end(args);
}

/* Takes `row`. "type" comes first, as readers of a stream like it. */
static void write_json(struct output *output, FILE *file, const char *type, json_t *row)
{
	json_t *line = row ? json_pack("{s:s}", "type", type) : NULL;
	char *text = NULL;
	if (line && json_object_update(line, row) == 0)
		text = json_dumps(line, JSON_COMPACT);
	output_lock(output);
	if (text)
		fprintf(file, "%s\n", text);
	else
		fputs("{\"type\":\"error\",\"code\":\"no-memory\",\"message\":\"out of memory while writing JSON\"}\n",
		      file);
	fflush(file);
	output_unlock(output);
	free(text);
	json_decref(line);
	json_decref(row);
}

void output_row(struct output *output, const char *type, json_t *row)
{
	if (output->json)
		write_json(output, output->results, type, row);
	else
		json_decref(row);
}

/* "xenolith: KIND: text" with the kind in `color`; a kind of NULL is left out. */
static void write_message(struct output *output, const char *kind, const char *color, const char *text)
{
	char clean[1024];
	output_clean(text, clean, sizeof(clean));
	output_lock(output);
	/* Results and messages meet on a terminal: they appear in the order in which they were said. */
	fflush(output->results);
	if (!kind)
		fprintf(stderr, "xenolith: %s\n", clean);
	else if (output->color)
		fprintf(stderr, "xenolith: %s%s:%s %s\n", color, kind, PLAIN, clean);
	else
		fprintf(stderr, "xenolith: %s: %s\n", kind, clean);
	output_unlock(output);
}

json_t *output_json_text(const char *text)
{
	if (!text)
		return json_null();
	json_t *string = json_string(text);
	if (string)
		return string;
	char clean[1024];
	size_t n = 0;
	for (const char *p = text; *p && n + 1 < sizeof(clean); p++)
		clean[n++] = (char)((*p & 0x80) ? '?' : *p);
	clean[n] = '\0';
	return json_string(clean);
}

void output_notice(struct output *output, const char *text)
{
	if (output->quiet)
		return;
	if (output->json)
		write_json(output, stderr, "notice", json_pack("{s:o}", "message", output_json_text(text)));
	else
		write_message(output, NULL, "", text);
}

void output_warning(struct output *output, const char *text)
{
	if (output->json)
		write_json(output, stderr, "warning", json_pack("{s:o}", "message", output_json_text(text)));
	else
		write_message(output, "warning", YELLOW, text);
}

void output_error(struct output *output, const struct err *err)
{
	if (output->json)
		write_json(output, stderr, "error",
			   json_pack("{s:s, s:o}", "code", err_code_name(err->code), "message",
				     output_json_text(err->msg)));
	else
		write_message(output, "error", RED, err->msg);
}

enum err_code output_finish(struct output *output, struct err *err)
{
	if (fflush(output->results) == 0 && !ferror(output->results))
		return ERR_OK;
	return err_set(err, err_code_of_errno(errno), errno, "can't write the results");
}

char *output_duration(double seconds, char dst[static SIZE_TEXT_SIZE])
{
	if (seconds >= 10)
		return duration_format((uint64_t)(seconds + 0.5), dst);
	snprintf(dst, SIZE_TEXT_SIZE, "%.2fs", seconds);
	return dst;
}

char *output_clean(const char *text, char *dst, size_t size)
{
	size_t n = 0;
	for (; text[n] && n + 1 < size; n++)
		dst[n] = (char)((unsigned char)text[n] < 0x20 || text[n] == 0x7f ? '?' : text[n]);
	dst[n] = '\0';
	return dst;
}
