/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool log_is_enabled(const char *area)
{
	const char *wanted = getenv("XENOLITH_DEBUG");
	if (!wanted || !*wanted)
		return false;
	if (strcmp(wanted, "all") == 0)
		return true;
	size_t n = strlen(area);
	for (const char *p = wanted; *p;) {
		size_t word = strcspn(p, ",");
		if (word == n && strncmp(p, area, n) == 0)
			return true;
		p += word + (p[word] == ',');
	}
	return false;
}

void log_debug(const char *area, const char *format, ...)
{
	if (!log_is_enabled(area))
		return;
	char line[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	fprintf(stderr, "xenolith: %s: %s\n", area, line);
}
