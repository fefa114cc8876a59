/* SPDX-License-Identifier: Apache-2.0 */
/* The two clocks: wall time for people, monotonic time for durations. No safety argument rests on either. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Seconds since 1970-01-01 00:00:00 UTC. */
uint64_t clock_unix_s(void);

/* Nanoseconds on a clock that never jumps. */
uint64_t clock_mono_ns(void);

/* CPU nanoseconds used by the calling thread. */
uint64_t clock_thread_cpu_ns(void);

#define CLOCK_TEXT_SIZE 32

/* RFC 3339 in UTC, "2026-11-22T09:48:00Z". Returns dst. */
char *clock_format_utc(uint64_t unix_s, char dst[static CLOCK_TEXT_SIZE]);

/* Local time for people, "2026-11-22 10:48:00". Returns dst. */
char *clock_format_local(uint64_t unix_s, char dst[static CLOCK_TEXT_SIZE]);

/* Parses what clock_format_utc writes. */
bool clock_parse_utc(const char *text, uint64_t *ret_unix_s);

#endif
