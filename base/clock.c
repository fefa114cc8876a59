/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t read_ns(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_unix_s(void)
{
	return read_ns(CLOCK_REALTIME) / 1000000000u;
}

uint64_t clock_mono_ns(void)
{
	return read_ns(CLOCK_MONOTONIC);
}

uint64_t clock_thread_cpu_ns(void)
{
	return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

char *clock_format_utc(uint64_t unix_s, char dst[static CLOCK_TEXT_SIZE])
{
	time_t t = (time_t)unix_s;
	struct tm tm;
	if (!gmtime_r(&t, &tm) || strftime(dst, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(dst, CLOCK_TEXT_SIZE, "@%llu", (unsigned long long)unix_s);
	return dst;
}

char *clock_format_local(uint64_t unix_s, char dst[static CLOCK_TEXT_SIZE])
{
	time_t t = (time_t)unix_s;
	struct tm tm;
	if (!localtime_r(&t, &tm) || strftime(dst, CLOCK_TEXT_SIZE, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(dst, CLOCK_TEXT_SIZE, "@%llu", (unsigned long long)unix_s);
	return dst;
}

bool clock_parse_utc(const char *text, uint64_t *ret_unix_s)
{
	struct tm tm;
	memset(&tm, 0, sizeof(tm));
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (!end || *end)
		return false;
	time_t t = timegm(&tm);
	if (t < 0)
		return false;
	*ret_unix_s = (uint64_t)t;
	return true;
}
