/* SPDX-License-Identifier: Apache-2.0 */
#include "appliance/progress_line.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"

#define LIVE_INTERVAL_MS 250
#define JSON_INTERVAL_MS 1000
#define LOG_POLL_MS 200     /* how soon a new phase is told where there is no terminal */
#define LOG_INTERVAL_S 60.0 /* one line a minute */

/* The rate shown is that of the last few seconds: a weight of 1/16 per tick of a quarter second, 4 s. */
#define RATE_WEIGHT (1.0 / 16)

struct progress_line {
	struct progress *progress;
	struct output *output;
	const char *what;
	pthread_t thread;
	atomic_bool stop;
	bool live; /* standard error is a terminal */
	uint64_t start_ns;
	uint64_t last_ns;
	uint64_t last_bytes;
	double rate;
	const char *last_phase;
	double last_told_s; /* where there is no terminal */
};

static double seconds_between(uint64_t from_ns, uint64_t to_ns)
{
	return (double)(to_ns - from_ns) / 1e9;
}

/* Seconds left at `rate`, or -1 if that can't be said. */
static double seconds_left(uint64_t done, uint64_t total, double rate)
{
	if (total == 0 || done > total || rate < 1)
		return -1;
	return (double)(total - done) / rate;
}

static const char *phase_of(const struct progress *progress)
{
	const char *phase = atomic_load_explicit(&progress->phase, memory_order_relaxed);
	return phase ? phase : "start";
}

char *progress_line_format(const struct progress *progress, const char *what, double elapsed_s, double rate,
			   char dst[static PROGRESS_TEXT_SIZE])
{
	uint64_t total = atomic_load_explicit(&progress->total_bytes, memory_order_relaxed);
	uint64_t done = atomic_load_explicit(&progress->done_bytes, memory_order_relaxed);
	uint64_t stored = atomic_load_explicit(&progress->stored_bytes, memory_order_relaxed);
	char done_text[SIZE_TEXT_SIZE], total_text[SIZE_TEXT_SIZE], rate_text[SIZE_TEXT_SIZE],
		stored_text[SIZE_TEXT_SIZE];
	char time_text[SIZE_TEXT_SIZE + 8];
	char amount[64];
	const char *phase = phase_of(progress);
	if (what && strcmp(what, phase) == 0)
		what = NULL;
	size_format(done, done_text);
	if (total)
		snprintf(amount, sizeof(amount), "%5.1f%%  %s of %s",
			 100.0 * (double)(done < total ? done : total) / (double)total, done_text,
			 size_format(total, total_text));
	else
		snprintf(amount, sizeof(amount), "%s", done_text);
	double left = seconds_left(done, total, rate);
	duration_format((uint64_t)(left >= 0 ? left + 0.5 : elapsed_s), time_text);
	snprintf(dst, PROGRESS_TEXT_SIZE, "%s%s%s  %s  %s/s  written %s  %s%s", what ? what : "", what ? ": " : "",
		 phase, amount, size_format(rate > 0 ? (uint64_t)rate : 0, rate_text), size_format(stored, stored_text),
		 time_text, left >= 0 ? " left" : "");
	return dst;
}

/* The terminal's width, less one so that the cursor does not wrap. */
static size_t terminal_width(void)
{
	struct winsize size;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 20)
		return 79;
	return size.ws_col - 1u;
}

static void tell_json(struct progress_line *line, double elapsed_s)
{
	const struct progress *progress = line->progress;
	uint64_t total = atomic_load_explicit(&progress->total_bytes, memory_order_relaxed);
	uint64_t done = atomic_load_explicit(&progress->done_bytes, memory_order_relaxed);
	json_t *row = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:f}", "type", "progress", "phase",
				phase_of(progress), "total_bytes", (json_int_t)total, "done_bytes", (json_int_t)done,
				"new_bytes", (json_int_t)atomic_load(&progress->new_bytes), "stored_bytes",
				(json_int_t)atomic_load(&progress->stored_bytes), "elapsed_seconds", elapsed_s,
				"bytes_per_second", line->rate);
	double left = seconds_left(done, total, line->rate);
	if (row && left >= 0)
		json_object_set_new(row, "seconds_left", json_real(left));
	char *text = row ? json_dumps(row, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
	if (text) {
		output_lock(line->output);
		fprintf(stderr, "%s\n", text);
		output_unlock(line->output);
	}
	free(text);
	json_decref(row);
}

static void tell_text(struct progress_line *line, double elapsed_s, bool as_status)
{
	char text[PROGRESS_TEXT_SIZE];
	char clean[PROGRESS_TEXT_SIZE];
	progress_line_format(line->progress, line->what, elapsed_s, line->rate, text);
	output_clean(text, clean, sizeof(clean));
	struct output *output = line->output;
	if (!line->live || as_status) {
		output_lock(output);
		fprintf(stderr, "xenolith: %s\n", clean);
		output_unlock(output);
		return;
	}
	size_t width = terminal_width();
	if (strlen(clean) > width) { /* the job's name is what can be missed most easily */
		progress_line_format(line->progress, NULL, elapsed_s, line->rate, text);
		output_clean(text, clean, sizeof(clean));
	}
	pthread_mutex_lock(&output->mutex);
	fprintf(stderr, "\r%.*s\033[K", (int)width, clean);
	fflush(stderr);
	output->line_shown = true;
	pthread_mutex_unlock(&output->mutex);
}

static void update_rate(struct progress_line *line, uint64_t now_ns)
{
	uint64_t done = atomic_load_explicit(&line->progress->done_bytes, memory_order_relaxed);
	double seconds = seconds_between(line->last_ns, now_ns);
	if (seconds < 0.05)
		return;
	if (done < line->last_bytes) /* a new phase counts from zero */
		line->last_bytes = 0;
	double rate = (double)(done - line->last_bytes) / seconds;
	double ticks = seconds * 1000 / LIVE_INTERVAL_MS;
	double weight = ticks * RATE_WEIGHT < 1 ? ticks * RATE_WEIGHT : 1;
	/* The first seconds show the mean, so that the line does not creep up from nothing. */
	double elapsed = seconds_between(line->start_ns, now_ns);
	line->rate = elapsed < 4 ? (double)done / elapsed : line->rate + (rate - line->rate) * weight;
	line->last_bytes = done;
	line->last_ns = now_ns;
}

/* One tick: `asked` is true when SIGUSR1 came. */
static void tick(struct progress_line *line, bool asked)
{
	uint64_t now_ns = clock_mono_ns();
	double elapsed_s = seconds_between(line->start_ns, now_ns);
	const char *phase = phase_of(line->progress);
	update_rate(line, now_ns);
	if (line->output->quiet && !asked)
		return;
	if (line->output->json) {
		tell_json(line, elapsed_s);
		return;
	}
	bool due = phase != line->last_phase || elapsed_s - line->last_told_s >= LOG_INTERVAL_S;
	if (line->live || asked || due)
		tell_text(line, elapsed_s, asked);
	if (due) {
		line->last_phase = phase;
		line->last_told_s = elapsed_s;
	}
}

static void *run(void *user)
{
	struct progress_line *line = user;
	long interval_ms = line->output->json ? JSON_INTERVAL_MS : line->live ? LIVE_INTERVAL_MS : LOG_POLL_MS;
	const struct timespec interval = {interval_ms / 1000, interval_ms % 1000 * 1000000};
	sigset_t status;
	sigemptyset(&status);
	sigaddset(&status, SIGUSR1);
	while (!atomic_load(&line->stop)) {
		int signal_number = sigtimedwait(&status, NULL, &interval);
		if (atomic_load(&line->stop))
			break;
		if (signal_number == SIGUSR1 || errno == EAGAIN)
			tick(line, signal_number == SIGUSR1);
	}
	return NULL;
}

enum err_code progress_line_start(struct progress *progress, struct output *output, const char *what,
				  struct progress_line **ret, struct err *err)
{
	struct progress_line *line = calloc(1, sizeof(*line));
	if (!line)
		return err_set(err, ERR_NO_MEMORY, 0, "out of memory");
	const char *term = getenv("TERM");
	line->progress = progress;
	line->output = output;
	line->what = what;
	line->live = isatty(STDERR_FILENO) && !output->json && !output->quiet && !(term && strcmp(term, "dumb") == 0);
	line->start_ns = clock_mono_ns();
	line->last_ns = line->start_ns;
	int failed = pthread_create(&line->thread, NULL, run, line);
	if (failed) {
		free(line);
		return err_set(err, ERR_NO_MEMORY, failed, "can't start the progress thread");
	}
	*ret = line;
	return ERR_OK;
}

void progress_line_stop(struct progress_line *line)
{
	if (!line)
		return;
	/* The signal ends the thread's sleep; one that comes too late for it stays with a thread that is gone. */
	atomic_store(&line->stop, true);
	pthread_kill(line->thread, SIGUSR1);
	pthread_join(line->thread, NULL);
	output_lock(line->output); /* clears the live line */
	output_unlock(line->output);
	free(line);
}
