/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#undef err_set /* the analyzer has macros of these names */
#undef err_errno

enum err_code err_setv(struct err *err, enum err_code code, int os_errno, const char *format, va_list args)
{
	if (!err || err->code != ERR_OK)
		return code;
	err->code = code;
	err->os_errno = os_errno;
	int n = vsnprintf(err->msg, sizeof(err->msg), format, args);
	size_t used = n < 0 ? 0 : (size_t)n;
	if (os_errno && used < sizeof(err->msg)) {
		char text[128];
		/* GNU strerror_r may return a static string instead of filling the buffer. */
		snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", strerror_r(os_errno, text, sizeof(text)));
	}
	return code;
}

enum err_code err_set(struct err *err, enum err_code code, int os_errno, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	err_setv(err, code, os_errno, format, args);
	va_end(args);
	return code;
}

enum err_code err_context(struct err *err, const char *format, ...)
{
	if (!err || err->code == ERR_OK)
		return ERR_OK;
	char context[sizeof(err->msg)];
	va_list args;
	va_start(args, format);
	vsnprintf(context, sizeof(context), format, args);
	va_end(args);
	char joined[sizeof(err->msg) * 2 + 2];
	snprintf(joined, sizeof(joined), "%s: %s", context, err->msg);
	/* Cutting the tail is intended: the front names the object. */
	memcpy(err->msg, joined, sizeof(err->msg) - 1);
	err->msg[sizeof(err->msg) - 1] = '\0';
	return err->code;
}

enum err_code err_code_of_errno(int os_errno)
{
	switch (os_errno) {
	case ENOSPC:
	case EDQUOT:
		return ERR_NO_SPACE;
	case ENOMEM:
		return ERR_NO_MEMORY;
	case ENOENT:
	case ENOTDIR:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	default:
		return ERR_IO;
	}
}

enum err_code err_errno(struct err *err, const char *format, ...)
{
	int os_errno = errno;
	enum err_code code = err_code_of_errno(os_errno);
	va_list args;
	va_start(args, format);
	err_setv(err, code, os_errno, format, args);
	va_end(args);
	return code;
}

const char *err_code_name(enum err_code code)
{
	static const char *const names[] = {
		[ERR_OK] = "ok",
		[ERR_IO] = "io",
		[ERR_NO_MEMORY] = "no-memory",
		[ERR_NO_SPACE] = "no-space",
		[ERR_NOT_FOUND] = "not-found",
		[ERR_NO_STORE] = "no-store",
		[ERR_EXISTS] = "exists",
		[ERR_CORRUPT] = "corrupt",
		[ERR_UNSUPPORTED] = "unsupported",
		[ERR_INVALID] = "invalid",
		[ERR_LIMIT] = "limit",
		[ERR_AUTH] = "auth",
		[ERR_NET] = "net",
		[ERR_TIMEOUT] = "timeout",
		[ERR_CANCELLED] = "cancelled",
		[ERR_BUSY] = "busy",
		[ERR_BUG] = "bug",
	};
	if ((unsigned)code >= sizeof(names) / sizeof(names[0]) || !names[code])
		return "unknown";
	return names[code];
}
